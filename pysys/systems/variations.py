"""One variation of a configuration, as a sweep runs many of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pysys.domain.errors import ConfigError
from pysys.systems.backtest_config import BacktestConfig
from pysys.systems.backtest_yaml import parse_backtest_config
from pysys.systems.estimation.settings import ESTIMATION_SETTINGS

Variation = Mapping[str, Any]

# Tables a whole configuration may lack, and so their parts too.
_OPTIONAL_TABLES = frozenset(
    {
        *ESTIMATION_SETTINGS,
        "forecast_mapping",
        "risk_overlay",
        "small_system",
        "exclude_instrument_lists",
        "duplicate_instruments",
    }
)
# What a list replaces that is in a whole configuration instead of it.
_REPLACED_BY = {"instruments": "instrument_weights", "rule_variations": "forecast_weights"}


def varied_config(keys: Mapping[str, Any], variation: Variation) -> BacktestConfig:
    """The configuration with some keys changed, one after the other.

    keys: of a whole configuration, as `as_yaml_keys` gives them. Any established key can be changed, at the top or a
    part of it by a dotted path, with what it means in a file: `forecast_scalars` are those of the rules it names,
    `instruments` share capital equally instead of the weights there are, so do `rule_variations`; a number that
    holds for all instruments can be changed for one. None takes a key out, so that its default counts.
    Raises ConfigError for a key there is not, or a wrong value.
    """
    changed: dict[str, Any] = dict(keys)
    for path, value in variation.items():
        replaced = _REPLACED_BY.get(path)
        if replaced is not None and value is not None and replaced not in variation:
            changed.pop(replaced, None)
        for levels, one in _places(path.split("."), value):
            changed = _with(changed, levels, one, path, tuple(keys.get("instrument_weights", ())))
    return parse_backtest_config(changed)


def _places(levels: Sequence[str], value: Any) -> list[tuple[list[str], Any]]:
    """Where a whole configuration has what is named: its scalars are with the rules."""
    if levels[0] == "forecast_scalar":
        raise ConfigError("forecast_scalar: every rule has one of its own here; vary forecast_scalars.<rule> instead")
    if levels[0] != "forecast_scalars":
        return [(list(levels), value)]
    if len(levels) > 1:
        return [(["trading_rules", levels[1], "forecast_scalar", *levels[2:]], value)]
    if not isinstance(value, Mapping):
        raise ConfigError(f"forecast_scalars must be a table of `rule: scalar`, not {value!r}")
    return [(["trading_rules", str(rule), "forecast_scalar"], scalar) for rule, scalar in value.items()]


def _with(
    keys: Mapping[str, Any], levels: Sequence[str], value: Any, path: str, codes: Sequence[str], optional: bool = False
) -> dict[str, Any]:
    """`keys` with the value at the end of `levels`. optional: levels that are not there are made."""
    first, rest = levels[0], levels[1:]
    if not rest:
        return {**keys, first: value} if value is not None else {key: keys[key] for key in keys if key != first}
    optional = optional or first in _OPTIONAL_TABLES
    inner = keys.get(first)
    if inner is None and optional:
        inner = {}
    if first in ("forecast_div_multiplier", "forecast_scalar") and isinstance(inner, int | float) and codes:
        inner = dict.fromkeys(codes, inner)
    if not isinstance(inner, Mapping):
        raise ConfigError(f"{path}: the configuration has nothing called {first} to change a part of")
    return {**keys, first: _with(inner, rest, value, path, codes, optional)}
