"""A fill and everything that follows from it, in one transaction: orders of three levels, and positions."""

from collections.abc import Iterable, Sequence
from datetime import datetime

from pysys.domain.orders import (
    BrokerOrder,
    ContractOrder,
    Fill,
    OrderLeg,
    average_price,
    spread_price,
)
from pysys.store.unit import Store, UnitOfWork

UNMATCHED = "unmatched"  # strategy of fills that belong to no order of ours: expiry, or trades made elsewhere


def record_fills(store: Store, fills: Sequence[Fill], now: datetime) -> list[Fill]:
    """Land fills that are not known yet, each with the positions it moves, in one transaction; the new ones.

    A fill heard again changes nothing, unless it now has the commission it lacked.
    """
    with store.read() as unit:
        settled = unit.positions.settled_executions(fills)
    news = [fill for fill in fills if (fill.broker, fill.execution_id) not in settled]
    if not news:
        return []
    with store.write() as unit:
        new = [fill for fill in news if _land(unit, fill, now)]
        unit.commit()
    return new


def _land(unit: UnitOfWork, fill: Fill, now: datetime) -> bool:
    order = unit.orders.broker_order_by_ref(fill.order_ref)
    fill_id = unit.positions.append_fill_once(
        fill,
        strategy=UNMATCHED if order is None else order.strategy,
        broker_order_id=None if order is None else order.id,
        recorded_at=now,
    )
    if order is not None:
        _update_broker_order(unit, order)
    if fill_id is None:
        return False
    reason = "fill" if order is not None else UNMATCHED
    unit.positions.move_contract(fill.contract, fill.quantity, at=fill.filled_at, fill_id=fill_id, reason=reason)
    if order is not None:
        _update_parents(unit, unit.orders.contract_order(order.parent_id), fill, fill_id)
    return True


def _update_broker_order(unit: UnitOfWork, order: BrokerOrder) -> None:
    """Set legs, average price and commission of a broker order from its fills."""
    rows = unit.positions.fills_of_order(order.id)
    legs = []
    for number, leg in enumerate(order.legs):
        own = [row for row in rows if (row.instrument, row.contract) == (leg.contract.instrument, leg.contract.date)]
        if own:
            price = average_price((row.quantity, row.price) for row in own)
            filled = sum(row.quantity for row in own)
            legs.append(OrderLeg(leg.contract, leg.trade, filled, price))
            if filled != leg.fill:
                unit.orders.fill_broker_leg(order, number, filled, price, max(row.filled_at for row in own))
        else:
            legs.append(leg)
    known = [row.commission for row in rows if row.commission is not None]
    complete = len(known) == len(rows) and rows
    currency = next((row.commission_currency for row in rows if row.commission_currency), None)
    unit.orders.set_broker_totals(order.id, price_of(legs), sum(known) if complete else None, currency)


def _update_parents(unit: UnitOfWork, parent: ContractOrder, fill: Fill, fill_id: int) -> None:
    legs = []
    for number, leg in enumerate(parent.legs):
        if leg.contract != fill.contract:
            legs.append(leg)
            continue
        price = _added(leg.fill, leg.filled_price, fill)
        filled = leg.fill + fill.quantity
        unit.orders.fill_contract_leg(parent, number, filled, price, fill.filled_at)
        legs.append(OrderLeg(leg.contract, leg.trade, filled, price))
    unit.orders.set_contract_price(parent.id, price_of(legs))
    if parent.roll_order:
        return
    family = unit.orders.instrument_order(parent.parent_id)
    unit.orders.fill_instrument_order(
        family.id, family.fill + fill.quantity, _added(family.fill, family.filled_price, fill), fill.filled_at
    )
    unit.positions.move_strategy(
        family.strategy,
        family.instrument,
        fill.quantity,
        at=fill.filled_at,
        price=fill.price,
        fill_id=fill_id,
        reason="fill",
    )


def _added(filled: int, price: float | None, fill: Fill) -> float | None:
    """Average price after one more fill, weighted by size."""
    earlier = [] if price is None or filled == 0 else [(filled, price)]
    return average_price([*earlier, (fill.quantity, fill.price)])


def price_of(legs: Iterable[OrderLeg]) -> float | None:
    """Average price of an order: of one leg its own, of a spread the spread price; None until every leg has one."""
    filled = list(legs)
    prices = tuple(leg.filled_price for leg in filled)
    if any(price is None for price in prices):
        return None
    return spread_price(tuple(leg.trade for leg in filled), tuple(float(p) for p in prices if p is not None))
