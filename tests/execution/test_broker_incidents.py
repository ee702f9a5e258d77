"""What real brokers did to real operators, done again here: each story reproduces its cause."""

import logging
import random
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as some

from pysys.broker.port import Quote
from pysys.domain.orders import (
    BrokerOrder,
    ContractOrder,
    Fill,
    InstrumentOrder,
    InstrumentOrderType,
    OrderLeg,
    OrderStatus,
)
from pysys.domain.roll_states import RollState
from pysys.execution.algo_base import market_of
from pysys.execution.fills import FEES_AGAIN, pull_fills, record_fills
from pysys.execution.stack_handler import run_stack_handler
from pysys.execution.stack_methods import StackHandler
from pysys.reports.status import status_report
from tests.broker import paper_world as world
from tests.execution.odd_broker import OddBroker


@pytest.fixture
def odd(trading_on_sqlite) -> OddBroker:
    trading_on_sqlite.desk = replace(trading_on_sqlite.desk, broker=OddBroker(trading_on_sqlite.desk.broker))
    return trading_on_sqlite.desk.broker


@pytest.fixture
def desk(odd, trading_on_sqlite):
    return trading_on_sqlite


def alerts(caplog, of: str = "") -> list[str]:
    return [r.getMessage() for r in caplog.records if r.levelno >= logging.CRITICAL and of in r.getMessage()]


def sent_refs(odd: OddBroker) -> set[str]:
    return {f.order_ref for f in odd.real.fills_since(None)} | {t.order_ref for t, _ in odd.real.working_orders()}


def fill(desk, execution: str, ref: str, contract, quantity: int, price: float, fee: float = 1.0, **more) -> Fill:
    return Fill("paper", execution, ref, contract, quantity, price, desk.desk.clock.now(), fee, "USD", **more)


def land(desk, *fills: Fill) -> list[Fill]:
    return record_fills(desk.desk.store, fills, desk.desk.clock.now())


def broker_orders(desk, ref="1-1-t"):
    with desk.desk.store.read() as unit:
        order = unit.orders.broker_order_by_ref(ref)
        return order, unit.positions.fills_of_order(order.id)


# --- one order, whatever is said of it ---


@pytest.mark.incident("E1")
def test_an_order_said_to_be_cancelled_while_it_works_is_not_replaced(desk, odd):
    """It rests for ten minutes under a false cancel, and then fills."""
    odd.says_cancelled = True
    now = desk.desk.clock.now()
    family = desk.order("GOLD", 1, order_type="limit")
    legs = (OrderLeg(world.GOLD_APR, 1),)
    with desk.desk.store.write() as unit:
        kind, price = InstrumentOrderType.LIMIT, Decimal("2000")
        order = ContractOrder("trend", "GOLD", legs, kind, now, algo_to_use="limit", limit_price=price)
        unit.orders.place_contract_order(family, order)
        unit.commit()

    def fills_later(moment) -> None:
        if moment == now + timedelta(minutes=10):
            odd.real.modify_limit("1-1-t", Decimal("2500"))

    run_stack_handler(desk.desk, now + timedelta(minutes=20), fills_later)

    assert odd.calls["submit"] == 1
    assert desk.positions() == {"GOLD/20240400": 1}
    desk.assert_in_balance()


@pytest.mark.parametrize("arrival", ["arrived", "lost"])
@pytest.mark.incident("E9")
def test_no_answer_to_an_order_is_neither_a_refusal_nor_sent_again(desk, odd, arrival):
    odd.no_answer_to_submit = arrival
    desk.order("GOLD", 1)
    desk.work(seconds=30)
    assert odd.calls["submit"] == 1
    odd.no_answer_to_submit = ""
    desk.order("GOLD", 1)

    desk.work(hours=1)

    assert desk.positions() == {"GOLD/20240400": 1 if arrival == "lost" else 2}
    assert odd.calls["submit"] == len(sent_refs(odd)) + (arrival == "lost")
    desk.assert_in_balance()


@pytest.mark.incident("E4")
def test_positions_follow_executions_though_no_status_ever_says_filled(desk, odd):
    odd.status_events_lost = True
    desk.order("GOLD", 3)

    desk.work(hours=2)

    assert desk.positions() == {"GOLD/20240400": 3}
    desk.assert_in_balance()
    assert odd.calls["submit"] == 3


