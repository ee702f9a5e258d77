"""What a person asks for while other things are on their way: panic, legs, deletions, a break, a new algo."""

import shutil
import subprocess
import sys
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import pytest

import pysys
from pysys.config import Config
from pysys.domain.conditions import Condition
from pysys.domain.errors import ConfigError
from pysys.domain.orders import OrderStatus
from pysys.domain.roll_states import RollState
from pysys.execution.commands import ask, carry_out_waiting
from pysys.execution.generation import generate_orders
from pysys.execution.not_sent import MAX_REJECTIONS
from tests.broker import paper_world as world
from tests.execution import stack
from tests.execution.odd_broker import OddBroker
from tests.execution.test_interventions import Person
from tests.execution.test_limits_and_overrides import engine, notes, sent, watch

APR, JUN = world.GOLD_APR.date, world.GOLD_JUN.date


@pytest.fixture
def desk(trading_on_sqlite):
    return trading_on_sqlite


@pytest.fixture
def person(desk):
    return Person(desk)


# --- panic ---


def test_a_panic_order_has_what_rests_in_its_way_cancelled_and_goes_next(desk, person):
    desk.order("GOLD", 2, order_type="market")
    desk.work(minutes=30)
    resting = stack.place(desk, "GOLD", 1, order_type="limit", limit_price=Decimal(1000), limit_contract=APR)
    handler = engine(desk)
    watch(desk, handler, 3)
    waiting = stack.place(desk, "GOLD", 1, order_type="market")
    watch(desk, handler, 1)
    before = len(sent(desk))

    person.gets("manual_order", strategy="trend", instrument="GOLD", trade=-2, order_type="panic")
    watch(desk, handler, 2)

    with desk.desk.store.read() as unit:
        comments = unit.connection.exec_driver_sql("SELECT algo_comment FROM broker_orders ORDER BY id").scalars().all()
    assert sent(desk)[before:] == [(-2,)]  # whole, at once, before what waited longer
    assert sum("makes way for panic order" in comment for comment in comments) == 1
    watch(desk, handler, 20)
    assert stack.order(desk, resting).fill == 0  # works on afterwards
    assert sent(desk)[before + 1] == (1,) and stack.order(desk, waiting).fill == 0
    desk.assert_in_balance()


def test_a_panic_order_that_is_held_up_itself_has_nothing_cancelled(desk, person):
    stack.place(desk, "GOLD", 1, order_type="limit", limit_price=Decimal(1000), limit_contract=APR)
    handler = engine(desk)
    watch(desk, handler, 2)
    panic = desk.order("GOLD", 2, order_type="panic")
    stack.spawn(desk)
    person.gets("lock_order", level="instrument", order_id=panic)

    watch(desk, handler, 2)

    assert len(desk.desk.broker.working_orders()) == 1


def limited_to_one_contract(desk, held: int, state: RollState):
    """Long in April, in a state that moves or closes it, of which a trade limit leaves nearly nothing for the day."""
    stack.configure(desk, default_algo="market")
    desk.order("GOLD", held, order_type="market")
    desk.work(minutes=30)
    desk.roll_state("GOLD", state)
    with desk.desk.store.write() as unit:
        unit.trade_limits.set("", "GOLD", 1, 1, at=desk.desk.clock.now())
        unit.commit()
    handler = engine(desk)
    watch(desk, handler, 2)
    return handler


@pytest.mark.parametrize("state", [RollState.FORCE, RollState.FORCE_OUTRIGHT, RollState.CLOSE])
def test_a_panic_order_closes_what_is_held_whatever_rolls_or_closes_it(desk, person, state):
    handler = limited_to_one_contract(desk, 5, state)
    held = 4 if state is RollState.CLOSE else 5
    assert desk.positions() == {"GOLD/20240400": held}

    person.gets("manual_order", strategy="trend", instrument="GOLD", trade=-5, order_type="panic")
    watch(desk, handler, 3)

    assert desk.positions() == desk.broker_positions() == {} and desk.strategy_positions() == {}
    handler.take_down()
    assert sent(desk)[-1] == (-held,) and stack.stack(desk) == []


