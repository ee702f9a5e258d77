"""Orders of the three levels and the fills that move positions."""

import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from enum import StrEnum

from pysys.domain.conditions import Condition
from pysys.domain.contracts import Contract


@dataclass(frozen=True, slots=True)
class Leg:
    """One contract of an order and how many to trade: signed, +2 buys two."""

    contract: Contract
    quantity: int


@dataclass(frozen=True, slots=True)
class BrokerIds:
    """What an order is called at the broker; blank or None where the broker has not said, or has no such thing."""

    permanent_id: str = ""  # the broker's own, for good
    account: str = ""
    client_id: int | None = None  # of the connection it was sent on
    temporary_id: str = ""  # of that connection's life

    def with_news(self, told: "BrokerIds") -> "BrokerIds":
        """These, with what is told now where something is."""
        return BrokerIds(
            told.permanent_id if told.permanent_id else self.permanent_id,
            told.account if told.account else self.account,
            self.client_id if told.client_id is None else told.client_id,
            told.temporary_id if told.temporary_id else self.temporary_id,
        )


@dataclass(frozen=True, slots=True)
class Fill:
    """One execution of one leg as the broker reported it. A fact: appended once, never edited.

    Identity is (broker, execution_id), so hearing it twice changes nothing.
    """

    broker: str
    execution_id: str
    order_ref: str  # ours, stored before the order was sent
    contract: Contract
    quantity: int  # signed contracts
    price: float  # quote points, before the contract multiplier
    filled_at: datetime  # UTC
    commission: float | None = None  # positive cost; None until the broker reports it
    commission_currency: str | None = None
    corrects: str | None = None  # execution this one replaces; what that one moved is moved back
    reverses: str | None = None  # execution this one takes back (a bust): the quantity is minus that one's
    ids: BrokerIds = field(default=BrokerIds(), compare=False)  # of the order, as far as the execution says

    def __post_init__(self) -> None:
        if self.corrects is not None and self.reverses is not None:
            raise ValueError(f"fill {self.execution_id}: it replaces one execution or takes one back, not both")
        if self.execution_id in (self.corrects, self.reverses):
            raise ValueError(f"fill {self.execution_id}: it cannot correct itself")
        if self.quantity == 0:
            raise ValueError(f"fill {self.execution_id}: quantity is 0, but a fill moves a position")
        if self.filled_at.tzinfo is None:
            raise ValueError(f"fill {self.execution_id}: filled_at {self.filled_at} has no time zone")


ROLL_PSEUDO_STRATEGY = "_ROLL_PSEUDO_STRATEGY"  # owner of roll orders: they move contracts, not a strategy


class InstrumentOrderType(StrEnum):
    """How an instrument order wants to be executed."""

    BEST = "best"
    MARKET = "market"
    LIMIT = "limit"
    ZERO_ROLL = "Zero-roll-order"
    BALANCE = "balance trade"
    PANIC = "panic"  # at the market, whole, without resizing and trade limits


class OrderStatus(StrEnum):
    """Life of an instrument or contract order."""

    OPEN = "open"
    DONE = "done"  # the whole family is filled
    CANCELLED = "cancelled"  # ended by the end of day or a person, filled in part or not at all
    FAILED = "failed"


class BrokerOrderStatus(StrEnum):
    """Life of a broker order, as far as the broker has told us."""

    INTENDED = "intended"  # written down, perhaps sent
    WORKING = "working"
    FILLED = "filled"
    CANCELLED = "cancelled"
    REJECTED = "rejected"


@dataclass(frozen=True, slots=True)
class InstrumentOrder:
    """What a strategy wants to trade in one instrument, before any contract is chosen."""

    strategy: str
    instrument: str
    trade: int  # contracts, signed; 0 for a roll
    order_type: InstrumentOrderType
    generated_at: datetime  # UTC
    reference_price: float | None = None
    reference_contract: str | None = None
    reference_time: datetime | None = None
    roll_order: bool = False
    manual_trade: bool = False
    note: str = ""
    id: int = 0  # 0 until stored
    fill: int = 0
    filled_price: float | None = None
    limit_price: Decimal | None = None  # of limit_contract
    limit_contract: str | None = None
    condition: Condition | None = None  # tested when its contract order is made
    waits_for: str = ""  # why it has no contract order yet
    guard_overridden: str = ""  # who let it break overrides and position limits, and why; blank: nobody

    @property
    def unfilled(self) -> int:
        return self.trade - self.fill


