"""A market of two futures over stored prices, at a paper broker, and the desk that works there.

GOLD (USD) and BUND (EUR) trade quarterly contracts, each listed for a year before it expires in the middle of its
month. Business days have hourly rows from 08:00 to 16:00 UTC and a daily close at 23:00, from 2023-01-02 on.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np

from pysys.broker.paper.exchange import PaperBroker
from pysys.broker.paper.stored import StoredMarket, StoredPrices
from pysys.broker.port import FxRows
from pysys.clock import FrozenClock
from pysys.config import Config
from pysys.data.historical import download_history
from pysys.data.multiple import initialise_prices
from pysys.desk import Desk
from pysys.domain.contracts import Contract
from pysys.domain.instruments import Instrument, RollParameters
from pysys.domain.prices import to_microseconds
from pysys.store.unit import Store

FIRST, LAST = datetime(2023, 1, 2, tzinfo=UTC), datetime(2024, 4, 30, tzinfo=UTC)
TONIGHT = datetime(2024, 2, 20, 23, 30, tzinfo=UTC)  # a Tuesday; the March contracts are due on March 8
INSTRUMENTS = {
    "GOLD": Instrument("GOLD", "Gold", "USD", 100.0, "Metals", tick_size=0.1),
    "BUND": Instrument("BUND", "Bund", "EUR", 1000.0, "Bond", tick_size=0.01),
}
ROLLS = {code: RollParameters(code, "HMUZ", "HMUZ", -7, 1, 14) for code in INSTRUMENTS}
LEVELS = {"GOLD": 2000.0, "BUND": 130.0}
MONTHS = ["20230300", "20230600", "20230900", "20231200", "20240300", "20240600", "20240900", "20241200"]
GOLD_MAR, GOLD_JUN, GOLD_SEP = (Contract("GOLD", date) for date in MONTHS[4:7])
BUND_JUN = Contract("BUND", "20240600")

Change = Callable[[Contract, np.ndarray, np.ndarray], np.ndarray]  # contract, daily times, prices -> prices


def business_days() -> list[datetime]:
    days = (FIRST + timedelta(days=n) for n in range((LAST - FIRST).days + 1))
    return [day for day in days if day.weekday() < 5]


def stored_prices(change: Change | None = None) -> dict[Contract, StoredPrices]:
    stamps = [to_microseconds(day + timedelta(hours=h)) for day in business_days() for h in (*range(8, 17), 23)]
    times = np.array(stamps, np.int64)
    close = np.arange(len(times)) % 10 == 9
    made = {}
    for seed, code in enumerate(INSTRUMENTS):
        walk = np.random.default_rng(seed).normal(0, 0.002, len(times)).cumsum()
        for number, month in enumerate(MONTHS):
            contract = Contract(code, month)
            expiry = datetime.combine(ROLLS[code].expiry(contract), datetime.min.time(), UTC)
            alive = (times >= to_microseconds(expiry - timedelta(days=365))) & (times < to_microseconds(expiry))
            prices = np.round(LEVELS[code] * np.exp(walk) * (1 + 0.01 * number), 2)[alive]
            stamped, daily = times[alive], close[alive]
            if change is not None:
                prices = change(contract, stamped, prices)
            volume = np.full(int(daily.sum()), 50.0)  # too little to call the next contract liquid
            made[contract] = StoredPrices(stamped[daily], prices[daily], volume, stamped[~daily], prices[~daily])
    return made


@contextmanager
def open_desk(store: Store, folder: Path, change: Change | None = None) -> Iterator[Desk]:
    """A desk on the evening of TONIGHT, its instruments configured, without any price."""
    days = np.array([to_microseconds(day + timedelta(hours=23)) for day in business_days()], np.int64)
    euro = FxRows(days, 1.08 + 0.001 * np.sin(np.arange(len(days))))
    market = StoredMarket(stored_prices(change), INSTRUMENTS, ROLLS, {"EUR": euro}, base_currency="USD", seed=1)
    clock = FrozenClock(TONIGHT)
    broker = PaperBroker(folder / "exchange.db", market, clock, base_currency="USD", starting_cash=1e6, seed=1)
    with store.write() as unit:
        for code, instrument in INSTRUMENTS.items():
            unit.markets.put_instrument(instrument)
            unit.markets.put_roll_parameters(ROLLS[code])
        unit.commit()
    try:
        yield Desk(Config(), store, broker, clock)
    finally:
        broker.close()


def with_history(desk: Desk) -> Desk:
    """Everything up to tonight, as the first day of a new system has it."""
    for code in INSTRUMENTS:
        download_history(desk, code)
        initialise_prices(desk.store, code)
    return desk


def hold(desk: Desk, contract: Contract, quantity: int) -> None:
    """Change the position as a fill would."""
    with desk.store.write() as unit:
        unit.positions.move_contract(contract, quantity, at=desk.clock.now(), fill_id=None, reason="test")
        unit.commit()
