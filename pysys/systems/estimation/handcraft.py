"""Handcrafted weights: split the assets into two groups, then each group again, and share equally at every split.

Source: Carver, "Handcrafting" (qoppac.blogspot.com, 2018).
"""

from __future__ import annotations

import numpy as np

from pysys.systems.estimation.correlations import average_off_diagonal
from pysys.systems.estimation.diversification import diversification_multiplier
from pysys.systems.estimation.sharpe_adjustment import weight_multiplier
from pysys.systems.market_data import FloatArray, IntArray

LARGEST_MULTIPLIER = 2.5  # of one group
_SAME_HEIGHT = 1e-6


def handcrafted_weights(correlation: FloatArray, sharpe: FloatArray | None, years: float) -> FloatArray:
    """Weights of assets of equal risk, in their order.

    correlation: without holes. sharpe: a year, measured over `years`; None when all count as equal, and then the
    weights of more than two assets add up to more than 1, the more the better they diversify.
    """
    weights = equal_risk_weights(correlation)
    if sharpe is None or len(weights) == 1:
        return weights
    weights = weights * weight_multiplier(sharpe - sharpe.mean(), average_off_diagonal(correlation), years)
    return weights / weights.sum()


def equal_risk_weights(correlation: FloatArray) -> FloatArray:
    """Half to each of two groups, times the diversification inside it, and so on down to pairs."""
    count = len(correlation)
    if count <= 2:
        return np.full(count, 1.0 / count)
    weights = np.empty(count)
    for group in two_groups(correlation):
        inside = correlation[np.ix_(group, group)]
        shares = equal_risk_weights(inside)
        weights[group] = 0.5 * diversification_multiplier(shares, inside, LARGEST_MULTIPLIER) * shares
    return weights


def two_groups(correlation: FloatArray) -> tuple[IntArray, IntArray]:
    """Assets whose correlations with all others are alike go together: complete linkage, cut below the last merge.

    Where that does not leave two groups, because several merges are as far apart as the last, every other asset.
    """
    differences = correlation[:, None, :] - correlation[None, :, :]
    distance = np.sqrt((differences * differences).sum(axis=2))
    np.fill_diagonal(distance, np.inf)
    group = np.arange(len(correlation))
    height = 0.0
    for _ in range(len(correlation) - 2):
        first, second = divmod(int(distance.argmin()), len(correlation))
        height = max(height, float(distance[first, second]))
        group[group == group[second]] = group[first]
        farthest = np.maximum(distance[first], distance[second])
        distance[first], distance[:, first] = farthest, farthest
        distance[second], distance[:, second] = np.inf, np.inf
        distance[first, first] = np.inf
    if height > float(distance.min()) - _SAME_HEIGHT:
        return np.arange(0, len(correlation), 2), np.arange(1, len(correlation), 2)
    one = group == group[0]
    return np.flatnonzero(one), np.flatnonzero(~one)
