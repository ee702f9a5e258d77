"""Which contracts instrument orders are worked in, and who has to wait for whom."""

from datetime import timedelta
from decimal import Decimal
from itertools import permutations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pysys.domain.conditions import Condition
from pysys.domain.contract_choice import REDUCES
from pysys.domain.contracts import Contract
from pysys.domain.orders import OrderStatus
from pysys.domain.overrides import Override
from pysys.domain.roll_states import RollState, RollStatus
from pysys.execution.allowances import allowance
from pysys.execution.restraining import beyond_limits, reduce_to_limits
from pysys.store.restrictions import PERSON
from tests.broker import paper_world as world
from tests.execution import stack

APR, JUN = world.GOLD_APR.date, world.GOLD_JUN.date


def state_of(trading, instrument: str = "GOLD") -> RollState:
    with trading.desk.store.read() as unit:
        return unit.markets.roll_status(instrument).state


def gap(trading) -> float:
    with trading.desk.store.read() as unit:
        return unit.prices.last_matched_gap("GOLD", world.GOLD_APR, world.GOLD_JUN)


# --- which contracts ---


@pytest.mark.incident("R2")
def test_an_order_through_zero_closes_before_it_opens(trading):
    trading.order("GOLD", 2)
    trading.work(hours=1)
    turned = trading.order("GOLD", -3)

    trading.work(hours=2)

    assert stack.traded(trading, turned) == [((APR, -2),), ((APR, -1),)]
    assert [child.sequence for child in stack.children(trading, turned)] == [0, 1]
    assert trading.positions() == {"GOLD/20240400": -1}
    assert stack.order(trading, turned).fill == -3
    trading.assert_in_balance()


@pytest.mark.parametrize("wanted", [-1, -2, -3])
@pytest.mark.incident("R3")
def test_a_trade_reduces_each_month_held_and_turns_none_round(trading_on_sqlite, wanted):
    """R3: a close during a passive roll summed to zero, but was long one month and short the next."""
    trading = trading_on_sqlite
    trading.order("GOLD", 1)
    trading.work(hours=1)
    trading.roll_state("GOLD", RollState.PASSIVE)
    trading.order("GOLD", 2)
    trading.work(hours=1)
    assert trading.positions() == {"GOLD/20240400": 1, "GOLD/20240600": 2}
    trading.roll_state("GOLD", RollState.NO_ROLL)

    trading.order("GOLD", wanted)
    trading.work(hours=2)

    left = {-1: {"GOLD/20240600": 2}, -2: {"GOLD/20240600": 1}, -3: {}}
    assert trading.positions() == left[wanted]
    trading.assert_in_balance()


def test_a_second_order_counts_what_the_first_is_about_to_close(trading_on_sqlite):
    trading = trading_on_sqlite
    stack.hold(trading, {world.GOLD_APR: 3})
    first, second, third = (stack.place(trading, "GOLD", trade, s) for trade, s in ((-2, "a"), (-1, "b"), (-1, "c")))

    stack.spawn(trading)

    assert stack.traded(trading, first) == [((APR, -2),)]
    assert stack.traded(trading, second) == [((APR, -1),)]
    assert stack.traded(trading, third) == []
    assert stack.order(trading, third).waits_for == f"after order {first}, which closes the position first"


# --- prices moved ---


def test_limit_and_reference_move_to_the_contract_traded(trading_on_sqlite):
    trading = trading_on_sqlite
    trading.roll_state("GOLD", RollState.PASSIVE)
    terms = {"order_type": "limit", "limit_price": Decimal("2100.05"), "limit_contract": APR, "reference_price": 2101.0,
             "reference_contract": APR}  # fmt: skip
    bought = stack.place(trading, "GOLD", 1, **terms)
    stack.spawn(trading)
    (child,) = stack.children(trading, bought)

    moved = Decimal(str(round(2100.05 + gap(trading), 6)))
    assert child.legs[0].contract == world.GOLD_JUN
    assert child.limit_price % Decimal("0.1") == 0
    assert moved - Decimal("0.1") < child.limit_price <= moved  # on the tick, and never dearer than asked
    assert child.reference_price == pytest.approx(2101.0 + gap(trading))
    assert child.algo_to_use == "limit"


