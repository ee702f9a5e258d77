"""The end of order families: filled to the last leg, or ended with the day."""

from datetime import datetime

from pysys.domain.order_states import OrderEvent, apply_to_order
from pysys.domain.orders import OrderStatus
from pysys.store.unit import UnitOfWork


def complete_orders(unit: UnitOfWork, now: datetime, *, end_of_day: bool = False) -> int:
    """Deactivate families that are entirely filled; at the end of day all families nothing is working for.

    Orders stay in their tables as history. How many instrument orders ended. Safe to repeat.
    """
    open_parents = {order.parent_id for order in unit.orders.active_broker_orders()}
    families = unit.orders.active_instrument_orders()
    children_of = unit.orders.children([family.id for family in families])
    ended = 0
    for family in families:
        children = children_of.get(family.id, [])
        if any(child.id in open_parents for child in children):
            continue
        filled = bool(children) and all(child.is_filled for child in children)
        complete = filled and (family.roll_order or family.unfilled == 0)
        if not complete and not end_of_day:
            continue
        for child in children:
            unit.orders.end_contract_order(child.id, _ending(child.is_filled), now)
        note = "" if complete else "not filled by the end of the day"
        unit.orders.end_instrument_order(family.id, _ending(complete), now, note)
        ended += 1
    return ended


def _ending(filled: bool) -> OrderStatus:
    return apply_to_order(OrderStatus.OPEN, OrderEvent.COMPLETED if filled else OrderEvent.ENDED)
