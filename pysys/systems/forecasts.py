"""Scaling, capping and combining forecasts; (date x instrument) throughout."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

import numpy as np

from pysys.systems.market_data import BoolArray, FloatArray
from pysys.systems.smoothing import decay_of_span, ew_sum, forward_fill


def scaled_forecast(raw: FloatArray, scalar: FloatArray | float, cap: float) -> FloatArray:
    """Raw forecast times its scalar (one, or one per instrument), held within +-cap."""
    scaled = raw * scalar
    return np.clip(scaled, -cap, cap, out=scaled)


def smoothed_weights(
    forecasts: Mapping[str, FloatArray], weights: Mapping[str, FloatArray], index: BoolArray, span: float
) -> dict[str, FloatArray]:
    """Weight of each rule, fading in once it has a forecast; adding up to 1 over rules on every row of `index`.

    weights: fixed, by rule; one per instrument or (date x instrument), NaN where a rule plays no part. A rule
    without a forecast so far has no weight, except while no rule has one.
    """
    faded = dict(_faded_weights(forecasts, weights, index, span))
    total = _total_weight(faded.values(), index)
    return {name: np.where(np.isnan(weights[name]), np.nan, weight / total) for name, weight in faded.items()}


def combined_forecast(
    raw: Mapping[str, FloatArray],
    scalars: Mapping[str, FloatArray],
    weights: Mapping[str, FloatArray],
    index: BoolArray,
    *,
    span: float,
    multiplier: FloatArray | float,
    cap: float,
) -> FloatArray:
    """Scaled forecasts, carried forward, times their `smoothed_weights` and the diversification multiplier, capped.

    One rule at a time, so that scaled forecasts and weights need no room of their own. Before any forecast exists
    the result is 0, not missing; outside `index` it is missing.
    """
    weighted, total = np.zeros(index.shape), np.zeros(index.shape)
    for name, weight in _faded_weights(raw, weights, index, span):
        total += weight
        weight *= forward_fill(scaled_forecast(raw[name], scalars[name], cap))
        np.add(weighted, weight, out=weighted, where=~np.isnan(weight))
    combined = multiplier * weighted / _total_weight([total], index)
    combined[np.isnan(combined) & index] = 0.0
    return np.clip(combined, -cap, cap, out=combined)


def _faded_weights(
    forecasts: Mapping[str, FloatArray], weights: Mapping[str, FloatArray], index: BoolArray, span: float
) -> Iterator[tuple[str, FloatArray]]:
    """Smoothed weights of each rule, not yet adding up to 1."""
    takes_part = {name: ~np.isnan(weight) for name, weight in weights.items()}
    begun = {name: np.logical_or.accumulate(~np.isnan(forecasts[name]), axis=0) & takes_part[name] for name in weights}
    nothing_yet = ~np.logical_or.reduce(list(begun.values()))
    for name, weight in weights.items():
        counts = index & (begun[name] | (nothing_yet & takes_part[name]))
        yield name, ew_sum(np.where(counts, weight, 0.0), decay_of_span(span))


def _total_weight(faded: Iterable[FloatArray], index: BoolArray) -> FloatArray:
    total = np.where(index, sum(faded), np.nan)
    total[total == 0.0] = np.nan
    return total
