"""Position limits: how much of a trade is allowed. Quantities are whole contracts, signed."""

from collections.abc import Iterable


def within_position_limit(position: int, trade: int, limit: int) -> int:
    """The part of `trade` after which the position is within plus or minus `limit`.

    A position already beyond the limit is cut back to it, even when no trade was asked for.

    >>> within_position_limit(5, 0, 3), within_position_limit(2, 2, 3), within_position_limit(5, -9, 3)
    (-2, 1, -8)
    """
    return max(-limit, min(limit, position + trade)) - position


def within_limits(position: int, trade: int, limits: Iterable[int]) -> int:
    """`within_position_limit` for the tightest of several limits; without any, the trade as it is."""
    tightest = min(limits, default=None)
    return trade if tightest is None else within_position_limit(position, trade, tightest)
