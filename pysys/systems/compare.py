"""Why two backtests want different positions today."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from pysys.systems.backtest_result import BacktestResult
from pysys.systems.forecast_mapping import ForecastMapping, mapped_forecast
from pysys.systems.market_data import FloatArray
from pysys.systems.positions import daily_cash_target
from pysys.systems.smoothing import forward_fill

if TYPE_CHECKING:
    import pandas as pd

_NOTHING = 1e-9  # contracts, of a contribution that is only rounding of floats


@dataclass(frozen=True, slots=True)
class _Stages:
    """Everything that makes the latest position of one instrument, as numbers."""

    forecasts: Mapping[str, float]  # scaled and capped, by rule
    weights: Mapping[str, float]  # smoothed, by rule
    forecast_div_multiplier: float
    forecast_cap: float
    forecast_mapping: ForecastMapping
    average_absolute_forecast: float
    contract_risk: float  # base currency a day
    instrument_weight: float
    instrument_div_multiplier: float
    risk_overlay: float  # multiplier of all positions
    percentage_vol_target: float
    capital: float  # base currency
    decided: float  # whole contracts

    def position(self) -> float:
        """Contracts, unrounded, from the numbers above."""
        mixed = sum(self.weights.get(rule, 0.0) * forecast for rule, forecast in self.forecasts.items())
        combined = float(np.clip(self.forecast_div_multiplier * mixed, -self.forecast_cap, self.forecast_cap))
        how = self.forecast_mapping
        mapped = float(mapped_forecast(np.array(combined), how.a_param, how.b_param, how.threshold, self.forecast_cap))
        if not self.contract_risk > 0:
            return 0.0
        scalar = daily_cash_target(self.capital, self.percentage_vol_target) / self.contract_risk
        share = self.instrument_weight * self.instrument_div_multiplier * self.risk_overlay
        return scalar * mapped / self.average_absolute_forecast * share


def compare_results(a: BacktestResult, b: BacktestResult) -> pd.DataFrame:
    """Latest whole positions of both, and what each stage adds to the difference; a row per instrument of either.

    Columns: position_a, position_b, difference, first_stage (the earliest that differs), largest_stage, then contracts
    by stage: `universe` (the instrument is in one only), `forecast <rule>`, `forecast_weights`,
    `forecast_div_multiplier` (with the cap), `forecast_mapping`, `contract_risk`, `instrument_weight`,
    `instrument_div_multiplier`, `percentage_vol_target`, `capital`, `risk_overlay`, and `whole_contracts` (buffer,
    rounding, optimising, history). They add up to the difference: each is what changes when the stages of `a` are
    exchanged for those of `b` one after the other, in this order. Rows are sorted by size of the difference.
    """
    import pandas as pd

    at_a, at_b = _latest(a), _latest(b)
    rules = list(dict.fromkeys([*a.forecasts.raw, *b.forecasts.raw]))
    steps = _steps(rules)
    rows = []
    for code in dict.fromkeys([*a.instruments, *b.instruments]):
        one, other = at_a.get(code), at_b.get(code)
        before, after = (0.0 if stages is None else stages.decided for stages in (one, other))
        if one is None or other is None:
            added = {"universe": after - before, **dict.fromkeys([*steps, "whole_contracts"], 0.0)}
        else:
            added = {"universe": 0.0, **_walk(one, other, steps)}
        rows.append(
            {
                "instrument": code,
                "position_a": before,
                "position_b": after,
                "difference": after - before,
                "first_stage": next((stage for stage, lots in added.items() if abs(lots) > _NOTHING), ""),
                "largest_stage": max(added, key=lambda stage: abs(added[stage])) if any(added.values()) else "",
                **added,
            }
        )
    table = pd.DataFrame(rows).set_index("instrument")
    return table.loc[table["difference"].abs().sort_values(ascending=False, kind="stable").index]


_Step = Callable[[_Stages, _Stages], _Stages]


def _steps(rules: list[str]) -> dict[str, _Step]:
    """By stage, how it is taken over from the second backtest."""
    return {
        **{f"forecast {rule}": _forecast_of(rule) for rule in rules},
        "forecast_weights": _fields("weights"),
        "forecast_div_multiplier": _fields(
            "forecast_div_multiplier", "forecast_cap", "average_absolute_forecast", "forecasts"
        ),
        **{
            name: _fields(name)
            for name in (
                "forecast_mapping",
                "contract_risk",
                "instrument_weight",
                "instrument_div_multiplier",
                "percentage_vol_target",
                "capital",
                "risk_overlay",
            )
        },
    }


def _forecast_of(rule: str) -> _Step:
    """A rule the second backtest lacks keeps its forecast here; its weight then goes."""

    def take(now: _Stages, other: _Stages) -> _Stages:
        if rule not in other.forecasts:
            return now
        return replace(now, forecasts={**now.forecasts, rule: other.forecasts[rule]})

    return take


def _fields(*names: str) -> _Step:
    def take(now: _Stages, other: _Stages) -> _Stages:
        return replace(now, **{name: getattr(other, name) for name in names})

    return take


def _walk(one: _Stages, other: _Stages, steps: Mapping[str, _Step]) -> dict[str, float]:
    """What each step adds, and the rest of the difference under `whole_contracts`."""
    added, now, position = {}, one, one.position()
    for stage, take in steps.items():
        now = take(now, other)
        reached = now.position()
        added[stage] = reached - position
        position = reached
    added["whole_contracts"] = (other.decided - other.position()) - (one.decided - one.position())
    return added


def _latest(result: BacktestResult) -> dict[str, _Stages]:
    """By instrument, the stages on the last day of its history; what is missing there counts as nothing."""
    config, rules = result.config, result.forecasts.raw
    named = {name: result.values(name) for name in ("forecast_div_multiplier", "instrument_weight")}
    multiplier, risk = result.values("instrument_div_multiplier"), forward_fill(result.values("instr_value_vol"))
    forecasts = {rule: forward_fill(result.values(f"fc_{rule}")) for rule in rules}
    weights = {rule: result.values(f"fw_{rule}") for rule in rules}
    overlay = result.sizing.overlay
    factor = np.ones(len(result.dates)) if overlay is None else overlay.multiplier
    out = {}
    for column, code in enumerate(result.instruments):
        row = int(np.flatnonzero(result.index[:, column])[-1])

        def at(values: FloatArray, row: int = row, column: int = column) -> float:
            return float(np.nan_to_num(values[row, column]))

        out[code] = _Stages(
            forecasts={rule: at(values) for rule, values in forecasts.items()},
            weights={rule: at(values) for rule, values in weights.items()},
            forecast_div_multiplier=at(named["forecast_div_multiplier"]),
            forecast_cap=config.forecast_cap,
            forecast_mapping=config.forecast_mapping.get(code, ForecastMapping()),
            average_absolute_forecast=config.average_absolute_forecast,
            contract_risk=at(risk),
            instrument_weight=at(named["instrument_weight"]),
            instrument_div_multiplier=at(multiplier),
            risk_overlay=float(factor[row]),
            percentage_vol_target=config.percentage_vol_target,
            capital=config.notional_trading_capital,
            decided=at(result.sizing.decided.values),
        )
    return out
