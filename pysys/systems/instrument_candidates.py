"""Instruments that might be traded, measured from their prices: what `choose_instruments` chooses from."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass

import numpy as np

from pysys.systems.covariance import correlations, weekly_returns, weeks_ended
from pysys.systems.daily import DateArray
from pysys.systems.fx import FxRate
from pysys.systems.instrument_choice import Candidate
from pysys.systems.market_data import FloatArray, MarketData
from pysys.systems.positions import daily_percentage_volatility
from pysys.systems.raw_data import ROOT_OF_YEAR, RawData, raw_data
from pysys.systems.rule_costs import sr_cost_per_trade
from pysys.systems.smoothing import forward_fill
from pysys.systems.volatility import MixedVolatility

MILLION = 1e6


@dataclass(frozen=True, slots=True, eq=False)
class MeasuredCandidates:
    """Candidates, and the correlations of their returns in the same order."""

    candidates: tuple[Candidate, ...]
    correlation: FloatArray  # of weekly returns, complete; an unknown pair has the average


def measured_candidates(
    market_data: MarketData,
    base_currency: str,
    volumes: Mapping[str, float],
    traded: Collection[str] = (),
) -> MeasuredCandidates:
    """Every instrument of the prices as a candidate, on the last day of its own history; in order of their codes.

    volumes: contracts a day by instrument; those that are absent are not known. traded: codes of what is in the
    portfolio already. Costs are those of a trade in the last year, volatility the default one of a backtest. What has
    too little history is missing. Raises DataError for an instrument without prices, or without the rate of its
    currency.
    """
    series = [market_data.instrument(code) for code in sorted(market_data.instruments)]
    raw, facts = raw_data(series, MixedVolatility()), [one.meta for one in series]
    dates = raw.grid.dates
    fx_rate = [_last_rate(FxRate.between(one.currency, base_currency, market_data), dates) for one in facts]
    price = forward_fill(raw.denominator_price.values)[-1]
    deviation = forward_fill(daily_percentage_volatility(raw.daily_returns_vol, raw.denominator_price))[-1]
    cost = sr_cost_per_trade(raw.price, raw.daily_returns_vol, dates, facts)
    found = []
    for column, one in enumerate(series):
        point_value = one.meta.point_size * fx_rate[column]
        annual_pct = float(deviation[column]) * ROOT_OF_YEAR
        contracts = volumes.get(one.code, math.nan)
        risk_of_contract = abs(point_value * float(price[column])) * annual_pct / 100.0
        found.append(
            Candidate(
                instrument=one.code,
                asset_class=one.meta.asset_class,
                point_value=point_value,
                price=float(price[column]),
                annual_pct_deviation=annual_pct,
                sr_cost=float(cost[column]),
                contracts_a_day=contracts,
                risk_a_day=contracts * risk_of_contract / MILLION,
                traded=one.code in traded,
            )
        )
    return MeasuredCandidates(tuple(found), _correlation(raw))


def _last_rate(rate: FxRate, dates: DateArray) -> float:
    """The last rate there is by the last date; NaN when there is none."""
    known = forward_fill(rate.at(dates)[:, None])
    return float(known[-1, 0])


def _correlation(raw: RawData) -> FloatArray:
    """As of the last week that has ended, as measured: the choice adds risks, it does not invert them."""
    weeks, weekly = weekly_returns(raw.daily_percentage_returns.values, raw.grid)
    matrix = np.eye(len(raw.codes))
    for matrix in correlations(weekly[: int(weeks_ended(raw.grid, weeks)[-1])], shrinkage=0.0):  # noqa: B007
        pass
    return matrix
