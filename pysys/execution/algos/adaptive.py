"""The broker's own patient order: it waits for a better price first, and takes the market's after a while."""

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
    timed_out,
)


class Adaptive(Patient):
    """An adaptive order; under a limit of the parent, a limit order that goes to the far touch as far as it may."""

    def first(self, wanted: Wanted, market: OrderMarket | None) -> Send:
        if market is None or market.short_of_time:
            return Send()
        return Send(OrderType.ADAPTIVE)

    def next(self, order: BrokerOrder, market: OrderMarket | None, now: datetime) -> Action:
        if timed_out(order, now):
            return Cancel("not filled in time")
        limit = current_limit(order)
        if limit is None or market is None:
            return Wait()
        return Wait() if limit == market.side else Modify(market.side, "following the far touch")


ALGO: Algo = Adaptive()
