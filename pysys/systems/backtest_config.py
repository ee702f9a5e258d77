"""Everything that decides a backtest, apart from prices, as typed values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from pysys.domain.capital import CapitalMethod
from pysys.domain.errors import ConfigError
from pysys.systems.capital_multiplier import CAPITAL_METHODS
from pysys.systems.forecast_mapping import ForecastMapping
from pysys.systems.risk_overlay import RiskOverlay
from pysys.systems.small_system import SmallSystem
from pysys.systems.volatility import MixedVolatility, Volatility

BUFFER_METHODS = ("position", "forecast", "none")
FORECAST_ESTIMATE_FLAGS = (
    "use_forecast_scale_estimates",
    "use_forecast_weight_estimates",
    "use_forecast_div_mult_estimates",
)
INSTRUMENT_ESTIMATE_FLAGS = ("use_instrument_weight_estimates", "use_instrument_div_mult_estimates")
ESTIMATE_FLAGS = FORECAST_ESTIMATE_FLAGS + INSTRUMENT_ESTIMATE_FLAGS
ESTIMATED_KEYS = {
    "use_forecast_scale_estimates": "forecast_scalars",
    "use_forecast_weight_estimates": "forecast_weights",
    "use_forecast_div_mult_estimates": "forecast_div_multiplier",
    "use_instrument_weight_estimates": "instrument_weights",
    "use_instrument_div_mult_estimates": "instrument_div_multiplier",
}
ZERO_WEIGHT = "allocate_zero_instrument_weights_to_these_instruments"
EverywhereOrByInstrument = float | Mapping[str, float]


@dataclass(frozen=True, slots=True)
class RuleSpec:
    """One trading rule as configured."""

    name: str
    function: str  # dotted path
    data: tuple[str, ...]  # names of the daily series it reads, in order
    other_args: Mapping[str, Any]  # keyword arguments of the function
    forecast_scalar: EverywhereOrByInstrument = 1.0


@dataclass(frozen=True, slots=True)
class BacktestConfig:
    """Everything that decides a backtest, apart from prices."""

    rules: Mapping[str, RuleSpec]
    # rule -> weight, or instrument -> rule -> weight
    forecast_weights: Mapping[str, Any]
    instrument_weights: Mapping[str, float]
    forecast_div_multiplier: EverywhereOrByInstrument = 1.0
    instrument_div_multiplier: float = 1.0
    forecast_cap: float = 20.0  # on |forecast|, single and combined
    average_absolute_forecast: float = 10.0  # the forecast at which the risk target is used in full
    forecast_weight_ewma_span: float = 125.0  # business days
    # rules in use, everywhere or by instrument, where there are no weights of them; all when there is no list
    rule_variations: tuple[str, ...] | Mapping[str, tuple[str, ...]] = ()
    use_attenuation: tuple[str, ...] = ()  # rules whose forecasts volatility attenuates
    forecast_mapping: Mapping[str, ForecastMapping] = field(default_factory=dict)  # by instrument; others unmapped
    instrument_weight_ewma_span: float = 125.0  # business days
    volatility: Volatility = field(default_factory=MixedVolatility)
    percentage_vol_target: float = 16.0  # % of capital a year
    notional_trading_capital: float = 1_000_000.0  # base currency
    base_currency: str = "USD"
    buffer_method: str = "forecast"
    buffer_size: float = 0.10  # fraction of the position, or of the average position
    buffer_trade_to_edge: bool = True
    vol_normalise_currency_costs: bool = True  # scale past costs with volatility
    multiply_roll_costs_by: float = 0.5
    use_sr_costs: bool = False  # an even charge in Sharpe ratio units instead of cash costs
    capital_method: CapitalMethod = "fixed"  # how profits change later positions
    risk_overlay: RiskOverlay | None = None  # limits on the risk of all positions together
    small_system: SmallSystem | None = None  # whole contracts by optimisation instead of position buffers
    left_out: tuple[str, ...] = ()  # instruments not to be traded nor looked at, although they have prices or a weight
    zero_weight: tuple[str, ...] = ()  # instruments that count for estimates of forecasts, but are not traded
    start_date: str | None = None  # YYYY-MM-DD; prices before it are left out
    estimates: frozenset[str] = frozenset()  # the use_*_estimates flags that are on
    estimation: Mapping[str, Any] = field(default_factory=dict)  # their settings, as written

    @property
    def instruments(self) -> tuple[str, ...]:
        return tuple(self.instrument_weights)

    def forecast_weights_of(self, instrument: str) -> Mapping[str, float]:
        """Weights by rule. Rules that are not listed play no part for this instrument."""
        if not is_by_instrument(self.forecast_weights):
            return self.forecast_weights
        try:
            return self.forecast_weights[instrument]
        except KeyError:
            if self.rule_variations:
                return equal_weights(self.rules_of(instrument))
            raise ConfigError(
                f"forecast_weights are given by instrument, but not for {instrument}; add them, or take "
                f"{instrument} out of instrument_weights"
            ) from None

    def rules_of(self, instrument: str) -> tuple[str, ...]:
        """The rules of an instrument whose weights are equal or estimated, in the order they are configured."""
        listed = self.rule_variations
        if isinstance(listed, Mapping):
            listed = listed.get(instrument, ())
        return tuple(rule for rule in self.rules if rule in listed) if listed else tuple(self.rules)

    def equal_forecast_weights(self, instruments: Sequence[str]) -> Mapping[str, Any]:
        """The same weight for each of the rules in use, by instrument where those differ."""
        if isinstance(self.rule_variations, Mapping):
            return {code: equal_weights(self.rules_of(code)) for code in instruments}
        return equal_weights(self.rules_of(""))

    def equal_instrument_weights(self, instruments: Sequence[str]) -> dict[str, float]:
        """The same weight for each instrument that may be traded, 0 for those that only count for estimates.

        Raises ConfigError when nothing is left to trade.
        """
        kept = [code for code in instruments if code not in self.left_out]
        traded = [code for code in kept if code not in self.zero_weight]
        if instruments and not traded:
            raise ConfigError("every instrument has a weight of 0 or is left out; give at least one a weight")
        return {code: 1.0 / len(traded) if code in traded else 0.0 for code in kept}

    def forecast_div_multiplier_of(self, instrument: str) -> float:
        return _by_instrument(self.forecast_div_multiplier, instrument, "forecast_div_multiplier")

    def forecast_scalar_of(self, rule: str, instrument: str) -> float:
        return _by_instrument(self.rules[rule].forecast_scalar, instrument, f"forecast_scalar of {rule}")

    def restricted_to(self, instruments: Sequence[str]) -> BacktestConfig:
        """The same backtest on some of its instruments; their weights keep their proportions and add up to 1.

        Where it has no weights, they are equal. Raises ConfigError for an instrument it has no weight for, or says not
        to trade.
        """
        weights_of_all = self.instrument_weights or self.equal_instrument_weights(instruments)
        unknown = [code for code in instruments if code not in weights_of_all]
        if unknown:
            known = ", ".join(weights_of_all)
            raise ConfigError(f"no instrument weight for {', '.join(unknown)}; choose among {known}")
        kept = {code: weight for code, weight in weights_of_all.items() if code in set(instruments)}
        total = sum(kept.values())
        if not total > 0:
            raise ConfigError(f"{', '.join(kept)}: all weights are zero; choose an instrument that is traded")
        weights, by_instrument = self.forecast_weights, is_by_instrument(self.forecast_weights)
        return replace(
            self,
            instrument_weights={code: weight / total for code, weight in kept.items()},
            forecast_weights=_of(kept, weights) if by_instrument else weights,
            rules={
                name: replace(one, forecast_scalar=_of(kept, one.forecast_scalar)) for name, one in self.rules.items()
            },
            forecast_div_multiplier=_of(kept, self.forecast_div_multiplier),
            forecast_mapping=_of(kept, self.forecast_mapping),
            rule_variations=_of(kept, self.rule_variations),
            small_system=None if self.small_system is None else self.small_system.restricted_to(kept),
        )

    def as_yaml_keys(self) -> dict[str, Any]:
        """The configuration with every default filled in, under the keys `read_backtest_config` reads."""
        return {
            "trading_rules": {name: _rule_as_keys(rule) for name, rule in self.rules.items()},
            "forecast_weights": _plain(self.forecast_weights),
            "forecast_div_multiplier": _plain(self.forecast_div_multiplier),
            "forecast_cap": self.forecast_cap,
            "average_absolute_forecast": self.average_absolute_forecast,
            "forecast_weight_ewma_span": self.forecast_weight_ewma_span,
            **({"rule_variations": _plain(self.rule_variations)} if self.rule_variations else {}),
            **({"use_attenuation": list(self.use_attenuation)} if self.use_attenuation else {}),
            **({"forecast_mapping": self._mapping_as_keys()} if self.forecast_mapping else {}),
            "volatility_calculation": {"func": self.volatility.established_name, **asdict(self.volatility)},
            "percentage_vol_target": self.percentage_vol_target,
            "notional_trading_capital": self.notional_trading_capital,
            "base_currency": self.base_currency,
            "instrument_weights": _plain(self.instrument_weights),
            "instrument_div_multiplier": self.instrument_div_multiplier,
            "instrument_weight_ewma_span": self.instrument_weight_ewma_span,
            "buffer_method": self.buffer_method,
            "buffer_size": self.buffer_size,
            "buffer_trade_to_edge": self.buffer_trade_to_edge,
            "use_SR_costs": self.use_sr_costs,
            "vol_normalise_currency_costs": self.vol_normalise_currency_costs,
            "multiply_roll_costs_by": self.multiply_roll_costs_by,
            "capital_multiplier": {"func": _path_of(self.capital_method)},
            **({"risk_overlay": self.risk_overlay.as_keys()} if self.risk_overlay is not None else {}),
            **({"small_system": self.small_system.as_keys()} if self.small_system is not None else {}),
            **({"exclude_instrument_lists": {"ignore_instruments": list(self.left_out)}} if self.left_out else {}),
            **({ZERO_WEIGHT: list(self.zero_weight)} if self.zero_weight else {}),
            **({"start_date": self.start_date} if self.start_date is not None else {}),
            **{flag: flag in self.estimates for flag in ESTIMATE_FLAGS},
            **_plain(self.estimation),
        }

    def _mapping_as_keys(self) -> dict[str, dict[str, float]]:
        return {code: mapping.as_keys() for code, mapping in self.forecast_mapping.items()}


def is_by_instrument(weights: Mapping[str, Any]) -> bool:
    """Whether weights are given as instrument -> rule -> weight."""
    return any(isinstance(value, Mapping) for value in weights.values())


def equal_weights(names: Sequence[str]) -> dict[str, float]:
    """The same share for each."""
    return {name: 1.0 / len(names) for name in names}


def _of(kept: Mapping[str, float], value: Any) -> Any:
    """The part of a table by instrument that is about those kept; anything else as it is."""
    return {code: value[code] for code in value if code in kept} if isinstance(value, Mapping) else value


def _by_instrument(value: EverywhereOrByInstrument, instrument: str, name: str) -> float:
    if not isinstance(value, Mapping):
        return value
    try:
        return value[instrument]
    except KeyError:
        raise ConfigError(f"{name} is given by instrument, but not for {instrument}; add it") from None


def _path_of(method: CapitalMethod) -> str:
    return next(path for path, its in CAPITAL_METHODS.items() if its == method)


def _rule_as_keys(rule: RuleSpec) -> dict[str, Any]:
    return {
        "function": rule.function,
        "data": list(rule.data),
        "other_args": dict(rule.other_args),
        "forecast_scalar": _plain(rule.forecast_scalar),
    }


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    return list(value) if isinstance(value, tuple) else value
