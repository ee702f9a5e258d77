"""Orders that force a roll or close a position because the roll state says so, and states that move by themselves."""

from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from pysys.config import Config
from pysys.data.held_positions import held_of_market
from pysys.domain.contract_choice import close_all, own_positions
from pysys.domain.contracts import Contract
from pysys.domain.orders import (
    ROLL_PSEUDO_STRATEGY,
    BrokerOrder,
    ContractOrder,
    InstrumentOrder,
    InstrumentOrderType,
    OrderStatus,
    lowest_terms,
)
from pysys.domain.roll_states import RollState, RollStatus
from pysys.execution.algo_choice import algo_for
from pysys.execution.completion import end_what_hung_on
from pysys.execution.position_sums import less_contracts
from pysys.execution.roll_debts import make_good
from pysys.execution.roll_views import Family, RollView, last_price, price_in, roll_view, working_families
from pysys.execution.spread_book import (
    calendar_spreads,
    legs_between_markets,
    market_of_instrument,
)
from pysys.store.unit import UnitOfWork

FORCED = (RollState.FORCE, RollState.FORCE_OUTRIGHT, RollState.CLOSE)
ITSELF = "stack handler"
AFTER = "after "  # how an order begins that waits for another alone
CLOSING = f"roll state {RollState.CLOSE}"  # note of the order that closes a position


def forced_markets(unit: UnitOfWork) -> list[str]:
    """Markets whose roll state forces a trade."""
    return [market for market, status in unit.markets.roll_statuses().items() if status.state in FORCED]


def force_rolls(unit: UnitOfWork, config: Config, now: datetime, markets: Collection[str] | None = None) -> int:
    """Place the roll or closing order of every market that is being forced and has none; how many.

    markets: which; all of them when not given. One that has to wait is placed without contract orders and says what
    for; `make_waiting_rolls` sees to it later. Safe to repeat.
    """
    settle_roll_states(unit, config, now, markets)
    asked = {order.instrument for order in unit.orders.active_instrument_orders() if order.roll_order}
    rolls = 0
    for market in forced_markets(unit):
        if markets is not None and market not in markets:
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


def make_waiting_rolls(
    unit: UnitOfWork, config: Config, now: datetime, chosen: Callable[[InstrumentOrder], bool] | None = None
) -> int:
    """Make the contract orders of roll orders that had to wait, where they need not any more; how many were made.

    Rolls that were cut off between two contracts come first: what they owe is ordered again. chosen: which orders; all
    of them when not given.
    """
    made = make_good(unit, config, now, chosen)
    for order in unit.orders.without_children():
        if not order.roll_order or (chosen is not None and not chosen(order)):
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
            view = _view(unit, config, order.instrument)
            if view is None or not _something_to_do(view):
                unit.orders.end_instrument_order(order.id, OrderStatus.CANCELLED, now, "nothing is left to roll")
            else:
                _make(unit, config, view, order.id, now)
                made += 1
    return made


def is_forced(order: InstrumentOrder) -> bool:
    """Whether it rolls or closes a market because the roll state says so."""
    return order.roll_order or order.note == CLOSING


def rolls_in_the_way(unit: UnitOfWork, config: Config, order: InstrumentOrder) -> list[ContractOrder]:
    """Unfilled contract orders that roll or close the contracts an order is about."""
    spread = config.spreads.get(order.instrument)
    codes = (order.instrument,) if spread is None or spread.within_one_market else spread.markets
    orders = [each for each in unit.orders.active_instrument_orders() if each.instrument in codes]
    forced = {each.id for each in orders if is_forced(each)}
    return [each for each in unit.orders.active_contract_orders() if each.parent_id in forced and not each.is_filled]


def rolled_before_panic(
    unit: UnitOfWork, config: Config, working: Sequence[BrokerOrder]
) -> list[tuple[BrokerOrder, int]]:
    """Broker orders of rolls that a panic order without contract orders waits for alone, each with that order's id."""
    panics = [o for o in unit.orders.without_children() if o.order_type is InstrumentOrderType.PANIC]
    giving_way = {
        child.id: panic.id
        for panic in panics
        if panic.waits_for.startswith(AFTER)
        for child in rolls_in_the_way(unit, config, panic)
    }
    return [(order, giving_way[order.parent_id]) for order in working if order.parent_id in giving_way]


def end_rolls(unit: UnitOfWork, children: Sequence[ContractOrder], now: datetime, why: str) -> None:
    """End contract orders of rolls that nothing is at the broker for; what a roll owes by then it goes on owing."""
    for child in children:
        if unit.orders.open_contract_order(child.id) is not None:
            unit.orders.end_contract_order(child.id, OrderStatus.CANCELLED, now, why)
            end_what_hung_on(unit, child.id, OrderStatus.CANCELLED, now, why)


