"""Limits, overrides and locks hold wherever an order is on its way, and for every leg of it."""

from dataclasses import replace
from datetime import timedelta

import pytest

from pysys.domain.conditions import Condition
from pysys.domain.instruments import Instrument
from pysys.domain.orders import InstrumentOrderType
from pysys.domain.overrides import Override
from pysys.domain.roll_states import RollState
from pysys.domain.targets import Branch, ConditionalTarget, SimpleTarget
from pysys.execution.generation import generate_orders
from pysys.execution.stack_methods import StackHandler
from tests.broker import paper_world as world
from tests.execution import stack
from tests.execution.odd_broker import OddBroker
from tests.execution.test_interventions import Person

APR, JUN = world.GOLD_APR.date, world.GOLD_JUN.date
SPREADS = {
    "BUND_GOLD": {"legs": [{"instrument": "BUND", "ratio": 1}, {"instrument": "GOLD", "ratio": -1}]},
    "GOLD_CAL": {"legs": [{"instrument": "GOLD", "ratio": 1}, {"instrument": "GOLD", "ratio": -1, "chain": 1}]},
}


@pytest.fixture
def desk(trading_on_sqlite):
    stack.configure(trading_on_sqlite, default_algo="market")
    return trading_on_sqlite


@pytest.fixture
def person(desk):
    return Person(desk)


@pytest.fixture
def spreads(desk):
    """The same desk, which trades spreads too."""
    stack.configure(desk, spread_instruments=SPREADS)
    with desk.desk.store.write() as unit:
        for code in SPREADS:
            unit.markets.put_instrument(Instrument(code, "", "USD", 100.0, "Spread", tick_size=0.1))
        unit.commit()
    return desk


def engine(desk) -> StackHandler:
    return StackHandler(desk.desk, desk.desk.clock.now() + timedelta(hours=4))


def watch(desk, handler: StackHandler, minutes: int) -> None:
    """Let the engine work without ending the day."""
    for _ in range(minutes):
        for _ in range(4):
            handler.one_pass()
        desk.desk.clock.sleep_until(desk.desk.clock.now() + timedelta(minutes=1))


def brake(desk, kind: str, instrument: str = "GOLD", strategy: str = "", factor: float = 1.0) -> None:
    with desk.desk.store.write() as unit:
        override, now = Override(kind, factor), desk.desk.clock.now()
        unit.restrictions.set_override(strategy, instrument, override, at=now, who="rob", why="careful")
        unit.commit()


def notes(desk) -> list[str]:
    with desk.desk.store.read() as unit:
        return [order.note for order in unit.orders.active_contract_orders()]


def sent(desk) -> list[tuple[int, ...]]:
    """Legs of every broker order there was."""
    with desk.desk.store.read() as unit:
        rows = unit.connection.exec_driver_sql("SELECT order_id, trade FROM broker_order_legs ORDER BY order_id, leg")
        found: dict[int, list[int]] = {}
        for order_id, trade in rows:
            found.setdefault(order_id, []).append(trade)
        return [tuple(legs) for legs in found.values()]


# --- overrides ---


@pytest.mark.parametrize("spawned", [False, True])
@pytest.mark.parametrize(
    ("kind", "factor", "held", "trade", "left"),
    [
        ("no_trading", 1.0, 0, 3, 0),
        ("no_trading", 1.0, 3, -3, 3),
        ("reduce_only", 1.0, 0, 3, 0),
        ("reduce_only", 1.0, 3, -5, 0),  # to zero and not through it
        ("close", 1.0, -3, -1, -3),
        ("close", 1.0, -3, 2, -1),
        ("factor", 0.0, 3, 1, 3),
        ("factor", 0.5, 0, 2, 2),  # had its say when the order was made
    ],
)
@pytest.mark.incident("E10")
def test_an_override_set_while_an_order_is_on_its_way_holds_it(desk, spawned, kind, factor, held, trade, left):
    if held:
        desk.order("GOLD", held, order_type="market")
        desk.work(minutes=10)
    desk.order("GOLD", trade)
    if spawned:
        stack.spawn(desk)
    brake(desk, kind, factor=factor)

    watch(desk, engine(desk), 12)

    assert desk.strategy_positions().get(("trend", "GOLD"), 0) == left
    desk.assert_in_balance()


