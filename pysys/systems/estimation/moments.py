"""Exponentially weighted means, deviations and correlations of a table, at the end of each fit."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from pysys.systems.estimation.periods import FitRows
from pysys.systems.market_data import FloatArray
from pysys.systems.smoothing import decay_of_span, divide

_CHUNK = 1024  # rows whose pairs are in memory at once
_ROUNDING = 1e-14  # a variance below this share of the mean square is nothing but rounding


@dataclass(frozen=True, slots=True, eq=False)
class Moments:
    """Mean and deviation of each column, per row, at the end of each fit; (fit x column)."""

    mean: FloatArray
    stdev: FloatArray


def column_moments(values: FloatArray, fits: Sequence[FitRows], span: float, min_periods: int) -> Moments:
    """Weights decay with age in rows, present or not; the deviation is corrected for bias.

    NaN where fewer than `min_periods` (for a deviation, at least two) values are present. span: in rows; infinite
    for equal weights.
    """
    decay = decay_of_span(span)
    present = ~np.isnan(values)
    known = np.where(present, values, 0.0)
    shape = (len(fits), values.shape[1])
    mean, stdev = np.full(shape, np.nan), np.full(shape, np.nan)
    sums = np.zeros((5, values.shape[1]))  # of presence, weight, squared weight, value, squared value
    for at, fit, start, stop in _chunks(fits, longest=len(values)):
        if start == fit.start:
            sums[:] = 0.0
        weight = decay ** np.arange(stop - start - 1, -1, -1.0)
        aged = decay ** (stop - start)
        here, x = present[start:stop], known[start:stop]
        sums *= np.array([1.0, aged, aged * aged, aged, aged])[:, None]
        sums += [here.sum(axis=0), weight @ here, weight**2 @ here, weight @ x, weight @ (x * x)]
        if stop < fit.stop:
            continue
        count, total, squared, first, second = sums
        with np.errstate(divide="ignore", invalid="ignore"):
            centre, mean_square = first / total, second / total
            variance = mean_square - centre * centre
            variance[variance < _ROUNDING * mean_square] = 0.0
            deviation = np.sqrt(variance / (1.0 - squared / total / total))
        mean[at] = np.where(count >= max(min_periods, 1), centre, np.nan)
        stdev[at] = np.where(count >= max(min_periods, 2), deviation, np.nan)
    return Moments(mean, stdev)


def pair_correlations(values: FloatArray, fits: Sequence[FitRows], span: float, min_periods: int) -> FloatArray:
    """Correlation of each pair of columns at the end of each fit, (fit x column x column).

    Only rows in which both are present count, and only they age the weights. NaN with fewer than `min_periods` of
    them, or when one of the two does not vary over them.
    """
    decay = decay_of_span(span)
    columns = values.shape[1]
    out = np.full((len(fits), columns, columns), np.nan)
    state = _PairSums.none(columns)
    for at, fit, start, stop in _chunks(fits, longest=_CHUNK):
        if start == fit.start:
            state = _PairSums.none(columns)
        state = state.aged_by(_pair_sums(values[start:stop], decay), decay)
        if stop == fit.stop:
            out[at] = state.correlation(min_periods)
    return out


@dataclass(frozen=True, slots=True, eq=False)
class _PairSums:
    """Weighted sums over the joint rows of each pair (i, j); i is the row of each matrix."""

    count: FloatArray
    weight: FloatArray
    first: FloatArray  # of the values of i
    second: FloatArray  # of the squared values of i
    product: FloatArray

    @classmethod
    def none(cls, columns: int) -> _PairSums:
        return cls(*np.zeros((5, columns, columns)))

    def aged_by(self, later: _PairSums, decay: float) -> _PairSums:
        factor = decay**later.count
        return _PairSums(
            self.count + later.count,
            self.weight * factor + later.weight,
            self.first * factor + later.first,
            self.second * factor + later.second,
            self.product * factor + later.product,
        )

    def correlation(self, min_periods: int) -> FloatArray:
        mean, mean_square = divide(self.first, self.weight), divide(self.second, self.weight)
        variance = mean_square - mean * mean
        with np.errstate(invalid="ignore"):
            variance[variance < _ROUNDING * mean_square] = 0.0
        covariance = divide(self.product, self.weight) - mean * mean.T
        correlation = divide(covariance, np.sqrt(variance * variance.T))
        return np.where(self.count >= min_periods, np.clip(correlation, -1.0, 1.0), np.nan)


def _pair_sums(values: FloatArray, decay: float) -> _PairSums:
    present = ~np.isnan(values)
    known = np.where(present, values, 0.0)
    if (present == present[:, :1]).all():
        rows = known[present[:, 0]]
        weight = decay ** np.arange(len(rows) - 1, -1, -1.0)
        weighted = rows * weight[:, None]
        square = (values.shape[1], values.shape[1])
        return _PairSums(
            np.full(square, float(len(rows))),
            np.full(square, weight.sum()),
            np.broadcast_to(weighted.sum(axis=0)[:, None], square),
            np.broadcast_to((weighted * rows).sum(axis=0)[:, None], square),
            weighted.T @ rows,
        )
    joint = present[:, :, None] & present[:, None, :]
    seen = np.cumsum(joint, axis=0, dtype=np.float64)
    weight = np.where(joint, decay ** (seen[-1] - seen), 0.0)
    return _PairSums(
        seen[-1],
        weight.sum(axis=0),
        np.einsum("rij,ri->ij", weight, known),
        np.einsum("rij,ri->ij", weight, known * known),
        np.einsum("rij,ri,rj->ij", weight, known, known),
    )


def _chunks(fits: Sequence[FitRows], longest: int) -> Iterator[tuple[int, FitRows, int, int]]:
    """Which fit, its rows, and the next piece [start, stop) of them to take up; pieces taken up before are kept."""
    done: FitRows | None = None
    for at, fit in enumerate(fits):
        continues = done is not None and done.start == fit.start and done.start < done.stop <= fit.stop
        start = done.stop if continues and done is not None else fit.start
        done = fit
        if fit.stop <= fit.start:
            continue
        if start == fit.stop:
            yield at, fit, start, start
        while start < fit.stop:
            stop = min(start + longest, fit.stop)
            yield at, fit, start, stop
            start = stop
