"""Forecast scalars: what brings the average absolute forecast of a rule to 10."""

from __future__ import annotations

import numpy as np

from pysys.systems.asset_classes import median_of_present
from pysys.systems.estimation.settings import ScalarSettings
from pysys.systems.market_data import FloatArray
from pysys.systems.smoothing import divide, forward_fill, lag


def forecast_scalar(raw: FloatArray, settings: ScalarSettings, average_absolute_forecast: float) -> FloatArray:
    """Scalar of each day from the raw forecasts so far: (date x 1) when instruments are pooled, else as `raw`.

    raw: (date x instrument), never exactly 0. Pooled, the size of a day is the median over instruments.
    Source: Carver, Systematic Trading (2015), appendix D.
    """
    size = forward_fill(np.abs(raw))
    if settings.pool_instruments:
        size = median_of_present(size)[:, None]
    present = ~np.isnan(size)
    total, count = _in_window(np.where(present, size, 0.0), settings.window), _in_window(present, settings.window)
    mean = np.where(count >= settings.min_periods, divide(total, count), np.nan)
    scalar = forward_fill(divide(np.full_like(mean, average_absolute_forecast), mean))
    return _backfilled(scalar) if settings.backfill else scalar


def _in_window(values: np.ndarray, window: int) -> FloatArray:
    running = np.cumsum(values, axis=0, dtype=np.float64)
    return running if window >= len(values) else running - np.nan_to_num(lag(running, window), nan=0.0)


def _backfilled(values: FloatArray) -> FloatArray:
    known = ~np.isnan(values)
    first = values[known.argmax(axis=0), np.arange(values.shape[1])]
    begun = np.logical_or.accumulate(known, axis=0)
    return np.where(begun, values, first)
