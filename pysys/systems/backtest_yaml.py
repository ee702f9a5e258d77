"""Reads a backtest's YAML.

The keys are the field's established ones, so a file written for the older library works unchanged. A key nobody
reads is an error: a misspelt one would otherwise run with a default.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, replace
from datetime import date, datetime
from pathlib import Path
from typing import Any

from pysys.domain.errors import ConfigError
from pysys.systems.backtest_config import (
    BUFFER_METHODS,
    ESTIMATE_FLAGS,
    BacktestConfig,
    RuleSpec,
    is_by_instrument,
)
from pysys.systems.capital_multiplier import capital_method_of
from pysys.systems.config_checks import (
    fixed_and_estimated,
    refuse_other_instruments,
    some,
    totals,
    unknown_instruments,
    unscaled_rules,
    warn,
)
from pysys.systems.estimation.settings import ESTIMATION_SETTINGS, EstimationSettings
from pysys.systems.forecast_mapping import ForecastMapping
from pysys.systems.left_out import untraded_instruments
from pysys.systems.raw_data import DEFAULT_RULE_DATA, RULE_DATA
from pysys.systems.risk_overlay import RiskOverlay
from pysys.systems.small_system import SmallSystem
from pysys.systems.volatility import VOLATILITIES, MixedVolatility, Volatility
from pysys.systems.yaml_keys import YamlKeys, names, number
from pysys.yaml_text import load_yaml

# What each number of a volatility calculation may be.
_BOUNDS: Mapping[str, Mapping[str, float]] = {
    "days": {"above": 1.0},
    "min_periods": {"least": 1.0},
    "slow_vol_years": {"above": 0.0},
    "proportion_of_slow_vol": {"least": 0.0, "most": 1.0},
    "vol_abs_min": {"least": 0.0},
    "multiplier_to_get_daily_vol": {"above": 0.0},
    "floor_min_quant": {"least": 0.0, "most": 1.0},
    "floor_min_periods": {"least": 1.0},
    "floor_days": {"least": 1.0},
}
_RULE_KEYS = {"function", "data", "other_args", "forecast_scalar"}


def read_backtest_config(path: str | Path, defaults: Mapping[str, Any] | None = None) -> BacktestConfig:
    """The backtest described by a YAML file.

    defaults: values of keys the file does not give. Raises ConfigError for anything it cannot honour; what may not be
    meant is said once, as a ConfigWarning.
    """
    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as problem:
        raise ConfigError(f"cannot read the backtest configuration {path}: {problem.strerror}") from problem
    try:
        loaded = load_yaml(text)
        if not isinstance(loaded, dict):
            raise ConfigError("must hold `key: value` lines, starting with trading_rules")
        missing = {key: value for key, value in (defaults or {}).items() if loaded.get(key) is None}
        config, said = _parsed({**loaded, **missing})
    except ConfigError as problem:
        raise ConfigError(f"{path}: {problem}") from problem
    warn([*said, *fixed_and_estimated(config)], f"{path}: ")
    return config


def parse_backtest_config(keys: Mapping[str, Any]) -> BacktestConfig:
    """The backtest described by established keys; raises and warns as `read_backtest_config` does.

    Fixed values beside an estimate are not warned of: the keys of a whole configuration have both.
    """
    config, said = _parsed(keys)
    warn(said)
    return config


def _parsed(keys: Mapping[str, Any]) -> tuple[BacktestConfig, list[str]]:
    """The configuration, and what may not be meant in it."""
    reader = YamlKeys(keys)
    rules, said = _rules(reader)
    estimates = frozenset(flag for flag in ESTIMATE_FLAGS if reader.flag(flag, False))
    left_out, zero_weight = untraded_instruments(reader)
    forecast_cap = reader.number("forecast_cap", 20.0, above=0.0)
    config = BacktestConfig(
        rules=rules,
        forecast_weights=_forecast_weights(reader.mapping("forecast_weights"), rules),
        instrument_weights={},
        forecast_div_multiplier=reader.number_or_table("forecast_div_multiplier", 1.0, above=0.0),
        instrument_div_multiplier=reader.number("instrument_div_multiplier", 1.0, above=0.0),
        forecast_cap=forecast_cap,
        average_absolute_forecast=reader.number("average_absolute_forecast", 10.0, above=0.0),
        forecast_weight_ewma_span=reader.number("forecast_weight_ewma_span", 125.0, least=1.0),
        rule_variations=_rule_variations(reader, rules),
        use_attenuation=_rule_names(reader.take("use_attenuation", []), rules, "use_attenuation"),
        forecast_mapping=_forecast_mapping(reader.mapping("forecast_mapping"), forecast_cap),
        instrument_weight_ewma_span=reader.number("instrument_weight_ewma_span", 125.0, least=1.0),
        volatility=_volatility(reader.mapping("volatility_calculation")),
        percentage_vol_target=reader.number("percentage_vol_target", 16.0, above=0.0),
        notional_trading_capital=reader.number("notional_trading_capital", 1_000_000.0, above=0.0),
        base_currency=reader.text("base_currency", "USD"),
        buffer_method=reader.choice("buffer_method", "forecast", BUFFER_METHODS),
        buffer_size=reader.number("buffer_size", 0.10, least=0.0, most=1.0),
        buffer_trade_to_edge=reader.flag("buffer_trade_to_edge", True),
        vol_normalise_currency_costs=reader.flag("vol_normalise_currency_costs", True),
        multiply_roll_costs_by=reader.number("multiply_roll_costs_by", 0.5, least=0.0),
        use_sr_costs=reader.flag("use_SR_costs", False),
        capital_method=capital_method_of(reader.take("capital_multiplier", {})),
        risk_overlay=RiskOverlay.from_keys(reader.mapping("risk_overlay")) if reader.given("risk_overlay") else None,
        small_system=SmallSystem.from_keys(reader.mapping("small_system")) if reader.given("small_system") else None,
        left_out=left_out,
        zero_weight=zero_weight,
        start_date=_start_date(reader.take("start_date")),
        estimates=estimates,
        estimation={name: reader.take(name) for name in ESTIMATION_SETTINGS if name in keys},
    )
    EstimationSettings.read(config.estimation)
    given = reader.mapping("instrument_weights")
    listed = reader.names("instruments", "instrument codes")
    reader.refuse_the_rest()
    known, config = _with_instruments(config, given, listed)
    said += _about_weights(config, given, known)
    said += unknown_instruments(config, known) if known else []
    return _with_forecast_weights(config), said


def _rules(reader: YamlKeys) -> tuple[dict[str, RuleSpec], list[str]]:
    """Every trading rule, and what may not be meant about their scalars."""
    scalars = reader.mapping("forecast_scalars")
    elsewhere = reader.take("forecast_scalar")
    default = 1.0 if elsewhere is None else number(elsewhere, "forecast_scalar")
    given = reader.mapping("trading_rules", required=True)
    rules = {name: _rule(name, spec, scalars, default) for name, spec in given.items()}
    _refuse_unknown_rules(scalars, rules, "forecast_scalars")
    own = {name: spec["forecast_scalar"] for name, spec in given.items() if _has_own_scalar(spec)}
    twice = [name for name in own if name in scalars and scalars[name] != own[name]]
    said = []
    if twice:
        said.append(
            f"{some(twice)} have a forecast_scalar of their own, which is used, and another under forecast_scalars; "
            "remove one of them"
        )
    weights = reader.mapping("forecast_weights")
    tables = list(weights.values()) if is_by_instrument(weights) else [weights]
    used = [name for name in rules if not weights or any(isinstance(one, Mapping) and name in one for one in tables)]
    if elsewhere is None and not reader.flag("use_forecast_scale_estimates", False):
        said += unscaled_rules([name for name in used if name not in scalars and name not in own])
    return rules, said


def _has_own_scalar(spec: Any) -> bool:
    return isinstance(spec, Mapping) and spec.get("forecast_scalar") is not None


def _rule(name: str, spec: Any, scalars: Mapping[str, Any], default: float) -> RuleSpec:
    if isinstance(spec, str):
        spec = {"function": spec}
    if not isinstance(spec, Mapping) or "function" not in spec:
        raise ConfigError(f"trading rule {name}: give `function: dotted.path`, not {spec!r}")
    unknown = set(spec) - _RULE_KEYS
    if unknown:
        raise ConfigError(f"trading rule {name}: unknown key {', '.join(sorted(map(str, unknown)))}")
    arguments = spec.get("other_args") or {}
    if not isinstance(arguments, Mapping):
        raise ConfigError(f"trading rule {name}: other_args must be a table of `name: value`, not {arguments!r}")
    scalar = spec["forecast_scalar"] if _has_own_scalar(spec) else scalars.get(name, default)
    if isinstance(scalar, Mapping):
        scalar = {str(code): number(value, f"forecast_scalar of {name} for {code}") for code, value in scalar.items()}
    else:
        scalar = number(scalar, f"forecast_scalar of {name}")
    return RuleSpec(
        name=str(name),
        function=str(spec["function"]),
        data=_rule_data(name, spec.get("data")),
        other_args=dict(arguments),
        forecast_scalar=scalar,
    )


def _rule_data(rule: str, data: Any) -> tuple[str, ...]:
    if not data:
        return (DEFAULT_RULE_DATA,)
    names = (data,) if isinstance(data, str) else tuple(str(name) for name in data)
    for name in names:
        if name not in RULE_DATA:
            raise ConfigError(
                f"trading rule {rule}: no daily series is called {name}; choose among {', '.join(RULE_DATA)}"
            )
    return names


def _forecast_weights(weights: Mapping[str, Any], rules: Mapping[str, RuleSpec]) -> Mapping[str, Any]:
    """As given; empty when they are not."""
    if is_by_instrument(weights):
        return {str(code): _weights(table, rules, f"forecast_weights of {code}") for code, table in weights.items()}
    return _weights(weights, rules, "forecast_weights") if weights else {}


def _with_forecast_weights(config: BacktestConfig) -> BacktestConfig:
    """Equal weights where none are given."""
    if config.forecast_weights:
        return config
    return replace(config, forecast_weights=config.equal_forecast_weights(config.instruments))


def _weights(weights: Any, rules: Mapping[str, RuleSpec], where: str) -> dict[str, float]:
    if not isinstance(weights, Mapping) or not weights:
        raise ConfigError(f"{where} must be a table of `rule: weight`, not {weights!r}")
    _refuse_unknown_rules(weights, rules, where)
    return _positive_total({str(name): _weight(value, f"{where}: {name}") for name, value in weights.items()}, where)


def _with_instruments(
    config: BacktestConfig, given: Mapping[str, Any], listed: Sequence[str]
) -> tuple[tuple[str, ...], BacktestConfig]:
    """Every instrument the configuration names as its own, and the configuration with the weights of those traded."""
    if not given:
        return tuple(listed), replace(config, instrument_weights=config.equal_instrument_weights(listed))
    table = {str(code): _weight(value, f"instrument_weights: {code}") for code, value in given.items()}
    _positive_total(table, "instrument_weights")
    if listed:
        refuse_other_instruments(listed, table)
    return tuple(table), replace(config, instrument_weights=_of_traded(table, config))


def _of_traded(weights: Mapping[str, float], config: BacktestConfig) -> Mapping[str, float]:
    """Weights with the same sum without those of instruments that are not traded."""
    kept = {code: weight for code, weight in weights.items() if code not in config.left_out}
    kept = {code: 0.0 if code in config.zero_weight else weight for code, weight in kept.items()}
    _positive_total(kept, "instrument_weights")
    before, after = sum(weights.values()), sum(kept.values())
    return kept if before == after else {code: weight * (before / after) for code, weight in kept.items()}


def _about_weights(config: BacktestConfig, given: Mapping[str, Any], known: Sequence[str]) -> list[str]:
    """What may not be meant about fixed weights, before anything is left out."""
    tables: dict[str, Mapping[str, float]] = {}
    said = []
    weights = config.forecast_weights
    if "use_forecast_weight_estimates" not in config.estimates:
        by_instrument = is_by_instrument(weights)
        if by_instrument:
            tables |= {f"forecast_weights of {code}": table for code, table in weights.items()}
        elif weights:
            tables["forecast_weights"] = weights
        if not weights and len(config.rules) > 1:
            said.append(
                "there are no forecast_weights, so every rule has the same; write them down, or set "
                "use_forecast_weight_estimates: True"
            )
        listed = config.rules_of("") if config.rule_variations and not by_instrument else ()
        if weights and listed and set(listed) != set(weights):
            said.append("rule_variations and forecast_weights name different rules; forecast_weights count. Remove one")
    if "use_instrument_weight_estimates" not in config.estimates and given:
        tables["instrument_weights"] = {code: number(value, code) for code, value in given.items()}
    return said + totals(tables)


def _rule_names(listed: Any, rules: Mapping[str, RuleSpec], where: str) -> tuple[str, ...]:
    found = names(listed, where, "trading rules")
    _refuse_unknown_rules(found, rules, where)
    return found


def _rule_variations(
    reader: YamlKeys, rules: Mapping[str, RuleSpec]
) -> tuple[str, ...] | Mapping[str, tuple[str, ...]]:
    listed = reader.take("rule_variations", [])
    if not isinstance(listed, Mapping):
        return _rule_names(listed, rules, "rule_variations")
    return {str(code): _rule_names(one, rules, f"rule_variations of {code}") for code, one in listed.items()}


def _forecast_mapping(table: Mapping[str, Any], cap: float) -> dict[str, ForecastMapping]:
    return {str(code): ForecastMapping.from_keys(str(code), keys, cap) for code, keys in table.items()}


def _start_date(value: Any) -> str | None:
    """YYYY-MM-DD; of a moment, its day as written."""
    if value is None:
        return None
    try:
        day = value if isinstance(value, date) else datetime.fromisoformat(str(value))
    except ValueError:
        raise ConfigError(f"start_date must be a date such as 2000-01-31, not {value!r}") from None
    return (day.date() if isinstance(day, datetime) else day).isoformat()


def _volatility(keys: Mapping[str, Any]) -> Volatility:
    reader = YamlKeys(keys, "volatility_calculation: ")
    name = reader.text("func", MixedVolatility.established_name)
    returns = reader.text("name_returns_attr_in_rawdata", "daily_returns")
    if returns != "daily_returns":
        raise ConfigError(f"volatility_calculation: volatility is measured on daily_returns, not on {returns}")
    try:
        estimator = VOLATILITIES[name.rsplit(".", 1)[-1]]
    except KeyError:
        raise ConfigError(f"volatility_calculation: unknown func {name}; choose {', '.join(VOLATILITIES)}") from None
    if reader.flag("backfill", False):
        raise ConfigError(
            "volatility_calculation: backfill: True would size the first positions with a volatility of later days; "
            "set it to False or remove it"
        )
    given: dict[str, Any] = {}
    for name, default in asdict(estimator()).items():
        given[name] = (
            reader.flag(name, default) if isinstance(default, bool) else reader.number(name, default, **_BOUNDS[name])
        )
    reader.refuse_the_rest()
    if given.get("floor_min_periods", 0) > given.get("floor_days", math.inf):
        raise ConfigError("volatility_calculation: floor_min_periods must not be above floor_days")
    return estimator(**given)


def _refuse_unknown_rules(names: Iterable[Any], rules: Mapping[str, RuleSpec], where: str) -> None:
    unknown = [str(name) for name in names if name not in rules]
    if unknown:
        raise ConfigError(f"{where}: no trading rule is called {', '.join(unknown)}; add the rule or remove the entry")


def _weight(value: Any, where: str) -> float:
    weight = number(value, where)
    if weight < 0:
        raise ConfigError(f"{where} must not be negative, but is {weight:g}")
    return weight


def _positive_total(weights: dict[str, float], where: str) -> dict[str, float]:
    if not sum(weights.values()) > 0:
        raise ConfigError(f"{where}: all weights are zero; give at least one a positive weight")
    return weights