def test_a_dead_child_that_fills_late_creates_no_excess(desk, odd, caplog):
    order = desk.order("GOLD", 1)
    desk.work(hours=1)
    first, _ = broker_orders(desk)

    for n in range(3):
        land(desk, fill(desk, f"late-{n}", "1-1-t", world.GOLD_APR, 1, 2100.0))

    after, rows = broker_orders(desk)
    assert (first.legs[0].fill, after.legs[0].fill, len(rows)) == (1, 4, 4)
    assert desk.strategy_positions() == {("trend", "GOLD"): 4}
    assert len(alerts(caplog, "more than was ordered")) == 3  # one for each fill that was too much
    with desk.desk.store.read() as unit:
        assert unit.orders.instrument_order(order).fill == 4


@pytest.mark.incident("E3")
def test_a_cancelled_child_that_fills_beside_its_replacement_is_matched_and_the_parent_not_exceeded(desk, odd, caplog):
    """Five lots, one at a time and stuck; each dead child may still fill, and three do, while others are working."""
    odd.stuck = True
    order = desk.order("GOLD", 5)
    desk_passes = StackHandler(desk.desk, desk.desk.clock.now() + timedelta(hours=5))
    for _ in range(3):
        settle(desk, desk_passes, minutes=13)
    dead, working = unsettled_refs(desk)
    assert len(dead) >= 2 and len(working) <= 1
    for number, ref in enumerate(dead[:2]):
        odd.fills_late(fill(desk, f"late-{number}", ref, world.GOLD_APR, 1, 2100.0))
    odd.stuck = False

    desk.work(hours=3)

    assert desk.positions() == {"GOLD/20240400": 5} == desk.broker_positions()
    assert {broker_orders(desk, ref)[0].legs[0].fill for ref in dead[:2]} == {1}
    assert alerts(caplog, "more than was ordered") == []
    with desk.desk.store.read() as unit:
        assert (unit.orders.instrument_order(order).fill, unit.orders.active_instrument_orders()) == (5, [])
        assert unit.orders.count_broker_orders(1) <= len(dead) + 5
    desk.assert_in_balance()


def test_more_than_was_ordered_over_two_broker_orders_is_told(desk, odd, caplog):
    """The first is cancelled, the second fills, then the first fills after all: neither was filled beyond itself."""
    odd.stuck = True
    desk.order("GOLD", 1, order_type="market")
    desk_passes = StackHandler(desk.desk, desk.desk.clock.now() + timedelta(hours=5))
    while not odd.calls["cancel"]:
        settle(desk, desk_passes, minutes=1)
    odd.stuck = False
    settle(desk, desk_passes, minutes=5)
    assert desk.positions() == {"GOLD/20240400": 1}
    late = fill(desk, "late", "1-1-t", world.GOLD_APR, 1, 2100.0)
    odd.fills_late(late)

    settle(desk, desk_passes, minutes=2)

    assert alerts(caplog, "more than was ordered") == [
        "contract order 1 is filled +2 of +1 in GOLD/20240400, by all its broker orders together: more than was ordered"
    ]
    land(desk, replace(late, execution_id="late.02", quantity=1, price=2101.0, corrects="late"))
    land(desk, replace(late, execution_id="taken back", quantity=-1, reverses="late.02"))
    assert len(alerts(caplog, "more than was ordered")) == 1  # the same contract at another price, and then not at all


def settle(desk, handler, minutes: int) -> None:
    """The stack handler looks every minute."""
    for _ in range(minutes):
        while handler.one_pass():
            pass
        desk.desk.clock.sleep_until(desk.desk.clock.now() + timedelta(minutes=1))


def unsettled_refs(desk) -> tuple[list[str], list[str]]:
    """References of broker orders that are over, and of those that are not."""
    with desk.desk.store.read() as unit:
        open_refs = [order.order_ref for order in unit.orders.active_broker_orders()]
        every = unit.connection.exec_driver_sql("SELECT order_ref FROM broker_orders ORDER BY id").scalars().all()
    return [ref for ref in every if ref not in open_refs], open_refs


# --- budgets ---


@pytest.mark.incident("E2")
def test_an_order_stuck_before_it_works_is_never_moved_and_cancelled_once(desk, odd, caplog):
    odd.stuck = True
    odd.ignores_cancels = True
    desk.order("GOLD", 1)

    desk.work(hours=3)

    assert odd.calls["submit"] == 1
    assert odd.calls["modify_limit"] == 0
    assert odd.calls["cancel"] <= 2  # its time was over; and the day
    assert len(alerts(caplog, "needs an operator")) == 1


