"""Runs a backtest: prices and a configuration in, positions and an account out."""

from __future__ import annotations

import ctypes
import math
import sys
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from pysys.domain.errors import ConfigError, DataError
from pysys.systems.attenuation import attenuated, attenuation_stage
from pysys.systems.backtest_config import (
    FORECAST_ESTIMATE_FLAGS,
    INSTRUMENT_ESTIMATE_FLAGS,
    BacktestConfig,
    RuleSpec,
)
from pysys.systems.backtest_result import BacktestResult
from pysys.systems.config_checks import trading_all, warn
from pysys.systems.estimation.estimates import Estimates, ForecastEstimates, InstrumentEstimates
from pysys.systems.forecast_mapping import mapping_stage
from pysys.systems.fx import FxRate, rates_that_fall_short
from pysys.systems.market_data import (
    AdjustedPrices,
    BoolArray,
    FloatArray,
    InstrumentMeta,
    InstrumentSeries,
    MarketData,
    MultiplePrices,
)
from pysys.systems.raw_data import Panel, RawData, raw_data
from pysys.systems.risk_overlay import PortfolioRisk
from pysys.systems.rule_functions import find_rules, raw_forecast, rule_content
from pysys.systems.stage_run import Staged, StageRun, part_of
from pysys.systems.stages import (
    ForecastParameters,
    ForecastStage,
    InstrumentParameters,
    SubsystemStage,
    account_stage,
    combination,
    fixed_forecast_parameters,
    fixed_instrument_parameters,
    position_stage,
    risk_overlay_stage,
    subsystem_stage,
)

if TYPE_CHECKING:
    from pysys.systems.stage_cache import StageCache

Prices = TypeVar("Prices", MultiplePrices, AdjustedPrices)

# The parts of a configuration that stages read.
_RISK_TARGET = ("notional_trading_capital", "percentage_vol_target", "average_absolute_forecast")
_COSTS = ("use_sr_costs", "vol_normalise_currency_costs", "multiply_roll_costs_by")
_COMBINATION = ("forecast_weight_ewma_span", "forecast_cap")
_BUFFERING = ("buffer_method", "buffer_size", "buffer_trade_to_edge")
_OVERLAY = ("instrument_weight_ewma_span", "notional_trading_capital", "percentage_vol_target")
_SIZING = (*_BUFFERING, "instrument_weight_ewma_span", "small_system", "notional_trading_capital")
_ESTIMATION = ("estimates", "estimation")
_FORECAST_ESTIMATES = (*_ESTIMATION, *_RISK_TARGET, *_COMBINATION)
_INSTRUMENT_ESTIMATES = (*_ESTIMATION, *_BUFFERING, *_COSTS, "instrument_weight_ewma_span", "zero_weight")

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # as glibc's malloc.h numbers them
_LARGEST_HEAP_BLOCK = 2**25  # bytes; the most glibc accepts
_MEMORY_KEPT = 2**30  # bytes


