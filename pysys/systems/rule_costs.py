"""What a rule costs to trade, in Sharpe ratio units a year."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from pysys.systems.account import yearly_change
from pysys.systems.daily import DateArray
from pysys.systems.market_data import FloatArray, InstrumentMeta
from pysys.systems.raw_data import ROOT_OF_YEAR, Panel


def sr_cost_per_trade(price: Panel, vol: Panel, dates: DateArray, facts: Sequence[InstrumentMeta]) -> FloatArray:
    """Cost of trading one contract once, as a share of its yearly risk; by instrument.

    The absolute price and volatility are means over the last year of each instrument.
    """
    out = np.full(len(facts), np.nan)
    for column, one in enumerate(facts):
        last_year = _last_year(dates, price.index[:, column])
        mean_price = _mean_of_present(np.abs(price.values[last_year, column]))
        mean_vol = _mean_of_present(vol.values[last_year, column])
        commission = max(one.per_block, one.per_trade, one.percentage * mean_price * one.point_size)
        out[column] = (one.spread_cost * one.point_size + commission) / (ROOT_OF_YEAR * mean_vol * one.point_size)
    return out


def pooled_turnover(forecast: Panel, average_absolute_forecast: float, groups: Sequence[object]) -> FloatArray:
    """Turnover a year of a rule, averaged over the instruments of a group, longer histories counting for more.

    groups: one label per instrument; instruments that use the same rules share one.
    """
    own = yearly_change(forecast.values / average_absolute_forecast)
    length = forecast.index.sum(axis=0).astype(np.float64)
    out = np.full(len(own), np.nan)
    for group in dict.fromkeys(groups):
        members = np.array([label == group for label in groups]) & ~np.isnan(own)
        if members.any():
            pooled = float(np.average(own[members], weights=length[members]))
            out[[label == group for label in groups]] = pooled
    return out


def sr_costs(
    forecasts: Mapping[str, Panel],
    cost_per_trade: FloatArray,
    rolls_per_year: FloatArray,
    average_absolute_forecast: float,
    groups: Sequence[object],
) -> dict[str, FloatArray]:
    """Yearly SR cost of each rule and instrument: trading at the pooled turnover, and two trades a roll."""
    return {
        name: cost_per_trade * (pooled_turnover(panel, average_absolute_forecast, groups) + 2.0 * rolls_per_year)
        for name, panel in forecasts.items()
    }


def _last_year(dates: DateArray, index: np.ndarray) -> np.ndarray:
    rows = np.flatnonzero(index)
    if not len(rows):
        return index
    last = dates[rows[-1]].astype(object)
    day = min(last.day, 28) if last.month == 2 else last.day
    return index & (dates >= np.datetime64(last.replace(year=last.year - 1, day=day)))


def _mean_of_present(values: FloatArray) -> float:
    present = values[~np.isnan(values)]
    return float(present.mean()) if len(present) else float("nan")
