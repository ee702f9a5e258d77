"""Work the parent's limit price: all that is left of the order rests there until it fills or the day ends.

The other orders of its instrument wait behind it, as one is worked there at a time. Only a panic order does not: it has
this one cancelled and goes next.
"""

from datetime import datetime

from pysys.broker.port import OrderType
from pysys.domain.orders import BrokerOrder
from pysys.execution.algo_base import Action, Algo, Decline, OrderMarket, Patient, Send, Wait, Wanted


class Limit(Patient):
    """One resting limit order, as large as limits allow, whatever the book displays."""

    whole_order = True
    cut_to_liquidity = False
    watches_market = False

    def first(self, wanted: Wanted, market: OrderMarket | None) -> Send | Decline:
        if wanted.limit_price is None:
            return Decline("the order has no limit price to work")
        return Send(OrderType.LIMIT, wanted.limit_price)

    def next(self, order: BrokerOrder, market: OrderMarket | None, now: datetime) -> Action:
        return Wait()


ALGO: Algo = Limit()