@pytest.mark.incident("E2")
def test_a_broker_that_refuses_everything_is_asked_five_times_and_a_person_told_once(desk, odd, caplog):
    odd.refuses = "no permission for this product"
    desk.order("GOLD", 1)

    desk.work(hours=3)

    assert odd.calls["submit"] == 5
    assert len(alerts(caplog, "needs_operator: given_up: rejected 5 times")) == 1


@pytest.mark.incident("E2")
def test_price_changes_that_fail_are_not_repeated_for_ever(desk, odd):
    odd.moves_fail = True
    desk.order("GOLD", 30)

    desk.work(minutes=60)

    assert 0 < odd.calls["modify_limit"] <= 5 * odd.calls["submit"]


@pytest.mark.incident("E2")
def test_an_algo_that_declines_asks_ever_more_rarely_and_tells_a_person_once(desk, odd, caplog):
    instrument_order = desk.order("GOLD", 1, order_type="limit")
    with desk.desk.store.write() as unit:
        leg = OrderLeg(world.GOLD_APR, 1)
        unit.orders.place_contract_order(
            instrument_order,
            ContractOrder(
                "trend", "GOLD", (leg,), InstrumentOrderType.LIMIT, desk.desk.clock.now(), algo_to_use="limit"
            ),
        )
        unit.commit()

    desk.work(hours=3)

    assert odd.calls["submit"] == 0
    assert odd.calls["quote"] <= 3 * 60 + 10
    with desk.desk.store.read() as unit:
        note = unit.orders.contract_order(1).note
    assert "algo_declined: the order has no limit price to work" in note
    assert len(alerts(caplog, "needs_operator: algo_declined")) <= 1


# --- executions ---


@pytest.mark.incident("E7")
def test_hearing_everything_twice_and_backwards_books_it_once(desk, odd):
    odd.repeats = True
    desk.order("GOLD", 3)

    desk.work(hours=2)

    assert desk.positions() == {"GOLD/20240400": 3}
    desk.assert_in_balance()


@pytest.mark.incident("E6")
def test_a_line_cut_again_and_again_in_the_middle_of_the_day_loses_no_execution(desk, odd):
    odd.flaky = True
    desk.order("GOLD", 6)
    desk.order("NIKKEI", -3)

    desk.work(hours=4)
    odd.flaky = False
    pull_fills(desk.desk, desk.desk.clock.now())

    assert odd.calls["cut"] > 10
    assert desk.positions() == {"GOLD/20240400": 6, "NIKKEI/20240600": -3}
    desk.assert_in_balance()


@pytest.mark.incident("E5")
def test_a_fee_that_comes_after_the_order_was_archived_is_booked_and_nothing_else_moves(desk, odd):
    odd.fees_unknown = True
    desk.order("GOLD", 1)
    desk.work(hours=1)
    _, rows = broker_orders(desk)
    assert [row.commission for row in rows] == [None]
    with desk.desk.store.read() as unit:
        assert unit.orders.active_instrument_orders() == []
    desk.desk.clock.sleep_until(desk.desk.clock.now() + timedelta(days=3))
    land(desk, fill(desk, "of-today", "1-1-t", world.GOLD_APR, 1, 2100.0))  # so the last fill is days younger
    before = desk.positions(), desk.strategy_positions()
    odd.fees_unknown = False

    assert pull_fills(desk.desk, desk.desk.clock.now()) == 0

    _, rows = broker_orders(desk)
    assert [row.commission for row in rows] == [2.0, 1.0]
    assert (desk.positions(), desk.strategy_positions()) == before


@pytest.mark.incident("E5")
def test_a_fee_missing_for_a_week_is_told_of_once_shown_and_booked_all_the_same_when_it_comes(desk, odd, caplog):
    odd.fees_unknown = True
    desk.order("GOLD", 2)
    desk.work(hours=1)
    week = desk.desk.clock.now() + FEES_AGAIN
    desk.desk.clock.sleep_until(week - timedelta(hours=2))
    desk.work(minutes=30)
    assert alerts(caplog, "no commission came") == []
    assert len(status_report(desk.desk).table("Missing commissions")) == 0

    desk.desk.clock.sleep_until(week + timedelta(minutes=1))
    for _ in range(3):  # three sessions, each of many passes
        desk.work(hours=2)

    (alert,) = alerts(caplog, "no commission came")
    refs, _ = unsettled_refs(desk)
    assert f"in 7 days for 2 fills of orders {refs[0]}, {refs[1]}:" in alert
    report = status_report(desk.desk)
    assert report.table("Missing commissions")["order"].tolist() == refs
    assert any(line.startswith("no commission after 7 days: 2 fills") for line in report.data["exceptions"])
    land(desk, *(replace(each, commission=2.0, commission_currency="USD") for each in odd.real.fills_since(None)))
    assert len(status_report(desk.desk).table("Missing commissions")) == 0


