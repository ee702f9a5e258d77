"""The end of order families: filled to the last leg, or ended with the day."""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime

from pysys.domain.contracts import Contract
from pysys.domain.order_states import OrderEvent, apply_to_order
from pysys.domain.orders import ContractOrder, InstrumentOrderType, OrderStatus
from pysys.domain.roll_debts import OWED, roll_debt, told
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
    and the strategy may ask anew. A roll that owes contracts stays.
    """
    ended = unit.orders.contract_order(order_id)
    family = unit.orders.instrument_order(ended.parent_id)
    children = unit.orders.children([family.id])[family.id]
    open_parents = {order.parent_id for order in unit.orders.active_broker_orders()}
    still_open = [child for child in children if unit.orders.open_contract_order(child.id) is not None]
    after = [child for child in still_open if child.sequence > ended.sequence and child.id not in open_parents]
    for child in after:
        unit.orders.end_contract_order(child.id, DONE if child.is_filled else status, now, note)
    left = [child for child in still_open if child not in after]
    if any(not child.is_filled or child.id in open_parents for child in left):
        return
    for child in left:
        unit.orders.end_contract_order(child.id, DONE, now)
    owed = roll_debt(children) if family.order_type is InstrumentOrderType.ZERO_ROLL else {}
    if owed:
        unit.orders.set_waiting(family.id, f"{told(owed)} is owed")
    else:
        unit.orders.end_instrument_order(family.id, status, now, note)


def _made_good(children: Sequence[ContractOrder], working: Collection[int], owed: Mapping[Contract, int]) -> bool:
    """Whether a roll that was cut off is over: what it owed is traded, and nothing of it is left on the stack."""
    repaired = any(child.sequence == OWED for child in children)
    return repaired and not owed and not any(child.id in working for child in children if not child.is_filled)


def _ending(filled: bool) -> OrderStatus:
    return apply_to_order(OrderStatus.OPEN, OrderEvent.COMPLETED if filled else OrderEvent.ENDED)
