"""Trades a person enters: orders to be executed, and trades that happened elsewhere and must be in the books."""

import math
from dataclasses import replace
from datetime import datetime

from pysys.config import Config
from pysys.domain.contracts import Contract
from pysys.domain.orders import (
    ROLL_PSEUDO_STRATEGY,
    BrokerOrder,
    BrokerOrderStatus,
    ContractOrder,
    Fill,
    InstrumentOrder,
    InstrumentOrderType,
    OrderLeg,
    OrderStatus,
)
from pysys.domain.overrides import left_of
from pysys.domain.spreads import whole_units
from pysys.execution.algo_choice import algo_for
from pysys.execution.fills import land_fills
from pysys.execution.known_names import require_known_strategy, unknown_contracts
from pysys.execution.position_sums import less_contracts
from pysys.execution.requests import Refused, Request, refuse
from pysys.execution.restraining import take_snapshot
from pysys.execution.spread_book import spread_named
from pysys.execution.stack_methods import StackHandler
from pysys.store.stacks import Level
from pysys.store.unit import UnitOfWork

BY_HAND = "manual"  # broker of fills that no broker reported to us

PANIC = InstrumentOrderType.PANIC

Legs = dict[str, int]  # contract date: contracts, signed


# --- to be executed ---


def manual_order(
    unit: UnitOfWork,
    request: Request,
    strategy: str,
    instrument: str,
    trade: int = 0,
    order_type: InstrumentOrderType = InstrumentOrderType.BEST,
    legs: Legs | None = None,
) -> str:
    """Put an order on the stacks that will be sent.

    Without legs the contract is chosen as for any order. With one leg it is traded in that contract; with two or three
    they are one order, and the strategy's position moves by what they add up to, which `trade` must be when given: by 0
    for a calendar spread of as many bought as sold. An instrument that is a spread is ordered in units, without legs.
    """
    unit.markets.instrument(instrument)
    _require_strategy(strategy, "A manual order")
    refuse(
        order_type in (InstrumentOrderType.ZERO_ROLL, InstrumentOrderType.BALANCE, InstrumentOrderType.LIMIT),
        f"A manual order is not of type {order_type.value}.",
    )
    chosen = {} if legs is None else legs
    total = sum(chosen.values()) if chosen else trade
    refuse(not chosen and trade == 0, "A manual order trades something: give trade, or legs.")
    refuse(any(quantity == 0 for quantity in chosen.values()), "Every leg trades something.")
    refuse(bool(chosen) and trade not in (0, total), f"The legs add up to {total:+d}, not to the trade of {trade:+d}.")
    refuse(
        bool(chosen) and spread_named(request.config, instrument) is not None,
        f"{instrument} is a spread, whose legs follow from the priced contract: give trade, in units, or order "
        "the legs in their own market.",
    )
    unknown = unknown_contracts(unit, request.now, instrument, list(chosen))
    refuse(bool(unknown), unknown)
    beyond = _guard_manual_order(unit, request, strategy, instrument, total, is_panic=order_type is PANIC)
    order = InstrumentOrder(
        strategy,
        instrument,
        total,
        order_type,
        request.now,
        manual_trade=True,
        note=request.note,
        guard_overridden=request.note if beyond else "",
    )
    order_id = unit.orders.place_instrument_order(order)
    if not chosen:
        return f"Instrument order {order_id} of {total:+d} {instrument} is on the stack and will be sent."
    child = ContractOrder(
        strategy=strategy,
        instrument=instrument,
        legs=tuple(OrderLeg(Contract(instrument, date), quantity) for date, quantity in chosen.items()),
        order_type=order_type,
        generated_at=request.now,
        manual_trade=True,
        algo_to_use=algo_for(request.config, order_type, instrument),
        note=request.note,
    )
    child_id = unit.orders.place_contract_order(order_id, child)
    what = ", ".join(f"{quantity:+d} {date}" for date, quantity in chosen.items())
    return f"Contract order {child_id} of {what} in {instrument} is on the stack and will be sent."


def _guard_manual_order(
    unit: UnitOfWork, request: Request, strategy: str, instrument: str, trade: int, *, is_panic: bool
) -> bool:
    """Whether the order breaks an override or a position limit, and a person said it may.

    What goes beyond a limit like that stays: the pass that keeps limits leaves it alone until the position is back.
    """
    refuse(unit.restrictions.kill_switch_engaged(), "The kill switch is engaged.")
    locked = unit.restrictions.locked_instruments()
    request.guard(instrument in locked, f"{instrument} is locked, {locked.get(instrument)}: it would wait.")
    require_known_strategy(unit, request.config, strategy)
    snapshot = take_snapshot(unit, request.config)
    effective, key = snapshot.effective(), (strategy, instrument)
    held, override = effective.get(key, 0), snapshot.override(key)
    if is_panic:
        return False
    forbidden = override.kind == "no_trading" or left_of(override, held, trade) != trade
    request.guard(forbidden, f"The override {override} of {strategy} in {instrument} does not let {trade:+d} through.")
    beyond = list(snapshot.beyond(key, trade))
    for (_, code), limit, position, change in beyond:
        request.guard(True, f"{position:+d} {code} and this {change:+d} go beyond the limit of {limit}.")
    for (whose, code), limit, position, change in beyond:
        unit.restrictions.waive_limit(whose, code, abs(position + change) - limit)
    return forbidden or bool(beyond)


