"""When to fit and when to use what was fitted."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from pysys.systems.daily import DateArray
from pysys.systems.market_data import IntArray, TimeArray

DATE_METHODS = ("expanding", "rolling", "in_sample")
DAYS_A_YEAR = 365  # between two fits


@dataclass(frozen=True, slots=True)
class FitPeriod:
    """Fitted on the data of [fit_start, fit_end), used on [start, end). Nothing is fitted when the former is empty."""

    fit_start: np.datetime64
    fit_end: np.datetime64
    start: np.datetime64
    end: np.datetime64

    @property
    def has_data(self) -> bool:
        return bool(self.fit_end > self.fit_start)

    @property
    def in_sample(self) -> bool:
        return bool(self.fit_end > self.start)


class FitRows(NamedTuple):
    """Rows of a table in one fit: [start, stop), and how many there are with the one at the moment of the fit."""

    start: int
    stop: int
    until_fit: int


def fit_periods(first: np.datetime64, last: np.datetime64, method: str, rollyears: float) -> tuple[FitPeriod, ...]:
    """Yearly fits on the data between two moments, of the first and of the last row.

    Cut points go back from `last` in steps of 365 days. Until the second there is too little to fit on; from then
    on each fit sees everything before its cut point (`expanding`) or the last `rollyears` of it (`rolling`).
    `in_sample` is one fit on everything, used throughout.
    """
    if method == "in_sample":
        return (FitPeriod(first, last + np.timedelta64(1, "D"), first, last),)
    years = int((last - first) / np.timedelta64(DAYS_A_YEAR, "D"))
    cuts = [last - np.timedelta64(DAYS_A_YEAR * back, "D") for back in range(years, -1, -1)]
    window = np.timedelta64(int(DAYS_A_YEAR * rollyears), "D") if method == "rolling" else last - first
    later = [FitPeriod(max(first, cut - window), cut, cut, end) for cut, end in pairwise(cuts[1:])]
    return (FitPeriod(first, first, first, cuts[1] if years else last), *later)


def rows_of_fit(times: TimeArray, period: FitPeriod) -> FitRows:
    """The rows of a table a fit may see. times: of its rows, increasing."""
    start, stop = np.searchsorted(times, [period.fit_start, period.fit_end], side="left")
    until_fit = np.searchsorted(times, period.fit_end, side="right")
    return FitRows(int(start), int(stop), int(until_fit - start))


def period_of_days(dates: DateArray, periods: tuple[FitPeriod, ...]) -> IntArray:
    """Position of the period the start of each day is in; -1 before the first. The last one has no end."""
    starts = np.array([one.start for one in periods])
    return np.searchsorted(starts, dates, side="right") - 1
