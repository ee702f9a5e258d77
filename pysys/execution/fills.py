"""A fill and everything that follows from it, in one transaction: orders of three levels, and positions."""

import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from pysys.desk import Desk
from pysys.domain.order_states import BrokerEvent, apply_to_broker_order
from pysys.domain.orders import (
    BrokerOrder,
    ContractOrder,
    Fill,
    InstrumentOrder,
    OrderLeg,
    average_price,
    spread_price,
)
from pysys.domain.spreads import unit_price, units_filled
from pysys.store.unit import Store, UnitOfWork

UNMATCHED = "unmatched"  # strategy of fills that belong to no order of ours: expiry, or trades made elsewhere
FILLS_AGAIN = timedelta(days=1)  # how far back executions are asked for again; hearing one twice changes nothing
FEES_AGAIN = timedelta(days=7)  # how long a commission is waited for: brokers forget executions after that

log = logging.getLogger(__name__)


@dataclass(slots=True)
class Landed:
    """What came of fills: the new ones, and what a person should know."""

    new: list[Fill] = field(default_factory=list)
    alerts: list[str] = field(default_factory=list)

    def report(self) -> None:
        """Log the alerts. Called when the transaction is committed."""
        for alert in self.alerts:
            log.critical("%s", alert)


def pull_fills(desk: Desk, now: datetime) -> int:
    """Record executions we have not recorded yet, and commissions that came since; how many fills were new.

    Asks from a day before the last known fill, or from the oldest order not settled, or the oldest fill of the last
    week without a commission, whichever is earliest: so orders long in the history still get theirs.
    """
    with desk.store.read() as unit:
        since = ask_since(unit, now)
    return len(record_fills(desk.store, desk.broker.fills_since(since), now))


def ask_since(unit: UnitOfWork, now: datetime) -> datetime | None:
    """The moment from which executions may hold something new; None for all of them."""
    last = unit.positions.last_fill_time()
    if last is None:
        return None
    moments = [last - FILLS_AGAIN]
    feeless = unit.positions.oldest_fill_without_commission(now - FEES_AGAIN)
    if feeless is not None:
        moments.append(feeless)
    working = unit.orders.oldest_active_broker_order()
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
    landed.report()
    return landed.new


def land_fills(unit: UnitOfWork, fills: Iterable[Fill], now: datetime) -> Landed:
    """Land each fill in this transaction, with the orders and positions it changes."""
    landed = Landed()
    orders: dict[str, BrokerOrder | None] = {}
    for heard in fills:
        if heard.order_ref not in orders:
            orders[heard.order_ref] = unit.orders.broker_order_by_ref(heard.order_ref)
        order = orders[heard.order_ref]
        touched = False
        for fill in _facts(unit, heard):
            fill_id = unit.positions.append_fill_once(
                fill,
                strategy=UNMATCHED if order is None else order.strategy,
                broker_order_id=None if order is None else order.id,
                recorded_at=now,
            )
            if fill_id is None:
                continue
            touched = True
            landed.new.append(fill)
            _move(unit, order, fill, fill_id)
        if order is None:
            if touched:
                landed.alerts.append(_unknown_order(heard))
            continue
        orders[heard.order_ref] = after = _update_broker_order(unit, order)
        if touched:
            landed.alerts += _overfills(after, heard)
    return landed


def _facts(unit: UnitOfWork, heard: Fill) -> list[Fill]:
    """What is appended for one fill heard: itself, and what takes back an execution that a correction replaced.

    The original and its correction, or bust, may be heard in either order; nothing is taken back twice.
    """
    ledger, ref = unit.positions, heard.order_ref
    if heard.reverses is not None:
        other = ledger.reversal_of(heard.broker, ref, heard.reverses)
        return [heard] if other is None or other.execution_id == heard.execution_id else []
    facts = [heard]
    if heard.corrects is not None:
        original = ledger.execution(heard.broker, heard.corrects)
        if original is not None and ledger.reversal_of(heard.broker, ref, heard.corrects) is None:
            facts.insert(0, _taken_back(original, heard))
    correction = ledger.correction_of(heard.broker, ref, heard.execution_id)
    if correction is not None and ledger.reversal_of(heard.broker, ref, heard.execution_id) is None:
        facts.append(_taken_back(heard, correction))
    return facts


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


