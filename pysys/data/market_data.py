"""What the research engine reads, from the database."""

from collections.abc import Sequence

from pysys.data.fx import DOLLAR
from pysys.domain.errors import DataError
from pysys.domain.instruments import Instrument, RollParameters
from pysys.domain.prices import MultipleRows, PriceRows, to_datetime64
from pysys.store.bulk import bulk_reader
from pysys.store.unit import Store
from pysys.systems.market_data import (
    AdjustedPrices,
    FxPrices,
    InstrumentMeta,
    InstrumentSeries,
    MarketData,
    MultiplePrices,
)


def load_market_data(store: Store, instruments: Sequence[str]) -> MarketData:
    """Multiple and adjusted prices, facts and exchange rates of `instruments`, read in bulk.

    Raises UnknownInstrument for a code that is not in the database, DataError for one without prices or without the
    rates of its currency.
    """
    with store.read() as unit:
        facts = {code: unit.markets.instrument(code) for code in instruments}
        rolls = {code: unit.markets.roll_parameters(code) for code in instruments}
    with bulk_reader(store.url) as reader:
        multiple, adjusted, fx = reader.multiple(instruments), reader.adjusted(instruments), reader.fx()
    for code in instruments:
        for what, read in (("multiple", multiple), ("adjusted", adjusted)):
            if code not in read or not len(read[code]):
                raise DataError(
                    f"{code} has no {what} prices in the database. Import them with `pysys import-prices`, "
                    "or leave it out."
                )
        currency = facts[code].currency
        if currency != DOLLAR and currency not in fx:
            raise DataError(
                f"{code} is quoted in {currency}, and the database has no {currency}{DOLLAR} rates. "
                "Run `pysys run update_fx_prices`, or leave it out."
            )
    series = {code: _series(facts[code], rolls[code], multiple[code], adjusted[code]) for code in instruments}
    rates = {currency: FxPrices(to_datetime64(rows.times), rows.price) for currency, rows in fx.items()}
    return MarketData(series, rates)


def _series(
    instrument: Instrument, rolls: RollParameters, multiple: MultipleRows, adjusted: PriceRows
) -> InstrumentSeries:
    return InstrumentSeries(
        instrument.code,
        MultiplePrices(
            to_datetime64(multiple.times),
            multiple.price,
            multiple.carry,
            multiple.forward,
            multiple.price_contract,
            multiple.carry_contract,
            multiple.forward_contract,
        ),
        AdjustedPrices(to_datetime64(adjusted.times), adjusted.price),
        instrument_meta(instrument, rolls),
    )


def instrument_meta(instrument: Instrument, rolls: RollParameters) -> InstrumentMeta:
    """The facts of an instrument that the research engine needs."""
    return InstrumentMeta(
        point_size=instrument.point_size,
        currency=instrument.currency,
        asset_class=instrument.asset_class,
        spread_cost=instrument.spread_cost,
        per_block=instrument.per_block,
        percentage=instrument.percentage,
        per_trade=instrument.per_trade,
        hold_roll_cycle=rolls.hold_cycle,
    )
