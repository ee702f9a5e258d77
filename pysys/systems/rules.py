"""The trading rules: daily series of every instrument in, unscaled forecasts out, positive to be long.

Each takes the panels its configuration names and its own parameters, and returns values on (date x instrument).
Sources: Carver, Systematic Trading (2015), appendix B (ewmac, carry); Advanced Futures Trading Strategies (2023)
(breakout, acceleration, relative momentum).
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from pysys.systems.market_data import FloatArray
from pysys.systems.raw_data import Panel
from pysys.systems.smoothing import (
    decay_of_com,
    decay_of_span,
    divide,
    ew_mean,
    ew_means,
    forward_fill,
    lag,
    rolling,
    rolling_count,
)

Rule = Callable[..., FloatArray]


def ewmac(price: Panel, vol: Panel, Lfast: float, Lslow: float | None = None) -> FloatArray:  # noqa: N803
    """Fast less slow exponential average of price (spans in days; slow is 4 fast by default), in daily deviations."""
    since_start = price.values - _first_present(price.values)  # so that a price that never moves has no trend at all
    slow_span = 4 * Lfast if Lslow is None else Lslow
    fast, slow = ew_means(since_start, (decay_of_span(Lfast), decay_of_span(slow_span)))
    return divide(fast - slow, forward_fill(vol.values))


def accel(price: Panel, vol: Panel, Lfast: float) -> FloatArray:  # noqa: N803
    """Change of the trend `ewmac(Lfast, 4 Lfast)` over Lfast days."""
    trend = ewmac(price, vol, Lfast, 4 * Lfast)
    trend[~price.index] = np.nan
    return trend - lag(trend, int(Lfast))


def carry(raw_carry: Panel, smooth_days: float = 90) -> FloatArray:
    """Smoothed carry in annual standard deviations; smooth_days is a centre of mass."""
    return ew_mean(raw_carry.values, decay_of_com(smooth_days))


def breakout(price: Panel, lookback: float = 10, smooth: float | None = None) -> FloatArray:
    """Where the price stands in its range of `lookback` days, -20 at the low and +20 at the high, smoothed."""
    days = int(lookback)
    values = price.values
    missing = np.isnan(values)
    high = rolling(np.where(missing, -np.inf, values), days, np.maximum, -np.inf)
    low = rolling(np.where(missing, np.inf, values), days, np.minimum, np.inf)
    known = ~missing & (rolling_count(~missing, days) >= math.ceil(days / 2))
    high[~known] = low[~known] = np.nan
    place = 40.0 * divide(values - (high + low) / 2.0, high - low)
    span = max(int(days / 4.0), 1) if smooth is None else smooth
    return ew_mean(place, decay_of_span(span), min_periods=math.ceil(span / 2))


def relative_momentum(
    cum_norm_return: Panel, asset_class_price: Panel, horizon: float = 250, ewma_span: float | None = None
) -> FloatArray:
    """Average daily outperformance of the asset class over `horizon` days, smoothed."""
    ahead = forward_fill(cum_norm_return.values) - forward_fill(asset_class_price.values)
    ahead[(ahead == 0.0) | ~cum_norm_return.index] = np.nan
    average = (ahead - lag(ahead, int(horizon))) / horizon
    span = max(int(horizon / 4.0), 2) if ewma_span is None else ewma_span
    return ew_mean(average, decay_of_span(span))


def _first_present(values: FloatArray) -> FloatArray:
    """The first present value of each column; NaN where there is none."""
    if not len(values):
        return np.full(values.shape[1:], np.nan)
    first = (~np.isnan(values)).argmax(axis=0)
    return values[first, np.arange(values.shape[1])]
