"""Broker orders: from a contract order to what is sent, and what the broker says became of it."""

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from pysys.broker.port import BrokerOrderState, OrderTicket, OrderType, Quote, WorkingStatus
from pysys.desk import Desk
from pysys.domain.contracts import Contract
from pysys.domain.errors import OrderRejected, OutcomeUnknown
from pysys.domain.orders import (
    BrokerOrder,
    BrokerOrderStatus,
    ContractOrder,
    Leg,
    OrderLeg,
    OrderStatus,
    lowest_terms,
    next_broker_status,
)
from pysys.execution.algos import algo_named
from pysys.execution.algos.base import Cancel, Modify, OrderMarket, market_of
from pysys.store.unit import UnitOfWork

SHORT_OF_TIME = timedelta(minutes=30)
MAX_REJECTIONS = 5  # of one contract order; then a person must look
_STATUS: dict[WorkingStatus, BrokerOrderStatus] = {
    WorkingStatus.WORKING: BrokerOrderStatus.WORKING,
    WorkingStatus.FILLED: BrokerOrderStatus.FILLED,
    WorkingStatus.CANCELLED: BrokerOrderStatus.CANCELLED,
    WorkingStatus.REJECTED: BrokerOrderStatus.REJECTED,
}

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class OpenMarket:
    """An instrument that trades now, and when it stops."""

    closes: datetime  # UTC


