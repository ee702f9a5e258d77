"""What is not known of an order is never guessed: late tickets, crossed cancels, other people's executions."""

import logging
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal

import pytest
from sqlalchemy import select

from pysys.broker.port import BrokerUnavailable, WorkingStatus
from pysys.domain.contracts import Contract
from pysys.domain.errors import OutcomeUnknown
from pysys.domain.orders import BrokerIds, Fill
from pysys.execution import stack_handler
from pysys.execution.commands import new_token, request
from pysys.execution.fills import UNMATCHED, record_fills
from pysys.execution.generation import generate_orders
from pysys.execution.lease import LEASE_LASTS, LeaseLost, TradingLease, claim_trading
from pysys.execution.sending import submit
from pysys.execution.stack_methods import StackHandler
from pysys.execution.wire import SEND_WITHIN, TradingStopped, wired
from pysys.store import schema
from pysys.store.machine import this_process
from pysys.store.runs import Environment
from tests.broker import paper_world as world
from tests.execution import stack
from tests.execution.odd_broker import OddBroker

CORN = Contract("CORN", "20240500")  # of which nothing is configured


@pytest.fixture
def desk(trading_on_sqlite):
    return trading_on_sqlite


@pytest.fixture
def odd(desk) -> OddBroker:
    desk.desk = replace(desk.desk, broker=OddBroker(desk.desk.broker))
    return desk.desk.broker


def alerts(caplog, of: str = "") -> list[str]:
    return [r.getMessage() for r in caplog.records if r.levelno >= logging.CRITICAL and of in r.getMessage()]


def handler(desk) -> StackHandler:
    return StackHandler(desk.desk, desk.desk.clock.now() + timedelta(hours=4))


def live(desk, engine: StackHandler, *, paused: bool = False, **time: float) -> None:
    """Passes until nothing more happens, each minute for so long."""
    ends = desk.desk.clock.now() + timedelta(**time)
    while desk.desk.clock.now() < ends:
        for _ in range(3):
            engine.one_pass(paused=paused)
        desk.desk.clock.sleep_until(desk.desk.clock.now() + timedelta(minutes=1))


def rest_far_away(desk, trade: int = 1) -> int:
    """A limit order the market does not reach."""
    return stack.place(
        desk, "GOLD", trade, order_type="limit", limit_price=Decimal("2000"), limit_contract=world.GOLD_APR.date
    )


def broker_rows(desk):
    with desk.desk.store.read() as unit:
        return unit.connection.execute(select(schema.broker_orders).order_by(schema.broker_orders.c.id)).all()


def execution(desk, name: str, ref: str, contract: Contract, quantity: int, **more) -> Fill:
    at = more.pop("at", desk.desk.clock.now())
    return Fill("paper", name, ref, contract, quantity, 2100.0, at, 1.0, "USD", **more)


def ask(desk, name: str, **arguments):
    return request(desk.desk, name, arguments, who="trader", why="the story", token=new_token())


# --- tickets that come late, fills that cross a cancel ---


def a_ticket_is_lost(odd) -> list:
    """The next ticket gets no answer and does not arrive: until somebody submits it."""
    lost: list = []
    send = odd.real.submit

    def submit(ticket) -> None:
        if not lost:
            lost.append(ticket)
            raise OutcomeUnknown("nothing was heard")
        send(ticket)

    odd.submit = submit
    return lost


def test_a_ticket_that_arrives_after_it_was_given_up_is_cancelled_and_never_doubles_the_order(desk, odd, caplog):
    lost = a_ticket_is_lost(odd)
    rest_far_away(desk)
    engine = handler(desk)
    live(desk, engine, minutes=4)
    assert [each.order_ref for each in odd.open_orders()] == ["1-2-t"]
    assert odd.calls["cancel"] >= 1  # asked to cancel what it had not heard of, before it was replaced

    odd.real.submit(lost[0])
    live(desk, engine, minutes=2)

    assert [each.order_ref for each in odd.open_orders() if each.order_ref == "1-1-t"] == []
    assert len(alerts(caplog, "order 1-1-t was cancelled in our books and works at the broker")) == 1
    live(desk, engine, minutes=3)
    assert sum(leg.quantity for each in odd.open_orders() for leg in each.legs) == 1