@dataclass(frozen=True, slots=True)
class OrderLeg:
    """One contract of a stored order: how many to trade and how many of them are filled, signed."""

    contract: Contract
    trade: int
    fill: int = 0
    filled_price: float | None = None

    @property
    def remaining(self) -> int:
        """What is still to be traded, never of the other sign: a leg filled beyond its trade is filled."""
        return 0 if abs(self.fill) >= abs(self.trade) and self.fill * self.trade > 0 else self.trade - self.fill

    @property
    def is_overfilled(self) -> bool:
        """Whether more was traded than asked for, or the other way."""
        return self.fill * self.trade < 0 or abs(self.fill) > abs(self.trade)


@dataclass(frozen=True, slots=True)
class ContractOrder:
    """An instrument order resolved into contracts. Two legs are a calendar spread."""

    strategy: str
    instrument: str
    legs: tuple[OrderLeg, ...]
    order_type: InstrumentOrderType
    generated_at: datetime  # UTC
    reference_price: float | None = None  # of the contract traded; of a spread in lowest terms
    roll_order: bool = False
    algo_to_use: str = ""
    sequence: int = 0  # waits for the orders of its family with a lower one
    limit_price: Decimal | None = None  # of the contract traded, on its tick; of a spread in lowest terms
    locked: bool = False  # by a person: nothing new is sent for it
    controlling_algo: str | None = None  # the algo that works it now, at the broker
    claimed_by: str | None = None  # the process that algo is in: host|pid|boot id|run id
    claim_heartbeat_at: datetime | None = None  # its last sign of life, UTC of the real world
    claim_until: datetime | None = None  # until when the claim is believed without another, UTC of the real world
    note: str = ""  # why nothing is sent for it, while nothing is
    inter_spread_order: bool = False  # one leg of an instrument that is a spread between markets
    manual_trade: bool = False
    id: int = 0
    parent_id: int = 0

    @property
    def is_filled(self) -> bool:
        """Whether every leg has traded what was asked for, or more."""
        return all(leg.remaining == 0 for leg in self.legs)

    @property
    def is_overfilled(self) -> bool:
        return any(leg.is_overfilled for leg in self.legs)


@dataclass(frozen=True, slots=True)
class BrokerOrder:
    """What was, or is about to be, sent to the broker. Written down before it is sent."""

    order_ref: str
    parent_id: int  # contract order
    strategy: str
    instrument: str
    legs: tuple[OrderLeg, ...]
    order_type: str  # market, limit
    algo_used: str
    broker: str
    created_at: datetime  # UTC
    status: BrokerOrderStatus = BrokerOrderStatus.INTENDED
    limit_price: Decimal | None = None  # as first sent
    side_price: float | None = None  # what a market order would pay, when written
    mid_price: float | None = None
    offside_price: float | None = None
    roll_order: bool = False
    submitted_at: datetime | None = None  # when the broker had it; of one it never answered about, when it was sent
    cancel_requested_at: datetime | None = None
    algo_state: dict[str, str | float | bool | None] = field(default_factory=dict)
    ids: BrokerIds = BrokerIds()
    active: bool = True  # its fate is not settled
    id: int = 0

    @property
    def is_filled(self) -> bool:
        return all(leg.remaining == 0 for leg in self.legs)

    @property
    def is_open(self) -> bool:
        return self.status in (BrokerOrderStatus.INTENDED, BrokerOrderStatus.WORKING)


def lowest_terms(quantities: tuple[int, ...]) -> tuple[tuple[int, ...], int]:
    """Ratios in lowest terms with the first positive, and how many units of them: ratio x units = quantities.

    >>> lowest_terms((-4, 4))
    ((1, -1), -4)
    """
    divisor = math.gcd(*quantities)
    if divisor == 0:
        raise ValueError(f"legs {quantities} trade nothing")
    units = divisor if quantities[0] > 0 else -divisor
    return tuple(quantity // units for quantity in quantities), units


def spread_price(quantities: tuple[int, ...], prices: tuple[float, ...]) -> float:
    """Price of one unit of a spread: legs in lowest terms, first positive. Of one leg, its price."""
    ratios, _ = lowest_terms(quantities)
    return sum(ratio * price for ratio, price in zip(ratios, prices, strict=True))


def average_price(fills: Iterable[tuple[int, float]]) -> float | None:
    """Average of (quantity, price) weighted by size; None without a quantity.

    >>> average_price([(9, 100.0), (1, 110.0)])
    101.0
    """
    sizes = [(abs(quantity), price) for quantity, price in fills]
    total = sum(size for size, _ in sizes)
    return None if total == 0 else sum(size * price for size, price in sizes) / total
