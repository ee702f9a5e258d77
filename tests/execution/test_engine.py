"""The engine as a process: alone on its account, killed, drained, stopped from a shell."""

import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from datetime import timedelta
from decimal import Decimal
from pathlib import Path

import pytest

from pysys.domain.process_rules import ProcessStatus
from pysys.execution.commands import request
from pysys.execution.lease import trading_now
from pysys.store.machine import Holder
from pysys.store.unit import Store
from tests.broker import paper_world as world
from tests.conftest import PROJECT
from tests.execution import stack
from tests.execution.conftest import TradingDesk, prepare_markets
from tests.execution.engine_program import EngineProcess
from tests.execution.live import live_desk

PATIENCE = 40.0  # seconds


def eventually(true: Callable[[], object], what: str) -> None:
    deadline = time.monotonic() + PATIENCE
    while not true():
        assert time.monotonic() < deadline, f"not within {PATIENCE} s: {what}"
        time.sleep(0.02)


@dataclass
class LiveDesk(TradingDesk):
    """A desk whose orders other processes work."""

    url: str = ""
    epoch: float = 0.0
    engines: list[EngineProcess] = field(default_factory=list)

    def start_engine(self, minutes: float = 240) -> EngineProcess:
        self.engines.append(EngineProcess(self.url, self.folder / "exchange.db", self.epoch, minutes))
        return self.engines[-1]

    def is_trading(self) -> bool:
        return trading_now(self.desk.store) is not None

    def on_the_stacks(self) -> int:
        with self.desk.store.read() as unit:
            return len(unit.orders.active_instrument_orders()) + len(unit.orders.active_broker_orders())

    def sent(self) -> int:
        """Orders the exchange has received."""
        with closing(sqlite3.connect(self.folder / "exchange.db")) as exchange:
            return exchange.execute("SELECT count(*) FROM orders").fetchone()[0]

    def claim(self) -> tuple[str | None, int | None]:
        """The algo that works contract order 1, and the process it is in."""
        with self.desk.store.read() as unit:
            order = unit.orders.open_contract_order(1)
        if order is None or order.claimed_by is None:
            return None, None
        return order.controlling_algo, Holder.parse(order.claimed_by).pid

    def suspend(self, engine: EngineProcess) -> None:
        """Stop a process where it holds no lock of a database."""
        while True:
            engine.send(signal.SIGSTOP)
            if all(_is_free(self.folder / name) for name in ("pysys.db", "exchange.db")):
                return
            engine.send(signal.SIGCONT)
            time.sleep(0.01)

    def status(self, status: ProcessStatus) -> None:
        with self.desk.store.write() as unit:
            unit.runs.set_process_status("run_stack_handler", status, "tester", self.desk.clock.now())
            unit.commit()


@pytest.fixture
def live(store: Store, tmp_path: Path) -> Iterator[LiveDesk]:
    yield from _live(store, tmp_path)


@pytest.fixture
def live_on_sqlite(sqlite_store: Store, tmp_path: Path) -> Iterator[LiveDesk]:
    yield from _live(sqlite_store, tmp_path)


def _live(store: Store, folder: Path) -> Iterator[LiveDesk]:
    epoch = time.time()
    desk = live_desk(store.url, folder / "exchange.db", epoch, "test")
    prepare_markets(desk.store, desk.broker)
    live = LiveDesk(desk, folder, store.url, epoch)
    yield live
    for engine in live.engines:
        engine.kill()
    desk.broker.close()
    desk.store.close()


def test_of_two_engines_on_one_database_one_works_every_order_once_and_the_other_is_refused(live):
    for _ in range(6):
        live.order("GOLD", 1)
        live.order("NIKKEI", -1)
    engines = [live.start_engine(), live.start_engine()]
    eventually(lambda: any(engine.exit_code is not None for engine in engines), "one is refused")
    (refused,) = [engine for engine in engines if engine.exit_code is not None]
    (working,) = [engine for engine in engines if engine.exit_code is None]
    assert f"is already being run by process {working.pid}" in refused.wait(PATIENCE)
    assert refused.exit_code == 3
    eventually(lambda: live.on_the_stacks() == 0, "all orders worked")
    working.send(signal.SIGTERM)

    summary = json.loads(working.wait(PATIENCE))

    assert working.exit_code == 0
    assert live.positions() == {"GOLD/20240400": 6, "NIKKEI/20240600": -6}
    live.assert_in_balance()
    assert summary["fills"] == summary["broker_orders"] == len(live.desk.broker.fills_since(None)) == 12
    assert not live.is_trading()


@pytest.mark.incident("E9")
def test_an_engine_killed_in_the_middle_is_replaced_at_once_and_nothing_is_sent_twice(live):
    for _ in range(10):
        live.order("GOLD", 2)
    first = live.start_engine()
    eventually(lambda: len(live.desk.broker.fills_since(None)) >= 3, "some fills")
    first.kill()
    assert live.on_the_stacks() > 0

    second = live.start_engine()
    eventually(lambda: live.on_the_stacks() == 0, "the rest worked")
    second.send(signal.SIGTERM)
    second.wait(PATIENCE)

    assert second.exit_code == 0
    assert live.positions() == {"GOLD/20240400": 20}
    live.assert_in_balance()


