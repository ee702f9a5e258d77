"""What became of orders: what the broker's open orders and executions say, never a local status alone."""

import logging
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from pysys.broker.port import BrokerOrderState, OpenOrder, WorkingStatus
from pysys.desk import Desk
from pysys.domain.order_states import BrokerEvent, apply_to_broker_order
from pysys.domain.orders import BrokerOrder, BrokerOrderStatus
from pysys.execution.not_sent import Declined
from pysys.execution.returning import take_back
from pysys.execution.sending import ask_to_cancel, held_up, submit
from pysys.store.unit import UnitOfWork

UNANSWERED_WAIT = timedelta(seconds=60)  # an order nobody has heard of may still be on its way
UNASKED_CANCEL_WAIT = timedelta(seconds=60)  # a cancel nobody asked for may be a message misread
CROSSING_WAIT = timedelta(seconds=10)  # a fill that crossed the end of its order is told by then
OVERDUE = timedelta(seconds=60)  # a cancel, or executions the broker speaks of, that do not come: a person is told

_EVENTS: Mapping[WorkingStatus, BrokerEvent | None] = {
    WorkingStatus.PENDING: None,
    WorkingStatus.WORKING: BrokerEvent.ACCEPTED,
    WorkingStatus.FILLED: BrokerEvent.FILLED,
    WorkingStatus.CANCELLED: BrokerEvent.CANCELLED,
    WorkingStatus.REJECTED: BrokerEvent.REJECTED,
}
_ENDED_AT, _TOLD = "ended_at", "operator_told"  # kept in the order's algo_state

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Verdict:
    """What one look at the broker says about one order."""

    event: BrokerEvent | None = None
    settled: bool = False  # its fate is known: it is over, and every execution of it is booked
    send_now: bool = False  # written down, never sent, and still of this moment
    overdue: str = ""  # why a person should look


def judge(order: BrokerOrder, state: BrokerOrderState | None, *, listed_open: bool, now: datetime) -> Verdict:
    """What is believed of an order that is not settled, given the broker's word on it.

    state: None when the broker has never heard of it. listed_open: whether the broker, asked anew, works it.

    An end is believed when it is reported, the order is not listed as open, and executions were asked for again some
    time after that: so it takes two looks, `CROSSING_WAIT` apart. One that nobody asked for takes a minute.
    """
    if state is None:
        return _never_heard_of(order, listed_open, now)
    event = _EVENTS[state.status]
    if event is BrokerEvent.FILLED:
        return Verdict(event, overdue=_unproven(order, now))
    if event not in (BrokerEvent.CANCELLED, BrokerEvent.REJECTED):
        return Verdict(event, overdue=_unproven(order, now) or _unanswered(order, now))
    if listed_open:
        return Verdict(BrokerEvent.ACCEPTED, overdue=_unproven(order, now) or _unanswered(order, now))
    seen_before = order.status in (BrokerOrderStatus.CANCELLED, BrokerOrderStatus.REJECTED)
    booked = all(abs(leg.fill) >= abs(told) for leg, told in zip(order.legs, state.filled, strict=True))
    settled = seen_before and booked and _past_doubt(order, event, now)
    return Verdict(event, settled, overdue="" if settled or booked else _unproven(order, now))


def _never_heard_of(order: BrokerOrder, listed_open: bool, now: datetime) -> Verdict:
    if listed_open:
        return Verdict(BrokerEvent.ACCEPTED)
    if order.status in (BrokerOrderStatus.CANCELLED, BrokerOrderStatus.REJECTED):
        return Verdict(settled=_for_longer_than(CROSSING_WAIT, order, now))
    if order.status is BrokerOrderStatus.INTENDED:
        if order.submitted_at is None and now == order.created_at:
            return Verdict(send_now=True)
        last = order.created_at if order.submitted_at is None else order.submitted_at
        return Verdict(BrokerEvent.NEVER_RECEIVED if now - last >= UNANSWERED_WAIT else None)
    return Verdict(overdue="the broker had it and does not know it any more")


def _past_doubt(order: BrokerOrder, event: BrokerEvent, now: datetime) -> bool:
    asked_for = order.cancel_requested_at is not None or event is BrokerEvent.REJECTED
    return _for_longer_than(CROSSING_WAIT if asked_for else UNASKED_CANCEL_WAIT, order, now)


def _for_longer_than(wait: timedelta, order: BrokerOrder, now: datetime) -> bool:
    """Whether it is so long since we first heard of the end of an order, or since it was refused when it was sent."""
    ended = _ended_at(order)
    if ended is None:
        ended = order.created_at if order.submitted_at is None else order.submitted_at
    return now - ended >= wait


def _unanswered(order: BrokerOrder, now: datetime) -> str:
    asked = order.cancel_requested_at
    return "the broker does not answer the cancel" if asked is not None and now - asked >= OVERDUE else ""


def _unproven(order: BrokerOrder, now: datetime) -> str:
    ended = _ended_at(order)
    late = ended is not None and now - ended >= OVERDUE
    return "the broker says it is over, but its executions have not come" if late else ""


