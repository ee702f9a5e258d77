"""Whole contracts for a small account: the portfolio of single lots that best follows the one it cannot afford.

Source: Carver, Advanced Futures Trading Strategies (2023), strategy 25 (dynamic optimisation). All risks and weights
are shares of capital; a weight is the exposure of a position, contracts times the value of one contract.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from pysys.systems.market_data import BoolArray, FloatArray

SHADOW_COST = 50.0
TRACKING_ERROR_BUFFER = 0.0125


@dataclass(frozen=True, slots=True, eq=False)
class Constraints:
    """What may be held of each instrument, one entry per instrument."""

    no_trade: BoolArray  # stays at the prior position, whatever else is said
    reduce_only: BoolArray  # between nothing and the prior position
    long_only: BoolArray  # nothing below 0
    position_limit: FloatArray  # contracts, either side; infinite where there is none

    @classmethod
    def of(
        cls,
        codes: Sequence[str],
        *,
        no_trade: Collection[str] = (),
        reduce_only: Collection[str] = (),
        long_only: Collection[str] = (),
        position_limits: Sequence[Mapping[str, float]] = (),
    ) -> Constraints:
        """position_limits: tables of contracts by instrument (of the instrument, of the strategy in it, ...).

        Each table counts by itself: an instrument that only one of them names is limited by it, one that several name
        by the tightest. Raises ValueError for a negative limit.
        """
        limit = np.full(len(codes), np.inf)
        for table in position_limits:
            for column, code in enumerate(codes):
                allowed = table.get(code, math.inf)
                if not allowed >= 0:
                    raise ValueError(f"{code}: a position limit must be at least 0 contracts, not {allowed}")
                limit[column] = min(limit[column], allowed)

        def among(chosen: Collection[str]) -> BoolArray:
            return np.array([code in chosen for code in codes], dtype=bool)

        return cls(among(no_trade), among(reduce_only), among(long_only), limit)

    def bounds(self, prior: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Least and most contracts of each instrument. Only a prior position that may not trade can exclude 0."""
        limit = np.floor(self.position_limit)
        lower, upper = np.where(self.long_only, 0.0, -limit), limit
        lower = np.where(self.reduce_only, np.maximum(lower, np.minimum(prior, 0.0)), lower)
        upper = np.where(self.reduce_only, np.minimum(upper, np.maximum(prior, 0.0)), upper)
        return np.where(self.no_trade, prior, lower), np.where(self.no_trade, prior, upper)


@dataclass(frozen=True, slots=True, eq=False)
class Optimised:
    """Positions to hold, and what led to them."""

    positions: FloatArray  # whole contracts
    solution: FloatArray  # whole contracts the search would hold without the buffer; the prior where it did not search
    tracking_error: float  # of the prior position against the optimal one, annual standard deviation
    tracking_error_after: float  # of `positions` against the optimal one
    considered: BoolArray  # the instruments that took part