def test_a_seller_s_limit_is_rounded_up(trading_on_sqlite):
    trading = trading_on_sqlite
    sold = stack.place(trading, "GOLD", -1, order_type="limit", limit_price=Decimal("2100.01"), limit_contract=APR)
    stack.spawn(trading)
    assert stack.children(trading, sold)[0].limit_price == Decimal("2100.1")


def test_a_price_that_cannot_be_moved_is_blank_for_a_reference_and_blocks_a_limit(trading_on_sqlite):
    trading = trading_on_sqlite
    blank = stack.place(trading, "GOLD", 1, reference_price=2000.0, reference_contract="20231200")
    blocked = stack.place(
        trading, "GOLD", 1, order_type="limit", limit_price=Decimal("2100"), limit_contract="20231200"
    )

    stack.spawn(trading)

    assert stack.children(trading, blank)[0].reference_price is None
    assert stack.children(trading, blocked) == []
    assert stack.order(trading, blocked).waits_for == (
        "its limit is a price of 20231200, which never had one together with 20240400"
    )


# --- conditions ---


def test_a_conditional_order_waits_for_its_price_and_its_alternatives_end_when_it_comes(trading_on_sqlite):
    trading = trading_on_sqlite
    stack.hold(trading, {world.GOLD_APR: 2})
    stop = stack.place(trading, "GOLD", -2, condition=Condition("below", 2050.0, APR))
    profit = stack.place(trading, "GOLD", -2, condition=Condition("above", 2150.0, APR))

    stack.spawn(trading)
    assert stack.order(trading, stop).waits_for == "below 2050 in 20240400; no price now"
    stack.spawn(trading, {("GOLD", APR): 2100.0})
    assert stack.order(trading, stop).waits_for == "below 2050 in 20240400; now 2100"
    stack.spawn(trading, {("GOLD", APR): 2151.0})

    assert stack.traded(trading, profit) == [((APR, -2),)]
    assert [each.id for each in stack.stack(trading)] == [profit]
    assert stack.order(trading, stop).note == f"replaced: the price of order {profit} came first"


def test_of_two_alternatives_whose_price_comes_at_once_one_trades(trading_on_sqlite):
    trading = trading_on_sqlite
    stack.hold(trading, {world.GOLD_APR: 2})
    orders = [stack.place(trading, "GOLD", -2, condition=Condition("above", level, APR)) for level in (2050.0, 2060.0)]

    stack.spawn(trading, {("GOLD", APR): 2100.0})

    assert [stack.traded(trading, each) for each in orders] == [[((APR, -2),)], []]
    assert [each.id for each in stack.stack(trading)] == orders[:1]


def test_limits_are_looked_at_again_when_the_price_comes(trading_on_sqlite):
    trading = trading_on_sqlite
    waiting = stack.place(trading, "GOLD", 4, condition=Condition("below", 2200.0, APR))
    stack.limit(trading, "GOLD", 3)
    stack.place(trading, "GOLD", 1, "carry")

    stack.spawn(trading, {("GOLD", APR): 2100.0})

    assert stack.traded(trading, waiting) == [((APR, 2),)]
    assert stack.order(trading, waiting).note == "position limit: +4 became +2"


def test_the_stack_handler_tests_conditions_against_the_market(trading_on_sqlite):
    trading = trading_on_sqlite
    now = trading.desk.broker.quote(world.GOLD_APR).mid
    reached = stack.place(trading, "GOLD", 1, condition=Condition("below", now + 50, APR))
    far = stack.place(trading, "NIKKEI", 1, condition=Condition("below", 1000.0, "20240600"))

    trading.work(hours=2)

    assert trading.positions() == {"GOLD/20240400": 1}
    assert stack.order(trading, reached).fill == 1
    assert stack.order(trading, far).waits_for.startswith("below 1000 in 20240600; now ")


