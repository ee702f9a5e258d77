"""What a backtest estimated. The annotations alone need the rest of this package, which takes a while to import."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from pysys.systems.market_data import FloatArray

if TYPE_CHECKING:
    from pysys.systems.estimation.correlations import CorrelationsOverTime
    from pysys.systems.estimation.weights import FittedWeights


@dataclass(frozen=True, slots=True, eq=False)
class ForecastEstimates:
    """What was estimated about forecasts; empty where a fixed value was used."""

    raw_weights: Mapping[str, FittedWeights] = field(default_factory=dict)  # by instrument, before smoothing
    correlations: Mapping[str, CorrelationsOverTime] = field(default_factory=dict)  # of rules, by instrument
    sr_costs: Mapping[str, FloatArray] = field(default_factory=dict)  # by rule: SR units a year, one per instrument


@dataclass(frozen=True, slots=True, eq=False)
class InstrumentEstimates:
    """What was estimated about instruments; None where a fixed value was used."""

    raw_weights: FittedWeights | None = None  # before smoothing
    correlations: CorrelationsOverTime | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Estimates:
    """Everything that was estimated, before smoothing; empty when all parameters were fixed."""

    forecasts: ForecastEstimates = field(default_factory=ForecastEstimates)
    instruments: InstrumentEstimates = field(default_factory=InstrumentEstimates)
