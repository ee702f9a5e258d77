"""What the research engine reads, from the database.

Nothing is imported that reading prices does not need: this is most of the time of a backtest from SQLite.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from pysys.domain.errors import DataError
from pysys.domain.prices import CarryRows, PriceRows, to_datetime64
from pysys.store.address import sqlite_file
from pysys.store.bulk import InstrumentFacts, bulk_reader
from pysys.store.revision import SCHEMA_REVISION
from pysys.systems.fx import USD
from pysys.systems.market_data import (
    AdjustedPrices,
    FxPrices,
    InstrumentMeta,
    InstrumentSeries,
    MarketData,
    MultiplePrices,
)

if TYPE_CHECKING:
    from pysys.store.unit import Store


def load_market_data(store: Store, instruments: Sequence[str]) -> MarketData:
    """Multiple and adjusted prices, facts and exchange rates of `instruments`.

    All of it is of one moment.

    Raises UnknownInstrument for a code that is not in the database, DataError for one without prices or without the
    rates of its currency.
    """
    return _load(store.url, instruments)


def market_data_at(url: str, instruments: Sequence[str]) -> MarketData:
    """The same from the database at a URL; of every active instrument with prices when none is named.

    Raises ConfigError too, for a database of another version.
    """
    _require_current(url)
    if not instruments:
        with bulk_reader(url) as reader:
            instruments = reader.priced()
    return _load(url, instruments)


def _require_current(url: str) -> None:
    """As `store.database.require_current`, which takes its time, and is asked for what is wrong if anything is."""
    with suppress(Exception):
        if _revision(url) == SCHEMA_REVISION:
            return
    from pysys.store.database import connect, require_current

    engine = connect(url)
    try:
        require_current(engine)
    finally:
        engine.dispose()


def _revision(url: str) -> str | None:
    file = sqlite_file(url)
    if file is not None and not Path(file).is_file():
        return None  # opening it would make an empty one
    with bulk_reader(url) as reader:
        return reader.revision()


def _load(url: str, instruments: Sequence[str]) -> MarketData:
    with bulk_reader(url) as reader:
        facts = reader.facts()
        unknown = [code for code in instruments if code not in facts]
        if unknown:
            raise _unknown_instrument(url, unknown[0])
        fx, multiple, adjusted = reader.fx(), reader.carry(instruments), reader.adjusted(instruments)
    for code in instruments:
        for what, found in (("multiple", multiple), ("adjusted", adjusted)):
            if code not in found or not len(found[code]):
                raise DataError(
                    f"{code} has no {what} prices in the database. Import them with `pysys import-prices`, "
                    "or leave it out."
                )
        currency = facts[code].currency
        if currency != USD and currency not in fx:
            raise DataError(
                f"{code} is quoted in {currency}, and the database has no {currency}{USD} rates. "
                "Run `pysys run update_fx_prices`, or leave it out."
            )
    series = {code: _series(code, facts[code], multiple[code], adjusted[code]) for code in instruments}
    rates = {currency: FxPrices(to_datetime64(rows.times), rows.price) for currency, rows in fx.items()}
    return MarketData(series, rates)


def _unknown_instrument(url: str, code: str) -> DataError:
    from pysys.store.markets import UnknownInstrument
    from pysys.store.unit import Store

    store = Store(url)
    try:
        with store.read() as unit:
            unit.markets.instrument(code)
            unit.markets.roll_parameters(code)
    except UnknownInstrument as unknown:
        return unknown
    finally:
        store.close()
    return DataError(f"{code} was added to the database just now; run it again.")


def _series(code: str, facts: InstrumentFacts, multiple: CarryRows, adjusted: PriceRows) -> InstrumentSeries:
    return InstrumentSeries(
        code,
        MultiplePrices(
            to_datetime64(multiple.times),
            multiple.price,
            multiple.carry,
            multiple.price_contract,
            multiple.carry_contract,
        ),
        AdjustedPrices(to_datetime64(adjusted.times), adjusted.price),
        InstrumentMeta(
            point_size=facts.point_size,
            currency=facts.currency,
            asset_class=facts.asset_class,
            spread_cost=facts.spread_cost,
            per_block=facts.per_block,
            percentage=facts.percentage,
            per_trade=facts.per_trade,
            hold_roll_cycle=facts.hold_cycle,
        ),
    )
