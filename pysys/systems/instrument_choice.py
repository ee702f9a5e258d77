"""Which instruments to trade with a given capital.

Source: Carver, "Static optimisation of the best set of instruments to hold in a futures trading system", 29 June 2021
(qoppac.blogspot.com), and Advanced Futures Trading Strategies (2023): first what is too large, too dear or too
illiquid goes; then, from the cheapest on, the instrument is added that gives the highest expected Sharpe ratio.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from pysys.systems.market_data import FloatArray

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, slots=True)
class Candidate:
    """An instrument that might be traded. Money is in base currency."""

    instrument: str
    asset_class: str
    point_value: float  # of 1.0 of price of one contract
    price: float  # of the priced contract
    annual_pct_deviation: float  # % of price a year
    sr_cost: float  # of one trade, a share of yearly risk
    contracts_a_day: float  # volume; NaN where it is not known
    risk_a_day: float  # volume, millions of yearly risk
    traded: bool = False  # already in the portfolio


@dataclass(frozen=True, slots=True)
class Requirements:
    """What an instrument must meet, and what the portfolio is expected to do."""

    lots: float = 4.0  # the position at an average forecast must be at least this many contracts
    risk_target_pct: float = 25.0  # of capital a year
    diversification_multiplier: float = 2.5
    instrument_weight: float = 0.04
    highest_sr_cost: float = 0.01  # of one trade
    least_contracts_a_day: float = 100.0  # 0 asks nothing, also of an instrument whose volume is not known
    least_risk_a_day: float = 1.5  # millions; 0 likewise
    least_pct_deviation: float = 5.0  # a year; calmer markets need too much leverage
    hysteresis: float = 0.3  # share by which what is already traded may miss a requirement and stay
    gross_sharpe: float = 0.3  # of every instrument before costs
    trades_a_year: float = 15.0  # turnover and rolls, of the average position


def minimum_capital(candidate: Candidate, needs: Requirements) -> float:
    """Base currency that holds `lots` contracts at an average forecast.

    lots * point value * price * annual % deviation / risk target % / (multiplier * weight)

    >>> gold = Candidate("GOLD", "Metals", 10.0, 2000.0, 15.0, 0.002, 1e5, 100.0)
    >>> minimum_capital(gold, Requirements())
    480000.0
    """
    risk = abs(candidate.point_value * candidate.price) * candidate.annual_pct_deviation
    share = needs.diversification_multiplier * needs.instrument_weight
    return needs.lots * risk / needs.risk_target_pct / share


def choose_instruments(
    capital: float,
    candidates: Sequence[Candidate],
    correlation: FloatArray,
    needs: Requirements | None = None,
) -> pd.DataFrame:
    """One row per candidate: chosen or not and why, chosen ones first, in the order they were added.

    correlation: of returns, in the order of `candidates`. Starting with the lowest cost, the candidate is added that
    gives the highest portfolio Sharpe ratio, all chosen ones taking equal risk:

        sum(gross Sharpe - trades a year * SR cost) / sqrt(sum of all their correlations, with themselves too)

    until no addition raises it; equals go by order. Raises ValueError for capital that is not positive or correlations
    that do not fit or are missing.
    """
    import pandas as pd

    if not capital > 0:
        raise ValueError(f"capital must be positive, not {capital}")
    if correlation.shape != (len(candidates),) * 2 or np.isnan(correlation).any():
        raise ValueError(f"correlation must be known between all {len(candidates)} candidates, not {correlation.shape}")
    needs = Requirements() if needs is None else needs
    refused = [_refusal(one, capital, needs) for one in candidates]
    order, sharpes = _grow(candidates, correlation, needs, [n for n, why in enumerate(refused) if not why])
    rows = []
    for n, one in enumerate(candidates):
        chosen = n in order
        place = order.index(n) if chosen else None
        reason = refused[n] or "adds less diversification than it costs"
        if place is not None:
            reason = "lowest cost" if place == 0 else f"raises expected Sharpe ratio to {sharpes[place]:.3f}"
        rows.append(
            {
                "instrument": one.instrument,
                "asset_class": one.asset_class,
                "chosen": chosen,
                "added": math.nan if place is None else place + 1,
                "portfolio_sharpe": math.nan if place is None else sharpes[place],
                "reason": reason,
                "minimum_capital": minimum_capital(one, needs),
                "sr_cost": one.sr_cost,
                "contracts_a_day": one.contracts_a_day,
                "risk_a_day": one.risk_a_day,
            }
        )
    return pd.DataFrame(rows).sort_values("added", kind="stable", na_position="last", ignore_index=True)


def _refusal(one: Candidate, capital: float, needs: Requirements) -> str:
    """Everything an instrument does not meet; empty if it meets all.

    What is missing is not met, except a volume of which nothing is asked.
    """
    easing = 1.0 + (needs.hysteresis if one.traded else 0.0)
    least = minimum_capital(one, needs)
    dearest = needs.highest_sr_cost * easing
    contracts, risk, deviation = (
        limit / easing for limit in (needs.least_contracts_a_day, needs.least_risk_a_day, needs.least_pct_deviation)
    )
    failed = [
        (least <= capital * easing, _capital(least)),
        (one.sr_cost <= dearest, f"costs {one.sr_cost:.4f} SR a trade, over {dearest:g}"),
        (
            _enough(one.contracts_a_day, contracts),
            f"{_volume(one.contracts_a_day)} contracts a day, under {contracts:g}",
        ),
        (_enough(one.risk_a_day, risk), f"{_volume(one.risk_a_day)} million of risk a day, under {risk:g}"),
        (one.annual_pct_deviation >= deviation, f"moves {one.annual_pct_deviation:g}% a year, under {deviation:g}%"),
    ]
    return "; ".join(reason for met, reason in failed if not met)


def _enough(volume: float, least: float) -> bool:
    return least <= 0 or volume >= least


def _capital(least: float) -> str:
    return "has no known price, volatility or exchange rate" if math.isnan(least) else f"needs capital of {least:,.0f}"


def _volume(volume: float) -> str:
    return "unknown" if math.isnan(volume) else f"{volume:g}"


def _grow(
    candidates: Sequence[Candidate], correlation: FloatArray, needs: Requirements, eligible: Sequence[int]
) -> tuple[list[int], list[float]]:
    """Columns in the order they are added, and the expected Sharpe ratio after each."""
    net = np.array([needs.gross_sharpe - needs.trades_a_year * one.sr_cost for one in candidates])

    def sharpe(chosen: list[int]) -> float:
        return float(net[chosen].sum() / math.sqrt(max(correlation[np.ix_(chosen, chosen)].sum(), 1e-12)))

    left = list(eligible)
    if not left:
        return [], []
    order = [min(left, key=lambda n: candidates[n].sr_cost)]
    left.remove(order[0])
    sharpes = [sharpe(order)]
    while left:
        best = max(left, key=lambda n: sharpe([*order, n]))
        reached = sharpe([*order, best])
        if not reached > sharpes[-1]:
            break
        order.append(best)
        left.remove(best)
        sharpes.append(reached)
    return order, sharpes
