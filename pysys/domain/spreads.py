"""Spread instruments: several contracts traded as one, in units.

Within one market (calendar spreads, butterflies) the legs are contracts along the market's chain and are sent to the
broker as one order. Between markets each leg is an order of its own in its market.

The price of a spread is sum(ratio x leg price), in points of its first leg: a leg whose point is worth twice as much
counts twice. So one point of the spread is worth the first leg's point, whatever moved.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pysys.domain.contracts import Contract
from pysys.domain.instruments import RollParameters, previous_in_cycle
from pysys.domain.orders import ContractOrder, OrderLeg, lowest_terms


@dataclass(frozen=True, slots=True)
class SpreadLeg:
    """One leg: of which market, how far along its chain (0 is the priced contract), and contracts for one unit."""

    instrument: str
    ratio: int  # signed contracts for one unit bought
    chain: int = 0


@dataclass(frozen=True, slots=True)
class Spread:
    """A spread instrument. Raises ValueError for legs that are no spread."""

    code: str
    legs: tuple[SpreadLeg, ...]

    def __post_init__(self) -> None:
        if not 2 <= len(self.legs) <= 3:
            raise ValueError(f"spread {self.code} has {len(self.legs)} legs; two or three can be traded")
        if any(leg.ratio == 0 for leg in self.legs):
            raise ValueError(f"spread {self.code} has a leg with ratio 0")
        if self.legs[0].ratio < 0 or math.gcd(*(leg.ratio for leg in self.legs)) > 1:
            raise ValueError(f"spread {self.code}: ratios in lowest terms, the first positive, as its price is stated")
        if any(leg.chain < 0 for leg in self.legs):
            raise ValueError(f"spread {self.code}: chain counts from 0, the priced contract")
        if self.within_one_market:
            places = [leg.chain for leg in self.legs]
            if places != sorted(set(places)):
                raise ValueError(f"spread {self.code}: legs must go along the chain, nearest first, got {places}")
        elif len(self.markets) != len(self.legs):
            raise ValueError(f"spread {self.code}: between markets every leg needs a market of its own")
        elif any(leg.chain for leg in self.legs):
            raise ValueError(f"spread {self.code}: between markets each leg rolls with its market; leave chain out")

    @property
    def markets(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(leg.instrument for leg in self.legs))

    @property
    def within_one_market(self) -> bool:
        return len(self.markets) == 1

    def weights(self, point_sizes: Mapping[str, float]) -> tuple[float, ...]:
        """What each leg's price counts for in the price of a unit. point_sizes: by market, one currency.

        >>> Spread("NOTES", (SpreadLeg("US2", 4), SpreadLeg("US5", -1))).weights({"US2": 2000.0, "US5": 1000.0})
        (4.0, -0.5)
        """
        first = point_sizes[self.legs[0].instrument]
        return tuple(leg.ratio * (point_sizes[leg.instrument] / first) for leg in self.legs)


def legs_from(spread: Spread, start: Contract, rolls: RollParameters) -> dict[Contract, int]:
    """Contracts of one unit of a spread within a market, when `start` is the market's priced contract."""
    chain = [start]
    while len(chain) <= spread.legs[-1].chain:
        chain.append(rolls.next_held(chain[-1]))
    return {chain[leg.chain]: leg.ratio for leg in spread.legs}


def legs_beside(spread: Spread, first: Contract, rolls: RollParameters) -> dict[Contract, int]:
    """Contracts of one unit of a spread within a market, when `first` is the contract of its first leg."""
    return legs_from(spread, _start_of(spread, first, rolls), rolls)


def _start_of(spread: Spread, first: Contract, rolls: RollParameters) -> Contract:
    start = first
    for _ in range(spread.legs[0].chain):
        start = previous_in_cycle(start, rolls.hold_cycle)
    return start


def units_held(spread: Spread, held: Mapping[Contract, int], rolls: RollParameters) -> dict[Contract, int]:
    """Units of a spread by the priced contract each goes back to, given the contracts held for it.

    Raises ValueError when the contracts held are not whole units: a leg is missing, which only a person can judge.
    """
    left = {contract: quantity for contract, quantity in held.items() if quantity}
    found: dict[Contract, int] = {}
    while left:
        nearest = min(left)
        units, odd = divmod(left[nearest], spread.legs[0].ratio)
        if odd or len(found) > len(held):
            odds = ", ".join(f"{quantity:+d} {contract.date}" for contract, quantity in sorted(held.items()))
            raise ValueError(f"{spread.code} holds {odds}: no whole number of spreads; trade the odd leg by hand")
        start = _start_of(spread, nearest, rolls)
        found[start] = units
        for contract, ratio in legs_from(spread, start, rolls).items():
            left[contract] = left.get(contract, 0) - units * ratio
            if left[contract] == 0:
                del left[contract]
    return found


