"""The stages of a backtest, each from named daily series to named daily series; (date x instrument) throughout."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from pysys.systems import account as accounting
from pysys.systems.backtest_config import BacktestConfig
from pysys.systems.columns import by_columns
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
)
from pysys.systems.raw_data import Panel, RawData
from pysys.systems.risk_overlay import PortfolioRisk, RiskOverlay, portfolio_risk
from pysys.systems.small_system import optimised_positions, optimiser_inputs
from pysys.systems.sr_cost_account import daily_sr_costs, yearly_sr_costs


@dataclass(frozen=True, slots=True, eq=False)
class ForecastParameters:
    """What turns raw forecasts into a combined one, by rule: values per instrument, or (date x instrument).

    The weights are not yet smoothed; they are NaN throughout where an instrument does not use a rule.
    """

    scalars: Mapping[str, FloatArray]
    weights: Mapping[str, FloatArray]
    multiplier: FloatArray


@dataclass(frozen=True, slots=True, eq=False)
class InstrumentParameters:
    """How capital is shared: weights, not yet smoothed, per instrument or (date x instrument), and the multiplier."""

    weights: FloatArray
    multiplier: FloatArray | float  # one, or (date x 1)


@dataclass(frozen=True, slots=True, eq=False)
class ForecastStage:
    """Forecasts of each rule and all of them together. Scaled ones and weights are worked out when asked for."""

    raw: Mapping[str, Panel]  # unscaled, by rule
    parameters: ForecastParameters
    combined: Panel  # what positions are sized with
    cap: float  # on |forecast|
    weight_span: float  # of the smoothing of weights, business days
    unmapped: Panel | None = None  # combined before a `forecast_mapping`
    attenuation: Panel | None = None  # factor that is in the raw forecasts of attenuated rules

    def scaled(self, rule: str) -> FloatArray:
        """Scaled and capped forecast of one rule, not carried forward."""
        return scaled_forecast(self.raw[rule].values, self.parameters.scalars[rule], self.cap)

    def weights(self) -> dict[str, FloatArray]:
        """Smoothed weights by rule; over the rules of an instrument they add up to 1."""
        raw = {name: panel.values for name, panel in self.raw.items()}
        return smoothed_weights(raw, self.parameters.weights, self.combined.index, self.weight_span)


@dataclass(frozen=True, slots=True, eq=False)
class SubsystemStage:
    """Contracts as if all capital were in each instrument."""

    risk: VolatilityOfContract
    vol_scalar: FloatArray  # contracts at an average forecast, as of each day
    position: FloatArray  # contracts
    index: BoolArray  # the days of each instrument


@dataclass(frozen=True, slots=True, eq=False)
class PositionStage:
    """Contracts, from the risk of one to the position held."""

    risk: VolatilityOfContract
    subsystem: FloatArray  # contracts, if all capital were in this instrument
    instrument_weight: FloatArray  # share of capital, smoothed
    parameters: InstrumentParameters
    average_position: FloatArray  # contracts at an average forecast, with this share of capital
    notional: FloatArray  # contracts, unrounded
    buffer: Buffer
    buffered: Panel  # whole contracts
    optimised: Panel | None = None  # whole contracts, where a small account optimises them
    overlay: PortfolioRisk | None = None  # what `notional` is cut by, where there is a risk overlay

    @property
    def decided(self) -> Panel:
        """The whole contracts the strategy trades towards."""
        return self.buffered if self.optimised is None else self.optimised


def fixed_forecast_parameters(config: BacktestConfig, codes: Sequence[str]) -> ForecastParameters:
    """The configured scalars, weights and multipliers of every rule that some instrument gives a weight."""
    weights = _rule_weights(config, codes)
    return ForecastParameters(
        scalars={name: _scalars(config, name, codes) for name in weights},
        weights=weights,
        multiplier=np.array([config.forecast_div_multiplier_of(code) for code in codes]),
    )


def combination(config: BacktestConfig, forecasts: Mapping[str, Panel], parameters: ForecastParameters) -> Panel:
    """Raw forecasts scaled, capped and combined."""
    index = np.logical_or.reduce([panel.index for panel in forecasts.values()])

    def combined_of(columns: slice) -> tuple[FloatArray]:
        combined = combined_forecast(
            {name: np.ascontiguousarray(panel.values[:, columns]) for name, panel in forecasts.items()},
            {name: _of(columns, scalar) for name, scalar in parameters.scalars.items()},
            {name: _of(columns, weight) for name, weight in parameters.weights.items()},
            index[:, columns],
            span=config.forecast_weight_ewma_span,
            multiplier=_of(columns, parameters.multiplier),
            cap=config.forecast_cap,
        )
        return (combined,)

    (combined,) = by_columns(index.shape[1], combined_of)
    return Panel(combined, index)


def _of(columns: slice, parameter: FloatArray) -> FloatArray:
    """A parameter of some instruments; one estimated for all of them together has a single column."""
    return parameter if parameter.shape[-1] == 1 else parameter[..., columns]


def subsystem_stage(
    config: BacktestConfig, raw: RawData, facts: Sequence[InstrumentMeta], fx_rate: FloatArray, combined: Panel
) -> SubsystemStage:
    """Positions with all capital in each instrument. fx_rate: (date x instrument), of every day of the grid."""
    point_size = np.array([one.point_size for one in facts])
    target = daily_cash_target(config.notional_trading_capital, config.percentage_vol_target)

    risk = VolatilityOfContract(raw.daily_returns_vol, raw.denominator_price, point_size, fx_rate, target)

    def sized(columns: slice) -> tuple[FloatArray, FloatArray]:
        some = risk.of(columns)
        scalar = as_of_last_row(some.vol_scalar, some.index)
        return scalar, subsystem_position(scalar, combined.values[:, columns], config.average_absolute_forecast)

    scalar, position = by_columns(len(facts), sized)
    return SubsystemStage(
        risk=risk,
        vol_scalar=scalar,
        position=position,
        index=combined.index | raw.denominator_price.index | raw.price.index,
    )


def fixed_instrument_parameters(config: BacktestConfig, codes: Sequence[str]) -> InstrumentParameters:
    """The configured weights and multiplier."""
    weights = np.array([config.instrument_weights[code] for code in codes])
    return InstrumentParameters(weights, config.instrument_div_multiplier)


def risk_overlay_stage(
    config: BacktestConfig,
    limits: RiskOverlay,
    raw: RawData,
    subsystem: SubsystemStage,
    parameters: InstrumentParameters,
) -> PortfolioRisk:
    """Risk of all positions together before it is limited, and the factor on them that limits it."""
    return portfolio_risk(
        limits,
        raw,
        subsystem.risk,
        subsystem.position * _instrument_weight(config, subsystem, parameters) * parameters.multiplier,
        subsystem.index,
        capital=config.notional_trading_capital,
        percentage_vol_target=config.percentage_vol_target,
    )


def position_stage(
    config: BacktestConfig,
    raw: RawData,
    facts: Sequence[InstrumentMeta],
    subsystem: SubsystemStage,
    parameters: InstrumentParameters,
    overlay: PortfolioRisk | None = None,
) -> PositionStage:
    """Positions of every instrument with its share of capital, cut by the overlay's multiplier if there is one."""
    index, multiplier = subsystem.index, parameters.multiplier
    weight = _instrument_weight(config, subsystem, parameters)

    def decided(columns: slice) -> tuple[FloatArray, ...]:
        some = np.ascontiguousarray(index[:, columns])
        share = weight[:, columns]
        average_position = np.where(some, subsystem.vol_scalar[:, columns] * share * multiplier, np.nan)
        notional = subsystem.position[:, columns] * share * multiplier
        if overlay is not None:
            notional *= overlay.multiplier[:, None]
        buffer = buffer_around(notional, average_position, some, config.buffer_method, config.buffer_size)
        buffered = buffered_position(notional, buffer, some, config.buffer_trade_to_edge)
        return average_position, notional, buffer.lower, buffer.upper, buffered

    average_position, notional, lower, upper, buffered = by_columns(len(facts), decided)
    optimised = None
    if config.small_system is not None:
        inputs = optimiser_inputs(raw, subsystem.risk, facts, notional, index, config.notional_trading_capital)
        optimised = optimised_positions(config.small_system, raw, inputs, index)
    return PositionStage(
        risk=subsystem.risk,
        subsystem=subsystem.position,
        instrument_weight=weight,
        parameters=parameters,
        average_position=average_position,
        notional=notional,
        buffer=Buffer(lower, upper),
        buffered=Panel(buffered, index),
        optimised=optimised,
        overlay=overlay,
    )


