"""Where the profit of a backtest came from: instruments, asset classes, trading rules; and how it went.

All profits are base currency a day on the configured, fixed capital, on `dates` of the result; costs are negative.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from pysys.domain.errors import ConfigError
from pysys.systems.account import filled_positions, gross_profit, sum_of_present, turnover, yearly_change
from pysys.systems.asset_classes import members_of_classes
from pysys.systems.backtest_result import BacktestResult
from pysys.systems.market_data import BoolArray, FloatArray
from pysys.systems.raw_data import Panel
from pysys.systems.smoothing import divide, forward_fill
from pysys.systems.sr_cost_account import daily_sr_costs
from pysys.systems.statistics import return_statistics

if TYPE_CHECKING:
    import pandas as pd

REST = "cap, buffer and rounding"  # what no rule asked for


@dataclass(frozen=True, slots=True, eq=False)
class Profit:
    """One source's profit, one entry per day; missing outside its own days."""

    gross: FloatArray
    costs: FloatArray
    turnover: float = math.nan  # times a year the average position is traded

    @property
    def net(self) -> FloatArray:
        """Missing where both are; on the other days what is missing counts as nothing."""
        nothing = np.isnan(self.gross) & np.isnan(self.costs)
        return np.where(nothing, np.nan, np.nan_to_num(self.gross) + np.nan_to_num(self.costs))


def portfolio_profit(result: BacktestResult) -> Profit:
    """Of everything together."""
    returns, everything = result.portfolio_returns, np.arange(len(result.instruments))
    return Profit(returns["gross"], returns["costs"], _mean_turnover(result, _turnovers(result), everything))


def profits_by_instrument(result: BacktestResult) -> dict[str, Profit]:
    """Of each instrument on the days of its history; they add up to the portfolio."""
    account, turnovers = result.account, _turnovers(result)
    return {
        code: Profit(account.gross[:, n], account.costs[:, n], float(turnovers[n]))
        for n, code in enumerate(result.instruments)
    }


def profits_by_asset_class(result: BacktestResult) -> dict[str, Profit]:
    """Of the instruments of each asset class, while it has any; they add up to the portfolio."""
    account, classes, turnovers = result.account, result.raw.classes, _turnovers(result)
    return {
        classes[members[0]]: Profit(
            sum_of_present(account.gross[:, members]),
            sum_of_present(account.costs[:, members]),
            _mean_turnover(result, turnovers, np.asarray(members)),
        )
        for members in members_of_classes(classes)
    }


def profits_by_rule(result: BacktestResult) -> dict[str, Profit]:
    """What each rule brought to the portfolio; with `REST` they add up to it.

    The position of a rule is its weighted forecast times what the portfolio holds for an average forecast, unrounded.
    `REST` is what cap, buffer, rounding and optimising changed. Costs of an instrument are shared among its rules by
    their weight times what they trade, rolls included. A rule's days begin with its first forecast; without a weight
    it has none.
    """
    gross = {rule: _gross_of(result, positions) for rule, positions in rule_positions(result).items()}
    shares, everything = _cost_shares(result), np.arange(len(result.instruments))
    paid = np.nan_to_num(result.account.costs)
    out, own = {}, {}
    for rule in gross:
        own[rule] = _rule_days(result, rule) & (np.nan_to_num(result.values(f"fw_{rule}")) > 0.0)
        turnovers = _rule_turnovers(result, rule)
        out[rule] = Profit(
            np.where(_span(own[rule]), gross[rule].sum(axis=1), np.nan),
            np.where(_span(own[rule]), (paid * shares[rule]).sum(axis=1), np.nan),
            _mean_turnover(result, np.where(own[rule].any(axis=0), turnovers, np.nan), everything),
        )
    whole = portfolio_profit(result)
    nothing = np.isnan(whole.gross)
    rest_gross = np.nan_to_num(whole.gross) - sum(np.nan_to_num(one.gross) for one in out.values())
    rest_costs = np.nan_to_num(whole.costs) - sum(np.nan_to_num(one.costs) for one in out.values())
    out[REST] = Profit(np.where(nothing, np.nan, rest_gross), np.where(nothing, np.nan, rest_costs))
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

    The sum of `rule_account_by_instrument`, which says how, from its first forecast on.
    """
    parts = list(rule_account_by_instrument(result, rule).values())
    turnovers, everything = np.array([one.turnover for one in parts]), np.arange(len(parts))
    gross, costs = (
        sum_of_present(np.column_stack([getattr(one, name) for one in parts])) for name in ("gross", "costs")
    )
    return Profit(gross, costs, _mean_turnover(result, turnovers, everything))


def rule_account_by_instrument(result: BacktestResult, rule: str) -> dict[str, Profit]:
    """Profit of trading one rule alone in each instrument, on the instrument's days from the first forecast on.

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
    days = _rule_days(result, rule)
    gross, costs = (np.where(days, each, np.nan) for each in (_gross_of(result, positions), np.nan_to_num(costs)))
    turnovers = _rule_turnovers(result, rule)
    return {code: Profit(gross[:, n], costs[:, n], float(turnovers[n])) for n, code in enumerate(result.instruments)}


def contributions(profits: Mapping[str, Profit], capital: float) -> pd.DataFrame:
    """One row per source, best first: totals, yearly statistics in % of capital, and shares of the whole.

    Statistics are of the source's own days. share_of_risk: covariance of the source's net profit with the sum's over
    the variance of the sum; shares add to 1.
    """
    import pandas as pd

    net = np.nan_to_num(np.column_stack([one.net for one in profits.values()]))
    whole = net.sum(axis=1)
    variance = float(np.var(whole))
    rows = []
    for column, (name, one) in enumerate(profits.items()):
        stats = return_statistics(one.net * 100.0 / capital)
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
                "turnover": one.turnover,
                "share_of_net": float(net[:, column].sum() / whole.sum()) if whole.sum() else math.nan,
                "share_of_risk": with_whole / variance if variance else math.nan,
            }
        )
    return pd.DataFrame(rows).set_index("source").sort_values("net", ascending=False, kind="stable")


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


def _turnovers(result: BacktestResult) -> FloatArray:
    """Of each instrument's whole contracts."""
    return turnover(result.sizing.decided.values, result.sizing.average_position)


def _rule_turnovers(result: BacktestResult, rule: str) -> FloatArray:
    """Of each instrument's forecast: the average position is that of an average forecast."""
    return yearly_change(result.values(f"fc_{rule}") / result.config.average_absolute_forecast)


def _mean_turnover(result: BacktestResult, turnovers: FloatArray, members: NDArray[np.int64]) -> float:
    """Of several instruments together, weighted by the risk of their average positions; those without one left out."""
    risk = np.abs(result.sizing.average_position * result.sizing.risk.instr_value_vol)[:, members]
    weight = divide(np.nansum(risk, axis=0), (~np.isnan(risk)).sum(axis=0).astype(np.float64))
    known = ~np.isnan(weight) & ~np.isnan(turnovers[members])
    total = float(weight[known].sum())
    return float((weight[known] * turnovers[members][known]).sum() / total) if total > 0 else math.nan


def _rule_days(result: BacktestResult, rule: str) -> BoolArray:
    """The days of each instrument from the rule's first forecast on."""
    return result.index & ~np.isnan(forward_fill(result.values(f"fc_{rule}")))


def _span(days: BoolArray) -> BoolArray:
    """From the first day of any instrument to the last."""
    some = np.logical_or.reduce(days, axis=1)
    return np.logical_or.accumulate(some) & np.logical_or.accumulate(some[::-1])[::-1]
