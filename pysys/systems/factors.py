"""Slow characteristics of an instrument ("factors") and what they are compared with; (date x instrument) throughout.

Source: Carver, Advanced Futures Trading Strategies (2023), the strategies on skew: assets that crash pay a premium,
so what matters is the skew of an instrument against some average of skews.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np

from pysys.domain.errors import ConfigError
from pysys.systems.asset_classes import average_of_class, average_of_present
from pysys.systems.market_data import FloatArray
from pysys.systems.smoothing import decay_of_span, ew_mean, rolling, rolling_count
from pysys.systems.volatility import BUSINESS_DAYS_A_YEAR

HISTORIC_AVERAGE_SPAN_YEARS = 15
FACTORS = ("skew", "neg_skew")
_ROUNDING = 1e-14  # a variance below this share of the mean square is nothing but rounding
_BUSINESS_SHARE_OF_WEEK = 5 / 7


def factor(name: str, percentage_returns: FloatArray, lookback_days: float) -> FloatArray:
    """A factor by its established name, measured over `lookback_days` calendar days.

    Raises ConfigError for a name there is no factor of.
    """
    if name not in FACTORS:
        raise ConfigError(f"no factor is called {name}; choose {' or '.join(FACTORS)}")
    skew = rolling_skew(percentage_returns, max(round(lookback_days * _BUSINESS_SHARE_OF_WEEK), 3))
    return skew if name == "skew" else -skew


def rolling_skew(values: FloatArray, days: int) -> FloatArray:
    """Skew of the present values of the last `days` rows, corrected for bias.

    n / ((n-1)(n-2)) * sum((x - mean)^3) / std^3, missing with fewer than three values or half the window, and where
    the values are all alike.
    """
    present = ~np.isnan(values)
    x = np.where(present, values, 0.0)
    count = rolling_count(present, days)
    known = count >= max(math.ceil(days / 2), 3)
    n = np.where(known, count, np.nan)
    first, second, third = (rolling(power, days, np.add, 0.0) / n for power in (x, x * x, x * x * x))
    variance = second - first * first
    variance[variance <= _ROUNDING * second] = np.nan
    centred = third - 3.0 * first * second + 2.0 * first**3
    return np.sqrt(n * (n - 1.0)) / (n - 2.0) * centred / variance**1.5


def demeaned(values: FloatArray, classes: Sequence[str], method: str) -> FloatArray:
    """A factor less the average that `method` names. Raises ConfigError for a method there is none of."""
    try:
        average = DEMEAN_METHODS[method]
    except KeyError:
        raise ConfigError(f"no demean method is called {method}; choose {', '.join(DEMEAN_METHODS)}") from None
    return values - average(values, classes)


def _of_all_now(values: FloatArray, classes: Sequence[str]) -> FloatArray:
    return average_of_present(values)[:, None]


def _of_all_so_far(values: FloatArray, classes: Sequence[str]) -> FloatArray:
    return ew_mean(average_of_present(values)[:, None], _historic_decay())


def _own_so_far(values: FloatArray, classes: Sequence[str]) -> FloatArray:
    return ew_mean(values, _historic_decay())


def _of_class_now(values: FloatArray, classes: Sequence[str]) -> FloatArray:
    return average_of_class(values, classes)


def _historic_decay() -> float:
    return decay_of_span(HISTORIC_AVERAGE_SPAN_YEARS * BUSINESS_DAYS_A_YEAR)


# Established names. The first two are absolute: what is compared is not a choice among peers alone.
DEMEAN_METHODS: dict[str, Callable[[FloatArray, Sequence[str]], FloatArray]] = {
    "historic_average_factor_value_all_assets": _of_all_so_far,
    "average_factor_value_for_instrument": _own_so_far,
    "current_average_factor_values_over_all_assets": _of_all_now,
    "average_factor_value_in_asset_class_for_instrument": _of_class_now,
}
