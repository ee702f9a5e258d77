"""Estimates of everything between a raw forecast and the combined one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from pysys.systems.account import yearly_change
from pysys.systems.backtest_config import BacktestConfig
from pysys.systems.estimation.buckets import Buckets, Table, plain_table, stacked_table
from pysys.systems.estimation.correlations import CorrelationsOverTime, correlations_over_time
from pysys.systems.estimation.diversification import multiplier_over_time
from pysys.systems.estimation.estimates import ForecastEstimates
from pysys.systems.estimation.net_returns import NetReturns, mean_of_present
from pysys.systems.estimation.rule_returns import RuleReturns, rule_returns
from pysys.systems.estimation.scalars import forecast_scalar
from pysys.systems.estimation.settings import EstimationSettings
from pysys.systems.estimation.weights import FittedWeights, fitted_weights
from pysys.systems.forecasts import scaled_forecast, smoothed_weights
from pysys.systems.market_data import BoolArray, FloatArray, InstrumentMeta
from pysys.systems.raw_data import Panel, RawData
from pysys.systems.rule_costs import sr_cost_per_trade, sr_costs
from pysys.systems.stages import ForecastParameters


def estimate_forecast_parameters(
    config: BacktestConfig,
    raw: RawData,
    facts: Sequence[InstrumentMeta],
    fx_rate: FloatArray,
    forecasts: Mapping[str, Panel],
    fixed: ForecastParameters,
) -> tuple[ForecastParameters, ForecastEstimates]:
    """Parameters with everything estimated that the configuration asks for, and how they came about.

    forecasts: raw, by rule. fixed: what is used for the rest. fx_rate: (date x instrument).
    """
    settings = EstimationSettings.read(config.estimation)
    parameters, found = fixed, ForecastEstimates()
    if "use_forecast_scale_estimates" in config.estimates:
        target = config.average_absolute_forecast
        scalars = {
            name: forecast_scalar(panel.values, settings.forecast_scalar, target) for name, panel in forecasts.items()
        }
        parameters = replace(parameters, scalars=scalars)
    scaled = {
        name: Panel(scaled_forecast(panel.values, parameters.scalars[name], config.forecast_cap), panel.index)
        for name, panel in forecasts.items()
    }
    if "use_forecast_weight_estimates" in config.estimates:
        costs = _sr_costs(config, raw, facts, scaled, settings)
        returns = rule_returns(config, raw, facts, fx_rate, scaled, costs)
        uses = {name: ~np.isnan(each) for name, each in fixed.weights.items()}
        raw_weights = _weights(config, raw, scaled, returns, costs, uses, settings)
        found = replace(found, raw_weights=raw_weights, sr_costs=costs)
        parameters = replace(parameters, weights=_daily_weights(tuple(forecasts), raw, raw_weights))
    if "use_forecast_div_mult_estimates" in config.estimates:
        correlations = _correlations(raw, scaled, settings)
        found = replace(found, correlations=correlations)
        multiplier = _multiplier(config, raw, forecasts, parameters.weights, correlations, settings)
        parameters = replace(parameters, multiplier=multiplier)
    return parameters, found


def _sr_costs(
    config: BacktestConfig,
    raw: RawData,
    facts: Sequence[InstrumentMeta],
    scaled: Mapping[str, Panel],
    settings: EstimationSettings,
) -> dict[str, FloatArray]:
    """Of each rule, by instrument; all instruments use all rules."""
    per_trade = sr_cost_per_trade(raw.price, raw.daily_returns_vol, raw.grid.dates, facts)
    rolls = np.array([len(one.hold_roll_cycle) for one in facts], dtype=np.float64)
    pooled = settings.forecast_cost.use_pooled_turnover
    groups = ["all"] * len(facts) if pooled else list(range(len(facts)))
    costs = sr_costs(scaled, per_trade, rolls, config.average_absolute_forecast, groups)
    if settings.forecast_cost.use_pooled_costs:
        return {name: np.full_like(each, mean_of_present(each)) for name, each in costs.items()}
    return costs


def _weights(
    config: BacktestConfig,
    raw: RawData,
    scaled: Mapping[str, Panel],
    returns: RuleReturns,
    costs: Mapping[str, FloatArray],
    uses: Mapping[str, BoolArray],
    settings: EstimationSettings,
) -> dict[str, FittedWeights]:
    """Weights of the rules of each instrument, before smoothing. Rules above a ceiling of costs get none.

    uses: by rule, which instruments may have it.
    """
    names = tuple(scaled)
    buckets = Buckets.of(raw.grid.dates, settings.forecast_weight.frequency)
    turnover = np.array([yearly_change(panel.values / config.average_absolute_forecast) for panel in scaled.values()]).T
    tables = NetReturns(buckets, raw.codes, returns, turnover, settings)
    cost = np.array([costs[name] for name in names])  # (rule x instrument)
    found: dict[str, FittedWeights] = {}
    for column, code in enumerate(raw.codes):
        mine = np.array([uses[name][column] for name in names])
        cheap = np.flatnonzero(mine & ~(cost[:, column] > settings.forecast_weight.ceiling_cost_SR))
        if not len(cheap):
            cheap = np.array([int(np.nanargmin(np.where(mine, cost[:, column], np.nan)))])
        table = tables.table_for(column)
        chosen = Table(table.times, table.values[:, cheap], table.members, table.a_year)
        used = tuple(names[one] for one in cheap)
        fitted = fitted_weights(used, chosen, cost[cheap, column], settings.forecast_weight)
        if fitted is not None:
            too_dear = cost[cheap, column] > settings.forecast_post_ceiling_cost_SR
            found[code] = _without(fitted, too_dear)
    return found


def _without(fitted: FittedWeights, too_dear: np.ndarray) -> FittedWeights:
    if not too_dear.any() or too_dear.all():
        return fitted
    return replace(fitted, weights=np.where(too_dear, 0.0, fitted.weights))


def _daily_weights(
    names: tuple[str, ...], raw: RawData, raw_weights: Mapping[str, FittedWeights]
) -> dict[str, FloatArray]:
    """Weights in use on each day by rule, (date x instrument); NaN throughout for a rule an instrument does not use."""
    dates = raw.grid.dates
    daily = {name: np.full((len(dates), len(raw.codes)), np.nan) for name in names}
    for column, code in enumerate(raw.codes):
        fitted = raw_weights.get(code)
        if fitted is None:
            continue
        in_use = fitted.as_of(dates)
        for position, name in enumerate(fitted.names):
            daily[name][:, column] = in_use[:, position]
    return daily


def _correlations(
    raw: RawData, scaled: Mapping[str, Panel], settings: EstimationSettings
) -> dict[str, CorrelationsOverTime]:
    """Of the scaled forecasts of the rules, by instrument; pooled, the same for all."""
    how = settings.forecast_correlation
    index = np.logical_or.reduce([panel.index for panel in scaled.values()])
    values = np.stack([panel.values for panel in scaled.values()], axis=2)
    buckets = Buckets.of(raw.grid.dates, how.frequency)
    lasts = buckets.lasts(values, how.forward_fill)
    inside = buckets.within(index)
    names = tuple(scaled)
    if how.pool_instruments:
        pooled = correlations_over_time(names, stacked_table(buckets, raw.codes, lasts, inside), how)
        return {} if pooled is None else dict.fromkeys(raw.codes, pooled)
    each = {
        code: correlations_over_time(names, plain_table(buckets, lasts[:, column], inside[:, column]), how)
        for column, code in enumerate(raw.codes)
    }
    return {code: found for code, found in each.items() if found is not None}


def _multiplier(
    config: BacktestConfig,
    raw: RawData,
    forecasts: Mapping[str, Panel],
    weights: Mapping[str, FloatArray],
    correlations: Mapping[str, CorrelationsOverTime],
    settings: EstimationSettings,
) -> FloatArray:
    """Forecast diversification multiplier, (date x instrument)."""
    index = np.logical_or.reduce([panel.index for panel in forecasts.values()])
    values = {name: panel.values for name, panel in forecasts.items()}
    smoothed = smoothed_weights(values, weights, index, config.forecast_weight_ewma_span)
    table = np.stack([smoothed[name] for name in forecasts], axis=2)
    columns = [
        multiplier_over_time(
            raw.grid.dates, index[:, column], table[:, column], correlations.get(code), settings.forecast_multiplier
        )
        for column, code in enumerate(raw.codes)
    ]
    return np.column_stack(columns)
