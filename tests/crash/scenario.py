"""A busy fortnight: orders of three strategies, rolls and cancels, on the paper exchange's small world.

Everything that is to happen is decided by the seed. It is written into the database before the first order, so whoever
comes back after a death knows what was done and what is still to come.
"""

import json
import random
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np

from pysys.broker.paper.clock import ExchangeClock
from pysys.broker.paper.exchange import PaperBroker
from pysys.config import Config
from pysys.desk import Desk
from pysys.domain.contracts import Contract
from pysys.domain.orders import InstrumentOrder, InstrumentOrderType
from pysys.domain.prices import MultipleRows
from pysys.domain.roll_states import RollState, RollStatus
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


@dataclass(frozen=True)
class Event:
    """One thing that happens at the start of a stretch."""

    kind: str  # order, roll, cancel
    instrument: str
    trade: int = 0
    strategy: str = ""
    state: str = ""


def plan(seed: int, orders: int, length: int) -> list[list[Event]]:
    """Events of each of `length` stretches; the last tenth has no new orders."""
    chance = random.Random(seed)
    stretches: list[list[Event]] = [[] for _ in range(length)]
    for _ in range(orders):
        code = chance.choice(("GOLD", "GOLD", "BUND", "NIKKEI"))
        trade = chance.choice([-3, -2, -1, 1, 2, 3])
        event = Event("order", code, trade, chance.choice(STRATEGIES))
        stretches[chance.randrange(length - length // 10 - 1)].append(event)
    states = (RollState.FORCE, RollState.PASSIVE, RollState.FORCE_OUTRIGHT, RollState.NO_ROLL)
    for number in range(3, len(stretches), 7):
        stretches[number].append(Event("roll", "GOLD", state=str(states[number // 7 % len(states)])))
    for number in range(2, len(stretches), 5):
        stretches[number].append(Event("cancel", ""))
    return stretches


def moment_of(stretch: int) -> datetime:
    day, place = divmod(stretch, STRETCHES_A_DAY)
    return world.business_days()[day] + timedelta(hours=8) + place * STRETCH


def build(folder: Path) -> None:
    """A new database and exchange in `folder`."""
    clock = ExchangeClock(folder / "exchange.db")
    clock.set_start(START)
    clock.close()
    desk = open_desk(folder, create=True)
    with desk.store.write() as unit:
        for code, instrument in world.INSTRUMENTS.items():
            unit.markets.put_instrument(instrument)
            unit.markets.put_roll_parameters(world.ROLLS[code])
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


def open_desk(folder: Path, *, create: bool = False) -> Desk:
    """A desk as a process has it that has just started."""
    store = Store(sqlite_url(folder / "pysys.db"))
    if create:
        migrate(store.engine)
    clock = ExchangeClock(folder / "exchange.db")
    market = world.market()
    broker = PaperBroker(folder / "exchange.db", market, clock, base_currency="USD", starting_cash=world.CASH, seed=5)
    return Desk(Config(clock="exchange"), store, broker, clock, folder)


def close(desk: Desk) -> None:
    desk.store.close()
    desk.broker.close()
    desk.clock.close()


def work(folder: Path, seed: int, orders: int, length: int = FORTNIGHT) -> None:
    """Trade from wherever it stands to the end."""
    desk = open_desk(folder)
    for number, events in enumerate(plan(seed, orders, length)):
        begins, ends = moment_of(number), moment_of(number) + STRETCH
        if desk.clock.now() >= ends:
            continue
        desk.clock.sleep_until(begins)
        for place, event in enumerate(events):
            happen(desk, f"{number}.{place}", event)
        run_stack_handler(desk, ends)
    close(desk)


def happen(desk: Desk, key: str, event: Event) -> None:
    """Do what an event says, once: its key is kept in the transaction that does it."""
    now = desk.clock.now()
    if event.kind == "cancel":
        with desk.store.read() as unit:
            working = [order for order in unit.orders.active_broker_orders() if order.is_open]
        for order in working[:1]:
            request_cancel(desk, order, "somebody changed their mind")
        return
    with desk.store.write() as unit:
        if event.kind == "order":
            if key in {order.note for order in _all_orders(unit)}:
                return
            unit.orders.place_instrument_order(
                InstrumentOrder(event.strategy, event.instrument, event.trade, InstrumentOrderType.BEST, now, note=key)
            )
        elif unit.markets.roll_status(event.instrument).why != key:
            status = RollStatus(event.instrument, RollState(event.state), "20240400", now, "scenario", key)
            unit.markets.record_roll_status(status)
        unit.commit()


def _all_orders(unit: UnitOfWork) -> list:
    from sqlalchemy import select

    from pysys.store.schema import instrument_orders

    return list(unit.connection.execute(select(instrument_orders.c.note, instrument_orders.c.id)))


def describe(facts: dict[str, int]) -> str:
    return json.dumps(facts, sort_keys=True)
