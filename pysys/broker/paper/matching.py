"""How an order meets the displayed book: touch prices, thinnest leg, time priority. Pure.

A spread trades in whole units of its legs in lowest terms, every leg against the opposite touch of its own
contract, so a partial fill never leaves the legs out of proportion.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from math import gcd

from pysys.domain.contracts import Contract
from pysys.domain.instruments import on_tick
from pysys.domain.orders import Leg


@dataclass(frozen=True, slots=True)
class Touch:
    """The best prices of one contract, on the tick, and the contracts still displayed there this minute."""

    bid: Decimal
    ask: Decimal
    bid_size: int
    ask_size: int

    def price(self, quantity: int) -> Decimal:
        """What a trade of signed `quantity` pays or gets: the ask when buying, the bid when selling."""
        return self.ask if quantity > 0 else self.bid

    def size(self, quantity: int) -> int:
        """Contracts displayed on the side that a trade of signed `quantity` takes."""
        return self.ask_size if quantity > 0 else self.bid_size

    def less(self, bought: int, sold: int) -> "Touch":
        """The touch after others bought and sold so many contracts (both positive)."""
        return replace(self, bid_size=max(0, self.bid_size - sold), ask_size=max(0, self.ask_size - bought))


@dataclass(frozen=True, slots=True)
class Working:
    """What matching needs of an order: its legs as ordered, units of them already done, its limit."""

    order_ref: str
    legs: tuple[Leg, ...]
    units_done: int
    limit_price: Decimal | None  # None is a market order


@dataclass(frozen=True, slots=True)
class LegTrade:
    """One leg of a match: signed contracts of the order's leg number `leg`, at a price on the tick."""

    leg: int
    contract: Contract
    quantity: int
    price: Decimal


@dataclass(frozen=True, slots=True)
class Match:
    """What one order trades in one minute: every leg, in the order's own sequence."""

    order_ref: str
    trades: tuple[LegTrade, ...]


def units_of(quantities: Sequence[int]) -> int:
    """How often the lowest terms of `quantities` are ordered.

    >>> units_of([-6, 4])
    2
    """
    return gcd(*quantities)


def unit_price(quantities: Sequence[int], prices: Sequence[Decimal]) -> Decimal:
    """Price of one unit: sum of ratio x price, legs in lowest terms, the first leg positive.

    >>> unit_price([-6, 4], [Decimal(10), Decimal(12)])
    Decimal('6')
    """
    scale = units_of(quantities) * (1 if quantities[0] > 0 else -1)
    return sum((q // scale * price for q, price in zip(quantities, prices, strict=True)), Decimal(0))


def inside_limit(quantities: Sequence[int], price: Decimal, limit_price: Decimal | None) -> bool:
    """Whether a unit price is as good as the limit: at most it when the first leg buys, else at least it."""
    if limit_price is None:
        return True
    return price <= limit_price if quantities[0] > 0 else price >= limit_price


def limit_on_tick(limit_price: Decimal, tick_size: float | None) -> bool:
    """Whether a limit price is a whole number of ticks; without a known tick every price is."""
    return tick_size is None or on_tick(limit_price, tick_size) == limit_price


def match_one(order: Working, touches: Mapping[Contract, Touch | None]) -> Match | None:
    """What `order` trades against these touches at once; None when nothing.

    touches: by contract, None where nothing is quoted. A limit order trades at the opposite touch, so it is
    given any improvement on its limit.
    """
    quantities = [leg.quantity for leg in order.legs]
    quoted = [touches[leg.contract] for leg in order.legs]
    prices, sizes = [], []
    for quantity, touch in zip(quantities, quoted, strict=True):
        if touch is None:
            return None
        prices.append(touch.price(quantity))
        sizes.append(touch.size(quantity))
    if not inside_limit(quantities, unit_price(quantities, prices), order.limit_price):
        return None
    ordered = units_of(quantities)
    ratio = [quantity // ordered for quantity in quantities]
    displayed = min(size // abs(r) for size, r in zip(sizes, ratio, strict=True))
    units = min(ordered - order.units_done, displayed)
    if units <= 0:
        return None
    return Match(
        order.order_ref,
        tuple(
            LegTrade(number, leg.contract, r * units, price)
            for number, (leg, r, price) in enumerate(zip(order.legs, ratio, prices, strict=True))
        ),
    )


def match_in_turn(orders: Iterable[Working], touches: Mapping[Contract, Touch | None]) -> list[Match]:
    """What orders trade in one minute, first come first served: an earlier one leaves less for the later."""
    left = dict(touches)
    matches = []
    for order in orders:
        match = match_one(order, left)
        if match is None:
            continue
        matches.append(match)
        for trade in match.trades:
            touch = left[trade.contract]
            if touch is not None:
                left[trade.contract] = touch.less(max(trade.quantity, 0), max(-trade.quantity, 0))
    return matches


def commission_due(charged: float, total: float) -> float:
    """What a further partial fill adds when commission on all filled so far is `total`; never a refund."""
    return max(0.0, total - charged)
