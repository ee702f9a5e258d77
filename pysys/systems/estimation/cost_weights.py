"""Optimised weights leant towards what is cheap to trade.

Costs are known far better than returns before costs, so a difference in costs may move weights as far as if it were
certain, where the same difference in measured returns may not. Meant for weights fitted before costs
(`cost_multiplier: 0`), or they count twice.
Source: Carver, "Optimising weights with costs" (qoppac.blogspot.com, 2016): weights are multiplied by a factor for
the Sharpe ratio that costs take, relative to the average. The factor here is that of handcrafting, without its
uncertainty.
"""

from __future__ import annotations

import math

import numpy as np

from pysys.systems.estimation.sharpe_adjustment import AVERAGE_SHARPE
from pysys.systems.market_data import FloatArray


def cost_weighted(weights: FloatArray, costs: FloatArray, average_correlation: float) -> FloatArray:
    """Weights times `cost_factor`, with the sum they had.

    costs: yearly, in Sharpe ratio units, positive; compared with their mean over the assets with a weight and a known
    cost. Those without a known cost keep their weight, before the sum is restored. average_correlation: of the
    assets; not known, 0.
    """
    known = ~np.isnan(weights) & ~np.isnan(costs)
    if not known.any():
        return weights
    factor = np.ones_like(weights)
    relative = costs[known] - costs[known].mean()
    factor[known] = cost_factor(relative, 0.0 if math.isnan(average_correlation) else average_correlation)
    adjusted = weights * factor
    total = float(np.nansum(adjusted))
    return adjusted * (float(np.nansum(weights)) / total) if total > 0 else weights


def cost_factor(relative_cost: FloatArray, average_correlation: float) -> FloatArray:
    """2 w, with w the weight of an asset in its long-only portfolio of highest Sharpe ratio with an average one.

    w = a / (a + b), a = max(S - rho S0, 0), b = max(S0 - rho S, 0); S0 = 0.5 is the average Sharpe ratio and
    S = S0 - relative_cost; both assets have the same risk and the correlation rho. 1 at the average, between 0 and 2.
    """
    sharpe = AVERAGE_SHARPE - relative_cost
    mine = np.maximum(sharpe - average_correlation * AVERAGE_SHARPE, 0.0)
    other = np.maximum(AVERAGE_SHARPE - average_correlation * sharpe, 0.0)
    both = mine + other
    return np.divide(2.0 * mine, both, out=np.ones_like(both), where=both > 0)
