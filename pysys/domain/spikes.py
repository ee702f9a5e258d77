"""The gate of every price write: a move far outside the usual is held back until a person looks."""

from dataclasses import dataclass

import numpy as np

from pysys.domain.prices import MICROSECONDS_PER_DAY, FloatArray, IntArray

DEFAULT_MAX_SPIKE = 8.0  # multiples of the average absolute daily change
SPIKE_SPAN = 500


@dataclass(frozen=True, slots=True)
class SpikeCheck:
    """Outcome of a check. Changes are multiples of the average absolute change, time counted in root days."""

    first_spike: int | None  # microseconds UTC; None when nothing is above the limit
    largest_change: float  # over the checked rows; NaN when no change could be measured

    @property
    def found(self) -> bool:
        return self.first_spike is not None


def normalised_changes(times: IntArray, prices: FloatArray) -> FloatArray:
    """Each price change per root day over its own exponentially weighted average (span 500, present change included).

    times: microseconds UTC, increasing. NaN for the first row and wherever one of the two prices is missing.
    """
    normalised = np.full(len(prices), np.nan)
    if len(prices) < 2:
        return normalised
    days = np.diff(times) / MICROSECONDS_PER_DAY
    change = np.abs(np.diff(prices)) / np.sqrt(days)
    average = _weighted_mean(change, SPIKE_SPAN)
    with np.errstate(divide="ignore", invalid="ignore"):
        normalised[1:] = change / average
    return normalised


def spike_rows(times: IntArray, prices: FloatArray, new_from: int | None, max_spike: float) -> list[int]:
    """Row numbers of the new rows (stamped at or after `new_from`; all when None) whose change is above `max_spike`.

    The jump from the last old row to the first new one counts; jumps inside old data do not.
    """
    new = np.ones(len(times), dtype=bool) if new_from is None else times >= new_from
    return [int(row) for row in np.flatnonzero(new & (normalised_changes(times, prices) > max_spike))]


def check_spikes(times: IntArray, prices: FloatArray, new_from: int | None, max_spike: float) -> SpikeCheck:
    """Check the new rows of a merged series, as in `spike_rows`: the first spike, and the largest change."""
    normalised = normalised_changes(times, prices)
    new = np.ones(len(times), dtype=bool) if new_from is None else times >= new_from
    above = np.flatnonzero(new & (normalised > max_spike))
    measured = normalised[new & ~np.isnan(normalised)]
    return SpikeCheck(
        first_spike=int(times[above[0]]) if len(above) else None,
        largest_change=float(measured.max()) if len(measured) else float("nan"),
    )


def _weighted_mean(values: FloatArray, span: int) -> FloatArray:
    """Adjusted exponentially weighted mean; missing values age the weights but add nothing."""
    keep = 1 - 2 / (span + 1)
    means = np.empty(len(values))
    total = weight = 0.0
    for row, value in enumerate(values.tolist()):
        total *= keep
        weight *= keep
        if value == value:
            total += value
            weight += 1.0
        means[row] = total / weight if weight else np.nan
    return means
