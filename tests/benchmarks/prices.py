"""How fast prices are imported and read in bulk."""

from collections.abc import Iterator

import numpy as np

from pysys.data.archive import copy_past
from pysys.domain.contracts import Contract
from pysys.domain.instruments import Instrument, RollParameters
from pysys.domain.prices import ContractBars, MultipleRows, PriceRows, to_moment
from pysys.store.bulk import bulk_reader
from pysys.store.database import connect, migrate, sqlite_url
from pysys.store.prices import SeriesKey, SeriesKind, contract_key
from pysys.store.unit import Store
from tests.benchmarks.workspace import Stopwatch, settings_in_new_folder

INSTRUMENTS, ROWS = 8, 50_000
HOUR = 3_600_000_000


def run() -> Iterator[str]:
    """Rows per second into and out of SQLite, and copying one database's past into another."""
    with settings_in_new_folder() as settings:
        url = sqlite_url(settings.outputs / "prices.db")
        engine = connect(url)
        migrate(engine)
        store = Store(url, engine=engine)
        written = 3 * INSTRUMENTS * ROWS
        watch = Stopwatch()
        for number in range(INSTRUMENTS):
            _write(store, f"MARKET{number}")
        yield f"written {written / watch.seconds:,.0f} rows a second ({written:,} rows, one transaction an instrument)"
        watch, read = Stopwatch(), 0
        with bulk_reader(url) as reader:
            codes = [f"MARKET{number}" for number in range(INSTRUMENTS)]
            read += sum(len(rows) for rows in reader.multiple(codes).values())
            read += sum(len(rows) for rows in reader.adjusted(codes).values())
        yield f"read in bulk {read / watch.seconds:,.0f} rows a second ({read:,} rows)"
        other = Store(sqlite_url(settings.outputs / "other.db"))
        migrate(other.engine)
        watch = Stopwatch()
        copy_past(url, other, to_moment(ROWS * HOUR), lambda _: None)
        yield f"copied to another database {written / watch.seconds:,.0f} rows a second"


def _write(store: Store, code: str) -> None:
    times = np.arange(ROWS, dtype=np.int64) * HOUR
    price = 100 + np.random.default_rng(1).normal(0, 0.1, ROWS).cumsum()
    contracts = np.full(ROWS, 20240300, dtype=np.int64), np.full(ROWS, 20240600, dtype=np.int64)
    with store.write() as unit:
        unit.markets.put_instrument(Instrument(code, "", "USD", 50.0, "Equity"))
        unit.markets.put_roll_parameters(RollParameters(code, "HMUZ", "HMUZ", -5, 1, 14))
        rows = MultipleRows(times, price, contracts[0], price + 1, contracts[1], price + 1, contracts[1])
        unit.prices.append(SeriesKey(SeriesKind.MULTIPLE, code), rows)
        unit.prices.append(SeriesKey(SeriesKind.ADJUSTED, code), PriceRows(times, price))
        bars = ContractBars(times, price, price, price, price, price)
        unit.prices.append(contract_key(Contract(code, "20240300"), daily=False), bars)
        unit.commit()
