"""Broker orders: for which contract orders one is made now, of what size, and at what price."""

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from pysys.broker.port import Quote
from pysys.desk import Desk
from pysys.domain.contracts import Contract
from pysys.domain.order_states import OrderEvent, apply_to_order
from pysys.domain.orders import (
    BrokerOrder,
    ContractOrder,
    InstrumentOrderType,
    OrderLeg,
    OrderStatus,
    lowest_terms,
)
from pysys.domain.roll_debts import ENTERS, LEAVES, uneven
from pysys.domain.spreads import units_filled
from pysys.execution.algo_base import Decline, OrderMarket, Wanted, market_of, within_parent_limit
from pysys.execution.algo_choice import PANIC_ALGO
from pysys.execution.algos import algo_named
from pysys.execution.allowances import allowance
from pysys.execution.completion import end_what_hung_on
from pysys.execution.not_sent import NEEDS_OPERATOR, Attempts, Declined, NotSent, Retries
from pysys.execution.quotes import fresh_quote
from pysys.execution.sending import held_up, submit, write_if_allowed
from pysys.execution.sizing import Allowance, Sizes, cut_to_liquidity, one_lot, passive_depths

SHORT_OF_TIME = timedelta(minutes=30)
AT_ONCE = "market"  # algo for a leg without which the others are no spread: it has no limit of its own

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class OpenMarket:
    """An instrument that trades now, and when it stops."""

    closes: datetime  # UTC


def workable(orders: Iterable[ContractOrder], open_orders: Iterable[BrokerOrder]) -> list[ContractOrder]:
    """Contract orders a new broker order may be made for.

    One broker order at a time for each contract order, and nothing new while its predecessor's fate is unknown. In one
    instrument panic orders go first, then roll orders, and within a family the order that closes before the one that
    opens; a roll in legs leaves and enters by turns.
    """
    stack = list(orders)
    waiting = [order for order in stack if not order.is_filled]
    busy = {order.parent_id for order in open_orders}
    busy_instruments = {order.instrument: order.parent_id for order in open_orders}
    panicking = {order.instrument for order in waiting if is_panic(order)}
    rolling = {order.instrument for order in waiting if order.roll_order} - panicking
    first_of_family: dict[int, int] = {}
    for order in waiting:
        first_of_family[order.parent_id] = min(first_of_family.get(order.parent_id, order.sequence), order.sequence)
    first_of_family |= _entering_next(stack)
    return [
        order
        for order in waiting
        if order.id not in busy
        and busy_instruments.get(order.instrument, order.id) == order.id
        and (is_panic(order) or order.instrument not in panicking)
        and (order.roll_order or order.instrument not in rolling)
        and order.sequence == first_of_family[order.parent_id]
    ]


def _entering_next(orders: Iterable[ContractOrder]) -> dict[int, int]:
    """Rolls that have left more than they have entered, by parent, and the sequence whose turn it therefore is."""
    left: dict[int, int] = {}
    entering: dict[int, ContractOrder] = {}
    for order in orders:
        if order.roll_order and order.sequence == LEAVES and not uneven(order):
            left[order.parent_id] = abs(units_filled([order]))
        elif order.roll_order and order.sequence == ENTERS:
            entering[order.parent_id] = order
    return {
        family: ENTERS
        for family, order in entering.items()
        if uneven(order) or left.get(family, 0) > abs(units_filled([order]))
    }


def in_the_way(orders: Iterable[ContractOrder], open_orders: Iterable[BrokerOrder]) -> list[tuple[BrokerOrder, int]]:
    """Broker orders that a panic order of their instrument waits for, each with the id of that contract order."""
    panics = {order.instrument: order.id for order in orders if is_panic(order) and not order.is_filled}
    return [
        (working, panics[working.instrument])
        for working in open_orders
        if working.instrument in panics and working.algo_used != PANIC_ALGO
    ]


def is_panic(order: ContractOrder) -> bool:
    return order.order_type is InstrumentOrderType.PANIC


