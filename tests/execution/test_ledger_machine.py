"""The order ledger against a plain model, under whatever some days can bring, on both databases.

The model adds up the broker's executions, and what persons booked, by whose they are; see `plain_ledger`. After every
step the ledger must say the same, and at the end of it all nothing may be left undone.
"""

import sys
import tempfile
from collections import Counter
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from random import Random

from hypothesis import HealthCheck, settings
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from hypothesis.strategies import booleans, integers, sampled_from

from pysys.domain.orders import Fill
from pysys.domain.roll_states import RollState
from pysys.execution.commands import new_token, request
from pysys.execution.fills import record_fills
from pysys.execution.generation import generate_orders
from pysys.execution.position_sums import strategies_less_contracts
from pysys.execution.stack_methods import StackHandler
from pysys.execution.working import request_cancel
from pysys.store.database import migrate, sqlite_url
from pysys.store.unit import Store
from tests.broker import paper_world as world
from tests.conftest import empty_postgres
from tests.execution.conftest import TradingDesk, open_trading_desk
from tests.execution.machine_broker import MachineBroker
from tests.execution.plain_ledger import Books, period_began, standing
from tests.execution.test_spread_instruments import with_spreads

MARKETS = ("GOLD", "BUND", "NIKKEI")
TRADED = ("GOLD", "GOLD", "BUND", "NIKKEI", "GOLD_CAL", "BUND_GOLD")
STRATEGIES = ("trend", "carry")
LAST_MORNING = world.business_days()[2]  # the March bund expires two days later
NIKKEI_LIMIT = 5  # contracts held by carry, to begin with
ROLLS = tuple(RollState)


