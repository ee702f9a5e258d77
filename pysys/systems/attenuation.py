"""Forecasts made weaker when an instrument is more volatile than it used to be, and stronger when less.

Source: Carver, Advanced Futures Trading Strategies (2023), strategy thirteen.
"""

from __future__ import annotations

import numpy as np

from pysys.systems.market_data import FloatArray
from pysys.systems.positions import daily_percentage_volatility
from pysys.systems.raw_data import Panel, RawData
from pysys.systems.smoothing import decay_of_span, divide, ew_mean, rolling, rolling_count

AVERAGE_DAYS = 2560  # ten years, of the average that volatility is compared with
SMOOTHING_SPAN = 10.0  # business days
_DIGITS = 12  # of relative volatility that are not rounding


def vol_attenuation(percentage_vol: FloatArray) -> FloatArray:
    """Factor on forecasts, between 0.5 and 2, from volatility in % of price a day (date x instrument).

    V = volatility / its mean of the present values among the last 2560 days (of all, while there are fewer).
    Q = quantile of today's V among all V up to today, `expanding_quantile`.
    factor = ew mean, span 10, of 2 - 1.5 Q: a third more than usual at a quarter, half at the most volatile.
    NaN before the first volatility; on a day without one the last factor repeats.
    """
    present = ~np.isnan(percentage_vol)
    total = rolling(np.where(present, percentage_vol, 0.0), AVERAGE_DAYS, np.add, 0.0)
    relative = divide(percentage_vol, divide(total, rolling_count(present, AVERAGE_DAYS)))
    return ew_mean(2.0 - 1.5 * expanding_quantile(np.round(relative, _DIGITS)), decay_of_span(SMOOTHING_SPAN))


def expanding_quantile(values: FloatArray) -> FloatArray:
    """Where each value stands among those up to it in its column: 0 the lowest, 1 the highest; NaN where missing.

    Equal values share the middle of their places. A first value, with nothing to compare it with, is at 2/3, where
    nothing is attenuated.
    """
    import pandas as pd  # its expanding rank keeps the past sorted; numpy would sort it anew every day

    rank = pd.DataFrame(values).expanding(min_periods=1).rank().to_numpy()
    before = np.cumsum(~np.isnan(values), axis=0) - 1.0
    quantile = divide(rank - 1.0, before)
    return np.where(before == 0, np.where(np.isnan(values), np.nan, 2.0 / 3.0), quantile)


def attenuation_stage(raw: RawData) -> Panel:
    """`vol_attenuation` of every instrument, on the days of its price."""
    factor = vol_attenuation(daily_percentage_volatility(raw.daily_returns_vol, raw.denominator_price))
    return Panel(np.where(raw.price.index, factor, np.nan), raw.price.index)


def attenuated(forecast: Panel, attenuation: Panel) -> Panel:
    """Forecasts of one rule times the factor of the day; as they are before there is a volatility."""
    factor = np.where(np.isnan(attenuation.values), 1.0, attenuation.values)
    return Panel(forecast.values * factor, forecast.index)
