"""Contract orders: when an instrument order may be worked, and which contracts it is traded in."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal

from pysys.broker.port import BrokerUnavailable
from pysys.config import Config
from pysys.desk import Desk
from pysys.domain.contract_choice import OPENS, choose_contracts
from pysys.domain.contracts import Contract
from pysys.domain.errors import PysysError
from pysys.domain.limits import not_beyond
from pysys.domain.orders import ContractOrder, InstrumentOrder, InstrumentOrderType, OrderStatus
from pysys.domain.overrides import Override, apply_override, combine, left_of
from pysys.domain.roll_states import RollState
from pysys.execution.algo_choice import algo_for
from pysys.execution.netting import net_orders
from pysys.execution.quotes import fresh_quote
from pysys.execution.restraining import LIMIT_NOTE, applying, keeps_limit, take_snapshot
from pysys.execution.roll_views import (
    Family,
    RollView,
    last_price,
    limit_on_tick,
    price_in,
    roll_view,
    working_families,
)
from pysys.execution.rolling import (
    AFTER,
    end_rolls,
    force_rolls,
    make_waiting_rolls,
    rolls_in_the_way,
    settle_roll_states,
)
from pysys.execution.spread_book import market_of_instrument, markets_of_instrument, spread_named
from pysys.execution.spread_legs import filled_child, hand_over, odd_legs, taken_over
from pysys.execution.staleness import NOT_KNOWN, Closes, InputTimes, closed_sessions, stale_because
from pysys.store.unit import UnitOfWork

Prices = Mapping[tuple[str, str], float]  # by (instrument, contract) of a condition: the price now


class Waits(PysysError):
    """An instrument order cannot be worked yet; the sentence is shown with it."""


def prices_for_conditions(
    desk: Desk, chosen: Callable[[InstrumentOrder], bool] | None = None
) -> dict[tuple[str, str], float]:
    """Mid prices, now, of what conditional orders wait for; absent where the broker has no full quote.

    chosen: which orders; all of them when not given. Called before the transaction that makes the contract orders,
    because it asks the broker.
    """
    with desk.store.read() as unit:
        waiting = [order for order in unit.orders.without_children() if order.condition is not None]
        wanted = {
            (order.instrument, order.condition.contract): _contracts_of_price(unit, desk.config, order)
            for order in waiting
            if order.condition is not None and (chosen is None or chosen(order))
        }
    found = {}
    for key, legs in wanted.items():
        try:
            quotes = [(ratio, fresh_quote(desk, contract)) for contract, ratio in legs.items()]
        except BrokerUnavailable:
            continue
        mids = [ratio * quote.mid for ratio, quote in quotes if quote is not None]
        if quotes and len(mids) == len(quotes):
            found[key] = sum(mids)
    return found


def closes_for_conditions(desk: Desk, prices: Prices) -> dict[str, Sequence[datetime] | None]:
    """When the sessions of what conditional orders trade have closed, of those whose price has come.

    Called before the transaction that makes the contract orders, because it asks the broker.
    """
    if not prices:
        return {}
    with desk.store.read() as unit:
        waiting = [(o.instrument, o.condition) for o in unit.orders.without_children() if o.condition is not None]
    come = {code for code, each in waiting if (p := prices.get((code, each.contract))) is not None and each.is_met(p)}
    return closed_sessions(desk, sorted(come), desk.clock.now())


def _contracts_of_price(unit: UnitOfWork, config: Config, order: InstrumentOrder) -> Mapping[Contract, float]:
    """Contracts and what their prices count for in the price a condition is about; none where they cannot be told."""
    if order.condition is None:
        return {}
    spread = spread_named(config, order.instrument)
    if spread is None:
        return {Contract(order.instrument, order.condition.contract): 1}
    if not spread.within_one_market:
        views = [roll_view(unit, config, leg.instrument) for leg in spread.legs]
        weights = spread.weights({code: unit.markets.instrument(code).point_size for code in spread.markets})
        found = {view.standing.priced: weight for view, weight in zip(views, weights, strict=True) if view is not None}
        return found if len(found) == len(weights) else {}
    view = roll_view(unit, config, order.instrument)
    start = None if view is None else view.reference_start(order.condition.contract)
    return {} if view is None or start is None else view.unit_legs(start)


def spawn_contract_orders(
    unit: UnitOfWork,
    config: Config,
    now: datetime,
    prices: Prices | None = None,
    *,
    closes: Closes | None = None,
    chosen: Callable[[InstrumentOrder], bool] | None = None,
    markets: Collection[str] | None = None,
) -> int:
    """Make the children of instrument orders that have none and may be worked; how many were made.

    First conditions are tested against `prices`, and what can be crossed between orders of one instrument is netted.
    An order that has to wait says why in `waits_for`. closes: of `closes_for_conditions`, by which a conditional order
    whose price has come is held to fresh inputs; when not given it is not. chosen: which orders, and markets: whose
    roll states may move; all of them when not given.
    """
    settle_roll_states(unit, config, now, markets)
    made = make_waiting_rolls(unit, config, now, chosen)
    waiting = [order for order in unit.orders.without_children() if chosen is None or chosen(order)]
    if not waiting:
        return made
    spawner = _Spawner(unit, config, now, {} if prices is None else prices, closes)
    ready = spawner.ready(waiting)
    return made + sum(spawner.spawn(instrument, orders) for instrument, orders in ready.items())


def net_waiting_orders(unit: UnitOfWork, config: Config, now: datetime) -> list[str]:
    """Cross what can be netted of the orders that may trade now, and make no contract orders; the instruments."""
    spawner = _Spawner(unit, config, now, {}, None)
    ready = spawner.ready([order for order in unit.orders.without_children() if order.condition is None])
    return [instrument for instrument, orders in ready.items() if spawner.net(instrument, orders)]


@dataclass
class _Spawner:
    """One pass over the orders without children, inside its transaction."""

    unit: UnitOfWork
    config: Config
    now: datetime
    prices: Prices
    closes: Closes | None

    def __post_init__(self) -> None:
        self.locked = self.unit.restrictions.locked_instruments()
        self.overrides = self.unit.restrictions.overrides()
        self.families = working_families(self.unit)
        self.come: dict[
            tuple[str, str], int
        ] = {}  # conditional orders whose price has come, by strategy and instrument

    def note(self, order: InstrumentOrder, why: str) -> None:
        if order.waits_for != why:
            self.unit.orders.set_waiting(order.id, why)

    def ready(self, waiting: Sequence[InstrumentOrder]) -> dict[str, list[InstrumentOrder]]:
        """Those that may trade now, by instrument; the others say why they wait."""
        found: dict[str, list[InstrumentOrder]] = {}
        for order in waiting:
            if order.roll_order or order.order_type is InstrumentOrderType.BALANCE:
                continue
            try:
                free = self.free_to_trade(order)
            except PysysError as reason:
                self.note(order, str(reason))
            else:
                if free is not None:
                    found.setdefault(order.instrument, []).append(free)
        return found

    def free_to_trade(self, order: InstrumentOrder) -> InstrumentOrder | None:
        """The order, as it may trade now; None when it ended instead. Raises Waits."""
        for code in dict.fromkeys((order.instrument, *markets_of_instrument(self.config, order.instrument))):
            if code in self.locked:
                raise Waits(f"{code} is locked, {self.locked[code]}")
        free = self._within_override(order)
        return free if free.condition is None else self._tested(free)

    def _within_override(self, order: InstrumentOrder) -> InstrumentOrder:
        """The order with what an override set since it was decided leaves of it. Raises Waits when that is nothing.

        A factor was applied when the order was decided and is not applied twice, but for 0, which closes. An order
        that a person let break the overrides there were is held to those set after it.
        """
        if not self.overrides or order.order_type is InstrumentOrderType.PANIC:
            return order
        codes = (order.instrument, *markets_of_instrument(self.config, order.instrument))
        known = self.unit.restrictions.overrides(order.generated_at) if order.guard_overridden else self.overrides
        override = combine(applying(known, order.strategy, codes).values())
        held = self.unit.positions.strategy_positions().get((order.strategy, order.instrument), 0)
        left = left_of(override, held, order.unfilled)
        if left == 0:
            raise Waits(f"override {override}: {order.unfilled:+d} with {held:+d} held")
        if left == order.unfilled:
            return order
        note = f"override {override}: {order.unfilled:+d} became {left:+d}"
        if keeps_limit(order):
            note = f"{LIMIT_NOTE}; {note}"
        self.unit.orders.change_trade(order.id, order.fill + left, note)
        return replace(order, trade=order.fill + left, note=note)

    def _tested(self, order: InstrumentOrder) -> InstrumentOrder | None:
        """A conditional order whose price has come, cut to what limits allow by now."""
        condition, key = order.condition, (order.strategy, order.instrument)
        if condition is None:
            return order
        price = self.prices.get((order.instrument, condition.contract))
        if price is None:
            raise Waits(f"{condition}; no price now")
        if not condition.is_met(price):
            raise Waits(f"{condition}; now {price:g}")
        if key in self.come:
            raise Waits(f"after order {self.come[key]}, whose price has come too")
        snapshot = take_snapshot(self.unit, self.config)
        stale = self._stale(order)
        trade, note = snapshot.restrain_again(key, order.unfilled, snapshot.effective(), stale)
        if trade != order.unfilled and stale == NOT_KNOWN:
            raise Waits(note)
        if trade == 0:
            self.unit.orders.end_instrument_order(order.id, OrderStatus.CANCELLED, self.now, note)
            return None
        self.come[key] = order.id
        if trade == order.unfilled:
            return order
        self.unit.orders.change_trade(order.id, order.fill + trade, note)
        return replace(order, trade=order.fill + trade, note=note)

    def _end_alternatives(self, order: InstrumentOrder) -> None:
        """End the other conditional orders of a strategy in an instrument, once one of them trades."""
        if order.condition is None:
            return
        for other in self.unit.orders.without_children(locked_too=True):
            alternative = (other.strategy, other.instrument) == (order.strategy, order.instrument)
            if alternative and other.id != order.id and other.condition is not None:
                note = f"replaced: the price of order {order.id} came first"
                self.unit.orders.end_instrument_order(other.id, OrderStatus.CANCELLED, self.now, note)

    def _stale(self, order: InstrumentOrder) -> str:
        """Which input of an order is too old by now to open a position; blank when none is."""
        if self.closes is None:
            return ""
        run = self.unit.targets.latest_backtest(order.strategy)
        inputs = InputTimes(self.unit, self.config).of(
            order.strategy,
            order.instrument,
            backtest=None if run is None else run.time,
            price=order.reference_time,
        )
        return stale_because(inputs, self.closes.get(order.instrument))

    def spawn(self, instrument: str, orders: Sequence[InstrumentOrder]) -> int:
        """Net the orders of one instrument, and make children of what is left."""
        able = self._about_what_is_held(orders)
        try:
            left = self._netted(instrument, able)
        except PysysError as reason:
            for order in able:
                self.note(order, str(reason))
            return 0
        unfilled = {order.id: order.unfilled for order in left}
        for order in able:
            if unfilled.get(order.id) != order.unfilled:
                self._end_alternatives(order)
        made = 0
        for order in left:
            try:
                self._after_its_turn(order)
                order = self._no_more_than_held(order)
                rolled = self._end_rolls_for(order)
                order = self._opening_nothing_in_close(order)
                children = self._children(order)
            except PysysError as reason:
                self.note(order, str(reason))
                continue
            for child in children:
                if child.is_filled:
                    hand_over(self.unit, order, child, self.now)
                else:
                    self.unit.orders.place_contract_order(order.id, child)
            self.note(order, "")
            self._end_alternatives(order)
            self.families.append(Family(order, tuple(children)))
            made += len(children)
            if rolled:
                force_rolls(self.unit, self.config, self.now, rolled)  # what the order leaves, after it
        return made

    def net(self, instrument: str, orders: Sequence[InstrumentOrder]) -> bool:
        """Cross orders of one instrument; whether anything was."""
        able = self._about_what_is_held(orders)
        try:
            left = self._netted(instrument, able)
        except PysysError:
            return False
        return sum(abs(order.unfilled) for order in left) < sum(abs(order.unfilled) for order in able)

    def _about_what_is_held(self, orders: Sequence[InstrumentOrder]) -> list[InstrumentOrder]:
        """Those that can be filled now: not what offsets an order of its own strategy that has not traded yet, and may
        never. An order that keeps a limit is cut to what is held beyond it.
        """
        able = []
        for order in orders:
            try:
                self._after_what_it_offsets(order)
                able.append(self._no_more_than_held(order))
            except PysysError as reason:
                self.note(order, str(reason))
        return able

    def _after_what_it_offsets(self, order: InstrumentOrder) -> None:
        if _is_panic(order):
            return
        for parent in (family.parent for family in self.families):
            same = (parent.strategy, parent.instrument) == (order.strategy, order.instrument)
            if same and parent.unfilled * order.unfilled < 0:
                raise Waits(
                    f"after {_kind(parent)} order {parent.id} in {order.instrument}, which trades the other way"
                )

    def _netted(self, instrument: str, orders: Sequence[InstrumentOrder]) -> list[InstrumentOrder]:
        if not (any(order.unfilled > 0 for order in orders) and any(order.unfilled < 0 for order in orders)):
            return list(orders)
        if self.unit.restrictions.kill_switch_engaged():
            raise Waits("the kill switch is engaged: opposite orders are not netted")
        spread = spread_named(self.config, instrument)
        between = spread is not None and not spread.within_one_market
        return net_orders(self.unit, orders, None if between else self._view(instrument), self.now)

    def _view(self, instrument: str, order: InstrumentOrder | None = None) -> RollView:
        """Where an instrument stands, what is being worked counted as done; for an order, as it is to be traded.

        A panic order is about what is really held: only what goes before it counts as done, and what rolls owe. Of a
        spread everything does, as its legs may be filled unevenly so far.
        """
        families = self.families
        if order is not None and _is_panic(order) and instrument not in self.config.spreads:
            families = [each for each in families if each.parent.roll_order or _is_panic(each.parent)]
        try:
            view = roll_view(self.unit, self.config, instrument, families)
        except ValueError as error:
            raise Waits(str(error)) from error
        if view is None:
            raise Waits(f"no multiple prices of {market_of_instrument(self.config, instrument)} yet")
        return view

    def _after_its_turn(self, order: InstrumentOrder) -> None:
        """Raise Waits while the market is taken: by another kind of order, or by one that trades the other way.

        A panic order does not wait: what works there is cancelled for it.
        """
        if _is_panic(order):
            return
        markets = set(markets_of_instrument(self.config, order.instrument))
        for family in self.families:
            taken = markets & {child.instrument for child in family.children}
            if not taken:
                continue
            who = f"{_kind(family.parent)} order {family.parent.id} in {', '.join(sorted(taken))}"
            if _kind(family.parent) != _kind(order):
                raise Waits(f"after {who}")
            if family.parent.instrument == order.instrument and family.parent.unfilled * order.unfilled < 0:
                raise Waits(f"after {who}, which trades the other way")

    def _no_more_than_held(self, order: InstrumentOrder) -> InstrumentOrder:
        """An order that keeps a limit, cut to what is held beyond it by now. Raises Waits when that is nothing.

        It was decided with unfilled orders counted, which may not have traded yet and may never.
        """
        if not keeps_limit(order):
            return order
        snapshot = take_snapshot(self.unit, self.config)
        needed = snapshot.reductions(snapshot.positions).get((order.strategy, order.instrument), 0)
        left = not_beyond(-needed, order.unfilled, 0)
        if left == 0:
            raise Waits("nothing is held beyond the limit yet")
        if left == order.unfilled:
            return order
        note = f"{LIMIT_NOTE}; {order.unfilled:+d} became {left:+d}, as no more is held beyond it"
        self.unit.orders.change_trade(order.id, order.fill + left, note)
        return replace(order, trade=order.fill + left, note=note)

    def _end_rolls_for(self, order: InstrumentOrder) -> set[str]:
        """End what rolls or closes the contracts that a panic order is about; the markets. Raises Waits while any of it
        is at the broker, where it is cancelled: which contracts are held is known after that.
        """
        if not _is_panic(order):
            return set()
        children = rolls_in_the_way(self.unit, self.config, order)
        parents = {child.id for child in children}
        at_broker = [each.order_ref for each in self.unit.orders.active_broker_orders() if each.parent_id in parents]
        if at_broker:
            raise Waits(f"{AFTER}{', '.join(at_broker)}, which makes way")
        end_rolls(self.unit, children, self.now, f"gave way to panic order {order.id}")
        self.families = working_families(self.unit)
        return {child.instrument for child in children}

    def _opening_nothing_in_close(self, order: InstrumentOrder) -> InstrumentOrder:
        """A panic order in a market that is being closed, which may have gone on meanwhile: cut to what is held by now.

        Raises Waits when that is nothing.
        """
        spread = spread_named(self.config, order.instrument)
        if not _is_panic(order) or (spread is not None and not spread.within_one_market):
            return order
        standing = self._view(order.instrument, order).standing
        left = not_beyond(standing.total, order.unfilled, 0) if standing.state is RollState.CLOSE else order.unfilled
        if left == order.unfilled:
            return order
        if left == 0:
            raise Waits(f"roll state {standing.state} of {order.instrument}, and nothing is left to close")
        note = f"{order.note}; {order.unfilled:+d} became {left:+d}, as no more is left to close"
        self.unit.orders.change_trade(order.id, order.fill + left, note)
        return replace(order, trade=order.fill + left, note=note)

    def _children(self, order: InstrumentOrder) -> list[ContractOrder]:
        spread = spread_named(self.config, order.instrument)
        if spread is None or spread.within_one_market:
            return self._in_one_market(order, order.unfilled, self._view(order.instrument, order))
        if order.limit_price is not None:
            raise Waits("a limit on a spread between markets cannot be shared out among its legs")
        children: list[ContractOrder] = []
        odd = odd_legs(self.unit, spread)
        for leg in spread.legs:
            view, trade = self._view(leg.instrument, order), order.unfilled * leg.ratio
            there = taken_over(odd[leg.instrument], trade)
            if there:
                children.append(filled_child(order, view.standing.priced, there, last_price(self.unit, view)))
            if trade != there:
                legs = self._in_one_market(order, trade - there, view)
                children += [replace(child, reference_price=None, inter_spread_order=True) for child in legs]
        return children

    def _in_one_market(self, order: InstrumentOrder, trade: int, view: RollView) -> list[ContractOrder]:
        state = view.standing.state
        parts = choose_contracts(view.standing, trade, panic=_is_panic(order))
        if not parts:
            raise Waits(f"roll state {state} of {view.market}")
        if state is RollState.NO_OPEN and not self._reduces(order):
            raise Waits(f"roll state {state} of {view.market} lets through only what reduces the position")
        if any(part.sequence == OPENS or _opens(view, part.contract, part.trade) for part in parts):
            self._after_reductions(order)
        return [
            ContractOrder(
                strategy=order.strategy,
                instrument=view.market,
                legs=view.legs((part.contract, part.trade)),
                order_type=order.order_type,
                generated_at=self.now,
                reference_price=self._moved_reference(order, view, part.contract),
                limit_price=self._moved_limit(order, view, part.contract, part.trade),
                algo_to_use=algo_for(self.config, order.order_type, view.market),
                sequence=part.sequence,
                manual_trade=order.manual_trade,
            )
            for part in parts
        ]

    def _reduces(self, order: InstrumentOrder) -> bool:
        held = self.unit.positions.strategy_positions().get((order.strategy, order.instrument), 0)
        return apply_override(Override("reduce_only"), held, order.unfilled) == order.unfilled

    def _after_reductions(self, order: InstrumentOrder) -> None:
        """Raise Waits while another family of the instrument has still to close what this order would open against."""
        if _is_panic(order):
            return
        held = self.unit.positions.contract_positions()
        for family in self.families:
            closing = any(held.get(contract, 0) * left < 0 for contract, left in family.remaining.items())
            if closing and family.parent.instrument == order.instrument:
                raise Waits(f"after order {family.parent.id}, which closes the position first")

    def _moved_reference(self, order: InstrumentOrder, view: RollView, start: Contract) -> float | None:
        """The reference price in the contract traded; None when it cannot be moved there."""
        if order.reference_price is None or order.reference_contract is None:
            return None
        return price_in(self.unit, view, order.reference_price, order.reference_contract, start)

    def _moved_limit(self, order: InstrumentOrder, view: RollView, start: Contract, trade: int) -> Decimal | None:
        """The limit in the contract traded, on its tick. Raises Waits when it cannot be moved there."""
        if order.limit_price is None:
            return None
        contract = order.limit_contract if order.limit_contract is not None else view.first_leg(start).date
        moved = price_in(self.unit, view, float(order.limit_price), contract, start)
        if moved is None:
            raise Waits(f"its limit is a price of {contract}, which never had one together with {start.date}")
        return limit_on_tick(moved, self.unit.markets.instrument(view.market).tick_size, trade)


def _is_panic(order: InstrumentOrder) -> bool:
    return order.order_type is InstrumentOrderType.PANIC


def _kind(order: InstrumentOrder) -> str:
    return "roll" if order.roll_order else "manual" if order.manual_trade else "strategy"


def _opens(view: RollView, contract: Contract, trade: int) -> bool:
    return view.standing.positions.get(contract, 0) * trade >= 0
