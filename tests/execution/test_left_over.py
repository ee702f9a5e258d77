"""A day nobody took down: the engine died, and what it left ends with its own day, not with the next one."""

from dataclasses import replace
from datetime import datetime, time, timedelta
from decimal import Decimal

import pytest

from pysys.domain.errors import OrderRejected
from pysys.domain.roll_states import RollState
from pysys.domain.targets import SimpleTarget
from pysys.execution.generation import generate_orders
from pysys.execution.trading_day import orders_end_with
from tests.broker import paper_world as world
from tests.execution import stack
from tests.execution.odd_broker import OddBroker
from tests.execution.test_limits_and_overrides import engine, sent, watch
from tests.execution.test_spread_instruments import with_spreads

APR, JUN = "GOLD/20240400", "GOLD/20240600"
FRIDAY = world.MONDAY + timedelta(days=4)
HOURS = {
    "process_configuration_start_time": {"default": time(0, 1)},
    "process_configuration_stop_time": {"default": time(23, 50), "run_stack_handler": time(19, 45)},
}


@pytest.fixture
def desk(trading_on_sqlite):
    """An engine that runs from 00:01 to 19:45 on a broker that can have faults."""
    trading = trading_on_sqlite
    trading.desk = replace(trading.desk, broker=OddBroker(trading.desk.broker))
    stack.configure(trading, default_algo="market", **HOURS)
    return trading


def at(desk, day: datetime, hour: int) -> None:
    desk.desk.clock.sleep_until(day + timedelta(hours=hour))


def tuesday(desk, hour: int = 9) -> None:
    at(desk, world.MONDAY + timedelta(days=1), hour)


def wants(desk, position: float) -> None:
    now = desk.desk.clock.now()
    stack.want(desk, SimpleTarget("trend", "GOLD", now, position, 2100.0, "20240400", now))
    generate_orders(desk.desk, ["trend"])


def trade_limit(desk, contracts: int, days: int = 1) -> None:
    with desk.desk.store.write() as unit:
        unit.trade_limits.set("", "GOLD", days, contracts, at=desk.desk.clock.now())
        unit.commit()


def ended(desk) -> bool:
    """Nothing is left on any stack, here or at the broker."""
    with desk.desk.store.read() as unit:
        orders = [*unit.orders.active_instrument_orders(), *unit.orders.active_contract_orders()]
    return not orders and not desk.desk.broker.working_orders()


def test_what_died_unfilled_is_not_bought_the_day_after(desk):
    trade_limit(desk, 1)
    wants(desk, 5)
    watch(desk, engine(desk), 5)  # and then it dies
    assert desk.positions() == {APR: 1}
    at(desk, world.MONDAY, 21)
    wants(desk, -1)
    assert [order.unfilled for order in stack.stack(desk)] == [4, -6]  # as if the four were still to come
    trade_limit(desk, 100)

    tuesday(desk)
    desk.work(minutes=20)

    assert desk.positions() == {APR: -1} and [leg for (leg,) in sent(desk) if leg > 0] == [1]
    assert stack.order(desk, 1).note == "not filled by the end of the day"
    desk.assert_in_balance()


def test_an_engine_that_comes_back_the_same_day_goes_on(desk):
    trade_limit(desk, 1)
    wants(desk, 5)
    watch(desk, engine(desk), 5)
    trade_limit(desk, 100)

    at(desk, world.MONDAY, 15)
    desk.work(minutes=20)

    assert desk.positions() == {APR: 5}


@pytest.mark.parametrize(("ordered", "position"), [((FRIDAY, 12), 0), ((FRIDAY, 21), 2), ((FRIDAY, 40), 2)])
def test_what_is_ordered_after_a_day_is_for_the_next_one_over_a_weekend_too(desk, ordered, position):
    at(desk, *ordered)
    wants(desk, 2)

    at(desk, world.MONDAY + timedelta(days=7), 9)
    desk.work(minutes=20)

    assert desk.positions() == ({APR: position} if position else {})


