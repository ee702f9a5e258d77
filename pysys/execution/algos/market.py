"""Trade at once: a market order, cancelled when it has not filled in ten minutes."""

from datetime import datetime

from pysys.domain.orders import BrokerOrder
from pysys.execution.algo_base import Action, Algo, Cancel, OrderMarket, Patient, Send, Wait, Wanted, timed_out


class Market(Patient):
    """Market orders only."""

    watches_market = False

    def first(self, wanted: Wanted, market: OrderMarket | None) -> Send:
        return Send()

    def next(self, order: BrokerOrder, market: OrderMarket | None, now: datetime) -> Action:
        if timed_out(order, now):
            return Cancel("not filled in time")
        return Wait()


ALGO: Algo = Market()