def test_a_ticket_that_comes_back_filled_leaves_nothing_else_working(desk, odd, caplog):
    """It fills before it can be cancelled: the position is what the order wanted, and its replacement is withdrawn."""
    lost = a_ticket_is_lost(odd)
    rest_far_away(desk)
    engine = handler(desk)
    live(desk, engine, minutes=4)

    odd.real.submit(lost[0])
    odd.real.modify_limit("1-1-t", Decimal("2200"))
    live(desk, engine, minutes=3)

    assert desk.positions() == {"GOLD/20240400": 1}
    assert odd.open_orders() == []
    assert len(alerts(caplog, "could trade more than is wanted")) == 1
    desk.assert_in_balance()
    live(desk, engine, minutes=2)
    assert [row.active for row in broker_rows(desk)] == [False, False]
    assert stack.stack(desk) == []


def hide_executions(odd) -> dict[str, bool]:
    """While hidden, the broker calls what has filled cancelled, and tells of no execution."""
    hidden = {"now": True}
    fills, states, positions = odd.fills_since, odd.order_states, odd.positions

    def order_states(refs):
        told = states(refs)
        if hidden["now"]:
            for ref, state in told.items():
                if state.status is WorkingStatus.FILLED:
                    told[ref] = replace(state, status=WorkingStatus.CANCELLED, filled=(0,))
        return told

    odd.order_states = order_states
    odd.fills_since = lambda moment: [] if hidden["now"] else fills(moment)
    odd.positions = lambda: {} if hidden["now"] else positions()
    return hidden


def test_a_fill_heard_after_its_cancel_was_confirmed_is_not_traded_twice(desk, odd):
    hidden = hide_executions(odd)
    desk.order("GOLD", 1, order_type="market")
    engine = handler(desk)
    for _ in range(3):
        engine.one_pass()
    with desk.desk.store.write() as unit:
        order = unit.orders.broker_order_by_ref("1-1-t")
        unit.orders.update_broker_order(order.id, cancel_requested_at=desk.desk.clock.now())
        unit.commit()

    for _ in range(4):
        engine.one_pass()
    desk.desk.clock.sleep_until(desk.desk.clock.now() + timedelta(seconds=9))
    for _ in range(4):
        engine.one_pass()
    assert odd.calls["submit"] == 1
    hidden["now"] = False
    live(desk, engine, minutes=3)

    assert odd.calls["submit"] == 1
    assert desk.positions() == {"GOLD/20240400": 1} == desk.broker_positions()
    desk.assert_in_balance()


def test_an_overfilled_order_is_over_and_the_next_orders_correct_the_position(desk, odd, caplog):
    desk.want("GOLD", 1, 1.4)
    generate_orders(desk.desk, ["trend"])
    engine = handler(desk)
    live(desk, engine, minutes=15)
    assert desk.positions() == {"GOLD/20240400": 1}
    more = odd.real.fills_since(None)[0]
    record_fills(desk.desk.store, [replace(more, execution_id="one-more", price=2200.0)], desk.desk.clock.now())
    odd.real.submit(world.buy("by-hand-of-the-broker", (world.GOLD_APR, 1)))
    theirs = [each for each in odd.real.fills_since(None) if each.order_ref == "by-hand-of-the-broker"]
    odd.fills_since = lambda moment: [each for each in odd.real.fills_since(moment) if each not in theirs]
    live(desk, engine, minutes=30)

    assert desk.positions() == {"GOLD/20240400": 2}
    assert len(alerts(caplog, "more than was ordered")) == 1
    with desk.desk.store.read() as unit:
        (order,) = unit.connection.execute(select(schema.contract_orders)).all()
    assert order.filled_price == pytest.approx((more.price + 2200.0) / 2)

    generate_orders(desk.desk, ["trend"])
    live(desk, engine, minutes=15)
    assert desk.positions() == {"GOLD/20240400": 1} == desk.broker_positions()


def test_an_order_overfilled_while_it_is_worked_is_not_turned_round(desk, odd):
    rest_far_away(desk, 2)
    engine = handler(desk)
    live(desk, engine, minutes=1)
    record_fills(desk.desk.store, [execution(desk, "x", "1-1-t", world.GOLD_APR, 3)], desk.desk.clock.now())

    live(desk, engine, minutes=10)

    assert len(broker_rows(desk)) == 1
    assert stack.stack(desk) == []
    assert desk.positions() == {"GOLD/20240400": 3}


