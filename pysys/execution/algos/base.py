"""What an algo sees and what it can ask for."""

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Protocol

from pysys.broker.port import Quote
from pysys.domain.instruments import on_tick
from pysys.domain.orders import BrokerOrder, lowest_terms, spread_price

TIME_OUT_SECONDS = 600  # a broker order that has not filled by then is cancelled


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

    @property
    def mid(self) -> float:
        return float(self.side + self.offside) / 2


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
    )


@dataclass(frozen=True, slots=True)
class Send:
    """Send this: a market order, or a limit order when a limit price is given."""

    limit_price: Decimal | None = None


@dataclass(frozen=True, slots=True)
class Wait:
    """Nothing to do now, and why."""

    reason: str = ""


@dataclass(frozen=True, slots=True)
class Modify:
    """Move the limit, and why."""

    limit_price: Decimal
    reason: str


@dataclass(frozen=True, slots=True)
class Cancel:
    """Ask for a cancel, and why."""

    reason: str


class Algo(Protocol):
    """A state machine without state of its own: what it has to remember is in `order.algo_state`."""

    def first(self, quantity: int, market: OrderMarket) -> Send:
        """What to send for `quantity` contracts of the smallest leg."""
        ...

    def next(self, order: BrokerOrder, market: OrderMarket | None, now: datetime) -> Wait | Modify | Cancel:
        """What to do with an order the broker is working; the market is None without a full book."""
        ...


def timed_out(order: BrokerOrder, now: datetime) -> bool:
    return (now - order.created_at).total_seconds() >= TIME_OUT_SECONDS
