"""Orders that work at the broker: their algos look at the market, move them, cancel them."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal
from typing import Any

from pysys.desk import Desk
from pysys.domain.contracts import Contract
from pysys.domain.errors import OrderRejected, OutcomeUnknown
from pysys.domain.orders import BrokerOrder, BrokerOrderStatus, ContractOrder, lowest_terms
from pysys.execution.algo_base import (
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
from pysys.execution.algos import algo_named
from pysys.execution.broker_orders import SHORT_OF_TIME, OpenMarket
from pysys.execution.quotes import fresh_quote
from pysys.execution.sending import ask_to_cancel
from pysys.store.sent_orders import SentOrder

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

    An order the broker has received but does not work yet is never moved, only cancelled when its time is over. What is
    done at the broker is written down order by order, so that no later failure loses it.
    """
    now = desk.clock.now()
    looked_at = _at_broker(orders)
    if not looked_at:
        return 0
    watching = {o.instrument for o in looked_at if algo_named(o.algo_used).watches_market}
    ticks: dict[str, float | None] = {}
    if watching:
        with desk.store.read() as unit:
            ticks = {code: unit.markets.instrument(code).tick_size for code in watching}
    acted = 0
    for order in looked_at:
        action = _decide(desk, order, open_markets.get(order.instrument), ticks, stops, now)
        if isinstance(action, Cancel):
            request_cancel(desk, order, action.reason)
            acted += 1
        elif isinstance(action, Modify):
            _write(desk, _modify(desk, order, action))
            acted += 1
        elif action.remember:
            _write(desk, _Change(order, {**order.algo_state, **action.remember}, action.reason))
    return acted


def cancel_overdue(desk: Desk, orders: Sequence[BrokerOrder]) -> int:
    """Cancel the orders whose time is over, and do nothing else; how many. Allowed while nothing may be sent."""
    now = desk.clock.now()
    cancelled = 0
    for order in _at_broker(orders):
        if order.status is BrokerOrderStatus.WORKING:
            action = algo_named(order.algo_used).next(order, None, now)
        else:
            action = _never_begun(order, now)
        if isinstance(action, Cancel):
            request_cancel(desk, order, action.reason)
            cancelled += 1
    return cancelled


def cancel_excess(desk: Desk, orders: Sequence[BrokerOrder], parents: Mapping[int, ContractOrder]) -> list[BrokerOrder]:
    """Cancel all broker orders of a contract order that could together trade more than it still wants; those asked for.

    orders and parents: the active ones, as of one moment. Happens when a predecessor fills, or comes back, after all.
    """
    family: dict[int, list[BrokerOrder]] = {}
    for order in orders:
        family.setdefault(order.parent_id, []).append(order)
    excess = [order for own in family.values() if _beyond(own, parents.get(own[0].parent_id)) for order in own]
    to_cancel = _at_broker(excess)
    for order in to_cancel:
        log.critical("order %s could trade more than is wanted: cancelled", order.order_ref)
        request_cancel(desk, order, "more than its contract order still wants")
    return to_cancel


def _beyond(orders: Sequence[BrokerOrder], parent: ContractOrder | None) -> bool:
    if parent is None:
        return True
    working: dict[Contract, int] = {}
    for leg in (leg for order in orders for leg in order.legs):
        working[leg.contract] = working.get(leg.contract, 0) + leg.remaining
    wanted = {leg.contract: leg.remaining for leg in parent.legs}
    return any(abs(may) > abs(wanted.get(contract, 0)) for contract, may in working.items())


def _at_broker(orders: Sequence[BrokerOrder]) -> list[BrokerOrder]:
    """Those that may still trade and nobody has asked to cancel."""
    return [o for o in orders if o.cancel_requested_at is None and o.is_open and o.submitted_at is not None]


def _write(desk: Desk, change: _Change) -> None:
    with desk.store.write() as unit:
        unit.orders.update_broker_order(change.order.id, algo_state=change.algo_state, comment=change.comment)
        unit.commit()


def _never_begun(order: BrokerOrder, now: datetime) -> Action:
    return Cancel("the broker did not begin to work it in time") if timed_out(order, now) else Wait()


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
        return _never_begun(order, now)
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
    quotes = [fresh_quote(desk, leg.contract) for leg in order.legs]
    full = tuple(quote for quote in quotes if quote is not None)
    if len(full) < len(quotes):
        return None
    return market_of(tuple(leg.trade for leg in order.legs), full, tick_size, short_of_time=short_of_time)


def request_cancel(desk: Desk, order: BrokerOrder | SentOrder, reason: str) -> bool:
    """Ask the broker to cancel; whether it answered. The order stays open until the broker says what became of it.

    Asked again, it is noted since when that was first wanted.
    """
    unanswered = ask_to_cancel(desk, order.order_ref)
    comment = f"{reason}; {unanswered}" if unanswered else reason
    before = order.cancel_asked if isinstance(order, SentOrder) else order.cancel_requested_at is not None
    with desk.store.write() as unit:
        first = None if before else desk.clock.now()
        unit.orders.update_broker_order(order.id, cancel_requested_at=first, comment=comment)
        unit.commit()
    return not unanswered