def test_an_override_of_another_strategy_or_market_holds_nothing(desk):
    desk.order("GOLD", 1)
    brake(desk, "no_trading", strategy="carry")
    brake(desk, "no_trading", instrument="NIKKEI")

    desk.work(minutes=10)

    assert desk.positions() == {f"GOLD/{APR}": 1}


def test_no_trading_holds_a_roll_and_a_person_is_told_once(desk, caplog):
    desk.order("GOLD", 1)
    desk.work(minutes=10)
    desk.roll_state("GOLD", RollState.FORCE)
    brake(desk, "no_trading")

    watch(desk, engine(desk), 3)

    assert desk.positions() == {f"GOLD/{APR}": 1}
    assert notes(desk) == ["needs_operator: override: no trading of every strategy in GOLD"]
    assert sum("needs_operator" in record.message for record in caplog.records) == 1


def test_reduce_only_lets_a_roll_pass_and_a_close_finish(desk):
    for strategy, trade in (("trend", 3), ("carry", 2)):
        desk.order("GOLD", trade, strategy)
    desk.work(minutes=30)
    brake(desk, "reduce_only")
    desk.roll_state("GOLD", RollState.FORCE)
    desk.work(minutes=30)
    assert desk.positions() == {f"GOLD/{JUN}": 5}

    desk.roll_state("GOLD", RollState.CLOSE)
    desk.work(minutes=30)

    assert desk.positions() == {}


def test_a_manual_order_against_an_override_is_refused_or_goes_ahead_and_says_so(desk, person):
    brake(desk, "no_trading")
    order = {"strategy": "trend", "instrument": "GOLD", "trade": 1}

    assert "does not let +1 through" in person.is_refused("manual_order", **order)
    person.gets("manual_order", **order, override="I know what I do")
    desk.work(minutes=10)

    assert desk.positions() == {f"GOLD/{APR}": 1}
    with desk.desk.store.read() as unit:
        comment = unit.connection.exec_driver_sql("SELECT algo_comment FROM broker_orders").scalar()
    assert "exempt from overrides and position limits, by rob: a story; overridden: I know what I do" in comment


def test_what_must_not_be_traded_stays_beyond_its_limit_and_that_is_said(desk):
    desk.order("GOLD", 4)
    desk.work(minutes=30)
    desk.want("GOLD", 3.6, 4.4)
    brake(desk, "no_trading")
    stack.limit(desk, "GOLD", 1)

    desk.work(minutes=30)
    decisions = generate_orders(desk.desk, ["trend"]).decisions

    assert desk.positions() == {f"GOLD/{APR}": 4}
    assert [d.trade for d in decisions] == [0, 0]
    assert "beyond its limit, and no trading is allowed" in decisions[-1].note


def test_what_a_person_lets_break_an_override_is_held_to_one_set_later(desk, person):
    stack.limit(desk, "GOLD", 1)
    person.gets("manual_order", strategy="trend", instrument="GOLD", trade=4, override="I want 4")
    engine(desk).one_pass()
    desk.desk.clock.sleep_until(desk.desk.clock.now() + timedelta(seconds=1))
    person.gets("set_override", kind="no_trading", instrument="GOLD")

    watch(desk, engine(desk), 10)

    assert sent(desk) == [(1,)]
    assert "no trading" in notes(desk)[0]


@pytest.mark.parametrize("conditional", [False, True])
def test_a_factor_is_applied_once(desk, conditional):
    brake(desk, "factor", factor=0.5)
    now = desk.desk.clock.now()
    below = Branch(Condition("below", 5000.0, APR), 8)
    simple, waiting = SimpleTarget("trend", "GOLD", now, 8), ConditionalTarget("trend", "GOLD", now, (below,))
    stack.want(desk, waiting if conditional else simple)
    generate_orders(desk.desk, ["trend"])

    watch(desk, engine(desk), 10)

    assert desk.strategy_positions() == {("trend", "GOLD"): 4}


