"""Where the profit of a backtest came from: instruments, asset classes, trading rules; and how it went.

All profits are base currency a day on the configured, fixed capital, on `dates` of the result; costs are negative.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from pysys.domain.errors import ConfigError
from pysys.systems.account import filled_positions, gross_profit, sum_of_present, yearly_change
from pysys.systems.asset_classes import members_of_classes
from pysys.systems.backtest_result import BacktestResult
from pysys.systems.market_data import FloatArray
from pysys.systems.raw_data import ROOT_OF_YEAR, Panel
from pysys.systems.smoothing import divide, forward_fill, lag, rolling, rolling_count
from pysys.systems.sr_cost_account import daily_sr_costs
from pysys.systems.statistics import return_statistics
from pysys.systems.volatility import BUSINESS_DAYS_A_YEAR

if TYPE_CHECKING:
    import pandas as pd

REST = "cap, buffer and rounding"  # what no rule asked for


@dataclass(frozen=True, slots=True, eq=False)
class Profit:
    """One source's profit, one entry per day; missing outside its history."""

    gross: FloatArray
    costs: FloatArray

    @property
    def net(self) -> FloatArray:
        return np.nan_to_num(self.gross) + np.nan_to_num(self.costs)


def portfolio_profit(result: BacktestResult) -> Profit:
    """Of everything together."""
    return Profit(result.portfolio_returns["gross"], result.portfolio_returns["costs"])


def profits_by_instrument(result: BacktestResult) -> dict[str, Profit]:
    """Of each instrument; they add up to the portfolio."""
    account = result.account
    return {code: Profit(account.gross[:, n], account.costs[:, n]) for n, code in enumerate(result.instruments)}


def profits_by_asset_class(result: BacktestResult) -> dict[str, Profit]:
    """Of the instruments of each asset class; they add up to the portfolio."""
    account, classes = result.account, result.raw.classes
    return {
        classes[members[0]]: Profit(
            sum_of_present(account.gross[:, members]), sum_of_present(account.costs[:, members])
        )
        for members in members_of_classes(classes)
    }


def profits_by_rule(result: BacktestResult) -> dict[str, Profit]:
    """What each rule brought to the portfolio; with `REST` they add up to it.

    The position of a rule is its weighted forecast times what the portfolio holds for an average forecast, unrounded.
    `REST` is what cap, buffer, rounding and optimising changed. Costs of an instrument are shared among its rules by
    their weight times what they trade, rolls included.
    """
    gross = {rule: _gross_of(result, positions) for rule, positions in rule_positions(result).items()}
    shares = _cost_shares(result)
    paid = np.nan_to_num(result.account.costs)
    out = {rule: Profit(gross[rule].sum(axis=1), (paid * shares[rule]).sum(axis=1)) for rule in gross}
    whole = portfolio_profit(result)
    out[REST] = Profit(
        np.nan_to_num(whole.gross) - sum(one.gross for one in out.values()),
        np.nan_to_num(whole.costs) - sum(one.costs for one in out.values()),
    )
    return out


def rule_positions(result: BacktestResult) -> dict[str, FloatArray]:
    """Contracts each rule asks for in the portfolio, unrounded (date x instrument); 0 where it has no say."""
    per_forecast = result.sizing.average_position / result.config.average_absolute_forecast
    multiplier = result.values("forecast_div_multiplier")
    out = {}
    for rule in result.forecasts.raw:
        forecast, weight = forward_fill(result.values(f"fc_{rule}")), result.values(f"fw_{rule}")
        out[rule] = np.nan_to_num(per_forecast * multiplier * weight * forecast)
    return out


def rule_account(result: BacktestResult, rule: str) -> Profit:
    """Profit of trading one rule alone, with the instrument weights and multiplier of the backtest.

    The sum of `rule_account_by_instrument`, which says how. Raises ConfigError when the backtest has no such rule.
    """
    parts = rule_account_by_instrument(result, rule).values()
    return Profit(sum_of_parts([one.gross for one in parts]), sum_of_parts([one.costs for one in parts]))


def sum_of_parts(parts: Sequence[FloatArray]) -> FloatArray:
    """Day by day, missing counting as nothing."""
    return np.nan_to_num(np.column_stack(parts)).sum(axis=1)


