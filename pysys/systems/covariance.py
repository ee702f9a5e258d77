"""Risk of instruments together, as the optimiser of small accounts sees it; all numbers known at the time.

Deviations are daily, those the positions are sized with, so both agree on what a contract risks. Correlations move
slowly and markets close at different hours, so they come from weekly returns: exponentially weighted, span 250 weeks,
from weeks in which both instruments moved, at least 20 of them. They are then halved: an optimiser that believes them
as they are replaces instruments by look-alikes that are none, which doubled the error of tracking on real prices.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np

from pysys.systems.daily import DailyGrid
from pysys.systems.market_data import FloatArray, IntArray
from pysys.systems.smoothing import decay_of_span

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
    after: Iterable[int] | None = None,
) -> Iterator[FloatArray]:
    """Correlation matrix as of the end of each week (week x instrument in), complete and positive definite.

    A pair counts the weeks both have a return, others do not age it. A pair with fewer than `min_weeks` gets the
    average of the known ones, 0 while none is known. shrinkage: the part of every correlation that is taken away.
    after: how many weeks have passed at each matrix that is asked for, increasing and at least 1; every week when not
    given.
    """
    sums, done = _PairSums(weekly.shape[1], decay_of_span(span)), 0
    for wanted in range(1, len(weekly) + 1) if after is None else after:
        for row in weekly[done:wanted]:
            sums.add(row)
        done = wanted
        correlation = sums.correlation(min_weeks)
        correlation *= 1.0 - shrinkage
        yield _completed(correlation)


class _PairSums:
    """Weighted sums over the weeks that both of a pair have; [i, j] of `first` and `square` are sums of i."""

    def __init__(self, count: int, decay: float) -> None:
        self._decay = decay
        self._weight, self._weeks, self._first, self._square, self._product = np.zeros((5, count, count))
        self._room = np.empty((count, count))  # for what is added, made once

    def add(self, row: FloatArray) -> None:
        """One more week of returns, NaN for none."""
        present = ~np.isnan(row)
        values, one = np.where(present, row, 0.0), present.astype(np.float64)
        keep: FloatArray | float = self._decay
        if not present.all():
            keep = np.where(np.outer(present, present), self._decay, 1.0)
        for total in (self._weight, self._first, self._square, self._product):
            total *= keep
        both = np.multiply.outer(one, one, out=self._room)
        self._weight += both
        self._weeks += both
        self._first += np.multiply.outer(values, one, out=self._room)
        self._square += np.multiply.outer(values * values, one, out=self._room)
        self._product += np.multiply.outer(values, values, out=self._room)

    def correlation(self, min_weeks: int) -> FloatArray:
        """NaN for pairs with fewer than `min_weeks`, and where one of a pair did not vary."""
        with np.errstate(divide="ignore", invalid="ignore"):
            mean, square = self._first / self._weight, self._square / self._weight
            variance = square - mean * mean
            square *= 1e-14
            variance[~(variance > square)] = np.nan
            found = self._product / self._weight
            found -= mean * mean.T
            found /= np.sqrt(variance * variance.T)
        np.clip(found, -1.0, 1.0, out=found)
        found[self._weeks < min_weeks] = np.nan
        return found


def _completed(correlation: FloatArray) -> FloatArray:
    """Missing pairs filled with the average one; the nearest matrix by eigenvalues that has no negative risk.

    Fills `correlation` itself.
    """
    np.fill_diagonal(correlation, np.nan)
    missing = np.isnan(correlation)
    unknown = int(missing.sum())
    if unknown > len(correlation):
        known = correlation.size - unknown
        correlation[missing] = np.nansum(correlation) / known if known else 0.0
    np.fill_diagonal(correlation, 1.0)
    try:
        np.linalg.cholesky(correlation)  # far faster than eigenvalues, and nearly always enough
    except np.linalg.LinAlgError:
        return _without_negative_risk(correlation)
    return correlation


def _without_negative_risk(correlation: FloatArray) -> FloatArray:
    values, vectors = np.linalg.eigh(correlation)
    low = values < SMALLEST_EIGENVALUE
    raised = vectors[:, low] * (SMALLEST_EIGENVALUE - values[low])
    floored = correlation + raised @ vectors[:, low].T
    scale = 1.0 / np.sqrt(np.diag(floored))
    return floored * np.outer(scale, scale)


def latest_correlation(daily: FloatArray, grid: DailyGrid) -> FloatArray:
    """As of the last week that has ended, from daily returns (date x instrument)."""
    weeks, weekly = weekly_returns(daily, grid)
    ended = int(weeks_ended(grid, weeks)[-1])
    return next(correlations(weekly, after=[ended])) if ended else np.eye(daily.shape[1])


def weeks_ended(grid: DailyGrid, weeks: IntArray) -> IntArray:
    """How many of `weeks` have ended by the close of each day: on its Friday a week has."""
    current = np.searchsorted(weeks, grid.days // 5)
    return current + (grid.days % 5 == 4)