def _require_strategy(strategy: str, what: str) -> None:
    refuse(
        not strategy or strategy == ROLL_PSEUDO_STRATEGY,
        f"{what} needs the strategy whose position it moves, not {strategy!r}.",
    )


def cash_fx_trade(handler: StackHandler, request: Request, pair: str, amount: float) -> str:
    """Exchange currency at the broker: `amount` of the first currency of `pair`, positive buys it.

    Carried out again after a crash it is still one trade: the broker knows it by the token.
    """
    trade = handler.desk.broker.trade_fx(f"fx-{request.token}", pair, amount)
    did = "Bought" if amount > 0 else "Sold"
    return f"{did} {abs(trade.amount):,.2f} {pair[:3]} at {trade.rate:.6g} {pair[3:]}."


# --- never sent ---


def balance_trade(
    unit: UnitOfWork,
    request: Request,
    strategy: str,
    instrument: str,
    contract: str,
    quantity: int,
    price: float,
    filled_at: datetime | None = None,
    commission: float = 0.0,
) -> str:
    """Book a trade that happened and is missing here: a filled family, and both positions moved. Nothing is sent.

    price: in quote points. commission: positive cost, in the instrument's currency.
    """
    currency = unit.markets.instrument(instrument).currency
    refuse(quantity == 0, "A balance trade moves a position: its quantity is not 0.")
    _require_strategy(strategy, "A balance trade")
    require_known_strategy(unit, request.config, strategy)
    _require_numbers(price, commission)
    refuse(
        spread_named(request.config, instrument) is not None,
        f"{instrument} is a spread, and a trade of it is of several contracts. While no engine runs, order it with "
        "`manual_order`, make its contract orders with `spawn_children`, and book each leg with `fill_by_hand`.",
    )
    unknown = unknown_contracts(unit, request.now, instrument, [contract])
    request.guard(bool(unknown), unknown)
    when = request.now if filled_at is None else filled_at
    refuse(when.tzinfo is None or when > request.now, f"A balance trade has happened; {when} has not, or has no zone.")
    leg = OrderLeg(Contract(instrument, contract), quantity)
    parent = _balance_order(unit, request, strategy, instrument, quantity)
    child = ContractOrder(
        strategy, instrument, (leg,), InstrumentOrderType.BALANCE, request.now, manual_trade=True, note=request.note
    )
    child_id = unit.orders.place_contract_order(parent.id, child)
    fill = Fill(
        BY_HAND, request.token, f"balance-{request.token}", leg.contract, quantity, price, when, commission, currency
    )
    _book_by_hand(unit, request, replace(child, id=child_id, parent_id=parent.id), (leg,), fill)
    unit.orders.end_contract_order(child_id, OrderStatus.DONE, request.now)
    unit.orders.end_instrument_order(parent.id, OrderStatus.DONE, request.now)
    return f"Booked {quantity:+d} {leg.contract} at {price:g} for {strategy}. Nothing was sent."


def balance_instrument_trade(
    unit: UnitOfWork, request: Request, strategy: str, instrument: str, quantity: int, price: float | None = None
) -> str:
    """Move a strategy's position alone, where strategies do not add up to contracts. Nothing is sent.

    Of a spread, to its legs: `quantity` is in units.
    """
    unit.markets.instrument(instrument)
    refuse(quantity == 0, "A balance trade moves a position: its quantity is not 0.")
    _require_strategy(strategy, "A balance trade")
    require_known_strategy(unit, request.config, strategy)
    _require_numbers(0.0 if price is None else price)
    try:
        apart = _strategies_apart(unit, request.config, instrument)
    except ValueError as error:
        request.guard(True, f"{error}.")
    else:
        request.guard(
            abs(apart + quantity) > abs(apart),
            f"Strategies less contracts is {apart:+d} in {instrument}, and would be {apart + quantity:+d}.",
        )
    order = _balance_order(unit, request, strategy, instrument, quantity)
    unit.orders.fill_instrument_order(order.id, quantity, price, request.now)
    unit.orders.end_instrument_order(order.id, OrderStatus.DONE, request.now)
    held = unit.positions.move_strategy(
        strategy, instrument, quantity, at=request.now, price=price, fill_id=None, reason="balance instrument trade"
    )
    return f"{strategy} now holds {held:+d} {instrument}. No contract was moved and nothing was sent."