@pytest.mark.incident("E7")
def test_a_day_replayed_three_times_leaves_the_same_ledger(desk, odd):
    desk.order("GOLD", 3)
    desk.work(hours=1)
    desk.roll_state("GOLD", RollState.FORCE)
    desk.work(hours=3)
    ledger = desk.positions(), desk.strategy_positions(), broker_orders(desk)

    for seed in range(3):
        day = list(odd.real.fills_since(None)) * 2
        random.Random(seed).shuffle(day)
        assert record_fills(desk.desk.store, day, desk.desk.clock.now()) == []

    assert (desk.positions(), desk.strategy_positions(), broker_orders(desk)) == ledger


def test_a_busted_execution_is_taken_back_at_every_level(desk, odd):
    desk.order("GOLD", 2)
    desk.work(hours=2)
    busted = odd.real.fills_since(None)[0]
    odd.bust(busted.execution_id)

    pull_fills(desk.desk, desk.desk.clock.now())
    pull_fills(desk.desk, desk.desk.clock.now())

    assert desk.positions() == {"GOLD/20240400": 1}
    desk.assert_in_balance()
    order, rows = broker_orders(desk, busted.order_ref)
    assert (order.status, order.legs[0].fill, [row.quantity for row in rows]) == ("cancelled", 0, [1, -1])


@pytest.mark.parametrize("correction_first", [False, True])
def test_a_corrected_execution_replaces_the_one_before_it(desk, odd, correction_first):
    _place_by_hand(desk, "7-1", [(world.GOLD_APR, 5)])
    told = fill(desk, "x.01", "7-1", world.GOLD_APR, 5, 2100.0, fee=10.0)
    corrected = fill(desk, "x.02", "7-1", world.GOLD_APR, 4, 2101.0, fee=8.0, corrects="x.01")

    for heard in (corrected, told) if correction_first else (told, corrected):
        land(desk, heard, heard)

    assert desk.positions() == {"GOLD/20240400": 4}
    order, rows = broker_orders(desk, "7-1")
    assert (order.legs[0].fill, order.legs[0].filled_price) == (4, 2101.0)
    assert sum(row.commission for row in rows) == 8.0
    with desk.desk.store.read() as unit:
        parent = unit.orders.contract_order(order.parent_id)
        family = unit.orders.instrument_order(parent.parent_id)
    assert (parent.legs[0].fill, parent.legs[0].filled_price) == (4, 2101.0)
    assert (family.fill, family.filled_price) == (4, 2101.0)


def _place_by_hand(desk, ref: str, legs, trade: int | None = None) -> int:
    """A family as the stacks would have it, with one broker order that works; the instrument order's id."""
    now, best = desk.desk.clock.now(), InstrumentOrderType.BEST
    stored = tuple(OrderLeg(*leg) for leg in legs)
    with desk.desk.store.write() as unit:
        size = stored[0].trade if trade is None else trade
        family = unit.orders.place_instrument_order(InstrumentOrder("trend", "GOLD", size, best, now))
        parent = unit.orders.place_contract_order(
            family, ContractOrder("trend", "GOLD", stored, best, now, algo_to_use="market")
        )
        unit.orders.write_broker_order(
            BrokerOrder(ref, parent, "trend", "GOLD", stored, "market", "market", "paper", now)
        )
        unit.commit()
    return family


