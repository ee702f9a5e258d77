"""A fill and everything that follows from it, in one transaction: orders of three levels, and positions."""

import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from pysys.desk import Desk
from pysys.domain.order_states import BrokerEvent, apply_to_broker_order
from pysys.domain.orders import (
    BrokerIds,
    BrokerOrder,
    ContractOrder,
    Fill,
    InstrumentOrder,
    InstrumentOrderType,
    OrderLeg,
    average_price,
    spread_price,
)
from pysys.domain.roll_debts import roll_debt, told
from pysys.domain.spreads import unit_price, units_filled
from pysys.store.unit import Store, UnitOfWork

UNMATCHED = "unmatched"  # strategy of fills that belong to no order of ours: expiry, or trades made elsewhere
FILLS_AGAIN = timedelta(days=1)  # how far back executions are asked for again; hearing one twice changes nothing
FEES_AGAIN = timedelta(days=7)  # how long a commission is waited for: brokers forget executions after that
CLOCKS_APART = timedelta(minutes=5)  # an execution that much older than its order is of another one

log = logging.getLogger(__name__)


@dataclass(slots=True)
class Landed:
    """What came of fills: the new ones, and what a person should know, which is kept beside them."""

    new: list[Fill] = field(default_factory=list)
    alerts: list[str] = field(default_factory=list)


def pull_fills(desk: Desk, now: datetime) -> int:
    """Record executions we have not recorded yet, and commissions that came since; how many fills were new.

    Asks from a day before the last known fill, or from the oldest order not settled, or the oldest fill of the last
    week without a commission, whichever is earliest: so orders long in the history still get theirs.
    """
    with desk.store.read() as unit:
        since = ask_since(unit, now, desk.broker.name)
    return len(record_fills(desk.store, desk.broker.fills_since(since), now))


def ask_since(unit: UnitOfWork, now: datetime, broker: str) -> datetime | None:
    """The moment from which the executions of a broker may hold something new; None for all of them."""
    last = unit.positions.last_fill_time(broker)
    if last is None:
        return None
    moments = [min(last, now) - FILLS_AGAIN]
    feeless = unit.positions.oldest_fill_without_commission(broker, now - FEES_AGAIN)
    if feeless is not None:
        moments.append(feeless)
    working = unit.orders.oldest_active_broker_order(broker)
    if working is not None:
        moments.append(working)
    return min(moments)


def record_fills(
    store: Store, fills: Sequence[Fill], now: datetime, settled: set[tuple[str, str]] | None = None
) -> list[Fill]:
    """Land fills that are not known yet, each with the positions it moves, in one transaction; the new ones.

    A fill heard again changes nothing, unless it now has the commission it lacked. What a person should know of is
    logged as critical, once: with the fill that brought it.

    settled: the caller's memory of executions, (broker, execution id), that are booked with their commission; it is
    added to, and spares the question to the store.
    """
    known = set() if settled is None else settled
    news = [fill for fill in fills if (fill.broker, fill.execution_id) not in known]
    if not news:
        return []
    with store.read() as unit:
        told = unit.positions.settled_executions(news)
    known |= {(f.broker, f.execution_id) for f in news if f.commission is not None} & told
    news = [fill for fill in news if (fill.broker, fill.execution_id) not in told]
    if not news:
        return []
    with store.write() as unit:
        landed = land_fills(unit, news, now)
        unit.commit()
    if landed.alerts:
        tell_of_alerts(store, now)
    return landed.new


def tell_of_alerts(store: Store, now: datetime) -> int:
    """Log what a person should know of fills and has not been told, also by a process that died; how many alerts.

    They are noted as told only afterwards: dying in between, one is told twice and none never.
    """
    with store.read() as unit:
        alerts = unit.positions.untold_alerts()
    if not alerts:
        return 0
    for alert in alerts.values():
        log.critical("%s", alert)
    with store.write() as unit:
        unit.positions.told_alerts(list(alerts), now)
        unit.commit()
    return len(alerts)


