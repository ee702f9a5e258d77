"""From what a strategy wants to hold to what it asks to trade. Quantities are signed contracts, or spread units."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from pysys.domain.conditions import Condition
from pysys.domain.orders import InstrumentOrderType


@dataclass(frozen=True, slots=True)
class BufferedTarget:
    """A strategy's wish for one instrument: hold something within [lower, upper] contracts.

    The reference says at which price, of which contract and when the wish was computed, for measuring delay.
    """

    strategy: str
    instrument: str
    time: datetime  # UTC
    position: float  # unrounded contracts
    lower: float
    upper: float
    reference_price: float | None
    reference_contract: str | None
    reference_time: datetime | None

    def __post_init__(self) -> None:
        if not self.lower <= self.upper:
            raise ValueError(f"{self.strategy}/{self.instrument}: buffer {self.lower} to {self.upper} is reversed")


@dataclass(frozen=True, slots=True)
class SimpleTarget:
    """Hold this many contracts, rounded half to even."""

    strategy: str
    instrument: str
    time: datetime  # UTC
    position: float  # unrounded contracts
    reference_price: float | None = None
    reference_contract: str | None = None
    reference_time: datetime | None = None


@dataclass(frozen=True, slots=True)
class LimitTarget:
    """Hold this many contracts, trading at the limit price or better."""

    strategy: str
    instrument: str
    time: datetime  # UTC
    position: float  # unrounded contracts
    limit_price: Decimal
    limit_contract: str  # the contract the limit is a price of
    reference_price: float | None = None
    reference_contract: str | None = None
    reference_time: datetime | None = None


@dataclass(frozen=True, slots=True)
class Branch:
    """Hold `position` contracts once the condition is met."""

    condition: Condition
    position: float


@dataclass(frozen=True, slots=True)
class ConditionalTarget:
    """Keep what is held until a price is reached, then hold what that branch says. Branches are alternatives.

    Enter long at 95, leave at 105 or at 90: `Branch(below 95, 2)`, `Branch(above 105, 0)`, `Branch(below 90, 0)`.
    An entry is asked for while nothing is held and an exit while something is, so that the two do not chase
    each other within one run.
    """

    strategy: str
    instrument: str
    time: datetime  # UTC
    branches: tuple[Branch, ...]
    reference_price: float | None = None
    reference_contract: str | None = None
    reference_time: datetime | None = None

    def __post_init__(self) -> None:
        if not self.branches:
            raise ValueError(f"{self.strategy}/{self.instrument}: a conditional target without a condition")


@dataclass(frozen=True, slots=True)
class SpreadTarget:
    """Hold something within [lower, upper] units of a spread instrument.

    The reference is a spread price, and the contract of each leg it was taken from, in the order of the legs.
    """

    strategy: str
    instrument: str  # code of the spread
    time: datetime  # UTC
    lower: float  # units
    upper: float
    reference_contracts: tuple[str, ...] = ()
    reference_price: float | None = None
    reference_time: datetime | None = None

    def __post_init__(self) -> None:
        if not self.lower <= self.upper:
            raise ValueError(f"{self.strategy}/{self.instrument}: buffer {self.lower} to {self.upper} is reversed")

    @property
    def position(self) -> float:
        return (self.lower + self.upper) / 2

    @property
    def reference_contract(self) -> str | None:
        """Of the first leg, which says where along the chain the spread stood."""
        return self.reference_contracts[0] if self.reference_contracts else None


Target = BufferedTarget | SimpleTarget | LimitTarget | ConditionalTarget | SpreadTarget


@dataclass(frozen=True, slots=True)
class Wish:
    """A trade asked for, and the terms it may be done on. A trade of 0 is a wish to stay put."""

    trade: int
    order_type: InstrumentOrderType = InstrumentOrderType.BEST
    limit_price: Decimal | None = None
    limit_contract: str | None = None
    condition: Condition | None = None

    @property
    def terms(self) -> str:
        if self.condition is not None:
            return str(self.condition)
        return "" if self.limit_price is None else f"limit {self.limit_price} in {self.limit_contract}"


# Targets of one strategy and what it holds by instrument, unfilled orders included; wishes by instrument.
Generator = Callable[[Sequence[Target], Mapping[str, int]], Mapping[str, Sequence[Wish]]]


def wishes_by_kind(targets: Sequence[Target], held: Mapping[str, int]) -> dict[str, tuple[Wish, ...]]:
    """What each target asks for, by its kind."""
    return {target.instrument: wishes(target, held.get(target.instrument, 0)) for target in targets}


def wishes(target: Target, held: int) -> tuple[Wish, ...]:
    """What a target asks for while `held` is held or on its way. Several wishes are alternatives."""
    match target:
        case BufferedTarget() | SpreadTarget():
            return (Wish(trade_into_buffer(held, target.lower, target.upper)),)
        case SimpleTarget():
            return (Wish(round(target.position) - held),)
        case LimitTarget():
            trade = round(target.position) - held
            return (Wish(trade, InstrumentOrderType.LIMIT, target.limit_price, target.limit_contract),)
        case ConditionalTarget():
            return _conditional_wishes(target, held)


def _conditional_wishes(target: ConditionalTarget, held: int) -> tuple[Wish, ...]:
    changes = [(round(branch.position) - held, branch.condition) for branch in target.branches]
    asked = [Wish(trade, condition=condition) for trade, condition in changes if trade != 0]
    exits = [wish for wish in asked if held + wish.trade == 0]
    return tuple(exits or asked) or (Wish(0),)


def trade_into_buffer(held: int, lower: float, upper: float) -> int:
    """Contracts to trade so that `held` reaches the nearer edge of [lower, upper], rounded half to even.

    Inside the buffer nothing is traded, which is what keeps costs down.

    >>> trade_into_buffer(held=14, lower=10.87, upper=13.32), trade_into_buffer(held=9, lower=10.87, upper=13.32)
    (-1, 2)
    >>> trade_into_buffer(held=12, lower=10.87, upper=13.32)
    0
    """
    if held < lower:
        return round(lower) - held
    if held > upper:
        return round(upper) - held
    return 0


def outside_buffer(held: int, lower: float, upper: float) -> bool:
    """Whether a position breaks its rounded buffer, as the reconcile report means it."""
    return held < round(lower) or held > round(upper)
