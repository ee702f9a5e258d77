"""A busy fortnight: orders of three strategies, a spread, rolls, limits, commands, on the paper exchange's small world.

Everything that is to happen is decided beforehand. What has happened is kept in the transaction that did it, so whoever
comes back after a death knows what is still to come.
"""

import json
import random
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
from sqlalchemy import Column, Integer, MetaData, String, Table, insert, select

from pysys.broker.paper.clock import ExchangeClock
from pysys.broker.paper.exchange import PaperBroker
from pysys.config import Config
from pysys.desk import Desk
from pysys.domain.contracts import Contract
from pysys.domain.instruments import Instrument
from pysys.domain.orders import InstrumentOrder, InstrumentOrderType
from pysys.domain.prices import MultipleRows
from pysys.domain.roll_states import RollState, RollStatus
from pysys.execution.commands import ask
from pysys.execution.stack_handler import run_stack_handler
from pysys.execution.working import request_cancel
from pysys.store.database import migrate, sqlite_url
from pysys.store.prices import SeriesKey, SeriesKind
from pysys.store.unit import Store, UnitOfWork
from tests.broker import paper_world as world

STRATEGIES = ("trend", "carry", "skew")
START = world.MONDAY + timedelta(hours=8)
STRETCH = timedelta(minutes=30)  # one run of the stack handler
STRETCHES_A_DAY = 18
FORTNIGHT = 10 * STRETCHES_A_DAY
SPREADS = {
    "GOLD_CAL": {"legs": [{"instrument": "GOLD", "ratio": 1}, {"instrument": "GOLD", "ratio": -1, "chain": 1}]},
}
DATABASE = "database.url"  # file with the URL of the database, beside the exchange

happened = Table(
    "scenario_events",  # what has happened, and the order it placed
    MetaData(),
    Column("key", String(20), primary_key=True),
    Column("order_id", Integer),
    Column("strategy", String(40)),
    Column("instrument", String(40)),
)


@dataclass(frozen=True)
class Event:
    """One thing that happens at the start of a stretch."""

    kind: str  # order, roll, cancel, limit, command
    instrument: str = ""
    trade: int = 0  # of a limit: contracts a day
    strategy: str = ""
    state: str = ""  # of a roll; of a command its name
    arguments: Mapping[str, Any] = field(default_factory=dict)


Plan = list[list[Event]]  # what happens, by stretch


