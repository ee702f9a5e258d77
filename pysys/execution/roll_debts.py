"""Rolls that were cut off between two contracts: how far each leg may go, and how what is missing is made good."""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime

from pysys.config import Config
from pysys.domain.contracts import Contract
from pysys.domain.limits import TradeLimit
from pysys.domain.orders import ContractOrder, InstrumentOrder, InstrumentOrderType, OrderLeg, OrderStatus, lowest_terms
from pysys.domain.roll_debts import ENTERS, LEAVES, OWED, roll_debt, told, uneven
from pysys.execution.algo_choice import algo_for
from pysys.execution.position_sums import less_contracts
from pysys.execution.roll_views import last_price, owing_families, price_in, roll_view, working_families
from pysys.execution.sizing import Allowance
from pysys.store.unit import UnitOfWork

MADE_GOOD_OTHERWISE = "what it left was made good by other trades"


def roll_allowance(unit: UnitOfWork, order: ContractOrder, now: datetime, limits: Sequence[TradeLimit]) -> Allowance:
    """What a roll order may send now: leaving needs room for entering too, and entering waits for what was left.

    So the two take turns, and wherever the roll is cut off no more is missing than one broker order has moved.
    """
    family = unit.orders.children([order.parent_id])[order.parent_id]
    in_legs = any(child.sequence == ENTERS for child in family)
    if uneven(order) or (order.sequence == LEAVES and not in_legs):
        return Allowance(now, limits)
    owed = roll_debt(family)
    if order.sequence == LEAVES:
        return Allowance(now, limits, counterpart=True, most=0 if owed else None)
    most = _units_of(order, owed)
    if order.sequence == OWED:
        most = min(most, _missing(unit, order))
    return Allowance(now, limits, most=most)


def _units_of(order: ContractOrder, owed: Mapping[Contract, int]) -> int:
    """Units of an order, in lowest terms, that are owed."""
    _, units = lowest_terms(tuple(leg.trade for leg in order.legs))
    one = {leg.contract: leg.trade // abs(units) for leg in order.legs}  # signed as ordered
    return max(0, min(owed.get(c, 0) // n if n > 0 else -owed.get(c, 0) // -n for c, n in one.items()))


def _missing(unit: UnitOfWork, order: ContractOrder) -> int:
    """Contracts strategies own and are not held, on the side of an order that makes good what its roll left."""
    parent = unit.orders.instrument_order(order.parent_id)
    if parent.instrument != order.instrument:
        return sum(abs(leg.trade) for leg in order.legs)
    missing = less_contracts(unit, order.instrument)
    return max(0, missing if order.legs[0].trade > 0 else -missing)


def make_good(
    unit: UnitOfWork, config: Config, now: datetime, chosen: Callable[[InstrumentOrder], bool] | None = None
) -> int:
    """Order again what rolls that were cut off still owe, in the contracts they were to reach; how many orders.

    chosen: which rolls; all of them when not given. Only what is really missing is ordered: where other trades have
    brought strategies and contracts together again, the roll ends.
    """
    made = 0
    for family in owing_families(unit):
        parent, market = family.parent, family.children[0].instrument
        if chosen is not None and not chosen(parent):
            continue
        locked = unit.restrictions.locked_instruments()
        busy = [
            each.parent.id
            for each in working_families(unit)
            if each.parent.id != parent.id and market in {child.instrument for child in each.children}
        ]
        owed = _still_missing(unit, parent, market, family.remaining)
        if not owed:
            unit.orders.end_instrument_order(parent.id, OrderStatus.CANCELLED, now, MADE_GOOD_OTHERWISE)
        elif market in locked:
            _wait(unit, parent, f"{told(owed)} is owed; {market} is locked, {locked[market]}")
        elif busy:
            _wait(unit, parent, f"{told(owed)} is owed; after order {busy[0]} in {market}")
        else:
            made += _order_again(unit, config, parent, market, owed, now)
    return made


def _still_missing(
    unit: UnitOfWork, parent: InstrumentOrder, market: str, owed: Mapping[Contract, int]
) -> dict[Contract, int]:
    """What is owed, as far as it is missing between what strategies own and what is held; of a spread all of it."""
    if parent.instrument != market or len(owed) > 1:
        return dict(owed)
    ((contract, quantity),) = owed.items()
    missing = less_contracts(unit, market)
    left = max(0, min(quantity, missing)) if quantity > 0 else min(0, max(quantity, missing))
    return {contract: left} if left else {}


def _wait(unit: UnitOfWork, parent: InstrumentOrder, why: str) -> None:
    if parent.waits_for != why:
        unit.orders.set_waiting(parent.id, why)


def _order_again(
    unit: UnitOfWork, config: Config, parent: InstrumentOrder, market: str, owed: dict[Contract, int], now: datetime
) -> int:
    own = parent.instrument == market
    legs = {_not_behind(unit, config, market, c, n) if own else c: n for c, n in owed.items()}
    for contract, quantity in sorted(legs.items()):
        order = ContractOrder(
            strategy=parent.strategy,
            instrument=market,
            legs=(OrderLeg(contract, quantity),),
            order_type=InstrumentOrderType.BEST,
            generated_at=now,
            reference_price=_reference(unit, config, parent, contract),
            roll_order=True,
            algo_to_use=algo_for(config, InstrumentOrderType.ZERO_ROLL, market),
            sequence=OWED,
        )
        unit.orders.place_contract_order(parent.id, order)
    unit.orders.set_waiting(parent.id, "")
    return len(legs)


def _not_behind(unit: UnitOfWork, config: Config, market: str, contract: Contract, quantity: int) -> Contract:
    """Where it is traded: a contract that is entered and has been rolled out of meanwhile gives way to the priced."""
    view = roll_view(unit, config, market)
    leaving = unit.positions.contract_position(contract) * quantity < 0
    return contract if view is None or leaving else max(contract, view.standing.priced)


def _reference(unit: UnitOfWork, config: Config, parent: InstrumentOrder, contract: Contract) -> float | None:
    """The last price of the priced contract moved to this one; None for a leg of a spread."""
    view = roll_view(unit, config, parent.instrument) if parent.instrument == contract.instrument else None
    price = None if view is None else last_price(unit, view)
    if view is None or price is None:
        return None
    return price_in(unit, view, price, view.standing.priced.date, contract)
