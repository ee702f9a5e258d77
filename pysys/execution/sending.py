"""The last steps before the wire: a broker order is checked and written in one transaction, and only then sent."""

import logging
from dataclasses import replace
from datetime import datetime

from pysys.broker.port import OrderTicket, OrderType
from pysys.desk import Desk
from pysys.domain.errors import OrderRejected, OutcomeUnknown
from pysys.domain.order_states import BrokerEvent, apply_to_broker_order
from pysys.domain.orders import BrokerIds, BrokerOrder, ContractOrder, Leg
from pysys.execution.allowances import allowance
from pysys.execution.claims import claim, claimant, claimed_elsewhere
from pysys.execution.not_sent import Declined, NotSent
from pysys.execution.sizing import Allowance, exceeds_parent
from pysys.execution.wire import TooLateToSend
from pysys.store.stacks import Level
from pysys.store.unit import UnitOfWork

log = logging.getLogger(__name__)


def write_if_allowed(desk: Desk, order: BrokerOrder, now: datetime) -> BrokerOrder | Declined:
    """Write the order down, with its reference and its algo's claim, after checking everything once more in the same
    transaction.

    Nothing is written when the kill switch or a lock is on, the parent is ended, claimed or being worked, when filled
    and possibly working would exceed the parent, or an override or a limit does not let the order through by now.
    """
    with desk.store.write() as unit:
        parent = unit.orders.open_contract_order(order.parent_id)
        if parent is None:
            return Declined(NotSent.ENDED)
        allowed = allowance(unit, desk.config, parent, now)
        unit.trade_limits.begin_periods(allowed.trade_limits)
        refused = held_up(unit, parent) or _unsafe(unit, parent, order, allowed)
        if refused is None and not claim(unit, parent, order.algo_used):
            refused = Declined(NotSent.CLAIMED, f"by {claimant(parent)}")
        if refused is not None:
            return refused
        number = unit.orders.count_broker_orders(parent.id) + 1
        named = replace(order, order_ref=unit.references.order_ref(parent.id, number), created_at=desk.clock.now())
        written = unit.orders.write_broker_order(named)
        unit.orders.update_broker_order(written.id, comment=allowed.exempt)
        unit.commit()
    return written


def held_up(unit: UnitOfWork, parent: ContractOrder) -> Declined | None:
    """What a person or another process holds against sending anything for this contract order; None when nothing."""
    if unit.restrictions.kill_switch_engaged():
        return Declined(NotSent.KILL_SWITCH)
    other = claimed_elsewhere(parent)
    if other:
        return Declined(NotSent.CLAIMED, f"by {other}")
    if parent.locked:
        return Declined(NotSent.LOCKED, "the order itself")
    if unit.stacks.is_locked(Level.INSTRUMENT, parent.parent_id):
        return Declined(NotSent.LOCKED, f"instrument order {parent.parent_id}")
    locks = unit.restrictions.locked_instruments()
    if not locks:
        return None
    together = [parent, *_other_legs_not_begun(unit, parent)]
    for code in dict.fromkeys(code for each in together for code in _markets(each)):
        if code in locks:
            return Declined(NotSent.LOCKED, f"{code}, {locks[code]}")
    return None


def _other_legs_not_begun(unit: UnitOfWork, parent: ContractOrder) -> list[ContractOrder]:
    """The orders for the other legs of a spread between markets, while none of its legs may have traded."""
    family = unit.orders.children([parent.parent_id])[parent.parent_id]
    others = [child for child in family if child.instrument != parent.instrument]
    if not others or any(leg.fill for each in family for leg in each.legs):
        return []
    begun = any(any(unit.orders.possibly_traded(each.id).values()) for each in family)
    return [] if begun else others


def _markets(order: ContractOrder) -> list[str]:
    return [order.instrument, *(leg.contract.instrument for leg in order.legs)]


def _unsafe(unit: UnitOfWork, parent: ContractOrder, order: BrokerOrder, allowed: Allowance) -> Declined | None:
    """Why this order might trade more than was asked for or is allowed; None when it cannot."""
    for other in unit.orders.active_broker_orders():
        if other.parent_id == parent.id:
            return Declined(NotSent.PREDECESSOR, other.order_ref)
        if other.instrument == parent.instrument:
            return Declined(NotSent.TURN, f"after {other.order_ref}")
    trades = tuple(leg.trade for leg in order.legs)
    possible, wanted = unit.orders.possibly_traded(parent.id), {leg.contract: leg.trade for leg in order.legs}
    legs = [leg.contract for leg in parent.legs]
    if exceeds_parent(parent, [possible.get(leg, 0) for leg in legs], tuple(wanted.get(leg, 0) for leg in legs)):
        return Declined(NotSent.EXPOSURE, "filled and possibly working would exceed the order")
    kept = allowed.cut(trades)
    if isinstance(kept, Declined):
        return kept
    return None if kept == trades else Declined(NotSent.TRADE_LIMIT, f"by now {kept} of {trades} is allowed")


def ask_to_cancel(desk: Desk, order_ref: str) -> str:
    """Ask the broker to cancel; what to note beside the order when no answer came, blank otherwise.

    Raises BrokerUnavailable when nothing could be asked.
    """
    try:
        desk.broker.cancel(order_ref)
    except OutcomeUnknown as error:
        log.warning("order %s: no answer to the cancel: %s", order_ref, error)
        return f"no answer to the cancel: {error}"
    return ""


def submit(desk: Desk, order: BrokerOrder) -> bool:
    """Hand an order that is written down to the broker, and note its answer; False when it was refused.

    Silence is never a refusal: the order stays `intended`, and is asked about. Raises BrokerUnavailable when it could
    not be sent at all; then it is known by having no time of submission. One that comes too late is ended unsent.
    """
    account = desk.broker.account
    ticket = OrderTicket(
        order_ref=order.order_ref,
        legs=tuple(Leg(leg.contract, leg.trade) for leg in order.legs),
        order_type=OrderType(order.order_type),
        limit_price=order.limit_price,
    )
    status, comment = None, ""
    try:
        desk.broker.submit(ticket)
    except OrderRejected as error:
        status, comment = apply_to_broker_order(order.status, BrokerEvent.REJECTED), str(error)
    except OutcomeUnknown as error:
        comment = f"no answer when it was sent: {error}"
        log.warning("order %s: %s; its fate is asked for before anything new is sent", order.order_ref, comment)
    except TooLateToSend as error:
        log.warning("%s", error)
        _end_unsent(desk, order, str(error))
        return False
    with desk.store.write() as unit:
        unit.orders.update_broker_order(
            order.id, status=status, submitted_at=desk.clock.now(), comment=comment, ids=BrokerIds(account=account)
        )
        unit.commit()
    return status is None


def _end_unsent(desk: Desk, order: BrokerOrder, why: str) -> None:
    """End an order that was never handed over; one somebody has decided about meanwhile stays as it is."""
    with desk.store.write() as unit:
        if unit.sent_orders.intended_since(order.order_ref) is None:
            return
        ended = apply_to_broker_order(order.status, BrokerEvent.NEVER_RECEIVED)
        unit.orders.update_broker_order(order.id, status=ended, comment=why)
        unit.commit()
