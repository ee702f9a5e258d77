"""How to estimate, as typed values with the established names and defaults."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pysys.domain.errors import ConfigError
from pysys.systems.estimation.buckets import FREQUENCIES
from pysys.systems.estimation.periods import DATE_METHODS
from pysys.systems.yaml_keys import YamlKeys

WEIGHT_METHODS = ("handcraft", "shrinkage", "one_period", "equal_weights")
_CORRELATION_FUNCTIONS = (
    "pooled_correlation_estimator",
    "correlation_over_time",
    "correlation_over_time_for_returns",
)
ESTIMATION_SETTINGS = (
    "forecast_scalar_estimate",
    "forecast_correlation_estimate",
    "forecast_div_mult_estimate",
    "forecast_cost_estimates",
    "forecast_weight_estimate",
    "forecast_post_ceiling_cost_SR",
    "instrument_correlation_estimate",
    "instrument_weight_estimate",
    "instrument_div_mult_estimate",
)


@dataclass(frozen=True, slots=True)
class ScalarSettings:
    """Of forecast scalars."""

    pool_instruments: bool
    window: int  # days that count
    min_periods: int  # days with a forecast before there is a scalar
    backfill: bool  # use the first scalar from the start

    @classmethod
    def read(cls, keys: YamlKeys) -> ScalarSettings:
        keys.choice_of_function("func", "forecast_scalar", ("forecast_scalar",))
        return cls(
            pool_instruments=keys.flag("pool_instruments", True),
            window=int(keys.number("window", 250_000, least=1)),
            min_periods=int(keys.number("min_periods", 500, least=1)),
            backfill=keys.flag("backfill", True),
        )


@dataclass(frozen=True, slots=True)
class EstimateSettings:
    """Of one mean, deviation or correlation."""

    span: float  # rows; infinite for equal weights
    min_periods: int  # rows


@dataclass(frozen=True, slots=True)
class CorrelationSettings:
    """Of correlations that change from period to period."""

    pool_instruments: bool
    frequency: str
    date_method: str
    rollyears: float
    span: float  # rows; infinite for equal weights
    min_periods: int  # rows
    cleaning: bool  # fill holes
    floor_at_zero: bool
    forward_fill: bool

    @classmethod
    def read(cls, keys: YamlKeys, lookback: float, fill_key: str, pools: bool) -> CorrelationSettings:
        keys.choice_of_function("func", _CORRELATION_FUNCTIONS[0], _CORRELATION_FUNCTIONS)
        return cls(
            pool_instruments=keys.flag("pool_instruments", True) if pools else False,
            frequency=keys.choice("frequency", "W", FREQUENCIES),
            date_method=keys.choice("date_method", "expanding", DATE_METHODS),
            rollyears=keys.number("rollyears", 20, least=1.0),
            span=_span(keys, lookback),
            min_periods=int(keys.number("min_periods", 20, least=1)),
            cleaning=keys.flag("cleaning", True),
            floor_at_zero=keys.flag("floor_at_zero", True),
            forward_fill=keys.flag(fill_key, True),
        )


@dataclass(frozen=True, slots=True)
class MultiplierSettings:
    """Of a diversification multiplier."""

    ewma_span: float  # business days
    dm_max: float

    @classmethod
    def read(cls, keys: YamlKeys) -> MultiplierSettings:
        keys.choice_of_function(
            "func", "diversification_multiplier_from_list", ("diversification_multiplier_from_list",)
        )
        return cls(keys.number("ewma_span", 125, least=1.0), keys.number("dm_max", 2.5, least=1.0))


@dataclass(frozen=True, slots=True)
class CostSettings:
    """Of the costs of trading rules."""

    use_pooled_costs: bool  # every instrument has the average cost of a rule
    use_pooled_turnover: bool  # every instrument has the average turnover of a rule

    @classmethod
    def read(cls, keys: YamlKeys) -> CostSettings:
        return cls(keys.flag("use_pooled_costs", False), keys.flag("use_pooled_turnover", True))


@dataclass(frozen=True, slots=True)
class WeightSettings:
    """Of weights, of rules or of instruments."""

    method: str
    frequency: str
    date_method: str
    rollyears: float
    cleaning: bool  # give assets a weight that have data but no estimate
    equalise_SR: bool  # noqa: N815 - the established name
    equalise_vols: bool
    equalise_gross: bool  # costs alone make a difference
    cost_multiplier: float
    apply_cost_weight: bool  # lean fitted weights towards what is cheap
    ceiling_cost_SR: float  # noqa: N815 - SR units a year; rules that cost more are not used
    pool_gross_returns: bool
    ann_target_SR: float  # noqa: N815
    shrinkage_SR: float  # noqa: N815 - 0 trusts the data, 1 the target
    shrinkage_corr: float  # 0 trusts the data, 1 the average
    mean: EstimateSettings
    stdev: EstimateSettings
    correlation: EstimateSettings
    correlation_cleaning: bool
    correlation_floor_at_zero: bool

    @classmethod
    def read(cls, keys: YamlKeys, where: str, *, of_rules: bool) -> WeightSettings:
        """of_rules: weights of rules, not of instruments; their defaults differ."""
        keys.choice_of_function("func", "genericOptimiser", ("genericOptimiser",))
        keys.number("monte_runs", 100, least=1.0)  # of a method that is not here; other files carry them along
        keys.number("bootstrap_length", 50, least=1.0)
        correlation = keys.table("correlation_estimate")
        correlation.choice_of_function("func", "correlationEstimator", ("correlationEstimator",))
        shrinkage = keys.number("shrinkage_mean", 0.9 if of_rules else 1.0, least=0.0)
        found = cls(
            method=keys.choice("method", "handcraft", WEIGHT_METHODS),
            frequency=keys.choice("frequency", "W", FREQUENCIES),
            date_method=keys.choice("date_method", "expanding", DATE_METHODS),
            rollyears=keys.number("rollyears", 20, least=1.0),
            cleaning=keys.flag("cleaning", True),
            equalise_SR=keys.flag("equalise_SR", not of_rules),
            equalise_vols=keys.flag("equalise_vols", True),
            equalise_gross=keys.flag("equalise_gross", False),
            cost_multiplier=keys.number("cost_multiplier", 2.0 if of_rules else 1.0, least=0.0),
            apply_cost_weight=keys.flag("apply_cost_weight", False),
            ceiling_cost_SR=keys.number("ceiling_cost_SR", 9999, least=0.0) if of_rules else math.inf,
            pool_gross_returns=keys.flag("pool_gross_returns", True) if of_rules else False,
            ann_target_SR=keys.number("ann_target_SR", 0.5, above=0.0),
            shrinkage_SR=keys.number("shrinkage_SR", shrinkage, least=0.0),
            shrinkage_corr=keys.number("shrinkage_corr", 0.5, least=0.0),
            mean=_estimate(keys.table("mean_estimate"), "meanEstimator", 50_000, 5),
            stdev=_estimate(keys.table("vol_estimate"), "stdevEstimator", 50_000, 5),
            correlation=EstimateSettings(
                _span(correlation, 50_000 if of_rules else 500_000),
                int(correlation.number("min_periods", 10, least=1)),
            ),
            correlation_cleaning=correlation.flag("cleaning", False),
            correlation_floor_at_zero=correlation.flag("floor_at_zero", not of_rules),
        )
        correlation.refuse_the_rest()
        found._refuse_what_does_not_fit(where)
        return found

    def _refuse_what_does_not_fit(self, where: str) -> None:
        if self.method == "handcraft" and not self.equalise_vols:
            raise ConfigError(f"{where}: handcraft needs equalise_vols: True; set it, or choose another method")
        for name in ("shrinkage_SR", "shrinkage_corr"):
            if getattr(self, name) > 1.0:
                raise ConfigError(f"{where}: {name} must be between 0 and 1, not {getattr(self, name):g}")


@dataclass(frozen=True, slots=True)
class EstimationSettings:
    """Everything that decides what is estimated how."""

    forecast_scalar: ScalarSettings
    forecast_correlation: CorrelationSettings
    forecast_multiplier: MultiplierSettings
    forecast_cost: CostSettings
    forecast_weight: WeightSettings
    forecast_post_ceiling_cost_SR: float  # noqa: N815 - SR units a year; rules that cost more end up without weight
    instrument_correlation: CorrelationSettings
    instrument_weight: WeightSettings
    instrument_multiplier: MultiplierSettings

    @classmethod
    def read(cls, keys: Mapping[str, Any]) -> EstimationSettings:
        """From the established sections, each optional. Raises ConfigError for what it cannot honour."""
        whole = YamlKeys(keys)
        tables = {name: whole.table(name) for name in ESTIMATION_SETTINGS if not name.endswith("_SR")}
        found = cls(
            forecast_scalar=ScalarSettings.read(tables["forecast_scalar_estimate"]),
            forecast_correlation=CorrelationSettings.read(
                tables["forecast_correlation_estimate"],
                250,
                "forward_fill_data",
                pools=True,
            ),
            forecast_multiplier=MultiplierSettings.read(tables["forecast_div_mult_estimate"]),
            forecast_cost=CostSettings.read(tables["forecast_cost_estimates"]),
            forecast_weight=WeightSettings.read(
                tables["forecast_weight_estimate"], "forecast_weight_estimate", of_rules=True
            ),
            forecast_post_ceiling_cost_SR=whole.number("forecast_post_ceiling_cost_SR", 999, least=0.0),
            instrument_correlation=CorrelationSettings.read(
                tables["instrument_correlation_estimate"],
                25,
                "forward_fill_price_index",
                pools=False,
            ),
            instrument_weight=WeightSettings.read(
                tables["instrument_weight_estimate"], "instrument_weight_estimate", of_rules=False
            ),
            instrument_multiplier=MultiplierSettings.read(tables["instrument_div_mult_estimate"]),
        )
        for table in tables.values():
            table.refuse_the_rest()
        whole.refuse_the_rest()
        return found


def _estimate(keys: YamlKeys, function: str, lookback: float, min_periods: int) -> EstimateSettings:
    keys.choice_of_function("func", function, (function,))
    found = EstimateSettings(_span(keys, lookback), int(keys.number("min_periods", min_periods, least=1)))
    keys.refuse_the_rest()
    return found


def _span(keys: YamlKeys, lookback: float) -> float:
    span = keys.number("ew_lookback", lookback, above=1.0)
    return span if keys.flag("using_exponent", True) else math.inf