# --- rolls and closes ---


def test_a_lone_reduction_goes_before_the_forced_roll_which_waits_and_says_so(trading_on_sqlite):
    trading = trading_on_sqlite
    trading.order("GOLD", 3)
    trading.work(hours=1)
    trading.roll_state("GOLD", RollState.FORCE)
    reducing = trading.order("GOLD", -1)

    assert stack.roll(trading) == 1
    (rolling,) = [each for each in stack.stack(trading) if each.roll_order]
    assert rolling.waits_for == f"after order {reducing}, which reduces GOLD/20240400"
    trading.work(hours=3)

    assert stack.traded(trading, rolling.id) == [((APR, -2), (JUN, 2))]
    assert trading.positions() == {"GOLD/20240600": 2}
    trading.assert_in_balance()


def test_an_opening_order_waits_out_the_forced_roll_and_then_trades_forward(trading_on_sqlite):
    """When the priced contract is flat, Force falls back to Passive by itself."""
    trading = trading_on_sqlite
    trading.order("GOLD", 2)
    trading.work(hours=1)
    trading.roll_state("GOLD", RollState.FORCE)
    opening = trading.order("GOLD", 1)
    stack.spawn(trading)
    assert stack.order(trading, opening).waits_for == "roll state Force of GOLD"

    trading.work(hours=3)

    assert trading.positions() == {"GOLD/20240600": 3}
    assert state_of(trading) is RollState.PASSIVE
    assert stack.order(trading, opening).waits_for == ""
    trading.assert_in_balance()


@pytest.mark.parametrize("state", [RollState.FORCE, RollState.FORCE_OUTRIGHT, RollState.CLOSE])
def test_forced_states_fall_back_to_passive_when_nothing_is_held(trading_on_sqlite, state):
    trading = trading_on_sqlite
    trading.roll_state("GOLD", state)

    assert stack.roll(trading) == 0

    with trading.desk.store.read() as unit:
        status = unit.markets.roll_status("GOLD")
    assert (status.state, status.who) == (RollState.PASSIVE, "stack handler")


@pytest.mark.incident("R2")
@pytest.mark.incident("R3")
def test_close_ends_flat_in_every_month_and_supersedes_what_was_pending(trading):
    """R2 and R3: Close beside a reversing order, with a position in two months."""
    trading.order("GOLD", 1)
    trading.work(hours=1)
    trading.roll_state("GOLD", RollState.PASSIVE)
    trading.order("GOLD", 2)
    trading.work(hours=1)
    trading.roll_state("GOLD", RollState.CLOSE)
    reversing = trading.order("GOLD", -5)

    trading.work(hours=3)

    assert trading.positions() == {} and trading.strategy_positions() == {}
    assert stack.order(trading, reversing).note == "superseded: the position is closed"
    trading.assert_in_balance()
    stack.roll(trading)
    assert state_of(trading) is RollState.PASSIVE


def test_close_is_one_order_on_the_largest_holder(trading_on_sqlite):
    trading = trading_on_sqlite
    stack.hold(trading, {world.GOLD_APR: 5}, {"trend": 7, "carry": -2})
    trading.roll_state("GOLD", RollState.CLOSE)

    assert stack.roll(trading) == 1
    assert stack.roll(trading) == 0

    (closing,) = stack.stack(trading)
    assert (closing.strategy, closing.trade, closing.roll_order) == ("trend", -5, False)
    assert stack.traded(trading, closing.id) == [((APR, -5),)]


def test_close_ends_flat_though_no_holder_may_own_what_all_of_them_do(trading_on_sqlite):
    trading = trading_on_sqlite
    stack.configure(trading, default_algo="market")
    holders = {"carry": 3, "mean": 3, "trend": 3}
    stack.hold(trading, {world.GOLD_APR: 9}, holders)
    for strategy in holders:
        stack.limit(trading, "GOLD", 3, strategy)
    trading.roll_state("GOLD", RollState.CLOSE)
    stack.roll(trading)
    (closing,) = stack.stack(trading)
    (child,) = stack.children(trading, closing.id)

    with trading.desk.store.write() as unit:
        now, config = trading.desk.clock.now(), trading.desk.config
        assert allowance(unit, config, child, now).cut((-9,)) == (-9,)
        assert beyond_limits(unit, config) == [] and reduce_to_limits(unit, config, now) == 0