def _views(unit: UnitOfWork, config: Config, market: str) -> list[RollView]:
    """A market and the spreads within it, what is being worked counted as done."""
    codes, working = [market, *(spread.code for spread in calendar_spreads(config, market))], working_families(unit)
    return [view for code in codes if (view := _view(unit, config, code, working)) is not None]


def _view(unit: UnitOfWork, config: Config, code: str, working: Sequence[Family] = ()) -> RollView | None:
    """Where an instrument stands. Of one that is being closed, without the legs of spreads between markets."""
    view = roll_view(unit, config, code, working)
    if view is None or view.spread is not None or view.standing.state is not RollState.CLOSE:
        return view
    standing = view.standing
    legs = sum(legs_between_markets(unit, config, code).values())
    own = own_positions(standing.positions, legs, standing.priced)
    return replace(view, standing=replace(standing, positions=own))


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
    closing, held = unit.markets.roll_status(market).state is RollState.CLOSE, unit.positions.contract_positions()
    priced = next((view.standing.priced for view in _views(unit, config, market)), None)
    for order in unit.orders.without_children():
        there = 0 if order.roll_order else _in_nearest(config, order, market)
        if not there or order.condition is not None or not _waits_for_its_turn_alone(order):
            continue
        if order.order_type is InstrumentOrderType.PANIC:
            return f"after panic order {order.id} in {market}"
        if not closing and priced is not None and there * held.get(priced, 0) < 0:
            return f"after order {order.id}, which reduces {priced}"
    return ""


def _in_nearest(config: Config, order: InstrumentOrder, market: str) -> int:
    """Contracts of a market an order is still to trade; of a spread within it, in the nearest of its contracts."""
    spread = config.spreads.get(order.instrument)
    if spread is None:
        return order.unfilled if order.instrument == market else 0
    return order.unfilled * next((leg.ratio for leg in spread.legs if leg.instrument == market), 0)


def _waits_for_its_turn_alone(order: InstrumentOrder) -> bool:
    """Whether an order without contract orders may get them soon: no lock, override or missing price keeps it."""
    return not order.waits_for or order.waits_for.startswith(AFTER)


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


def settle_roll_states(unit: UnitOfWork, config: Config, now: datetime, markets: Collection[str] | None = None) -> int:
    """Let states move by themselves; how many did. markets: whose; of all of them when not given.

    Forced states and Close fall back to Passive once the priced contract is flat, and what strategies own is held: one
    that was left and not entered is no position that has been rolled. A spread that has not rolled within the deadline
    is rolled in legs from then on.
    """
    working = {child.instrument for family in working_families(unit) for child in family.children}
    moved = 0
    for market, status in unit.markets.roll_statuses().items():
        if status.state not in FORCED or market in working or (markets is not None and market not in markets):
            continue
        latest = unit.prices.last_multiple(market)
        if not len(latest):
            continue
        priced = f"{int(latest.price_contract[-1]):08d}"
        if status.state is RollState.CLOSE:
            flat = not any(_something_to_do(view) for view in _views(unit, config, market))
        else:
            held = {c.date for positions in held_of_market(unit, config, market).values() for c in positions}
            flat = priced not in held
        if flat:
            if less_contracts(unit, market):
                continue
            why = _why_flat(unit, config, market, status.state, priced)
            _move(unit, market, RollState.PASSIVE, priced, why, now)
        elif status.state is RollState.FORCE and forced_for(unit, market, now) >= timedelta(
            days=config.force_roll_deadline_days
        ):
            why = f"the spread did not roll in {config.force_roll_deadline_days:g} days; in legs from now on"
            _move(unit, market, RollState.FORCE_OUTRIGHT, priced, why, now)
        else:
            continue
        moved += 1
    return moved


def _why_flat(unit: UnitOfWork, config: Config, market: str, state: RollState, priced: str) -> str:
    if state is not RollState.CLOSE:
        return f"{priced} is flat"
    between = [f"{held:+d} for {code}" for code, held in legs_between_markets(unit, config, market).items()]
    left = f"; {', '.join(between)} stays, as legs of spreads between markets" if between else ""
    return f"nothing of its own is held any more{left}"


def _move(unit: UnitOfWork, market: str, state: RollState, priced: str, why: str, now: datetime) -> None:
    unit.markets.record_roll_status(RollStatus(market, state, priced, now, ITSELF, why))


def forced_for(
    unit: UnitOfWork, market: str, now: datetime, states: Collection[RollState] = (RollState.FORCE,)
) -> timedelta:
    """How long the state has been one of these without a break; Force when not given."""
    since = now
    for status in sorted(unit.markets.roll_status_history(market), key=_time_of, reverse=True):
        if status.state not in states:
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
        panic = order.order_type is InstrumentOrderType.PANIC
        if order.instrument == view.instrument and not order.roll_order and not panic:
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
        note=CLOSING,
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