def run_backtest(
    config: BacktestConfig,
    market_data: MarketData,
    capital: float | None = None,
    rules_folder: Path | None = None,
    *,
    cache: StageCache | None = None,
) -> BacktestResult:
    """Positions, buffers and profits of every configured instrument over its whole history.

    Parameters are those of the configuration, except those it says to estimate from the prices.

    capital: base currency; the configured notional capital when not given. rules_folder: where files with the
    reader's own rules are looked for, besides the working directory. cache: keeps what stages find; a later run that
    is handed it computes only what a changed configuration or changed prices change, with the same results.
    Raises ConfigError for a configuration that does not fit the data, DataError for data that cannot be used.
    """
    _let_freed_memory_stay()
    config = _resolved(config, market_data, capital)
    run = StageRun(cache)
    market = _market(run, config, market_data)
    raw = run.stage("raw data", raw_data, market.series, config.volatility)
    fx_rate = run.stage("exchange rates", _daily_rates, market.fx, raw)
    attenuation = run.stage("attenuation", attenuation_stage, raw) if config.use_attenuation else None
    forecasts, parameters, of_forecasts = _forecasts(run, config, market, raw, fx_rate, attenuation, rules_folder)
    unmapped = run.stage("combination", combination, part_of(config, _COMBINATION), forecasts, parameters)
    combined = _mapped(run, config, raw, unmapped)
    how = part_of(config, _RISK_TARGET)
    subsystem = run.stage("subsystems", subsystem_stage, how, raw, market.facts, fx_rate, combined)
    shares, of_instruments = _shares(run, config, market, raw, fx_rate, subsystem)
    overlay = _overlay(run, config, raw, subsystem, shares)
    inputs = (part_of(config, _SIZING), raw, market.facts, subsystem, shares, overlay)
    sizing = run.stage("positions", position_stage, *inputs)
    how = part_of(config, _COSTS)
    account = run.stage("account", account_stage, how, raw, market.facts, market.fx, fx_rate, sizing)
    forecast_stage = ForecastStage(
        raw={name: panel.value for name, panel in forecasts.items()},
        parameters=parameters.value,
        combined=combined.value,
        cap=config.forecast_cap,
        weight_span=config.forecast_weight_ewma_span,
        unmapped=None if combined is unmapped else unmapped.value,
        attenuation=None if attenuation is None else attenuation.value,
    )
    found = Estimates(of_forecasts, of_instruments)
    return BacktestResult(
        config, market.series.value, raw.value, forecast_stage, sizing.value, account.value, found, tuple(run.timings)
    )


@dataclass(frozen=True, slots=True, eq=False)
class _Market:
    """What comes from outside, for the configured instruments in their order."""

    series: Staged[tuple[InstrumentSeries, ...]]
    facts: Staged[tuple[InstrumentMeta, ...]]
    fx: Staged[tuple[FxRate, ...]]


def _market(run: StageRun, config: BacktestConfig, market_data: MarketData) -> _Market:
    given = [market_data.instrument(code) for code in config.instruments]
    series = tuple(_since(config.start_date, one) for one in given)
    facts = tuple(one.meta for one in series)
    fx = tuple(FxRate.between(one.currency, config.base_currency, market_data) for one in facts)
    warn(rates_that_fall_short(series, fx, config.base_currency))
    return _Market(
        series=run.given(series, config.start_date, prices=given),
        facts=run.given(facts, facts),
        fx=run.given(fx, None, prices=[one for rate in fx for one in (rate.quote, rate.base)]),
    )


def _daily_rates(fx: Sequence[FxRate], raw: RawData) -> FloatArray:
    dates = raw.grid.dates
    return np.column_stack([rate.at(dates) for rate in fx])


def _forecasts(
    run: StageRun,
    config: BacktestConfig,
    market: _Market,
    raw: Staged[RawData],
    fx_rate: Staged[FloatArray],
    attenuation: Staged[Panel] | None,
    rules_folder: Path | None,
) -> tuple[dict[str, Staged[Panel]], Staged[ForecastParameters], ForecastEstimates]:
    """Unscaled forecasts of the rules in use, what turns them into one, and how that was estimated."""
    rules = find_rules(config.rules, raw.value.grid, rules_folder)
    fixed = fixed_forecast_parameters(config, raw.value.codes)
    forecasts = {}
    for name in fixed.weights:
        spec = config.rules[name]
        rule = run.given(rules[name], rule_content(spec, rules[name]))
        what = RuleSpec("", spec.function, spec.data, spec.other_args)
        forecasts[name] = run.stage("rule", raw_forecast, what, rule, raw, label=f"rule {name}")
        if name in config.use_attenuation:
            inputs = (forecasts[name], attenuation)
            forecasts[name] = run.stage("attenuated", attenuated, *inputs, label=f"attenuated {name}")
    parameters = run.given(fixed, fixed)
    if not config.estimates.intersection(FORECAST_ESTIMATE_FLAGS):
        return forecasts, parameters, ForecastEstimates()
    from pysys.systems.estimation.forecast_estimates import estimate_forecast_parameters

    how = part_of(config, _FORECAST_ESTIMATES)
    given = (how, raw, market.facts, fx_rate, forecasts, parameters)
    estimated = run.stage("forecast estimates", estimate_forecast_parameters, *given)
    return forecasts, estimated.part(estimated.value[0]), estimated.value[1]


