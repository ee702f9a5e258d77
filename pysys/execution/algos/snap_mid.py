"""Snap to the mid, and what all snap orders have in common: they stand at one price of the book and move with it.

The broker moves an order of its own snap type. Where the parent has a limit price the order is sent as a plain limit
order instead, and moved from here, never beyond that limit.
"""

from datetime import datetime

from pysys.broker.port import OrderType
from pysys.domain.orders import BrokerOrder
from pysys.execution.algo_base import (
    Action,
    Algo,
    Cancel,
    Modify,
    OrderMarket,
    Patient,
    Send,
    Wait,
    Wanted,
    current_limit,
    pegged_price,
    timed_out,
)


class Snap(Patient):
    """Pegged to one price of the book; a market order when time is short."""

    def __init__(self, order_type: OrderType) -> None:
        self._order_type = order_type

    def first(self, wanted: Wanted, market: OrderMarket | None) -> Send:
        if market is None or market.short_of_time:
            return Send()
        return Send(self._order_type)

    def next(self, order: BrokerOrder, market: OrderMarket | None, now: datetime) -> Action:
        if timed_out(order, now):
            return Cancel("not filled in time")
        if market is None or order.order_type == OrderType.MARKET:
            return Wait()
        limit = current_limit(order)
        if limit is None:
            return Cancel("short of time") if market.short_of_time else Wait()
        price = market.side if market.short_of_time else pegged_price(self._order_type, market)
        return Wait() if price is None or price == limit else Modify(price, "following the book")


ALGO: Algo = Snap(OrderType.SNAP_MID)