def land_fills(unit: UnitOfWork, fills: Iterable[Fill], now: datetime, *, by_hand: bool = False) -> Landed:
    """Land each fill in this transaction, with the orders and positions it changes.

    A fill is of the order with its reference, or else with its permanent id. One that cannot be, though it has the
    reference, moves the contract position alone, and a person is told. What is taken back is taken from the order it
    was booked on, whatever order the news names. by_hand: a person says which order a fill is of.
    """
    landed = Landed()
    orders: dict[int, BrokerOrder] = {}
    for heard in fills:
        order = _order_of(unit, heard)
        order = None if order is None else orders.get(order.id, order)
        foreign = "" if order is None or by_hand else _not_of(unit, order, heard)
        order = None if foreign else order
        touched: int | None = None  # the last fill that was new
        parent: ContractOrder | None = None
        moved = 0  # contracts of that order
        others: dict[int, BrokerOrder] = {}  # that something was taken back from
        for fill in _facts(unit, heard):
            lost = order is None and fill is not heard  # taken back for a fill that no strategy gets
            booked = None if lost else _booked_on(unit, fill, order, orders)
            fill_id = unit.positions.append_fill_once(
                fill,
                strategy=UNMATCHED if booked is None else booked.strategy,
                broker_order_id=None if booked is None else booked.id,
                recorded_at=now,
            )
            if fill_id is None:
                continue
            touched = fill_id
            landed.new.append(fill)
            filled = _move(unit, booked, fill, fill_id)
            if booked is not None and order is not None and booked.id == order.id:
                parent, moved = filled, moved + fill.quantity
            elif booked is not None:
                others[booked.id] = booked
        for other in others.values():
            orders[other.id] = _update_broker_order(unit, other, other.ids)
        alerts = [_unknown_order(heard, foreign)] if order is None else []
        if order is not None:
            orders[order.id] = after = _update_broker_order(unit, order, heard.ids)
            alerts = [] if by_hand else _overfills(after, heard)
            if parent is not None and not by_hand and not alerts:
                alerts = _overfills_together(parent, heard, moved)
        if touched is not None and alerts:
            landed.alerts += alerts
            unit.positions.put_alert(touched, "\n".join(alerts))
    return landed


def _order_of(unit: UnitOfWork, heard: Fill) -> BrokerOrder | None:
    order = unit.orders.broker_order_by_ref(heard.order_ref)
    if order is not None:
        return order
    return unit.orders.broker_order_by_permanent_id(heard.broker, heard.ids.permanent_id)


def _not_of(unit: UnitOfWork, order: BrokerOrder, heard: Fill) -> str:
    """Why an execution cannot be of this order, which has its reference; blank when it can."""
    if heard.contract not in {leg.contract for leg in order.legs}:
        return f"order {order.order_ref} does not trade {heard.contract}"
    earlier = heard.corrects if heard.reverses is None else heard.reverses
    original = None if earlier is None else unit.positions.execution(heard.broker, earlier)
    filled_at = heard.filled_at if original is None else original.filled_at
    if filled_at < order.created_at - CLOCKS_APART:
        return f"order {order.order_ref} was written later, at {order.created_at:%Y-%m-%d %H:%M:%S}"
    return ""


def _facts(unit: UnitOfWork, heard: Fill) -> list[Fill]:
    """What is appended for one fill heard: itself, and what takes back an execution that a correction replaced.

    The original and its correction, or bust, may be heard in either order; nothing is taken back twice. Of several
    corrections of one execution the one heard last stands.
    """
    ledger, broker = unit.positions, heard.broker
    if ledger.execution(broker, heard.execution_id) is not None:
        return [heard]
    earlier = heard.corrects if heard.reverses is None else heard.reverses
    original = None if earlier is None else ledger.execution(broker, earlier)
    refs = {heard.order_ref} if original is None else {heard.order_ref, original.order_ref}
    if heard.reverses is not None:
        return [] if ledger.is_reversed(broker, refs, heard.reverses) else [heard]
    facts = [heard]
    if earlier is not None:
        versions = [*([] if original is None else [original]), *ledger.corrections_of(broker, refs, earlier)]
        standing = (one for one in versions if not ledger.is_reversed(broker, refs, one.execution_id))
        facts = [*(_taken_back(one, heard) for one in standing), heard]
    corrections = ledger.corrections_of(broker, refs, heard.execution_id)
    if corrections and not ledger.is_reversed(broker, refs, heard.execution_id):
        facts.append(_taken_back(heard, corrections[-1]))
    return facts


def _booked_on(
    unit: UnitOfWork, fill: Fill, order: BrokerOrder | None, orders: dict[int, BrokerOrder]
) -> BrokerOrder | None:
    """The order a fill counts for: `order`, or the one whose execution it takes back, once that was heard of."""
    if fill.reverses is None or unit.positions.execution(fill.broker, fill.reverses) is None:
        return order
    booked = unit.positions.booked_on(fill.broker, fill.reverses)
    if booked is None:
        return None
    return orders[booked] if booked in orders else unit.orders.broker_order(booked)


def _taken_back(original: Fill, correction: Fill) -> Fill:
    fee = original.commission
    return replace(
        original,
        execution_id=f"{original.execution_id}/by/{correction.execution_id}",
        quantity=-original.quantity,
        filled_at=correction.filled_at,
        commission=None if fee is None else -fee,
        corrects=None,
        reverses=original.execution_id,
    )


