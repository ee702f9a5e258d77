"""Spread instruments as the research engine reads them: one more instrument, with prices of its own."""

from collections.abc import Sequence

from pysys.data.spread_prices import point_sizes, rows_within
from pysys.domain.errors import DataError
from pysys.domain.prices import to_datetime64
from pysys.domain.spread_series import between_markets_raw
from pysys.domain.spreads import Spread
from pysys.store.unit import Store, UnitOfWork
from pysys.systems.market_data import AdjustedPrices, InstrumentMeta, InstrumentSeries, MarketData, MultiplePrices


def with_spreads(data: MarketData, store: Store, spreads: Sequence[Spread]) -> MarketData:
    """The same with these spreads among the instruments, each read at one moment.

    Raises UnknownInstrument for one that is not in the database, DataError for one without prices.
    """
    added = {}
    for spread in spreads:
        with store.read() as unit:
            added[spread.code] = _series(unit, spread)
    return MarketData({**data.instruments, **added}, data.fx)


def _series(unit: UnitOfWork, spread: Spread) -> InstrumentSeries:
    """A spread rolls as often as the market of its first leg, and each roll costs what trading a unit twice does."""
    row = unit.markets.instrument(spread.code)
    adjusted = unit.prices.adjusted(spread.code)
    if not len(adjusted):
        raise DataError(f"{spread.code} has no prices yet; run `pysys run update_spread_prices`, or leave it out.")
    return InstrumentSeries(
        spread.code,
        _multiple(unit, spread),
        AdjustedPrices(to_datetime64(adjusted.times), adjusted.price),
        InstrumentMeta(
            point_size=row.point_size,
            currency=row.currency,
            asset_class=row.asset_class,
            spread_cost=row.spread_cost,
            per_block=row.per_block,
            percentage=row.percentage,
            per_trade=row.per_trade,
            hold_roll_cycle=unit.markets.roll_parameters(spread.legs[0].instrument).hold_cycle,
        ),
    )


def _multiple(unit: UnitOfWork, spread: Spread) -> MultiplePrices:
    if spread.within_one_market:
        within = rows_within(unit, spread)
        return MultiplePrices(
            to_datetime64(within.times), within.price, within.carry, within.price_contract, within.carry_contract
        )
    multiple = {code: unit.prices.multiple(code) for code in spread.markets}
    rows = between_markets_raw(spread, multiple, point_sizes(unit, spread))
    return MultiplePrices(to_datetime64(rows.times), rows.price, rows.carry, rows.price_contract, rows.carry_contract)
