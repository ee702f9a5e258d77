"""Trade at once: a market order, cancelled when it has not filled in ten minutes."""

from datetime import datetime

from pysys.domain.orders import BrokerOrder
from pysys.execution.algos.base import Action, Cancel, OrderMarket, Patient, Send, Wait, Wanted, timed_out


class Market(Patient):
    """Market orders only."""

    watches_market = False

    def first(self, wanted: Wanted, market: OrderMarket | None) -> Send:
        return Send()

    def next(self, order: BrokerOrder, market: OrderMarket | None, now: datetime) -> Action:
        if timed_out(order, now):
            return Cancel("not filled in time")
        return Wait()


class Panic(Market):
    """Out at any price: everything at once, whatever is displayed, limits or not."""

    whole_order = True
    unrestricted = True
