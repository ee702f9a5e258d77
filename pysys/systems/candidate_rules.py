"""Rules that are looked at before they are given a weight."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace

from pysys.systems.backtest_config import BacktestConfig, is_by_instrument


def with_candidates(config: BacktestConfig) -> BacktestConfig:
    """The same backtest, with the rules no instrument uses computed too.

    Their weight is NaN, which plays no part: positions stay as they were. Where weights are estimated, every rule has
    one already.
    """
    weights = config.forecast_weights
    tables = list(weights.values()) if is_by_instrument(weights) else [weights]
    candidates = {rule: math.nan for rule in config.rules if not any(rule in table for table in tables)}
    if is_by_instrument(weights):
        every: Mapping[str, Mapping[str, float]] = weights
        return replace(config, forecast_weights={code: {**table, **candidates} for code, table in every.items()})
    return replace(config, forecast_weights={**weights, **candidates})
