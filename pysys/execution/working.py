"""Orders that work at the broker: their algos look at the market, move them, cancel them."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal
from typing import Any

from pysys.desk import Desk
from pysys.domain.errors import OrderRejected, OutcomeUnknown
from pysys.domain.orders import BrokerOrder, BrokerOrderStatus, lowest_terms
from pysys.execution.algos import algo_named
from pysys.execution.algos.base import (
    Action,
    Cancel,
    Modify,
    OrderMarket,
    Wait,
    better,
    current_limit,
    market_of,
    timed_out,
)
from pysys.execution.broker_orders import SHORT_OF_TIME, OpenMarket

MAX_CHANGES = 100  # of the price of one broker order; then it is cancelled
MAX_FAILED_CHANGES = 5

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Change:
    """What is to be written down about an order its algo has looked at."""

    order: BrokerOrder
    algo_state: dict[str, Any] | None = None
    comment: str = ""


def manage_working_orders(
    desk: Desk, orders: Sequence[BrokerOrder], open_markets: Mapping[str, OpenMarket | None], stops: datetime
) -> int:
    """Let the algo of each working order look at its market; how many orders were moved or cancelled.

    An order the broker has received but does not work yet is never moved, only cancelled when its time is over.
    """
    now = desk.clock.now()
    looked_at = [o for o in orders if o.cancel_requested_at is None and o.is_open and o.submitted_at is not None]
    if not looked_at:
        return 0
    watching = {o.instrument for o in looked_at if algo_named(o.algo_used).watches_market}
    ticks: dict[str, float | None] = {}
    if watching:
        with desk.store.read() as unit:
            ticks = {code: unit.markets.instrument(code).tick_size for code in watching}
    acted = 0
    changes: list[_Change] = []
    for order in looked_at:
        action = _decide(desk, order, open_markets.get(order.instrument), ticks, stops, now)
        if isinstance(action, Cancel):
            request_cancel(desk, order, action.reason)
            acted += 1
        elif isinstance(action, Modify):
            changes.append(_modify(desk, order, action))
            acted += 1
        elif action.remember:
            changes.append(_Change(order, {**order.algo_state, **action.remember}, action.reason))
    if changes:
        with desk.store.write() as unit:
            for change in changes:
                unit.orders.update_broker_order(change.order.id, algo_state=change.algo_state, comment=change.comment)
            unit.commit()
    return acted


def _decide(
    desk: Desk,
    order: BrokerOrder,
    open_market: OpenMarket | None,
    ticks: Mapping[str, float | None],
    stops: datetime,
    now: datetime,
) -> Action:
    """What is done with one order now, within its budgets and its parent's limit price."""
    if order.status is not BrokerOrderStatus.WORKING:
        return Cancel("the broker did not begin to work it in time") if timed_out(order, now) else Wait()
    algo = algo_named(order.algo_used)
    market = None
    if algo.watches_market:
        ends = stops if open_market is None else min(open_market.closes, stops)
        market = _market_now(desk, order, ticks[order.instrument], short_of_time=ends - now < SHORT_OF_TIME)
    action = algo.next(order, market, now)
    if not isinstance(action, Modify):
        return action
    if _count(order, "changes") >= MAX_CHANGES:
        return Cancel(f"its price was changed {MAX_CHANGES} times")
    if _count(order, "failed_changes") >= MAX_FAILED_CHANGES:
        return Cancel(f"{MAX_FAILED_CHANGES} changes of its price failed")
    return _within_parent_limit(order, action)


def _within_parent_limit(order: BrokerOrder, action: Modify) -> Action:
    cap = order.algo_state.get("parent_limit")
    if cap is None:
        return action
    _, units = lowest_terms(tuple(leg.trade for leg in order.legs))
    price = better(action.limit_price, Decimal(str(cap)), units)
    if price == current_limit(order):
        known = all(order.algo_state.get(key) == value for key, value in action.remember.items())
        return Wait() if known else Wait(action.reason, action.remember)
    return replace(action, limit_price=price)


def _modify(desk: Desk, order: BrokerOrder, action: Modify) -> _Change:
    """Move the limit. A failed change counts, and is not repeated for ever."""
    state = {**order.algo_state, **action.remember, "changes": _count(order, "changes") + 1}
    try:
        desk.broker.modify_limit(order.order_ref, action.limit_price)
    except (OrderRejected, OutcomeUnknown) as error:
        log.warning("order %s: its limit was not moved to %s: %s", order.order_ref, action.limit_price, error)
        state["failed_changes"] = _count(order, "failed_changes") + 1
        return _Change(order, state, f"not moved to {action.limit_price}: {error}")
    return _Change(order, {**state, "limit": str(action.limit_price)}, action.reason)


def _count(order: BrokerOrder, name: str) -> int:
    value = order.algo_state.get(name)
    return 0 if value is None else int(value)


def _market_now(desk: Desk, order: BrokerOrder, tick_size: float | None, *, short_of_time: bool) -> OrderMarket | None:
    quotes = [desk.broker.quote(leg.contract) for leg in order.legs]
    full = tuple(quote for quote in quotes if quote is not None)
    if len(full) < len(quotes):
        return None
    return market_of(tuple(leg.trade for leg in order.legs), full, tick_size, short_of_time=short_of_time)


def request_cancel(desk: Desk, order: BrokerOrder, reason: str) -> None:
    """Ask the broker to cancel; the order stays open until the broker says what became of it."""
    desk.broker.cancel(order.order_ref)
    with desk.store.write() as unit:
        unit.orders.update_broker_order(order.id, cancel_requested_at=desk.clock.now(), comment=reason)
        unit.commit()
