"""Tables and charts of a backtest, for the research notebooks."""

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import StrMethodFormatter

from pysys.reports.figures import GAIN, LOSS, NEUTRAL, bars, new_axes
from pysys.systems.attribution import rule_account, rule_account_by_instrument
from pysys.systems.backtest_result import BacktestResult

_SHOWN = ("ann_mean", "ann_std", "sharpe", "sortino", "skew", "worst_drawdown", "avg_drawdown", "hitrate")
_YEARS = 3  # of positions and forecasts in the charts of one instrument
_DAYS_A_YEAR = 256


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


# --- one rule ---


def rule_table(result: BacktestResult, rule: str) -> pd.DataFrame:
    """One rule by market: forecasts, turnover, cost and what trading it alone would have earned."""
    alone = rule_account_by_instrument(result, rule)
    rows = {}
    for column, (code, stats) in enumerate(result.instrument_stats.items()):
        forecast = result.values(f"fc_{rule}")[:, column]
        present = forecast[~np.isnan(forecast)]
        net = 100 * alone[code].net / result.config.notional_trading_capital
        deviation = float(np.nanstd(net)) * np.sqrt(_DAYS_A_YEAR)
        rows[code] = {
            "latest forecast": present[-1] if len(present) else np.nan,
            "mean |forecast|": float(np.abs(present).mean()) if len(present) else np.nan,
            "at the cap, % of days": 100 * float((np.abs(present) >= result.config.forecast_cap).mean())
            if len(present)
            else np.nan,
            "turnover, times a year": float(np.abs(np.diff(present)).mean()) * _DAYS_A_YEAR / 10
            if len(present) > 1
            else np.nan,
            "cost, Sharpe ratio": stats[f"sr_cost_{rule}"],
            "net, % of capital a year": float(np.nanmean(net)) * _DAYS_A_YEAR,
            "net Sharpe ratio": float(np.nanmean(net)) * _DAYS_A_YEAR / deviation if deviation > 0 else np.nan,
        }
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("instrument").round(3)


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
    axes.plot(dates, np.cumsum(alone.net) * scale, color=GAIN, linewidth=1.5, label="net of costs")
    axes.set_xlabel("Date")
    axes.set_ylabel("Cumulated return, % of capital")
    axes.legend(frameon=False)
    return figure


def position_differences(differences: pd.DataFrame) -> Figure:
    """Contracts by which two configurations differ today, by instrument."""
    changed = differences.loc[differences["difference"].abs() > 0, "difference"]
    values = {str(code): float(value) for code, value in changed.items()}
    return bars(values, title="Second less first, today", xlabel="Contracts", ylabel="Instrument")
