"""Limits on the risk of the whole portfolio, below which all positions are cut together.

Positions are sized one by one, on long-run averages of how much they diversify; on some days they add up to far more
risk than intended. Four measures are held below their limits by one factor on every position.
Source: Carver, "When endogenous risk management isn't enough: a simple risk overlay" (qoppac.blogspot.com, 2020).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from pysys.domain.errors import ConfigError
from pysys.systems.covariance import correlations, weekly_returns, weeks_ended
from pysys.systems.market_data import BoolArray, FloatArray
from pysys.systems.positions import VolatilityOfContract
from pysys.systems.raw_data import ROOT_OF_YEAR, RawData
from pysys.systems.smoothing import forward_fill
from pysys.systems.yaml_keys import YamlKeys

HIGH_QUANTILE = 0.99
HIGH_QUANTILE_DAYS = 2560  # ten years
_SHOCKED_CORRELATIONS = "max_risk_fraction_correlation_risk"  # a limit of other files, on a measure that is not here


@dataclass(frozen=True, slots=True)
class RiskOverlay:
    """The limits; infinite where there is none. Risk is in multiples of the yearly risk target."""

    max_risk_fraction_normal_risk: float = math.inf
    max_risk_fraction_stdev_risk: float = math.inf
    max_risk_limit_sum_abs_risk: float = math.inf
    max_risk_leverage: float = math.inf  # exposure over capital

    @classmethod
    def from_keys(cls, keys: Mapping[str, Any]) -> RiskOverlay:
        """From the mapping under `risk_overlay`. Raises ConfigError for anything it cannot honour."""
        reader = YamlKeys(keys, "risk_overlay: ")
        if reader.given(_SHOCKED_CORRELATIONS):
            raise ConfigError(
                f"risk_overlay: there is no {_SHOCKED_CORRELATIONS} here; remove it. "
                "max_risk_limit_sum_abs_risk limits what everything going wrong together would cost"
            )
        limits = {name: reader.number(name, 0.0, above=0.0) for name in asdict(cls()) if name in keys}
        reader.refuse_the_rest()
        if not limits:
            raise ConfigError(f"risk_overlay limits nothing; give {', '.join(asdict(cls()))}, or remove it")
        return cls(**limits)

    def as_keys(self) -> dict[str, float]:
        """The mapping `from_keys` reads."""
        return {name: limit for name, limit in asdict(self).items() if limit < math.inf}


@dataclass(frozen=True, slots=True, eq=False)
class PortfolioRisk:
    """What the positions of each day risk together, before they are cut, and what they are cut by; by date."""

    normal: FloatArray  # expected standard deviation a year, share of capital
    stdev: FloatArray  # the same, were volatilities at the 99th percentile of their past ten years
    sum_abs: FloatArray  # the same, were everything perfectly correlated with the position in it
    leverage: FloatArray  # sum of absolute exposures over capital
    multiplier: FloatArray  # on all positions, above 0 and at most 1


def portfolio_risk(
    limits: RiskOverlay,
    raw: RawData,
    risk: VolatilityOfContract,
    notional: FloatArray,
    index: BoolArray,
    *,
    capital: float,
    percentage_vol_target: float,
) -> PortfolioRisk:
    """Measures and the multiplier of every day of the grid, each from what is known at its close.

    notional: contracts (date x instrument), unrounded, carried forward within `index`. With x the exposure of an
    instrument over capital (its sign that of the position), s its yearly deviation of fractional returns as positions
    are sized with, and C the correlations of `covariance`, not shrunk:

        normal = sqrt((x s)' C (x s));  stdev: s replaced by the 99% quantile of its last 2560 days;
        sum_abs = sum |x s|;  leverage = sum |x|
        multiplier = min(1, limit / measure over all four), limits of risk times the yearly target
    """
    contract = 100.0 * np.abs(forward_fill(risk.block_value)) * forward_fill(risk.fx_rate)
    exposure = np.nan_to_num(np.where(index, forward_fill(notional), 0.0) * contract / capital, nan=0.0)
    own = exposure * _annual(risk.daily_pct_vol)
    high = exposure * _annual(high_volatility(risk.daily_pct_vol))
    normal, stdev = expected_risk([own, high], raw)
    sum_abs, leverage = np.abs(own).sum(axis=1), np.abs(exposure).sum(axis=1)
    target = percentage_vol_target / 100.0
    multiplier = np.ones(len(index))
    for measure, limit in (
        (normal, limits.max_risk_fraction_normal_risk * target),
        (stdev, limits.max_risk_fraction_stdev_risk * target),
        (sum_abs, limits.max_risk_limit_sum_abs_risk * target),
        (leverage, limits.max_risk_leverage),
    ):
        if limit < math.inf:
            multiplier = np.minimum(multiplier, limit / np.maximum(measure, limit))
    return PortfolioRisk(normal, stdev, sum_abs, leverage, multiplier)


def high_volatility(daily_pct_vol: FloatArray) -> FloatArray:
    """The 99% quantile of the present values of the last 2560 days, interpolated linearly."""
    import pandas as pd  # its rolling quantile keeps a sorted window; numpy would sort every window anew

    window = pd.DataFrame(daily_pct_vol).rolling(HIGH_QUANTILE_DAYS, min_periods=1)
    return window.quantile(HIGH_QUANTILE).to_numpy()


def expected_risk(risks: list[FloatArray], raw: RawData) -> list[FloatArray]:
    """Standard deviation of portfolios by date, from the signed risks of their positions (date x instrument).

    With the correlations as of the last week that has ended by the close; none before the first.
    """
    weeks, weekly = weekly_returns(raw.daily_percentage_returns.values, raw.grid)
    ended = weeks_ended(raw.grid, weeks)
    variances = [np.zeros(len(ended)) for _ in risks]
    starts = np.flatnonzero(np.diff(ended, prepend=-1))
    risky = np.logical_or.reduceat(np.logical_or.reduce([risk.any(axis=1) for risk in risks]), starts)
    asked = ended[starts][risky]
    matrices = correlations(weekly, shrinkage=0.0, after=asked[asked > 0])
    for start, stop, any_risk in zip(starts, [*starts[1:], len(ended)], risky, strict=True):
        if not any_risk:
            continue
        correlation = next(matrices) if ended[start] else np.eye(len(raw.codes))
        for variance, risk in zip(variances, risks, strict=True):
            variance[start:stop] = ((risk[start:stop] @ correlation) * risk[start:stop]).sum(axis=1)
    return [np.sqrt(np.maximum(variance, 0.0)) for variance in variances]


def _annual(daily_pct_vol: FloatArray) -> FloatArray:
    """Yearly deviation of fractional returns, carried forward; 0 before the first."""
    return np.nan_to_num(forward_fill(daily_pct_vol), nan=0.0) / 100.0 * ROOT_OF_YEAR