def plan(seed: int, orders: int, length: int = FORTNIGHT) -> Plan:
    """A busy time; the last tenth has no new orders, and no limit that could cut what is left."""
    chance = random.Random(seed)
    stretches: Plan = [[] for _ in range(length)]
    quiet = length - length // 10 - 1
    for _ in range(orders):
        code = chance.choice(("GOLD", "GOLD", "BUND", "NIKKEI", "GOLD_CAL"))
        trade = chance.choice([-3, -2, -1, 1, 2, 3, 4])  # positions grow, so that there is something to roll
        stretches[chance.randrange(quiet)].append(Event("order", code, trade, chance.choice(STRATEGIES)))
    states = (RollState.FORCE, RollState.PASSIVE, RollState.FORCE_OUTRIGHT, RollState.NO_ROLL)
    for number in range(3, length, 7):
        stretches[number].append(Event("roll", "GOLD", state=str(states[number // 7 % len(states)])))
    for number in range(2, length, 5):
        stretches[number].append(Event("cancel"))
    for number in range(4, quiet, 9):
        stretches[number].append(Event("limit", "GOLD", chance.randrange(6, 40)))
    stretches[quiet].append(Event("limit", "GOLD", 1000))
    for number in range(5, quiet, 11):
        stretches[number].append(chance.choice(COMMANDS))
    return stretches


COMMANDS = (
    Event("command", state="manual_order", arguments={"strategy": "trend", "instrument": "GOLD", "trade": 2}),
    Event(
        "command",
        state="manual_order",
        arguments={"strategy": "carry", "instrument": "GOLD", "legs": {"20240400": -1, "20240600": 1}},
    ),
    Event("command", state="cancel_all", arguments={"hold": False}),
    Event("command", state="cash_fx_trade", arguments={"pair": "EURUSD", "amount": 1000.0}),
)


def everything_once() -> Plan:
    """As little as has one of everything in it: for dying at every call in turn."""
    return [
        [Event("order", "GOLD", 4, "trend"), Event("order", "GOLD", 1, "carry"), Event("order", "GOLD_CAL", 1, "skew")],
        [Event("roll", "GOLD", state=str(RollState.PASSIVE)), Event("order", "GOLD", -2, "trend"), COMMANDS[3]],
        [COMMANDS[0], COMMANDS[1], Event("cancel"), Event("order", "NIKKEI", -1, "skew")],
        [Event("limit", "GOLD", 3), Event("roll", "GOLD", state=str(RollState.FORCE_OUTRIGHT)), COMMANDS[2]],
        [Event("limit", "GOLD", 1000)],
        [Event("order", "GOLD", -2, "carry"), Event("roll", "GOLD", state=str(RollState.NO_ROLL))],
    ]


def moment_of(stretch: int) -> datetime:
    day, place = divmod(stretch, STRETCHES_A_DAY)
    return world.business_days()[day] + timedelta(hours=8) + place * STRETCH


def start_from(template: Path, folder: Path) -> None:
    """A copy of what was built in `template`, on SQLite."""
    for name in ("exchange.db", "pysys.db"):
        shutil.copy(template / name, folder / name)
    (folder / DATABASE).write_text(sqlite_url(folder / "pysys.db"))


def build(folder: Path, url: str | None = None) -> None:
    """A new database (SQLite in `folder` when no URL is given) and a new exchange in `folder`."""
    (folder / DATABASE).write_text(sqlite_url(folder / "pysys.db") if url is None else url)
    clock = ExchangeClock(folder / "exchange.db")
    clock.set_start(START)
    clock.close()
    desk = open_desk(folder)
    migrate(desk.store.engine)
    happened.create(desk.store.engine)
    with desk.store.write() as unit:
        for code, instrument in world.INSTRUMENTS.items():
            unit.markets.put_instrument(instrument)
            unit.markets.put_roll_parameters(world.ROLLS[code])
        for code in SPREADS:
            unit.markets.put_instrument(Instrument(code, "", "USD", 100.0, "Spread", tick_size=0.1))
        _multiple(unit, world.GOLD_APR, world.GOLD_JUN)
        _multiple(unit, world.BUND_JUN, world.BUND_JUN)
        _multiple(unit, world.NIKKEI_JUN, world.NIKKEI_JUN)
        unit.commit()
    close(desk)


def _multiple(unit: UnitOfWork, priced: Contract, forward: Contract) -> None:
    prices = [np.array([world.STARTS[contract]]) for contract in (priced, forward)]
    contracts = [np.array([int(contract.date)]) for contract in (priced, forward)]
    times = np.array([world.micros(START - timedelta(hours=9))])
    rows = MultipleRows(times, prices[0], contracts[0], prices[1], contracts[1], prices[1], contracts[1])
    unit.prices.append(SeriesKey(SeriesKind.MULTIPLE, priced.instrument), rows)


def open_desk(folder: Path) -> Desk:
    """A desk as a process has it that has just started."""
    store = Store((folder / DATABASE).read_text())
    clock = ExchangeClock(folder / "exchange.db")
    market = world.market(starts=world.LONGER)
    broker = PaperBroker(folder / "exchange.db", market, clock, base_currency="USD", starting_cash=world.CASH, seed=5)
    known = {name: {} for name in STRATEGIES}
    config = Config(clock="exchange", spread_instruments=SPREADS, strategy_list=known)
    return Desk(config, store, broker, clock, folder)


def close(desk: Desk) -> None:
    desk.store.close()
    desk.broker.close()
    desk.clock.close()


def work(folder: Path, plan: Plan) -> None:
    """Trade from wherever it stands to the end."""
    desk = open_desk(folder)
    for number, events in enumerate(plan):
        begins, ends = moment_of(number), moment_of(number) + STRETCH
        if desk.clock.now() >= ends:
            continue
        desk.clock.sleep_until(begins)
        for place, event in enumerate(events):
            happen(desk, f"{number}.{place}", event)
        minds = [event for event in events if event.kind == "cancel"]
        run_stack_handler(desk, ends, progress=lambda _, minds=minds: change_minds(desk, minds))
    close(desk)


def change_minds(desk: Desk, minds: list[Event]) -> None:
    """Cancel what works, an order for each; whoever comes back after a death does it again."""
    if not minds:
        return
    with desk.store.read() as unit:
        working = [order for order in unit.orders.active_broker_orders() if order.is_open]
    for order in [order for order in working if order.cancel_requested_at is None][: len(minds)]:
        minds.pop()
        request_cancel(desk, order, "somebody changed their mind")


def happen(desk: Desk, key: str, event: Event) -> None:
    """Do what an event says, once; a change of mind waits until something works."""
    if event.kind == "cancel":
        return
    now = desk.clock.now()
    if event.kind == "command":
        ask(desk.store, desk.clock, event.state, event.arguments, who="rob", why="as it goes", token=key)
        return
    with desk.store.write() as unit:
        if unit.connection.execute(select(happened).where(happened.c.key == key)).first() is not None:
            return
        order_id = None
        if event.kind == "order":
            order = InstrumentOrder(event.strategy, event.instrument, event.trade, InstrumentOrderType.BEST, now)
            order_id = unit.orders.place_instrument_order(order)
        elif event.kind == "limit":
            unit.trade_limits.set("", event.instrument, 1, event.trade, at=now)
        else:
            status = RollStatus(event.instrument, RollState(event.state), "20240400", now, "scenario", key)
            unit.markets.record_roll_status(status)
        done = {"key": key, "order_id": order_id, "strategy": event.strategy, "instrument": event.instrument}
        unit.connection.execute(insert(happened).values(**done))
        unit.commit()


def describe(facts: dict[str, int]) -> str:
    return json.dumps(facts, sort_keys=True)
