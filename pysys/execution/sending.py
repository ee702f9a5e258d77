"""The last steps before the wire: a broker order is checked and written in one transaction, and only then sent."""

import logging
from dataclasses import replace
from datetime import datetime

from pysys.broker.port import OrderTicket, OrderType
from pysys.desk import Desk
from pysys.domain.errors import OrderRejected, OutcomeUnknown
from pysys.domain.order_states import BrokerEvent, apply_to_broker_order
from pysys.domain.orders import BrokerOrder, ContractOrder, Leg
from pysys.execution.algos import algo_named
from pysys.execution.not_sent import Declined, NotSent
from pysys.execution.sizing import Allowance, exceeds_parent
from pysys.store.unit import UnitOfWork

log = logging.getLogger(__name__)


def allowance(unit: UnitOfWork, parent: ContractOrder, now: datetime) -> Allowance:
    """What trade and position limits leave to a new broker order of this contract order, as of this transaction."""
    if algo_named(parent.algo_to_use).unrestricted:
        return Allowance(now)
    limits = unit.trade_limits.applying_to(parent.strategy, parent.instrument)
    if parent.roll_order or parent.inter_spread_order or len(parent.legs) > 1:
        return Allowance(now, limits)
    caps = unit.restrictions.position_limits()
    own, everyone = (parent.strategy, parent.instrument), ("", parent.instrument)
    if own not in caps and everyone not in caps:
        return Allowance(now, limits)
    held = {key: n for key, n in unit.positions.strategy_positions().items() if key[1] == parent.instrument}
    positions = [(held.get(own, 0), caps[own])] if own in caps else []
    if everyone in caps:
        positions.append((sum(held.values()), caps[everyone]))
    return Allowance(now, limits, positions)


def write_if_allowed(desk: Desk, order: BrokerOrder, now: datetime) -> BrokerOrder | Declined:
    """Write the order down, with its reference, after checking everything once more in the same transaction.

    Nothing is written when the kill switch or a lock is on, the parent is ended, claimed or being worked, when filled
    and possibly working would exceed the parent, or a limit the order would break has been used up meanwhile.
    """
    with desk.store.write() as unit:
        parent = unit.orders.open_contract_order(order.parent_id)
        if parent is None:
            return Declined(NotSent.ENDED)
        refused = held_up(unit, parent, now, me=unit.author.written_by) or _unsafe(unit, parent, order, now)
        if refused is not None:
            return refused
        number = unit.orders.count_broker_orders(parent.id) + 1
        written = unit.orders.write_broker_order(replace(order, order_ref=f"{parent.id}-{number}"))
        if algo_named(order.algo_used).unrestricted:
            unit.orders.update_broker_order(written.id, comment="panic: exempt from trade and position limits")
        if parent.note:
            unit.orders.note_contract_orders({parent.id: ""})
        unit.commit()
    return written


def held_up(unit: UnitOfWork, parent: ContractOrder, now: datetime, *, me: str) -> Declined | None:
    """What a person or another process holds against sending anything for this contract order; None when nothing."""
    if unit.restrictions.kill_switch_engaged():
        return Declined(NotSent.KILL_SWITCH)
    claimed = parent.claimed_by not in (None, me) and parent.claim_until is not None and parent.claim_until > now
    if claimed:
        return Declined(NotSent.CLAIMED, f"by {parent.claimed_by} until {parent.claim_until:%H:%M:%S} UTC")
    if parent.locked:
        return Declined(NotSent.LOCKED, "the order itself")
    locks = unit.restrictions.locked_instruments()
    for code in dict.fromkeys([parent.instrument, *(leg.contract.instrument for leg in parent.legs)]):
        if code in locks:
            return Declined(NotSent.LOCKED, f"{code}, {locks[code]}")
    return None


def _unsafe(unit: UnitOfWork, parent: ContractOrder, order: BrokerOrder, now: datetime) -> Declined | None:
    """Why this order might trade more than was asked for or is allowed; None when it cannot."""
    for other in unit.orders.active_broker_orders():
        if other.parent_id == parent.id:
            return Declined(NotSent.PREDECESSOR, other.order_ref)
        if other.instrument == parent.instrument:
            return Declined(NotSent.TURN, f"after {other.order_ref}")
    trades = tuple(leg.trade for leg in order.legs)
    possible = unit.orders.possibly_traded(parent.id)
    if exceeds_parent(parent, [possible.get(number, 0) for number in range(len(parent.legs))], trades):
        return Declined(NotSent.EXPOSURE, "filled and possibly working would exceed the order")
    allowed = allowance(unit, parent, now)
    unit.trade_limits.restart_lapsed(allowed.trade_limits, now)
    kept = allowed.cut(trades)
    if isinstance(kept, Declined):
        return kept
    return None if kept == trades else Declined(NotSent.TRADE_LIMIT, "used by another order meanwhile")


def submit(desk: Desk, order: BrokerOrder) -> bool:
    """Hand an order that is written down to the broker, and note its answer; False when it was refused.

    Silence is never a refusal: the order stays `intended`, and is asked about. Raises BrokerUnavailable when it could
    not be sent at all; then it is known by having no time of submission.
    """
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
    with desk.store.write() as unit:
        unit.orders.update_broker_order(order.id, status=status, submitted_at=desk.clock.now(), comment=comment)
        unit.commit()
    return status is None
