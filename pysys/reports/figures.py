"""Charts in one style, drawn without a screen and without matplotlib's global state."""

import io
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.dates import AutoDateLocator, ConciseDateFormatter, date2num
from matplotlib.figure import Figure
from matplotlib.ticker import StrMethodFormatter

GAIN, LOSS, NEUTRAL = "#2a6f97", "#c2410c", "#59636e"
_LINES = (("#2a6f97", "-"), ("#c2410c", "--"), ("#2f855a", ":"), ("#805ad5", "-."))
MOST_BARS = 40


class Chart(Figure):
    """A figure a notebook shows by itself, as a static picture."""

    def _repr_png_(self) -> bytes:
        return png(self)


def png(figure: Figure) -> bytes:
    """A figure as a static picture."""
    picture = io.BytesIO()
    figure.savefig(picture, format="png", dpi=110)
    return picture.getvalue()


def new_axes(width: float, height: float, title: str) -> tuple[Figure, Axes]:
    """An empty chart of this size in inches, in the house style."""
    figure = Chart(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    axes.set_title(title, loc="left", fontsize=11)
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(visible=True, color="#e6e9ec", linewidth=0.8)
    axes.set_axisbelow(True)
    return figure, axes


def bars(values: Mapping[str, float], *, title: str, xlabel: str, ylabel: str, by_size: bool = True) -> Figure:
    """Horizontal bars, the smallest (or the first) at the bottom. Values that are not numbers are left out.

    Of many, the lowest and the highest are drawn, and the title says so.
    """
    known = [(value, name) for name, value in values.items() if np.isfinite(value)]
    if by_size:
        known.sort()
    if len(known) > MOST_BARS:
        title += f" (the lowest and highest {MOST_BARS // 2} of {len(known)})"
        known = known[: MOST_BARS // 2] + known[-MOST_BARS // 2 :]
    figure, axes = new_axes(8, max(2.2, 0.9 + 0.28 * len(known)), title)
    sizes, names = [v for v, _ in known], [k for _, k in known]
    rows = range(len(known))
    axes.barh(rows, sizes, color=[GAIN if v >= 0 else LOSS for v in sizes], height=0.7)
    axes.set_yticks(list(rows), labels=names)
    axes.set_ylim(-0.7, max(len(known), 1) - 0.3)
    axes.axvline(0, color=NEUTRAL, linewidth=0.8)
    axes.set_xlabel(xlabel)
    axes.set_ylabel(ylabel)
    axes.xaxis.set_major_formatter(StrMethodFormatter("{x:,g}"))
    axes.grid(visible=False, axis="y")
    if not known:
        _say_empty(axes)
    return figure


def lines(times: Sequence[datetime], series: Mapping[str, Sequence[float]], *, title: str, ylabel: str) -> Figure:
    """Lines over time (UTC), a legend when there is more than one."""
    figure, axes = new_axes(8, 3.4, title)
    days = [date2num(moment.astimezone(UTC)) for moment in times]
    for (colour, dashes), (name, values) in zip(_LINES, series.items(), strict=False):
        axes.plot(
            days, list(values), label=name, color=colour, linestyle=dashes, linewidth=1.8, marker="o", markersize=3
        )
    axes.axhline(0, color=NEUTRAL, linewidth=0.8)
    locator = AutoDateLocator(maxticks=8)
    axes.xaxis.set_major_locator(locator)
    axes.xaxis.set_major_formatter(ConciseDateFormatter(locator))
    axes.yaxis.set_major_formatter(StrMethodFormatter("{x:,g}"))
    axes.set_xlabel("Time, UTC")
    axes.set_ylabel(ylabel)
    if len(series) > 1:
        axes.legend(frameon=False)
    if not days:
        _say_empty(axes)
    return figure


def _say_empty(axes: Axes) -> None:
    axes.set(xticks=[], yticks=[])
    axes.text(0.5, 0.5, "No data in this period", transform=axes.transAxes, ha="center", va="center", color=NEUTRAL)