def optimise_positions(
    optimal: FloatArray,
    covariance: FloatArray,
    per_contract_value: FloatArray,
    costs: FloatArray,
    prior: FloatArray,
    *,
    shadow_cost: float = SHADOW_COST,
    buffer: float = TRACKING_ERROR_BUFFER,
    constraints: Constraints | None = None,
) -> Optimised:
    """Whole contracts near `optimal` for the risk, within the bounds, not traded for less than they cost.

    optimal: contracts, unrounded. covariance: annual, of percentage returns as fractions (instrument x instrument).
    per_contract_value: exposure of one contract as a share of capital, positive. costs: of trading, as a share of the
    exposure traded. prior: whole contracts held. buffer: annual standard deviation.

    With w the weights and g = w - optimal the search lowers sqrt(g'Cg) + shadow_cost * sum(costs * |w - prior|): from
    no position it adds, one at a time and towards the optimal position, the single lot that lowers it most (the first
    of equals), until none does. Of the trades from the prior position to there it does the share (TE - buffer) / TE,
    TE being the tracking error between the two, rounded to lots half to even. A prior position that tracks the optimal
    one within the buffer is kept. Bounds hold in every case, for a prior position beyond a limit too.

    An instrument whose optimal position, value or own variance is missing takes no part in risk or costs and keeps
    its prior position within its bounds. Raises ValueError for arrays that do not fit together, a negative or missing
    cost, a prior position that is not whole, and a missing covariance of two instruments that take part.
    """
    _check(optimal, covariance, per_contract_value, costs, prior)
    held_to = Constraints.of([""] * len(prior)) if constraints is None else constraints
    lower, upper = held_to.bounds(prior)
    known = np.isfinite(optimal) & (per_contract_value > 0) & np.isfinite(np.diag(covariance))
    value, risk = per_contract_value[known], covariance[np.ix_(known, known)]
    if np.isnan(risk).any():
        raise ValueError("covariance is missing between instruments that have a variance; estimate or fill it")
    kept = np.clip(prior, lower, upper)
    solution, positions = kept.copy(), kept.copy()
    error = _deviation((prior - optimal)[known] * value, risk)
    if error >= buffer:
        found = _search(
            optimal[known], risk, value, shadow_cost * costs[known], prior[known], lower[known], upper[known]
        )
        solution[known] = found
        move = found - prior[known]
        apart = _deviation(move * value, risk)
        share = (apart - buffer) / apart if apart > buffer else 0.0
        positions[known] = np.clip(prior[known] + np.rint(share * move), lower[known], upper[known])
    return Optimised(
        positions=positions,
        solution=solution,
        tracking_error=error,
        tracking_error_after=_deviation((positions - optimal)[known] * value, risk),
        considered=known,
    )


def _search(
    optimal: FloatArray,
    covariance: FloatArray,
    value: FloatArray,
    cost_rate: FloatArray,
    prior: FloatArray,
    lower: FloatArray,
    upper: FloatArray,
) -> FloatArray:
    """Contracts after adding single lots until none lowers the objective."""
    direction = np.sign(optimal)
    contracts = np.clip(0.0, lower, upper)
    last = np.where(direction > 0, upper, np.where(direction < 0, lower, contracts))
    lot = direction * value
    gap = (contracts - optimal) * value
    marginal = covariance @ gap
    variance = max(float(gap @ marginal), 0.0)
    of_pair = 2.0 * covariance * np.outer(lot, lot)  # what a lot of one adds to the variance of a lot of the other
    added_variance = 2.0 * lot * marginal + np.diag(of_pair) / 2.0
    charge = cost_rate * value
    added_cost = charge * (np.abs(contracts + direction - prior) - np.abs(contracts - prior))
    added_cost[contracts == last] = np.inf
    while len(contracts):
        objective = np.sqrt(np.maximum(variance + added_variance, 0.0)) + added_cost
        best = int(objective.argmin())
        if not objective[best] < math.sqrt(variance):
            break
        contracts[best] += direction[best]
        variance = max(variance + float(added_variance[best]), 0.0)
        added_variance += of_pair[best]
        now = float(contracts[best])
        further = abs(now + direction[best] - prior[best]) - abs(now - prior[best])
        added_cost[best] = charge[best] * further if now != last[best] else np.inf
    return contracts


def _deviation(weights: FloatArray, covariance: FloatArray) -> float:
    return math.sqrt(max(float(weights @ covariance @ weights), 0.0))


def _check(
    optimal: FloatArray, covariance: FloatArray, value: FloatArray, costs: FloatArray, prior: FloatArray
) -> None:
    count = len(optimal)
    if covariance.shape != (count, count) or any(len(one) != count for one in (value, costs, prior)):
        sizes = [count, covariance.shape, len(value), len(costs), len(prior)]
        raise ValueError(f"optimal, covariance, per_contract_value, costs and prior do not fit together: {sizes}")
    if not (costs >= 0).all():
        raise ValueError(f"costs must be 0 or more and known, not {costs[~(costs >= 0)]}")
    if not (prior == np.rint(prior)).all():
        raise ValueError(f"prior positions must be whole contracts, not {prior[prior != np.rint(prior)]}")
