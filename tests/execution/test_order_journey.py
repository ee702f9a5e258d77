"""Orders from the instrument stack to the broker and back, as a trader would tell it."""

from datetime import timedelta
from decimal import Decimal

import pytest

from pysys.domain.limits import within_limits
from pysys.domain.orders import Fill
from pysys.domain.overrides import Override
from pysys.domain.roll_states import RollState
from pysys.execution.fates import resolve_fates
from pysys.execution.fills import record_fills
from pysys.execution.generation import generate_orders
from pysys.execution.stack_handler import pull_fills
from pysys.execution.stack_methods import StackHandler
from tests.broker import paper_world as world


def test_an_order_becomes_a_position_at_the_broker_in_the_contract_and_in_the_strategy(trading):
    trading.order("GOLD", 3)

    result = trading.work(hours=2)

    assert trading.positions() == {"GOLD/20240400": 3}
    assert trading.strategy_positions() == {("trend", "GOLD"): 3}
    trading.assert_in_balance()
    result.raise_if_incomplete()
    with trading.desk.store.read() as unit:
        assert unit.orders.active_instrument_orders() == []
        assert unit.orders.active_contract_orders() == []


def test_orders_of_two_strategies_in_several_currencies_all_trade(trading):
    trading.order("GOLD", -2)
    trading.order("BUND", 4, strategy="carry")
    trading.order("NIKKEI", 1)

    trading.work(hours=4)

    assert trading.strategy_positions() == {("trend", "GOLD"): -2, ("carry", "BUND"): 4, ("trend", "NIKKEI"): 1}
    trading.assert_in_balance()


def test_hearing_every_fill_again_changes_nothing(trading):
    trading.order("GOLD", 3)
    trading.work(hours=2)
    before = trading.positions(), trading.strategy_positions()

    again = record_fills(trading.desk.store, trading.desk.broker.fills_since(None), trading.desk.clock.now())

    assert again == []
    assert (trading.positions(), trading.strategy_positions()) == before


def test_a_fill_that_arrives_after_the_family_was_closed_still_lands(trading):
    trading.order("GOLD", 2)
    trading.work(hours=2)
    with trading.desk.store.read() as unit:
        first = unit.orders.broker_order_by_ref("1-1-t")
    late = Fill("paper", "late-1", first.order_ref, world.GOLD_APR, 1, 2101.0, trading.desk.clock.now(), 2.0, "USD")

    assert record_fills(trading.desk.store, [late], trading.desk.clock.now()) == [late]

    assert trading.positions() == {"GOLD/20240400": 3}
    assert trading.strategy_positions() == {("trend", "GOLD"): 3}


def test_a_commission_that_comes_later_is_added_and_nothing_else_moves(trading):
    trading.order("GOLD", 1)
    trading.work(hours=2)
    moment = trading.desk.clock.now()
    silent = Fill("paper", "x", "1-1-t", world.GOLD_APR, 1, 2100.0, moment)
    told = Fill("paper", "x", "1-1-t", world.GOLD_APR, 1, 2100.0, moment, 2.0, "USD")
    record_fills(trading.desk.store, [silent], moment)
    before = trading.positions()

    assert record_fills(trading.desk.store, [told], moment) == []

    assert trading.positions() == before
    with trading.desk.store.read() as unit:
        rows = unit.positions.fills_of_order(unit.orders.broker_order_by_ref("1-1-t").id)
    assert [row.commission for row in rows if row.execution_id == "x"] == [2.0]


def test_a_forced_roll_moves_the_position_forward_and_not_the_strategy(trading):
    trading.order("GOLD", 3)
    trading.work(hours=1)
    trading.roll_state("GOLD", RollState.FORCE)

    trading.work(hours=3)

    assert trading.positions() == {"GOLD/20240600": 3}
    assert trading.strategy_positions() == {("trend", "GOLD"): 3}
    trading.assert_in_balance()


def test_a_roll_in_legs_closes_before_it_opens(trading):
    trading.order("GOLD", 2)
    trading.work(hours=1)
    trading.roll_state("GOLD", RollState.FORCE_OUTRIGHT)

    trading.work(hours=3)

    fills = [fill for fill in trading.desk.broker.fills_since(None) if not fill.order_ref.startswith("1-")]
    assert [fill.contract.date for fill in fills] == ["20240400", "20240600", "20240400", "20240600"]  # lot by lot
    assert trading.positions() == {"GOLD/20240600": 2}
    trading.assert_in_balance()


def test_a_passive_roll_closes_in_the_priced_contract_and_opens_in_the_forward_one(trading):
    trading.order("GOLD", -2)
    trading.work(hours=1)
    trading.roll_state("GOLD", RollState.PASSIVE)
    trading.order("GOLD", 5)

    trading.work(hours=3)

    assert trading.positions() == {"GOLD/20240600": 3}
    assert trading.strategy_positions() == {("trend", "GOLD"): 3}
    trading.assert_in_balance()


