"""Order families a second, from the instrument order to its completion, and what one idle look costs."""

import os
import tempfile
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

from sqlalchemy import event

from pysys.broker.port import OrderType
from pysys.config import Config
from pysys.desk import Desk
from pysys.domain.contracts import Contract
from pysys.domain.orders import BrokerOrder, ContractOrder, InstrumentOrder, InstrumentOrderType, OrderLeg, OrderStatus
from pysys.execution.stack_methods import StackHandler
from pysys.store.database import migrate, sqlite_url
from pysys.store.unit import Store
from tests.benchmarks.workspace import Stopwatch
from tests.broker import paper_world as world

FAMILIES = 200
LOOKS = 50
AT_ONCE = 40
SYNCS = 300


class Counter:
    """Statements and commits of one store."""

    def __init__(self, store: Store) -> None:
        self.statements = self.commits = 0
        event.listen(store.engine, "before_cursor_execute", self._statement)
        event.listen(store.engine, "commit", self._commit)

    def _statement(self, *_: object) -> None:
        self.statements += 1

    def _commit(self, *_: object) -> None:
        self.commits += 1


def run() -> Iterator[str]:
    """On SQLite with durable commits and the paper exchange; the clock stands still while families are worked."""
    with tempfile.TemporaryDirectory() as folder:
        desk = _desk(Path(folder))
        counter = Counter(desk.store)
        syncs = _syncs_a_second(Path(folder))
        yield f"this disk: {syncs:,.0f} durable 4 KiB writes a second"
        yield _families(desk, counter, syncs)
        for history in (0, 1_000, 10_000):
            _archive(desk, history)
            yield f"{history} orders in the history: {_look(desk, counter)}"
        _order(desk, InstrumentOrderType.LIMIT, 1)
        handler = _handler(desk)
        handler.one_pass()
        yield f"one order working: {_look(desk, counter)}"
    with tempfile.TemporaryDirectory() as folder:
        yield _at_once(_desk(Path(folder)))


def _at_once(desk: Desk) -> str:
    """Passive orders of three markets, all worked by one handler."""
    counter = Counter(desk.store)
    for number in range(AT_ONCE):
        _order(desk, InstrumentOrderType.LIMIT, 1, world.CONTRACTS[number % len(world.CONTRACTS)])
    handler = _handler(desk)
    while handler.one_pass():
        pass
    with desk.store.read() as unit:
        working = len(unit.orders.active_broker_orders())
    return f"{working} of {AT_ONCE} orders working at once, the others waiting their turn: {_look(desk, counter)}"


def _desk(folder: Path) -> Desk:
    store = Store(sqlite_url(folder / "pysys.db"))
    migrate(store.engine)
    with store.write() as unit:
        for instrument in world.INSTRUMENTS.values():
            unit.markets.put_instrument(instrument)
        unit.commit()
    broker, clock = world.broker(folder / "exchange.db")
    return Desk(Config(clock="exchange"), store, broker, clock, folder)


def _handler(desk: Desk) -> StackHandler:
    return StackHandler(desk, desk.clock.now() + timedelta(hours=4))


def _order(desk: Desk, kind: InstrumentOrderType, trade: int, contract: Contract = world.GOLD_APR) -> None:
    now, algo = desk.clock.now(), "market" if kind is InstrumentOrderType.MARKET else "limit"
    code = contract.instrument
    quote = desk.broker.quote(contract)
    limit = None if algo == "market" or quote is None else world.buy("", (contract, 1), limit="100").limit_price
    with desk.store.write() as unit:
        family = unit.orders.place_instrument_order(InstrumentOrder("trend", code, trade, kind, now))
        legs = (OrderLeg(contract, trade),)
        unit.orders.place_contract_order(
            family, ContractOrder("trend", code, legs, kind, now, algo_to_use=algo, limit_price=limit)
        )
        unit.commit()


def _families(desk: Desk, counter: Counter, syncs: float) -> str:
    handler = _handler(desk)
    watch = Stopwatch()
    statements, commits = counter.statements, counter.commits
    done = 0
    while done < FAMILIES:
        _order(desk, InstrumentOrderType.MARKET, 1 if done % 2 == 0 else -1)
        while handler.one_pass():
            pass
        if handler.result.counts.get("families_completed", 0) == done:  # this minute shows no more
            desk.clock.sleep_until(desk.clock.now() + timedelta(minutes=1))
            while handler.one_pass():
                pass
        done += 1
    seconds = watch.seconds
    statements, commits = counter.statements - statements, counter.commits - commits
    return (
        f"{FAMILIES / seconds:.0f} families a second, one after the other; "
        f"{statements / FAMILIES:.0f} statements and {commits / FAMILIES:.1f} commits each; "
        f"{commits / seconds / syncs:.2f} of the disk's own rate of durable writes"
    )


def _syncs_a_second(folder: Path) -> float:
    """Durable writes a second of the disk the databases are on."""
    watch = Stopwatch()
    with (folder / "sync").open("wb") as file:
        for _ in range(SYNCS):
            file.write(bytes(4096))
            file.flush()
            os.fsync(file.fileno())
    return SYNCS / watch.seconds


def _look(desk: Desk, counter: Counter) -> str:
    handler = _handler(desk)
    handler.one_pass()
    statements, commits, watch = counter.statements, counter.commits, Stopwatch()
    for _ in range(LOOKS):
        handler.one_pass()
    each = 1000 * watch.seconds / LOOKS
    statements = (counter.statements - statements) / LOOKS
    return f"a look takes {each:.1f} ms, {statements:.0f} statements, {(counter.commits - commits) / LOOKS:.0f} commits"


def _archive(desk: Desk, count: int) -> None:
    now, kind = desk.clock.now(), InstrumentOrderType.MARKET
    legs = (OrderLeg(world.GOLD_APR, 1, 1, 2100.0),)
    with desk.store.write() as unit:
        for _ in range(count):
            family = unit.orders.place_instrument_order(InstrumentOrder("trend", "GOLD", 1, kind, now))
            parent = unit.orders.place_contract_order(family, ContractOrder("trend", "GOLD", legs, kind, now))
            order = BrokerOrder(
                f"old-{family}", parent, "trend", "GOLD", legs, OrderType.MARKET, "market", "paper", now
            )
            unit.orders.update_broker_order(unit.orders.write_broker_order(order).id, active=False)
            unit.orders.end_contract_order(parent, OrderStatus.DONE, now)
            unit.orders.end_instrument_order(family, OrderStatus.DONE, now)
        unit.commit()