def rule_account_by_instrument(result: BacktestResult, rule: str) -> dict[str, Profit]:
    """Profit of trading one rule alone in each instrument.

    Positions are unrounded and unbuffered; costs are in Sharpe ratio units at the rule's pooled turnover. Raises
    ConfigError when the backtest has no such rule.
    """
    if rule not in result.forecasts.raw:
        raise ConfigError(f"no rule of this backtest is called {rule}; it has {', '.join(result.forecasts.raw)}")
    average = result.sizing.average_position
    forecast = forward_fill(result.values(f"fc_{rule}"))
    positions = average * forecast / result.config.average_absolute_forecast
    stats = result.instrument_stats
    sr_cost = np.nan_to_num(np.array([float(stats[code][f"sr_cost_{rule}"]) for code in result.instruments]))
    held = filled_positions(Panel(positions, result.index))
    costs = daily_sr_costs(sr_cost, result.dates, held, average, result.sizing.risk.instr_value_vol)
    gross = _gross_of(result, positions)
    return {code: Profit(gross[:, n], np.nan_to_num(costs[:, n])) for n, code in enumerate(result.instruments)}


def contributions(profits: Mapping[str, Profit], capital: float) -> pd.DataFrame:
    """One row per source, best first: totals, yearly statistics in % of capital, and shares of the whole.

    share_of_risk: covariance of the source's net profit with the sum's over the variance of the sum; shares add to 1.
    """
    import pandas as pd

    net = np.column_stack([one.net for one in profits.values()])
    whole = net.sum(axis=1)
    variance = float(np.var(whole))
    rows = []
    for column, (name, one) in enumerate(profits.items()):
        stats = return_statistics(net[:, column] * 100.0 / capital)
        with_whole = float(np.mean((net[:, column] - net[:, column].mean()) * (whole - whole.mean())))
        rows.append(
            {
                "source": name,
                "gross": float(np.nansum(one.gross)),
                "costs": float(np.nansum(one.costs)),
                "net": float(net[:, column].sum()),
                "net_ann_mean_pct": stats["ann_mean"],
                "net_ann_std_pct": stats["ann_std"],
                "net_sharpe": stats["sharpe"],
                "share_of_net": float(net[:, column].sum() / whole.sum()) if whole.sum() else math.nan,
                "share_of_risk": with_whole / variance if variance else math.nan,
            }
        )
    return pd.DataFrame(rows).set_index("source").sort_values("net", ascending=False, kind="stable")


def drawdown(net: FloatArray, capital: float) -> FloatArray:
    """% of capital by which each day's running total is below its highest, the start included; never positive."""
    total = np.cumsum(np.nan_to_num(net)) * 100.0 / capital
    return total - np.maximum(np.maximum.accumulate(total), 0.0) if len(total) else total


def rolling_volatility(net: FloatArray, capital: float, days: int = BUSINESS_DAYS_A_YEAR) -> FloatArray:
    """Annual standard deviation of the last `days` daily profits, % of capital; missing before there are as many."""
    present = ~np.isnan(net)
    values = np.where(present, net, 0.0) * 100.0 / capital
    count = np.where(rolling_count(present, days) >= days, float(days), np.nan)
    mean = rolling(values, days, np.add, 0.0) / count
    squares = rolling(values * values, days, np.add, 0.0)
    return np.sqrt(np.maximum(squares - count * mean * mean, 0.0) / (count - 1.0)) * ROOT_OF_YEAR


def portfolio_turnover(result: BacktestResult) -> float:
    """Times a year the average exposure is traded: value of contracts traded over the mean value held, both in risk.

    Risk is what a contract moves in a day, base currency.
    """
    decided = result.sizing.decided
    risk = forward_fill(result.sizing.risk.instr_value_vol)
    held = np.nan_to_num(decided.values)
    traded = np.nan_to_num(np.abs(held - np.nan_to_num(lag(held))) * risk).sum()
    average = np.nan_to_num(np.abs(held) * risk).sum() / max(len(held), 1)
    return float(traded / (average * len(held) / BUSINESS_DAYS_A_YEAR)) if average > 0 else math.nan


def _gross_of(result: BacktestResult, positions: FloatArray) -> FloatArray:
    """Gross profit of deciding on `positions`, by day and instrument; 0 where there is none."""
    point_size = np.array([one.meta.point_size for one in result.series])
    held = filled_positions(Panel(positions, result.sizing.decided.index))
    return np.nan_to_num(gross_profit(held, result.raw.price.values, point_size, result.sizing.risk.fx_rate))


def _cost_shares(result: BacktestResult) -> dict[str, FloatArray]:
    """Of each rule in the costs of each instrument and day; over rules they add up to 1, or are all 0."""
    rolls = np.array([len(one.meta.hold_roll_cycle) for one in result.series], dtype=np.float64)
    traded = {}
    for rule in result.forecasts.raw:
        forecast = result.values(f"fc_{rule}") / result.config.average_absolute_forecast
        trades_a_year = np.nan_to_num(yearly_change(forecast)) + 2.0 * rolls
        traded[rule] = np.nan_to_num(result.values(f"fw_{rule}")) * trades_a_year
    whole = np.sum(list(traded.values()), axis=0)
    return {rule: np.nan_to_num(divide(one, whole)) for rule, one in traded.items()}
