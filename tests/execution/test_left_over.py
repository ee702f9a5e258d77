"""A day nobody took down: the engine died, and what it left ends with its own day, not with the next one."""

import logging
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, time, timedelta
from decimal import Decimal

import pytest

from pysys.broker.port import OrderTicket
from pysys.domain.errors import OrderRejected
from pysys.domain.orders import OrderStatus
from pysys.domain.roll_states import RollState
from pysys.domain.targets import SimpleTarget
from pysys.execution.commands import ask, new_token
from pysys.execution.completion import end_what_hung_on
from pysys.execution.generation import generate_orders
from pysys.execution.stack_handler import run_stack_handler
from pysys.execution.stack_methods import METHODS
from tests.broker import paper_world as world
from tests.execution import stack
from tests.execution.conftest import STRATEGIES
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


def wants(desk, position: float, strategy: str = "trend") -> None:
    now = desk.desk.clock.now()
    stack.want(desk, SimpleTarget(strategy, "GOLD", now, position, 2100.0, "20240400", now))
    generate_orders(desk.desk, [strategy])


def one_of_five_is_bought_and_the_engine_dies(desk) -> None:
    trade_limit(desk, 1)
    wants(desk, 5)
    watch(desk, engine(desk), 5)
    assert desk.positions() == {APR: 1}
    trade_limit(desk, 100)


def trade_limit(desk, contracts: int, days: int = 1) -> None:
    with desk.desk.store.write() as unit:
        unit.trade_limits.set("", "GOLD", days, contracts, at=desk.desk.clock.now())
        unit.commit()


def takes_no_gold(odd: OddBroker) -> Callable[[OrderTicket], None]:
    """From now on; what takes it again."""
    submit = odd.submit

    def refuse_gold(ticket: OrderTicket) -> None:
        if ticket.legs[0].contract.instrument == "GOLD":
            raise OrderRejected("margin")
        submit(ticket)

    odd.submit = refuse_gold
    return submit


def ended(desk) -> bool:
    """Nothing is left on any stack, here or at the broker."""
    with desk.desk.store.read() as unit:
        orders = [*unit.orders.active_instrument_orders(), *unit.orders.active_contract_orders()]
    return not orders and not desk.desk.broker.working_orders()


@pytest.mark.parametrize("hour", [0, 9])
def test_what_died_unfilled_is_not_bought_the_day_after(desk, hour):
    one_of_five_is_bought_and_the_engine_dies(desk)
    at(desk, world.MONDAY, 21)
    wants(desk, -1)
    assert [order.unfilled for order in stack.stack(desk)] == [4, -6]  # as if the four were still to come

    if hour:
        tuesday(desk, hour)
    run_stack_handler(desk.desk)  # in the evening, until the stop of the day after

    assert desk.positions() == {APR: -1} and [leg for (leg,) in sent(desk) if leg > 0] == [1]
    assert stack.order(desk, 1).note == "not filled by the end of the day"
    desk.assert_in_balance()


def test_only_what_still_counted_as_on_its_way_is_called_off(desk):
    one_of_five_is_bought_and_the_engine_dies(desk)
    for evening, position in enumerate((-1, 2)):  # nobody starts the engine on Tuesday
        at(desk, world.MONDAY + timedelta(days=evening), 21)
        wants(desk, position)
    assert [order.unfilled for order in stack.stack(desk)] == [4, -6, 3]

    at(desk, world.MONDAY + timedelta(days=2), 9)
    desk.work(minutes=20)

    assert desk.positions() == {APR: 2} and desk.strategy_positions() == {("trend", "GOLD"): 2}


def test_what_had_ended_of_an_order_is_not_called_off_again(desk):
    stack.place(desk, "GOLD", 2)
    desk.work(minutes=5)
    turned = stack.place(desk, "GOLD", -6)  # sells two that are held, then four to be short
    stack.spawn(desk)
    opens = stack.children(desk, turned)[-1]
    with desk.desk.store.write() as unit:
        now = desk.desk.clock.now()
        unit.orders.end_contract_order(opens.id, OrderStatus.CANCELLED, now, "taken off")
        end_what_hung_on(unit, opens.id, OrderStatus.CANCELLED, now, "taken off")
        unit.commit()
    at(desk, world.MONDAY, 21)
    wants(desk, 5)
    assert [order.unfilled for order in stack.stack(desk)] == [-6, 5]

    tuesday(desk)
    desk.work(minutes=20)

    assert desk.positions() == {APR: 5}


@pytest.mark.parametrize("at_broker", [False, True])
def test_nothing_is_crossed_with_what_was_decided_against_an_order_that_may_still_fill(desk, at_broker):
    trade_limit(desk, 1)
    wants(desk, 5)
    handler = engine(desk)
    watch(desk, handler, 5)
    trade_limit(desk, 100)
    desk.desk.broker.stuck = at_broker
    if at_broker:
        handler.one_pass()
    desk.desk.broker.stuck = False
    at(desk, world.MONDAY, 21)
    wants(desk, -1)
    wants(desk, 4, "carry")

    tuesday(desk)
    desk.work(minutes=30)

    assert desk.strategy_positions() == {("trend", "GOLD"): -1, ("carry", "GOLD"): 4}
    desk.assert_in_balance()


