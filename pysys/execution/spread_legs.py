"""Legs that a spread between markets was left with when its order ended half done, and what becomes of them.

One market may have filled when the day ended and the other not. What is held of the first is then no spread yet, and
no strategy owns it. The next order for the spread takes it over: it trades that much less of that market.
"""

from dataclasses import replace
from datetime import datetime

from pysys.domain.contracts import Contract
from pysys.domain.orders import ContractOrder, InstrumentOrder, InstrumentOrderType, OrderLeg, OrderStatus
from pysys.domain.spreads import Spread, units_filled
from pysys.store.unit import UnitOfWork


def odd_legs(unit: UnitOfWork, spread: Spread) -> dict[str, int]:
    """Contracts of each market held for a spread between markets, of no whole unit and of no live order."""
    odd = dict.fromkeys(spread.markets, 0)
    for (owner, contract), held in unit.orders.legs_held_for_others().items():
        if owner == spread.code:
            odd[contract.instrument] = odd.get(contract.instrument, 0) + held
    units = sum(held for (_, code), held in unit.positions.strategy_positions().items() if code == spread.code)
    live = [order for order in unit.orders.active_instrument_orders() if order.instrument == spread.code]
    families = unit.orders.children([order.id for order in live])
    for children in families.values():
        for traded in (leg for child in children for leg in child.legs):
            odd[traded.contract.instrument] -= traded.fill
    whole = units - sum(units_filled(children) for children in families.values())
    for leg in spread.legs:
        odd[leg.instrument] -= whole * leg.ratio
    return odd


def taken_over(odd: int, trade: int) -> int:
    """How much of a trade in one market the odd contracts held there already are.

    >>> taken_over(3, 5), taken_over(7, 5), taken_over(-3, 5), taken_over(-9, -5)
    (3, 5, 0, -5)
    """
    if odd * trade <= 0:
        return 0
    return min(odd, trade) if trade > 0 else max(odd, trade)


def filled_child(order: InstrumentOrder, contract: Contract, quantity: int, price: float | None) -> ContractOrder:
    """A contract order that stands for contracts taken over: filled before it is placed, at the last price."""
    return ContractOrder(
        strategy=order.strategy,
        instrument=contract.instrument,
        legs=(OrderLeg(contract, quantity, quantity, price),),
        order_type=InstrumentOrderType.BALANCE,
        generated_at=order.generated_at,
        inter_spread_order=True,
        note="taken over from an order that ended half done",
    )


def hand_over(unit: UnitOfWork, order: InstrumentOrder, child: ContractOrder, now: datetime) -> None:
    """Place a filled child, and against it one of an order that trades nothing: held for the spread is what was."""
    _place_filled(unit, order.id, child, now)
    giver = InstrumentOrder(
        strategy=order.strategy,
        instrument=order.instrument,
        trade=0,
        order_type=InstrumentOrderType.BALANCE,
        generated_at=now,
        note=f"legs handed on to order {order.id}",
    )
    giver_id = unit.orders.place_instrument_order(giver)
    legs = tuple(replace(leg, trade=-leg.trade, fill=-leg.fill) for leg in child.legs)
    _place_filled(unit, giver_id, replace(child, legs=legs, note=giver.note), now)
    unit.orders.end_instrument_order(giver_id, OrderStatus.DONE, now, giver.note)


def _place_filled(unit: UnitOfWork, parent_id: int, child: ContractOrder, now: datetime) -> None:
    child_id = unit.orders.place_contract_order(parent_id, child)
    legs = dict(enumerate(child.legs))
    unit.orders.fill_contract_order(child_id, legs, child.legs[0].filled_price, now)
    unit.orders.end_contract_order(child_id, OrderStatus.DONE, now, child.note)
