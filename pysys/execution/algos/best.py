"""Best execution: join the passive side, and pay up only when waiting has stopped being worth it.

Thresholds are the established ones (300 s passive, 600 s in all, size imbalance of 5).
"""

from datetime import datetime
from decimal import Decimal

from pysys.broker.port import OrderType
from pysys.domain.orders import BrokerOrder
from pysys.execution.algo_base import (
    Action,
    Algo,
    Cancel,
    Decline,
    Modify,
    OrderMarket,
    Patient,
    Send,
    Wait,
    Wanted,
    current_limit,
    timed_out,
)

PASSIVE_SECONDS = 300
IMBALANCE_RATIO = 5  # passive size over aggressive size: the price is about to move away
IMBALANCE_DEPTH = 3  # ... while the aggressive side shows less than this many times our order
AGGRESSIVE = {"aggressive": True}


def imbalanced(quantity: int, market: OrderMarket) -> bool:
    """Whether so little is left on the side we would have to take that a passive order would likely miss it."""
    crowded = market.passive_size > IMBALANCE_RATIO * market.aggressive_size
    return crowded and market.aggressive_size < IMBALANCE_DEPTH * abs(quantity)


class Best(Patient):
    """Passive limit first; then one way only, a limit that follows the far touch; then cancel."""

    def first(self, wanted: Wanted, market: OrderMarket | None) -> Send | Decline:
        if market is None:
            return Decline("no bid and offer to choose a price from")
        if market.short_of_time or imbalanced(wanted.quantity, market):
            return Send()
        return Send(OrderType.LIMIT, market.offside)

    def next(self, order: BrokerOrder, market: OrderMarket | None, now: datetime) -> Action:
        if timed_out(order, now):
            return Cancel("not filled in time")
        limit = current_limit(order)
        if limit is None:
            return Wait()
        aggressive = bool(order.algo_state.get("aggressive"))
        if market is None:
            return Wait("no bid and offer", {} if aggressive else AGGRESSIVE)
        if aggressive:
            return Wait() if limit == market.side else Modify(market.side, "following the far touch")
        why = self._why_aggressive(order, market, limit, now)
        return Modify(market.side, why, AGGRESSIVE) if why else Wait()

    def _why_aggressive(self, order: BrokerOrder, market: OrderMarket, limit: Decimal, now: datetime) -> str:
        if (now - order.created_at).total_seconds() >= PASSIVE_SECONDS:
            return "passive for long enough"
        if market.short_of_time:
            return "short of time"
        if (market.offside - limit) * market.direction > 0:
            return "the market moved away"
        if imbalanced(min(abs(leg.trade) for leg in order.legs), market):
            return "the book is one-sided"
        return ""


ALGO: Algo = Best()
