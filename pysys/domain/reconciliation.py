"""Whether positions and trades are what they should be, seen from three sides: targets, our records, the broker."""

from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass
from math import isnan
from typing import Generic, TypeGuard, TypeVar

from pysys.domain.orders import Fill
from pysys.domain.targets import outside_buffer

Key = TypeVar("Key", bound=Hashable)

_WAITS_FOR_A_PRICE = frozenset({"conditional", "limit"})


@dataclass(frozen=True, slots=True)
class Target:
    """The latest optimal position of a strategy in an instrument. Contracts, not rounded."""

    kind: str  # buffered, simple, conditional, limit, spread
    position: float | None
    lower: float | None
    upper: float | None


def is_break(held: int, target: Target) -> bool | None:
    """Is a held position outside its target? None when that cannot be said.

    It cannot without a number, and for a target that waits for a price. Buffered: outside the rounded buffer.
    Simple and spread: other than the rounded target. Rounding is half to even.

    >>> is_break(3, Target("buffered", None, 2.211, 2.432))
    True
    >>> is_break(1, Target("simple", 0.5, None, None))
    True
    """
    if target.kind in _WAITS_FOR_A_PRICE:
        return None
    if target.kind == "buffered":
        if not _is_number(target.lower) or not _is_number(target.upper):
            return None
        return outside_buffer(held, target.lower, target.upper)
    return held != round(target.position) if _is_number(target.position) else None


def _is_number(value: float | None) -> TypeGuard[float]:
    return value is not None and not isnan(value)


@dataclass(frozen=True, slots=True, order=True)
class PositionBreak(Generic[Key]):
    """Two records of one position that differ. Signed contracts."""

    key: Key
    ours: int
    theirs: int


def position_breaks(ours: Mapping[Key, int], theirs: Mapping[Key, int]) -> list[PositionBreak[Key]]:
    """Every key in which two records differ; a key that is missing is flat.

    >>> position_breaks({"CORN": 3, "V2X": 0}, {"CORN": 2})
    [PositionBreak(key='CORN', ours=3, theirs=2)]
    """
    keys = sorted({*ours, *theirs}, key=str)
    return [
        PositionBreak(key, ours.get(key, 0), theirs.get(key, 0))
        for key in keys
        if ours.get(key, 0) != theirs.get(key, 0)
    ]


@dataclass(frozen=True, slots=True)
class TradeBreak:
    """An execution the two sides do not agree about."""

    execution_id: str
    what: str  # missing_here, missing_at_broker, differs
    ours: Fill | None
    theirs: Fill | None


def trade_breaks(ours: Iterable[Fill], theirs: Iterable[Fill]) -> list[TradeBreak]:
    """Executions known to one side only, or told differently in contract, quantity or price."""
    here = {fill.execution_id: fill for fill in ours}
    there = {fill.execution_id: fill for fill in theirs}
    found = []
    for execution_id in sorted({*here, *there}):
        mine, other = here.get(execution_id), there.get(execution_id)
        if mine is None:
            found.append(TradeBreak(execution_id, "missing_here", None, other))
        elif other is None:
            found.append(TradeBreak(execution_id, "missing_at_broker", mine, None))
        elif (mine.contract, mine.quantity, mine.price) != (other.contract, other.quantity, other.price):
            found.append(TradeBreak(execution_id, "differs", mine, other))
    return found
