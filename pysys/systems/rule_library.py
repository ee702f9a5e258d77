"""More trading rules: relative value, mean reversion, long-term value, factors, and trends of normalised prices.

They keep the conventions of `rules`: panels in, unscaled forecasts on (date x instrument) out, positive to be long.
Each is a function of the past alone, of each instrument on its own or with its asset class, and does not depend on
the unit of the prices. A missing day leaves the forecast of a smoothing as it was and otherwise has no forecast; a
price that never moves, and an instrument alone in its class, give 0, which means no forecast. Prices may be zero or
negative: nothing here takes a logarithm or divides by a price. Sources: Carver, Advanced Futures Trading Strategies
(2023), if no other is named.
"""

from __future__ import annotations

import math

import numpy as np

from pysys.systems.market_data import FloatArray
from pysys.systems.raw_data import Panel
from pysys.systems.rules import ewmac, relative_momentum
from pysys.systems.smoothing import (
    decay_of_com,
    decay_of_span,
    ew_mean,
    ew_std,
    forward_fill,
    lag,
    rolling,
    rolling_count,
)
from pysys.systems.volatility import RobustVolatility

WINGS_SPAN_DAYS = 5000
WINGS_MIN_DAYS = 3


def ewmac_calc_vol(price: Panel, Lfast: float, Lslow: float | None = None, vol_days: float = 35) -> FloatArray:  # noqa: N803
    """Trend of any series, in deviations of its own daily changes: `ewmac` with the volatility worked out here.

    On the cumulated normalised returns of an instrument this is its normalised momentum, on those of its asset class
    the asset trend. No forecast with fewer than ten daily changes.
    """
    changes = price.values - lag(price.values)
    vol = RobustVolatility(days=vol_days).estimate(changes, price.index)
    return ewmac(price, Panel(vol, price.index), Lfast, Lslow)


def ewmac_forecast_with_defaults(price: Panel, Lfast: float = 32, Lslow: float = 128) -> FloatArray:  # noqa: N803
    """`ewmac_calc_vol` of the price with the established spans."""
    return ewmac_calc_vol(price, Lfast, Lslow)


def relative_carry(smoothed_carry: Panel, median_carry_for_asset_class: Panel) -> FloatArray:
    """Smoothed carry less the median smoothed carry of the asset class, both in annual standard deviations."""
    return smoothed_carry.values - median_carry_for_asset_class.values


def cross_sectional_mean_reversion(
    cum_norm_return: Panel, asset_class_price: Panel, horizon: float = 250, ewma_span: float | None = None
) -> FloatArray:
    """Average daily *under*performance of the asset class over `horizon` days, smoothed: what lagged catches up.

    The opposite of `relative_momentum`, for horizons of years on which relative performance reverts.
    """
    return -relative_momentum(cum_norm_return, asset_class_price, horizon, ewma_span)


def mr_wings(price: Panel, vol: Panel, Lfast: float = 4) -> FloatArray:  # noqa: N803
    """Against a fast trend in its extremes ("wings"): -ewmac(Lfast, 4 Lfast) beyond three of its deviations, 0 within.

    The deviation is exponentially weighted over the trend's own past, span 5000 days. Here 0 is a forecast: no
    position until the next extreme.
    """
    trend = ewmac(price, vol, Lfast, 4 * Lfast)
    trend[~price.index] = np.nan
    typical = ew_std(trend, decay_of_span(WINGS_SPAN_DAYS), WINGS_MIN_DAYS)
    against = np.where(np.abs(trend) < 3.0 * typical, 0.0, -trend)
    return np.where(np.isnan(typical) | np.isnan(trend), np.nan, against)


def long_term_value(cum_norm_return: Panel, horizon: float = 1280) -> FloatArray:
    """How far the cumulated normalised return fell in `horizon` days (five years), in deviations of such a fall.

    (average around `horizon` days ago - now) / sqrt(horizon), the average over the tenth of the horizon on either
    side, half of which must be known. Source: Asness, Moskowitz and Pedersen, Value and Momentum Everywhere (2013),
    the value of assets without a book value: the price 4.5 to 5.5 years ago against today's; here in normalised
    returns, since a back-adjusted price has no level.
    """
    known = forward_fill(cum_norm_return.values)
    present = ~np.isnan(known)
    either_side = max(int(horizon / 10), 1)
    width = 2 * either_side + 1
    count = rolling_count(present, width)
    average = rolling(np.where(present, known, 0.0), width, np.add, 0.0) / np.where(count >= width / 2, count, np.nan)
    return (lag(average, int(horizon) - either_side) - known) / math.sqrt(horizon)


def factor_trading_rule(demeaned_factor: Panel, smooth: float = 90) -> FloatArray:
    """A factor less its average, smoothed (centre of mass, days): long what has more of it.

    On `neg_skew`, less the historic average of all instruments, this is absolute skew; less the average of the asset
    class it is relative skew. Assets with negative skew pay for it. A forecast is in the factor's own unit, so its
    scalar depends on the factor: estimate it.
    """
    return ew_mean(demeaned_factor.values, decay_of_com(smooth))