def test_what_is_not_filled_by_the_end_of_the_day_is_cancelled_and_the_stacks_are_empty(trading):
    trading.order("GOLD", 500)

    trading.work(minutes=5)

    trading.assert_in_balance()
    held = trading.positions().get("GOLD/20240400", 0)
    assert 0 < held < 500
    with trading.desk.store.read() as unit:
        assert not unit.orders.active_instrument_orders()
        assert not unit.orders.active_broker_orders()
    assert trading.desk.broker.working_orders() == []


def test_nothing_is_sent_while_the_market_is_closed(trading):
    trading.desk.clock.sleep_until(world.MONDAY + timedelta(hours=18))
    trading.order("GOLD", 1)

    result = trading.work(hours=2)

    assert result.counts["broker_orders"] == 0
    assert trading.desk.broker.fills_since(None) == []


@pytest.mark.parametrize(
    ("hour", "locks", "says"),
    [
        (18, (), "closed"),
        (12, ("GOLD",), "locked: GOLD, person: the news"),
        (18, ("GOLD",), "closed"),
        (12, ("NIKKEI",), ""),
    ],
)
def test_an_order_that_is_not_worked_says_why_and_says_it_no_more_when_it_is(trading_on_sqlite, hour, locks, says):
    trading = trading_on_sqlite
    trading.desk.clock.sleep_until(world.MONDAY + timedelta(hours=hour))
    trading.order("GOLD", 400)
    handler = StackHandler(trading.desk, world.MONDAY + timedelta(days=2))
    handler.spawn_children()
    with trading.desk.store.write() as unit:
        for code in locks:
            unit.restrictions.lock(code, "person", at=trading.desk.clock.now(), who="rob", why="the news")
        unit.commit()

    handler.one_pass()

    def note() -> str:
        with trading.desk.store.read() as unit:
            return unit.orders.contract_order(1).note

    assert note() == says
    with trading.desk.store.write() as unit:
        for code in locks:
            unit.restrictions.unlock(code)
        unit.commit()
    trading.desk.clock.sleep_until(world.MONDAY + timedelta(days=1, hours=12))
    StackHandler(trading.desk, world.MONDAY + timedelta(days=2)).one_pass()
    assert note() == ""
    assert bool(trading.desk.broker.working_orders()) == bool(says)  # the one already sent ended with its day


def test_a_position_that_differs_from_the_brokers_locks_the_instrument_and_only_that_one(trading):
    now = trading.desk.clock.now()
    with trading.desk.store.write() as unit:
        unit.positions.move_contract(world.GOLD_APR, 1, at=now, fill_id=None, reason="a mistake")
        unit.commit()
    trading.order("GOLD", 2)
    trading.order("NIKKEI", 1)

    result = trading.work(hours=1)

    assert trading.broker_positions() == {"NIKKEI/20240600": 1}
    assert set(result.breaks) == {"GOLD"}
    with pytest.raises(Exception, match="GOLD 20240400: database \\+1, broker \\+0"):
        result.raise_if_incomplete()


def test_the_lock_lifts_by_itself_when_the_positions_agree_again(trading):
    now = trading.desk.clock.now()
    with trading.desk.store.write() as unit:
        unit.positions.move_contract(world.GOLD_APR, 1, at=now, fill_id=None, reason="a mistake")
        unit.commit()
    trading.work(minutes=5)
    with trading.desk.store.write() as unit:
        unit.positions.move_contract(world.GOLD_APR, -1, at=now, fill_id=None, reason="put right")
        unit.commit()
    trading.order("GOLD", 1)

    trading.work(hours=1)

    assert trading.positions() == {"GOLD/20240400": 1}


def test_an_order_written_down_but_never_sent_is_sent_once_after_a_crash(trading, monkeypatch):
    trading.order("GOLD", 1)
    monkeypatch.setattr(type(trading.desk.broker), "submit", _dies)
    with pytest.raises(KeyboardInterrupt):
        trading.work(minutes=30)
    monkeypatch.undo()

    trading.work(hours=1)

    assert trading.positions() == {"GOLD/20240400": 1}
    assert len({fill.order_ref for fill in trading.desk.broker.fills_since(None)}) == 1
    trading.assert_in_balance()


def test_an_order_that_was_sent_before_the_crash_is_not_sent_again(trading, monkeypatch):
    trading.order("GOLD", 1)
    submit = type(trading.desk.broker).submit

    def sends_and_dies(self, ticket):
        submit(self, ticket)
        raise KeyboardInterrupt

    monkeypatch.setattr(type(trading.desk.broker), "submit", sends_and_dies)
    with pytest.raises(KeyboardInterrupt):
        trading.work(minutes=30)
    monkeypatch.undo()

    trading.work(hours=1)

    assert trading.positions() == {"GOLD/20240400": 1}
    assert trading.broker_positions() == {"GOLD/20240400": 1}


def _dies(self, ticket):
    raise KeyboardInterrupt