def test_average_prices_are_weighted_by_size_at_every_level(desk):
    family = _place_by_hand(desk, "7-1", [(world.GOLD_APR, 10)])

    land(desk, fill(desk, "a", "7-1", world.GOLD_APR, 9, 100.0))
    land(desk, fill(desk, "b", "7-1", world.GOLD_APR, 1, 110.0))

    with desk.desk.store.read() as unit:
        order = unit.orders.broker_order_by_ref("7-1")
        parent = unit.orders.contract_order(order.parent_id)
        assert order.legs[0].filled_price == parent.legs[0].filled_price == 101.0
        assert unit.orders.instrument_order(family).filled_price == 101.0


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.incident("E13")
def test_a_spread_that_fills_in_parts_and_any_order_is_booked_leg_by_leg(desk, seed):
    """Three Aprils against six Junes: the strategy holds in the market what its legs add up to, at every moment."""
    family = _place_by_hand(desk, "7-1", [(world.GOLD_APR, 3), (world.GOLD_JUN, -6)], trade=-3)
    parts = [(world.GOLD_APR, 1, 2100.0), (world.GOLD_APR, 2, 2103.0), (world.GOLD_JUN, -4, 2120.0)]
    parts += [(world.GOLD_JUN, -1, 2121.0), (world.GOLD_JUN, -1, 2123.0)]
    random.Random(seed).shuffle(parts)
    for number, (contract, quantity, price) in enumerate(parts):
        land(desk, fill(desk, f"p{number}", "7-1", contract, quantity, price))
        with desk.desk.store.read() as unit:
            done = unit.orders.instrument_order(family).fill
            legs = unit.orders.broker_order_by_ref("7-1").legs
        assert done == sum(leg.fill for leg in legs) == sum(desk.positions().values())
        assert desk.strategy_positions().get(("trend", "GOLD"), 0) == done

    assert desk.positions() == {"GOLD/20240400": 3, "GOLD/20240600": -6}
    with desk.desk.store.read() as unit:
        order = unit.orders.broker_order_by_ref("7-1")
        prices = [leg.filled_price for leg in order.legs]
        assert prices == [2102.0, pytest.approx(2120 + 4 / 6)]
        per_contract = (3 * prices[0] - 6 * prices[1]) / -3
        assert unit.orders.instrument_order(family).filled_price == pytest.approx(per_contract)
        assert (order.status, unit.orders.active_broker_orders()) == ("filled", [])


def test_an_order_that_passes_through_nothing_filled_keeps_what_it_came_to(desk):
    family = _place_by_hand(desk, "7-1", [(world.GOLD_APR, -1), (world.GOLD_JUN, 4)], trade=3)
    parts = [(world.GOLD_APR, -1, 2000.0), (world.GOLD_JUN, 1, 2100.0), (world.GOLD_JUN, 3, 2130.0)]
    for number, (contract, quantity, price) in enumerate(parts):
        land(desk, fill(desk, f"p{number}", "7-1", contract, quantity, price))

    with desk.desk.store.read() as unit:
        done = unit.orders.instrument_order(family)
    assert (done.fill, done.filled_price) == (3, pytest.approx((2100 + 3 * 2130 - 2000) / 3))


def test_an_execution_of_no_order_of_ours_is_kept_and_told_of_once(desk, odd, caplog):
    odd.real.submit(world.buy("elsewhere", (world.GOLD_APR, 2)))

    for _ in range(3):
        pull_fills(desk.desk, desk.desk.clock.now())

    assert desk.positions() == desk.broker_positions() == {"GOLD/20240400": 2}
    assert desk.strategy_positions() == {}
    assert len(alerts(caplog, "belongs to no order of ours")) == 1


def test_a_fill_that_comes_the_next_day_completes_the_order_that_was_given_up(desk):
    now = desk.desk.clock.now()
    family = _place_by_hand(desk, "7-1", [(world.GOLD_APR, 2)])
    with desk.desk.store.write() as unit:
        unit.orders.update_broker_order(1, active=False)
        unit.orders.end_contract_order(1, OrderStatus.CANCELLED, now)
        unit.orders.end_instrument_order(family, OrderStatus.CANCELLED, now)
        unit.commit()
    desk.desk.clock.sleep_until(now + timedelta(days=1))

    land(desk, fill(desk, "z", "7-1", world.GOLD_APR, 2, 2100.0))

    assert desk.strategy_positions() == {("trend", "GOLD"): 2}
    with desk.desk.store.read() as unit:
        assert unit.orders.broker_order_by_ref("7-1").status == "filled"


# --- prices ---


