"""From a backtest that estimates to the configuration that trades: every estimate fixed at its last value.

Refitting every night would move positions for no reason, and cost time. What is promoted is compared with what it
came from before it trades.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import yaml

from pysys.systems.backtest_config import ESTIMATE_FLAGS
from pysys.systems.backtest_result import BacktestResult
from pysys.systems.estimation.settings import ESTIMATION_SETTINGS
from pysys.systems.market_data import FloatArray

if TYPE_CHECKING:
    import pandas as pd

STAGES = (
    "forecast_scalars",
    "forecast_weights",
    "forecast_div_multiplier",
    "instrument_weights",
    "instrument_div_multiplier",
)


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


def compare_systems(estimated: BacktestResult, fixed: BacktestResult) -> pd.DataFrame:
    """Latest notional position of each instrument under both, and which parameters the difference comes from.

    A row per instrument, in contracts: `estimated`, `fixed`, `difference` (fixed less estimated), which is the sum
    of the columns of `STAGES` (the change from replacing those parameters, one after the other) and `other` (what
    is left: capital, target, data). An instrument in only one of the two has no position in the other; all of that
    difference counts for its weight.
    """
    import pandas as pd

    both = [code for code in estimated.instruments if code in fixed.instruments]
    rows = {code: _explained(_Latest.of(estimated, code), _Latest.of(fixed, code)) for code in both}
    for result, sign, column in ((estimated, -1.0, "estimated"), (fixed, 1.0, "fixed")):
        for code in result.instruments:
            if code not in rows:
                position = _Latest.of(result, code).held
                rows[code] = {column: position, "difference": sign * position, "instrument_weights": sign * position}
    columns = ["estimated", "fixed", "difference", *STAGES, "other"]
    table = pd.DataFrame.from_dict(rows, orient="index").reindex(columns=columns).astype(float).fillna(0.0)
    return table.rename_axis("instrument").sort_index()


@dataclass(frozen=True, slots=True)
class _Latest:
    """What the latest position of one instrument is made of."""

    held: float  # notional position, contracts
    forecasts: Mapping[str, float]  # raw, by rule
    forecast_scalars: Mapping[str, float]
    forecast_weights: Mapping[str, float]
    forecast_div_multiplier: float
    instrument_weights: float
    instrument_div_multiplier: float
    cap: float  # on |forecast|
    contracts_per_forecast: float  # with all capital

    @classmethod
    def of(cls, result: BacktestResult, code: str) -> _Latest:
        column = result.instruments.index(code)
        rules = [rule for rule in result.forecasts.raw if not np.isnan(_latest(result, f"raw_{rule}", column))]
        weights = {rule: _latest(result, f"fw_{rule}", column) for rule in rules}
        vol_scalar = _latest(result, "vol_scalar", column)
        return cls(
            held=_zero_if_missing(_latest(result, "notional_position", column)),
            forecasts={rule: _latest(result, f"raw_{rule}", column) for rule in rules},
            forecast_scalars={rule: _scalar_of_latest(result, rule, column) for rule in rules},
            forecast_weights={rule: _zero_if_missing(weight) for rule, weight in weights.items()},
            forecast_div_multiplier=_latest(result, "forecast_div_multiplier", column),
            instrument_weights=_latest(result, "instrument_weight", column),
            instrument_div_multiplier=_last(np.ravel(result.sizing.parameters.multiplier)),
            cap=result.config.forecast_cap,
            contracts_per_forecast=vol_scalar / result.config.average_absolute_forecast,
        )

    def position(self) -> float:
        """Contracts; what `held` is, put together again."""
        combined = 0.0
        for rule, weight in self.forecast_weights.items():
            scalar, raw = self.forecast_scalars.get(rule, np.nan), self.forecasts.get(rule, np.nan)
            combined += weight * _zero_if_missing(float(np.clip(scalar * raw, -self.cap, self.cap)))
        combined = float(np.clip(self.forecast_div_multiplier * combined, -self.cap, self.cap))
        share = self.instrument_weights * self.instrument_div_multiplier
        return _zero_if_missing(self.contracts_per_forecast * combined * share)


def _explained(estimated: _Latest, fixed: _Latest) -> dict[str, float]:
    row = {"estimated": estimated.held, "fixed": fixed.held, "difference": fixed.held - estimated.held}
    so_far = replace(estimated, forecasts={**fixed.forecasts, **estimated.forecasts})
    for stage in STAGES:
        value = getattr(fixed, stage)
        if stage == "forecast_scalars":  # of rules the other does not have, weights make the difference
            value = {**estimated.forecast_scalars, **value}
        changed = replace(so_far, **{stage: value})
        row[stage] = changed.position() - so_far.position()
        so_far = changed
    row["other"] = row["difference"] - sum(row[stage] for stage in STAGES)
    return row


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


def _scalar_of_latest(result: BacktestResult, rule: str, column: int) -> float:
    """The scalar the latest forecast of a rule was multiplied by."""
    scaled = ~np.isnan(result.forecasts.raw[rule].values[:, column])
    return _last(result.values(f"scalar_{rule}")[scaled, column])


def _latest(result: BacktestResult, name: str, column: int) -> float:
    return _last(result.values(name)[:, column])


def _last(values: FloatArray) -> float:
    """The last present value; NaN when there is none."""
    present = values[~np.isnan(values)]
    return float(present[-1]) if len(present) else float("nan")


def _zero_if_missing(value: float) -> float:
    return 0.0 if np.isnan(value) else value


def _without(keys: Mapping[str, Any], name: str) -> dict[str, Any]:
    return {key: value for key, value in keys.items() if key != name}