# --- references, and what belongs to which order ---


def test_a_restored_database_shares_no_reference_with_the_one_it_was_copied_from(desk):
    """The ledger forgets a day, as a restored backup does; the broker does not."""
    desk.order("GOLD", 1, order_type="market")
    desk.work(minutes=10)
    with desk.desk.store.write() as unit:
        before = unit.references.order_ref(1, 1)
        unit.references.renew_tag()
        assert unit.references.order_ref(1, 1) != before
        assert unit.references.order_ref(1, 1) == unit.references.order_ref(1, 1)
        assert unit.orders.broker_order_by_ref(before) is not None
        unit.commit()


def test_what_another_database_traded_under_our_number_is_not_taken_for_ours(desk, odd):
    odd.real.submit(world.buy("1-1-other", (world.NIKKEI_JUN, 1)))
    desk.order("GOLD", 1, order_type="market")

    desk.work(minutes=10)

    assert desk.positions() == {"GOLD/20240400": 1, "NIKKEI/20240600": 1} == desk.broker_positions()
    assert desk.strategy_positions() == {("trend", "GOLD"): 1}


@pytest.mark.parametrize("why", ["older", "another contract"])
def test_an_execution_that_cannot_be_of_its_order_moves_no_strategy(desk, odd, caplog, why):
    rest_far_away(desk, 3)
    engine = handler(desk)
    engine.one_pass()
    engine.one_pass()
    contract = world.GOLD_APR if why == "older" else world.NIKKEI_JUN
    at = desk.desk.clock.now() - (timedelta(hours=1) if why == "older" else timedelta(0))

    record_fills(desk.desk.store, [execution(desk, "x", "1-1-t", contract, 1, at=at)], desk.desk.clock.now())

    assert desk.positions() == {str(contract): 1}
    assert desk.strategy_positions() == {}
    with desk.desk.store.read() as unit:
        (row,) = unit.connection.execute(select(schema.fills)).all()
        assert unit.orders.broker_order_by_ref("1-1-t").legs[0].fill == 0
    assert (row.strategy, row.broker_order_id) == (UNMATCHED, None)
    assert len(alerts(caplog, "belongs to no order of ours ('1-1-t'")) == 1


def test_a_fill_without_our_reference_is_known_by_the_brokers_id_of_its_order(desk, odd):
    rest_far_away(desk)
    engine = handler(desk)
    live(desk, engine, minutes=2)
    (row,) = broker_rows(desk)
    assert (row.broker_account, row.broker_permid) == ("PAPER-1", odd.order_states(["1-1-t"])["1-1-t"].permanent_id)

    nameless = execution(desk, "x", "", world.GOLD_APR, 1, ids=BrokerIds(row.broker_permid))
    record_fills(desk.desk.store, [nameless], desk.desk.clock.now())

    assert desk.strategy_positions() == {("trend", "GOLD"): 1}


def test_an_order_filled_at_once_keeps_what_the_broker_calls_it(desk, odd):
    desk.order("GOLD", 1, order_type="market")
    odd_ids = BrokerIds("", "", 7, "31")
    fills = odd.fills_since
    odd.fills_since = lambda m: [replace(f, ids=replace(odd_ids, permanent_id=f.ids.permanent_id)) for f in fills(m)]

    desk.work(minutes=10)

    (row,) = broker_rows(desk)
    assert (row.broker_account, row.broker_clientid, row.broker_tempid) == ("PAPER-1", 7, "31")
    assert row.broker_permid == odd.order_states(["1-1-t"])["1-1-t"].permanent_id


def test_executions_are_asked_for_since_the_last_of_that_broker_whatever_was_booked_by_hand(desk, odd):
    desk.order("GOLD", 1, order_type="market")
    desk.work(minutes=30)
    theirs = execution(desk, "tws", "tws:1", world.GOLD_APR, -1, at=desk.desk.clock.now() + timedelta(hours=1))
    fills = odd.real.fills_since
    odd.fills_since = lambda m: [f for f in [*fills(None), theirs] if m is None or f.filled_at >= m]
    odd.positions = dict
    desk.desk.clock.sleep_until(world.MONDAY + timedelta(days=3, hours=9))
    for quantity in (1, -1):
        ask(
            desk, "balance_trade", strategy="trend", instrument="NIKKEI", contract="20240600", quantity=quantity,
            price=39_000.0,
        )  # fmt: skip

    desk.work(hours=1)

    assert desk.positions() == {}


