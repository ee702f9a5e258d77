"""From what a fit knows about assets to weights."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from pysys.systems.estimation.correlations import average_off_diagonal, without_holes
from pysys.systems.estimation.handcraft import handcrafted_weights
from pysys.systems.estimation.settings import WeightSettings
from pysys.systems.market_data import FloatArray, IntArray

_AT_ZERO = 1e-12  # relative to the largest value
_OWN_RISK = 1e-9  # share of variance nothing else has, so that two of the same asset have one answer


@dataclass(frozen=True, slots=True, eq=False)
class AssetEstimates:
    """What one fit knows; assets in the same order everywhere, NaN for what it does not know."""

    mean: FloatArray  # return a year
    stdev: FloatArray  # a year
    correlation: FloatArray
    years: float  # of data

    def __post_init__(self) -> None:
        count = len(self.mean)
        if self.stdev.shape != (count,) or self.correlation.shape != (count, count):
            raise ValueError(f"{count} means need as many deviations, and their correlations")

    @property
    def sharpe(self) -> FloatArray:
        return self.mean / self.stdev


def optimised_weights(estimates: AssetEstimates, settings: WeightSettings) -> FloatArray:
    """Weights of the assets, NaN for those without a mean, a deviation above 0 or a correlation with any other.

    Not yet cleaned. They add up to 1, except handcrafted weights when Sharpe ratios are taken as equal.
    """
    count = len(estimates.mean)
    if count == 1 or settings.method == "equal_weights":
        return np.full(count, 1.0 / count)
    off_diagonal = ~np.eye(count, dtype=bool)
    related = (~np.isnan(estimates.correlation) & off_diagonal).any(axis=1)
    known = np.flatnonzero(~np.isnan(estimates.mean) & (estimates.stdev > 0.0) & related)
    weights = np.full(count, np.nan)
    if len(known):
        weights[known] = _weights_of_known(_subset(estimates, known), settings)
    return weights


def _subset(estimates: AssetEstimates, known: IntArray) -> AssetEstimates:
    correlation = estimates.correlation[np.ix_(known, known)]
    filled = without_holes(correlation, np.ones(len(known), dtype=bool))
    return AssetEstimates(estimates.mean[known], estimates.stdev[known], filled, estimates.years)


def _weights_of_known(estimates: AssetEstimates, settings: WeightSettings) -> FloatArray:
    if settings.method == "handcraft":
        sharpe = None if settings.equalise_SR else estimates.sharpe
        return handcrafted_weights(estimates.correlation, sharpe, estimates.years)
    target = settings.ann_target_SR
    if settings.equalise_vols:
        estimates = _with_sharpe(replace(estimates, stdev=np.ones_like(estimates.stdev)), estimates.sharpe)
    if settings.equalise_SR:
        estimates = _with_sharpe(estimates, np.full_like(estimates.mean, target))
    if settings.method == "shrinkage":
        estimates = shrunk(estimates, settings.shrinkage_SR, settings.shrinkage_corr, target)
    return highest_sharpe_weights(estimates)


def _with_sharpe(estimates: AssetEstimates, sharpe: FloatArray) -> AssetEstimates:
    return replace(estimates, mean=sharpe * estimates.stdev)


def shrunk(estimates: AssetEstimates, of_sharpe: float, of_correlation: float, target: float) -> AssetEstimates:
    """Sharpe ratios pulled to `target` and correlations to their average; 0 leaves them, 1 replaces them.

    Source: Carver, Systematic Trading (2015), appendix C.
    """
    average = average_off_diagonal(estimates.correlation)
    correlation = estimates.correlation
    if not np.isnan(average):
        correlation = of_correlation * average + (1.0 - of_correlation) * correlation
        np.fill_diagonal(correlation, 1.0)
    sharpe = of_sharpe * target + (1.0 - of_sharpe) * estimates.sharpe
    return _with_sharpe(replace(estimates, correlation=correlation), sharpe)


def highest_sharpe_weights(estimates: AssetEstimates) -> FloatArray:
    """Long-only weights, adding up to 1, with the highest Sharpe ratio; exactly, by an active set of assets.

    When no asset has a positive mean, everything is in the one with the highest Sharpe ratio: with losses to share,
    the ratio is largest at a single asset.
    """
    if not (estimates.mean > 0).any():
        best = np.zeros(len(estimates.mean))
        best[int(np.argmax(estimates.sharpe))] = 1.0
        return best
    correlation = estimates.correlation + _OWN_RISK * np.eye(len(estimates.mean))
    covariance = correlation * np.outer(estimates.stdev, estimates.stdev)
    position = _nonnegative_minimum(covariance, estimates.mean)
    return position / position.sum()


def _nonnegative_minimum(covariance: FloatArray, mean: FloatArray) -> FloatArray:
    """x >= 0 with the smallest x' C x / 2 - mean' x (Lawson & Hanson, Solving Least Squares Problems, ch. 23)."""
    held = np.zeros(len(mean), dtype=bool)
    x = np.zeros(len(mean))
    small = _AT_ZERO * float(np.abs(mean).max())
    for _ in range(10 * len(mean)):
        gain = np.where(held, -np.inf, mean - covariance @ x)
        if gain.max() <= small:
            break
        held[int(gain.argmax())] = True
        for _ in range(len(mean)):
            best = np.zeros(len(mean))
            best[held] = np.linalg.solve(covariance[np.ix_(held, held)], mean[held])
            falling = held & (best <= 0)
            if not falling.any():
                x = best
                break
            x = x + float((x[falling] / (x[falling] - best[falling])).min()) * (best - x)  # until the first is at 0
            held &= x > _AT_ZERO * float(x.max())
            x[~held] = 0.0
    return x
