"""Risk of instruments together, as the optimiser of small accounts sees it; all numbers known at the time.

Deviations are daily, those the positions are sized with, so both agree on what a contract risks. Correlations move
slowly and markets close at different hours, so they come from weekly returns: exponentially weighted, span 250 weeks,
from weeks in which both instruments moved, at least 20 of them. They are then halved: an optimiser that believes them
as they are replaces instruments by look-alikes that are none, which doubled the error of tracking on real prices.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from pysys.systems.daily import DailyGrid
from pysys.systems.market_data import FloatArray, IntArray
from pysys.systems.smoothing import decay_of_span, divide

CORRELATION_SPAN_WEEKS = 250.0
CORRELATION_MIN_WEEKS = 20
CORRELATION_SHRINKAGE = 0.5  # towards no correlation
SMALLEST_EIGENVALUE = 1e-8


def annual_covariance(correlation: FloatArray, annual_deviation: FloatArray) -> FloatArray:
    """Covariance of fractional returns; missing in the rows and columns of an instrument without a deviation."""
    return correlation * np.outer(annual_deviation, annual_deviation)


def weekly_returns(daily: FloatArray, grid: DailyGrid) -> tuple[IntArray, FloatArray]:
    """Numbers of the weeks with a row, and the sums of their daily returns; missing where no day has one.

    A week is Monday to Friday; the last may not have ended.
    """
    weeks, first_row = np.unique(grid.days // 5, return_index=True)
    present = ~np.isnan(daily)
    total = np.add.reduceat(np.where(present, daily, 0.0), first_row, axis=0)
    count = np.add.reduceat(present.astype(np.int64), first_row, axis=0)
    return weeks, np.where(count > 0, total, np.nan)


def correlations(
    weekly: FloatArray,
    span: float = CORRELATION_SPAN_WEEKS,
    min_weeks: int = CORRELATION_MIN_WEEKS,
    shrinkage: float = CORRELATION_SHRINKAGE,
) -> Iterator[FloatArray]:
    """Correlation matrix as of the end of each week (week x instrument in), complete and positive definite.

    A pair counts the weeks both have a return, others do not age it. A pair with fewer than `min_weeks` gets the
    average of the known ones, 0 while none is known. shrinkage: the part of every correlation that is taken away.
    """
    count = weekly.shape[1]
    decay = decay_of_span(span)
    weight, weeks, first, square, product = (np.zeros((count, count)) for _ in range(5))
    for row in weekly:
        present = ~np.isnan(row)
        both = np.outer(present, present)
        values = np.where(present, row, 0.0)
        keep = np.where(both, decay, 1.0)
        weight = keep * weight + both
        weeks += both
        first = keep * first + np.where(both, values[:, None], 0.0)
        square = keep * square + np.where(both, (values * values)[:, None], 0.0)
        product = keep * product + np.outer(values, values)
        known = np.where(weeks >= min_weeks, _correlation(weight, first, square, product), np.nan)
        yield _completed((1.0 - shrinkage) * known)


def _correlation(weight: FloatArray, first: FloatArray, square: FloatArray, product: FloatArray) -> FloatArray:
    """From weighted sums over the common weeks; [i, j] of `first` and `square` are sums of i where j is present."""
    mean = divide(first, weight)
    variance = divide(square, weight) - mean * mean
    variance = np.where(variance > 1e-14 * divide(square, weight), variance, np.nan)
    return np.clip((divide(product, weight) - mean * mean.T) / np.sqrt(variance * variance.T), -1.0, 1.0)


def _completed(correlation: FloatArray) -> FloatArray:
    """Missing pairs filled with the average one; the nearest matrix by eigenvalues that has no negative risk."""
    off = ~np.eye(len(correlation), dtype=bool)
    known = off & ~np.isnan(correlation)
    average = float(correlation[known].mean()) if known.any() else 0.0
    filled = np.where(off, np.where(known, correlation, average), 1.0)
    try:
        np.linalg.cholesky(filled)  # far faster than eigenvalues, and nearly always enough
    except np.linalg.LinAlgError:
        return _without_negative_risk(filled)
    return filled


def _without_negative_risk(correlation: FloatArray) -> FloatArray:
    values, vectors = np.linalg.eigh(correlation)
    floored = (vectors * np.maximum(values, SMALLEST_EIGENVALUE)) @ vectors.T
    scale = 1.0 / np.sqrt(np.diag(floored))
    return floored * np.outer(scale, scale)


def latest_correlation(daily: FloatArray, grid: DailyGrid) -> FloatArray:
    """As of the last week that has ended, from daily returns (date x instrument)."""
    weeks, weekly = weekly_returns(daily, grid)
    matrix = np.eye(daily.shape[1])
    for matrix in correlations(weekly[: int(weeks_ended(grid, weeks)[-1])]):  # noqa: B007
        pass
    return matrix


def weeks_ended(grid: DailyGrid, weeks: IntArray) -> IntArray:
    """How many of `weeks` have ended by the close of each day: on its Friday a week has."""
    current = np.searchsorted(weeks, grid.days // 5)
    return current + (grid.days % 5 == 4)
