"""How a trade in an instrument divides between its priced and its forward contract while it rolls.

Quantities are signed contracts. A flat position counts as long (sign +1), which matters to the forced states only.
"""

from pysys.domain.roll_states import RollState


def _sign(quantity: int) -> int:
    return 1 if quantity >= 0 else -1


def passive_roll_split(priced_position: int, trade: int) -> tuple[int, int]:
    """(priced, forward) contracts of `trade`: reductions leave the priced contract, everything else goes forward.

    >>> passive_roll_split(-2, 5)
    (2, 3)
    >>> passive_roll_split(3, 1)
    (0, 1)
    """
    if priced_position == 0 or _sign(trade) == _sign(priced_position):
        return 0, trade
    after = priced_position + trade
    if after == 0 or _sign(after) == _sign(priced_position):
        return trade, 0
    return -priced_position, after


def roll_state_split(state: RollState, priced_position: int, trade: int) -> tuple[int, int]:
    """(priced, forward) contracts of `trade` in this roll state; (0, 0) when the state lets nothing through.

    Forced states let through only a trade against the priced position, whose part beyond zero opens in the forward
    contract. A flat position counts as long: a sale is let through, a purchase is not.

    >>> roll_state_split(RollState.FORCE, 2, -5), roll_state_split(RollState.FORCE, 2, 1)
    ((-2, -3), (0, 0))
    """
    if state in (RollState.NO_ROLL, RollState.NO_OPEN):
        return trade, 0
    if state in (RollState.CLOSE, RollState.ROLL_ADJUSTED):
        return 0, 0
    if state is not RollState.PASSIVE and _sign(trade) == _sign(priced_position):
        return 0, 0
    return passive_roll_split(priced_position, trade)
