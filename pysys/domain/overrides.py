"""Overrides: an operator's brake on a strategy, an instrument, or one in the other."""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from pysys.domain.limits import not_beyond

OverrideKind = Literal["factor", "close", "reduce_only", "no_trading"]
_STRICTEST_FIRST: tuple[OverrideKind, ...] = ("no_trading", "close", "reduce_only")


@dataclass(frozen=True, slots=True)
class Override:
    """What a position may do. A factor of 1 changes nothing; of 0.5 halves the position wanted."""

    kind: OverrideKind
    factor: float = 1.0

    def __post_init__(self) -> None:
        if self.kind == "factor" and not 0 <= self.factor <= 1:
            raise ValueError(f"an override factor of {self.factor} is outside 0 to 1")

    def __str__(self) -> str:
        return f"factor {self.factor:g}" if self.kind == "factor" else self.kind.replace("_", " ")

    @property
    def only_reduces(self) -> bool:
        """Whether a position may only become smaller."""
        return self.closes or self.kind == "reduce_only"

    @property
    def closes(self) -> bool:
        """Whether a position is to end."""
        return self.kind == "close" or (self.kind == "factor" and self.factor == 0)


NO_OVERRIDE = Override("factor", 1.0)


def combine(overrides: Iterable[Override]) -> Override:
    """The override several scopes amount to: no trading, then close, then reduce only, else the product."""
    given = list(overrides)
    for kind in _STRICTEST_FIRST:
        if any(override.kind == kind for override in given):
            return Override(kind)
    return Override("factor", math.prod(override.factor for override in given))


def apply_override(override: Override, position: int, trade: int) -> int:
    """The trade that is left of `trade` with `position` held. Contracts, signed.

    A factor scales the position wanted and rounds it toward zero, for longs and shorts alike.

    >>> apply_override(Override("factor", 0.5), position=0, trade=-3)
    -1
    >>> apply_override(Override("reduce_only"), position=5, trade=-8)
    -5
    """
    wanted = position + trade
    if override.kind == "no_trading":
        return 0
    if override.kind == "close":
        return -position
    if override.kind == "reduce_only":
        if wanted * position < 0 or wanted == 0:
            return -position
        return 0 if abs(wanted) > abs(position) else trade
    if override.factor == 1.0:
        return trade
    return math.trunc(wanted * override.factor) - position


def left_of(override: Override, position: int, trade: int) -> int:
    """What an override leaves of a trade decided without it: before it was set, or by a person.

    A factor scales what a strategy wants, so it has had its say by then; only one of 0 still has.

    >>> [left_of(each, 5, -8) for each in (Override("close"), Override("factor", 0.5), Override("no_trading"))]
    [-5, -8, 0]
    """
    if override.kind == "no_trading":
        return 0
    return not_beyond(position, trade, 0) if override.only_reduces else trade