def whole_units(spread: Spread, held: Mapping[Contract, int], rolls: Mapping[str, RollParameters]) -> int:
    """Units of a spread that the contracts held for it make up.

    Between markets only how many are held of each market counts, as the contracts roll with their markets. rolls: by
    market. Raises ValueError when they are not whole units.

    >>> notes = Spread("NOTES", (SpreadLeg("US2", 4), SpreadLeg("US5", -1)))
    >>> whole_units(notes, {Contract("US2", "20240300"): -8, Contract("US5", "20240600"): 2}, {})
    -2
    """
    if spread.within_one_market:
        return sum(units_held(spread, held, rolls[spread.markets[0]]).values())
    totals = dict.fromkeys(spread.markets, 0)
    for contract, quantity in held.items():
        totals[contract.instrument] = totals.get(contract.instrument, 0) + quantity
    units = totals[spread.legs[0].instrument] // spread.legs[0].ratio
    wanted = {leg.instrument: units * leg.ratio for leg in spread.legs}
    if totals != wanted:
        odds = ", ".join(f"{quantity:+d} {market}" for market, quantity in totals.items())
        raise ValueError(f"{spread.code} holds {odds}: no whole number of spreads; trade the odd leg by hand")
    return units


def combined(*parts: tuple[Mapping[Contract, int], int]) -> tuple[OrderLeg, ...]:
    """Legs of (contracts of one unit, units) added up, nearest first; contracts that cancel out are left away."""
    total: dict[Contract, int] = {}
    for legs, units in parts:
        for contract, ratio in legs.items():
            total[contract] = total.get(contract, 0) + ratio * units
    return tuple(OrderLeg(contract, quantity) for contract, quantity in sorted(total.items()) if quantity)


def units_filled(children: Sequence[ContractOrder]) -> int:
    """Whole units filled of an order for a spread, signed: what the leg that lags behind allows.

    Orders within a market each trade whole units and add up. Between markets each market is one leg, whatever its
    contracts. The instrument order plays no part, because some of it may have been netted.
    """
    return sum(
        _whole_units(tuple(leg.wanted for leg in legs), tuple(leg.filled for leg in legs))
        for legs in _spreads_among(children)
    )


def unit_price(children: Sequence[ContractOrder], point_sizes: Mapping[str, float]) -> float | None:
    """Average price of the whole units filled of a spread, from its legs' average prices; None while there are none.

    Each spread among the orders counts with its own units. point_sizes: of each market; the price is in points of the
    first leg's. None as well when a filled leg has no price.
    """
    first = point_sizes[min(children, key=lambda child: child.id).instrument]
    units, value = 0, 0.0
    for legs in _spreads_among(children):
        own = _whole_units(tuple(leg.wanted for leg in legs), tuple(leg.filled for leg in legs))
        if own == 0:
            continue
        ratios, _ = lowest_terms(tuple(leg.wanted for leg in legs))
        for leg, ratio in zip(legs, ratios, strict=True):
            if leg.average is None:
                return None
            value += own * ratio * leg.average * (point_sizes[leg.market] / first)
        units += own
    return value / units if units else None


@dataclass(slots=True)
class _LegTotal:
    """One leg of a spread over the orders it is traded by. Contracts, signed."""

    market: str
    wanted: int = 0
    filled: int = 0
    value: float | None = 0.0  # sum of contracts x price; None when a price is missing

    def add(self, leg: OrderLeg) -> None:
        self.wanted += leg.trade
        self.filled += leg.fill
        if leg.fill and self.value is not None:
            self.value = None if leg.filled_price is None else self.value + leg.fill * leg.filled_price

    @property
    def average(self) -> float | None:
        return None if self.value is None or self.filled == 0 else self.value / self.filled


def _spreads_among(children: Sequence[ContractOrder]) -> list[list[_LegTotal]]:
    """Legs of each spread among the orders: one order is one, between markets all are one."""
    ordered = sorted(children, key=lambda child: child.id)  # the first leg's ratio is positive
    between = any(child.inter_spread_order for child in children)
    found: list[list[_LegTotal]] = []
    for child in ordered:
        if not (between and found):
            found.append([])
        for leg in child.legs:
            known = [total for total in found[-1] if between and total.market == child.instrument]
            if not known:
                known = [_LegTotal(child.instrument)]
                found[-1] += known
            known[0].add(leg)
    return found


def _whole_units(wanted: tuple[int, ...], filled: tuple[int, ...]) -> int:
    """Whole units of the lowest terms of `wanted` that `filled` covers, signed as wanted."""
    ratios, units = lowest_terms(wanted)
    sign = 1 if units > 0 else -1
    return sign * max(
        0,
        min(
            sign * fill // ratio if ratio > 0 else -sign * fill // -ratio
            for fill, ratio in zip(filled, ratios, strict=True)
        ),
    )