def _move(unit: UnitOfWork, order: BrokerOrder | None, fill: Fill, fill_id: int) -> ContractOrder | None:
    """Move the positions of a new fill, and fill the contract and the instrument order above it; the former after it.

    None for a fill of no order of ours.
    """
    reason = UNMATCHED if order is None else "bust" if fill.reverses is not None else "fill"
    unit.positions.move_contract(fill.contract, fill.quantity, at=fill.filled_at, fill_id=fill_id, reason=reason)
    if order is None:
        return None
    before = unit.orders.contract_order(order.parent_id)
    after = _fill_contract_order(unit, before, fill)
    if after.legs == before.legs:
        return after
    family = unit.orders.instrument_order(before.parent_id)
    if before.roll_order:
        _settle_roll(unit, family, fill.filled_at)
        return after
    siblings = [] if before.instrument == family.instrument else unit.orders.children([family.id])[family.id]
    others = [child for child in siblings if child.id != before.id]
    units = family_units(family, [*others, after]) - family_units(family, [*others, before])
    if units == 0:
        return after
    single = after.instrument == family.instrument or (len(after.legs) == 1 and not others)
    price = fill.price if single else _price_of_step(unit, family, [*others, after], units)
    average = _average_of(unit, family, units, price)
    unit.orders.fill_instrument_order(family.id, family.fill + units, average, fill.filled_at)
    if family.fill + units == family.trade:
        unit.orders.complete_late_family(family.id)
    unit.positions.move_strategy(
        family.strategy, family.instrument, units, at=fill.filled_at, price=price, fill_id=fill_id, reason=reason
    )
    return after


def _average_of(unit: UnitOfWork, family: InstrumentOrder, units: int, price: float | None) -> float | None:
    """Average price of an instrument order after `units` more.

    One that sells and buys, such as the closing of two contracts, may pass through nothing filled, where an average
    says no more what the earlier fills came to: then what was booked for them does.
    """
    if family.fill:
        return blended(family.fill, family.filled_price, units, price)
    booked = unit.positions.booked_for(family)
    return None if booked is None or price is None else (booked + units * price) / units


def _price_of_step(
    unit: UnitOfWork, family: InstrumentOrder, children: Sequence[ContractOrder], units: int
) -> float | None:
    """Price of the units by which a spread's fills grew: what all of them came to, less what was booked for it before.

    The averages of its legs tell only the former.
    """
    total = family_units(family, children)
    price = unit_price(children, _point_sizes(unit, children)) if total else 0.0
    booked = unit.positions.booked_for(family)
    return price if price is None or booked is None else (total * price - booked) / units


def _settle_roll(unit: UnitOfWork, family: InstrumentOrder, at: datetime) -> None:
    """A late fill, or one taken back, may leave a roll that has ended between two contracts: it is opened again.

    Or it has made it whole.
    """
    if family.order_type is not InstrumentOrderType.ZERO_ROLL:
        return
    children = unit.orders.children([family.id])[family.id]
    owed = roll_debt(children)
    if owed:
        unit.orders.reopen_family(family.id, f"{told(owed)} is owed after a late fill")
    elif all(child.is_filled for child in children):
        unit.orders.complete_late_family(family.id)


def _point_sizes(unit: UnitOfWork, children: Sequence[ContractOrder]) -> dict[str, float]:
    return {code: unit.markets.instrument(code).point_size for code in {child.instrument for child in children}}


def _fill_contract_order(unit: UnitOfWork, order: ContractOrder, fill: Fill) -> ContractOrder:
    changed = {
        number: replace(
            leg,
            fill=leg.fill + fill.quantity,
            filled_price=blended(leg.fill, leg.filled_price, fill.quantity, fill.price),
        )
        for number, leg in enumerate(order.legs)
        if leg.contract == fill.contract
    }
    filled = replace(order, legs=tuple(changed.get(number, leg) for number, leg in enumerate(order.legs)))
    unit.orders.fill_contract_order(order.id, changed, price_of(filled.legs), fill.filled_at)
    if filled.is_filled:
        unit.orders.complete_late(filled)
    return filled


