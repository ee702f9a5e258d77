"""Trades that a limit or an override turned round, or that offset one not filled yet, and prices that came too soon."""

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal

import pytest

from pysys.domain.conditions import Condition
from pysys.domain.orders import BrokerOrder, Fill, OrderLeg
from pysys.domain.targets import Branch, ConditionalTarget, LimitTarget
from pysys.execution.fills import record_fills
from pysys.execution.generation import generate_orders
from pysys.execution.stack_methods import StackHandler
from tests.broker import paper_world as world
from tests.execution import stack
from tests.execution.test_interventions import Person

APR = world.GOLD_APR.date
GOLD = str(world.GOLD_APR)


@pytest.fixture
def desk(trading_on_sqlite):
    stack.configure(trading_on_sqlite, default_algo="market")
    return trading_on_sqlite


def watch(desk, minutes: int) -> None:
    handler = StackHandler(desk.desk, desk.desk.clock.now() + timedelta(hours=6))
    for _ in range(minutes):
        for _ in range(6):
            handler.one_pass()
        desk.desk.clock.sleep_until(desk.desk.clock.now() + timedelta(minutes=1))


def hold(desk, contracts: int) -> None:
    desk.order("GOLD", contracts)
    desk.work(minutes=30)
    assert desk.positions() == {GOLD: contracts}


def limited(desk, wanted: int, price: str) -> LimitTarget:
    now = desk.desk.clock.now()
    return LimitTarget("trend", "GOLD", now, wanted, Decimal(price), APR, 2100.0, APR, now)


def bracketed(desk) -> ConditionalTarget:
    """Out below 1000, more above 5000: neither will come."""
    now = desk.desk.clock.now()
    branches = (Branch(Condition("below", 1000.0, APR), 0), Branch(Condition("above", 5000.0, APR), 8))
    return ConditionalTarget("trend", "GOLD", now, branches, 2100.0, APR, now)


@pytest.mark.parametrize("bought_at", ["1000", "2500"])
def test_a_limit_on_the_position_is_kept_at_the_market_whatever_price_the_strategy_buys_at(desk, bought_at):
    hold(desk, 5)
    stack.limit(desk, "GOLD", 3, "trend")
    stack.want(desk, limited(desk, 8, bought_at))
    generate_orders(desk.desk)
    watch(desk, 30)
    assert desk.positions() == {GOLD: 3}


@pytest.mark.parametrize("target", [lambda desk: limited(desk, 3, "2500"), bracketed], ids=["limit", "conditions"])
@pytest.mark.parametrize("override", [{"kind": "close"}, {"kind": "factor", "factor": 0.0}], ids=str)
def test_what_is_to_be_closed_is_closed_whatever_terms_the_strategy_had(desk, target, override):
    hold(desk, 5)
    Person(desk).gets("set_override", strategy="trend", instrument="GOLD", **override)
    stack.want(desk, target(desk))
    generate_orders(desk.desk)
    assert [order.trade for order in stack.stack(desk)] == [-5]
    watch(desk, 30)
    assert desk.positions() == {}


def test_what_is_to_be_closed_is_closed_though_the_strategy_has_left_it(desk):
    hold(desk, 5)
    Person(desk).gets("set_override", kind="close", strategy="trend", instrument="GOLD")
    desk.want("NIKKEI", -1, 1)
    generate_orders(desk.desk)
    generate_orders(desk.desk)  # what is on its way is not ordered again
    watch(desk, 30)
    assert desk.positions() == {}


@pytest.mark.parametrize("by_a_limit", [True, False])
def test_what_offsets_an_order_not_filled_yet_is_not_crossed_with_another_strategy(desk, by_a_limit):
    stack.place(desk, "GOLD", 5, order_type="limit", limit_price=Decimal("1500"), limit_contract=APR)
    watch(desk, 3)
    if by_a_limit:
        stack.limit(desk, "GOLD", 0, "trend")
    else:
        stack.place(desk, "GOLD", -5)
    watch(desk, 3)
    stack.place(desk, "GOLD", 5, "carry")
    desk.work(minutes=30)
    assert desk.strategy_positions() == {}
    desk.assert_in_balance()


def test_a_stop_lives_on_while_the_target_s_price_has_come_and_it_still_waits(desk):
    stack.hold(desk, {world.GOLD_APR: 2})
    stop = stack.place(desk, "GOLD", -2, condition=Condition("below", 2050.0, APR))
    target = stack.place(desk, "GOLD", -2, condition=Condition("above", 2150.0, APR))
    manual = stack.place(desk, "GOLD", 1, "carry", manual_trade=True)
    stack.spawn(desk)

    stack.spawn(desk, {("GOLD", APR): 2160.0})
    assert stack.order(desk, target).waits_for == f"after manual order {manual} in GOLD"
    assert stack.order(desk, stop).note == ""


CASES = {  # executions as they are told: (id, reference, contracts, what it corrects, what it takes back)
    "taken back under the reference it lacked": ([("e1", "", 2, "", ""), ("e2", "1-1-t", -2, "", "e1")], {}, {}),
    "corrected under the reference it lacked": (
        [("e1", "", 2, "", ""), ("e2", "1-1-t", 2, "e1", "")],
        {GOLD: 2},
        {("trend", "GOLD"): 2},
    ),
    "corrected twice": (
        [("e1", "1-1-t", 2, "", ""), ("e2", "1-1-t", 2, "e1", ""), ("e3", "1-1-t", 1, "e1", "")],
        {GOLD: 1},
        {("trend", "GOLD"): 1},
    ),
    "corrected to another order": (
        [("e1", "1-1-t", 2, "", ""), ("e2", "2-1-t", 2, "e1", "")],
        {GOLD: 2},
        {("carry", "GOLD"): 2},
    ),
    "taken back with no reference": ([("e1", "1-1-t", 2, "", ""), ("e2", "", -2, "", "e1")], {}, {}),
}


@pytest.mark.parametrize(("told", "contracts", "strategies"), CASES.values(), ids=CASES)
@pytest.mark.parametrize("times", [1, 2])
def test_what_is_taken_back_is_taken_from_the_order_it_was_booked_on(desk, told, contracts, strategies, times):
    for number, strategy in ((1, "trend"), (2, "carry")):
        stack.place(desk, "GOLD", 3, strategy)
        stack.spawn(desk)
        send(desk, stack.children(desk, number)[0], f"{number}-1-t")
    now = desk.desk.clock.now()
    heard = [
        Fill("paper", name, ref, world.GOLD_APR, quantity, 2100.0, now, 1.0, "USD", corrects or None, reverses or None)
        for name, ref, quantity, corrects, reverses in told
    ]
    for fill in [one for one in heard for _ in range(times)] + heard:
        record_fills(desk.desk.store, [fill], now)
    assert desk.positions() == contracts
    assert desk.strategy_positions() == strategies
    for number, strategy in ((1, "trend"), (2, "carry")):
        with desk.desk.store.read() as unit:
            sent = unit.orders.broker_order_by_ref(f"{number}-1-t")
        expected = strategies.get((strategy, "GOLD"), 0)
        assert sent.legs[0].fill == stack.order(desk, number).fill == expected


def send(desk, parent, ref: str) -> None:
    legs = tuple(OrderLeg(leg.contract, leg.trade) for leg in parent.legs)
    now = desk.desk.clock.now()
    with desk.desk.store.write() as unit:
        order = BrokerOrder(ref, parent.id, parent.strategy, parent.instrument, legs, "market", "market", "paper", now)
        unit.orders.write_broker_order(replace(order, submitted_at=now))
        unit.commit()
