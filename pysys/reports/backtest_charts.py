"""Tables and charts of a backtest, for the research notebooks."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import StrMethodFormatter
from pandas.io.formats.style import Styler

from pysys.reports.figures import GAIN, LOSS, NEUTRAL, bars, new_axes
from pysys.systems import account_tables
from pysys.systems.account import yearly_change
from pysys.systems.attribution import portfolio_profit, rule_account, rule_account_by_instrument
from pysys.systems.backtest_result import BacktestResult
from pysys.systems.capital_multiplier import CAPITAL_METHODS, compounded
from pysys.systems.statistics import return_statistics

_SHOWN = ("ann_mean", "ann_std", "sharpe", "sortino", "skew", "worst_drawdown", "avg_drawdown", "hitrate")
_YEARS = 3  # of positions and forecasts in the charts of one instrument
_DAYS_A_YEAR = 256
_LARGE = 1000.0  # from which on fractions do not matter
_MOST_LINES = 10  # of a chart by source


def readable(table: pd.DataFrame) -> Styler:
    """A table as a notebook shows it: each column with as many digits as its largest number is worth, gaps empty."""
    numbers = table.select_dtypes("number")
    formats = {name: "{:,.0f}" if numbers[name].abs().max() >= _LARGE else "{:,.3f}" for name in numbers}
    whole = dict.fromkeys(table.select_dtypes("integer"), "{:,d}")
    return table.style.format({**formats, **whole}, na_rep="")


def statistics_table(result: BacktestResult) -> pd.DataFrame:
    """Statistics of the portfolio's daily returns, gross, of costs and net. Means and deviations in % a year."""
    table = pd.DataFrame(result.stats)
    return (
        table.loc[[name for name in _SHOWN if name in table.index]]
        .round(3)
        .rename(
            index={
                "ann_mean": "mean, % a year",
                "ann_std": "standard deviation, % a year",
                "sharpe": "Sharpe ratio",
                "sortino": "Sortino ratio",
                "worst_drawdown": "worst drawdown, %",
                "avg_drawdown": "average drawdown, %",
                "hitrate": "share of days that gained",
            }
        )
    )


def _percent_of_capital(result: BacktestResult) -> pd.DataFrame:
    return result.portfolio[["gross", "costs", "net"]] * (100 / result.config.notional_trading_capital)


def account_curve(result: BacktestResult) -> Figure:
    """Cumulated daily returns, gross and net."""
    curves = _percent_of_capital(result).fillna(0).cumsum()
    figure, axes = new_axes(9, 3.8, "Account curve, fixed capital")
    axes.plot(curves.index, curves["gross"], color=NEUTRAL, linewidth=1, linestyle="--", label="gross")
    axes.plot(curves.index, curves["net"], color=GAIN, linewidth=1.6, label="net of costs")
    axes.set_xlabel("Date")
    axes.set_ylabel("Cumulated return, % of capital")
    axes.legend(frameon=False)
    return figure


def drawdown(result: BacktestResult) -> Figure:
    """How far the net account is below its highest point so far."""
    below = account_tables.drawdown(portfolio_profit(result).net, result.config.notional_trading_capital)
    figure, axes = new_axes(9, 2.6, "Drawdown")
    axes.fill_between(pd.DatetimeIndex(result.dates), below, 0, color=LOSS, alpha=0.5, linewidth=0)
    axes.set_xlabel("Date")
    axes.set_ylabel("Below the peak, % of capital")
    return figure


def rolling_volatility(result: BacktestResult) -> Figure:
    """Annualised deviation of the last year of net returns, against the target."""
    capital = result.config.notional_trading_capital
    realised = account_tables.rolling_volatility(portfolio_profit(result).net, capital)
    figure, axes = new_axes(9, 2.6, "Risk taken")
    axes.plot(pd.DatetimeIndex(result.dates), realised, color=GAIN, linewidth=1.4, label="last 256 days")
    axes.axhline(result.config.percentage_vol_target, color=NEUTRAL, linestyle="--", linewidth=1, label="target")
    axes.set_xlabel("Date")
    axes.set_ylabel("Standard deviation, % a year")
    axes.legend(frameon=False)
    return figure


