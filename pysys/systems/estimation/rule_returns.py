"""What each trading rule earned and cost on each instrument, traded alone; what forecast weights are fitted to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from pysys.systems.account import DAYS_A_YEAR, filled_positions, gross_profit
from pysys.systems.backtest_config import BacktestConfig
from pysys.systems.daily import DateArray
from pysys.systems.market_data import BoolArray, FloatArray, InstrumentMeta
from pysys.systems.positions import as_of_last_row, daily_cash_target
from pysys.systems.raw_data import ROOT_OF_YEAR, Panel, RawData
from pysys.systems.smoothing import divide


@dataclass(frozen=True, slots=True, eq=False)
class RuleReturns:
    """Daily results in base currency, (date x instrument x rule); a day on which nothing happened is missing."""

    gross: FloatArray
    costs: FloatArray  # negative
    index: BoolArray  # (date x instrument), the days of the instrument's forecasts


def rule_returns(
    config: BacktestConfig,
    raw: RawData,
    facts: Sequence[InstrumentMeta],
    fx_rate: FloatArray,
    forecasts: Mapping[str, Panel],
    sr_costs: Mapping[str, FloatArray],
) -> RuleReturns:
    """Results of trading every forecast with all capital: unrounded, unbuffered, filled a day later.

    forecasts: scaled. sr_costs: by rule, SR units a year and instrument; they are charged for every day held.
    """
    point_size = np.array([one.point_size for one in facts])
    target = daily_cash_target(config.notional_trading_capital, config.percentage_vol_target)
    risk = raw.daily_returns_vol.values * point_size
    average = as_of_last_row(divide(np.full_like(risk, target), risk), raw.daily_returns_vol.index)
    yearly_risk = config.notional_trading_capital * config.percentage_vol_target / 100.0
    gross, costs = [], []
    for name, forecast in forecasts.items():
        position = average * forecast.values / config.average_absolute_forecast
        held = filled_positions(Panel(position, forecast.index))
        gross.append(gross_profit(held, raw.price.values, point_size, fx_rate))
        passed = years_since_last_row(raw.grid.dates, forecast.index)
        begun = np.logical_or.accumulate(~np.isnan(held.values), axis=0)
        costs.append(np.where(begun, -sr_costs[name] * yearly_risk * passed * fx_rate, np.nan))
    return RuleReturns(
        gross=_without_zeros(np.stack(gross, axis=2)),
        costs=_without_zeros(np.stack(costs, axis=2)),
        index=np.logical_or.reduce([panel.index for panel in forecasts.values()]),
    )


def years_since_last_row(dates: DateArray, index: BoolArray) -> FloatArray:
    """Calendar time since the row before, on the rows of each instrument; 0 on its first."""
    days = np.diff(dates, prepend=dates[:1]).astype("timedelta64[D]").astype(np.float64)[:, None]
    first = index & ~np.vstack([np.zeros_like(index[:1]), index[:-1]])
    return np.where(index & ~first, days / DAYS_A_YEAR, 0.0)


def sharpe_of_costs(returns: RuleReturns) -> FloatArray:
    """Yearly costs of each instrument and rule in units of its gross deviation, (instrument x rule); negative."""
    return ROOT_OF_YEAR * divide(_mean(returns.costs), daily_deviation(returns.gross))


def daily_deviation(values: FloatArray) -> FloatArray:
    """Standard deviation of the present values along the first axis; NaN with fewer than two."""
    count = (~np.isnan(values)).sum(axis=0).astype(np.float64)
    distance = np.nan_to_num(values - _mean(values), nan=0.0)
    return np.sqrt(divide((distance * distance).sum(axis=0), np.where(count > 1, count - 1.0, np.nan)))


def with_equal_sharpe(gross: FloatArray, sharpe: float) -> FloatArray:
    """Daily returns moved so that each column, over all of its history, has the same yearly Sharpe ratio."""
    return gross - _mean(gross) + sharpe / ROOT_OF_YEAR * daily_deviation(gross)


def _mean(values: FloatArray) -> FloatArray:
    present = ~np.isnan(values)
    return divide(np.where(present, values, 0.0).sum(axis=0), present.sum(axis=0).astype(np.float64))


def _without_zeros(values: FloatArray) -> FloatArray:
    values[values == 0.0] = np.nan
    return values
