"""From a backtest that estimates to the configuration that trades: every estimate fixed at its last value.

Refitting every night would move positions for no reason, and cost time. What is promoted is compared with what it
came from before it trades.

Weights are those in use on the last day, before they are smoothed: the fixed system smooths them again, so that a rule
or an instrument that is still fading in goes on to its full weight.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import yaml

from pysys.domain.errors import ConfigError
from pysys.systems.backtest_config import ESTIMATE_FLAGS, ESTIMATED_KEYS
from pysys.systems.backtest_result import BacktestResult
from pysys.systems.backtest_yaml import parse_backtest_config
from pysys.systems.estimation.settings import ESTIMATION_SETTINGS, EstimationSettings
from pysys.systems.market_data import FloatArray

if TYPE_CHECKING:
    import pandas as pd

ENDED_AFTER = 65  # business days without any price; the instrument trades no more


def promoted_config(result: BacktestResult) -> dict[str, Any]:
    """The configuration of a backtest with what it estimated fixed at the last value, and every estimate turned off.

    Under the established keys, ready for YAML. Parameters that were fixed stay as they were. Estimated instrument
    weights leave out the instruments that have ended (`ended_instruments`). Raises ConfigError, naming rule and
    instrument, where there is no estimate yet.
    """
    kept = _kept(result)
    config = result.config if len(kept) == len(result.instruments) else result.config.restricted_to(kept)
    keys = {key: value for key, value in config.as_yaml_keys().items() if key not in ESTIMATION_SETTINGS}
    estimates = config.estimates
    if "use_forecast_scale_estimates" in estimates:
        rules = {
            name: _without(rule, "forecast_scalar") if name in result.forecasts.raw else rule
            for name, rule in keys["trading_rules"].items()
        }
        scalars = {name: _last_scalars(result, name) for name in result.forecasts.raw}
        keys = {"trading_rules": rules, "forecast_scalars": scalars, **_without(keys, "trading_rules")}
    if "use_forecast_weight_estimates" in estimates:
        keys["forecast_weights"] = {code: _last_weights(result, code) for code in _kept(result)}
    if "use_forecast_div_mult_estimates" in estimates:
        multipliers, problem = result.values("forecast_div_multiplier"), "no forecast diversification multiplier yet"
        keys["forecast_div_multiplier"] = {
            code: _known(_last(multipliers[:, result.instruments.index(code)]), f"{code}: {problem}")
            for code in _kept(result)
        }
    if "use_instrument_weight_estimates" in estimates:
        keys["instrument_weights"] = _last_instrument_weights(result)
    if "use_instrument_div_mult_estimates" in estimates:
        multiplier = _last(np.ravel(result.sizing.parameters.multiplier))
        keys["instrument_div_multiplier"] = _known(multiplier, "no instrument diversification multiplier yet")
    return {**keys, **dict.fromkeys(ESTIMATE_FLAGS, False)}


def promoted_tables(result: BacktestResult) -> dict[str, pd.DataFrame]:
    """What `promoted_config` fixes, by configuration key; a row for each instrument, rule, or the portfolio."""
    import pandas as pd

    keys = promoted_config(result)
    tables = {}
    for flag, name in ESTIMATED_KEYS.items():
        if flag not in result.config.estimates:
            continue
        values = keys[name] if isinstance(keys[name], Mapping) else {"portfolio": keys[name]}
        rows = {row: value if isinstance(value, Mapping) else {name: value} for row, value in values.items()}
        tables[name] = pd.DataFrame.from_dict(rows, orient="index")
    return tables


def ended_instruments(result: BacktestResult) -> tuple[str, ...]:
    """Instruments without a price in the last `ENDED_AFTER` business days of the backtest."""
    recent = np.logical_or.reduce(result.index[-ENDED_AFTER:], axis=0)
    return tuple(code for code, trades in zip(result.instruments, recent, strict=True) if not trades)


def write_promoted(result: BacktestResult, path: str | Path) -> Path:
    """Writes `promoted_config` as YAML, replacing the file; returns where it is.

    Raises ConfigError, and leaves the file as it is, when there is no estimate yet or the configuration would not read
    back.
    """
    keys = promoted_config(result)
    parse_backtest_config(keys)
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    dumper = getattr(yaml, "CSafeDumper", yaml.SafeDumper)
    comments = f"# Estimates fixed at their values of {result.dates[-1]}.\n"
    left_out = [code for code in ended_instruments(result) if code not in keys["instrument_weights"]]
    if left_out:
        comments += f"# Left out, because their prices have ended: {', '.join(left_out)}.\n"
    path.write_text(comments + yaml.dump(keys, Dumper=dumper, sort_keys=False), encoding="utf-8")
    return path


def _kept(result: BacktestResult) -> list[str]:
    """Instruments of the promoted configuration: fixed weights keep what they name, estimated ones what trades."""
    estimated = "use_instrument_weight_estimates" in result.config.estimates
    ended = ended_instruments(result) if estimated else ()
    return [code for code in result.instruments if code not in ended]


def _last_scalars(result: BacktestResult, rule: str) -> float | dict[str, float]:
    """One number when instruments are pooled, otherwise by instrument: 1 for one the rule says nothing about.

    A relative rule says nothing about an instrument that is alone in its asset class.
    """
    scalars = result.forecasts.parameters.scalars[rule]
    needed = EstimationSettings.read(result.config.estimation).forecast_scalar.min_periods
    why = (
        f"no forecast scalar of {rule} yet: its history is shorter than forecast_scalar_estimate.min_periods, {needed}"
    )
    if scalars.shape[-1] == 1:
        return _known(_last(scalars[:, 0]), f"all instruments: {why}")
    columns = {code: result.instruments.index(code) for code in _kept(result)}
    silent = np.logical_and.reduce(np.isnan(result.forecasts.raw[rule].values), axis=0)
    return {
        code: 1.0 if silent[column] else _known(_last(scalars[:, column]), f"{code}: {why}")
        for code, column in columns.items()
    }


def _last_weights(result: BacktestResult, code: str) -> dict[str, float]:
    """Of the rules of an instrument; they add up to 1. A rule it does not use has none."""
    column = result.instruments.index(code)
    weights = result.forecasts.parameters.weights
    in_use = _last_row(np.column_stack([_by_day(result, each)[:, column] for each in weights.values()]))
    total = float(np.nansum(in_use))
    if not total > 0:
        raise _no_estimate(f"{code}: no forecast weight of any rule yet")
    return {rule: float(one / total) for rule, one in zip(weights, in_use, strict=True) if not np.isnan(one)}


def _last_instrument_weights(result: BacktestResult) -> dict[str, float]:
    """Of the instruments that trade; they add up to 1."""
    in_use = _last_row(_by_day(result, result.sizing.parameters.weights))
    weights = {
        code: _known(float(in_use[result.instruments.index(code)]), f"{code}: no instrument weight yet")
        for code in _kept(result)
    }
    total = sum(weights.values())
    if not total > 0:
        raise _no_estimate(f"{', '.join(weights)}: no instrument weight above 0")
    return {code: weight / total for code, weight in weights.items()}


def _by_day(result: BacktestResult, weights: FloatArray) -> FloatArray:
    """Weights that are one per instrument repeated, (date x instrument)."""
    return np.broadcast_to(weights, (len(result.dates), len(result.instruments)))


def _last_row(values: FloatArray) -> FloatArray:
    """The last row with anything present; days without any fit leave weights where they were."""
    rows = np.flatnonzero(~np.isnan(values).all(axis=1))
    return values[rows[-1]] if len(rows) else np.full(values.shape[1], np.nan)


def _last(values: FloatArray) -> float:
    """The last present value; NaN when there is none."""
    present = values[~np.isnan(values)]
    return float(present[-1]) if len(present) else float("nan")


def _known(value: float, problem: str) -> float:
    """The value. Raises ConfigError with the problem when it is missing."""
    if np.isnan(value):
        raise _no_estimate(problem)
    return value


def _no_estimate(problem: str) -> ConfigError:
    return ConfigError(f"nothing is promoted: {problem}; leave it out, fix its value, or wait for more prices")


def _without(keys: Mapping[str, Any], name: str) -> dict[str, Any]:
    return {key: value for key, value in keys.items() if key != name}
