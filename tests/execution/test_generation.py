"""From what strategies want to hold to the orders on the instrument stack."""

from datetime import timedelta
from decimal import Decimal

import pytest

from pysys.domain.conditions import Condition
from pysys.domain.errors import ConfigError, NeedsOperator
from pysys.domain.roll_states import RollState
from pysys.domain.targets import Branch, ConditionalTarget, LimitTarget, SimpleTarget, Wish
from pysys.execution.generation import generate_orders
from pysys.execution.restraining import reduce_to_limits
from pysys.store.stacks import Level
from tests.broker import paper_world as world
from tests.execution import stack

CLASSIC = "sysexecution.strategies.classic_buffered_positions.orderGeneratorForBufferedPositions"


def trades(result) -> dict[tuple[str, str], list[int]]:
    found: dict[tuple[str, str], list[int]] = {}
    for decision in result.decisions:
        found.setdefault((decision.strategy, decision.instrument), []).append(decision.trade)
    return found


def simple(trading, position: float, strategy: str = "trend", instrument: str = "GOLD") -> SimpleTarget:
    now = trading.desk.clock.now()
    return SimpleTarget(strategy, instrument, now, position, 2100.0, "20240400", now)


def test_what_is_on_the_stack_counts_as_traded_even_filled_in_part(trading_on_sqlite):
    trading = trading_on_sqlite
    stack.hold(trading, {world.GOLD_APR: 8})
    existing = stack.place(trading, "GOLD", 4)
    with trading.desk.store.write() as unit:
        unit.orders.fill_instrument_order(existing, 3, 2100.0, trading.desk.clock.now())
        unit.commit()
    stack.want(trading, simple(trading, 10))

    assert trades(generate_orders(trading.desk, ["trend"])) == {("trend", "GOLD"): [1]}


def test_an_order_carries_price_contract_and_time_it_was_wanted_at(trading_on_sqlite):
    trading = trading_on_sqlite
    stack.want(trading, simple(trading, 2))
    generate_orders(trading.desk, ["trend"])

    (order,) = stack.stack(trading)
    assert (order.reference_price, order.reference_contract) == (2100.0, "20240400")
    assert order.reference_time == trading.desk.clock.now()


def test_a_limit_target_becomes_a_limit_order_replaced_while_it_is_not_worked(trading):
    now = trading.desk.clock.now()
    for price in ("2050", "2060"):
        stack.want(trading, LimitTarget("trend", "GOLD", trading.desk.clock.now(), 2.0, Decimal(price), "20240400"))
        generate_orders(trading.desk, ["trend"])
        trading.desk.clock.sleep_until(now + timedelta(minutes=1))

    (order,) = stack.stack(trading)
    assert (order.trade, order.order_type, order.limit_price, order.limit_contract) == (
        2, "limit", Decimal("2060"), "20240400",
    )  # fmt: skip


def test_a_conditional_target_waits_on_the_stack_and_is_no_position_to_anybody(trading):
    below = Branch(Condition("below", 2000.0, "20240400"), 3)
    stack.want(trading, ConditionalTarget("trend", "GOLD", trading.desk.clock.now(), (below,)))
    stack.want(trading, simple(trading, 4, "carry"))
    stack.limit(trading, "GOLD", 4)

    first = generate_orders(trading.desk)
    again = generate_orders(trading.desk)

    assert trades(first) == {("trend", "GOLD"): [3], ("carry", "GOLD"): [4]}
    assert trades(again) == {("trend", "GOLD"): [0], ("carry", "GOLD"): [0]}  # carry's 4 now fill the limit
    assert first.decisions[0].terms == "below 2000 in 20240400"
    assert [order.strategy for order in stack.stack(trading)] == ["carry"]


def test_a_new_run_leaves_a_locked_order_that_waits_for_its_price_locked(trading_on_sqlite):
    trading = trading_on_sqlite
    below = Branch(Condition("below", 5000.0, "20240400"), 3)
    stack.want(trading, ConditionalTarget("trend", "GOLD", trading.desk.clock.now(), (below,)))
    generate_orders(trading.desk, ["trend"])
    with trading.desk.store.write() as unit:
        unit.stacks.set_locked(Level.INSTRUMENT, 1, True)
        unit.commit()

    generate_orders(trading.desk, ["trend"])
    made = stack.spawn(trading, {("GOLD", "20240400"): 2100.0})

    assert ([(order.id, order.trade) for order in stack.stack(trading)], made) == ([(2, 3)], 0)


def test_two_strategies_cannot_both_use_the_same_headroom(trading_on_sqlite):
    trading = trading_on_sqlite
    stack.limit(trading, "GOLD", 6)
    stack.want(trading, simple(trading, 5))
    stack.want(trading, simple(trading, 5, "carry"))

    assert trades(generate_orders(trading.desk)) == {("trend", "GOLD"): [5], ("carry", "GOLD"): [1]}


@pytest.mark.incident("E10")
def test_a_position_beyond_its_limit_is_reduced_though_nobody_has_a_target(trading):
    """E10: a limit of 0 did not close a position its strategy no longer spoke of."""
    stack.hold(trading, {world.GOLD_APR: 3})
    stack.limit(trading, "GOLD", 0)
    stack.want(trading, simple(trading, 1, instrument="NIKKEI"))

    result = generate_orders(trading.desk, ["trend"])

    assert trades(result) == {("trend", "NIKKEI"): [1], ("trend", "GOLD"): [-3]}
    (order,) = [order for order in stack.stack(trading) if order.instrument == "GOLD"]
    assert (order.trade, order.note) == (-3, "brings the position back within its limit")
    assert order.reference_price is not None and order.reference_contract == "20240400"