def test_a_condition_that_comes_opens_nothing_beside_what_closes_already_under_reduce_only(desk, person):
    stack.hold(desk, {world.GOLD_APR: 3})
    desk.order("GOLD", -3)
    stack.spawn(desk)
    brake(desk, "reduce_only")
    waits = stack.place(desk, "GOLD", -2, condition=Condition("below", 5000.0, APR))

    stack.spawn(desk, {("GOLD", APR): 2100.0})

    assert len(stack.stack(desk)) == 1
    assert stack.order(desk, waits).note == "override reduce only: -2 became +0"


@pytest.mark.parametrize(("most", "left"), [(99, 3), (7, 2)])
def test_a_conditional_order_crossed_in_part_keeps_its_size_while_it_waits(desk, person, most, left):
    person.gets("manual_order", strategy="trend", instrument="GOLD", trade=3)
    handler = engine(desk)
    handler.one_pass()
    now, terms = desk.desk.clock.now(), {"reference_price": 2100.0, "reference_contract": APR}
    waits = stack.place(desk, "GOLD", 5, condition=Condition("below", 5000.0, APR), reference_time=now, **terms)
    stack.place(desk, "GOLD", -2, strategy="carry")

    handler.one_pass()
    stack.limit(desk, "GOLD", most, "trend")
    handler.one_pass()
    assert (stack.order(desk, waits).unfilled, stack.order(desk, waits).fill) == (left, 2)
    watch(desk, handler, 10)

    assert desk.strategy_positions() == {("trend", "GOLD"): 5 + left, ("carry", "GOLD"): -2}
    desk.assert_in_balance()


# --- position limits ---


def test_what_a_person_lets_break_a_limit_is_held_to_one_set_later(desk, person):
    stack.limit(desk, "GOLD", 1)
    person.gets("manual_order", strategy="trend", instrument="GOLD", trade=4, override="I want 4")
    engine(desk).one_pass()
    person.gets("set_position_limit", instrument="GOLD", limit=2)

    watch(desk, engine(desk), 10)

    assert (sent(desk), desk.strategy_positions()) == ([(1,), (1,)], {("trend", "GOLD"): 2})


def test_nothing_is_sold_to_keep_a_limit_before_anything_is_bought(desk, person):
    order_id = stack.place(desk, "GOLD", 5)
    person.gets("lock_order", level="instrument", order_id=order_id)
    person.gets("set_position_limit", instrument="GOLD", limit=2)

    watch(desk, engine(desk), 3)
    assert (sent(desk), stack.stack(desk)[1].waits_for) == ([], "nothing is held beyond the limit yet")

    person.gets("unlock_order", level="instrument", order_id=order_id)
    watch(desk, engine(desk), 10)
    assert desk.strategy_positions() == {("trend", "GOLD"): 2}


def test_what_a_person_orders_beyond_a_limit_stays_and_no_strategy_follows(desk, person):
    desk.order("GOLD", 1)
    desk.work(minutes=10)
    person.gets("set_position_limit", instrument="GOLD", limit=1)
    person.gets("manual_order", strategy="trend", instrument="GOLD", trade=1, override="just this once")

    desk.work(minutes=30)
    assert desk.strategy_positions() == {("trend", "GOLD"): 2}

    desk.want("GOLD", 3.6, 4.4)  # a strategy gets nothing of the room
    (decision,) = generate_orders(desk.desk, ["trend"]).decisions
    assert decision.trade == 0

    desk.order("GOLD", -1)
    desk.work(minutes=10)
    desk.want("GOLD", 0.6, 1.4)
    generate_orders(desk.desk, ["trend"])  # back within it: the limit is what it was
    desk.order("GOLD", 1, order_type="panic")
    desk.work(minutes=30)
    assert desk.strategy_positions() == {("trend", "GOLD"): 1}


def test_a_new_limit_waives_nothing(desk, person):
    desk.order("GOLD", 1)
    desk.work(minutes=10)
    person.gets("set_position_limit", instrument="GOLD", limit=1)
    person.gets("manual_order", strategy="trend", instrument="GOLD", trade=1, override="just this once")
    desk.work(minutes=10)

    person.gets("set_position_limit", instrument="GOLD", limit=1)
    desk.work(minutes=20)

    assert desk.positions() == {f"GOLD/{APR}": 1}


