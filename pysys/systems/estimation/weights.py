"""Weights that are fitted anew every year."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pysys.systems.daily import DateArray
from pysys.systems.estimation.buckets import Table
from pysys.systems.estimation.cleaning import cleaned_weights
from pysys.systems.estimation.correlations import average_off_diagonal, without_holes
from pysys.systems.estimation.cost_weights import cost_weighted
from pysys.systems.estimation.moments import column_moments, pair_correlations
from pysys.systems.estimation.optimisers import AssetEstimates, optimised_weights
from pysys.systems.estimation.periods import FitPeriod, FitRows, fit_periods, period_of_days, rows_of_fit
from pysys.systems.estimation.settings import EstimateSettings, WeightSettings
from pysys.systems.market_data import FloatArray


@dataclass(frozen=True, slots=True, eq=False)
class FittedWeights:
    """Weights of each period, (period x name), adding up to 1 or a little more.

    NaN in a period in which nothing could be fitted.
    """

    names: tuple[str, ...]
    periods: tuple[FitPeriod, ...]
    weights: FloatArray

    def as_of(self, dates: DateArray) -> FloatArray:
        """Weights in use on each day, (date x name); NaN before the first period."""
        period = period_of_days(dates, self.periods)
        return np.where(period[:, None] >= 0, self.weights[np.maximum(period, 0)], np.nan)


def fitted_weights(
    names: tuple[str, ...], returns: Table, costs: FloatArray, settings: WeightSettings
) -> FittedWeights | None:
    """Weights of the columns of `returns` (any currency) in each period; None for a table without rows.

    costs: of each column a year, Sharpe ratio units, positive; they count where `apply_cost_weight` is on.
    Until the first fit weights are equal. Ties are broken by name, so that the order of the columns does not matter.
    """
    if not len(returns.times):
        return None
    by_name = np.argsort(np.array(names))
    values = returns.values[:, by_name]
    periods = fit_periods(returns.times[0], returns.times[-1], settings.date_method, settings.rollyears)
    weights = np.full((len(periods), len(names)), 1.0 / len(names))
    has_data = ~np.isnan(values)
    fits = [rows_of_fit(returns.times, period) for period in periods]
    for at, estimates in enumerate(_estimates(values, returns, fits, settings)):
        if not periods[at].has_data:
            continue
        raw = optimised_weights(estimates, settings)
        if settings.cleaning and not np.isnan(raw).all():
            in_window = np.logical_or.reduce(has_data[fits[at].start : fits[at].stop], axis=0)
            raw = cleaned_weights(raw, in_window)
        if settings.apply_cost_weight:
            raw = cost_weighted(raw, costs[by_name], average_off_diagonal(estimates.correlation))
        weights[at, by_name] = raw
    return FittedWeights(names, periods, weights)


def _estimates(
    values: FloatArray, table: Table, fits: Sequence[FitRows], settings: WeightSettings
) -> list[AssetEstimates]:
    """What is known at the end of each fit; means and deviations a year."""
    mean = column_moments(values, fits, *_scaled(settings.mean, table.members)).mean
    stdev = column_moments(values, fits, *_scaled(settings.stdev, table.members)).stdev
    correlation = pair_correlations(values, fits, *_scaled(settings.correlation, table.members))
    if settings.correlation_floor_at_zero:
        correlation = np.where(correlation < 0.0, 0.0, correlation)
    if settings.correlation_cleaning:
        everything = np.ones(values.shape[1], dtype=bool)
        correlation = np.array([without_holes(one, everything) for one in correlation])
    return [
        AssetEstimates(
            mean[at] * table.a_year, stdev[at] * np.sqrt(table.a_year), correlation[at], fit.until_fit / table.a_year
        )
        for at, fit in enumerate(fits)
    ]


def _scaled(settings: EstimateSettings, members: int) -> tuple[float, int]:
    """Span and least number of rows for a table of several members."""
    return settings.span * members, settings.min_periods * members