def test_a_forced_roll_does_not_wait_for_an_order_that_cannot_trade(trading_on_sqlite):
    trading, now = trading_on_sqlite, trading_on_sqlite.desk.clock.now()
    stack.hold(trading, {world.GOLD_APR: 4})
    with trading.desk.store.write() as unit:
        unit.restrictions.set_override("carry", "", Override("no_trading"), at=now, who="rob", why="a story")
        unit.commit()
    trading.order("GOLD", -1, "carry")
    stack.spawn(trading)  # it says why it waits
    trading.roll_state("GOLD", RollState.FORCE)

    stack.roll(trading)

    (rolling,) = [each for each in stack.stack(trading) if each.roll_order]
    assert stack.traded(trading, rolling.id) == [((APR, -4), (JUN, 4))]


def test_close_undoes_a_spread_between_months_that_sums_to_zero(trading_on_sqlite):
    trading = trading_on_sqlite
    stack.hold(trading, {world.GOLD_APR: 1, world.GOLD_JUN: -1}, {})
    trading.roll_state("GOLD", RollState.CLOSE)

    stack.roll(trading)

    (closing,) = stack.stack(trading)
    assert sorted(stack.traded(trading, closing.id)) == [((APR, -1),), ((JUN, 1),)]


@pytest.mark.incident("R4")
def test_a_forced_spread_that_does_not_trade_is_rolled_in_legs_after_the_deadline(trading_on_sqlite):
    """R4: a forced roll waited ten days for a spread nobody would trade."""
    trading = trading_on_sqlite
    trading.order("GOLD", 1)
    trading.work(hours=1)
    now = trading.desk.clock.now()
    with trading.desk.store.write() as unit:
        for days in (4, 2):  # saying it again does not start the clock again
            status = RollStatus("GOLD", RollState.FORCE, APR, now - timedelta(days=days), "tester", "")
            unit.markets.record_roll_status(status)
        unit.commit()

    trading.work(hours=3)

    with trading.desk.store.read() as unit:
        states = [status.state for status in unit.markets.roll_status_history("GOLD")]
        orders = [unit.orders.instrument_order(number) for number in (1, 2)]
    assert RollState.FORCE_OUTRIGHT in states
    assert stack.traded(trading, orders[1].id) == [((APR, -1),), ((JUN, 1),)]
    assert trading.positions() == {"GOLD/20240600": 1}
    trading.assert_in_balance()


@pytest.mark.incident("R4")
def test_plus_one_and_minus_one_leave_no_row(trading_on_sqlite):
    """R4: the balancing entry stood beside the position instead of netting with it."""
    trading = trading_on_sqlite
    stack.hold(trading, {world.GOLD_APR: 1})
    stack.hold(trading, {world.GOLD_APR: -1})
    assert (trading.positions(), trading.strategy_positions()) == ({}, {})


# --- who waits for whom ---


def test_an_instrument_that_cannot_be_worked_says_why_and_holds_up_no_other(trading_on_sqlite):
    trading = trading_on_sqlite
    with trading.desk.store.write() as unit:
        unit.restrictions.lock("BUND", PERSON, at=trading.desk.clock.now(), who="tester", why="looking at it")
        unit.markets.put_instrument(world.Instrument("COPPER", "", "USD", 1.0, "Metals"))
        unit.commit()
    locked, unpriced, fine = (stack.place(trading, code, 1) for code in ("BUND", "COPPER", "GOLD"))

    assert stack.spawn(trading) == 1

    assert stack.order(trading, locked).waits_for == "BUND is locked, person: looking at it"
    assert stack.order(trading, unpriced).waits_for == "no multiple prices of COPPER yet"
    assert stack.traded(trading, fine) == [((APR, 1),)]


