"""Orders that force a roll or close a position because the roll state says so, and states that move by themselves."""

from datetime import datetime, timedelta

from pysys.config import Config
from pysys.domain.contract_choice import close_all
from pysys.domain.contracts import Contract
from pysys.domain.orders import (
    ROLL_PSEUDO_STRATEGY,
    ContractOrder,
    InstrumentOrder,
    InstrumentOrderType,
    OrderStatus,
    lowest_terms,
)
from pysys.domain.roll_states import RollState, RollStatus
from pysys.execution.algo_choice import algo_for
from pysys.execution.roll_views import RollView, last_price, price_in, roll_view, working_families
from pysys.execution.spread_book import calendar_spreads, market_of_instrument, markets_of_instrument
from pysys.store.unit import UnitOfWork

FORCED = (RollState.FORCE, RollState.FORCE_OUTRIGHT, RollState.CLOSE)
ITSELF = "stack handler"


def force_rolls(unit: UnitOfWork, config: Config, now: datetime) -> int:
    """Place the roll or closing order of every instrument that is being forced and has none; how many.

    One that has to wait is placed without contract orders and says what for; `make_waiting_rolls` sees to it later.
    Safe to repeat.
    """
    settle_roll_states(unit, config, now)
    asked = {order.instrument for order in unit.orders.active_instrument_orders() if order.roll_order}
    rolls = 0
    for market, status in unit.markets.roll_statuses().items():
        if status.state not in FORCED:
            continue
        busy = _busy(unit, config, market)
        for view in _views(unit, config, market):
            if view.instrument in asked or not _something_to_do(view):
                continue
            if busy:
                unit.orders.set_waiting(unit.orders.place_instrument_order(_zero_order(unit, view, now)), busy)
            else:
                _make(unit, config, view, None, now)
            rolls += 1
    return rolls


def make_waiting_rolls(unit: UnitOfWork, config: Config, now: datetime) -> int:
    """Make the contract orders of roll orders that had to wait, where they need not any more; how many rolls."""
    made = 0
    for order in unit.orders.without_children():
        if not order.roll_order:
            continue
        market = market_of_instrument(config, order.instrument)
        state = unit.markets.roll_status(market).state
        busy = _busy(unit, config, market)
        if state not in FORCED:
            unit.orders.end_instrument_order(order.id, OrderStatus.CANCELLED, now, f"the roll state is {state} now")
        elif busy:
            if busy != order.waits_for:
                unit.orders.set_waiting(order.id, busy)
        else:
            view = roll_view(unit, config, order.instrument)
            if view is None or not _something_to_do(view):
                unit.orders.end_instrument_order(order.id, OrderStatus.CANCELLED, now, "nothing is left to roll")
            else:
                _make(unit, config, view, order.id, now)
                made += 1
    return made


def _views(unit: UnitOfWork, config: Config, market: str) -> list[RollView]:
    """A market and the spreads within it, what is being worked counted as done."""
    codes, working = [market, *(spread.code for spread in calendar_spreads(config, market))], working_families(unit)
    return [view for code in codes if (view := roll_view(unit, config, code, working)) is not None]


def _something_to_do(view: RollView) -> bool:
    standing = view.standing
    if standing.state is RollState.CLOSE:
        return bool(close_all(standing))
    return standing.priced_position != 0 and standing.priced != standing.forward


def _busy(unit: UnitOfWork, config: Config, market: str) -> str:
    """Why a roll of this market has to wait; blank when it need not."""
    locked = unit.restrictions.locked_instruments()
    if market in locked:
        return f"{market} is locked, {locked[market]}"
    for family in working_families(unit):
        if not family.parent.roll_order and market in {child.instrument for child in family.children}:
            return f"after order {family.parent.id} in {market}"
    if unit.markets.roll_status(market).state is RollState.CLOSE:
        return ""
    held = unit.positions.contract_positions()
    priced = next((view.standing.priced for view in _views(unit, config, market)), None)
    for order in unit.orders.without_children():
        same = market in markets_of_instrument(config, order.instrument) and not order.roll_order
        if same and order.condition is None and priced is not None and order.unfilled * held.get(priced, 0) < 0:
            return f"after order {order.id}, which reduces {priced}"
    return ""


def _make(unit: UnitOfWork, config: Config, view: RollView, parent_id: int | None, now: datetime) -> None:
    """Place the contract orders of a roll, under the order that waited for it or a new one."""
    if view.standing.state is RollState.CLOSE:
        if parent_id is not None:
            unit.orders.end_instrument_order(parent_id, OrderStatus.CANCELLED, now, "replaced by the closing order")
        _close(unit, config, view, now)
        return
    if parent_id is None:
        parent_id = unit.orders.place_instrument_order(_zero_order(unit, view, now))
    unit.orders.set_waiting(parent_id, "")
    for child in _roll_children(unit, config, view, now):
        unit.orders.place_contract_order(parent_id, child)