def _mapped(run: StageRun, config: BacktestConfig, raw: Staged[RawData], combined: Staged[Panel]) -> Staged[Panel]:
    """Combined forecasts as positions are sized with them."""
    if not config.forecast_mapping:
        return combined
    inputs = (config.forecast_mapping, config.forecast_cap, raw.value.codes, combined)
    return run.stage("forecast mapping", mapping_stage, *inputs)


def _overlay(
    run: StageRun,
    config: BacktestConfig,
    raw: Staged[RawData],
    subsystem: Staged[SubsystemStage],
    shares: Staged[InstrumentParameters],
) -> Staged[PortfolioRisk] | None:
    """What limits the risk of all positions together, if anything does."""
    if config.risk_overlay is None:
        return None
    inputs = (part_of(config, _OVERLAY), config.risk_overlay, raw, subsystem, shares)
    return run.stage("risk overlay", risk_overlay_stage, *inputs)


def _shares(
    run: StageRun,
    config: BacktestConfig,
    market: _Market,
    raw: Staged[RawData],
    fx_rate: Staged[FloatArray],
    subsystem: Staged[SubsystemStage],
) -> tuple[Staged[InstrumentParameters], InstrumentEstimates]:
    """How capital is shared between instruments, and how that was estimated."""
    fixed = fixed_instrument_parameters(config, raw.value.codes)
    shares = run.given(fixed, fixed)
    if not config.estimates.intersection(INSTRUMENT_ESTIMATE_FLAGS):
        return shares, InstrumentEstimates()
    from pysys.systems.estimation.instrument_estimates import estimate_instrument_parameters

    how = part_of(config, _INSTRUMENT_ESTIMATES)
    inputs = (how, raw, market.facts, market.fx, fx_rate, subsystem, shares)
    estimated = run.stage("instrument estimates", estimate_instrument_parameters, *inputs)
    return estimated.part(estimated.value[0]), estimated.value[1]


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
    """Have glibc keep memory it would otherwise return to the system and ask back.

    The stages make and drop many arrays of some MB; mapping each of them anew takes a fifth of a backtest's time.
    """
    if sys.platform != "linux":
        return
    c_library = ctypes.CDLL(None)
    if hasattr(c_library, "mallopt"):
        c_library.mallopt(_TRIM_THRESHOLD, _MEMORY_KEPT)
        c_library.mallopt(_MMAP_THRESHOLD, _LARGEST_HEAP_BLOCK)


def _resolved(config: BacktestConfig, market_data: MarketData, capital: float | None) -> BacktestConfig:
    """The configuration with capital and instruments filled in, once it is sure that it fits the data."""
    if capital is not None:
        if not (math.isfinite(capital) and capital > 0):
            raise ConfigError(f"capital must be positive, not {capital}")
        config = replace(config, notional_trading_capital=capital)
    if not config.instrument_weights:
        config = trading_all(config, sorted(market_data.instruments))
    if "use_forecast_weight_estimates" in config.estimates or not config.forecast_weights:
        # fixed weights say nothing of which rules are estimated
        config = replace(config, forecast_weights=config.equal_forecast_weights(config.instruments))
    missing = [code for code in config.instruments if code not in market_data.instruments]
    if missing or not config.instruments:
        raise ConfigError(
            f"no prices for {', '.join(missing) or 'any instrument'}; import them, or take the instrument out of "
            "instrument_weights"
        )
    return config
