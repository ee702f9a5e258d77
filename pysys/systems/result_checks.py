"""What a backtest's own numbers say is perhaps not meant, though its configuration can be read and run."""

from __future__ import annotations

import numpy as np

from pysys.systems.backtest_result import BacktestResult
from pysys.systems.config_checks import some
from pysys.systems.established_rules import ESTABLISHED_RULES, FLAT_IS_A_FORECAST

FAR_FROM_AVERAGE = 3.0  # times too strong or too weak
_ENOUGH = 256  # forecasts to have an average of
_SAMPLED = 5  # days from one that is looked at to the next: an average needs no more


def doubts(result: BacktestResult) -> list[str]:
    """What to tell the one who configured this, each with the fix; for `config_checks.warn`."""
    return [*_rules_that_never_speak(result), *_forecasts_of_another_size(result), *_nothing_held(result)]


def _rules_that_never_speak(result: BacktestResult) -> list[str]:
    silent = [name for name, panel in result.forecasts.raw.items() if np.isnan(panel.values).all()]
    if not silent:
        return []
    return [
        f"trading rules {some(silent)} have no forecast on any day, so the others share their weight; correct their "
        "arguments, give them more history, or remove them"
    ]


def _forecasts_of_another_size(result: BacktestResult) -> list[str]:
    """Of rules whose forecasts are on average far from what positions are sized for, before they are capped."""
    average, found = result.config.average_absolute_forecast, []
    for name, panel in result.forecasts.raw.items():
        scalar = result.forecasts.parameters.scalars[name]
        strength = np.abs(panel.values[::_SAMPLED] * (scalar if scalar.ndim == 1 else scalar[::_SAMPLED]))
        known = ~np.isnan(strength)
        means_zero = ESTABLISHED_RULES.get(result.config.rules[name].function) in FLAT_IS_A_FORECAST
        if means_zero or np.count_nonzero(known) < _ENOUGH / _SAMPLED:
            continue
        mean = float(strength[known].mean())
        if not average / FAR_FROM_AVERAGE <= mean <= average * FAR_FROM_AVERAGE:
            found.append(f"{name} {mean:.3g}")
    if not found:
        return []
    return [
        f"forecasts should average {average:g}, before they are capped, and these average: {some(found)}. Such a rule "
        "trades too little or too much: correct its forecast_scalar, or set use_forecast_scale_estimates: True"
    ]


def _nothing_held(result: BacktestResult) -> list[str]:
    if np.any(np.nan_to_num(result.sizing.notional) != 0.0):
        return []
    return ["no instrument has a position on any day; import more prices, or move start_date back"]