def test_the_stack_handler_reduces_too_and_only_once(trading_on_sqlite):
    trading = trading_on_sqlite
    stack.hold(trading, {world.GOLD_APR: 5}, {"trend": 7, "carry": -2})
    stack.limit(trading, "GOLD", 3)

    for expected in (1, 0):
        with trading.desk.store.write() as unit:
            assert reduce_to_limits(unit, trading.desk.config, trading.desk.clock.now()) == expected
            unit.commit()

    assert [(order.strategy, order.trade) for order in stack.stack(trading)] == [("trend", -2)]


def test_in_state_no_open_only_reductions_are_ordered(trading_on_sqlite):
    trading = trading_on_sqlite
    stack.hold(trading, {world.GOLD_APR: 3})
    trading.roll_state("GOLD", RollState.NO_OPEN)
    stack.want(trading, simple(trading, 5))
    more = generate_orders(trading.desk, ["trend"])
    trading.desk.clock.sleep_until(trading.desk.clock.now() + timedelta(minutes=1))
    stack.want(trading, simple(trading, -2))
    turned = generate_orders(trading.desk, ["trend"])

    assert trades(more) == {("trend", "GOLD"): [0]}
    assert trades(turned) == {("trend", "GOLD"): [-3]}
    assert "reduce only" in more.decisions[0].note


def hold_one(targets, held):
    """A user's own generator: one contract of everything."""
    return {target.instrument: [Wish(1 - held.get(target.instrument, 0))] for target in targets}


def trade_strangers(targets, held):
    return {"BUND": [Wish(1)]}


def test_each_strategy_has_the_generator_its_configuration_names(trading_on_sqlite):
    trading = trading_on_sqlite
    named = {"trend": {"object": CLASSIC}, "carry": {"object": f"{__name__}.hold_one"}}
    stack.configure(trading, process_configuration_methods={"run_strategy_order_generator": named})
    trading.want("GOLD", 2.6, 4.4)
    stack.want(trading, simple(trading, 7, "carry"))

    assert trades(generate_orders(trading.desk)) == {("trend", "GOLD"): [3], ("carry", "GOLD"): [1]}


@pytest.mark.parametrize(
    ("dotted", "sentence"),
    [
        ("nowhere.at_all", "carry.object: nowhere.at_all cannot be imported"),
        ("tests.execution.test_generation.CLASSIC", "is not a function"),
        ("tests.execution.test_generation.trade_strangers", "asks to trade BUND"),
    ],
)
def test_a_generator_that_cannot_be_used_stops_the_run_and_orders_nothing(trading_on_sqlite, dotted, sentence):
    trading = trading_on_sqlite
    named = {"trend": {}, "carry": {"object": dotted}}
    stack.configure(trading, process_configuration_methods={"run_strategy_order_generator": named})
    stack.want(trading, simple(trading, 5))
    stack.want(trading, simple(trading, 5, "carry"))

    with pytest.raises(ConfigError, match=sentence):
        generate_orders(trading.desk)

    assert stack.stack(trading) == []


def fail(targets, held):
    raise KeyError("my generator")


@pytest.mark.parametrize(
    ("dotted", "position", "error"), [(f"{__name__}.fail", 5, "my generator"), (CLASSIC, float("nan"), "")]
)
def test_one_strategys_failure_leaves_its_orders_and_the_others_trade(trading_on_sqlite, dotted, position, error):
    trading = trading_on_sqlite
    named = {"carry": {"object": dotted}, "trend": {}}
    stack.configure(trading, process_configuration_methods={"run_strategy_order_generator": named})
    waits = stack.place(trading, "GOLD", 1, "carry", condition=Condition("below", 1.0, "20240400"))
    bund = SimpleTarget("carry", "BUND", trading.desk.clock.now(), 2)  # decided before GOLD, and undone
    stack.want(trading, bund, simple(trading, position, "carry"))
    stack.want(trading, simple(trading, 5))
    stack.hold(trading, {world.BUND_MAR: 4}, {"other": 4})
    stack.limit(trading, "BUND", 3)

    result = generate_orders(trading.desk)

    assert [(order.strategy, order.trade) for order in stack.stack(trading)] == [
        ("carry", 1), ("trend", 5), ("other", -1),
    ]  # fmt: skip
    assert stack.stack(trading)[0].id == waits
    assert error in result.summary()["failed"]["carry"]
    with pytest.raises(NeedsOperator, match=r"those there were stay, for carry: .*Error"):
        result.raise_if_incomplete()


def test_a_reduction_asked_for_by_a_limit_ends_filled_like_any_order(trading):
    trading.order("GOLD", 3)
    trading.work(hours=1)
    stack.limit(trading, "GOLD", 1, "trend")
    trading.want("GOLD", 2.6, 4.4)

    (decision,) = generate_orders(trading.desk, ["trend"]).decisions
    trading.work(hours=2)

    assert decision.trade == -2
    assert trading.strategy_positions() == {("trend", "GOLD"): 1}
    trading.assert_in_balance()
    with trading.desk.store.read() as unit:
        assert unit.orders.instrument_order(2).fill == -2
        assert not unit.orders.active_instrument_orders()
