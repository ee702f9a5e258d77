"""What can be wrong with a backtest's configuration although every key in it can be read.

What would risk money stops; what the field's files have always been allowed to do is said once, with the fix.
"""

from __future__ import annotations

import warnings
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from pysys.domain.errors import ConfigError
from pysys.systems.backtest_config import ESTIMATED_KEYS, ZERO_WEIGHT, BacktestConfig, is_by_instrument

WEIGHT_TOLERANCE = 0.01  # weights written with two or three decimals need not add up to 1 exactly
_SHOWN = 5


class ConfigWarning(UserWarning):
    """A backtest runs, but perhaps not as meant."""


def warn(messages: Iterable[str], where: str = "") -> None:
    """Each said once for every place it is said at, as Python's warnings are."""
    for message in messages:
        warnings.warn(f"{where}{message}", ConfigWarning, stacklevel=3)


def unscaled_rules(rules: Iterable[str]) -> list[str]:
    """Said of rules without a forecast scalar, which are taken as they are."""
    named = list(rules)
    if not named:
        return []
    return [
        f"no forecast_scalar for {some(named)}, so 1.0 is used and their forecasts may be far from 10 on average; "
        "write them under forecast_scalars, or set use_forecast_scale_estimates: True"
    ]


def totals(tables: Mapping[str, Mapping[str, float]]) -> list[str]:
    """Said of tables of weights, by where they are, that do not add up to 1."""
    off = {where: sum(table.values()) for where, table in tables.items()}
    off = {where: total for where, total in off.items() if abs(total - 1.0) > WEIGHT_TOLERANCE}
    if not off:
        return []
    listed = some([f"{where} add up to {total:.4g}" for where, total in off.items()])
    return [f"{listed}, not to 1; only their proportions count. Divide them by their sum"]


def fixed_and_estimated(config: BacktestConfig) -> list[str]:
    """Said of fixed values that an estimate replaces. What a file without them would have is not one."""
    codes = config.instruments
    fixed = {
        "use_forecast_scale_estimates": any(rule.forecast_scalar != 1.0 for rule in config.rules.values()),
        "use_forecast_weight_estimates": config.forecast_weights != config.equal_forecast_weights(codes),
        "use_forecast_div_mult_estimates": config.forecast_div_multiplier != 1.0,
        "use_instrument_weight_estimates": config.instrument_weights != config.equal_instrument_weights(codes),
        "use_instrument_div_mult_estimates": config.instrument_div_multiplier != 1.0,
    }
    both = [flag for flag, given in fixed.items() if given and flag in config.estimates]
    if not both:
        return []
    return [
        f"{', '.join(ESTIMATED_KEYS[flag] for flag in both)}: fixed values are given, but estimated ones count; set "
        f"{', '.join(f'{flag}: False' for flag in both)}, or remove the values (`instruments` lists what is traded)"
    ]


def refuse_other_instruments(listed: Collection[str], weighted: Collection[str]) -> None:
    """Raises ConfigError when `instruments` are not those of `instrument_weights`."""
    unweighted = [code for code in listed if code not in weighted]
    unlisted = [code for code in weighted if code not in listed]
    if unweighted or unlisted:
        ways = [f"{some(unweighted)} have no weight"] * bool(unweighted)
        ways += [f"{some(unlisted)} are not listed"] * bool(unlisted)
        raise ConfigError(
            f"instruments and instrument_weights do not name the same instruments: {' and '.join(ways)}. "
            "Remove `instruments`, or make them the same"
        )


def unknown_instruments(config: BacktestConfig, known: Collection[str]) -> list[str]:
    """Said of tables by instrument that name one which is not traded. `known`: all that might be.

    Raises ConfigError where a limit is on such an instrument: misspelt, it would limit nothing.
    """
    if config.small_system is not None:
        for name, codes in config.small_system.named_instruments().items():
            unknown = [code for code in codes if code not in known]
            if unknown:
                raise ConfigError(
                    f"small_system: {name} names {some(unknown)}, which this backtest does not trade, so nothing would "
                    f"be limited; correct the spelling or remove the entry. Traded: {some(known)}"
                )
    said = []
    for where, table in _tables_by_instrument(config).items():
        unknown = [code for code in table if code not in known]
        if unknown:
            said.append(f"{where} names {some(unknown)}, not traded here; correct the spelling or remove the entry")
    return said


def unknown_untraded(config: BacktestConfig, known: Collection[str]) -> list[str]:
    """Said of lists of what is not to be traded, when everything there is would be: a misspelt one is traded."""
    unknown = [code for code in (*config.left_out, *config.zero_weight) if code not in known]
    if not unknown:
        return []
    return [
        f"exclude_instrument_lists, duplicate_instruments or {ZERO_WEIGHT} name {some(unknown)}, of which there are no "
        "prices; correct the spelling or remove the entry"
    ]


def trading_all(config: BacktestConfig, codes: Sequence[str]) -> BacktestConfig:
    """A configuration without instruments, trading all there are but those it says not to trade.

    Warns of what may not be meant. Raises ConfigError when nothing is left, or where a limit is on none of them.
    """
    warn([*unknown_instruments(config, codes), *unknown_untraded(config, codes)])
    return replace(config, instrument_weights=config.equal_instrument_weights(codes))


def _tables_by_instrument(config: BacktestConfig) -> dict[str, Mapping[str, Any]]:
    tables: dict[str, Any] = {
        "forecast_div_multiplier": config.forecast_div_multiplier,
        "forecast_mapping": config.forecast_mapping,
        "rule_variations": config.rule_variations,
        **{f"forecast_scalar of {name}": rule.forecast_scalar for name, rule in config.rules.items()},
    }
    if is_by_instrument(config.forecast_weights):
        tables["forecast_weights"] = config.forecast_weights
    return {where: table for where, table in tables.items() if isinstance(table, Mapping)}


def some(names: Collection[str]) -> str:
    """The first few of them."""
    shown = ", ".join(list(names)[:_SHOWN])
    return shown + (f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else "")