def test_a_panic_order_trades_what_is_held_now_and_not_what_an_order_at_work_would_leave(desk):
    stack.hold(desk, {world.GOLD_APR: 3})
    desk.roll_state("GOLD", RollState.PASSIVE)
    desk.order("GOLD", -3)
    stack.spawn(desk)

    panic = desk.order("GOLD", -3, "carry", order_type="panic")
    stack.spawn(desk)

    assert stack.traded(desk, panic) == [((APR, -3),)]


def test_what_a_panic_order_leaves_is_rolled_after_it(desk, person):
    handler = limited_to_one_contract(desk, 5, RollState.FORCE)

    person.gets("manual_order", strategy="trend", instrument="GOLD", trade=-2, order_type="panic")
    person.gets("remove_trade_limit", instrument="GOLD", period_days=1)
    watch(desk, handler, 5)

    assert desk.positions() == {"GOLD/20240600": 3} and desk.strategy_positions() == {("trend", "GOLD"): 3}
    desk.assert_in_balance()


@pytest.mark.parametrize("state", [RollState.FORCE, RollState.FORCE_OUTRIGHT])
def test_a_panic_order_waits_until_the_roll_at_the_broker_is_over_and_closes_both_months(desk, person, state):
    odd = OddBroker(desk.desk.broker)
    desk.desk = replace(desk.desk, broker=odd)
    stack.configure(desk, default_algo="market")
    desk.order("GOLD", 4, order_type="market")
    desk.work(minutes=30)
    desk.roll_state("GOLD", state)
    handler = engine(desk)
    handler.one_pass()
    handler.one_pass()  # in legs: left one, entering one
    odd.stuck = True
    watch(desk, handler, 2)
    before = len(sent(desk))

    panic = stack.place(desk, "GOLD", -4, order_type="panic")
    watch(desk, handler, 1)

    with desk.desk.store.read() as unit:
        comments = unit.connection.exec_driver_sql("SELECT algo_comment FROM broker_orders ORDER BY id").scalars().all()
    assert comments[before - 1].startswith(f"makes way for panic order {panic}")
    odd.stuck = False
    watch(desk, handler, 3)
    assert desk.positions() == desk.broker_positions() == {} and desk.strategy_positions() == {}
    desk.assert_in_balance()


# --- a limit order rests whole ---


def test_a_limit_order_rests_with_all_that_is_left_of_it_whatever_the_book_displays(desk):
    stack.place(desk, "GOLD", 40, order_type="limit", limit_price=Decimal(2000), limit_contract=APR)
    with desk.desk.store.write() as unit:
        unit.trade_limits.set("", "GOLD", 1, 30, at=desk.desk.clock.now())
        unit.commit()

    watch(desk, engine(desk), 2)

    assert sent(desk) == [(30,)]


# --- legs a person chooses ---


@pytest.mark.parametrize(
    ("legs", "strategy"),
    [
        ({APR: 3, JUN: -1}, 2),
        ({APR: 1, JUN: 1}, 2),
        ({APR: 2, JUN: 2}, 4),
        ({APR: -1, JUN: 3}, 2),
        ({APR: 2, JUN: -2}, 0),
        ({APR: -4, JUN: 2}, -2),
    ],
)
def test_a_manual_order_moves_the_strategy_by_what_its_legs_come_to(desk, person, legs, strategy):
    person.gets("manual_order", strategy="trend", instrument="GOLD", legs=legs, order_type="market")

    desk.work(hours=2)

    assert desk.positions() == {f"GOLD/{date}": quantity for date, quantity in legs.items()}
    assert desk.strategy_positions().get(("trend", "GOLD"), 0) == strategy
    assert stack.order(desk, 1).fill == strategy and stack.stack(desk) == []
    desk.assert_in_balance()


