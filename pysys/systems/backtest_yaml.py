"""Reads a backtest's YAML.

The keys are the field's established ones, so a file written for the older library works unchanged. A key nobody
reads is an error: a misspelt one would otherwise run with a default.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from datetime import date
from pathlib import Path
from typing import Any

import yaml

from pysys.domain.errors import ConfigError
from pysys.systems.backtest_config import (
    BUFFER_METHODS,
    ESTIMATE_FLAGS,
    BacktestConfig,
    RuleSpec,
    is_by_instrument,
)
from pysys.systems.capital_multiplier import capital_method
from pysys.systems.estimation.settings import ESTIMATION_SETTINGS, EstimationSettings
from pysys.systems.raw_data import DEFAULT_RULE_DATA, RULE_DATA
from pysys.systems.small_system import SmallSystem
from pysys.systems.volatility import VOLATILITIES, MixedVolatility, Volatility
from pysys.systems.yaml_keys import YamlKeys, number

_RULE_KEYS = {"function", "data", "other_args", "forecast_scalar"}


def read_backtest_config(path: str | Path) -> BacktestConfig:
    """The backtest described by a YAML file. Raises ConfigError for anything it cannot honour."""
    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as problem:
        raise ConfigError(f"cannot read the backtest configuration {path}: {problem.strerror}") from problem
    try:
        loaded = yaml.load(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))  # noqa: S506
    except yaml.YAMLError as problem:
        raise ConfigError(f"{path} is not valid YAML: {problem}") from problem
    if not isinstance(loaded, dict):
        raise ConfigError(f"{path} must hold `key: value` lines, starting with trading_rules")
    try:
        return parse_backtest_config(loaded)
    except ConfigError as problem:
        raise ConfigError(f"{path}: {problem}") from problem


def parse_backtest_config(keys: Mapping[str, Any]) -> BacktestConfig:
    """The backtest described by established keys. Raises ConfigError for anything it cannot honour."""
    reader = YamlKeys(keys)
    scalars = reader.mapping("forecast_scalars")
    rules = {name: _rule(name, spec, scalars) for name, spec in reader.mapping("trading_rules", required=True).items()}
    _refuse_unknown_rules(scalars, rules, "forecast_scalars")
    estimates = frozenset(flag for flag in ESTIMATE_FLAGS if reader.flag(flag, False))
    config = BacktestConfig(
        rules=rules,
        forecast_weights=_forecast_weights(reader.mapping("forecast_weights"), rules),
        instrument_weights=_instrument_weights(reader),
        forecast_div_multiplier=reader.number_or_table("forecast_div_multiplier", 1.0),
        instrument_div_multiplier=reader.number("instrument_div_multiplier", 1.0, above=0.0),
        forecast_cap=reader.number("forecast_cap", 20.0, above=0.0),
        average_absolute_forecast=reader.number("average_absolute_forecast", 10.0, above=0.0),
        forecast_weight_ewma_span=reader.number("forecast_weight_ewma_span", 125.0, least=1.0),
        instrument_weight_ewma_span=reader.number("instrument_weight_ewma_span", 125.0, least=1.0),
        volatility=_volatility(reader.mapping("volatility_calculation")),
        percentage_vol_target=reader.number("percentage_vol_target", 16.0, above=0.0),
        notional_trading_capital=reader.number("notional_trading_capital", 1_000_000.0, above=0.0),
        base_currency=reader.text("base_currency", "USD"),
        buffer_method=reader.choice("buffer_method", "forecast", BUFFER_METHODS),
        buffer_size=reader.number("buffer_size", 0.10, least=0.0),
        buffer_trade_to_edge=reader.flag("buffer_trade_to_edge", True),
        vol_normalise_currency_costs=reader.flag("vol_normalise_currency_costs", True),
        multiply_roll_costs_by=reader.number("multiply_roll_costs_by", 0.5, least=0.0),
        use_sr_costs=reader.flag("use_SR_costs", False),
        capital_method=capital_method(str(reader.mapping("capital_multiplier").get("func", "fixed_capital"))),
        small_system=_small_system(reader),
        start_date=_start_date(reader),
        estimates=estimates,
        estimation={name: reader.take(name) for name in ESTIMATION_SETTINGS if name in keys},
    )
    EstimationSettings.read(config.estimation)
    reader.refuse_the_rest()
    return config


def _rule(name: str, spec: Any, scalars: Mapping[str, Any]) -> RuleSpec:
    if isinstance(spec, str):
        spec = {"function": spec}
    if not isinstance(spec, Mapping) or "function" not in spec:
        raise ConfigError(f"trading rule {name}: give `function: dotted.path`, not {spec!r}")
    unknown = set(spec) - _RULE_KEYS
    if unknown:
        raise ConfigError(f"trading rule {name}: unknown key {', '.join(sorted(map(str, unknown)))}")
    scalar = spec.get("forecast_scalar", scalars.get(name, 1.0))
    if isinstance(scalar, Mapping):
        scalar = {str(code): number(value, f"forecast_scalar of {name} for {code}") for code, value in scalar.items()}
    else:
        scalar = number(scalar, f"forecast_scalar of {name}")
    return RuleSpec(
        name=str(name),
        function=str(spec["function"]),
        data=_rule_data(name, spec.get("data")),
        other_args=dict(spec.get("other_args") or {}),
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
    if not weights:
        return {rule: 1.0 / len(rules) for rule in rules}
    if is_by_instrument(weights):
        return {str(code): _weights(table, rules, f"forecast_weights of {code}") for code, table in weights.items()}
    return _weights(weights, rules, "forecast_weights")


def _weights(weights: Any, rules: Mapping[str, RuleSpec], where: str) -> dict[str, float]:
    if not isinstance(weights, Mapping) or not weights:
        raise ConfigError(f"{where} must be a table of `rule: weight`, not {weights!r}")
    _refuse_unknown_rules(weights, rules, where)
    return _positive_total({str(name): _weight(value, f"{where}: {name}") for name, value in weights.items()}, where)


def _instrument_weights(reader: YamlKeys) -> Mapping[str, float]:
    weights = reader.mapping("instrument_weights")
    listed = reader.take("instruments", [])
    if isinstance(listed, str) or not isinstance(listed, Sequence):
        raise ConfigError(f"instruments must be a list of codes, not {listed!r}")
    if not weights:
        return {str(code): 1.0 / len(listed) for code in listed}
    table = {str(code): _weight(value, f"instrument_weights: {code}") for code, value in weights.items()}
    return _positive_total(table, "instrument_weights")


def _small_system(reader: YamlKeys) -> SmallSystem | None:
    return SmallSystem.from_keys(reader.mapping("small_system")) if reader.take("small_system") is not None else None


def _start_date(reader: YamlKeys) -> str | None:
    value = reader.take("start_date")
    if value is None:
        return None
    try:
        return date.fromisoformat(str(value)).isoformat()
    except ValueError:
        raise ConfigError(f"start_date must be a date such as 2000-01-31, not {value!r}") from None


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
    given: dict[str, Any] = {}
    for name, default in asdict(estimator()).items():
        given[name] = (
            reader.flag(name, default) if isinstance(default, bool) else reader.number(name, default, least=0.0)
        )
    reader.refuse_the_rest()
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