@dataclass(frozen=True, slots=True)
class _Case:
    """One contract order and what is known about it in the store before the broker is asked anything."""

    parent: ContractOrder
    ends: datetime  # UTC, of the session or of the stack handler's day
    tick_size: float | None
    allowed: Allowance


def create_broker_orders(
    desk: Desk,
    waiting: Sequence[ContractOrder],
    working: Sequence[BrokerOrder],
    open_markets: Mapping[str, OpenMarket | None],
    stops: datetime,
    retries: Retries | None = None,
) -> int:
    """Write and send a broker order for each contract order that can trade now; how many were sent.

    open_markets: the instruments to look at, None for one whose market is closed. retries: what held orders up before;
    a fresh one begins without a memory. Why nothing was sent becomes the note of the contract order.

    Raises BrokerUnavailable when the broker does not answer a question or cannot be sent to.
    """
    memory = Retries() if retries is None else retries
    now = desk.clock.now()
    ready = {order.id for order in workable(waiting, working)}
    busy = {order.parent_id for order in working}
    reasons: dict[int, Declined] = {}
    candidates = []
    for parent in waiting:
        if parent.instrument not in open_markets or parent.id in busy or parent.is_filled:
            continue
        if open_markets[parent.instrument] is None:
            reasons[parent.id] = Declined(NotSent.CLOSED)
        elif parent.id not in ready:
            reasons[parent.id] = Declined(NotSent.TURN)
        elif memory.holds(parent.id, now) is None:
            candidates.append(parent)
    cases, refused = _look_up(desk, candidates, open_markets, stops, now)
    reasons |= refused
    sent = 0
    for case in cases:
        outcome = _prepare(desk, case, now)
        if isinstance(outcome, BrokerOrder):
            outcome = write_if_allowed(desk, outcome, now)
        if isinstance(outcome, Declined):
            reasons[case.parent.id] = outcome
            continue
        memory.sent(case.parent.id)
        if len(outcome.legs) < len(case.parent.legs):
            alone = f"filled {_done(case.parent)}; the missing leg is sent by itself"
            reasons[case.parent.id] = Declined(NotSent.UNBALANCED, alone)
        submit(desk, outcome)
        sent += 1
    _note(desk, [order for order in waiting if order.id in reasons], reasons, memory, now)
    return sent


def _look_up(
    desk: Desk,
    candidates: Sequence[ContractOrder],
    open_markets: Mapping[str, OpenMarket | None],
    stops: datetime,
    now: datetime,
) -> tuple[list[_Case], dict[int, Declined]]:
    """What the store has against each order, or the case to put to its algo. One read for all of them."""
    cases: list[_Case] = []
    refused: dict[int, Declined] = {}
    if not candidates:
        return cases, refused
    with desk.store.read() as unit:
        attempts = unit.orders.attempts_without_fill([order.id for order in candidates])
        for parent in candidates:
            why = held_up(unit, parent)
            if why is None and parent.id in attempts:
                why = Attempts(*attempts[parent.id]).verdict(now)
            market = open_markets[parent.instrument]
            if why is not None or market is None:
                refused[parent.id] = Declined(NotSent.CLOSED) if why is None else why
                continue
            tick = unit.markets.instrument(parent.instrument).tick_size
            cases.append(_Case(parent, min(market.closes, stops), tick, allowance(unit, desk.config, parent, now)))
    return cases, refused


