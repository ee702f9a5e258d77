"""Costs of an account in Sharpe ratio units: an even charge for trading as much as it does on average.

Source: Carver, Systematic Trading (2015), chapter 12. Cash costs charge each trade in the money of its day; these
charge the same share of the risk taken every day, whatever spreads were then.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from pysys.systems.account import DAYS_A_YEAR, turnover
from pysys.systems.daily import DateArray
from pysys.systems.market_data import FloatArray, InstrumentMeta
from pysys.systems.raw_data import ROOT_OF_YEAR, Panel, RawData
from pysys.systems.rule_costs import sr_cost_per_trade
from pysys.systems.smoothing import forward_fill


def yearly_sr_costs(
    raw: RawData, facts: Sequence[InstrumentMeta], positions: FloatArray, average_position: FloatArray
) -> FloatArray:
    """By instrument: cost of a trade times turnover and two trades a roll, a share of yearly risk; 0 if unknown."""
    per_trade = sr_cost_per_trade(raw.price, raw.daily_returns_vol, raw.grid.dates, facts)
    rolls = np.array([len(one.hold_roll_cycle) for one in facts], dtype=np.float64)
    return np.nan_to_num(per_trade * (np.nan_to_num(turnover(positions, average_position)) + 2.0 * rolls))


def daily_sr_costs(
    sr_cost: FloatArray, dates: DateArray, held: Panel, average_position: FloatArray, value_vol: FloatArray
) -> FloatArray:
    """Base currency a day (date x instrument), negative: the yearly cost's share of the days since the row before.

    sr_cost: by instrument, a share of yearly risk. value_vol: of one contract, base currency a day. The risk charged is
    that of the average position; nothing before the first position other than 0.
    """
    years = np.diff(dates.astype(np.int64), prepend=dates.astype(np.int64)[:1]) / DAYS_A_YEAR
    yearly_risk = np.abs(forward_fill(average_position)) * forward_fill(value_vol) * ROOT_OF_YEAR
    begun = np.logical_or.accumulate(np.nan_to_num(held.values) != 0.0, axis=0)
    charge = np.where(begun, -sr_cost * np.nan_to_num(yearly_risk) * years[:, None], 0.0)
    return np.where(held.index, charge, np.nan)
