"""Estimates of how capital is shared between instruments."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pysys.systems.account import daily_costs, filled_positions, gross_profit
from pysys.systems.backtest_config import BacktestConfig
from pysys.systems.estimation.buckets import Buckets, Table
from pysys.systems.estimation.correlations import CorrelationsOverTime, correlations_over_time
from pysys.systems.estimation.diversification import multiplier_over_time
from pysys.systems.estimation.settings import EstimationSettings
from pysys.systems.estimation.weights import FittedWeights, fitted_weights
from pysys.systems.fx import FxRate
from pysys.systems.market_data import FloatArray, InstrumentMeta
from pysys.systems.positions import buffer_around, buffered_position, smoothed_instrument_weights
from pysys.systems.raw_data import Panel, RawData
from pysys.systems.smoothing import divide, forward_fill, lag
from pysys.systems.stages import InstrumentParameters, SubsystemStage

_ROLL_SHARE = 1.0  # multiply_roll_costs_by is for the account of the whole, not for comparing instruments


@dataclass(frozen=True, slots=True, eq=False)
class InstrumentEstimates:
    """What was estimated about instruments; None where a fixed value was used."""

    raw_weights: FittedWeights | None = None  # before smoothing
    correlations: CorrelationsOverTime | None = None


@dataclass(frozen=True, slots=True, eq=False)
class SubsystemReturns:
    """Daily results of each instrument with all capital, in base currency, (date x instrument)."""

    gross: FloatArray
    costs: FloatArray  # negative


def estimate_instrument_parameters(
    config: BacktestConfig,
    raw: RawData,
    facts: Sequence[InstrumentMeta],
    fx: Sequence[FxRate],
    fx_rate: FloatArray,
    subsystem: SubsystemStage,
    fixed: InstrumentParameters,
) -> tuple[InstrumentParameters, InstrumentEstimates]:
    """Parameters with everything estimated that the configuration asks for, and how they came about."""
    settings = EstimationSettings.read(config.estimation)
    returns = subsystem_returns(config, raw, facts, fx, fx_rate, subsystem)
    weights, multiplier = fixed.weights, fixed.multiplier
    fitted, correlations = None, None
    if "use_instrument_weight_estimates" in config.estimates:
        table = _net_table(raw, returns, settings)
        fitted = fitted_weights(raw.codes, table, settings.instrument_weight)
        if fitted is not None:
            weights = fitted.as_of(raw.grid.dates)
    if "use_instrument_div_mult_estimates" in config.estimates:
        correlations = correlations_over_time(
            raw.codes, _change_table(raw, returns, settings), settings.instrument_correlation
        )
        smoothed = smoothed_instrument_weights(
            weights, subsystem.position, subsystem.index, config.instrument_weight_ewma_span
        )
        days = subsystem.index.any(axis=1)
        multiplier = multiplier_over_time(
            raw.grid.dates, days, smoothed, correlations, settings.instrument_multiplier
        )[:, None]
    return InstrumentParameters(weights, multiplier), InstrumentEstimates(fitted, correlations)


def subsystem_returns(
    config: BacktestConfig,
    raw: RawData,
    facts: Sequence[InstrumentMeta],
    fx: Sequence[FxRate],
    fx_rate: FloatArray,
    subsystem: SubsystemStage,
) -> SubsystemReturns:
    """Results of trading each instrument with all capital: buffered, in whole contracts, filled a day later."""
    index = subsystem.index
    average = np.where(index, subsystem.vol_scalar, np.nan)
    buffer = buffer_around(subsystem.position, average, index, config.buffer_method, config.buffer_size)
    held = filled_positions(
        Panel(buffered_position(subsystem.position, buffer, index, config.buffer_trade_to_edge), index)
    )
    point_size = np.array([one.point_size for one in facts])
    costs = daily_costs(
        raw.grid,
        held,
        raw.price.values,
        facts,
        fx,
        vol_normalise=config.vol_normalise_currency_costs,
        roll_share=_ROLL_SHARE,
    )
    return SubsystemReturns(gross_profit(held, raw.price.values, point_size, fx_rate), costs)


def _net_table(raw: RawData, returns: SubsystemReturns, settings: EstimationSettings) -> Table:
    """Summed returns for fitting weights: gross, less the average cost of a day with costs on every day with a result."""
    how = settings.instrument_weight
    gross = np.where(returns.gross == 0.0, np.nan, returns.gross)
    charged = ~np.isnan(returns.costs) & (returns.costs != 0.0)
    charge = divide(np.where(charged, returns.costs, 0.0).sum(axis=0), charged.sum(axis=0).astype(np.float64))
    net = gross + how.cost_multiplier * np.nan_to_num(charge, nan=0.0)
    buckets = Buckets.of(raw.grid.dates, how.frequency)
    return Table(buckets.labels, buckets.sums(net), 1, buckets.a_year)


def _change_table(raw: RawData, returns: SubsystemReturns, settings: EstimationSettings) -> Table:
    """Changes of cumulated net returns from bucket to bucket."""
    how = settings.instrument_correlation
    nothing = np.isnan(returns.gross) & np.isnan(returns.costs)
    net = np.nan_to_num(returns.gross, nan=0.0) + np.nan_to_num(returns.costs, nan=0.0)
    level = np.cumsum(net, axis=0)
    level[nothing] = np.nan
    buckets = Buckets.of(raw.grid.dates, how.frequency)
    lasts = buckets.lasts(forward_fill(level) if how.forward_fill else level, how.forward_fill)
    return Table(buckets.labels, lasts - lag(lasts), 1, buckets.a_year)