def _prepare(desk: Desk, case: _Case, now: datetime) -> BrokerOrder | Declined:
    """The broker order an algo wants, cut to what limits and the book allow."""
    parent = case.parent
    if parent.is_overfilled:
        return Declined(NotSent.OVERFILLED, _done(parent))
    lacking = dict(sorted(uneven(parent).items())[:1])
    wanted = lacking if lacking else {leg.contract: leg.remaining for leg in parent.legs}
    limit = None if lacking else parent.limit_price  # of the legs together
    name = parent.algo_to_use if limit == parent.limit_price else AT_ONCE
    algo = algo_named(name)
    sizes = case.allowed.cut(tuple(wanted.values()))
    if isinstance(sizes, Declined):
        return sizes
    quotes = [fresh_quote(desk, contract) for contract in wanted]
    full = tuple(quote for quote in quotes if quote is not None)
    market: OrderMarket | None = None
    if len(full) == len(quotes):
        market = market_of(sizes, full, case.tick_size, short_of_time=case.ends - now < SHORT_OF_TIME)
    elif not algo.unrestricted:
        return Declined(NotSent.NO_QUOTE)
    if algo.cut_to_liquidity:
        sizes = cut_to_liquidity(sizes, passive_depths(sizes, full))
        if 0 in sizes:
            return Declined(NotSent.NO_LIQUIDITY, _displayed(wanted, full))
    if not algo.whole_order:
        sizes = one_lot(sizes)
    decision = algo.first(Wanted(min(abs(quantity) for quantity in sizes), limit), market)
    if isinstance(decision, Decline):
        return Declined(NotSent.ALGO_DECLINED, decision.reason)
    send = within_parent_limit(decision, market, limit, _direction(sizes))
    return BrokerOrder(
        order_ref="",
        parent_id=parent.id,
        strategy=parent.strategy,
        instrument=parent.instrument,
        legs=tuple(OrderLeg(contract, quantity) for contract, quantity in zip(wanted, sizes, strict=True)),
        order_type=send.order_type.value,
        algo_used=name,
        broker=desk.broker.name,
        created_at=now,
        limit_price=send.limit_price,
        side_price=None if market is None else float(market.side),
        mid_price=None if market is None else market.mid,
        offside_price=None if market is None else float(market.offside),
        roll_order=parent.roll_order,
        algo_state={} if limit is None else {"parent_limit": str(limit)},
    )


def _direction(sizes: Sizes) -> int:
    return 1 if lowest_terms(sizes)[1] > 0 else -1


def _done(parent: ContractOrder) -> str:
    return ", ".join(f"{leg.fill:+d} of {leg.trade:+d} {leg.contract.date}" for leg in parent.legs)


def _displayed(contracts: Iterable[Contract], quotes: Sequence[Quote]) -> str:
    return ", ".join(
        f"{contract.date} {quote.bid_size}/{quote.ask_size}" for contract, quote in zip(contracts, quotes, strict=True)
    )


def _note(
    desk: Desk,
    orders: Sequence[ContractOrder],
    reasons: Mapping[int, Declined],
    memory: Retries,
    now: datetime,
) -> None:
    """Write down why nothing was sent where that has changed; tell a person, once, of what has lasted too long."""
    notes: dict[int, str] = {}
    alerts: list[tuple[ContractOrder, str]] = []
    for order in orders:
        reason = reasons[order.id]
        hopeless = reason.reason in (NotSent.GIVEN_UP, NotSent.UNBALANCED, NotSent.OVERFILLED)
        hopeless |= order.roll_order and reason.reason is NotSent.OVERRIDE  # its contract expires all the same
        text = str(reason)
        if memory.declined(order.id, reason, now) or hopeless:
            text = f"{NEEDS_OPERATOR}: {text}"
            if not order.note.startswith(NEEDS_OPERATOR):
                alerts.append((order, text))
        if text != order.note and reason.reason is not NotSent.TRIED_JUST_NOW:
            notes[order.id] = text
    given_up_now = [order.id for order in orders if reasons[order.id].reason is NotSent.GIVEN_UP]
    if not notes and not given_up_now:
        return
    with desk.store.write() as unit:
        unit.orders.note_contract_orders(notes)
        for order_id in given_up_now:
            failed = apply_to_order(OrderStatus.OPEN, OrderEvent.GIVEN_UP)
            unit.orders.end_contract_order(order_id, failed, now, notes.get(order_id, ""))
            end_what_hung_on(unit, order_id, failed, now, f"contract order {order_id}: {reasons[order_id]}")
        unit.commit()
    for order, text in alerts:
        log.critical(
            "contract order %s in %s: %s", order.id, order.instrument, text, extra={"instrument_code": order.instrument}
        )