def test_the_average_price_of_uneven_legs_is_what_the_net_position_cost(desk, person):
    person.gets("manual_order", strategy="trend", instrument="GOLD", legs={APR: 3, JUN: -1}, order_type="market")

    desk.work(hours=2)

    cost = sum(fill.quantity * fill.price for fill in desk.desk.broker.fills_since(None))
    assert stack.order(desk, 1).filled_price == pytest.approx(cost / 2)


def test_uneven_legs_are_held_to_a_position_limit_by_what_they_come_to(desk, person):
    person.gets("manual_order", strategy="trend", instrument="GOLD", legs={APR: 3, JUN: -1}, order_type="market")
    stack.limit(desk, "GOLD", 1)

    watch(desk, engine(desk), 2)

    assert (desk.positions(), notes(desk)) == ({}, ["position_limit: held +0 GOLD, this +2, limit 1"])


# --- orders that end unfilled ---


def test_after_its_contract_order_is_deleted_a_strategy_may_ask_anew(desk, person):
    desk.want("GOLD", 2.6, 3.4)
    generate_orders(desk.desk, ["trend"])
    stack.spawn(desk)

    person.gets("delete_order", level="contract", order_id=1)

    assert stack.order(desk, 1).note.startswith("by rob: a story")
    (again,) = generate_orders(desk.desk, ["trend"]).decisions
    assert (again.unfilled, again.trade) == (0, 3)


def test_what_was_to_open_after_a_deleted_close_is_not_opened(desk, person):
    stack.hold(desk, {world.GOLD_APR: 1})
    stack.place(desk, "GOLD", -3)
    stack.spawn(desk)
    assert stack.traded(desk, 1) == [((APR, -1),), ((APR, -2),)]

    person.gets("delete_order", level="contract", order_id=1)

    assert stack.stack(desk) == [] and notes(desk) == []


def test_what_one_deleted_contract_order_would_have_filled_is_not_on_its_way(desk, person):
    stack.hold(desk, {world.GOLD_APR: 2, world.GOLD_JUN: 3})
    stack.place(desk, "GOLD", -5)
    stack.spawn(desk)
    person.gets("delete_order", level="contract", order_id=1)

    with desk.desk.store.read() as unit:
        unfilled = unit.orders.unfilled_by_strategy_instrument()

    assert (stack.traded(desk, 1), unfilled) == ([((APR, -2),), ((JUN, -3),)], {("trend", "GOLD"): -3})


def test_after_an_order_is_given_up_a_strategy_may_ask_anew(desk):
    broker = OddBroker(desk.desk.broker)
    desk.desk = stack.replace(desk.desk, broker=broker)
    desk.want("GOLD", 2.6, 3.4)
    generate_orders(desk.desk, ["trend"])
    broker.refuses = "not allowed"
    watch(desk, engine(desk), 30)
    assert broker.calls["submit"] == MAX_REJECTIONS

    with desk.desk.store.read() as unit:
        status = unit.connection.exec_driver_sql("SELECT status FROM instrument_orders").scalars().all()
    (again,) = generate_orders(desk.desk, ["trend"]).decisions

    assert (status, again.trade) == ([OrderStatus.FAILED], 3)


@pytest.mark.parametrize("ending", ["given up", "contract", "instrument"])
@pytest.mark.parametrize("limited", [False, True])
def test_what_was_to_offset_an_order_does_not_trade_when_that_order_never_does(desk, person, ending, limited):
    broker = OddBroker(desk.desk.broker)
    desk.desk = stack.replace(desk.desk, broker=broker)
    broker.refuses = "no margin"
    handler, bought = engine(desk), stack.place(desk, "GOLD", 5)
    handler.one_pass()
    if limited:
        person.gets("set_position_limit", instrument="GOLD", limit=2)
    else:
        desk.want("GOLD", 0, 0)
        generate_orders(desk.desk, ["trend"])
    watch(desk, handler, 1)
    assert len(stack.stack(desk)) == 2

    if ending == "given up":
        watch(desk, handler, 30)
    else:
        person.gets("delete_order", level=ending, order_id=bought, override="it is refused")
    broker.refuses = None
    watch(desk, handler, 5)

    assert (stack.stack(desk), desk.positions()) == ([], {})