# --- instruments nobody configured ---


def test_a_fill_in_an_instrument_nobody_configured_is_booked_and_the_day_goes_on(trading, caplog):
    odd = OddBroker(trading.desk.broker)
    trading.desk = replace(trading.desk, broker=odd)
    odd.fills_late(execution(trading, "x", "", CORN, 1))
    trading.order("GOLD", 1)

    result = trading.work(hours=1)

    assert trading.positions() == {"CORN/20240500": 1, "GOLD/20240400": 1} == trading.broker_positions()
    assert result.faults == {}
    assert len(alerts(caplog, "belongs to no order of ours")) == 1


def test_a_position_in_an_instrument_nobody_configured_is_a_break_and_the_day_goes_on(trading):
    odd = OddBroker(trading.desk.broker)
    trading.desk = replace(trading.desk, broker=odd)
    held = odd.positions
    odd.positions = lambda: {**held(), CORN: 3}
    trading.order("GOLD", 1)

    result = trading.work(hours=1)

    assert trading.positions() == {"GOLD/20240400": 1}
    assert result.breaks == {"CORN": "20240500: database +0, broker +3"}


# --- a person, while a fate is unknown ---


def test_nobody_deletes_or_fills_by_hand_an_order_whose_fate_is_unknown(desk, odd):
    rest_far_away(desk)
    engine = handler(desk)
    engine.one_pass()
    engine.one_pass()
    odd.says_cancelled, odd.open_orders = True, lambda: []
    engine.one_pass()
    assert [(row.status, row.active) for row in broker_rows(desk)] == [("cancelled", True)]

    for level in ("broker", "contract"):
        refused = ask(desk, "delete_order", level=level, order_id=1)
        assert (refused.status, "1-1-t" in refused.answer) == ("refused", True)
    refused = ask(desk, "fill_by_hand", contract_order=1, contract="20240400", quantity=1, price=2000.0)
    assert (refused.status, "fate of order 1-1-t is not known" in refused.answer) == ("refused", True)


@pytest.mark.parametrize("order_ref", ["1-1-t", ""])
def test_what_a_person_filled_by_hand_is_not_left_working_at_the_broker(desk, odd, caplog, order_ref):
    rest_far_away(desk)
    engine = handler(desk)
    live(desk, engine, minutes=1)
    done = ask(
        desk, "fill_by_hand", contract_order=1, contract="20240400", quantity=1, price=2000.0, order_ref=order_ref,
        override="the floor says so",
    )  # fmt: skip
    assert done.status == "done"

    live(desk, engine, minutes=4)

    assert odd.open_orders() == []
    what = "is filled in our books and works at the broker" if order_ref else "could trade more than is wanted"
    assert len(alerts(caplog, what)) == 1


# --- the engine, come what may ---


def test_a_large_order_in_a_deep_market_is_worked_off_in_one_moment(desk, odd, monkeypatch):
    monkeypatch.setattr(stack_handler, "MAX_PASSES", 10)
    quote, matched = odd.real._market.quote, []

    def deep(contract, moment):
        found = quote(contract, moment)
        matched.append(contract)
        return None if found is None else replace(found, bid_size=9000, ask_size=9000)

    odd.real._market.quote = deep
    desk.order("GOLD", 30, order_type="market")
    began = desk.desk.clock.now()

    result = desk.work(minutes=20)

    assert desk.positions() == {"GOLD/20240400": 30}
    assert {each.filled_at for each in odd.real.fills_since(None)} == {began}
    assert stack_handler.RESTLESS not in result.counts


def test_what_undoes_itself_for_ever_is_told_once_and_time_goes_on(desk, odd, monkeypatch, caplog):
    monkeypatch.setattr(stack_handler, "MAX_PASSES", 5)
    monkeypatch.setattr(StackHandler, "one_pass", lambda self, *, paused=False: 1)
    rest_far_away(desk)

    result = desk.work(minutes=20)

    assert len(alerts(caplog, "does not come to rest")) == 1
    assert result.counts[stack_handler.RESTLESS] >= 1


