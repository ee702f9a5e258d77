"""Scaling, capping and combining forecasts; (date x instrument) throughout."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

import numpy as np

from pysys.systems.market_data import BoolArray, FloatArray
from pysys.systems.smoothing import decay_of_span, ew_mean, ew_sum, forward_fill


def scaled_forecast(raw: FloatArray, scalar: FloatArray | float, cap: float) -> FloatArray:
    """Raw forecast times its scalar (one, or one per instrument), held within +-cap."""
    scaled = raw * scalar
    return np.clip(scaled, -cap, cap, out=scaled)


def smoothed_weights(
    forecasts: Mapping[str, FloatArray], weights: Mapping[str, FloatArray], index: BoolArray, span: float
) -> dict[str, FloatArray]:
    """Weight of each rule, fading in once it has a forecast; adding up to 1 over rules on every row of `index`.

    weights: by rule; one per instrument or (date x instrument), NaN throughout where a rule plays no part. A rule
    without a forecast so far has no weight, except while no rule has one. Days on which the others have no weight
    (NaN) leave their smoothed ones where they were.
    """
    faded = dict(_faded_weights(forecasts, weights, index, span))
    total = _total_weight(faded.values(), index)
    return {name: np.where(_takes_part(weights[name]), weight / total, np.nan) for name, weight in faded.items()}


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
    takes_part = {name: _takes_part(weight) for name, weight in weights.items()}
    begun = {name: np.logical_or.accumulate(~np.isnan(forecasts[name]), axis=0) & takes_part[name] for name in weights}
    nothing_yet = ~np.logical_or.reduce(list(begun.values()))
    complete = not any(np.isnan(np.atleast_2d(weight)[:, takes_part[name]]).any() for name, weight in weights.items())
    for name, weight in weights.items():
        counts = index & (begun[name] | (nothing_yet & takes_part[name]))
        used = np.where(counts, weight, 0.0)
        if complete:
            yield name, ew_sum(used, decay_of_span(span))
        else:
            yield name, np.nan_to_num(ew_mean(np.where(index, used, np.nan), decay_of_span(span)), nan=0.0)


def _takes_part(weight: FloatArray) -> BoolArray:
    """Whether each instrument uses a rule of which these are the weights."""
    return ~np.logical_and.reduce(np.isnan(np.atleast_2d(weight)), axis=0)


def _total_weight(faded: Iterable[FloatArray], index: BoolArray) -> FloatArray:
    total = np.where(index, sum(faded), np.nan)
    total[total == 0.0] = np.nan
    return total