def _update_broker_order(unit: UnitOfWork, order: BrokerOrder, told: BrokerIds) -> BrokerOrder:
    """Set legs, average price, commission and state of a broker order from its fills, if any; the order as it is now.

    One that is filled whole is settled, whatever the broker says of its status.
    """
    rows = unit.positions.fills_of_order(order.id)
    if not rows:
        return order
    gone = {row.reverses for row in rows if row.reverses is not None}
    changed: dict[int, OrderLeg] = {}
    for number, leg in enumerate(order.legs):
        own = [row for row in rows if (row.instrument, row.contract) == (leg.contract.instrument, leg.contract.date)]
        standing = [row for row in own if row.reverses is None and row.execution_id not in gone]
        price = average_price((row.quantity, row.price) for row in standing)
        now = replace(leg, fill=sum(row.quantity for row in own), filled_price=price)
        if now != leg:
            changed[number] = now
    legs = tuple(changed.get(number, leg) for number, leg in enumerate(order.legs))
    after = replace(order, legs=legs, ids=order.ids.with_news(told))
    if after.ids != order.ids:
        unit.orders.update_broker_order(order.id, ids=after.ids)
    event = BrokerEvent.FILLED if after.is_filled else BrokerEvent.BUSTED if order.is_filled else None
    if event is not None:
        after = replace(after, status=apply_to_broker_order(order.status, event))
    known = [row.commission for row in rows if row.commission is not None]
    currencies = {row.commission_currency for row in rows if row.commission_currency}
    unit.orders.fill_broker_order(
        after,
        changed,
        price=price_of(after.legs),
        commission=sum(known) if len(known) == len(rows) and len(currencies) < 2 else None,
        currency=currencies.pop() if len(currencies) == 1 else None,
        at=max(row.filled_at for row in rows),
        active=not after.is_filled,
    )
    if after.is_filled:
        unit.claims.release_settled(order.parent_id)
    return after


def family_units(family: InstrumentOrder, children: Sequence[ContractOrder]) -> int:
    """Contracts of an instrument order that its contract orders have filled.

    Whatever is filled in the instrument itself adds up, in however many contracts and legs. A spread instrument, within
    a market or between markets, is filled as far as its least filled leg, in whole units: what one leg has more than
    the others is not yet a spread.

    >>> from datetime import UTC, datetime
    >>> from pysys.domain.contracts import Contract
    >>> from pysys.domain.orders import InstrumentOrderType
    >>> moment, best = datetime(2024, 3, 4, tzinfo=UTC), InstrumentOrderType.BEST
    >>> family = InstrumentOrder("trend", "GOLD_SPREAD", -3, best, moment)
    >>> legs = OrderLeg(Contract("GOLD", "20240400"), -3, -2), OrderLeg(Contract("GOLD", "20240600"), 6, 3)
    >>> family_units(family, [ContractOrder("trend", "GOLD", legs, best, moment)])
    -1
    """
    legs = [leg for child in children for leg in child.legs]
    if all(child.instrument == family.instrument for child in children):
        return sum(leg.fill for leg in legs)
    if family.trade == 0:
        return 0
    return units_filled(children)


def blended(filled: int, price: float | None, more: int, at: float | None) -> float | None:
    """Average price after `more` contracts at another price. Signed, so that taking a fill back undoes it.

    >>> blended(9, 100.0, 1, 110.0), blended(10, 101.0, -1, 110.0), blended(1, 100.0, -1, 100.0)
    (101.0, 100.0, None)
    """
    total = filled + more
    if total == 0 or at is None:
        return None
    earlier = 0.0 if price is None else filled * price
    return (earlier + more * at) / total


def price_of(legs: Iterable[OrderLeg]) -> float | None:
    """Average price of an order: of one leg its own, of a spread the spread price; None until every leg has one."""
    filled = list(legs)
    prices = tuple(leg.filled_price for leg in filled)
    if any(price is None for price in prices):
        return None
    return spread_price(tuple(leg.trade for leg in filled), tuple(float(p) for p in prices if p is not None))


def _unknown_order(fill: Fill, foreign: str) -> str:
    why = f"{fill.order_ref!r}: {foreign}" if foreign else f"{fill.order_ref!r}"
    return (
        f"execution {fill.execution_id} of {fill.quantity:+d} {fill.contract} belongs to no order of ours "
        f"({why}): the contract position moved, no strategy's did. `balance_instrument_trade` gives it to one."
    )


def _overfills(order: BrokerOrder, fill: Fill) -> list[str]:
    """What is wrong with an order after a new fill of it: more than was ordered, or the other way."""
    return [
        f"order {order.order_ref} is filled {leg.fill:+d} of {leg.trade:+d} in {leg.contract}: more than was ordered"
        for leg in order.legs
        if leg.contract == fill.contract and leg.is_overfilled
    ]


def _overfills_together(order: ContractOrder, fill: Fill, moved: int) -> list[str]:
    """The same of a contract order, whose broker orders may each have filled no more than their own.

    moved: what was booked now, in contracts; a fill that brings an order back toward what was ordered is no news.
    """
    found = []
    for leg in (each for each in order.legs if each.contract == fill.contract and each.is_overfilled):
        before = replace(leg, fill=leg.fill - moved)
        if not before.is_overfilled or abs(before.fill - leg.trade) < abs(leg.fill - leg.trade):
            found.append(
                f"contract order {order.id} is filled {leg.fill:+d} of {leg.trade:+d} in {leg.contract}, by all its "
                "broker orders together: more than was ordered"
            )
    return found
