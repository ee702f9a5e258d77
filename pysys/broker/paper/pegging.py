"""Where orders that follow the book stand, minute by minute. Pure.

An order stands at its price through the next minute, and can be met there; then it moves to where the book is now. One
at the far touch moves first, and so trades whenever something is displayed.
"""

from collections.abc import Mapping, Sequence
from datetime import timedelta
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal

from pysys.broker.paper.matching import Touch, unit_price
from pysys.broker.port import OrderType
from pysys.domain.contracts import Contract
from pysys.domain.orders import Leg

PATIENCE = timedelta(minutes=5)  # of an adaptive order; then it is a market order
FOLLOWING = frozenset({OrderType.SNAP_MID, OrderType.SNAP_MARKET, OrderType.SNAP_PRIMARY, OrderType.ADAPTIVE})


def moves_before_matching(order_type: OrderType, waited: timedelta) -> bool:
    """Whether an order meets this minute's book at this minute's price, not at the one it stood at."""
    return order_type is OrderType.SNAP_MARKET or (order_type is OrderType.ADAPTIVE and waited >= PATIENCE)


def standing_price(
    order_type: OrderType,
    legs: Sequence[Leg],
    touches: Mapping[Contract, Touch | None],
    tick_size: float | None,
    waited: timedelta,
) -> Decimal | None:
    """The limit at which an order that follows the book stands; None is at the market.

    Raises LookupError while a leg has no quote: the order then stays where it was.
    """
    if order_type is OrderType.ADAPTIVE and waited >= PATIENCE:
        return None
    quantities = [leg.quantity for leg in legs]
    quoted = [touches[leg.contract] for leg in legs]
    full = [touch for touch in quoted if touch is not None]
    if len(full) < len(quoted):
        raise LookupError("a leg is not quoted")
    far = unit_price(quantities, [touch.price(q) for q, touch in zip(quantities, full, strict=True)])
    near = unit_price(quantities, [touch.price(-q) for q, touch in zip(quantities, full, strict=True)])
    if order_type is OrderType.SNAP_MARKET:
        return far
    if order_type is OrderType.SNAP_MID:
        return _towards_near((far + near) / 2, tick_size, buys=quantities[0] > 0)
    return near


def _towards_near(price: Decimal, tick_size: float | None, *, buys: bool) -> Decimal:
    if tick_size is None:
        return price
    tick = Decimal(str(tick_size))
    return (price / tick).quantize(Decimal(1), rounding=ROUND_FLOOR if buys else ROUND_CEILING) * tick
