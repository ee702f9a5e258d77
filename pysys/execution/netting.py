"""Orders of one instrument that want opposite things are crossed inside the house and never sent."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

from pysys.domain.netting import NETTED, Cross, crosses, limit_allows
from pysys.domain.orders import InstrumentOrder, OrderStatus, average_price
from pysys.execution.roll_views import RollView, last_price, price_in
from pysys.store.unit import UnitOfWork


def net_orders(
    unit: UnitOfWork, orders: Sequence[InstrumentOrder], view: RollView | None, now: datetime
) -> list[InstrumentOrder]:
    """Cross the offsetting parts of these orders of one instrument; the orders with what is left to trade.

    orders: without contract orders, free to trade now. Both sides are filled at one price, so no strategy gains from
    another: the newest reference price among them, moved to the priced contract, or without one the last price. An
    order whose limit does not allow that price takes no part, nor does anything while there is no price.
    """
    price = crossing_price(unit, orders, view)
    if price is None:
        return list(orders)
    able = [order for order in orders if _may_cross(unit, order, view, price)]
    current = {order.id: order for order in orders}
    for cross in crosses(able):
        current[cross.buyer], current[cross.seller] = _fill_both(
            unit, current[cross.buyer], current[cross.seller], cross, price, now
        )
    return [order for order in current.values() if order.unfilled != 0]


def crossing_price(unit: UnitOfWork, orders: Sequence[InstrumentOrder], view: RollView | None) -> float | None:
    """Price in the priced contract at which orders cross; None when nothing is known.

    view: None for a spread between markets, whose price is of no one contract.
    """
    newest: tuple[datetime, float] | None = None
    for order in orders:
        price = order.reference_price
        if price is None or order.reference_time is None:
            continue
        if view is not None and order.reference_contract is not None:
            price = price_in(unit, view, price, order.reference_contract, view.standing.priced)
        if price is not None and (newest is None or order.reference_time > newest[0]):
            newest = (order.reference_time, price)
    if newest is not None:
        return newest[1]
    return None if view is None else last_price(unit, view)


def _may_cross(unit: UnitOfWork, order: InstrumentOrder, view: RollView | None, price: float) -> bool:
    if order.limit_price is None:
        return True
    limit: float | None = float(order.limit_price)
    if view is not None and order.limit_contract is not None:
        limit = price_in(unit, view, float(order.limit_price), order.limit_contract, view.standing.priced)
    return limit is not None and limit_allows(order.unfilled, limit, price)


def _fill_both(
    unit: UnitOfWork, buyer: InstrumentOrder, seller: InstrumentOrder, cross: Cross, price: float, now: datetime
) -> tuple[InstrumentOrder, InstrumentOrder]:
    return (
        _fill(unit, buyer, seller, cross.quantity, price, now),
        _fill(unit, seller, buyer, -cross.quantity, price, now),
    )


def _fill(
    unit: UnitOfWork, order: InstrumentOrder, other: InstrumentOrder, quantity: int, price: float, now: datetime
) -> InstrumentOrder:
    """Fill one side: the order, the strategy's position and its history, and the order's note."""
    before = [] if order.filled_price is None else [(order.fill, order.filled_price)]
    average = average_price([*before, (quantity, price)])
    text = f"{NETTED} {quantity:+d} at {price:g} with order {other.id} of {other.strategy}"
    filled = replace(
        order,
        fill=order.fill + quantity,
        filled_price=average,
        note=f"{order.note}; {text}" if order.note else text,
    )
    unit.orders.fill_instrument_order(order.id, filled.fill, average, now)
    unit.orders.set_note(order.id, filled.note)
    unit.positions.move_strategy(
        order.strategy, order.instrument, quantity, at=now, price=price, fill_id=None, reason=NETTED
    )
    if filled.unfilled == 0:
        unit.orders.set_waiting(order.id, "")
        unit.orders.end_instrument_order(order.id, OrderStatus.DONE, now)
    return filled
