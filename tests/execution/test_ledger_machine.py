"""The order ledger against a plain model, under whatever a fortnight can bring, on both databases.

The model is the broker's executions added up in a dictionary. After every step the ledger must say the same.
"""

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
from sqlalchemy import select

from pysys.domain.overrides import Override
from pysys.domain.roll_states import RollState
from pysys.execution.fills import record_fills
from pysys.execution.working import request_cancel
from pysys.store import schema
from pysys.store.database import migrate, sqlite_url
from pysys.store.restrictions import PERSON
from pysys.store.unit import Store
from tests.broker import paper_world as world
from tests.conftest import empty_postgres
from tests.execution.conftest import TradingDesk, open_trading_desk
from tests.execution.odd_broker import OddBroker

MARKETS = ("GOLD", "BUND", "NIKKEI")
STRATEGIES = ("trend", "carry")
GOLD_LIMIT = 15  # contracts a day


class Ledger(RuleBasedStateMachine):
    """Everything a desk and its broker can do to each other."""

    make_store = staticmethod(lambda folder: Store(sqlite_url(folder / "pysys.db")))

    @initialize()
    def begin(self) -> None:
        self.folder = tempfile.TemporaryDirectory()
        place = Path(self.folder.name)
        store = self.make_store(place)
        migrate(store.engine)
        self._opened = open_trading_desk(store, place)
        self.trading: TradingDesk = next(self._opened)
        self.broker = OddBroker(self.trading.desk.broker)
        self.trading.desk = replace(self.trading.desk, broker=self.broker)
        with store.write() as unit:
            unit.trade_limits.set("", "GOLD", 1, GOLD_LIMIT, at=self.trading.desk.clock.now())
            unit.commit()

    def teardown(self) -> None:
        if hasattr(self, "_opened"):
            self.trading.desk.store.close()
            next(self._opened, None)
            self.folder.cleanup()

    # what happens

    @rule(market=sampled_from(MARKETS), strategy=sampled_from(STRATEGIES), trade=integers(-6, 6).filter(bool))
    def order(self, market: str, strategy: str, trade: int) -> None:
        self.trading.order(market, trade, strategy)

    @rule(minutes=integers(1, 45))
    def work(self, minutes: int) -> None:
        self.trading.work(minutes=minutes)

    @rule(state=sampled_from([RollState.PASSIVE, RollState.FORCE, RollState.FORCE_OUTRIGHT, RollState.NO_ROLL]))
    def roll(self, state: RollState) -> None:
        self.trading.roll_state("GOLD", state)

    @rule(seed=integers(0, 1000))
    def hear_fills_again_in_any_order(self, seed: int) -> None:
        fills = list(self.broker.fills_since(None)) * 2
        Random(seed).shuffle(fills)
        record_fills(self.trading.desk.store, fills, self.trading.desk.clock.now())

    @rule()
    def change_of_mind(self) -> None:
        with self.trading.desk.store.read() as unit:
            working = [order for order in unit.orders.active_broker_orders() if order.is_open]
        for order in working[:1]:
            request_cancel(self.trading.desk, order, "changed their mind")

    @rule(market=sampled_from(MARKETS), locked=booleans())
    def lock(self, market: str, locked: bool) -> None:
        with self.trading.desk.store.write() as unit:
            if locked:
                unit.restrictions.lock(market, PERSON, at=self.trading.desk.clock.now(), who="tester", why="wait")
            else:
                unit.restrictions.unlock_all_but(PERSON, set(MARKETS) - {market})
            unit.commit()

    @rule(kind=sampled_from(["no_trading", "reduce_only", "none"]))
    def brake(self, kind: str) -> None:
        now = self.trading.desk.clock.now()
        with self.trading.desk.store.write() as unit:
            unit.restrictions.remove_override("", "NIKKEI")
            if kind != "none":
                override = Override(kind)
                unit.restrictions.set_override("", "NIKKEI", override, at=now, who="tester", why="careful")
            unit.commit()

    @precondition(lambda self: self.trading.desk.clock.now() < world.business_days()[7])
    @rule()
    def next_morning(self) -> None:
        now = self.trading.desk.clock.now()
        morning = (now + timedelta(days=1)).replace(hour=8, minute=30)
        while morning.weekday() > 4:
            morning += timedelta(days=1)
        self.trading.desk.clock.sleep_until(morning)

    @rule(trouble=sampled_from(["repeats", "flaky", "fees_unknown", "status_events_lost"]))
    def an_hour_with_a_troubled_broker(self, trouble: str) -> None:
        setattr(self.broker, trouble, True)
        try:
            self.trading.work(minutes=20)
        finally:
            setattr(self.broker, trouble, False)

    # what must hold

    @invariant()
    def the_ledger_is_the_brokers(self) -> None:
        if not hasattr(self, "trading"):
            return
        desk = self.trading.desk
        now = desk.clock.now()
        executions = self.broker.fills_since(None)
        record_fills(desk.store, executions, now)
        model: Counter[str] = Counter()
        for one in executions:
            model[str(one.contract)] += one.quantity
        assert self.trading.positions() == {contract: held for contract, held in model.items() if held}
        self.trading.assert_in_balance()

    @invariant()
    def no_fill_is_lost_or_doubled_and_no_order_exceeded(self) -> None:
        if not hasattr(self, "trading"):
            return
        with self.trading.desk.store.read() as unit:
            known = [row.execution_id for row in unit.connection.execute(select(schema.fills))]
            legs = list(unit.connection.execute(select(schema.contract_order_legs)))
            limits = unit.trade_limits.all()
        assert sorted(known) == sorted(one.execution_id for one in self.broker.fills_since(None))
        for leg in legs:
            assert abs(leg.fill) <= abs(leg.trade) and leg.fill * leg.trade >= 0, leg
        for each in limits:
            assert 0 <= each.used <= each.limit


BOUNDS = settings(
    max_examples=12, stateful_step_count=14, deadline=None, suppress_health_check=list(HealthCheck), print_blob=True
)


def test_the_ledger_holds_on_sqlite():
    run_state_machine_as_test(Ledger, settings=BOUNDS)


def test_the_ledger_holds_on_postgresql(postgres_url):
    class OnPostgres(Ledger):
        make_store = staticmethod(lambda folder: empty_postgres(postgres_url))

    run_state_machine_as_test(OnPostgres, settings=settings(BOUNDS, max_examples=4))
