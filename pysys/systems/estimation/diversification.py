"""Diversification multipliers: how much larger a portfolio may be because its parts do not move together."""

from __future__ import annotations

import numpy as np

from pysys.systems.daily import DateArray
from pysys.systems.estimation.correlations import CorrelationsOverTime
from pysys.systems.estimation.periods import period_of_days
from pysys.systems.estimation.settings import MultiplierSettings
from pysys.systems.market_data import BoolArray, FloatArray
from pysys.systems.smoothing import decay_of_span, ew_mean

_SMALLEST_RISK = 1e-7


def diversification_multiplier(weights: FloatArray, correlation: FloatArray, largest: float) -> float:
    """1 / sqrt(w' C w), at most `largest`; 1 where that is not defined.

    >>> diversification_multiplier(np.array([0.5, 0.5]), np.eye(2), largest=2.5)
    1.414213562373095
    """
    variance = float(weights @ correlation @ weights)
    if not variance > _SMALLEST_RISK * _SMALLEST_RISK:
        return 1.0
    return min(1.0 / float(np.sqrt(variance)), largest)


def multiplier_over_time(
    dates: DateArray,
    index: BoolArray,
    weights: FloatArray,
    correlations: CorrelationsOverTime | None,
    settings: MultiplierSettings,
) -> FloatArray:
    """Smoothed multiplier of each day of `index`, NaN outside it. 1 before the first period.

    dates, index: of days. weights: smoothed, (date x asset) in the order of the correlations, NaN outside the index.
    Each period's correlations meet the weights of its first day, or of its last when they are of the whole sample.
    """
    if correlations is None:
        return np.where(index, 1.0, np.nan)
    days = np.flatnonzero(index)
    level = np.ones(len(correlations.periods))
    for at, (period, correlation) in enumerate(zip(correlations.periods, correlations.matrices, strict=True)):
        moment = period.end if period.in_sample else period.start
        row = int(np.searchsorted(dates[days], moment, side="right")) - 1
        if row >= 0:
            now = np.nan_to_num(weights[days[row]], nan=0.0)
            level[at] = diversification_multiplier(now, correlation, settings.dm_max)
    period_of = period_of_days(dates, correlations.periods)
    daily = np.where(period_of >= 0, level[np.maximum(period_of, 0)], 1.0)
    return np.where(index, ew_mean(np.where(index, daily, np.nan), decay_of_span(settings.ewma_span)), np.nan)