def _instrument_weight(
    config: BacktestConfig, subsystem: SubsystemStage, parameters: InstrumentParameters
) -> FloatArray:
    span = config.instrument_weight_ewma_span
    return smoothed_instrument_weights(parameters.weights, subsystem.position, subsystem.index, span)


def account_stage(
    config: BacktestConfig,
    raw: RawData,
    facts: Sequence[InstrumentMeta],
    fx: Sequence[FxRate],
    fx_rate: FloatArray,
    sizing: PositionStage,
) -> accounting.Account:
    """Daily profits and costs of the positions decided on, in base currency."""
    return account_of(
        config,
        raw,
        facts,
        fx,
        fx_rate,
        decided=sizing.decided,
        average_position=sizing.average_position,
        risk=sizing.risk,
        roll_share=config.multiply_roll_costs_by,
    )


def account_of(
    config: BacktestConfig,
    raw: RawData,
    facts: Sequence[InstrumentMeta],
    fx: Sequence[FxRate],
    fx_rate: FloatArray,
    *,
    decided: Panel,
    average_position: FloatArray,
    risk: VolatilityOfContract,
    roll_share: float,
) -> accounting.Account:
    """Daily profits and costs of deciding on whole contracts, in base currency.

    average_position: contracts at an average forecast. risk: of one contract, charged for where costs are in SR units.
    roll_share: of the position held, that pays for being rolled.
    """
    point_size = np.array([one.point_size for one in facts])
    yearly = yearly_sr_costs(raw, facts, decided.values, average_position) if config.use_sr_costs else None

    def profits(some: slice) -> tuple[FloatArray, FloatArray]:
        held, price = accounting.filled_positions(decided.of(some)), raw.price.of(some).values
        gross = accounting.gross_profit(held, price, point_size[some], fx_rate[:, some])
        if yearly is not None:
            average, of_contract = average_position[:, some], risk.of(some).instr_value_vol
            return gross, daily_sr_costs(yearly[some], raw.grid.dates, held, average, of_contract)
        normalise = config.vol_normalise_currency_costs
        return gross, accounting.daily_costs(
            raw.grid, held, price, facts[some], fx[some], vol_normalise=normalise, roll_share=roll_share
        )

    return accounting.Account(*by_columns(len(facts), profits))


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