def _strategies_apart(unit: UnitOfWork, config: Config, instrument: str) -> int:
    """What strategies own of an instrument less what is held for it; of a spread in units.

    Raises ValueError when the legs held for a spread are no whole units.
    """
    spread = spread_named(config, instrument)
    if spread is None:
        return less_contracts(unit, instrument)
    own = sum(held for (_, code), held in unit.positions.strategy_positions().items() if code == instrument)
    legs = {contract: n for (owner, contract), n in unit.orders.legs_held_for_others().items() if owner == instrument}
    return own - whole_units(spread, legs, unit.markets.all_roll_parameters())


def fill_by_hand(
    unit: UnitOfWork,
    request: Request,
    contract_order: int,
    contract: str,
    quantity: int,
    price: float,
    order_ref: str = "",
    filled_at: datetime | None = None,
    commission: float = 0.0,
) -> str:
    """Book an execution the broker did not report, of one leg of a contract order, or of one of its broker orders.

    Refused while the broker may still report it, and when it fills more than was ordered.
    """
    active = unit.stacks.active(Level.CONTRACT, contract_order)
    refuse(active is None, f"There is no contract order {contract_order}.")
    order = unit.orders.contract_order(contract_order)
    leg = next((each for each in order.legs if each.contract.date == contract), None)
    if leg is None:
        raise Refused(f"Contract order {contract_order} does not trade {contract}.")
    refuse(quantity == 0, "A fill moves a position: its quantity is not 0.")
    _require_numbers(price, commission)
    too_much = quantity * leg.remaining <= 0 or abs(quantity) > abs(leg.remaining)
    request.guard(too_much, f"{leg.remaining:+d} {leg.contract} are left to fill, and this is {quantity:+d}.")
    unsettled = [each for each in unit.orders.active_broker_orders() if each.parent_id == contract_order]
    request.guard(
        bool(unsettled),
        f"The fate of order {', '.join(each.order_ref for each in unsettled)} is not known: the broker may report "
        "this fill as well, and count it twice: cancel it first, and wait.",
    )
    when = request.now if filled_at is None else filled_at
    refuse(when.tzinfo is None or when > request.now, f"A fill has happened; {when} has not, or has no zone.")
    currency = unit.markets.instrument(leg.contract.instrument).currency
    ref = order_ref if order_ref else f"{contract_order}-hand-{request.token}"
    fill = Fill(BY_HAND, request.token, ref, leg.contract, quantity, price, when, commission, currency)
    if order_ref:
        own = unit.orders.broker_order_by_ref(order_ref)
        refuse(
            own is None or own.parent_id != contract_order, f"{order_ref} is not of contract order {contract_order}."
        )
        land_fills(unit, [fill], request.now, by_hand=True)
    else:
        _book_by_hand(unit, request, order, (OrderLeg(leg.contract, quantity),), fill)
    return f"Booked {quantity:+d} {leg.contract} at {price:g} for contract order {contract_order}."


def _require_numbers(*amounts: float) -> None:
    refuse(not all(map(math.isfinite, amounts)), f"Prices and commissions are numbers, not {amounts}.")


def _balance_order(
    unit: UnitOfWork, request: Request, strategy: str, instrument: str, quantity: int
) -> InstrumentOrder:
    order = InstrumentOrder(
        strategy,
        instrument,
        quantity,
        InstrumentOrderType.BALANCE,
        request.now,
        manual_trade=True,
        note=request.note,
    )
    return replace(order, id=unit.orders.place_instrument_order(order))


def _book_by_hand(
    unit: UnitOfWork, request: Request, parent: ContractOrder, legs: tuple[OrderLeg, ...], fill: Fill
) -> None:
    """A broker order that no broker saw, its fill, and what follows from it."""
    written = unit.orders.write_broker_order(
        BrokerOrder(
            order_ref=fill.order_ref,
            parent_id=parent.id,
            strategy=parent.strategy,
            instrument=parent.instrument,
            legs=legs,
            order_type="market",
            algo_used=BY_HAND,
            broker=BY_HAND,
            created_at=request.now,
            status=BrokerOrderStatus.FILLED,
            roll_order=parent.roll_order,
            submitted_at=fill.filled_at,
        )
    )
    unit.stacks.mark_filled_by_hand(written.id)
    land_fills(unit, [fill], request.now, by_hand=True)
    unit.orders.update_broker_order(written.id, active=False, comment=f"entered {request.note}")
