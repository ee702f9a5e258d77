"""Charts of a choice of instruments."""

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import StrMethodFormatter

from pysys.reports.figures import GAIN, NEUTRAL, new_axes


def expected_sharpe(choice: pd.DataFrame) -> Figure:
    """Expected Sharpe ratio of the portfolio as each chosen instrument is added."""
    chosen = choice[choice["chosen"]]
    figure, axes = new_axes(9, 3.0, "What each instrument adds")
    axes.plot(chosen["instrument"], chosen["portfolio_sharpe"], color=GAIN, marker="o", linewidth=1.4)
    axes.set_xlabel("Instrument, in the order they are added")
    axes.set_ylabel("Expected Sharpe ratio, a year")
    axes.tick_params(axis="x", rotation=60)
    return figure


def minimum_capitals(choice: pd.DataFrame, capital: float, currency: str) -> Figure:
    """Capital each instrument needs for its least position, against what there is."""
    known = choice.dropna(subset=["minimum_capital"]).sort_values("minimum_capital", kind="stable")
    figure, axes = new_axes(8, max(2.2, 0.9 + 0.24 * len(known)), "Capital needed")
    colours = [GAIN if chosen else NEUTRAL for chosen in known["chosen"]]
    axes.barh(known["instrument"], known["minimum_capital"], color=colours, height=0.7)
    axes.axvline(capital, color="black", linewidth=1.2, linestyle="--", label=f"capital, {capital:,.0f}")
    axes.xaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
    axes.set_xlabel(f"Minimum capital, {currency}; the chosen ones in colour")
    axes.set_ylabel("Instrument")
    axes.legend(frameon=False)
    return figure
