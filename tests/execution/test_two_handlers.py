"""Two handlers at the same orders, with no lease between them: each order is worked once, on both databases."""

import json
from datetime import timedelta
from pathlib import Path

import pytest

from pysys.domain.orders import InstrumentOrder, InstrumentOrderType
from pysys.execution.stack_methods import StackHandler
from tests.broker import paper_world as world
from tests.conftest import empty_postgres
from tests.crash import scenario
from tests.crash.violence import check, exit_code, in_child

ORDERS = 200
AT_ONCE = 20  # on the stacks


@pytest.fixture(params=["sqlite", "postgresql"])
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """An exchange and a database two processes can open."""
    url = None
    if request.param == "postgresql":
        url = request.getfixturevalue("postgres_url")
        empty_postgres(url).close()
    scenario.build(tmp_path, url)
    return tmp_path


def handle(folder: Path, name: str) -> None:
    """Pass after pass until nothing is left; says how many orders it sent."""
    desk = scenario.open_desk(folder)
    ends = desk.clock.now() + timedelta(hours=8)
    handler = StackHandler(desk, ends)
    left = True
    while left and desk.clock.now() < ends:
        if not handler.one_pass():
            desk.clock.sleep_until(desk.clock.now() + world.MINUTE)
        with desk.store.read() as unit:
            left = bool(unit.orders.active_instrument_orders())
    (folder / name).write_text(json.dumps(handler.result.counts.get("broker_orders", 0)))
    scenario.close(desk)


def place(folder: Path, numbers: range) -> None:
    desk = scenario.open_desk(folder)
    with desk.store.write() as unit:
        for number in numbers:
            code, trade = (("GOLD", 1), ("NIKKEI", -1))[number % 2]
            strategy = scenario.STRATEGIES[number % 3]
            order = InstrumentOrder(strategy, code, trade, InstrumentOrderType.MARKET, desk.clock.now())
            placed = {"key": str(number), "strategy": strategy, "instrument": code}
            placed["order_id"] = unit.orders.place_instrument_order(order)
            unit.connection.execute(scenario.happened.insert().values(**placed))
        unit.commit()
    scenario.close(desk)


def test_two_handlers_work_each_of_many_orders_once(folder):
    desk = scenario.open_desk(folder)
    desk.clock.sleep_until(scenario.START + timedelta(minutes=30))
    scenario.close(desk)
    sent = {"first": 0, "second": 0}
    for first in range(0, ORDERS, AT_ONCE):
        place(folder, range(first, first + AT_ONCE))
        pids = [in_child(lambda name=name: handle(folder, name)) for name in sent]
        assert [exit_code(pid) for pid in pids] == [0, 0]
        for name in sent:
            sent[name] += json.loads((folder / name).read_text())

    check(folder, finished=True)
    facts = json.loads((folder / "facts.json").read_text())
    assert facts["broker_orders"] == facts["fills"] == facts["contract_orders"] == ORDERS
    assert sum(sent.values()) == ORDERS
    assert min(sent.values()) > 0
