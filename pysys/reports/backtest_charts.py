"""Tables and charts of a backtest, for the research notebooks."""

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import StrMethodFormatter

from pysys.reports.figures import GAIN, LOSS, NEUTRAL, bars, new_axes
from pysys.systems.backtest_result import BacktestResult

_SHOWN = ("ann_mean", "ann_std", "sharpe", "sortino", "skew", "worst_drawdown", "avg_drawdown", "hitrate")
_YEARS = 3  # of positions and forecasts in the charts of one instrument
_DAYS_A_YEAR = 256


def statistics_table(result: BacktestResult) -> pd.DataFrame:
    """Statistics of the portfolio's daily returns, gross, of costs and net. Means and deviations in % a year."""
    table = pd.DataFrame(result.stats)
    return table.loc[[name for name in _SHOWN if name in table.index]].rename(
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
    curve = _percent_of_capital(result)["net"].fillna(0).cumsum()
    below = curve - curve.cummax()
    figure, axes = new_axes(9, 2.6, "Drawdown")
    axes.fill_between(below.index, below, 0, color=LOSS, alpha=0.5, linewidth=0)
    axes.set_xlabel("Date")
    axes.set_ylabel("Below the peak, % of capital")
    return figure


def rolling_volatility(result: BacktestResult) -> Figure:
    """Annualised deviation of the last half year of net returns, against the target."""
    net = _percent_of_capital(result)["net"].fillna(0)
    realised = net.rolling(_DAYS_A_YEAR // 2).std() * np.sqrt(_DAYS_A_YEAR)
    figure, axes = new_axes(9, 2.6, "Risk taken")
    axes.plot(realised.index, realised, color=GAIN, linewidth=1.4, label="last half year")
    axes.axhline(result.config.percentage_vol_target, color=NEUTRAL, linestyle="--", linewidth=1, label="target")
    axes.set_xlabel("Date")
    axes.set_ylabel("Standard deviation, % a year")
    axes.legend(frameon=False)
    return figure


def pandl_by_instrument(result: BacktestResult) -> Figure:
    """Net profit of each instrument over the whole history."""
    capital = result.config.notional_trading_capital
    totals = {code: 100 * float(one["net_total"]) / capital for code, one in result.instrument_stats.items()}
    return bars(totals, title="Net P&L by instrument", xlabel="% of capital, whole history", ylabel="Instrument")


def forecasts(result: BacktestResult, instrument: str) -> Figure:
    """Scaled and capped forecasts of each rule, and the combined one, over the last years."""
    figure, axes = new_axes(9, 3.6, f"Forecasts of {instrument}")
    for rule in result.config.rules:
        series = _recent(result.series_of(f"fc_{rule}", instrument))
        axes.plot(series.index, series, linewidth=0.9, alpha=0.7, label=rule)
    combined = _recent(result.series_of("combined_forecast", instrument))
    axes.plot(combined.index, combined, color="black", linewidth=1.8, label="combined")
    axes.axhline(0, color=NEUTRAL, linewidth=0.8)
    axes.set_xlabel("Date")
    axes.set_ylabel("Forecast, 10 is average")
    axes.legend(frameon=False, fontsize=8, ncols=4, loc="upper left", bbox_to_anchor=(0, -0.18))
    return figure


def positions(result: BacktestResult, instrument: str) -> Figure:
    """Optimal position, its buffer, and the whole contracts the backtest held."""
    lower, upper, wanted, held = (
        _recent(result.series_of(name, instrument))
        for name in ("buffer_lower", "buffer_upper", "notional_position", "buffered_position")
    )
    figure, axes = new_axes(9, 3.2, f"Position in {instrument}")
    axes.fill_between(lower.index, lower, upper, color=GAIN, alpha=0.25, linewidth=0, label="buffer")
    axes.plot(wanted.index, wanted, color=GAIN, linewidth=1, label="optimal")
    axes.step(held.index, held, where="post", color=LOSS, linewidth=1.4, label="held")
    axes.set_xlabel("Date")
    axes.set_ylabel("Contracts")
    axes.yaxis.set_major_formatter(StrMethodFormatter("{x:,g}"))
    axes.legend(frameon=False)
    return figure


def _recent(series: pd.Series) -> pd.Series:
    return series.iloc[-_YEARS * _DAYS_A_YEAR :]
