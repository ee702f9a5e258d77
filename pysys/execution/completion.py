"""The end of order families: filled to the last leg, or ended with the day."""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime

from pysys.domain.contracts import Contract
from pysys.domain.limits import not_beyond
from pysys.domain.order_states import OrderEvent, apply_to_order
from pysys.domain.orders import ContractOrder, InstrumentOrder, InstrumentOrderType, OrderStatus
from pysys.domain.roll_debts import OWED, roll_debt, told
from pysys.execution.restraining import keeps_limit
from pysys.store.unit import UnitOfWork

DONE = OrderStatus.DONE
NOT_FILLED = "not filled by the end of the day"


def complete_orders(
    unit: UnitOfWork, now: datetime, instruments: Collection[str] | None = None, *, end_of_day: bool = False
) -> int:
    """Deactivate families that are entirely filled, or more; at the end of day all families nothing is working for.

    instruments: of which; all of them when not given. Orders stay in their tables as history. A roll that was cut off
    between two contracts stays on the instrument stack, its contract orders ended, until what it owes is made good. How
    many instrument orders ended. Safe to repeat.
    """
    open_parents = {order.parent_id for order in unit.orders.active_broker_orders()}
    active = unit.orders.active_instrument_orders()
    families = active if instruments is None else [order for order in active if order.instrument in instruments]
    children_of = unit.orders.children([family.id for family in families])
    working = {order.id for order in unit.orders.active_contract_orders()}
    ended = 0
    for family in families:
        children = children_of.get(family.id, [])
        if any(child.id in open_parents for child in children):
            continue
        filled = bool(children) and all(child.is_filled for child in children)
        complete = filled and (family.roll_order or family.unfilled * family.trade <= 0)
        owed = roll_debt(children) if family.order_type is InstrumentOrderType.ZERO_ROLL else {}
        if not complete and not end_of_day and not _made_good(children, working, owed):
            continue
        for child in children:
            unit.orders.end_contract_order(child.id, _ending(child.is_filled), now)
        if owed:
            unit.orders.set_waiting(family.id, f"{told(owed)} is owed")
            continue
        note = "" if complete else NOT_FILLED
        unit.orders.end_instrument_order(family.id, _ending(complete), now, note)
        ended += 1
    return ended


def end_what_hung_on(unit: UnitOfWork, order_id: int, status: OrderStatus, now: datetime, note: str) -> None:
    """What follows when a contract order has ended unfilled: given up, or taken off its stack.

    What was to come after it in its family does not trade either, or a position would be opened beside the one that was
    to be closed. When nothing of the family is left to trade, the instrument order ends: it is not on its way any more,
    and the strategy may ask anew. A roll that owes contracts stays. Nor is there anything left to offset of what ended.
    """
    ended = unit.orders.contract_order(order_id)
    family = unit.orders.instrument_order(ended.parent_id)
    children = unit.orders.children([family.id])[family.id]
    open_parents = {order.parent_id for order in unit.orders.active_broker_orders()}
    still_open = [child for child in children if unit.orders.open_contract_order(child.id) is not None]
    after = [child for child in still_open if child.sequence > ended.sequence and child.id not in open_parents]
    for child in after:
        unit.orders.end_contract_order(child.id, DONE if child.is_filled else status, now, note)
    of_instrument = [child for child in (ended, *after) if child.instrument == family.instrument]
    call_off_offsets(unit, family, sum(leg.remaining for child in of_instrument for leg in child.legs), now)
    left = [child for child in still_open if child not in after]
    if any(not child.is_filled or child.id in open_parents for child in left):
        return
    for child in left:
        unit.orders.end_contract_order(child.id, DONE, now)
    owed = roll_debt(children) if family.order_type is InstrumentOrderType.ZERO_ROLL else {}
    if owed:
        unit.orders.set_waiting(family.id, f"{told(owed)} is owed")
        return
    unit.orders.end_instrument_order(family.id, status, now, note)
    if not any(child.instrument == family.instrument for child in children):
        call_off_offsets(unit, family, family.unfilled, now)


def call_off_offsets(unit: UnitOfWork, family: InstrumentOrder, never: int, now: datetime) -> None:
    """Make smaller what was to trade against a part of a family that does not come: it counted as good as held.

    never: contracts of the family that are not filled any more, signed. Corrected are orders of its strategy that were
    made after it, trade the other way and are not worked yet; what a person ordered stays. Orders that were to keep a
    limit end, whoever holds the position: the pass that keeps limits asks anew.
    """
    if family.roll_order or never == 0:
        return
    why, left = f"order {family.id} ended with {never:+d} unfilled", never
    for order in reversed(unit.orders.without_children(locked_too=True)):
        offsets = order.id > family.id and order.instrument == family.instrument and order.unfilled * never < 0
        if not offsets or order.manual_trade or order.roll_order:
            continue
        if keeps_limit(order):
            unit.orders.end_instrument_order(order.id, OrderStatus.CANCELLED, now, f"{order.note}; {why}")
            continue
        if order.strategy != family.strategy:
            continue
        less = not_beyond(order.unfilled, left if order.condition is None else never, 0)
        if order.condition is None:
            left -= less
        if order.unfilled + less == 0:
            unit.orders.end_instrument_order(order.id, OrderStatus.CANCELLED, now, f"nothing to offset: {why}")
        elif less:
            note = f"{why}: {order.unfilled:+d} became {order.unfilled + less:+d}"
            unit.orders.change_trade(order.id, order.trade + less, note)


def _made_good(children: Sequence[ContractOrder], working: Collection[int], owed: Mapping[Contract, int]) -> bool:
    """Whether a roll that was cut off is over: what it owed is traded, and nothing of it is left on the stack."""
    repaired = any(child.sequence == OWED for child in children)
    return repaired and not owed and not any(child.id in working for child in children if not child.is_filled)


def _ending(filled: bool) -> OrderStatus:
    return apply_to_order(OrderStatus.OPEN, OrderEvent.COMPLETED if filled else OrderEvent.ENDED)