@given(
    some.sampled_from([0.1, 0.01, 0.00005, 0.25, 0.03125, 5.0]),
    some.lists(some.tuples(some.integers(-10_000, 10_000), some.integers(1, 5)), min_size=2, max_size=2),
    some.sampled_from([(1, -1), (-1, 1), (1, -2), (-2, 2)]),
)
@pytest.mark.incident("E14")
def test_every_price_of_a_spread_is_a_whole_number_of_ticks(tick, books, ratios):
    now = world.NOON
    quotes = tuple(Quote(bid * tick, (bid + width) * tick, 1, 1, now) for bid, width in books)

    market = market_of(ratios, quotes, tick, short_of_time=False)

    for price in (market.side, market.offside, market.passive_mid):
        assert price % Decimal(str(tick)) == 0
    near, far = (market.offside, market.side) if market.direction > 0 else (market.side, market.offside)
    assert near <= market.passive_mid <= far


@pytest.mark.incident("E14")
def test_the_broker_takes_whatever_price_a_spread_is_sent_at(desk, odd):
    desk.order("GOLD", 2)
    desk.work(hours=1)
    desk.roll_state("GOLD", RollState.FORCE)

    desk.work(hours=3)

    assert desk.positions() == {"GOLD/20240600": 2}
    assert odd.calls["submit"] == len(sent_refs(odd))  # none was refused


# --- rolls ---


@pytest.mark.incident("R4")
def test_a_forced_roll_whose_spread_nobody_trades_goes_outright_by_itself_after_the_deadline(desk, odd):
    """Every day its spread is refused. Nobody does anything."""
    desk.order("GOLD", 2)
    desk.work(hours=1)
    odd.refuses_spreads = True
    desk.roll_state("GOLD", RollState.FORCE)
    forced_at = desk.desk.clock.now()
    held = []
    for day in world.business_days()[1:5]:
        desk.desk.clock.sleep_until(day + timedelta(hours=14))
        desk.work(hours=2)
        held.append(desk.positions())

    waited, rolled = {"GOLD/20240400": 2}, {"GOLD/20240600": 2}
    assert held == [waited, waited, rolled, rolled]
    with desk.desk.store.read() as unit:
        history = unit.markets.roll_status_history("GOLD")
    assert [status.state for status in history] == [RollState.FORCE, RollState.FORCE_OUTRIGHT, RollState.PASSIVE]
    assert history[1].who == "stack handler" and history[1].time - forced_at >= timedelta(days=3)
    desk.assert_in_balance()


# --- the end of the day ---


def test_a_day_that_is_taken_down_again_is_as_it_was_after_the_first_time(desk, odd):
    filled, partly, untouched = desk.order("GOLD", 1), desk.order("NIKKEI", 400), desk.order("BUND", 900)
    desk.work(minutes=12)
    with desk.desk.store.read() as unit:
        orders = [unit.orders.instrument_order(number) for number in (filled, partly, untouched)]
    ledger = desk.positions(), desk.strategy_positions(), odd.calls["submit"]
    assert 0 < orders[1].fill < 400

    desk.work(seconds=1)

    with desk.desk.store.read() as unit:
        assert [unit.orders.instrument_order(number) for number in (filled, partly, untouched)] == orders
        assert unit.orders.active_instrument_orders() == unit.orders.active_broker_orders() == []
    assert (desk.positions(), desk.strategy_positions(), odd.calls["submit"]) == ledger
    assert odd.real.working_orders() == []
    desk.assert_in_balance()


def test_a_broker_that_does_not_answer_a_cancel_leaves_the_order_open_and_a_person_told(desk, odd, caplog):
    odd.ignores_cancels = True
    odd.stuck = True
    desk.order("GOLD", 1)

    result = desk.work(minutes=2)

    assert result.unresolved == ["1-1-t"]
    assert len(alerts(caplog, "does not answer the cancel")) == 1
    odd.ignores_cancels = False
    odd.cancel("1-1-t")

    assert desk.work(minutes=3).unresolved == []


def test_a_spread_left_with_one_leg_gets_the_other_by_itself_and_a_person_is_told_once(desk, odd, caplog):
    _place_by_hand(desk, "7-1", [(world.GOLD_APR, 2), (world.GOLD_JUN, -2)])
    odd.fills_late(fill(desk, "a", "7-1", world.GOLD_APR, 2, 2100.0))
    with desk.desk.store.write() as unit:
        unit.orders.update_broker_order(1, active=False)
        unit.commit()

    desk.work(minutes=30)

    assert desk.positions() == {"GOLD/20240400": 2, "GOLD/20240600": -2}
    assert len(alerts(caplog, "unbalanced: filled +2 of +2 20240400, +0 of -2 20240600")) == 1