def by_source(table: pd.DataFrame, title: str, ylabel: str) -> Figure:
    """Lines by date, one for each column; of many, those furthest from 0 on average, and the title says so."""
    shown = list(table.abs().mean().sort_values(ascending=False, kind="stable").index[:_MOST_LINES])
    if len(shown) < len(table.columns):
        title += f" (the largest {len(shown)} of {len(table.columns)})"
    figure, axes = new_axes(9, 3.2, title)
    for source in shown:
        axes.plot(table.index, table[source], linewidth=1.1, label=str(source))
    axes.axhline(0, color=NEUTRAL, linewidth=0.8)
    axes.set_xlabel("Date")
    axes.set_ylabel(ylabel)
    _legend_below(axes)
    return figure


def capital_methods(result: BacktestResult) -> Figure:
    """Account value, while there is any, with each method of letting profits change the capital at risk."""
    returns, capital = result.portfolio_returns, result.config.notional_trading_capital
    figure, axes = new_axes(9, 3.4, "Account value by capital method")
    for method, dashes in zip(CAPITAL_METHODS.values(), ("--", "-", ":"), strict=True):
        account = compounded(returns["gross"], returns["costs"], capital, method)
        label = f"{method} (configured)" if method == result.config.capital_method else method
        value = np.where(account.account_value > 0, account.account_value, np.nan)
        axes.plot(pd.DatetimeIndex(result.dates), value, linestyle=dashes, linewidth=1.4, label=label)
    axes.set_yscale("log")
    axes.set_xlabel("Date")
    axes.set_ylabel(f"Account value, {result.config.base_currency}")
    axes.yaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
    axes.legend(frameon=False)
    return figure


def sweep_chart(table: pd.DataFrame) -> Figure:
    """Sharpe ratio of each variation of a sweep over one key; variations that failed are left out."""
    key = str(table.columns[0])
    done = table[table["error"] == ""]
    figure, axes = new_axes(9, 3.0, f"Sweep of {key}")
    names = [str(value) for value in done[key]]
    for column, colour, dashes in (("gross_sharpe", NEUTRAL, "--"), ("net_sharpe", GAIN, "-")):
        values = done.get(column, pd.Series(dtype=float).reindex(done.index))
        axes.plot(names, values, color=colour, linestyle=dashes, marker="o", label=column.removesuffix("_sharpe"))
    axes.set_xlabel(key)
    axes.set_ylabel("Sharpe ratio, a year")
    axes.legend(frameon=False)
    return figure


def _legend_below(axes: Axes) -> None:
    axes.legend(frameon=False, fontsize=8, ncols=4, loc="upper left", bbox_to_anchor=(0, -0.18))


def instrument_table(result: BacktestResult) -> pd.DataFrame:
    """One row per instrument, best first: totals in base currency, turnover, and statistics of the net result."""
    columns = {
        "asset_class": "asset class",
        "currency": "currency",
        "gross_total": "gross, base currency",
        "costs_total": "costs, base currency",
        "net_total": "net, base currency",
        "net_ann_mean_pct": "net, % of capital a year",
        "net_ann_std_pct": "standard deviation, % of capital a year",
        "net_sharpe": "net Sharpe ratio",
        "net_skew": "skew of daily net",
        "turnover": "turnover, times a year",
        "rolls_per_year": "rolls a year",
    }
    table = pd.DataFrame.from_dict(result.instrument_stats, orient="index")[list(columns)]
    ordered = table.sort_values("net_total", ascending=False, kind="stable")
    return ordered.rename(columns=columns).rename_axis("instrument").round(3)


def pandl_by_instrument(result: BacktestResult) -> Figure:
    """Net profit of each instrument over the whole history."""
    capital = result.config.notional_trading_capital
    totals = {code: 100 * float(one["net_total"]) / capital for code, one in result.instrument_stats.items()}
    return bars(totals, title="Net P&L by instrument", xlabel="% of capital, whole history", ylabel="Instrument")


def forecasts(result: BacktestResult, instrument: str) -> Figure:
    """Scaled and capped forecasts of each rule that was computed, and the combined one, over the last years."""
    figure, axes = new_axes(9, 3.6, f"Forecasts of {instrument}")
    for rule in result.forecasts.raw:
        series = _recent(result.series_of(f"fc_{rule}", instrument))
        axes.plot(series.index, series, linewidth=0.9, alpha=0.7, label=rule)
    combined = _recent(result.series_of("combined_forecast", instrument))
    axes.plot(combined.index, combined, color="black", linewidth=1.8, label="combined")
    axes.axhline(0, color=NEUTRAL, linewidth=0.8)
    axes.set_xlabel("Date")
    axes.set_ylabel("Forecast, 10 is average")
    _legend_below(axes)
    return figure


