"""Which contracts a trade in an instrument is done in, and in which order. Signed contracts.

The same rules serve a spread: there a contract stands for the whole spread that starts at it, and positions are units.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from pysys.domain.contracts import Contract
from pysys.domain.roll_split import roll_state_split
from pysys.domain.roll_states import RollState

REDUCES, OPENS = 0, 1  # sequence: what opens waits for what reduces


@dataclass(frozen=True, slots=True)
class Standing:
    """Where an instrument stands between two contracts, and what is held of it."""

    state: RollState
    priced: Contract
    forward: Contract
    positions: Mapping[Contract, int]  # orders being worked included; of every contract held

    @property
    def priced_position(self) -> int:
        return self.positions.get(self.priced, 0)

    @property
    def total(self) -> int:
        return sum(self.positions.values())


@dataclass(frozen=True, slots=True)
class Part:
    """The part of a trade that is done in one contract."""

    contract: Contract
    trade: int
    sequence: int  # REDUCES or OPENS


def choose_contracts(standing: Standing, trade: int, *, panic: bool = False) -> tuple[Part, ...]:
    """The parts of `trade`, which sum to it; none while the roll state lets nothing through, unless it is a panic.

    What is held on the other side is reduced first, the nearest contract first, and never through zero; what is left
    opens in the priced contract, or while rolling in the forward one, once the reduction is done. A trade that brings
    the sum to zero closes every contract, so no spread between months is left behind.
    """
    if not panic and roll_state_split(standing.state, standing.priced_position, trade) == (0, 0):
        return ()
    if trade == -standing.total and trade != 0:
        return close_all(standing)
    left = trade
    parts = []
    for contract, held in sorted(standing.positions.items()):
        if held * left < 0:
            reduced = -held if abs(held) < abs(left) else left
            parts.append(Part(contract, reduced, REDUCES))
            left -= reduced
    if left:
        rolling = standing.state not in (RollState.NO_ROLL, RollState.NO_OPEN)
        parts.append(Part(standing.forward if rolling else standing.priced, left, OPENS if parts else REDUCES))
    return tuple(parts)


def own_positions(held: Mapping[Contract, int], legs: int, priced: Contract) -> dict[Contract, int]:
    """What is held besides `legs` contracts, net, that belong to spreads between markets and roll with the market.

    Which contracts the legs are in now is taken from what is held: those on their side, the nearest first. What is
    hidden behind the opposite position is where the last of them is, or in the nearest contract held; with none held at
    all, in the priced one.

    >>> april, june = Contract("GOLD", "20240400"), Contract("GOLD", "20240600")
    >>> own_positions({april: -1}, -2, april) == {april: 1}
    True
    >>> own_positions({april: 3, june: -1}, -1, april) == {april: 3}
    True
    """
    own, left, place = dict(held), legs, min((contract for contract in held if held[contract]), default=priced)
    for contract, position in sorted(held.items()):
        if position * left > 0:
            taken = min(position, left) if left > 0 else max(position, left)
            own[contract], left, place = position - taken, left - taken, contract
    own[place] = own.get(place, 0) - left
    return {contract: position for contract, position in own.items() if position}


def close_all(standing: Standing) -> tuple[Part, ...]:
    """Close every contract held, by itself."""
    return tuple(Part(contract, -held, REDUCES) for contract, held in sorted(standing.positions.items()) if held)