class Ledger(RuleBasedStateMachine):
    """Everything a desk, its persons and its broker can do to each other."""

    make_store = staticmethod(lambda folder: Store(sqlite_url(folder / "pysys.db")))

    @initialize(gold_limit=sampled_from((4, 40)))
    def begin(self, gold_limit: int) -> None:
        self.folder = tempfile.TemporaryDirectory()
        place = Path(self.folder.name)
        store = self.make_store(place)
        migrate(store.engine)
        self._opened = open_trading_desk(store, place, world.market(starts=world.LONGER))
        self.trading: TradingDesk = with_spreads(next(self._opened))
        self.broker = MachineBroker(self.trading.desk.broker, self._may_go)
        self.trading.desk = replace(self.trading.desk, broker=self.broker)
        self.by_hand: list[Fill] = []
        self.moved_by_hand: Counter[tuple[str, str]] = Counter()
        self.asked: dict[int, tuple[str, str, int]] = {}
        self.handler: StackHandler | None = None
        self.trade_limit("", gold_limit, "GOLD", 1)
        self.position_limit("carry", NIKKEI_LIMIT, "NIKKEI")

    def teardown(self) -> None:
        if not hasattr(self, "_opened"):
            return
        try:
            if sys.exc_info()[0] is None:
                self._wind_up()
        finally:
            self.trading.desk.store.close()
            next(self._opened, None)
            self.folder.cleanup()

    # what strategies do

    @rule(code=sampled_from(TRADED), strategy=sampled_from(STRATEGIES), trade=integers(-6, 6).filter(bool))
    def order(self, code: str, strategy: str, trade: int) -> None:
        trade = trade if code in MARKETS else max(-2, min(2, trade))
        self.asked[self.trading.order(code, trade, strategy)] = (strategy, code, trade)

    @rule(seed=integers(0, 1000), minutes=integers(0, 8))
    def a_busy_moment(self, seed: int, minutes: int) -> None:
        luck = Random(seed)
        for _ in range(luck.randint(2, 4)):
            self.order(luck.choice(TRADED), luck.choice(STRATEGIES), luck.choice([-6, -3, -1, 1, 3, 6]))
        self.work(minutes)

    @rule(strategy=sampled_from(STRATEGIES), wanted=integers(-5, 5))
    def a_backtest_wants_gold(self, strategy: str, wanted: int) -> None:
        self.trading.desk.clock.sleep_until(self.trading.desk.clock.now() + timedelta(seconds=1))
        self.trading.want("GOLD", wanted - 0.4, wanted + 0.4, strategy)
        generate_orders(self.trading.desk, [strategy])

    # what the stack handler does, and time

    @rule(minutes=integers(1, 45))
    def work_and_end_the_day(self, minutes: int) -> None:
        self.handler = None
        self.trading.work(minutes=minutes)

    @rule(minutes=integers(1, 12))
    def work(self, minutes: int) -> None:
        """Some minutes; orders are left working, and what is left waiting says why."""
        clock = self.trading.desk.clock
        if self.handler is None or clock.now() >= self.handler.stops:
            self.handler = StackHandler(self.trading.desk, clock.now() + timedelta(hours=4))
        for _ in range(minutes):
            for _ in range(6):
                self.handler.one_pass()
            clock.sleep_until(clock.now() + world.MINUTE)
        self.handler.one_pass()

    @rule()
    def restart(self) -> None:
        self.handler = None

    @precondition(lambda self: self.trading.desk.clock.now() < LAST_MORNING)
    @rule()
    def next_morning(self) -> None:
        self.handler = None
        tomorrow = self.trading.desk.clock.now() + timedelta(days=1)
        self.trading.desk.clock.sleep_until(tomorrow.replace(hour=8, minute=30))

    # what persons do

    @rule(state=sampled_from(ROLLS), market=sampled_from(("GOLD", "GOLD", "BUND")))
    def roll(self, state: RollState, market: str) -> None:
        self.trading.roll_state(market, state, "20240400" if market == "GOLD" else "20240300")

    @rule(code=sampled_from(("GOLD", "NIKKEI")), strategy=sampled_from(STRATEGIES), trade=sampled_from((-3, -1, 1, 3)))
    def a_cancel_meets_a_fill(self, code: str, strategy: str, trade: int) -> None:
        """Whoever changes their mind is told that the order is over, and some seconds later that it was filled."""
        self.order(code, strategy, trade)
        self.work(0)
        clock = self.trading.desk.clock
        clock.sleep_until(clock.now() + timedelta(seconds=20))
        with self.trading.desk.store.read() as unit:
            working = [o for o in unit.orders.active_broker_orders() if o.is_open and o.cancel_requested_at is None]
        self.broker.crosses = True
        for order in working[:2]:
            request_cancel(self.trading.desk, order, "changed their mind")
        self.broker.crosses = False
        self.work(1)

    @rule(hold=booleans(), everything=booleans())
    def cancel(self, hold: bool, everything: bool) -> None:
        refs = [order.order_ref for order in self._books().orders.values() if order.active]
        if everything:
            self._person("cancel_all", hold=hold)
        elif refs:
            self._person("cancel_broker_order", order_ref=refs[-1], hold=hold)

    @rule(market=sampled_from(MARKETS), locked=booleans())
    def lock(self, market: str, locked: bool) -> None:
        self._person("lock_instrument" if locked else "unlock_instrument", instrument=market)

    @rule(locked=booleans(), level=sampled_from(["instrument", "contract"]), which=integers(0, 3))
    def lock_an_order(self, locked: bool, level: str, which: int) -> None:
        books = self._books()
        rows = books.families if level == "instrument" else books.children
        active = [row.id for row in rows.values() if row.active]
        if active:
            name = "lock_order" if locked else "unlock_order"
            self._person(name, level=level, order_id=active[which % len(active)])

    @rule(level=sampled_from(["instrument", "contract"]), which=integers(0, 3))
    def take_off_the_stack(self, level: str, which: int) -> None:
        books = self._books()
        rows = books.families if level == "instrument" else books.children
        active = [row.id for row in rows.values() if row.active]
        if active:
            self._person("delete_order", level=level, order_id=active[which % len(active)])

    @rule(name=sampled_from(["net_instrument_orders", "spawn_children", "create_broker_orders", "force_rolls"]))
    def step_by_step(self, name: str) -> None:
        self._person(name)

    @rule(on=booleans())
    def kill_switch(self, on: bool) -> None:
        self._person("engage_kill_switch" if on else "release_kill_switch")

    @rule(kind=sampled_from(["no_trading", "reduce_only", "none"]), market=sampled_from(("NIKKEI", "GOLD")))
    def brake(self, kind: str, market: str) -> None:
        if kind == "none":
            self._person("remove_override", instrument=market)
        else:
            self._person("set_override", kind=kind, instrument=market)

    @rule(strategy=sampled_from(["", *STRATEGIES]), limit=integers(0, 8), market=sampled_from(MARKETS))
    def position_limit(self, strategy: str, limit: int, market: str) -> None:
        self._person("set_position_limit", instrument=market, limit=limit, strategy=strategy)

    @rule(
        strategy=sampled_from(["", *STRATEGIES]), limit=integers(0, 20),
        code=sampled_from(("GOLD", "GOLD", "NIKKEI", "GOLD_CAL")), days=sampled_from((1, 3)),
    )  # fmt: skip
    def trade_limit(self, strategy: str, limit: int, code: str, days: int) -> None:
        self._person("set_trade_limit", instrument=code, period_days=days, limit=limit, strategy=strategy)

    @rule(
        strategy=sampled_from(STRATEGIES), trade=integers(-4, 4).filter(bool),
        kind=sampled_from(["best", "market", "panic"]), spread=booleans(), anyway=booleans(),
    )  # fmt: skip
    def manual_order(self, strategy: str, trade: int, kind: str, spread: bool, anyway: bool) -> None:
        what = {"legs": {"20240400": trade, "20240600": -trade}} if spread else {"trade": trade}
        override = {"override": "they know"} if anyway else {}
        self._person("manual_order", strategy=strategy, instrument="GOLD", order_type=kind, **what, **override)

    @rule(strategy=sampled_from(STRATEGIES), quantity=integers(-3, 3).filter(bool))
    def a_trade_by_telephone(self, strategy: str, quantity: int) -> None:
        """The broker never tells it as an execution, so a person books it."""
        self.broker.trades_untold(world.GOLD_APR, quantity)
        done = self._person(
            "balance_trade", strategy=strategy, instrument="GOLD", contract="20240400", quantity=quantity, price=2101.5
        )
        now, token = self.trading.desk.clock.now(), done.token
        fill = Fill("manual", token, f"balance-{token}", world.GOLD_APR, quantity, 2101.5, now)
        self.by_hand.append(fill)

    @rule(strategy=sampled_from(STRATEGIES), quantity=integers(-3, 3).filter(bool))
    def somebody_else_trades_in_the_account(self, strategy: str, quantity: int) -> None:
        """The execution belongs to no order, so a person says which strategy owns it."""
        desk = self.trading.desk
        name = f"foreign{len(self.broker.fills_since(None))}"
        now = desk.clock.now()
        self.broker.fills_late(
            Fill(self.broker.name, name, name, world.NIKKEI_JUN, quantity, 39_000.0, now, 1.0, "JPY")
        )
        record_fills(desk.store, self.broker.fills_since(None), now)
        done = self._person(
            "balance_instrument_trade", strategy=strategy, instrument="NIKKEI", quantity=quantity, price=39_000.0,
            override="it is theirs",
        )  # fmt: skip
        assert done.status == "done", done.answer
        self.moved_by_hand[strategy, "NIKKEI"] += quantity

    @rule(which=integers(0, 3), part=integers(1, 3))
    def fill_by_hand(self, which: int, part: int) -> None:
        """An order of ours traded, and the broker never tells."""
        books = self._books()
        working = {order.parent_id for order in books.orders.values() if order.active}
        able = [
            (child.id, leg)
            for child in books.children.values()
            for leg in books.child_legs[child.id]
            if child.active and child.id not in working and leg.fill != leg.trade
        ]
        if not able:
            return
        child_id, leg = able[which % len(able)]
        rest = leg.trade - leg.fill
        quantity = max(-part, min(part, rest))
        done = self._person(
            "fill_by_hand", contract_order=child_id, contract=leg.contract, quantity=quantity, price=2099.5
        )
        assert done.status == "done", done.answer
        contract = next(c for c in world.LONGER if (c.instrument, c.date) == (leg.instrument, leg.contract))
        self.broker.trades_untold(contract, quantity)
        now, ref = self.trading.desk.clock.now(), f"{child_id}-hand-{done.token}"
        self.by_hand.append(Fill("manual", done.token, ref, contract, quantity, 2099.5, now))

    # what the broker does

    @rule(seed=integers(0, 1000))
    def hear_fills_again_in_any_order(self, seed: int) -> None:
        fills = list(self.broker.fills_since(None)) * 2
        Random(seed).shuffle(fills)
        record_fills(self.trading.desk.store, fills, self.trading.desk.clock.now())

    @rule(trouble=sampled_from(["repeats", "flaky", "fees_unknown", "status_events_lost", "refuses_spreads", "stuck"]))
    def a_troubled_broker(self, trouble: str) -> None:
        setattr(self.broker, trouble, True)
        try:
            self.work(6)
        finally:
            setattr(self.broker, trouble, False)

    @rule(which=integers(0, 5), corrected=booleans(), seed=integers(0, 1000))
    def an_execution_is_taken_back_or_corrected(self, which: int, corrected: bool, seed: int) -> None:
        ours = [f for f in standing(self.broker.fills_since(None)) if f in self.broker.real.fills_since(None)]
        if not ours:
            return
        fill = ours[which % len(ours)]
        if corrected:
            fewer = fill.quantity // abs(fill.quantity) if abs(fill.quantity) > 1 and seed % 2 else 0
            self.broker.correct(fill.execution_id, quantity=fill.quantity - fewer, price=fill.price + 0.5)
        else:
            self.broker.bust(fill.execution_id)
        self.hear_fills_again_in_any_order(seed)

    # what must hold

    @invariant()
    def the_ledger_is_the_brokers(self) -> None:
        desk = self.trading.desk
        for wrong in self.broker.should_not_have_gone:
            raise wrong
        executions = self.broker.fills_since(None)
        record_fills(desk.store, executions, desk.clock.now())
        books = self._books()
        books.compare([*executions, *self.by_hand], self.moved_by_hand)
        assert self.trading.positions() == self.trading.broker_positions()
        for order_id, (strategy, code, trade) in self.asked.items():
            family = books.families[order_id]
            assert (family.strategy, family.instrument) == (strategy, code)
            assert family.trade * trade > 0 or family.trade == 0
        now = desk.clock.now()
        with desk.store.read() as unit:
            for limit in unit.trade_limits.all(now):
                assert limit.used == books.used(limit), limit

    def _may_go(self, ticket) -> None:
        """Look at an order as it goes to the broker: nothing holds it up, and no limit is exceeded by it."""
        books = self._books()
        now = self.trading.desk.clock.now()
        order = books.by_ref[ticket.order_ref]
        child = books.children[order.parent_id]
        family = books.families[child.parent_id]
        with self.trading.desk.store.read() as unit:
            assert not unit.restrictions.kill_switch_engaged()
            assert order.instrument not in unit.restrictions.locked_instruments()
            trade_limits = unit.trade_limits.all(now)
            assert [each.reset_at for each in trade_limits] == [period_began(x, now) for x in unit.trade_limits.all()]
            position_limits = unit.restrictions.position_limits()
            held = unit.positions.strategy_positions()
        assert order.active and order.status == "intended"
        assert order.parent_id not in {books.by_ref[ref].parent_id for ref in self.broker.on_their_way()}
        assert child.active and not child.locked and family.active and not family.locked
        for limit in trade_limits:
            assert limit.used == books.used(limit), limit
        if family.order_type == "panic":
            return
        for limit in trade_limits:
            concerned = limit.instrument in (order.instrument, family.instrument)
            if concerned and limit.strategy in ("", order.strategy):
                assert books.used(limit) <= limit.limit, (limit, order)
        if family.roll_order or family.guard_overridden or family.instrument not in MARKETS or len(ticket.legs) > 1:
            return
        ratios = {code: spread_ratio(self.trading.desk.config, code, family.instrument) for _, code in held}
        own = held.get((family.strategy, family.instrument), 0)
        total = sum(position * ratios[code] for (_, code), position in held.items())
        for scope, before in ((family.strategy, own), ("", total)):
            most = position_limits.get((scope, family.instrument))
            after = before + ticket.legs[0].quantity
            assert most is None or abs(after) <= most or 0 <= before * after < before * before, (order, scope, most)

    def _wind_up(self) -> None:
        """Nothing holds anything up any more: within a day or two every order is over, and every roll whole."""
        desk = self.trading.desk
        self._person("release_kill_switch")
        with desk.store.write() as unit:
            for market in MARKETS:
                unit.restrictions.unlock(market)
                unit.restrictions.remove_override("", market)
            for strategy, code in list(unit.restrictions.position_limits()):
                unit.restrictions.remove_position_limit(strategy, code)
            for limit in unit.trade_limits.all():
                unit.trade_limits.remove(limit.strategy, limit.instrument, limit.period_days)
            unit.commit()
        self._unlock_orders()
        for _ in range(2):
            tomorrow = desk.clock.now() + timedelta(days=1)
            desk.clock.sleep_until(tomorrow.replace(hour=8, minute=30))
            self._unlock_orders()
            self.trading.work(minutes=90)
        self.the_ledger_is_the_brokers()
        self._books().everything_is_over()
        assert self.broker.working_orders() == []
        with desk.store.read() as unit:
            apart = strategies_less_contracts(unit, desk.config)
        assert apart == {}

    def _unlock_orders(self) -> None:
        books = self._books()
        for level, rows in (("instrument", books.families), ("contract", books.children)):
            for row in rows.values():
                if row.active and row.locked:
                    self._person("unlock_order", level=level, order_id=row.id)

    def _books(self) -> Books:
        return Books.read(self.trading.desk.store, self.trading.desk.config)

    def _person(self, name: str, **arguments):
        answered = request(self.trading.desk, name, arguments, who="rob", why="as it goes", token=new_token())
        assert answered.status in ("done", "refused"), answered
        return answered


def spread_ratio(config, code: str, market: str) -> int:
    """Contracts of a market in one of what a code stands for."""
    spread = config.spreads.get(code)
    if spread is None:
        return int(code == market)
    return sum(leg.ratio for leg in spread.legs if leg.instrument == market)


BOUNDS = settings(
    max_examples=12, stateful_step_count=16, deadline=None, suppress_health_check=list(HealthCheck), print_blob=True
)


def test_the_ledger_holds_on_sqlite():
    run_state_machine_as_test(Ledger, settings=BOUNDS)


def test_the_ledger_holds_on_postgresql(postgres_url):
    class OnPostgres(Ledger):
        make_store = staticmethod(lambda folder: empty_postgres(postgres_url))

    run_state_machine_as_test(OnPostgres, settings=settings(BOUNDS, max_examples=3))