@pytest.mark.parametrize("condition", [None, Condition("below", 5000.0, APR)])
def test_what_trades_the_other_way_trades_less_by_what_never_came(desk, person, condition):
    stack.configure(desk, default_algo="market")
    person.gets("set_trade_limit", instrument="GOLD", period_days=1, limit=2)
    stack.place(desk, "GOLD", 5)
    handler = engine(desk)
    watch(desk, handler, 3)
    turned = stack.place(desk, "GOLD", -6, condition=condition)  # from the 5 to be held, to -1
    person.gets("delete_order", level="contract", order_id=1, override="it does not come")

    assert (stack.order(desk, turned).trade, stack.order(desk, turned).note) == (
        -3, "order 1 ended with +3 unfilled: -6 became -3",
    )  # fmt: skip
    person.gets("remove_trade_limit", instrument="GOLD", period_days=1)
    watch(desk, handler, 5)
    assert desk.strategy_positions() == {("trend", "GOLD"): -1}


# --- a break that somebody unlocked ---


def test_unlocking_a_break_and_sending_in_one_batch_sends_nothing(desk):
    handler = engine(desk)
    handler.one_pass()
    stack.hold(desk, {world.GOLD_APR: 2})
    watch(desk, handler, 1)
    desk.order("GOLD", -1, order_type="market")
    stack.spawn(desk)
    for number, (name, arguments) in enumerate(
        [("unlock_instrument", {"instrument": "GOLD"}), ("spawn_children", {}), ("create_broker_orders", {})]
    ):
        ask(desk.desk.store, desk.desk.clock, name, arguments, who="rob", why="hurry", token=f"batch-{number}")

    carry_out_waiting(handler)

    assert sent(desk) == []
    handler.one_pass()
    assert sent(desk) == []
    with desk.desk.store.read() as unit:
        assert "GOLD" in unit.restrictions.locked_instruments()


# --- algos ---

NEW_ALGO = """
from pysys.broker.port import OrderType
from pysys.execution.algo_base import Algo, Patient, Send, Wait


class Mid(Patient):
    def first(self, wanted, market):
        return Send(OrderType.LIMIT, market.passive_mid)

    def next(self, order, market, now):
        return Wait()


ALGO: Algo = Mid()
"""


def test_a_new_algo_is_one_file(tmp_path):
    package = tmp_path / "pysys"
    shutil.copytree(Path(pysys.__file__).parent, package, ignore=shutil.ignore_patterns("__pycache__"))
    (package / "execution" / "algos" / "rest_at_mid.py").write_text(NEW_ALGO)
    program = """
import sys
sys.meta_path = [finder for finder in sys.meta_path if "editable" not in repr(finder).lower()]
sys.path.insert(0, sys.argv[1])
from pysys.config import Config
from pysys.domain.orders import InstrumentOrderType
from pysys.execution.algo_choice import algo_for
from pysys.execution.algos import algo_named
config = Config(algo_overrides={"GOLD": "rest_at_mid"})
name = algo_for(config, InstrumentOrderType.BEST, "GOLD")
sys.stdout.write(type(algo_named(name)).__name__)
"""

    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path)], capture_output=True, text=True, check=True, cwd=tmp_path
    )

    assert done.stdout == "Mid"


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("limit", "orders of type limit are worked by it already"),
        ("panic", "only orders of type panic"),
        ("algo_best", "choose one of adaptive, best, market, snap_market, snap_mid, snap_primary"),
    ],
)
def test_an_algo_that_cannot_work_any_order_is_not_a_choice(name, why):
    for setting in ({"default_algo": name}, {"algo_overrides": {"GOLD": name}}):
        with pytest.raises((ValueError, ConfigError), match=why):
            Config.model_validate(setting)
