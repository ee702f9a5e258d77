"""Standard deviation of daily price changes, in price units per day.

Source: Carver, Advanced Futures Trading Strategies (2023), strategy three: a fast estimate, pulled towards its own
ten-year average.

A volatility at or below `vol_abs_min` is missing: a price that has not moved yet has none, and a position sized by next
to nothing would be next to infinite. Whatever divides by it waits: sizing, carry, normalised returns.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from pysys.systems.market_data import BoolArray, FloatArray
from pysys.systems.smoothing import decay_of_span, ew_mean, ew_std, forward_fill

BUSINESS_DAYS_A_YEAR = 256


@dataclass(frozen=True, slots=True)
class MixedVolatility:
    """Exponentially weighted deviation, mixed with its own slow average."""

    days: float = 35  # span of the fast estimate
    min_periods: float = 10  # returns before the first value
    slow_vol_years: float = 10  # span of the slow average, in years of 256 days
    proportion_of_slow_vol: float = 0.3
    vol_abs_min: float = 1e-10  # price units per day; what is not above it is missing
    multiplier_to_get_daily_vol: float = 1.0

    established_name: ClassVar[str] = "sysquant.estimators.vol.mixed_vol_calc"

    def estimate(self, returns: FloatArray, index: BoolArray) -> FloatArray:
        """Volatility of daily price changes (date x instrument), on the rows of each instrument's index."""
        fast = ew_std(returns, decay_of_span(self.days), int(self.min_periods))
        slow = ew_mean(fast, decay_of_span(self.slow_vol_years * BUSINESS_DAYS_A_YEAR))
        mixed = self.proportion_of_slow_vol * slow + (1.0 - self.proportion_of_slow_vol) * fast
        return _above(self.vol_abs_min, _within(index, mixed)) * self.multiplier_to_get_daily_vol


@dataclass(frozen=True, slots=True)
class RobustVolatility:
    """Exponentially weighted deviation, never below a low quantile of its recent past."""

    days: float = 35  # span
    min_periods: float = 10  # returns before the first value
    vol_abs_min: float = 1e-10  # price units per day; what is not above it is missing
    vol_floor: bool = True
    floor_min_quant: float = 0.05  # the quantile that is the floor
    floor_min_periods: float = 100  # values before there is a floor
    floor_days: float = 500  # window of the quantile
    multiplier_to_get_daily_vol: float = 1.0

    established_name: ClassVar[str] = "sysquant.estimators.vol.robust_vol_calc"

    def estimate(self, returns: FloatArray, index: BoolArray) -> FloatArray:
        """Volatility of daily price changes (date x instrument), on the rows of each instrument's index."""
        vol = np.maximum(ew_std(returns, decay_of_span(self.days), int(self.min_periods)), self.vol_abs_min)
        vol = _within(index, vol)
        if self.vol_floor:
            vol = np.maximum(vol, self._floor(vol, index))
        return _above(self.vol_abs_min, vol) * self.multiplier_to_get_daily_vol

    def _floor(self, vol: FloatArray, index: BoolArray) -> FloatArray:
        import pandas as pd  # its rolling quantile keeps a sorted window; numpy would sort every window anew

        window = pd.DataFrame(vol).rolling(int(self.floor_days), min_periods=int(self.floor_min_periods))
        floor = window.quantile(self.floor_min_quant).to_numpy(copy=True)
        has_index = index.any(axis=0)
        floor[index.argmax(axis=0)[has_index], np.flatnonzero(has_index)] = 0.0
        return forward_fill(floor)


Volatility = MixedVolatility | RobustVolatility

VOLATILITIES: dict[str, type[MixedVolatility] | type[RobustVolatility]] = {
    "mixed_vol_calc": MixedVolatility,
    "robust_vol_calc": RobustVolatility,
}


def _above(least: float, vol: FloatArray) -> FloatArray:
    """Volatilities above `least`; the others are missing."""
    return np.where(vol > least, vol, np.nan)


def _within(index: BoolArray, values: FloatArray) -> FloatArray:
    return np.where(index, values, np.nan)