@pytest.mark.parametrize(
    ("restrict", "reason"),
    [
        (lambda unit, now: unit.restrictions.set_position_limit("", "GOLD", 1, who="t", why="w"), "position_limit"),
        (lambda unit, now: unit.restrictions.set_position_limit("rv", "BUND_GOLD", 2, who="t", why="w"), "position_"),
        (
            lambda unit, now: unit.restrictions.set_override(
                "", "GOLD", Override("no_trading"), at=now, who="", why=""
            ),
            "override",
        ),
        (
            lambda unit, now: unit.restrictions.set_override("", "GOLD", Override("close"), at=now, who="", why=""),
            "override",
        ),
        (lambda unit, now: unit.trade_limits.set("", "GOLD", 1, 2, at=now), "trade_limit"),
        (lambda unit, now: unit.trade_limits.set("", "BUND_GOLD", 1, 5, at=now), "trade_limit: 0 of 5 contracts"),
        (lambda unit, now: unit.trade_limits.set("rv", "BUND_GOLD", 30, 0, at=now), "trade_limit"),
    ],
)
def test_what_holds_one_leg_or_the_whole_spread_holds_every_leg(spreads, restrict, reason):
    desk = spreads
    desk.order("BUND_GOLD", 3, "rv")
    stack.spawn(desk)
    with desk.desk.store.write() as unit:
        restrict(unit, desk.desk.clock.now())
        unit.commit()

    watch(desk, engine(desk), 3)

    assert desk.positions() == {}
    assert len(notes(desk)) == 2 and all(note.startswith(reason) for note in notes(desk))


def test_a_spread_trades_within_its_limits_and_counts_each_leg_once(spreads):
    desk = spreads
    now = desk.desk.clock.now()
    with desk.desk.store.write() as unit:
        for code, size in (("BUND_GOLD", 6), ("GOLD", 7), ("BUND", 3), ("GOLD_CAL", 4)):
            unit.trade_limits.set("", code, 1, size, at=now)
        unit.commit()
    stack.limit(desk, "GOLD", 3)
    desk.order("BUND_GOLD", 3, "rv")
    desk.work(minutes=30)
    desk.order("GOLD_CAL", 2, "rv")

    desk.work(minutes=30)

    assert desk.strategy_positions() == {("rv", "BUND_GOLD"): 3, ("rv", "GOLD_CAL"): 2}
    with desk.desk.store.read() as unit:
        used = {limit.instrument: limit.used for limit in unit.trade_limits.all(desk.desk.clock.now())}
    assert used == {"BUND_GOLD": 6, "GOLD": 7, "BUND": 3, "GOLD_CAL": 4}


def test_the_strategys_wish_for_a_spread_is_cut_to_what_its_legs_markets_allow(spreads):
    desk = spreads
    desk.order("GOLD", -1)
    desk.work(minutes=10)
    stack.limit(desk, "GOLD", 3)
    desk.want("BUND_GOLD", 5.0, 5.0, strategy="carry")

    (decision,) = generate_orders(desk.desk, ["carry"]).decisions

    assert decision.trade == 2
    assert decision.note == "position limit of GOLD: +5 became +2"


def test_a_market_beyond_its_limit_by_the_legs_of_a_spread_is_brought_back(spreads):
    desk = spreads
    desk.order("BUND_GOLD", 3, "rv")
    desk.order("GOLD", -1)
    desk.work(minutes=30)
    stack.limit(desk, "GOLD", 2)

    desk.work(minutes=30)

    assert desk.strategy_positions() == {("rv", "BUND_GOLD"): 1, ("trend", "GOLD"): -1}
    assert sum(held for contract, held in desk.positions().items() if contract.startswith("GOLD")) == -2