def _ended_at(order: BrokerOrder) -> datetime | None:
    stamp = order.algo_state.get(_ENDED_AT)
    return None if stamp is None else datetime.fromisoformat(str(stamp))


def resolve_fates(desk: Desk, instruments: Collection[str] | None = None) -> int:
    """Ask the broker what became of every order not settled; send what was written down but never sent. Changes made.

    instruments: of which; all of them when not given. Executions must have been asked for just before: an order is
    settled when the broker has ended it and every contract it says it filled is booked. Until then nothing new is sent
    for the same contract order. One the broker has not heard of is given up, and may still be on its way: so the broker
    is asked to cancel it first. What was settled and yet works at the broker comes back, see `take_back`.
    """
    with desk.store.read() as unit:
        active = unit.orders.active_broker_orders()
    unsettled = [order for order in active if instruments is None or order.instrument in instruments]
    if not unsettled:
        return 0
    now = desk.clock.now()
    states = desk.broker.order_states([order.order_ref for order in unsettled])
    open_orders = _open_orders(desk, unsettled, states)
    listed = {each.order_ref for each in open_orders}
    verdicts = [
        (order, judge(order, states.get(order.order_ref), listed_open=order.order_ref in listed, now=now))
        for order in unsettled
    ]
    changes = len(take_back(desk, open_orders))
    to_write = [(order, verdict) for order, verdict in verdicts if _news(order, verdict, states)]
    if to_write:
        for order, verdict in to_write:
            if verdict.event is BrokerEvent.NEVER_RECEIVED:
                ask_to_cancel(desk, order.order_ref)
        with desk.store.write() as unit:
            for order, verdict in to_write:
                _apply(unit, order, verdict, states.get(order.order_ref), now)
            unit.commit()
        changes += len(to_write)
    for order, verdict in verdicts:
        if verdict.overdue and not order.algo_state.get(_TOLD):
            log.critical("order %s needs an operator: %s", order.order_ref, verdict.overdue)
        if verdict.send_now:
            changes += _send_late(desk, order, now)
    return changes


def _open_orders(
    desk: Desk, orders: Sequence[BrokerOrder], states: Mapping[str, BrokerOrderState]
) -> Sequence[OpenOrder]:
    """What the broker lists as open, asked for only when some order is said to be over, or is not known."""
    over = (WorkingStatus.CANCELLED, WorkingStatus.REJECTED)
    in_doubt = any(order.order_ref not in states or states[order.order_ref].status in over for order in orders)
    return desk.broker.open_orders() if in_doubt else ()


def _news(order: BrokerOrder, verdict: Verdict, states: Mapping[str, BrokerOrderState]) -> bool:
    moved = verdict.event is not None and apply_to_broker_order(order.status, verdict.event) is not order.status
    told = bool(verdict.overdue) and not order.algo_state.get(_TOLD)
    state = states.get(order.order_ref)
    unsent = order.submitted_at is None and state is not None
    named = state is not None and order.ids.with_news(state.ids) != order.ids
    return moved or verdict.settled or told or unsent or named


def _apply(
    unit: UnitOfWork, order: BrokerOrder, verdict: Verdict, state: BrokerOrderState | None, now: datetime
) -> None:
    status = order.status if verdict.event is None else apply_to_broker_order(order.status, verdict.event)
    moved = status is not order.status
    memory: dict[str, Any] = {}
    if moved and status not in (BrokerOrderStatus.INTENDED, BrokerOrderStatus.WORKING):
        memory[_ENDED_AT] = now.isoformat()
    if status is BrokerOrderStatus.WORKING and _ENDED_AT in order.algo_state:
        memory[_ENDED_AT] = None
    if verdict.overdue:
        memory[_TOLD] = True
    comment = "" if state is None or not moved else state.message
    if verdict.event is BrokerEvent.NEVER_RECEIVED:
        comment = "the broker never received it"
    if moved and status is BrokerOrderStatus.WORKING and order.status is not BrokerOrderStatus.INTENDED:
        comment = f"reported {order.status}, but the broker still works it: {comment}"
    unit.orders.update_broker_order(
        order.id,
        status=status,
        ids=None if state is None else state.ids,
        submitted_at=order.created_at if order.submitted_at is None and state is not None else None,
        algo_state={**order.algo_state, **memory} if memory else None,
        comment=comment,
        active=False if verdict.settled else None,
    )
    if verdict.settled:
        unit.claims.release_settled(order.parent_id)


def _send_late(desk: Desk, order: BrokerOrder, now: datetime) -> int:
    """Send an order that was written down this moment and not handed over; nothing when something holds it up now."""
    with desk.store.read() as unit:
        parent = unit.orders.open_contract_order(order.parent_id)
        why: Declined | None = None
        if parent is not None:
            why = held_up(unit, parent)
    if parent is None or why is not None:
        return 0
    submit(desk, order)
    return 1
