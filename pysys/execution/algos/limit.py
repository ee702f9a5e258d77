"""Work the parent's limit price: the whole order rests there until it fills or the day ends."""

from datetime import datetime

from pysys.broker.port import OrderType
from pysys.domain.orders import BrokerOrder
from pysys.execution.algos.base import Action, Decline, OrderMarket, Patient, Send, Wait, Wanted


class Limit(Patient):
    """One resting limit order. Others trade meanwhile: nothing waits for it but its own contract order."""

    whole_order = True
    watches_market = False

    def first(self, wanted: Wanted, market: OrderMarket | None) -> Send | Decline:
        if wanted.limit_price is None:
            return Decline("the order has no limit price to work")
        return Send(OrderType.LIMIT, wanted.limit_price)

    def next(self, order: BrokerOrder, market: OrderMarket | None, now: datetime) -> Action:
        return Wait()
