"""What is left over when contracts that belong together were traded unevenly: legs of a spread, or of a roll.

A roll moves contracts and no strategy's position. Cut off between leaving one contract and entering the next, it owes
the rest: without it the position that strategies own is not held any more.
"""

import math
from collections.abc import Iterable, Mapping
from typing import TypeVar

from pysys.domain.contracts import Contract
from pysys.domain.orders import ContractOrder

LEAVES, ENTERS, OWED = 0, 1, 2  # sequence of a roll's contract orders: its own, then what makes good what they left

Key = TypeVar("Key")


def still_owed(wanted: Mapping[Key, int], filled: Mapping[Key, int], *, trade_back: bool = False) -> dict[Key, int]:
    """What makes the fills of something with several legs even, at the next whole unit of it; nothing when they are.

    wanted, filled: contracts by leg, signed. A unit is `wanted` in lowest terms; the leg that is furthest decides how
    many. Nothing is owed of what has not begun. trade_back: a leg filled beyond what was wanted, which the others have
    not followed, is traded back; else they follow it.

    >>> still_owed({"APR": -4, "JUN": 4}, {"APR": -3, "JUN": 1})
    {'JUN': 2}
    >>> still_owed({"APR": -4, "JUN": 4}, {"JUN": 1}), still_owed({"APR": -4, "JUN": 4}, {"APR": -2, "JUN": 2})
    ({'APR': -1}, {})
    >>> still_owed({"APR": -1, "JUN": 2, "AUG": -1}, {"APR": -1, "JUN": 1})
    {'JUN': 1, 'AUG': -1}
    >>> still_owed({"APR": -1, "JUN": 1}, {"APR": -1, "JUN": 2}, trade_back=True)
    {'JUN': -1}
    """
    legs = {leg: quantity for leg, quantity in wanted.items() if quantity}
    divisor = math.gcd(*legs.values())
    unit = {leg: quantity // divisor for leg, quantity in legs.items()} if divisor else {}
    begun = max((-(-filled.get(leg, 0) // ratio) for leg, ratio in unit.items()), default=0)
    units = max(0, begun)
    if trade_back and units > divisor:
        units = max(divisor, min(filled.get(leg, 0) // ratio for leg, ratio in unit.items()))
    owed = {leg: units * unit.get(leg, 0) - filled.get(leg, 0) for leg in dict.fromkeys([*wanted, *filled])}
    return {leg: quantity for leg, quantity in owed.items() if quantity}


def uneven(order: ContractOrder) -> dict[Contract, int]:
    """What the legs of one order lack of each other; nothing when they are filled evenly."""
    return still_owed({leg.contract: leg.trade for leg in order.legs}, {leg.contract: leg.fill for leg in order.legs})


def roll_debt(children: Iterable[ContractOrder]) -> dict[Contract, int]:
    """What a roll still owes, given every contract order it has had, ended ones too; nothing between whole units.

    More than was to be rolled is not held, so what one leg has traded beyond that is traded back.
    """
    wanted: dict[Contract, int] = {}
    filled: dict[Contract, int] = {}
    for child in children:
        for leg in child.legs:
            filled[leg.contract] = filled.get(leg.contract, 0) + leg.fill
            if child.sequence < OWED:
                wanted[leg.contract] = wanted.get(leg.contract, 0) + leg.trade
    return still_owed(wanted, filled, trade_back=True)


def told(owed: Mapping[Contract, int]) -> str:
    """For people: quantities and contracts."""
    return ", ".join(f"{quantity:+d} {contract}" for contract, quantity in sorted(owed.items()))
