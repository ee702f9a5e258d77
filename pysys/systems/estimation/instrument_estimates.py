"""Estimates of how capital is shared between instruments."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from pysys.systems.account import Account
from pysys.systems.backtest_config import BacktestConfig
from pysys.systems.estimation.buckets import Buckets, Table, plain_table
from pysys.systems.estimation.correlations import correlations_over_time
from pysys.systems.estimation.diversification import multiplier_over_time
from pysys.systems.estimation.estimates import InstrumentEstimates
from pysys.systems.estimation.rule_returns import daily_deviation, with_equal_sharpe
from pysys.systems.estimation.settings import EstimationSettings
from pysys.systems.estimation.weights import fitted_weights
from pysys.systems.fx import FxRate
from pysys.systems.market_data import BoolArray, FloatArray, InstrumentMeta
from pysys.systems.positions import buffer_around, buffered_position, smoothed_instrument_weights
from pysys.systems.raw_data import ROOT_OF_YEAR, Panel, RawData
from pysys.systems.smoothing import divide, lag
from pysys.systems.stages import InstrumentParameters, SubsystemStage, account_of

_ROLL_SHARE = 1.0  # multiply_roll_costs_by is for the account of the whole, not for comparing instruments


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
    account = subsystem_account(config, raw, facts, fx, fx_rate, subsystem)
    weights, multiplier = fixed.weights, fixed.multiplier
    fitted, correlations = None, None
    if "use_instrument_weight_estimates" in config.estimates:
        traded = np.array([code not in config.zero_weight for code in raw.codes])
        table = _net_table(raw, subsystem.index, account, settings, traded)
        fitted = fitted_weights(raw.codes, table, subsystem_sr_costs(account), settings.instrument_weight)
        if fitted is not None:
            weights = np.where(traded, fitted.as_of(raw.grid.dates), 0.0)
    if "use_instrument_div_mult_estimates" in config.estimates:
        correlations = correlations_over_time(
            raw.codes, _change_table(raw, subsystem.index, account, settings), settings.instrument_correlation
        )
        days = np.logical_or.reduce(subsystem.index, axis=1)
        everywhere = np.repeat(days[:, None], len(raw.codes), axis=1)
        smoothed = smoothed_instrument_weights(
            weights, subsystem.position, everywhere, config.instrument_weight_ewma_span
        )
        how = settings.instrument_multiplier
        multiplier = multiplier_over_time(raw.grid.dates, days, smoothed, correlations, how)[:, None]
    return InstrumentParameters(weights, multiplier), InstrumentEstimates(fitted, correlations)


def subsystem_account(
    config: BacktestConfig,
    raw: RawData,
    facts: Sequence[InstrumentMeta],
    fx: Sequence[FxRate],
    fx_rate: FloatArray,
    subsystem: SubsystemStage,
) -> Account:
    """Results of trading each instrument with all capital: buffered, in whole contracts, filled a day later."""
    index, position = subsystem.index, subsystem.position
    average = np.where(index, subsystem.vol_scalar, np.nan)
    buffer = buffer_around(position, average, index, config.buffer_method, config.buffer_size)
    decided = buffered_position(position, buffer, index, config.buffer_trade_to_edge)
    return account_of(
        config,
        raw,
        facts,
        fx,
        fx_rate,
        decided=Panel(decided, index),
        average_position=average,
        risk=subsystem.risk,
        roll_share=_ROLL_SHARE,
    )


def subsystem_sr_costs(account: Account) -> FloatArray:
    """Yearly costs of each instrument in units of its gross deviation, positive; NaN without a result."""
    gross = np.where(account.gross == 0.0, np.nan, account.gross)
    return -ROOT_OF_YEAR * divide(_average_charge(account), daily_deviation(gross))


def _average_charge(account: Account) -> FloatArray:
    """Of each instrument, the average cost of a day that had any: negative, 0 when there was none."""
    charged = ~np.isnan(account.costs) & (account.costs != 0.0)
    charge = divide(np.where(charged, account.costs, 0.0).sum(axis=0), charged.sum(axis=0).astype(np.float64))
    return np.nan_to_num(charge, nan=0.0)


def _net_table(
    raw: RawData, index: BoolArray, account: Account, settings: EstimationSettings, traded: BoolArray
) -> Table:
    """Summed returns for fitting weights: gross, less the average cost of a day that had any.

    That cost is charged on every day with a result. Instruments that are not traded have no returns.
    """
    how = settings.instrument_weight
    gross = np.where(account.gross == 0.0, np.nan, account.gross)
    if how.equalise_gross:
        gross = with_equal_sharpe(gross, how.ann_target_SR)
    net = gross + how.cost_multiplier * _average_charge(account)
    buckets = Buckets.of(raw.grid.dates, how.frequency)
    returns = np.where(traded, buckets.sums(net), np.nan)
    return plain_table(buckets, returns, buckets.within(np.logical_or.reduce(index, axis=1)))


def _change_table(raw: RawData, index: BoolArray, account: Account, settings: EstimationSettings) -> Table:
    """Changes of cumulated net returns from bucket to bucket."""
    how = settings.instrument_correlation
    nothing = np.isnan(account.gross) & np.isnan(account.costs)
    net = np.nan_to_num(account.gross, nan=0.0) + np.nan_to_num(account.costs, nan=0.0)
    level = np.cumsum(net, axis=0)
    level[nothing] = np.nan
    buckets = Buckets.of(raw.grid.dates, how.frequency)
    lasts = buckets.lasts(level, how.forward_fill)
    return plain_table(buckets, lasts - lag(lasts), buckets.within(np.logical_or.reduce(index, axis=1)))
