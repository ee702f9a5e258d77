"""Days put together into weeks or months, and the tables of several instruments put on top of each other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pysys.systems.daily import DateArray
from pysys.systems.market_data import TIME_UNIT, BoolArray, FloatArray, IntArray, TimeArray
from pysys.systems.smoothing import forward_fill

BUCKETS_A_YEAR = {"D": 256.0, "W": 365.25 / 7.0, "M": 12.0}
FREQUENCIES = tuple(BUCKETS_A_YEAR)
_MONDAY_OFFSET = 3  # 1970-01-01 was a Thursday


@dataclass(frozen=True, slots=True, eq=False)
class Buckets:
    """Days, weeks (ending on Sunday) or months, from the first to the last of some dates, none left out."""

    labels: DateArray  # last calendar day of each bucket
    number: IntArray  # bucket of each of the dates, non-decreasing
    a_year: float  # buckets in a year

    @classmethod
    def of(cls, dates: DateArray, frequency: str) -> Buckets:
        """dates: increasing `datetime64[D]`, at least one. frequency: one of `FREQUENCIES`."""
        a_year = BUCKETS_A_YEAR[frequency]
        if frequency == "D":
            return cls(dates, np.arange(len(dates)), a_year)
        if frequency == "W":
            weeks = (dates.astype(np.int64) + _MONDAY_OFFSET) // 7
            labels = np.arange(weeks[0], weeks[-1] + 1) * 7 - _MONDAY_OFFSET + 6
            return cls(labels.astype("datetime64[D]"), weeks - weeks[0], a_year)
        months = dates.astype("datetime64[M]").astype(np.int64)
        next_months = np.arange(months[0] + 1, months[-1] + 2).astype("datetime64[M]")
        return cls(next_months.astype("datetime64[D]") - 1, months - months[0], a_year)

    def __len__(self) -> int:
        return len(self.labels)

    def sums(self, values: FloatArray) -> FloatArray:
        """Sum of the present values of each bucket along the first axis; 0 where there is none."""
        starts = np.searchsorted(self.number, np.arange(len(self)))
        totals = np.add.reduceat(np.nan_to_num(values, nan=0.0), np.minimum(starts, len(values) - 1), axis=0)
        totals[np.bincount(self.number, minlength=len(self)) == 0] = 0.0
        return totals

    def lasts(self, values: FloatArray, fill: bool) -> FloatArray:
        """Last value of each bucket along the first axis; with `fill`, the last present one from an earlier bucket."""
        filled = forward_fill(values)
        row = np.searchsorted(self.number, np.arange(len(self)), side="right") - 1
        if fill:
            return filled[row]
        known = np.where(~np.isnan(values), self.number.reshape(-1, *[1] * (values.ndim - 1)), -1)
        fresh = np.maximum.accumulate(known, axis=0)[row] == np.arange(len(self)).reshape(-1, *[1] * (values.ndim - 1))
        return np.where(fresh, filled[row], np.nan)

    def within(self, index: BoolArray) -> BoolArray:
        """True from the first to the last bucket in which a column of `index` (date x ...) is True."""
        out = np.zeros((len(self), *index.shape[1:]), dtype=bool)
        flat_in, flat_out = index.reshape(len(index), -1), out.reshape(len(self), -1)
        for column in range(flat_in.shape[1]):
            rows = np.flatnonzero(flat_in[:, column])
            if len(rows):
                flat_out[self.number[rows[0]] : self.number[rows[-1]] + 1, column] = True
        return out


@dataclass(frozen=True, slots=True, eq=False)
class Table:
    """What is fitted on: a column for each asset, NaN for missing."""

    times: TimeArray  # of the rows, increasing; the members of one bucket are a microsecond apart
    values: FloatArray  # (row x asset)
    members: int  # instruments that stand on top of each other, 1 for a plain table
    a_year: float  # rows of one member in a year


def plain_table(buckets: Buckets, values: FloatArray, inside: BoolArray) -> Table:
    """A table of one member. values: (bucket x asset); inside: buckets of its history, the others are left out."""
    rows = _history(inside)
    return Table(buckets.labels[rows].astype(TIME_UNIT), values[rows], 1, buckets.a_year)


def stacked_table(buckets: Buckets, codes: Sequence[str], values: FloatArray, inside: BoolArray) -> Table:
    """Several instruments on top of each other: each bucket once per instrument, in the order of their codes.

    values: (bucket x instrument x asset); inside: (bucket x instrument). Every instrument has a row in every bucket
    from the first of any history to the last, missing outside its own.
    """
    rows = _history(np.logical_or.reduce(inside, axis=1))
    members, assets = values.shape[1:]
    by_code = np.argsort(np.array(codes))
    known = np.where(inside[rows, :, None], values[rows], np.nan)[:, by_code]
    apart = np.arange(members).astype("timedelta64[us]")
    times = (buckets.labels[rows].astype(TIME_UNIT)[:, None] + apart).ravel()
    return Table(times, known.reshape(-1, assets), members, buckets.a_year)


def _history(inside: BoolArray) -> slice:
    rows = np.flatnonzero(inside)
    return slice(rows[0], rows[-1] + 1) if len(rows) else slice(0, 0)
