"""Weights for assets that have data, but not yet enough to estimate anything."""

from __future__ import annotations

import numpy as np

from pysys.systems.market_data import BoolArray, FloatArray

SHARE_OF_UNKNOWN = 0.5  # of an equal weight


def cleaned_weights(weights: FloatArray, must_have: BoolArray) -> FloatArray:
    """Weights in which assets that must have one, and have none yet (NaN), get half an equal share between them.

    The others make room in proportion. Assets without a weight that need none stay NaN when nobody else is in
    want, and have 0 when somebody is; nobody has any when nobody must.
    """
    missing = np.isnan(weights)
    if not must_have.any():
        return np.zeros_like(weights)
    wanting = missing & must_have
    if not wanting.any():
        return weights.copy()
    count, given = int(wanting.sum()), int((~missing).sum())
    share = SHARE_OF_UNKNOWN * count / (given + count)
    cleaned = np.where(wanting, share / count, np.where(missing, 0.0, weights * (1.0 - share)))
    return cleaned / cleaned.sum()
