"""Trade at once: a market order, cancelled when it has not filled in ten minutes."""

from datetime import datetime

from pysys.domain.orders import BrokerOrder
from pysys.execution.algos.base import Cancel, OrderMarket, Send, Wait, timed_out


class Market:
    """Market orders only."""

    def first(self, quantity: int, market: OrderMarket) -> Send:
        return Send()

    def next(self, order: BrokerOrder, market: OrderMarket | None, now: datetime) -> Wait | Cancel:
        if timed_out(order, now):
            return Cancel("not filled in time")
        return Wait()
