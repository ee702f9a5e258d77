"""From a backtest that estimates to the configuration that trades: every estimate fixed at its last value.

Refitting every night would move positions for no reason, and cost time. What is promoted is compared with what it
came from before it trades.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from pysys.systems.backtest_config import ESTIMATE_FLAGS
from pysys.systems.backtest_result import BacktestResult
from pysys.systems.estimation.settings import ESTIMATION_SETTINGS
from pysys.systems.market_data import FloatArray


def promoted_config(result: BacktestResult) -> dict[str, Any]:
    """The configuration of a backtest with what it estimated fixed at the last value, and every estimate turned off.

    Under the established keys, ready for YAML. Parameters that were fixed stay as they were.
    """
    keys = {key: value for key, value in result.config.as_yaml_keys().items() if key not in ESTIMATION_SETTINGS}
    estimates = result.config.estimates
    if "use_forecast_scale_estimates" in estimates:
        rules = {
            name: {key: value for key, value in rule.items() if key != "forecast_scalar"}
            for name, rule in keys["trading_rules"].items()
        }
        scalars = {name: _last_scalars(result, name) for name in result.forecasts.raw}
        keys = {"trading_rules": rules, "forecast_scalars": scalars, **_without(keys, "trading_rules")}
    if "use_forecast_weight_estimates" in estimates:
        keys["forecast_weights"] = {code: _last_weights(result, code) for code in result.instruments}
    if "use_forecast_div_mult_estimates" in estimates:
        keys["forecast_div_multiplier"] = _last_of_each(result, "forecast_div_multiplier")
    if "use_instrument_weight_estimates" in estimates:
        keys["instrument_weights"] = _last_of_each(result, "instrument_weight")
    if "use_instrument_div_mult_estimates" in estimates:
        keys["instrument_div_multiplier"] = _last(np.ravel(result.sizing.parameters.multiplier))
    return {**keys, **dict.fromkeys(ESTIMATE_FLAGS, False)}


def write_promoted(result: BacktestResult, path: str | Path) -> Path:
    """Writes `promoted_config` as YAML, replacing the file; returns where it is."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    dumper = getattr(yaml, "CSafeDumper", yaml.SafeDumper)
    text = yaml.dump(promoted_config(result), Dumper=dumper, sort_keys=False)
    path.write_text(f"# Estimates fixed at their values of {result.dates[-1]}.\n{text}", encoding="utf-8")
    return path


def _last_scalars(result: BacktestResult, rule: str) -> float | dict[str, float]:
    """One number when instruments are pooled, otherwise by instrument."""
    scalars = result.forecasts.parameters.scalars[rule]
    if scalars.shape[-1] == 1:
        return _last(scalars[:, 0])
    return {code: _last(scalars[:, column]) for column, code in enumerate(result.instruments)}


def _last_weights(result: BacktestResult, code: str) -> dict[str, float]:
    column = result.instruments.index(code)
    weights = {rule: _latest(result, f"fw_{rule}", column) for rule in result.forecasts.raw}
    return {rule: weight for rule, weight in weights.items() if not np.isnan(weight)}


def _last_of_each(result: BacktestResult, name: str) -> dict[str, float]:
    return {code: _latest(result, name, column) for column, code in enumerate(result.instruments)}


def _latest(result: BacktestResult, name: str, column: int) -> float:
    return _last(result.values(name)[:, column])


def _last(values: FloatArray) -> float:
    """The last present value; NaN when there is none."""
    present = values[~np.isnan(values)]
    return float(present[-1]) if len(present) else float("nan")


def _without(keys: Mapping[str, Any], name: str) -> dict[str, Any]:
    return {key: value for key, value in keys.items() if key != name}