def _move(unit: UnitOfWork, order: BrokerOrder | None, fill: Fill, fill_id: int) -> None:
    """Move the positions of a new fill, and fill the contract and the instrument order above it."""
    reason = UNMATCHED if order is None else "bust" if fill.reverses is not None else "fill"
    unit.positions.move_contract(fill.contract, fill.quantity, at=fill.filled_at, fill_id=fill_id, reason=reason)
    if order is None:
        return
    before = unit.orders.contract_order(order.parent_id)
    after = _fill_contract_order(unit, before, fill)
    if before.roll_order or after.legs == before.legs:
        return
    family = unit.orders.instrument_order(before.parent_id)
    siblings = [] if before.instrument == family.instrument else unit.orders.children([family.id])[family.id]
    others = [child for child in siblings if child.id != before.id]
    units = family_units(family, [*others, after]) - family_units(family, [*others, before])
    if units == 0:
        return
    single = len(after.legs) == 1 and not others
    price = fill.price if single else unit_price([*others, after])
    unit.orders.fill_instrument_order(
        family.id,
        family.fill + units,
        blended(family.fill, family.filled_price, units, price) if single else price,
        fill.filled_at,
    )
    unit.positions.move_strategy(
        family.strategy, family.instrument, units, at=fill.filled_at, price=price, fill_id=fill_id, reason=reason
    )


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


def _update_broker_order(unit: UnitOfWork, order: BrokerOrder) -> BrokerOrder:
    """Set legs, average price, commission and state of a broker order from its fills; the order as it is now.

    One that is filled whole is settled, whatever the broker says of its status.
    """
    rows = unit.positions.fills_of_order(order.id)
    gone = {row.reverses for row in rows if row.reverses is not None}
    changed: dict[int, OrderLeg] = {}
    for number, leg in enumerate(order.legs):
        own = [row for row in rows if (row.instrument, row.contract) == (leg.contract.instrument, leg.contract.date)]
        standing = [row for row in own if row.reverses is None and row.execution_id not in gone]
        price = average_price((row.quantity, row.price) for row in standing)
        now = replace(leg, fill=sum(row.quantity for row in own), filled_price=price)
        if now != leg:
            changed[number] = now
    after = replace(order, legs=tuple(changed.get(number, leg) for number, leg in enumerate(order.legs)))
    event = BrokerEvent.FILLED if after.is_filled else BrokerEvent.BUSTED if order.is_filled else None
    if event is not None:
        after = replace(after, status=apply_to_broker_order(order.status, event))
    known = [row.commission for row in rows if row.commission is not None]
    unit.orders.fill_broker_order(
        after,
        changed,
        price=price_of(after.legs),
        commission=sum(known) if len(known) == len(rows) else None,
        currency=next((row.commission_currency for row in rows if row.commission_currency), None),
        at=max(row.filled_at for row in rows),
        active=not after.is_filled,
    )
    return after


def family_units(family: InstrumentOrder, children: Sequence[ContractOrder]) -> int:
    """Contracts of an instrument order that its contract orders have filled.

    Children of one leg in the instrument itself add up. A spread, within a market or between markets, is filled as far
    as its least filled leg, in whole units: what one leg has more than the others is not yet a spread.

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
    if all(child.instrument == family.instrument and len(child.legs) == 1 for child in children):
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


def _unknown_order(fill: Fill) -> str:
    return (
        f"execution {fill.execution_id} of {fill.quantity:+d} {fill.contract} belongs to no order of ours "
        f"({fill.order_ref!r}): the contract position moved, no strategy's did. Balance it by hand."
    )


def _overfills(order: BrokerOrder, fill: Fill) -> list[str]:
    """What is wrong with an order after a new fill of it: more than was ordered, or in another contract."""
    if fill.contract not in {leg.contract for leg in order.legs}:
        return [f"execution {fill.execution_id} of order {order.order_ref} is in {fill.contract}, not one of its legs"]
    return [
        f"order {order.order_ref} is filled {leg.fill:+d} of {leg.trade:+d} in {leg.contract}: more than was ordered"
        for leg in order.legs
        if leg.contract == fill.contract and (abs(leg.fill) > abs(leg.trade) or leg.fill * leg.trade < 0)
    ]