def cut_to_liquidity(trades: tuple[int, ...], depths: tuple[int, ...]) -> tuple[int, ...]:
    """Legs scaled by the scarcest depth, in proportion; all 0 when the proportion cannot be kept in whole contracts.

    >>> cut_to_liquidity((2, -2), (1, 1)), cut_to_liquidity((2, -4), (1, 1)), cut_to_liquidity((10,), (3,))
    ((1, -1), (0, 0), (3,))
    """
    ratios, units = lowest_terms(trades)
    affordable = min(depth // abs(ratio) for ratio, depth in zip(ratios, depths, strict=True))
    kept = min(abs(units), affordable) * (1 if units > 0 else -1)
    return tuple(ratio * kept for ratio in ratios)


def one_lot(trades: tuple[int, ...]) -> tuple[int, ...]:
    """Legs cut until the smallest is one contract; as they are when that cannot be done in proportion.

    >>> one_lot((10,)), one_lot((-2, 2)), one_lot((-3, 4, -3))
    ((1,), (-1, 1), (-3, 4, -3))
    """
    ratios, units = lowest_terms(trades)
    sign = 1 if units > 0 else -1
    if min(abs(ratio) for ratio in ratios) != 1:
        return trades
    return tuple(ratio * sign for ratio in ratios)


def workable(orders: Iterable[ContractOrder], open_orders: Iterable[BrokerOrder]) -> list[ContractOrder]:
    """Contract orders a new broker order may be made for.

    One broker order at a time for each contract order, and nothing new while its predecessor's fate is unknown. In one
    instrument roll orders go first, and within a family the order that closes before the one that opens.
    """
    waiting = [order for order in orders if not order.is_filled]
    busy = {order.parent_id for order in open_orders}
    busy_instruments = {order.instrument: order.parent_id for order in open_orders}
    rolling = {order.instrument for order in waiting if order.roll_order}
    first_of_family: dict[int, int] = {}
    for order in waiting:
        first_of_family[order.parent_id] = min(first_of_family.get(order.parent_id, order.sequence), order.sequence)
    return [
        order
        for order in waiting
        if order.id not in busy
        and busy_instruments.get(order.instrument, order.id) == order.id
        and (order.roll_order or order.instrument not in rolling)
        and order.sequence == first_of_family[order.parent_id]
    ]


def create_broker_orders(
    desk: Desk,
    waiting: Sequence[ContractOrder],
    working: Sequence[BrokerOrder],
    open_markets: Mapping[str, OpenMarket],
    stops: datetime,
) -> int:
    """Write and send a broker order for each contract order that can trade now; how many were sent.

    A contract order whose last broker order was refused or cancelled this very moment waits for the next.
    """
    now = desk.clock.now()
    candidates = [order for order in workable(waiting, working) if order.instrument in open_markets]
    if not candidates:
        return 0
    with desk.store.read() as unit:
        if unit.restrictions.kill_switch_engaged():
            return 0
        locked = unit.restrictions.locked_instruments()
        ticks = {o.instrument: unit.markets.instrument(o.instrument).tick_size for o in candidates}
        tried = {o.id for o in candidates if unit.orders.unfilled_broker_order_at(o.id, now)}
    sent = 0
    for parent in candidates:
        if parent.instrument in locked or parent.id in tried:
            continue
        ends = min(open_markets[parent.instrument].closes, stops)
        order = _prepare(desk, parent, ends, ticks[parent.instrument], now)
        if order is not None and _send(desk, order, now):
            sent += 1
    return sent


def _prepare(
    desk: Desk, parent: ContractOrder, ends: datetime, tick_size: float | None, now: datetime
) -> BrokerOrder | None:
    remaining = tuple(leg.remaining for leg in parent.legs)
    if any(quantity == 0 for quantity in remaining):
        return None
    quotes = [desk.broker.quote(leg.contract) for leg in parent.legs]
    full = tuple(quote for quote in quotes if quote is not None)
    if len(full) < len(quotes):
        return None
    depths = tuple(_passive_depth(q, quote) for q, quote in zip(remaining, full, strict=True))
    cut = cut_to_liquidity(remaining, depths)
    if any(quantity == 0 for quantity in cut):
        return None
    lot = one_lot(cut)
    market = market_of(lot, full, tick_size, short_of_time=ends - now < SHORT_OF_TIME)
    decision = algo_named(parent.algo_to_use).first(min(abs(quantity) for quantity in lot), market)
    return BrokerOrder(
        order_ref="",
        parent_id=parent.id,
        strategy=parent.strategy,
        instrument=parent.instrument,
        legs=tuple(OrderLeg(leg.contract, quantity) for leg, quantity in zip(parent.legs, lot, strict=True)),
        order_type="market" if decision.limit_price is None else "limit",
        algo_used=parent.algo_to_use,
        broker=desk.broker.name,
        created_at=now,
        limit_price=decision.limit_price,
        side_price=float(market.side),
        mid_price=market.mid,
        offside_price=float(market.offside),
        roll_order=parent.roll_order,
    )


def _passive_depth(quantity: int, quote: Quote) -> int:
    return quote.bid_size if quantity > 0 else quote.ask_size


def _send(desk: Desk, order: BrokerOrder, now: datetime) -> bool:
    """Write the order down, commit, send it. False when somebody else had written one meanwhile."""
    with desk.store.write() as unit:
        if any(other.parent_id == order.parent_id for other in unit.orders.active_broker_orders()):
            return False
        number = unit.orders.count_broker_orders(order.parent_id) + 1
        written = unit.orders.write_broker_order(replace(order, order_ref=f"{order.parent_id}-{number}"))
        unit.commit()
    submit(desk, written, now)
    return True


def submit(desk: Desk, order: BrokerOrder, now: datetime) -> None:
    """Send an order that is written down, and note what came of it. Silence leaves it `intended`."""
    ticket = OrderTicket(
        order_ref=order.order_ref,
        legs=tuple(Leg(leg.contract, leg.trade) for leg in order.legs),
        order_type=OrderType(order.order_type),
        limit_price=order.limit_price,
    )
    try:
        desk.broker.submit(ticket)
    except OrderRejected as error:
        status, comment = BrokerOrderStatus.REJECTED, str(error)
    except OutcomeUnknown as error:
        log.warning(
            "order %s: no answer (%s); its fate is asked for before anything else is sent", order.order_ref, error
        )
        return
    else:
        status, comment = BrokerOrderStatus.WORKING, ""
    with desk.store.write() as unit:
        unit.orders.update_broker_order(order.id, status=status, submitted_at=now, comment=comment)
        if unit.orders.count_broker_orders(order.parent_id, BrokerOrderStatus.REJECTED) >= MAX_REJECTIONS:
            note = f"rejected {MAX_REJECTIONS} times, a person must look: {comment}"
            unit.orders.end_contract_order(order.parent_id, OrderStatus.FAILED, now, note)
            log.critical("contract order %s in %s %s", order.parent_id, order.instrument, note)
        unit.commit()


def resolve_fates(desk: Desk) -> int:
    """Ask the broker what became of every order not settled; send again what it never received. Changes made.

    An order is settled when the broker has ended it and every contract it says it filled is recorded as a fill.
    """
    with desk.store.read() as unit:
        unsettled = unit.orders.active_broker_orders()
        stopped = unit.restrictions.kill_switch_engaged()
    if not unsettled:
        return 0
    states = desk.broker.order_states([order.order_ref for order in unsettled])
    changes = 0
    for order in unsettled:
        state = states.get(order.order_ref)
        if state is None:
            changes += _never_received(desk, order, stopped)
        elif _changed(order, state):
            with desk.store.write() as unit:
                _apply_state(unit, order, state)
                unit.commit()
            changes += 1
    return changes


def _never_received(desk: Desk, order: BrokerOrder, stopped: bool) -> int:
    """An order the broker has never heard of: dead if it is stale or trading is stopped, else sent now."""
    now = desk.clock.now()
    if order.status is BrokerOrderStatus.INTENDED and now == order.created_at and not stopped:
        submit(desk, order, now)
        return 1
    with desk.store.write() as unit:
        unit.orders.update_broker_order(
            order.id, status=BrokerOrderStatus.CANCELLED, active=False, comment="the broker never received it"
        )
        unit.commit()
    return 1


def _changed(order: BrokerOrder, state: BrokerOrderState) -> bool:
    reported = next_broker_status(order.status, _STATUS[state.status])
    return reported is not order.status or _is_settled(order, reported, state)


def _is_settled(order: BrokerOrder, status: BrokerOrderStatus, state: BrokerOrderState) -> bool:
    ended = status not in (BrokerOrderStatus.INTENDED, BrokerOrderStatus.WORKING)
    return ended and tuple(leg.fill for leg in order.legs) == state.filled


def _apply_state(unit: UnitOfWork, order: BrokerOrder, state: BrokerOrderState) -> None:
    status = next_broker_status(order.status, _STATUS[state.status])
    unit.orders.update_broker_order(
        order.id,
        status=status,
        permanent_id=state.permanent_id,
        comment=state.message if status is not order.status else None,
        active=False if _is_settled(order, status, state) else None,
    )


def manage_working_orders(
    desk: Desk, orders: Sequence[BrokerOrder], open_markets: Mapping[str, OpenMarket], stops: datetime
) -> int:
    """Let the algo of each working order look at its market; how many orders were moved or cancelled."""
    now = desk.clock.now()
    working = [o for o in orders if o.status is BrokerOrderStatus.WORKING and o.cancel_requested_at is None]
    if not working:
        return 0
    with desk.store.read() as unit:
        ticks = {o.instrument: unit.markets.instrument(o.instrument).tick_size for o in working}
    acted = 0
    for order in working:
        open_market = open_markets.get(order.instrument)
        ends = stops if open_market is None else min(open_market.closes, stops)
        market = _market_now(desk, order, ticks[order.instrument], short_of_time=ends - now < SHORT_OF_TIME)
        action = algo_named(order.algo_used).next(order, market, now)
        if isinstance(action, Modify):
            desk.broker.modify_limit(order.order_ref, action.limit_price)
            state = {**order.algo_state, "aggressive": True, "limit": str(action.limit_price)}
            with desk.store.write() as unit:
                unit.orders.update_broker_order(order.id, algo_state=state, comment=action.reason)
                unit.commit()
            acted += 1
        elif isinstance(action, Cancel):
            request_cancel(desk, order, action.reason)
            acted += 1
    return acted


def _market_now(desk: Desk, order: BrokerOrder, tick_size: float | None, *, short_of_time: bool) -> OrderMarket | None:
    quotes = [desk.broker.quote(leg.contract) for leg in order.legs]
    full = tuple(quote for quote in quotes if quote is not None)
    if len(full) < len(quotes):
        return None
    return market_of(tuple(leg.trade for leg in order.legs), full, tick_size, short_of_time=short_of_time)


def request_cancel(desk: Desk, order: BrokerOrder, reason: str) -> None:
    """Ask the broker to cancel; the order stays open until the broker says what became of it."""
    desk.broker.cancel(order.order_ref)
    with desk.store.write() as unit:
        unit.orders.update_broker_order(order.id, cancel_requested_at=desk.clock.now(), comment=reason)
        unit.commit()


def complete_orders(unit: UnitOfWork, now: datetime, *, end_of_day: bool = False) -> int:
    """Deactivate families that are entirely filled; at the end of day all families nothing is working for.

    How many instrument orders ended.
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
    return OrderStatus.DONE if filled else OrderStatus.CANCELLED


def position_breaks(ours: dict[Contract, int], brokers: dict[Contract, int]) -> dict[str, str]:
    """Instruments whose contract positions differ from the broker's, and how; a missing position is 0."""
    breaks: dict[str, str] = {}
    for contract in sorted(set(ours) | set(brokers)):
        mine, theirs = ours.get(contract, 0), brokers.get(contract, 0)
        if mine != theirs:
            text = f"{contract.date}: database {mine:+d}, broker {theirs:+d}"
            before = breaks.get(contract.instrument)
            breaks[contract.instrument] = text if before is None else f"{before}; {text}"
    return breaks
