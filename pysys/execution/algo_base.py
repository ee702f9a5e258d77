"""What an algo sees and what it can ask for."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal
from typing import Protocol

from pysys.broker.port import OrderType, Quote
from pysys.domain.instruments import on_tick
from pysys.domain.orders import BrokerOrder, lowest_terms, spread_price

TIME_OUT_SECONDS = 600  # a broker order that has not filled by then is cancelled

AlgoState = Mapping[str, str | float | bool | None]


@dataclass(frozen=True, slots=True)
class OrderMarket:
    """The book as one order meets it. Of a spread: built from its legs, in lowest terms, first leg positive.

    side: what a market order would pay; offside: the passive side; sizes are the smallest of the legs', in contracts.
    """

    side: Decimal
    offside: Decimal
    aggressive_size: int  # displayed on the side a market order would take
    passive_size: int  # displayed on the side a passive order would join
    direction: int  # +1 buys the price, -1 sells it
    short_of_time: bool  # the session, or the stack handler's day, ends soon
    tick_size: float | None = None

    @property
    def mid(self) -> float:
        return float(self.side + self.offside) / 2

    @property
    def passive_mid(self) -> Decimal:
        """The mid price on the tick: of the two next to it, the better one for us."""
        middle = (self.side + self.offside) / 2
        if self.tick_size is None:
            return on_tick(middle, None)
        tick = Decimal(str(self.tick_size))
        rounding = ROUND_FLOOR if self.direction > 0 else ROUND_CEILING
        return ((middle / tick).quantize(Decimal(1), rounding=rounding) * tick).normalize()


def market_of(
    quantities: tuple[int, ...], quotes: tuple[Quote, ...], tick_size: float | None, *, short_of_time: bool
) -> OrderMarket:
    """The book for trading `quantities` (signed, per leg) given the top of each leg's book.

    A buyer pays the ask and joins the bid of each leg it buys, and the reverse of each leg it sells.
    """
    pairs = list(zip(quantities, quotes, strict=True))
    side = tuple(quote.ask if quantity > 0 else quote.bid for quantity, quote in pairs)
    offside = tuple(quote.bid if quantity > 0 else quote.ask for quantity, quote in pairs)
    _, units = lowest_terms(quantities)
    return OrderMarket(
        side=on_tick(spread_price(quantities, side), tick_size),
        offside=on_tick(spread_price(quantities, offside), tick_size),
        aggressive_size=min(q.ask_size if quantity > 0 else q.bid_size for quantity, q in pairs),
        passive_size=min(q.bid_size if quantity > 0 else q.ask_size for quantity, q in pairs),
        direction=1 if units > 0 else -1,
        short_of_time=short_of_time,
        tick_size=tick_size,
    )


@dataclass(frozen=True, slots=True)
class Wanted:
    """What an algo is asked to trade."""

    quantity: int  # contracts of the smallest leg, positive
    limit_price: Decimal | None  # of the parent; whatever the algo does, nothing is sent beyond it


@dataclass(frozen=True, slots=True)
class Send:
    """Send this. A limit order has a limit price, the others have none."""

    order_type: OrderType = OrderType.MARKET
    limit_price: Decimal | None = None


@dataclass(frozen=True, slots=True)
class Decline:
    """Send nothing now, and why."""

    reason: str


@dataclass(frozen=True, slots=True)
class Wait:
    """Nothing to do now, and why."""

    reason: str = ""
    remember: AlgoState = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Modify:
    """Move the limit, and why."""

    limit_price: Decimal
    reason: str
    remember: AlgoState = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Cancel:
    """Ask for a cancel, and why."""

    reason: str


Action = Wait | Modify | Cancel


class Algo(Protocol):
    """A state machine without state of its own: what it has to remember is in `order.algo_state`."""

    @property
    def whole_order(self) -> bool:
        """Whether everything is sent in one order, not one lot at a time."""
        ...

    @property
    def unrestricted(self) -> bool:
        """Whether orders are neither cut to size nor held to trade and position limits, and need no quote."""
        ...

    @property
    def cut_to_liquidity(self) -> bool:
        """Whether an order asks for no more than the book displays; one that rests at its price need not."""
        ...

    @property
    def watches_market(self) -> bool:
        """Whether `next` looks at the book; else it is given none, and the broker is not asked for it."""
        ...

    def first(self, wanted: Wanted, market: OrderMarket | None) -> Send | Decline:
        """What to send. The market is None only for an algo without restrictions."""
        ...

    def next(self, order: BrokerOrder, market: OrderMarket | None, now: datetime) -> Action:
        """What to do with an order the broker is working; the market is None without a full book."""
        ...


class Patient:
    """What most algos share: one lot at a time, within every limit."""

    whole_order = False
    unrestricted = False
    cut_to_liquidity = True
    watches_market = True


def timed_out(order: BrokerOrder, now: datetime) -> bool:
    return (now - order.created_at).total_seconds() >= TIME_OUT_SECONDS


def current_limit(order: BrokerOrder) -> Decimal | None:
    """The limit an order works at now; None for one without."""
    if order.limit_price is None:
        return None
    return Decimal(str(order.algo_state.get("limit", order.limit_price)))


def better(price: Decimal, other: Decimal, direction: int) -> Decimal:
    """The price that is better for us: the lower when buying, the higher when selling."""
    return min(price, other) if direction > 0 else max(price, other)


def within_parent_limit(send: Send, market: OrderMarket | None, parent_limit: Decimal | None, direction: int) -> Send:
    """The same order, kept from trading beyond its parent's limit: whatever has no limit of its own gets that one."""
    if parent_limit is None:
        return send
    if send.limit_price is not None:
        return Send(OrderType.LIMIT, better(send.limit_price, parent_limit, direction))
    pegged = None if market is None else pegged_price(send.order_type, market)
    price = parent_limit if pegged is None else better(pegged, parent_limit, direction)
    return Send(OrderType.LIMIT, price)


def pegged_price(order_type: OrderType, market: OrderMarket) -> Decimal | None:
    """The limit price at which an order of a snap type stands in this market; None for the other types."""
    match order_type:
        case OrderType.SNAP_MID:
            return market.passive_mid
        case OrderType.SNAP_MARKET:
            return market.side
        case OrderType.SNAP_PRIMARY:
            return market.offside
        case _:
            return None