@pytest.mark.parametrize(
    ("held", "own", "everyone", "trade", "after"),
    [
        (5, 3, None, 0, 3),
        (2, 3, None, 2, 3),
        (5, 3, None, -9, -3),
        (5, None, 3, 0, 3),
        (5, 3, 2, -12, -2),  # the tightest wins on the far side too
        (-5, 2, 3, -1, -2),
        (2, 3, 3, -4, -2),
    ],
)
def test_position_limits_of_both_scopes_as_semantics_e6_has_them(desk, held, own, everyone, trade, after):
    desk.order("GOLD", held, order_type="panic")
    desk.work(minutes=30)
    for limit, strategy in ((own, "trend"), (everyone, "")):
        if limit is not None:
            stack.limit(desk, "GOLD", limit, strategy)
    desk.want("GOLD", held + trade, held + trade)
    generate_orders(desk.desk, ["trend"])

    desk.work(minutes=60)

    assert desk.strategy_positions() == {("trend", "GOLD"): after}
    desk.assert_in_balance()


def test_a_position_beyond_its_limit_is_cut_back_though_no_strategy_asks(desk):
    desk.order("GOLD", 5, "carry", order_type="panic")
    desk.work(minutes=30)
    stack.limit(desk, "GOLD", 3)

    desk.work(minutes=30)

    assert desk.strategy_positions() == {("carry", "GOLD"): 3}


# --- trade limits ---


@pytest.mark.parametrize(
    ("limits", "trade", "traded"),
    [
        ([("", 1, 3), ("trend", 30, 10)], 5, 3),  # the tightest of the keys
        ([("", 1, 31)], -60, -31),
        ([("carry", 1, 0)], 2, 2),  # of another strategy
        ([("trend", 1, 0)], 2, 0),
        ([("", 1, 0)], 2, 0),
    ],
)
def test_trade_limits_of_every_key_as_semantics_e6_has_them(desk, limits, trade, traded):
    with desk.desk.store.write() as unit:
        for strategy, days, size in limits:
            unit.trade_limits.set(strategy, "GOLD", days, size, at=desk.desk.clock.now())
        unit.commit()
    stack.place(desk, "GOLD", trade, order_type="limit", limit_price=2500 if trade > 0 else 1500, limit_contract=APR)

    desk.work(hours=1)

    assert sum(desk.positions().values()) == traded


def test_a_change_of_a_trade_limit_keeps_its_clock_and_a_reset_restarts_it(desk, person):
    start = desk.desk.clock.now()
    person.gets("set_trade_limit", instrument="GOLD", period_days=1, limit=3)
    desk.order("GOLD", 2)
    desk.work(minutes=30)
    later = desk.desk.clock.now()

    person.gets("set_trade_limit", instrument="GOLD", period_days=1, limit=7)
    with desk.desk.store.read() as unit:
        (changed,) = unit.trade_limits.all()
    desk.desk.clock.sleep_until(later + timedelta(minutes=1))
    person.gets("reset_trade_limit", instrument="GOLD", period_days=1)
    with desk.desk.store.read() as unit:
        (reset,) = unit.trade_limits.all()

    assert (changed.limit, changed.used, changed.reset_at) == (7, 2, start)
    assert (reset.limit, reset.used, reset.reset_at) == (7, 0, later + timedelta(minutes=1))


def test_an_order_that_rests_over_the_end_of_a_period_counts_in_the_next(desk):
    now = desk.desk.clock.now()
    with desk.desk.store.write() as unit:
        unit.trade_limits.set("", "GOLD", 1, 1, at=now - timedelta(hours=23, minutes=58))
        unit.commit()
    stack.place(desk, "GOLD", 1, order_type="limit", limit_price=2000, limit_contract=APR)
    handler = engine(desk)
    watch(desk, handler, 5)
    (ref,) = {ticket.order_ref for ticket, _ in desk.desk.broker.working_orders()}
    desk.desk.broker.modify_limit(ref, 2150)
    watch(desk, handler, 2)
    assert desk.positions() == {f"GOLD/{APR}": 1}

    desk.order("GOLD", 1, order_type="market")
    watch(desk, handler, 5)

    assert desk.positions() == {f"GOLD/{APR}": 1}
    assert notes(desk) == ["trade_limit: 1 of 1 contracts in 1 days used by every strategy"]


