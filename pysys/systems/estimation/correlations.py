"""Correlations over time, without holes, as diversification multipliers and optimisers need them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pysys.systems.estimation.buckets import Table
from pysys.systems.estimation.moments import pair_correlations
from pysys.systems.estimation.periods import FitPeriod, fit_periods, rows_of_fit
from pysys.systems.estimation.settings import CorrelationSettings
from pysys.systems.market_data import BoolArray, FloatArray

UNKNOWN = 0.99  # correlation of assets that have not been seen together: no diversification on trust


@dataclass(frozen=True, slots=True, eq=False)
class CorrelationsOverTime:
    """A correlation matrix for each period."""

    names: tuple[str, ...]  # of the rows and columns
    periods: tuple[FitPeriod, ...]
    matrices: FloatArray  # (period x name x name)


def correlations_over_time(
    names: tuple[str, ...], table: Table, settings: CorrelationSettings
) -> CorrelationsOverTime | None:
    """Correlations of the columns of a table at the start of each period; None for a table without rows."""
    if not len(table.times):
        return None
    periods = fit_periods(table.times[0], table.times[-1], settings.date_method, settings.rollyears)
    fits = [rows_of_fit(table.times, period) for period in periods]
    matrices = pair_correlations(
        table.values, fits, settings.span * table.members, settings.min_periods * table.members
    )
    present = ~np.isnan(table.values)
    for at, fit in enumerate(fits):
        if settings.cleaning:
            has_data = np.logical_or.reduce(present[fit.start : fit.stop], axis=0)
            matrices[at] = without_holes(matrices[at], has_data)
        if settings.floor_at_zero:
            matrices[at] = np.where(matrices[at] < 0, 0.0, matrices[at])
        np.fill_diagonal(matrices[at], 1.0)
    return CorrelationsOverTime(names, periods, matrices)


def without_holes(correlation: FloatArray, has_data: BoolArray) -> FloatArray:
    """Missing correlations filled in: with the average of the present ones when both assets have data, else 0.99.

    has_data: by asset. The diagonal is 1.
    """
    off_diagonal = ~np.eye(len(correlation), dtype=bool)
    present = correlation[off_diagonal & ~np.isnan(correlation)]
    filled = np.full_like(correlation, UNKNOWN)
    if len(present):
        filled[np.logical_and.outer(has_data, has_data)] = present.mean()
    filled = np.where(np.isnan(correlation), filled, correlation)
    np.fill_diagonal(filled, 1.0)
    return filled


def average_off_diagonal(correlation: FloatArray) -> float:
    """Mean of the present correlations of different assets; NaN when there is none."""
    present = correlation[~np.eye(len(correlation), dtype=bool) & ~np.isnan(correlation)]
    return float(present.mean()) if len(present) else float("nan")