def test_an_order_still_at_the_broker_is_cancelled_and_nothing_new_is_sent_before_its_fate_is_known(desk):
    old = stack.place(desk, "GOLD", 1, order_type="limit", limit_price=Decimal(2000), limit_contract="20240400")
    watch(desk, engine(desk), 2)
    desk.desk.broker.status_events_lost = True
    at(desk, world.MONDAY, 21)
    new = stack.place(desk, "GOLD", 3)
    tuesday(desk)

    handler = engine(desk)
    watch(desk, handler, 5)
    assert desk.desk.broker.real.working_orders() == [] and sent(desk) == [(1,)]
    desk.desk.broker.status_events_lost = False
    watch(desk, handler, 5)

    assert stack.order(desk, old).fill == 0 and stack.order(desk, new).fill == 3
    handler.take_down()
    assert ended(desk)


def test_an_order_that_works_on_is_cancelled_when_its_day_is_over(desk):
    at_lunch = {"process_configuration_start_time": {"default": time(14)}}
    stack.configure(desk, **at_lunch, process_configuration_stop_time={"default": time(13)})
    stack.place(desk, "GOLD", 1, order_type="limit", limit_price=Decimal(2000), limit_contract="20240400")
    watch(desk, engine(desk), 2)
    at(desk, world.MONDAY, 15)
    assert len(desk.desk.broker.working_orders()) == 1

    watch(desk, engine(desk), 2)

    assert ended(desk)


def test_the_other_leg_of_yesterdays_spread_is_not_sent_while_the_fate_of_the_first_is_unknown(desk):
    with_spreads(desk)
    desk.order("BUND_GOLD", 1)
    odd = desk.desk.broker
    odd.stuck = odd.ignores_cancels = True
    submit = odd.submit

    def refuse_gold(ticket):
        if ticket.legs[0].contract.instrument == "GOLD":
            raise OrderRejected("margin")
        submit(ticket)

    odd.submit = refuse_gold
    watch(desk, engine(desk), 2)
    before = sent(desk)
    assert before[:2] == [(1,), (-1,)]  # of which only the first was taken
    odd.submit, odd.stuck = submit, False

    tuesday(desk)
    handler = engine(desk)
    watch(desk, handler, 5)
    assert sent(desk) == before
    odd.ignores_cancels = False
    handler.cancel_all()
    watch(desk, handler, 5)

    assert ended(desk)


def test_a_fill_that_comes_while_the_order_of_yesterday_is_cancelled_counts(desk):
    wants(desk, 5)
    engine(desk).one_pass()  # sends, and dies before it hears of a fill
    assert desk.positions() == {} and desk.broker_positions() == {APR: 1}
    at(desk, world.MONDAY, 21)
    wants(desk, 0)

    tuesday(desk)
    desk.work(minutes=20)

    assert desk.positions() == {} and desk.strategy_positions() == {}
    assert ended(desk)


@pytest.mark.parametrize("spawned", [False, True])
def test_what_was_never_sent_ends_too(desk, spawned):
    wants(desk, 2)
    if spawned:
        stack.spawn(desk)

    tuesday(desk)
    desk.work(minutes=20)

    assert desk.positions() == {} and ended(desk)


def test_what_a_roll_owes_from_yesterday_is_ordered_today(desk):
    wants(desk, 4)
    watch(desk, engine(desk), 5)
    desk.roll_state("GOLD", RollState.FORCE_OUTRIGHT)
    engine(desk).one_pass()  # a lot leaves, and it dies
    assert desk.broker_positions() == {APR: 3}

    tuesday(desk, 7)
    watch(desk, engine(desk), 5)  # before the market opens
    (roll,) = stack.stack(desk)
    assert stack.traded(desk, roll.id) == [(("20240400", -4),), (("20240600", 4),), (("20240600", 1),)]
    tuesday(desk)
    desk.work(minutes=30)
    assert desk.positions() == {APR: 3, JUN: 1}
    desk.assert_in_balance()
    at(desk, world.MONDAY + timedelta(days=2), 9)
    desk.work(minutes=30)

    assert desk.positions() == {JUN: 4} and desk.strategy_positions() == {("trend", "GOLD"): 4}
    desk.assert_in_balance()
    assert ended(desk)


@pytest.mark.parametrize(
    "changes",
    [
        {"process_configuration_stop_time": {}},
        {"process_configuration_methods": {"run_stack_handler": {"process_fills_stack": {}}}},
    ],
)
def test_orders_live_on_where_no_day_ends(desk, changes):
    stack.configure(desk, **changes)
    assert orders_end_with(desk.desk.config, desk.desk.clock.now()) is None