SOURCES = ("roll", "strategy", "manual")


@pytest.mark.parametrize("state", list(RollState))
@pytest.mark.parametrize(("first", "second"), list(permutations(SOURCES, 2)))
@pytest.mark.incident("R1")
def test_two_sources_of_orders_never_work_one_instrument_together(trading_on_sqlite, state, first, second):
    """R1: an order was trimmed and its child was not; a manual close beside a strategy's stopped everything."""
    trading = trading_on_sqlite
    stack.hold(trading, {world.GOLD_APR: 3})
    trading.roll_state("GOLD", state)
    ids = {}
    for source in (first, second):
        if source == "roll":
            stack.roll(trading)
        else:
            ids[source] = stack.place(trading, "GOLD", -1, manual_trade=source == "manual")
        stack.spawn(trading)

    worked = [each for each in stack.stack(trading) if stack.children(trading, each.id)]
    assert len({(each.roll_order, each.manual_trade) for each in worked}) <= 1
    for each in stack.stack(trading):
        legs = [leg for child in stack.children(trading, each.id) for leg in child.legs]
        assert not legs or sum(leg.trade for leg in legs) == each.trade
        assert legs or each.waits_for
    closed = sum(leg.trade for each in worked for child in stack.children(trading, each.id)
                 for leg in child.legs if leg.contract == world.GOLD_APR)  # fmt: skip
    assert -3 <= closed <= 0


POSITION = st.integers(-4, 4)


@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    st.sampled_from(list(RollState)),
    st.tuples(POSITION, POSITION),
    st.lists(
        st.tuples(st.sampled_from(["trend", "carry"]), st.integers(-6, 6).filter(bool), st.booleans()), max_size=4
    ),
)
@pytest.mark.incident("R2")
def test_whatever_is_wanted_children_sum_to_their_parents_and_close_no_more_than_is_held(
    trading_on_sqlite, state, held, wanted
):
    trading = trading_on_sqlite
    _clear(trading)
    stack.hold(trading, dict(zip((world.GOLD_APR, world.GOLD_JUN), held, strict=True)))
    trading.roll_state("GOLD", state)
    ids = [stack.place(trading, "GOLD", trade, strategy, manual_trade=manual) for strategy, trade, manual in wanted]
    stack.roll(trading)
    stack.spawn(trading)
    stack.roll(trading)
    stack.spawn(trading)

    before = {world.GOLD_APR: held[0], world.GOLD_JUN: held[1]}
    reducing: dict[Contract, int] = {}
    for each in stack.stack(trading):
        legs = [(child.sequence, leg) for child in stack.children(trading, each.id) for leg in child.legs]
        assert not legs or sum(leg.trade for _, leg in legs) == each.unfilled
        for sequence, leg in legs:
            if not each.roll_order and sequence == REDUCES and leg.trade * before[leg.contract] < 0:
                reducing[leg.contract] = reducing.get(leg.contract, 0) + leg.trade
    assert all(abs(reducing.get(contract, 0)) <= abs(position) for contract, position in before.items())
    assert all(stack.order(trading, each).unfilled * stack.order(trading, each).trade >= 0 for each in ids)


def _clear(trading) -> None:
    now = trading.desk.clock.now()
    with trading.desk.store.write() as unit:
        for each in unit.orders.active_instrument_orders():
            for child in unit.orders.children([each.id]).get(each.id, []):
                unit.orders.end_contract_order(child.id, OrderStatus.CANCELLED, now)
            unit.orders.end_instrument_order(each.id, OrderStatus.CANCELLED, now)
        for contract, position in unit.positions.contract_positions().items():
            unit.positions.move_contract(contract, -position, at=now, fill_id=None, reason="before")
        for (strategy, code), position in unit.positions.strategy_positions().items():
            unit.positions.move_strategy(strategy, code, -position, at=now, price=None, fill_id=None, reason="before")
        unit.commit()