def test_an_old_intention_the_broker_never_saw_is_not_sent_hours_later(trading, monkeypatch):
    trading.order("GOLD", 1)
    monkeypatch.setattr(type(trading.desk.broker), "submit", _dies)
    with pytest.raises(KeyboardInterrupt):
        trading.work(minutes=30)
    monkeypatch.undo()
    trading.desk.clock.sleep_until(trading.desk.clock.now() + timedelta(hours=2))

    resolve_fates(trading.desk)

    assert trading.desk.broker.fills_since(None) == []
    with trading.desk.store.read() as unit:
        assert unit.orders.broker_order_by_ref("1-1-t").status == "cancelled"


def test_the_spread_of_a_roll_is_booked_leg_by_leg_at_the_spread_price(trading):
    trading.order("GOLD", 1)
    trading.work(hours=1)
    trading.roll_state("GOLD", RollState.FORCE)
    trading.work(hours=3)

    with trading.desk.store.read() as unit:
        order = unit.orders.broker_order_by_ref("2-1-t")
        rows = unit.positions.fills_of_order(order.id)
    assert [(row.contract, row.quantity) for row in rows] == [("20240400", -1), ("20240600", 1)]
    assert order.limit_price is None or order.limit_price == order.limit_price.quantize(Decimal("0.1"))


def test_orders_are_generated_into_the_buffer_once(trading):
    trading.want("GOLD", 2.6, 4.4)

    first = generate_orders(trading.desk, ["trend"])
    second = generate_orders(trading.desk, ["trend"])
    trading.work(hours=2)
    third = generate_orders(trading.desk, ["trend"])

    assert [decision.trade for decision in first.decisions] == [3]
    assert [decision.trade for decision in second.decisions] == [0]  # what is on the stack counts as traded
    assert [decision.trade for decision in third.decisions] == [0]
    assert trading.positions() == {"GOLD/20240400": 3}


def test_an_instrument_that_left_the_strategy_is_held_and_said_so(trading):
    trading.order("NIKKEI", 2)
    trading.work(hours=2)
    trading.want("GOLD", 0.6, 1.4)

    decisions = {decision.instrument: decision for decision in generate_orders(trading.desk, ["trend"]).decisions}

    assert decisions["NIKKEI"].trade == 0
    assert "not in the strategy any more" in decisions["NIKKEI"].note
    assert decisions["GOLD"].trade == 1


def test_a_target_older_than_a_session_opens_nothing(trading):
    trading.want("GOLD", 2.6, 4.4)
    trading.desk.clock.sleep_until(world.NOON + timedelta(days=2))

    (decision,) = generate_orders(trading.desk, ["trend"]).decisions

    assert decision.trade == 0
    assert "older than one session" in decision.note


@pytest.mark.parametrize(
    ("override", "limits", "trade"),
    [
        (None, {}, 6),
        (Override("factor", 0.5), {}, 3),
        (Override("no_trading"), {}, 0),
        (None, {("trend", "GOLD"): 4}, 4),
        (None, {("", "GOLD"): 2}, 2),
        (Override("factor", 0.5), {("trend", "GOLD"): 5, ("", "GOLD"): 1}, 1),
    ],
)
def test_overrides_and_limits_hold_an_order_back(trading_on_sqlite, override, limits, trade):
    trading = trading_on_sqlite
    now = trading.desk.clock.now()
    with trading.desk.store.write() as unit:
        if override is not None:
            unit.restrictions.set_override("", "GOLD", override, at=now, who="tester", why="story")
        for (strategy, instrument), limit in limits.items():
            unit.restrictions.set_position_limit(strategy, instrument, limit, who="tester", why="story")
        unit.commit()
    trading.want("GOLD", 5.6, 6.4)

    (decision,) = generate_orders(trading.desk, ["trend"]).decisions

    assert decision.trade == trade


def test_a_position_beyond_its_limit_is_cut_back_though_the_strategy_is_content(trading_on_sqlite):
    trading = trading_on_sqlite
    trading.order("GOLD", 3)
    trading.work(hours=2)
    with trading.desk.store.write() as unit:
        unit.restrictions.set_position_limit("", "GOLD", 0, who="tester", why="no more gold")
        unit.commit()
    trading.want("GOLD", 2.6, 4.4)

    (decision,) = generate_orders(trading.desk, ["trend"]).decisions

    assert decision.trade == -3
    assert within_limits(3, 0, []) == 0


def test_fills_are_pulled_even_when_nobody_told_of_them(trading):
    trading.order("GOLD", 1)
    with trading.desk.store.write() as unit:
        from pysys.execution.spawning import spawn_contract_orders

        spawn_contract_orders(unit, trading.desk.config, trading.desk.clock.now())
        unit.commit()
    trading.desk.broker.submit(world.buy("elsewhere", (world.GOLD_APR, 2)))

    new = pull_fills(trading.desk, trading.desk.clock.now())

    assert new >= 1
    assert trading.positions() == trading.broker_positions()  # a fill of no order of ours moves the contract
    assert trading.strategy_positions() == {}
