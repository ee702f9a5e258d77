"""How far a weight may lean towards an asset whose Sharpe ratio was better than average.

The difference was measured over a few years and is uncertain. For several quantiles of what it might really be, the
best portfolio of two such assets is found; their average says how much weight the evidence justifies.
Source: Carver, Systematic Trading (2015), ch. 4, and "Handcrafting" (qoppac.blogspot.com, 2018).

The best of two is searched for although it has a closed form. The search ends a little short of it, and so do the
weights of the established library: the same search from the same start gives the same weights.
"""

from __future__ import annotations

from statistics import NormalDist

import numpy as np

from pysys.systems.market_data import BoolArray, FloatArray

AVERAGE_SHARPE = 0.5  # a year, of the assets compared with
QUANTILES = (0.2, 0.4, 0.6, 0.8)
_STANDARD_NORMAL = np.array([NormalDist().inv_cdf(quantile) for quantile in QUANTILES])

_TOLERANCE = 1e-5  # of Sharpe ratio, or of weight
_SUFFICIENT_DECREASE = 0.1
_SHORTEST_CUT = 0.1  # of a step
_MOST_CUTS = 10
_MOST_STEPS = 100
_SMALLEST_VARIANCE = 1e-12  # of opposites
_CAUTION = 0.2  # share of the old curvature a step at least confirms


def weight_multiplier(relative_sharpe: FloatArray, average_correlation: float, years: float) -> FloatArray:
    """Factor on the weight of assets whose yearly Sharpe ratios differ from the average by `relative_sharpe`.

    1 at the average, and never against the difference; between 0 and 2. years: of data the ratios are measured on.
    """
    uncertainty = np.sqrt(2.0 * (1.0 - average_correlation) / years)
    sharpe = (relative_sharpe + AVERAGE_SHARPE)[:, None] + uncertainty * _STANDARD_NORMAL
    weight = best_weight(sharpe.ravel(), AVERAGE_SHARPE, average_correlation).reshape(sharpe.shape)
    multiplier = 2.0 * weight.mean(axis=1)
    return np.where(np.sign(multiplier - 1.0) == np.sign(relative_sharpe), multiplier, 1.0)


def best_weight(sharpe: FloatArray, other: float, correlation: float) -> FloatArray:
    """Weight of the first of two assets in their long-only portfolio with the highest Sharpe ratio, to 1e-5 of that.

    sharpe: of the first asset, many at once; other: of the second; both have the same deviation.
    As sequential quadratic programming finds it from equal weights. Along the line on which weights add up to 1 the
    method is one-dimensional: a step to the minimum of a parabola with the slope found and the curvature estimated so
    far, kept within the weights allowed, and cut back until it lowers the negative Sharpe ratio enough.
    Source: Kraft, A software package for sequential quadratic programming, DFVLR-FB 88-28 (1988).
    """
    weight = np.full(len(sharpe), 0.5)
    searching = np.arange(len(sharpe))
    curvature = np.full(len(sharpe), 2.0)
    for _ in range(_MOST_STEPS):
        mine, here = sharpe[searching], weight[searching]
        value, slope = _negative_sharpe(here, mine, other, correlation)
        step = np.clip(-slope / curvature, -here, 1.0 - here)
        moves = np.abs(slope * step) >= _TOLERANCE
        searching, mine, here = searching[moves], mine[moves], here[moves]
        value, slope, step, curvature = value[moves], slope[moves], step[moves], curvature[moves]
        if not len(searching):
            break
        step = _cut_back(step, here, value, slope, mine, other, correlation)
        weight[searching] = np.clip(here + step, 0.0, 1.0)
        new_value, new_slope = _negative_sharpe(weight[searching], mine, other, correlation)
        curvature = _curvature(curvature, slope, new_slope, step)
        goes_on = (np.abs(new_value - value) >= _TOLERANCE) & (np.abs(step) * np.sqrt(2.0) >= _TOLERANCE)
        searching, curvature = searching[goes_on], curvature[goes_on]
    return weight


def _negative_sharpe(
    weight: FloatArray, sharpe: FloatArray, other: float, correlation: float
) -> tuple[FloatArray, FloatArray]:
    """Negative Sharpe ratio, and its slope when weight moves from the second asset to the first."""
    rest = 1.0 - weight
    mean = weight * sharpe + rest * other
    variance = np.maximum(weight * weight + rest * rest + 2.0 * correlation * weight * rest, _SMALLEST_VARIANCE)
    stdev = np.sqrt(variance)
    rising_variance = (1.0 - correlation) * (weight - rest)  # half of it
    return -mean / stdev, mean * rising_variance / (variance * stdev) - (sharpe - other) / stdev


def _cut_back(
    step: FloatArray,
    start: FloatArray,
    value: FloatArray,
    slope: FloatArray,
    sharpe: FloatArray,
    other: float,
    correlation: float,
) -> FloatArray:
    """Steps shortened until each lowers the value by a tenth of what its slope promises."""
    step, promised = step.copy(), slope * step
    too_long: BoolArray = np.ones(len(step), dtype=bool)
    for _ in range(_MOST_CUTS):
        end = np.clip(start[too_long] + step[too_long], 0.0, 1.0)
        change = _negative_sharpe(end, sharpe[too_long], other, correlation)[0] - value[too_long]
        failed = change > _SUFFICIENT_DECREASE * promised[too_long]
        too_long[too_long] = failed
        if not failed.any():
            break
        hoped = promised[too_long]
        shorter = np.maximum(hoped / (2.0 * (hoped - change[failed])), _SHORTEST_CUT)
        step[too_long] *= shorter
        promised[too_long] *= shorter
    return step


def _curvature(old: FloatArray, slope: FloatArray, new_slope: FloatArray, step: FloatArray) -> FloatArray:
    """Of the parabola through both slopes; never below a fifth of the old one, so that it stays positive."""
    return np.maximum((new_slope - slope) / step, _CAUTION * old)
