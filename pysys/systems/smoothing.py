"""Smoothing along the rows of (date x instrument) arrays, where missing values are NaN.

Exponential weights decay on missing days too. The recursions run as a product with one small triangular matrix per
block of rows, which is as exact as running them row by row and keeps the whole history in a few BLAS calls.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from pysys.systems.market_data import BoolArray, FloatArray

_BLOCK = 32  # rows; small enough for BLAS to stay on one thread
_ROUNDING = 1e-14  # a variance below this share of the mean square is nothing but rounding


def decay_of_span(span: float) -> float:
    """Weight kept from one row to the next, for a span in rows."""
    return 1.0 - 2.0 / (span + 1.0)


def decay_of_com(com: float) -> float:
    """Weight kept from one row to the next, for a centre of mass in rows."""
    return 1.0 - 1.0 / (1.0 + com)


def divide(numerator: FloatArray, denominator: FloatArray) -> FloatArray:
    """Quotient, NaN where the denominator is zero or anything is missing."""
    out = np.full(np.broadcast_shapes(np.shape(numerator), np.shape(denominator)), np.nan)
    return np.divide(numerator, denominator, out=out, where=np.asarray(denominator) != 0)


def lag(values: FloatArray, rows: int = 1) -> FloatArray:
    """Values `rows` rows earlier; NaN at the start."""
    out = np.full_like(values, np.nan)
    if rows < len(values):
        out[rows:] = values[: len(values) - rows]
    return out


def forward_fill(values: FloatArray) -> FloatArray:
    """Missing values replaced by the last present one above them."""
    present = ~np.isnan(values)
    if present.all():
        return values.copy()
    return _take(values, _last_known(present))


def ew_sum(values: FloatArray, decay: float) -> FloatArray:
    """y[t] = decay * y[t-1] + values[t] down each column. No missing values."""
    rows = len(values)
    flat = values.reshape(rows, -1)
    blocks = -(-rows // _BLOCK)
    padded = np.zeros((blocks * _BLOCK, flat.shape[1]))
    padded[:rows] = flat
    age = np.arange(_BLOCK)[:, None] - np.arange(_BLOCK)[None, :]
    kernel = np.where(age >= 0, decay ** np.maximum(age, 0), 0.0)
    summed = kernel @ padded.reshape(blocks, _BLOCK, flat.shape[1])
    if blocks > 1:
        ends = ew_sum(summed[:-1, -1], decay**_BLOCK)  # of each block, all before it included
        summed[1:] += decay ** np.arange(1, _BLOCK + 1)[:, None] * ends[:, None]
    return summed.reshape(blocks * _BLOCK, -1)[:rows].reshape(values.shape)


def ew_mean(values: FloatArray, decay: float, min_periods: int = 1) -> FloatArray:
    """Exponentially weighted mean of the present values.

    NaN before `min_periods` values were present; on a missing day the last mean repeats.
    """
    return ew_means(values, (decay,), min_periods)[0]


def ew_means(values: FloatArray, decays: Sequence[float], min_periods: int = 1) -> list[FloatArray]:
    """`ew_mean` of the same values at several decays."""
    present = ~np.isnan(values)
    numbers, ones = np.where(present, values, 0.0), present.astype(np.float64)
    known = present & _enough(present, min_periods)
    means = [ew_sum(numbers, decay) / np.where(known, ew_sum(ones, decay), np.nan) for decay in decays]
    if np.array_equal(known, np.logical_or.accumulate(known, axis=0)):  # no day is missing after the first
        return means
    last = _last_known(known)
    return [_take(mean, last) for mean in means]


def ew_std(values: FloatArray, decay: float, min_periods: int) -> FloatArray:
    """Exponentially weighted standard deviation of the present values, corrected for bias.

    NaN before `min_periods` (at least two) values were present; on a missing day the last one repeats.
    """
    present = ~np.isnan(values)
    numbers, ones = np.where(present, values, 0.0), present.astype(np.float64)
    known = present & _enough(present, max(min_periods, 2))
    weight = np.where(known, ew_sum(ones, decay), np.nan)
    mean = ew_sum(numbers, decay) / weight
    mean_square = ew_sum(numbers * numbers, decay) / weight
    variance = mean_square - mean * mean
    variance[variance < _ROUNDING * mean_square] = 0.0
    std = np.sqrt(divide(variance, 1.0 - ew_sum(ones, decay * decay) / weight / weight))
    return _take(std, _last_known(known))


def rolling(values: FloatArray, window: int, combine: np.ufunc, identity: float) -> FloatArray:
    """`combine` (add, maximum or minimum) over the last `window` rows, fewer at the start. No missing values.

    The window is put together from pieces of 1, 2, 4, ... rows, so sums do not lose digits to subtraction.
    """
    out = np.full_like(values, identity)
    piece, size, taken = values, 1, 0
    while size <= window:
        if window & size:
            combine(out, _delayed(piece, taken, identity), out=out)
            taken += size
        if 2 * size <= window:
            piece = combine(piece, _delayed(piece, size, identity))
        size *= 2
    return out


def rolling_count(present: BoolArray, window: int) -> FloatArray:
    """Number of present rows among the last `window`."""
    running = np.cumsum(present, axis=0, dtype=np.float64)
    return running - _delayed(running, window, 0.0)


def _delayed(values: FloatArray, rows: int, identity: float) -> FloatArray:
    if rows == 0:
        return values
    out = np.full_like(values, identity)
    if rows < len(values):
        out[rows:] = values[: len(values) - rows]
    return out


def _enough(present: BoolArray, min_periods: int) -> BoolArray:
    if min_periods <= 1:
        return np.logical_or.accumulate(present, axis=0)
    return np.cumsum(present, axis=0, dtype=np.int32) >= min_periods


def _last_known(known: BoolArray) -> NDArray[np.intp]:
    """For each cell, the flat position of the last known one at or above it in its column; -1 before the first."""
    cells = np.arange(known.size).reshape(known.shape)
    cells[~known] = -1
    return np.maximum.accumulate(cells, axis=0)


def _take(values: FloatArray, last: NDArray[np.intp]) -> FloatArray:
    """Values at flat positions; NaN where the position is -1."""
    taken = np.take(values, last, mode="wrap")
    taken[last < 0] = np.nan
    return taken