@pytest.mark.parametrize("when", ["end of day", "its time is over"])
def test_a_cancel_without_an_answer_is_noted_and_the_rest_is_done(desk, odd, when):
    def cancel(ref):
        odd.calls["cancel"] += 1
        raise OutcomeUnknown("nothing was heard")

    odd.cancel = cancel
    odd.stuck = True
    desk.order("GOLD", 1)
    engine = handler(desk)
    live(desk, engine, minutes=1)
    odd.stuck = False
    other = desk.order("NIKKEI", 1, order_type="market")
    if when == "its time is over":
        live(desk, engine, minutes=15)
    engine.take_down()

    row = broker_rows(desk)[0]
    assert (row.cancel_requested_at is not None, "no answer to the cancel" in row.algo_comment) == (True, True)
    assert odd.calls["cancel"] == 7 + (when != "end of day")  # the day asks while it waits for an answer
    assert engine.result.faults == {}
    assert engine.result.unresolved == ["1-1-t"]
    assert stack.order(desk, other).id not in [each.id for each in stack.stack(desk)]


def cancels_fail_first(odd, count: int, error: Exception) -> list[str]:
    """The first `count` cancels fail; the references asked for, as they come."""
    times = []

    def cancel(ref):
        times.append(ref)
        if len(times) <= count:
            raise error
        odd.real.cancel(ref)

    odd.cancel = cancel
    return times


def test_a_cancel_that_could_not_be_asked_at_the_end_of_the_day_is_asked_again(desk, odd):
    rest_far_away(desk)
    engine = handler(desk)
    live(desk, engine, minutes=1)
    cancels_fail_first(odd, 1, BrokerUnavailable("the line is down"))
    engine.take_down()

    assert odd.open_orders() == []
    assert engine.result.unresolved == []


@pytest.mark.parametrize("unanswered", [1, 3])
def test_a_cancel_without_an_answer_is_asked_for_again_at_the_end_of_the_day(desk, odd, unanswered):
    """The first time by a person, hours before; until it is answered the order works at the broker."""
    rest_far_away(desk)
    engine = handler(desk)
    live(desk, engine, minutes=1)
    times = cancels_fail_first(odd, unanswered, OutcomeUnknown("nothing was heard"))
    ask(desk, "cancel_broker_order", order_ref="1-1-t")
    live(desk, engine, minutes=5)
    first = broker_rows(desk)[0].cancel_requested_at
    engine.take_down()

    assert (len(times), odd.open_orders(), engine.result.unresolved) == (unanswered + 1, [], [])
    assert broker_rows(desk)[0].cancel_requested_at == first


def a_lease(desk) -> TradingLease:
    """The right to trade, on the desk's clock: so that its time passes with the story."""
    lease = TradingLease(desk.desk.store, "engine:PAPER-1", this_process("story"), desk.desk.clock)
    with desk.desk.store.write() as unit:
        unit.runs.claim(lease.name, lease.holder, desk.desk.clock.now(), LEASE_LASTS)
        unit.commit()
    return lease


def test_the_lease_is_kept_while_the_end_of_the_day_waits(desk, odd):
    odd.ignores_cancels = True
    lease = a_lease(desk)
    rest_far_away(desk)
    engine = StackHandler(desk.desk, desk.desk.clock.now() + timedelta(hours=4), lease)
    live(desk, engine, minutes=1)

    engine.take_down()

    with desk.desk.store.read() as unit:
        stored = unit.runs.lease(lease.name)
    assert stored.expires_at - desk.desk.clock.now() >= LEASE_LASTS - timedelta(seconds=11)


def test_whoever_has_lost_the_lease_ends_no_family(desk, odd):
    lease = a_lease(desk)
    rest_far_away(desk)
    engine = StackHandler(desk.desk, desk.desk.clock.now() + timedelta(hours=4), lease)
    with desk.desk.store.write() as unit:
        unit.runs.release(lease.name, lease.holder)
        unit.commit()

    with pytest.raises(LeaseLost):
        engine.take_down()
    assert len(stack.stack(desk)) == 1


@pytest.mark.parametrize("held_back", ["kill switch", "pause"])
def test_what_has_waited_too_long_is_cancelled_though_nothing_may_be_sent(desk, odd, held_back):
    odd.stuck = True
    desk.order("GOLD", 1)
    engine = handler(desk)
    live(desk, engine, minutes=2)
    if held_back == "kill switch":
        ask(desk, "engage_kill_switch")

    live(desk, engine, minutes=20, paused=held_back == "pause")

    assert odd.calls["cancel"] == 1
    assert odd.calls["submit"] == 1


