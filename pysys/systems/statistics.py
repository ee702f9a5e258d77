"""Statistics of daily percentage returns, under the names the field uses. A year has 256 business days."""

from __future__ import annotations

import math

import numpy as np

from pysys.systems.market_data import FloatArray
from pysys.systems.volatility import BUSINESS_DAYS_A_YEAR


def return_statistics(daily: FloatArray) -> dict[str, float]:
    """Statistics of daily returns in % (missing days are left out). NaN where there is too little to measure."""
    returns = daily[~np.isnan(daily)]
    count = len(returns)
    mean = float(returns.mean()) if count else math.nan
    std = float(returns.std(ddof=1)) if count > 1 else math.nan
    annual_mean = mean * BUSINESS_DAYS_A_YEAR
    annual_std = std * math.sqrt(BUSINESS_DAYS_A_YEAR)
    gains, losses = returns[returns > 0], returns[returns < 0]
    avg_gain, avg_loss = _mean(gains), _mean(losses)
    downside = float(losses.std()) * math.sqrt(BUSINESS_DAYS_A_YEAR) if len(losses) else math.nan
    drawdown = _drawdown(returns)
    worst, average = (float(drawdown.min()), float(drawdown.mean())) if count else (math.nan, math.nan)
    t_stat = _ratio(mean, std / math.sqrt(count)) if count > 1 else math.nan
    return {
        "min": float(returns.min()) if count else math.nan,
        "max": float(returns.max()) if count else math.nan,
        "median": float(np.median(returns)) if count else math.nan,
        "mean": mean,
        "std": std,
        "skew": _skew(returns),
        "ann_mean": annual_mean,
        "ann_std": annual_std,
        "sharpe": _ratio(annual_mean, annual_std),
        "sortino": _ratio(annual_mean, downside),
        "avg_drawdown": average,
        "time_in_drawdown": float((drawdown < 0).mean()) if count else math.nan,
        "calmar": _ratio(annual_mean, -worst),
        "avg_return_to_drawdown": _ratio(annual_mean, -average),
        "avg_loss": avg_loss,
        "avg_gain": avg_gain,
        "gaintolossratio": _ratio(-avg_gain, avg_loss),
        "profitfactor": _ratio(float(gains.sum()), -float(losses.sum())),
        "hitrate": _ratio(len(gains), len(gains) + len(losses)),
        "t_stat": t_stat,
        "p_value": two_sided_p_value(t_stat, count - 1),
        "worst_drawdown": worst,
    }


def two_sided_p_value(t_stat: float, degrees_of_freedom: int) -> float:
    """Probability of a |t| at least this large when the mean is zero (Student's t)."""
    if math.isnan(t_stat) or degrees_of_freedom < 1:
        return math.nan
    squared = t_stat * t_stat
    whole = degrees_of_freedom + squared
    return _incomplete_beta(degrees_of_freedom / 2.0, 0.5, degrees_of_freedom / whole, squared / whole)


def _drawdown(returns: FloatArray) -> FloatArray:
    total = np.cumsum(returns)
    return total - np.maximum.accumulate(total) if len(total) else total


def _skew(returns: FloatArray) -> float:
    if not len(returns):
        return math.nan
    centred = returns - returns.mean()
    return _ratio(float(np.mean(centred**3)), float(np.mean(centred**2)) ** 1.5)


def _mean(values: FloatArray) -> float:
    return float(values.mean()) if len(values) else math.nan


def _ratio(numerator: float, denominator: float) -> float:
    return numerator / denominator if denominator != 0 else math.nan


def _incomplete_beta(a: float, b: float, x: float, one_less_x: float) -> float:
    """Regularised incomplete beta function I_x(a, b), by its continued fraction (Abramowitz & Stegun 26.5.8)."""
    if x <= 0.0:
        return 0.0
    if one_less_x <= 0.0:
        return 1.0
    if x > (a + 1.0) / (a + b + 2.0):
        return 1.0 - _incomplete_beta(b, a, one_less_x, x)
    log_front = math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b) + a * math.log(x) + b * math.log(one_less_x)
    numerator_term, denominator_term = 1.0, 1.0 - (a + b) * x / (a + 1.0)
    denominator_term = 1.0 / (denominator_term or 1e-300)
    fraction = denominator_term
    for m in range(1, 500):
        even = m * (b - m) * x / ((a + 2 * m - 1.0) * (a + 2 * m))
        odd = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1.0))
        for coefficient in (even, odd):
            denominator_term = 1.0 / ((1.0 + coefficient * denominator_term) or 1e-300)
            numerator_term = (1.0 + coefficient / numerator_term) or 1e-300
            change = denominator_term * numerator_term
            fraction *= change
        if abs(change - 1.0) < 1e-15:
            break
    return math.exp(log_front) * fraction / a
