"""Adjusted prices of the spread instruments, made anew from the prices of their legs."""

import logging
from collections.abc import Sequence

from pysys.data.multiple import merged_finals
from pysys.data.update_result import SeriesUpdate, UpdateResult
from pysys.desk import Desk
from pysys.domain.errors import ConfigError, DataError
from pysys.domain.prices import MultipleRows, PriceRows
from pysys.domain.spread_series import between_markets, contracts_of, within_market_raw
from pysys.domain.spreads import Spread
from pysys.domain.stitching import panama_stitch
from pysys.store.prices import OutcomeRow, PriceOutcome, SeriesKey, SeriesKind
from pysys.store.unit import UnitOfWork

logger = logging.getLogger(__name__)


def update_spread_prices(desk: Desk, instruments: Sequence[str] | None = None) -> UpdateResult:
    """Replace the adjusted prices of the spread instruments, one commit each; one that fails keeps what it had.

    Runs after the prices and rolls of the markets, and needs no check for spikes: contract prices have passed theirs.
    instruments: by default all of `spread_instruments`. Raises ConfigError for one that is not.
    """
    spreads = desk.config.spreads
    codes = list(spreads) if instruments is None else list(instruments)
    for code in codes:
        if code not in spreads:
            known = ", ".join(spreads) if spreads else "none"
            raise ConfigError(f"{code} is not among spread_instruments, which are: {known}.")
    return UpdateResult("update_spread_prices", [_update_spread(desk, spreads[code]) for code in codes])


def _update_spread(desk: Desk, spread: Spread) -> SeriesUpdate:
    moment, key = desk.clock.now(), SeriesKey(SeriesKind.ADJUSTED, spread.code)
    try:
        with desk.store.write() as unit:
            last = unit.prices.last_time(key)
            series = spread_series(unit, spread)
            unit.prices.replace(key, series)
            added = len(series) if last is None else int((series.times > last).sum())
            outcome = OutcomeRow(key, moment, PriceOutcome.NEW_ROWS if added else PriceOutcome.NONE_EXPECTED, added)
            unit.prices.record_outcomes([outcome])
            unit.commit()
        return SeriesUpdate(outcome, int(series.times[-1]))
    except Exception as error:
        logger.exception("%s: its prices were not updated", spread.code)
        outcome = OutcomeRow(key, moment, PriceOutcome.ERROR, 0, str(error) or type(error).__name__)
        with desk.store.write() as unit:
            last = unit.prices.last_time(key)
            unit.prices.record_outcomes([outcome])
            unit.commit()
        return SeriesUpdate(outcome, last)


def spread_series(unit: UnitOfWork, spread: Spread) -> PriceRows:
    """Adjusted price of a spread from what is stored. Raises DataError when its legs have no price in common."""
    if spread.within_one_market:
        series = panama_stitch(rows_within(unit, spread))
    else:
        adjusted = {code: unit.prices.adjusted(code) for code in spread.markets}
        series = between_markets(spread, adjusted, point_sizes(unit, spread))
    if not len(series):
        raise DataError("its legs never had a price at the same time")
    return series


def rows_within(unit: UnitOfWork, spread: Spread) -> MultipleRows:
    """Prices of a spread within one market and of the one it rolls to, from what is stored."""
    market = spread.markets[0]
    rows, rolls = unit.prices.multiple(market), unit.markets.roll_parameters(market)
    finals = {contract: merged_finals(unit, contract) for contract in contracts_of(spread, rows, rolls)}
    return within_market_raw(spread, rows, finals, rolls)


def point_sizes(unit: UnitOfWork, spread: Spread) -> dict[str, float]:
    """By market of the legs."""
    return {code: unit.markets.instrument(code).point_size for code in spread.markets}