def test_an_engine_that_comes_back_the_same_day_goes_on(desk):
    one_of_five_is_bought_and_the_engine_dies(desk)

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


@pytest.mark.parametrize(("starts", "hours"), [((FRIDAY, 21), 1), ((FRIDAY, 24 + 10), 9.75), ((FRIDAY, 24 + 10), 2)])
def test_an_engine_in_an_evening_or_on_a_weekend_leaves_what_is_for_the_next_day(desk, starts, hours):
    at(desk, FRIDAY, 12)
    old = stack.place(desk, "NIKKEI", 1)
    at(desk, FRIDAY, 20)
    wants(desk, 3)

    at(desk, *starts)
    desk.work(hours=hours)
    assert stack.order(desk, old).note == "not filled by the end of the day"
    at(desk, world.MONDAY + timedelta(days=7), 9)
    desk.work(minutes=20)

    assert desk.positions() == {APR: 3}


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
    submit = takes_no_gold(odd)
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


def test_a_spread_between_markets_that_lacks_a_leg_gets_it(desk):
    with_spreads(desk)
    desk.order("BUND_GOLD", 1)
    odd = desk.desk.broker
    submit = takes_no_gold(odd)
    watch(desk, engine(desk), 5)
    assert desk.positions() == {"BUND/20240300": 3}
    odd.submit = submit

    tuesday(desk)
    desk.work(minutes=30)

    assert desk.positions() == {"BUND/20240300": 3, APR: -1}
    assert desk.strategy_positions() == {("trend", "BUND_GOLD"): 1}


def test_a_cancel_that_was_lost_the_day_before_is_asked_once_more(desk, caplog):
    stack.place(desk, "GOLD", 1)
    odd = desk.desk.broker
    odd.stuck = odd.ignores_cancels = True
    handler = engine(desk)
    watch(desk, handler, 2)
    handler.cancel_all()
    odd.stuck = False
    at(desk, world.MONDAY, 21)
    new = stack.place(desk, "GOLD", 3)
    before = odd.calls["cancel"]

    tuesday(desk)
    handler = engine(desk)
    watch(desk, handler, 10)
    assert odd.calls["cancel"] == before + 1 and stack.order(desk, new).fill == 0
    assert any("1-1-t of an earlier day" in r.getMessage() for r in caplog.records if r.levelno >= logging.CRITICAL)
    odd.ignores_cancels = False
    watch(desk, engine(desk), 10)  # started again

    assert stack.order(desk, new).fill == 3


@pytest.mark.parametrize("terms", [{"order_type": "panic"}, {"manual_trade": True}, {}])
def test_a_person_is_told_of_their_own_orders(desk, caplog, terms):
    desk.order("GOLD", 3)
    desk.work(minutes=10)
    stack.place(desk, "GOLD", -3, **terms)

    tuesday(desk)
    result = desk.work(minutes=10)

    told = [r.getMessage() for r in caplog.records if r.levelno >= logging.CRITICAL and "earlier day" in r.getMessage()]
    assert desk.positions() == {APR: 3} and bool(told) == bool(terms)
    assert result.counts["families_left_over"] == 1


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


@pytest.mark.parametrize("asked", ["", "the day before", "before the engine looks"])
def test_what_was_never_sent_ends_too(desk, asked):
    wants(desk, 2)
    if asked == "the day before":
        stack.spawn(desk)

    tuesday(desk)
    if asked == "before the engine looks":
        arguments = {"who": "rob", "why": "the story", "token": new_token()}
        ask(desk.desk.store, desk.desk.clock, "spawn_children", {}, **arguments)
    desk.work(minutes=20)

    assert desk.positions() == {} and ended(desk)


@pytest.mark.parametrize("state", [RollState.FORCE, RollState.FORCE_OUTRIGHT])
@pytest.mark.parametrize("heard", [True, False])
def test_a_roll_that_was_under_way_goes_on(desk, state, heard):
    wants(desk, 4)
    watch(desk, engine(desk), 5)
    desk.roll_state("GOLD", state)
    engine(desk).one_pass()  # in legs a lot leaves, and it dies
    desk.desk.broker.status_events_lost = not heard

    tuesday(desk)
    handler = engine(desk)
    watch(desk, handler, 3)
    desk.desk.broker.status_events_lost = False
    watch(desk, handler, 30)

    assert desk.positions() == {JUN: 4} and desk.strategy_positions() == {("trend", "GOLD"): 4}
    desk.assert_in_balance()
    handler.take_down()
    assert ended(desk)


@pytest.mark.parametrize(
    "changes",
    [
        {"process_configuration_stop_time": {}},
        {"process_configuration_methods": {**STRATEGIES, "run_stack_handler": {key: {} for key in METHODS}}},
    ],
)
def test_orders_live_on_where_no_day_ends(desk, changes):
    stack.configure(desk, **changes)
    wants(desk, 2)

    tuesday(desk)
    desk.work(minutes=20)

    assert desk.positions() == {APR: 2}