@pytest.mark.incident("E15")
def test_orders_of_a_killed_engine_are_taken_over_by_the_next_and_cancelled_from_a_third_process(live):
    """The order rests far from the market. Nothing but the database says whose it is."""
    terms = {"order_type": "limit", "limit_price": Decimal("1900"), "limit_contract": "20240400"}
    stack.place(live, "GOLD", 5, **terms)
    first = live.start_engine()
    eventually(lambda: live.desk.broker.working_orders(), "the order at the broker")
    eventually(lambda: live.claim() == ("limit", first.pid), "claimed by the engine")
    first.kill()
    second = live.start_engine()
    eventually(lambda: live.claim() == ("limit", second.pid), "taken over")
    second.kill()
    assert len(live.desk.broker.working_orders()) == 1

    asked = {"who": "rob", "why": "both are dead", "wait": timedelta(seconds=PATIENCE)}
    answer = request(live.desk, "cancel_all", {}, **asked, token="out").answer

    assert answer == "Asked the broker to cancel 1 orders."
    assert live.desk.broker.working_orders() == []
    live.start_engine()
    eventually(lambda: live.claim() == (None, None), "settled, and worked by nobody")
    assert (live.sent(), live.positions()) == (1, {})
    live.assert_in_balance()


@pytest.mark.parametrize("how", ["SIGTERM", "STOP"])
def test_an_engine_told_to_stop_cancels_books_and_empties_the_stacks(live_on_sqlite, how):
    live = live_on_sqlite
    live.order("GOLD", 5000)
    engine = live.start_engine()
    eventually(lambda: len(live.desk.broker.fills_since(None)) >= 2, "some fills")
    if how == "STOP":
        live.status(ProcessStatus.STOP)
    else:
        engine.send(signal.SIGTERM)

    said = engine.wait(PATIENCE)

    assert engine.exit_code == 0, said
    assert live.on_the_stacks() == 0
    assert live.desk.broker.working_orders() == []
    assert 0 < live.positions()["GOLD/20240400"] < 5000
    live.assert_in_balance()
    if how == "STOP":
        refused = live.start_engine()
        assert ("is on STOP" in refused.wait(PATIENCE), refused.exit_code) == (True, 3)


def shell(live: LiveDesk, *arguments: str) -> "subprocess.CompletedProcess[str]":
    """`pysys` as a person types it, with nothing else running."""
    environment = {**os.environ, "PYSYS_HOME": str(PROJECT), "PYSYS_DATABASE_URL": live.url}
    environment["PYSYS_OUTPUTS_DIRECTORY"] = str(live.folder / "outputs")
    command = [sys.executable, "-m", "pysys.cli", *arguments]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


@pytest.mark.incident("E11")
def test_after_the_kill_switch_is_engaged_from_a_shell_nothing_is_sent(live_on_sqlite):
    live = live_on_sqlite
    live.order("GOLD", 5000)
    engine = live.start_engine()
    eventually(lambda: len(live.desk.broker.fills_since(None)) >= 2, "some fills")

    done = shell(live, "kill-switch", "on", "--why", "the news")
    sent = live.sent()

    assert (done.returncode, done.stderr) == (0, "")
    assert "Positions stay as they are" in done.stdout
    assert "kill-switch off" in done.stdout
    time.sleep(1.0)  # a minute of the market, with an engine awake
    assert live.sent() == sent
    engine.kill()
    live.start_engine()
    eventually(live.is_trading, "the next engine")
    time.sleep(1.0)
    assert live.sent() == sent  # it survived the restart
    assert shell(live, "kill-switch", "off", "--why", "all clear").returncode == 0
    eventually(lambda: live.sent() > sent, "trading goes on")


def test_on_pause_nothing_new_is_sent_and_what_fills_is_booked(live_on_sqlite):
    live = live_on_sqlite
    live.status(ProcessStatus.PAUSE)
    live.order("GOLD", 3)
    live.start_engine()
    eventually(live.is_trading, "the engine")
    live.desk.broker.submit(world.buy("elsewhere", (world.NIKKEI_JUN, 2)))

    eventually(lambda: live.positions() == {"NIKKEI/20240600": 2}, "the fill is booked")

    assert live.sent() == 1  # the other one
    live.status(ProcessStatus.GO)
    eventually(lambda: live.positions().get("GOLD/20240400") == 3, "it goes on")


def test_an_engine_that_was_silent_for_too_long_sends_nothing_after_another_took_over(live_on_sqlite):
    live = live_on_sqlite
    live.order("GOLD", 5000)
    silent = live.start_engine()
    eventually(lambda: len(live.desk.broker.fills_since(None)) >= 2, "some fills")
    live.suspend(silent)
    _let_the_lease_run_out(live)
    live.status(ProcessStatus.PAUSE)
    assert not live.is_trading()
    live.start_engine()
    eventually(live.is_trading, "another takes over")
    sent = live.sent()

    silent.send(signal.SIGCONT)
    said = silent.wait(PATIENCE)

    assert silent.exit_code == 3
    assert "Another process trades account PAPER-1 now" in said
    assert live.sent() == sent


def _let_the_lease_run_out(live: LiveDesk) -> None:
    with live.desk.store.write() as unit:
        (lease,) = [each for each in unit.runs.leases() if each.name.startswith("engine:")]
        unit.runs.heartbeat(lease.name, lease.holder, lease.taken_at, lease.taken_at - lease.taken_at)
        unit.commit()


def _is_free(database: Path) -> bool:
    with closing(sqlite3.connect(database, timeout=0.1, isolation_level=None)) as connection:
        try:
            connection.execute("BEGIN IMMEDIATE")
        except sqlite3.OperationalError:
            return False
        connection.execute("ROLLBACK")
        return True
