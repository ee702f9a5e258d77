"""Runs a backtest: prices and a configuration in, positions and an account out."""

from __future__ import annotations

import math
from dataclasses import fields, replace
from pathlib import Path
from typing import TypeVar

import numpy as np

from pysys.domain.errors import ConfigError, DataError
from pysys.systems.backtest_config import FORECAST_ESTIMATE_FLAGS, INSTRUMENT_ESTIMATE_FLAGS, BacktestConfig
from pysys.systems.backtest_result import BacktestResult
from pysys.systems.estimation.estimates import Estimates
from pysys.systems.fx import FxRate
from pysys.systems.market_data import AdjustedPrices, BoolArray, InstrumentSeries, MarketData, MultiplePrices
from pysys.systems.raw_data import raw_data
from pysys.systems.rule_functions import find_rules
from pysys.systems.stages import (
    account_stage,
    fixed_forecast_parameters,
    fixed_instrument_parameters,
    forecast_stage,
    position_stage,
    raw_forecasts,
    subsystem_stage,
)

Prices = TypeVar("Prices", MultiplePrices, AdjustedPrices)

_LARGEST_HEAP_BLOCK = 31 * 2**20  # bytes; glibc adapts its thresholds to freed blocks up to 32 MB


def run_backtest(
    config: BacktestConfig, market_data: MarketData, capital: float | None = None, rules_folder: Path | None = None
) -> BacktestResult:
    """Positions, buffers and profits of every configured instrument over its whole history.

    Parameters are those of the configuration, except those it says to estimate from the prices.

    capital: base currency; the configured notional capital when not given. rules_folder: where files with the
    reader's own rules are looked for, besides the working directory.
    Raises ConfigError for a configuration that does not fit the data, DataError for data that cannot be used.
    """
    _let_freed_memory_stay()
    config = _resolved(config, market_data, capital)
    series = tuple(_since(config.start_date, market_data.instrument(code)) for code in config.instruments)
    facts = [one.meta for one in series]
    fx = [FxRate.between(one.currency, config.base_currency, market_data) for one in facts]
    raw = raw_data(series, config.volatility)
    fx_rate = np.column_stack([rate.at(raw.grid.dates) for rate in fx])
    rules = find_rules(config.rules, raw.grid, rules_folder)
    parameters = fixed_forecast_parameters(config, raw.codes)
    unscaled = raw_forecasts(config, raw, rules, parameters.weights)
    found = Estimates()
    if config.estimates.intersection(FORECAST_ESTIMATE_FLAGS):
        from pysys.systems.estimation.forecast_estimates import estimate_forecast_parameters

        parameters, of_forecasts = estimate_forecast_parameters(config, raw, facts, fx_rate, unscaled, parameters)
        found = replace(found, forecasts=of_forecasts)
    forecasts = forecast_stage(config, unscaled, parameters)
    subsystem = subsystem_stage(config, raw, facts, fx_rate, forecasts.combined)
    shares = fixed_instrument_parameters(config, raw.codes)
    if config.estimates.intersection(INSTRUMENT_ESTIMATE_FLAGS):
        from pysys.systems.estimation.instrument_estimates import estimate_instrument_parameters

        shares, of_instruments = estimate_instrument_parameters(config, raw, facts, fx, fx_rate, subsystem, shares)
        found = replace(found, instruments=of_instruments)
    sizing = position_stage(config, raw, facts, subsystem, shares)
    account = account_stage(config, raw, facts, fx, fx_rate, sizing)
    return BacktestResult(config, series, raw, forecasts, sizing, account, found)


def _since(start_date: str | None, one: InstrumentSeries) -> InstrumentSeries:
    """The rows of an instrument from the start of that day on. Raises DataError when there are none."""
    if start_date is None:
        return one
    start = np.datetime64(start_date)
    kept = replace(
        one,
        multiple=_rows(one.multiple, one.multiple.times >= start),
        adjusted=_rows(one.adjusted, one.adjusted.times >= start),
    )
    if not len(kept.adjusted) or not len(kept.multiple):
        raise DataError(f"{one.code}: no prices since start_date {start_date}; move it back or leave {one.code} out")
    return kept


def _rows(prices: Prices, kept: BoolArray) -> Prices:
    return replace(prices, **{column.name: getattr(prices, column.name)[kept] for column in fields(prices)})


def _let_freed_memory_stay() -> None:
    """Frees one large block, after which glibc keeps memory it would otherwise return to the system and ask back.

    The stages make and drop many arrays of a few MB; mapping each of them anew takes a fifth of a backtest's time.
    """
    np.empty(_LARGEST_HEAP_BLOCK, dtype=np.uint8)


def _resolved(config: BacktestConfig, market_data: MarketData, capital: float | None) -> BacktestConfig:
    """The configuration with capital and instruments filled in, once it is sure that it fits the data."""
    if capital is not None:
        if not (math.isfinite(capital) and capital > 0):
            raise ConfigError(f"capital must be positive, not {capital}")
        config = replace(config, notional_trading_capital=capital)
    if not config.instrument_weights:
        codes = sorted(market_data.instruments)
        config = replace(config, instrument_weights={code: 1.0 / len(codes) for code in codes})
    if "use_forecast_weight_estimates" in config.estimates:  # of every rule, whatever fixed weights may say
        config = replace(config, forecast_weights={rule: 1.0 / len(config.rules) for rule in config.rules})
    missing = [code for code in config.instruments if code not in market_data.instruments]
    if missing or not config.instruments:
        raise ConfigError(
            f"no prices for {', '.join(missing) or 'any instrument'}; import them, or take the instrument out of "
            "instrument_weights"
        )
    return config
