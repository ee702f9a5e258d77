"""Business days, and native timestamps folded onto them.

A business day is numbered: Mondays to Fridays follow each other without a gap, so a window of n days is n rows.
Saturday and Sunday belong to the Friday before, and the time of day plays no part; there is no holiday calendar.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pysys.systems.market_data import BoolArray, FloatArray, IntArray, TimeArray

DateArray = NDArray[np.datetime64]

_MONDAY_OFFSET = 3  # 1970-01-01 was a Thursday


def business_days(times: TimeArray) -> IntArray:
    """Number of the business day of each timestamp (any datetime64 unit)."""
    weeks, weekdays = np.divmod(times.astype("datetime64[D]").astype(np.int64) + _MONDAY_OFFSET, 7)
    return weeks * 5 + np.minimum(weekdays, 4)


def dates_of(days: IntArray) -> DateArray:
    """Calendar dates (`datetime64[D]`) of business-day numbers."""
    weeks, weekdays = np.divmod(days, 5)
    return (weeks * 7 + weekdays - _MONDAY_OFFSET).astype("datetime64[D]")


@dataclass(frozen=True, slots=True, eq=False)
class DailyGrid:
    """The rows of every (date x instrument) array: all business days on which any instrument has an index."""

    days: IntArray  # business-day numbers, increasing; consecutive inside each instrument's own history

    @classmethod
    def covering(cls, spans: Sequence[tuple[int, int]]) -> DailyGrid:
        """The union of inclusive (first day, last day) ranges."""
        if not spans:
            return cls(np.empty(0, dtype=np.int64))
        start = min(first for first, _ in spans)
        present = np.zeros(max(last for _, last in spans) - start + 1, dtype=bool)
        for first, last in spans:
            present[first - start : last - start + 1] = True
        return cls(np.flatnonzero(present) + start)

    def __len__(self) -> int:
        return len(self.days)

    @property
    def dates(self) -> DateArray:
        return dates_of(self.days)

    def rows(self, days: IntArray) -> IntArray:
        """Row of each business-day number; every one must be on the grid."""
        if len(self) and self.days[-1] - self.days[0] == len(self) - 1:  # no hole, as good as always
            return days - self.days[0]
        return np.searchsorted(self.days, days)

    def index_of(self, days: IntArray) -> BoolArray:
        """True on the rows from the first to the last of `days` (all False when there are none)."""
        inside = np.zeros(len(self), dtype=bool)
        if len(days):
            inside[(self.days >= days[0]) & (self.days <= days[-1])] = True
        return inside

    def last_of_day(self, days: IntArray, values: FloatArray) -> FloatArray:
        """Last present value of each day; NaN on days without one. `days` is non-decreasing."""
        present = ~np.isnan(values)
        kept_days, kept = days[present], values[present]
        is_last = np.ones(len(kept), dtype=bool)
        is_last[:-1] = kept_days[1:] != kept_days[:-1]
        out = np.full(len(self), np.nan)
        out[self.rows(kept_days[is_last])] = kept[is_last]
        return out

    def mean_of_day(self, days: IntArray, values: FloatArray) -> FloatArray:
        """Mean of the present values of each day; NaN on days without one."""
        present = ~np.isnan(values)
        rows = self.rows(days[present])
        count = np.bincount(rows, minlength=len(self))
        total = np.bincount(rows, weights=values[present], minlength=len(self))
        out = np.full(len(self), np.nan)
        np.divide(total, count, out=out, where=count > 0)
        return out


def as_of(times: TimeArray, values: FloatArray, moments: TimeArray) -> FloatArray:
    """Value of the last row stamped at or before each moment; a missing value there stays missing."""
    if not len(times):
        return np.full(len(moments), np.nan)
    row = np.searchsorted(times, moments.astype(times.dtype), side="right") - 1
    return np.where(row >= 0, values[np.maximum(row, 0)], np.nan)