def settle_roll_states(unit: UnitOfWork, config: Config, now: datetime) -> int:
    """Let states move by themselves; how many did.

    Forced states and Close fall back to Passive once the priced contract is flat. A spread that has not rolled within
    the deadline is rolled in legs from then on.
    """
    working = {child.instrument for family in working_families(unit) for child in family.children}
    moved = 0
    for market, status in unit.markets.roll_statuses().items():
        if status.state not in FORCED or market in working:
            continue
        latest = unit.prices.last_multiple(market)
        if not len(latest):
            continue
        priced = f"{int(latest.price_contract[-1]):08d}"
        held = {c.date for c in unit.positions.contract_positions() if c.instrument == market}
        flat = not held if status.state is RollState.CLOSE else priced not in held
        if flat:
            why = "nothing is held any more" if status.state is RollState.CLOSE else f"{priced} is flat"
            _move(unit, market, RollState.PASSIVE, priced, why, now)
        elif status.state is RollState.FORCE and _forced_for(unit, market, now) >= timedelta(
            days=config.force_roll_deadline_days
        ):
            why = f"the spread did not roll in {config.force_roll_deadline_days:g} days; in legs from now on"
            _move(unit, market, RollState.FORCE_OUTRIGHT, priced, why, now)
        else:
            continue
        moved += 1
    return moved


def _move(unit: UnitOfWork, market: str, state: RollState, priced: str, why: str, now: datetime) -> None:
    unit.markets.record_roll_status(RollStatus(market, state, priced, now, ITSELF, why))


def _forced_for(unit: UnitOfWork, market: str, now: datetime) -> timedelta:
    """How long the state has been Force without a break."""
    since = now
    for status in sorted(unit.markets.roll_status_history(market), key=_time_of, reverse=True):
        if status.state is not RollState.FORCE:
            break
        since = _time_of(status)
    return now - since


def _time_of(status: RollStatus) -> datetime:
    if status.time is None:
        raise ValueError(f"{status.instrument}: a recorded roll state without a time")
    return status.time


def _zero_order(unit: UnitOfWork, view: RollView, now: datetime) -> InstrumentOrder:
    """The instrument order of a roll: it trades nothing, because a roll moves contracts and not a strategy."""
    return InstrumentOrder(
        strategy=ROLL_PSEUDO_STRATEGY,
        instrument=view.instrument,
        trade=0,
        order_type=InstrumentOrderType.ZERO_ROLL,
        generated_at=now,
        reference_price=_roll_spread(unit, view),
        reference_time=now,
        roll_order=True,
        note=f"roll state {view.standing.state}",
    )


def _roll_children(unit: UnitOfWork, config: Config, view: RollView, now: datetime) -> list[ContractOrder]:
    """The whole priced position moved forward: as one spread, or in state Force_Outright by leaving, then entering."""
    held, standing = view.standing.priced_position, view.standing
    leave, enter = (standing.priced, -held), (standing.forward, held)
    grouped = [(leave, enter)] if standing.state is RollState.FORCE else [(leave,), (enter,)]
    return [
        ContractOrder(
            strategy=ROLL_PSEUDO_STRATEGY,
            instrument=view.market,
            legs=view.legs(*group),
            order_type=InstrumentOrderType.BEST,
            generated_at=now,
            reference_price=_roll_spread(unit, view) if len(group) > 1 else _price_at(unit, view, group[0][0]),
            roll_order=True,
            algo_to_use=algo_for(config, InstrumentOrderType.ZERO_ROLL, view.market),
            sequence=number,
        )
        for number, group in enumerate(grouped)
    ]


def _roll_spread(unit: UnitOfWork, view: RollView) -> float | None:
    """Priced less forward at the last time both had a price, as the legs of the roll are quoted."""
    standing = view.standing
    gap = price_in(unit, view, 0.0, view.first_leg(standing.priced).date, standing.forward)
    _, units = lowest_terms(tuple(leg.trade for leg in view.legs((standing.priced, 1), (standing.forward, -1))))
    return None if gap is None else -gap / units


def _price_at(unit: UnitOfWork, view: RollView, start: Contract) -> float | None:
    """The last price of the priced contract moved to `start`."""
    price, priced = last_price(unit, view), view.standing.priced
    return None if price is None else price_in(unit, view, price, view.first_leg(priced).date, start)


def _close(unit: UnitOfWork, config: Config, view: RollView, now: datetime) -> None:
    """Close every contract held, on the strategy with the largest position; orders not yet worked are superseded.

    The superseded ones were decided with the position still there; strategies ask again in their next run.
    """
    for order in unit.orders.without_children():
        if order.instrument == view.instrument and not order.roll_order:
            unit.orders.end_instrument_order(order.id, OrderStatus.CANCELLED, now, "superseded: the position is closed")
    holder = _largest_holder(unit, view.instrument)
    parent = InstrumentOrder(
        strategy=ROLL_PSEUDO_STRATEGY if holder is None else holder,
        instrument=view.instrument,
        trade=-view.standing.total,
        order_type=InstrumentOrderType.BEST,
        generated_at=now,
        reference_price=_price_at(unit, view, view.standing.priced),
        reference_contract=view.first_leg(view.standing.priced).date,
        reference_time=now,
        roll_order=holder is None,
        note="roll state Close",
    )
    children = [
        ContractOrder(
            strategy=parent.strategy,
            instrument=view.market,
            legs=view.legs((part.contract, part.trade)),
            order_type=InstrumentOrderType.BEST,
            generated_at=now,
            reference_price=_price_at(unit, view, part.contract),
            roll_order=parent.roll_order,
            algo_to_use=algo_for(config, InstrumentOrderType.BEST, view.market),
        )
        for part in close_all(view.standing)
    ]
    parent_id = unit.orders.place_instrument_order(parent)
    for child in children:
        unit.orders.place_contract_order(parent_id, child)


def _largest_holder(unit: UnitOfWork, instrument: str) -> str | None:
    """The strategy with the largest position; None where no strategy owns what is held."""
    positions = unit.positions.strategy_positions().items()
    holders = [(abs(held), strategy) for (strategy, code), held in positions if code == instrument]
    return max(holders)[1] if holders else None
