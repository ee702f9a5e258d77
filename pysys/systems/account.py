"""Profit, costs and turnover of simulated positions. Costs are negative.

A position decided at one close is filled at the next: `filled_positions` are what the account holds.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pysys.systems.daily import DailyGrid, as_of, business_days
from pysys.systems.fx import FxRate
from pysys.systems.market_data import BoolArray, FloatArray, InstrumentMeta
from pysys.systems.raw_data import Panel
from pysys.systems.smoothing import decay_of_com, divide, ew_mean, forward_fill, lag, rolling, rolling_count
from pysys.systems.volatility import BUSINESS_DAYS_A_YEAR

COST_VOLATILITY_DAYS = 180
COST_VOLATILITY_MIN_DAYS = 3
TURNOVER_SMOOTHING_DAYS = 250
DAYS_A_YEAR = 365.25


@dataclass(frozen=True, slots=True, eq=False)
class Account:
    """Daily results of every instrument in base currency, (date x instrument); missing outside their history."""

    gross: FloatArray
    costs: FloatArray  # negative; from the first day with a cost to the last

    @property
    def net(self) -> FloatArray:
        return sum_of_known(self.gross, self.costs)


def filled_positions(decided: Panel) -> Panel:
    """What is held at each close when a decision is filled one day later; missing on the first day."""
    held = np.where(decided.index, forward_fill(decided.values), np.nan)
    return Panel(np.where(decided.index, lag(held), np.nan), decided.index)


def gross_profit(held: Panel, price: FloatArray, point_size: FloatArray, fx_rate: FloatArray) -> FloatArray:
    """Base currency a day: what was held at the close before, times the change of price since; 0 where unknown."""
    filled = forward_fill(price)
    points = np.nan_to_num(lag(held.values) * (filled - lag(filled)), nan=0.0)
    return np.where(held.index, points * point_size * fx_rate, np.nan)


def cost_volatility_ratio(price: FloatArray, index: BoolArray) -> FloatArray:
    """Volatility of price as of each day over that of the last day; spreads were narrower when prices moved less.

    Days without a price inside `index` count as days without a change. 1 where there is nothing to compare: too
    little history, or a price that no longer moves.
    """
    filled = forward_fill(price)
    changes = filled - lag(filled)
    present = ~np.isnan(changes) & index
    known = np.where(present, changes, 0.0)
    count = rolling_count(present, COST_VOLATILITY_DAYS)
    total = rolling(known, COST_VOLATILITY_DAYS, np.add, 0.0)
    squares = rolling(known * known, COST_VOLATILITY_DAYS, np.add, 0.0)
    enough = present & (count >= COST_VOLATILITY_MIN_DAYS)
    mean = divide(total, count)
    variance = divide(squares - total * mean, np.where(enough, count - 1.0, np.nan))
    vol = forward_fill(np.sqrt(np.maximum(variance, 0.0)))
    ratio = divide(vol, np.broadcast_to(vol[-1:], vol.shape))
    return np.where(np.isnan(ratio), 1.0, ratio)


def trade_costs(positions: FloatArray, price: FloatArray, facts: Sequence[InstrumentMeta]) -> FloatArray:
    """Instrument currency a day, negative: half the spread on every contract traded, and commission."""
    quantity = np.abs(positions - lag(positions))
    value = np.nan_to_num(quantity * np.abs(price) * _column(facts, "point_size"), nan=0.0)
    commission = np.maximum(
        np.maximum(quantity * _column(facts, "per_block"), _column(facts, "per_trade")),
        _column(facts, "percentage") * value,
    )
    spread = quantity * _column(facts, "spread_cost") * _column(facts, "point_size")
    return np.where(quantity > 0, -(spread + commission), np.nan)


@dataclass(frozen=True, slots=True, eq=False)
class RollCosts:
    """Costs of the rolls of one instrument at calendar dates; instrument currency, negative."""

    dates: np.ndarray  # datetime64[D]
    costs: FloatArray


def roll_dates(hold_roll_cycle: str, first_year: int, last_year: int) -> np.ndarray:
    """Dates of evenly spaced rolls, as many a year as the cycle has months."""
    rolls = len(hold_roll_cycle)
    period = int(DAYS_A_YEAR / rolls)
    offsets = int(period / 2) + period * np.arange(rolls)
    years = np.arange(first_year, last_year + 1)
    starts = (years - 1970).astype("datetime64[Y]").astype("datetime64[D]")
    return (starts[:, None] + offsets[None, :]).ravel()


def roll_costs(
    dates: np.ndarray, positions: FloatArray, price: FloatArray, facts: InstrumentMeta, share: float
) -> RollCosts:
    """Costs of rolling `share` of the average position since the roll before: one trade opens, one closes.

    dates: of the positions, `datetime64[D]`. price: forward filled, on the same rows.
    """
    nothing = RollCosts(np.empty(0, "datetime64[D]"), np.empty(0))
    if not len(dates):
        return nothing
    first_year, last_year = (int(day.astype("datetime64[Y]").astype(int)) + 1970 for day in (dates[0], dates[-1]))
    rolls = roll_dates(facts.hold_roll_cycle, first_year - 1, last_year)
    before, at = rolls[:-1], rolls[1:]
    inside = at <= dates[-1]
    before, at = before[inside], at[inside]
    known = ~np.isnan(positions)
    total = _running(np.where(known, np.abs(positions), 0.0))
    days = _running(known.astype(np.float64))
    start, stop = np.searchsorted(dates, before, side="left"), np.searchsorted(dates, at, side="right")
    average = divide(total[stop] - total[start], days[stop] - days[start])
    quantity = share * average
    rolled = quantity > 0
    at, quantity = at[rolled], quantity[rolled]
    row = np.searchsorted(dates, at, side="left") - 1
    last_price = np.where(row >= 0, price[np.maximum(row, 0)], np.nan)
    value = np.nan_to_num(quantity * np.abs(last_price) * facts.point_size, nan=0.0)
    commission = np.maximum(np.maximum(quantity * facts.per_block, facts.per_trade), facts.percentage * value)
    return RollCosts(at, -(quantity * facts.spread_cost * facts.point_size + 2.0 * commission))


def daily_costs(
    grid: DailyGrid,
    held: Panel,
    price: FloatArray,
    facts: Sequence[InstrumentMeta],
    fx: Sequence[FxRate],
    *,
    vol_normalise: bool,
    roll_share: float,
) -> FloatArray:
    """Trading and rolling costs in base currency (date x instrument), negative; dates on a weekend count for Friday."""
    ratio = cost_volatility_ratio(price, held.index) if vol_normalise else np.ones(price.shape)
    trades = trade_costs(held.values, price, facts) * ratio
    filled = forward_fill(price)
    dates = grid.dates
    by_instrument = (np.ascontiguousarray(each.T) for each in (held.index, held.values, trades, ratio, filled))
    out = np.full(held.values.shape[::-1], np.nan)
    for charged, facts_of, fx_of, *daily in zip(out, facts, fx, *by_instrument, strict=True):
        index, positions, traded, factors, prices = daily
        on = ~np.isnan(traded)
        rolls = roll_costs(dates[index], positions[index], prices[index], facts_of, roll_share)
        charges = np.concatenate([traded[on], rolls.costs * as_of(dates, factors, rolls.dates)])
        moments = np.concatenate([dates[on], rolls.dates])
        if not len(moments):
            continue
        rows = grid.rows(business_days(moments))
        charged[rows.min() : rows.max() + 1] = 0.0
        np.add.at(charged, rows, np.nan_to_num(charges * fx_of.at(moments), nan=0.0))
    return np.ascontiguousarray(out.T)


def turnover(positions: FloatArray, average_position: FloatArray) -> FloatArray:
    """Times a year the average position is traded, per instrument."""
    size = ew_mean(average_position, decay_of_com(TURNOVER_SMOOTHING_DAYS), min_periods=2)
    return yearly_change(divide(positions, size))


def yearly_change(values: FloatArray) -> FloatArray:
    """256 times the mean absolute daily change of each column; NaN for a column without changes."""
    changes = np.abs(values - lag(values))
    present = ~np.isnan(changes)
    total = np.where(present, changes, 0.0).sum(axis=0)
    return BUSINESS_DAYS_A_YEAR * divide(total, present.sum(axis=0).astype(np.float64))


def sum_of_known(gross: FloatArray, costs: FloatArray) -> FloatArray:
    """Net profit: either counts as 0 where only the other is known; missing where neither is."""
    net = np.nan_to_num(gross, nan=0.0) + np.nan_to_num(costs, nan=0.0)
    net[np.isnan(gross) & np.isnan(costs)] = np.nan
    return net


def sum_of_present(values: FloatArray) -> FloatArray:
    """Total over instruments of each day; missing before the first and after the last day with any value."""
    present = ~np.isnan(values)
    total = np.where(present, values, 0.0).sum(axis=1)
    rows = np.flatnonzero(present.any(axis=1))
    inside = np.zeros(len(values), dtype=bool)
    if len(rows):
        inside[rows[0] : rows[-1] + 1] = True
    return np.where(inside, total, np.nan)


def _running(values: FloatArray) -> FloatArray:
    """Sums of the values before each position, from none of them to all."""
    return np.concatenate([[0.0], np.cumsum(values)])


def _column(facts: Sequence[InstrumentMeta], name: str) -> FloatArray:
    return np.array([getattr(one, name) for one in facts], dtype=np.float64)