def positions(result: BacktestResult, instrument: str) -> Figure:
    """Optimal position, its buffer, and the whole contracts the backtest held.

    On a small account those are the optimised ones, and no buffer has a say.
    """
    small = "optimised_position" in result.names
    lower, upper, wanted, held = (
        _recent(result.series_of(name, instrument))
        for name in (
            "buffer_lower",
            "buffer_upper",
            "notional_position",
            "optimised_position" if small else "buffered_position",
        )
    )
    figure, axes = new_axes(9, 3.2, f"Position in {instrument}")
    if not small:
        axes.fill_between(lower.index, lower, upper, color=GAIN, alpha=0.25, linewidth=0, label="buffer")
    axes.plot(wanted.index, wanted, color=GAIN, linewidth=1, label="optimal")
    label = "held, optimised together" if small else "held"
    axes.step(held.index, held, where="post", color=LOSS, linewidth=1.4, label=label)
    axes.set_xlabel("Date")
    axes.set_ylabel("Contracts")
    axes.yaxis.set_major_formatter(StrMethodFormatter("{x:,g}"))
    axes.legend(frameon=False)
    return figure


def _recent(series: pd.Series) -> pd.Series:
    return series.iloc[-_YEARS * _DAYS_A_YEAR :]


# --- one rule ---


def rule_table(result: BacktestResult, rule: str) -> pd.DataFrame:
    """One rule by market: forecasts, turnover, cost and what trading it alone would have earned.

    Every market is measured on its own days. Raises ConfigError when the backtest has not computed the rule.
    """
    alone, cap = rule_account_by_instrument(result, rule), result.config.forecast_cap
    forecasts, scale = result.values(f"fc_{rule}"), 100 / result.config.notional_trading_capital
    turnovers = yearly_change(forecasts / result.config.average_absolute_forecast)
    rows = {}
    for column, (code, stats) in enumerate(result.instrument_stats.items()):
        present = forecasts[~np.isnan(forecasts[:, column]), column]
        net = return_statistics(alone[code].net * scale)
        rows[code] = {
            "latest forecast": present[-1] if len(present) else np.nan,
            "mean |forecast|": _mean(np.abs(present)),
            "at the cap, % of days": 100 * _mean(np.abs(present) >= cap),
            "turnover, times a year": float(turnovers[column]),
            "cost, Sharpe ratio": stats[f"sr_cost_{rule}"],
            "days": int(np.sum(~np.isnan(alone[code].net))),
            "net, % of capital a year": net["ann_mean"],
            "net Sharpe ratio": net["sharpe"],
        }
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("instrument").round(3)


def _mean(values: np.ndarray) -> float:
    return float(values.mean()) if len(values) else np.nan


def forecast_distribution(result: BacktestResult, rule: str) -> Figure:
    """How often the scaled and capped forecast takes each value, all markets together."""
    values = result.values(f"fc_{rule}").ravel()
    present = values[~np.isnan(values)]
    figure, axes = new_axes(9, 2.8, f"Forecasts of {rule}, all markets")
    axes.hist(present, bins=81, range=(-result.config.forecast_cap, result.config.forecast_cap), color=GAIN)
    axes.axvline(0, color=NEUTRAL, linewidth=0.8)
    axes.set_xlabel("Forecast, 10 is average")
    axes.set_ylabel("Days")
    return figure


def rule_account_curve(result: BacktestResult, rule: str) -> Figure:
    """Cumulated return of trading the rule alone with the portfolio's weights."""
    alone = rule_account(result, rule)
    scale = 100 / result.config.notional_trading_capital
    figure, axes = new_axes(9, 3.2, f"{rule} alone, fixed capital")
    dates = result.portfolio.index
    axes.plot(dates, np.nancumsum(alone.gross) * scale, color=NEUTRAL, linestyle="--", linewidth=1, label="gross")
    axes.plot(dates, np.nancumsum(alone.net) * scale, color=GAIN, linewidth=1.5, label="net of costs")
    axes.set_xlabel("Date")
    axes.set_ylabel("Cumulated return, % of capital")
    axes.legend(frameon=False)
    return figure


def position_differences(differences: pd.DataFrame) -> Figure:
    """Contracts by which two configurations differ today, by instrument."""
    changed = differences.loc[differences["difference"].abs() > 0, "difference"]
    values = {str(code): float(value) for code, value in changed.items()}
    return bars(values, title="Second less first, today", xlabel="Contracts", ylabel="Instrument")