def test_a_move_that_was_made_is_written_down_though_the_next_order_fails(desk, odd):
    desk.order("GOLD", 1)
    desk.order("NIKKEI", 1)
    engine = handler(desk)
    for _ in range(3):
        engine.one_pass()
    working = {row.instrument for row in broker_rows(desk) if row.active}
    quote, asked = odd.quote, []

    def of_one_only(contract):
        asked.append(contract.instrument)
        if contract.instrument != asked[0]:
            raise BrokerUnavailable("no quote")
        return quote(contract)

    odd.quote = of_one_only
    desk.desk.clock.sleep_until(desk.desk.clock.now() + timedelta(minutes=6))
    engine.one_pass()
    assert (working, odd.calls["modify_limit"]) == ({"GOLD", "NIKKEI"}, 1)

    (moved,) = [row for row in broker_rows(desk) if row.instrument == asked[0]]
    assert moved.algo_state["changes"] == 1


def test_the_account_of_the_first_connection_is_the_one_for_good(desk):
    with desk.desk.store.write() as unit:
        unit.runs.put_environment(Environment("production", "paper", "USD", world.NOON))
        unit.commit()

    desk.work(minutes=1)

    with desk.desk.store.read() as unit:
        assert unit.runs.environment().account == "PAPER-1"


# --- the last moment before the wire ---


def an_order_written_and_not_sent(desk, odd):
    """The process stops between the commit and the wire."""

    def freeze(ticket):
        raise KeyboardInterrupt

    odd.submit = freeze
    rest_far_away(desk)
    engine = handler(desk)
    with pytest.raises(KeyboardInterrupt):
        live(desk, engine, minutes=1)
    del odd.submit
    desk.desk.clock.sleep_until(desk.desk.clock.now() + timedelta(seconds=61))
    with desk.desk.store.read() as unit:
        return unit.orders.broker_order_by_ref("1-1-t")


def test_a_process_that_wakes_up_after_its_order_was_replaced_sends_nothing(desk, odd):
    order = an_order_written_and_not_sent(desk, odd)
    live(desk, handler(desk), minutes=3)
    assert [each.order_ref for each in odd.open_orders()] == ["1-2-t"]

    submit(wired(desk.desk, claim_trading(desk.desk.store, "PAPER-1")), order)

    assert [each.order_ref for each in odd.open_orders()] == ["1-2-t"]


def test_an_order_is_not_sent_long_after_it_was_written(desk, odd):
    order = an_order_written_and_not_sent(desk, odd)
    desk.desk.clock.sleep_until(desk.desk.clock.now() + SEND_WITHIN)

    assert submit(wired(desk.desk, claim_trading(desk.desk.store, "PAPER-1")), order) is False

    assert odd.open_orders() == []
    assert [(row.status, row.submitted_at) for row in broker_rows(desk)] == [("cancelled", None)]


def test_whoever_was_frozen_looks_again_before_sending(desk, odd):
    """Its clock jumps while it looks; meanwhile the kill switch was engaged."""
    order = an_order_written_and_not_sent(desk, odd)
    lease = claim_trading(desk.desk.store, "PAPER-1")

    class Frozen:
        def __init__(self):
            self.looks = 0

        def now(self):
            self.looks += 1
            if self.looks == 2:
                ask(desk, "engage_kill_switch")
            return world.NOON + timedelta(minutes=self.looks)

    lease.clock = Frozen()
    with pytest.raises(TradingStopped):
        submit(wired(desk.desk, lease), order)
    assert odd.open_orders() == []


# --- old quotes ---


def test_a_quote_nobody_has_renewed_for_minutes_is_none(desk, odd):
    frozen = odd.real.quote(world.GOLD_APR)
    odd.quote = lambda contract: frozen
    desk.desk.clock.sleep_until(desk.desk.clock.now() + timedelta(minutes=10))
    desk.order("GOLD", 1)

    desk.work(minutes=10)

    assert broker_rows(desk) == []
    with desk.desk.store.read() as unit:
        (order,) = unit.connection.execute(select(schema.contract_orders)).all()
    assert "no_quote" in order.note
