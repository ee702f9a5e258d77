"""The stages of a backtest, each from named daily series to named daily series; (date x instrument) throughout."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from pysys.systems import account as accounting
from pysys.systems.backtest_config import BacktestConfig
from pysys.systems.forecasts import combined_forecast, scaled_forecast, smoothed_weights
from pysys.systems.fx import FxRate
from pysys.systems.market_data import BoolArray, FloatArray, InstrumentMeta
from pysys.systems.positions import (
    Buffer,
    VolatilityOfContract,
    as_of_last_row,
    buffer_around,
    buffered_position,
    daily_cash_target,
    smoothed_instrument_weights,
    subsystem_position,
    volatility_of_contract,
)
from pysys.systems.raw_data import Panel, RawData
from pysys.systems.rule_functions import raw_forecast
from pysys.systems.rules import Rule
from pysys.systems.small_system import optimised_positions
from pysys.systems.sr_cost_account import daily_sr_costs, yearly_sr_costs


@dataclass(frozen=True, slots=True, eq=False)
class ForecastStage:
    """Forecasts of each rule and all of them together. Scaled ones and weights are worked out when asked for."""

    raw: Mapping[str, Panel]  # unscaled, by rule
    scalars: Mapping[str, FloatArray]  # by rule, one per instrument
    fixed_weights: Mapping[str, FloatArray]  # by rule, one per instrument; NaN where the rule plays no part
    combined: Panel
    cap: float  # on |forecast|
    weight_span: float  # of the smoothing of weights, business days

    def scaled(self, rule: str) -> FloatArray:
        """Scaled and capped forecast of one rule, not carried forward."""
        return scaled_forecast(self.raw[rule].values, self.scalars[rule], self.cap)

    def weights(self) -> dict[str, FloatArray]:
        """Smoothed weights by rule; over the rules of an instrument they add up to 1."""
        raw = {name: panel.values for name, panel in self.raw.items()}
        return smoothed_weights(raw, self.fixed_weights, self.combined.index, self.weight_span)


@dataclass(frozen=True, slots=True, eq=False)
class PositionStage:
    """Contracts, from the risk of one to the position held."""

    risk: VolatilityOfContract
    subsystem: FloatArray  # contracts, if all capital were in this instrument
    instrument_weight: FloatArray  # share of capital, smoothed
    average_position: FloatArray  # contracts at an average forecast, with this share of capital
    notional: FloatArray  # contracts, unrounded
    buffer: Buffer
    buffered: Panel  # whole contracts
    optimised: Panel | None = None  # whole contracts, where a small account optimises them

    @property
    def decided(self) -> Panel:
        """The whole contracts the strategy trades towards."""
        return self.buffered if self.optimised is None else self.optimised


def forecast_stage(config: BacktestConfig, raw: RawData, rules: Mapping[str, Rule]) -> ForecastStage:
    """Every rule that some instrument gives a weight, scaled, capped and combined."""
    weights = _rule_weights(config, raw.codes)
    forecasts = {name: raw_forecast(config.rules[name], rules[name], raw) for name in weights}
    scalars = {name: _scalars(config, name, raw.codes) for name in weights}
    index = np.logical_or.reduce([panel.index for panel in forecasts.values()])
    combined = combined_forecast(
        {name: panel.values for name, panel in forecasts.items()},
        scalars,
        weights,
        index,
        span=config.forecast_weight_ewma_span,
        multiplier=np.array([config.forecast_div_multiplier_of(code) for code in raw.codes]),
        cap=config.forecast_cap,
    )
    return ForecastStage(
        raw=forecasts,
        scalars=scalars,
        fixed_weights=weights,
        combined=Panel(combined, index),
        cap=config.forecast_cap,
        weight_span=config.forecast_weight_ewma_span,
    )


def position_stage(
    config: BacktestConfig, raw: RawData, facts: Sequence[InstrumentMeta], fx_rate: FloatArray, combined: Panel
) -> PositionStage:
    """Positions of every instrument. fx_rate: (date x instrument), of every day of the grid."""
    point_size = np.array([one.point_size for one in facts])
    target = daily_cash_target(config.notional_trading_capital, config.percentage_vol_target)
    risk = volatility_of_contract(raw.daily_returns_vol, raw.denominator_price, point_size, fx_rate, target)
    scalar = as_of_last_row(risk.vol_scalar, raw.daily_returns_vol.index & raw.denominator_price.index)
    subsystem = subsystem_position(scalar, combined.values, config.average_absolute_forecast)
    index = combined.index | raw.denominator_price.index | raw.price.index
    fixed = np.array([config.instrument_weights[code] for code in raw.codes])
    weight = smoothed_instrument_weights(fixed, subsystem, index, config.instrument_weight_ewma_span)
    average_position = np.where(index, scalar * weight * config.instrument_div_multiplier, np.nan)
    notional = subsystem * weight * config.instrument_div_multiplier
    buffer = buffer_around(notional, average_position, index, config.buffer_method, config.buffer_size)
    buffered = buffered_position(notional, buffer, index, config.buffer_trade_to_edge)
    small, capital = config.small_system, config.notional_trading_capital
    return PositionStage(
        risk=risk,
        subsystem=subsystem,
        instrument_weight=weight,
        average_position=average_position,
        notional=notional,
        buffer=buffer,
        buffered=Panel(buffered, index),
        optimised=optimised_positions(small, raw, risk, facts, notional, index, capital) if small else None,
    )


def account_stage(
    config: BacktestConfig,
    raw: RawData,
    facts: Sequence[InstrumentMeta],
    fx: Sequence[FxRate],
    fx_rate: FloatArray,
    sizing: PositionStage,
) -> accounting.Account:
    """Daily profits and costs of the positions decided on, in base currency."""
    held = accounting.filled_positions(sizing.decided)
    point_size = np.array([one.point_size for one in facts])
    gross = accounting.gross_profit(held, raw.price.values, point_size, fx_rate)
    if config.use_sr_costs:
        average, value_vol = sizing.average_position, sizing.risk.instr_value_vol
        yearly = yearly_sr_costs(raw, facts, sizing.decided.values, average)
        return accounting.Account(gross, daily_sr_costs(yearly, raw.grid.dates, held, average, value_vol))
    costs = accounting.daily_costs(
        raw.grid,
        held,
        raw.price.values,
        facts,
        fx,
        vol_normalise=config.vol_normalise_currency_costs,
        roll_share=config.multiply_roll_costs_by,
    )
    return accounting.Account(gross, costs)


def _rule_weights(config: BacktestConfig, codes: Sequence[str]) -> dict[str, FloatArray]:
    """Fixed weights of each rule by instrument, in the order of the rules; NaN where a rule plays no part."""
    tables = [config.forecast_weights_of(code) for code in codes]
    return {
        name: np.array([table.get(name, np.nan) for table in tables])
        for name in config.rules
        if any(name in table for table in tables)
    }


def _scalars(config: BacktestConfig, rule: str, codes: Sequence[str]) -> FloatArray:
    return np.array([config.forecast_scalar_of(rule, code) for code in codes])


def group_by_rules(config: BacktestConfig, codes: Sequence[str]) -> list[frozenset[str]]:
    """The rules each instrument uses: instruments with the same ones pool their turnover."""
    return [frozenset(config.forecast_weights_of(code)) for code in codes]


def days_with_anything(raw: RawData) -> BoolArray:
    """The union of the daily indexes of each instrument."""
    return raw.price.index | raw.denominator_price.index