def test_a_reset_forgets_what_was_traded_and_not_what_still_may_be(desk, person):
    person.gets("set_trade_limit", instrument="GOLD", period_days=1, limit=3)
    desk.order("GOLD", 2)
    desk.work(minutes=10)
    stack.place(desk, "GOLD", 1, order_type="limit", limit_price=2000, limit_contract=APR)
    watch(desk, engine(desk), 2)

    person.gets("reset_trade_limit", instrument="GOLD", period_days=1)

    with desk.desk.store.read() as unit:
        assert [limit.used for limit in unit.trade_limits.all()] == [1]


# --- locks ---


def test_an_instrument_order_that_is_locked_sends_nothing_though_it_has_children(desk, person):
    desk.order("GOLD", 2)
    stack.spawn(desk)
    person.gets("lock_order", level="instrument", order_id=1)

    watch(desk, engine(desk), 3)
    assert (desk.positions(), notes(desk)) == ({}, ["locked: instrument order 1"])

    person.gets("unlock_order", level="instrument", order_id=1)
    desk.work(minutes=10)
    assert desk.positions() == {f"GOLD/{APR}": 2}


# --- stale inputs ---


def stale_desk(desk, what: str):
    """A desk whose strategy computed now, on an input of four days before."""
    start = desk.desk.clock.now()
    desk.desk.clock.sleep_until(start + timedelta(days=4))
    now = desk.desk.clock.now()
    with desk.desk.store.write() as unit:
        unit.targets.add_strategy_capital(start if what == "capital" else now, {"trend": 1e6})
        unit.commit()
    if what == "JPY rate":
        from pysys.domain.prices import PriceRows
        from pysys.store.prices import SeriesKey, SeriesKind

        with desk.desk.store.write() as unit:
            rows = PriceRows(world.fx()["JPY"].times[:1], world.fx()["JPY"].rates[:1])
            unit.prices.append(SeriesKey(SeriesKind.FX, "JPY"), rows)
            unit.commit()
    if what == "backtest":
        desk.desk.clock.sleep_until(start)
    return desk


@pytest.mark.parametrize("what", ["capital", "JPY rate"])
def test_old_capital_and_old_exchange_rates_open_nothing_and_close_what_is_held(desk, what):
    stale_desk(desk, what)
    desk.want("NIKKEI", 2.6, 3.4)

    (opening,) = generate_orders(desk.desk, ["trend"]).decisions
    desk.order("NIKKEI", 5)
    desk.work(minutes=30)
    (closing,) = generate_orders(desk.desk, ["trend"]).decisions

    assert opening.trade == 0 and what in opening.note and "is older than one session" in opening.note
    assert closing.trade == -2


def test_nothing_is_opened_while_the_broker_does_not_say_when_it_traded(desk):
    desk.want("GOLD", 2.6, 3.4)
    desk.desk = replace(desk.desk, broker=OddBroker(desk.desk.broker))
    desk.desk.broker.line_cut = True
    desk.desk.broker.sessions = lambda *asked: desk.desk.broker.positions()  # raises as everything does

    result = generate_orders(desk.desk, ["trend"])

    assert [d.trade for d in result.decisions] == [0]
    assert "the broker did not say when it traded" in result.summary()["held_back"][0]


def test_a_condition_that_comes_when_the_inputs_have_gone_stale_opens_nothing(desk):
    now = desk.desk.clock.now()
    desk.want("GOLD", 2.6, 3.4)
    terms = {"condition": Condition("above", 1.0, APR), "reference_time": now, "reference_contract": APR}
    fresh = stack.place(desk, "GOLD", 1, **terms)
    engine(desk).spawn_children()
    assert stack.children(desk, fresh)

    stack.place(desk, "NIKKEI", 1, **{**terms, "condition": Condition("above", 1.0, "20240600")})
    desk.desk.clock.sleep_until(now + timedelta(days=3))
    engine(desk).spawn_children()

    old = stack.order(desk, 2)
    assert "is older than one session: +1 not opened" in old.note
    assert stack.children(desk, 2) == [] and stack.stack(desk)[-1].id == fresh
    assert old.order_type is InstrumentOrderType.BEST
