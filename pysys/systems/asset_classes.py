"""What the instruments of one asset class have in common; (date x instrument) throughout."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from pysys.systems.market_data import BoolArray, FloatArray
from pysys.systems.smoothing import divide


def members_of_classes(classes: Sequence[str]) -> list[list[int]]:
    """Columns of the instruments of each class."""
    return [[column for column, its in enumerate(classes) if its == name] for name in dict.fromkeys(classes)]


def median_of_class(values: FloatArray, classes: Sequence[str], index: BoolArray) -> FloatArray:
    """Median of the present values of each instrument's class and day, itself included, on that instrument's index."""
    out = np.full_like(values, np.nan)
    for members in members_of_classes(classes):
        out[:, members] = median_of_present(values[:, members])[:, None]
    return np.where(index, out, np.nan)


def average_of_class(values: FloatArray, classes: Sequence[str]) -> FloatArray:
    """Mean of the present values of each instrument's class and day, itself included."""
    out = np.full_like(values, np.nan)
    for members in members_of_classes(classes):
        out[:, members] = average_of_present(values[:, members])[:, None]
    return out


def average_of_present(values: FloatArray) -> FloatArray:
    """Mean across columns of the present values; NaN on rows without any."""
    present = ~np.isnan(values)
    return divide(np.where(present, values, 0.0).sum(axis=1), present.sum(axis=1).astype(np.float64))


def median_of_present(values: FloatArray) -> FloatArray:
    """Median across columns of the present values; NaN on rows without any."""
    ordered = np.sort(values, axis=1)  # NaN sorts last
    count = np.sum(~np.isnan(values), axis=1)
    rows = np.arange(len(values))
    lower = ordered[rows, np.maximum(count - 1, 0) // 2]
    upper = ordered[rows, np.minimum(count // 2, values.shape[1] - 1)]
    return np.where(count > 0, (lower + upper) / 2, np.nan)
