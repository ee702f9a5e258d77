"""Strategies that want opposite things trade with each other, and nobody outside hears of it."""

from datetime import timedelta
from decimal import Decimal

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pysys.domain.conditions import Condition
from pysys.domain.orders import OrderStatus
from tests.broker import paper_world as world
from tests.execution import stack


def test_opposite_orders_cross_at_the_reference_price_and_only_the_rest_is_sent(trading):
    now = trading.desk.clock.now()
    earlier, later = now - timedelta(hours=2), now - timedelta(hours=1)
    bought = stack.place(
        trading, "GOLD", 5, reference_price=2090.0, reference_contract="20240400", reference_time=earlier
    )
    sold = stack.place(
        trading, "GOLD", -3, "carry", reference_price=2095.0, reference_contract="20240400", reference_time=later
    )

    stack.spawn(trading)

    assert trading.strategy_positions() == {("trend", "GOLD"): 3, ("carry", "GOLD"): -3}
    assert trading.positions() == {}
    buyer, seller = stack.order(trading, bought), stack.order(trading, sold)
    assert (buyer.fill, buyer.filled_price, seller.fill, seller.filled_price) == (3, 2095.0, -3, 2095.0)
    assert buyer.note == f"netted +3 at 2095 with order {sold} of carry"
    assert stack.traded(trading, bought) == [(("20240400", 2),)]
    assert [order.id for order in stack.stack(trading)] == [bought]

    trading.work(hours=1)

    assert trading.strategy_positions() == {("trend", "GOLD"): 5, ("carry", "GOLD"): -3}
    assert trading.broker_positions() == {"GOLD/20240400": 2}
    trading.assert_in_balance()
    filled = stack.order(trading, bought)
    assert filled.fill == 5 and filled.filled_price != 2095.0


def test_what_crosses_wholly_is_done_without_any_broker_order(trading_on_sqlite):
    trading = trading_on_sqlite
    stack.place(trading, "GOLD", 2)
    stack.place(trading, "GOLD", -2)  # the same strategy, changed its mind

    result = trading.work(hours=1)

    assert trading.strategy_positions() == {}
    assert trading.desk.broker.fills_since(None) == []
    assert result.counts.get("broker_orders", 0) == 0
    assert stack.stack(trading) == []


def test_the_history_of_each_strategy_shows_the_cross_and_its_price(trading_on_sqlite):
    trading = trading_on_sqlite
    now = trading.desk.clock.now()
    stack.place(trading, "GOLD", 2, reference_price=2101.5, reference_contract="20240600", reference_time=now)
    stack.place(trading, "GOLD", -2, "carry")
    with trading.desk.store.read() as unit:
        gap = unit.prices.last_matched_gap("GOLD", world.GOLD_APR, world.GOLD_JUN)

    stack.spawn(trading)

    with trading.desk.store.read() as unit:
        history = unit.positions.netted()
    assert [(row.strategy, row.instrument, row.change, row.position) for row in history] == [
        ("trend", "GOLD", 2, 2),
        ("carry", "GOLD", -2, -2),
    ]
    assert {row.price for row in history} == {2101.5 - gap}  # moved to the priced contract


@pytest.mark.parametrize(
    ("terms", "crosses"),
    [
        ({"order_type": "limit", "limit_price": Decimal("2100"), "limit_contract": "20240400"}, True),
        ({"order_type": "limit", "limit_price": Decimal("2099"), "limit_contract": "20240400"}, False),
        ({"order_type": "limit", "limit_price": Decimal("2200"), "limit_contract": "20231200"}, False),  # unknown gap
        ({"condition": Condition("below", 2000.0, "20240400")}, False),
        ({"condition": Condition("above", 2000.0, "20240400")}, True),
        ({"manual_trade": True}, True),
        ({"roll_order": True}, False),
        ({"order_type": "balance trade"}, False),
    ],
)
def test_only_what_may_trade_at_that_price_now_crosses(trading_on_sqlite, terms, crosses):
    trading = trading_on_sqlite
    now = trading.desk.clock.now()
    stack.place(trading, "GOLD", 2, **terms)
    stack.place(trading, "GOLD", -2, "carry", reference_price=2100.0, reference_contract="20240400", reference_time=now)

    stack.spawn(trading, {("GOLD", "20240400"): 2100.0})

    assert bool(trading.strategy_positions()) is crosses


def test_nothing_crosses_while_the_kill_switch_is_engaged_and_all_of_it_does_afterwards(trading_on_sqlite):
    trading = trading_on_sqlite
    kill_switch(trading, engaged=True)
    ids = [stack.place(trading, "GOLD", 2), stack.place(trading, "GOLD", -2, strategy="carry")]

    assert stack.spawn(trading) == 0
    assert trading.strategy_positions() == {}
    assert {stack.order(trading, each).waits_for for each in ids} == {
        "the kill switch is engaged: opposite orders are not netted"
    }

    kill_switch(trading, engaged=False)
    assert stack.spawn(trading) == 0
    assert trading.strategy_positions() == {("trend", "GOLD"): 2, ("carry", "GOLD"): -2}


def kill_switch(trading, *, engaged: bool) -> None:
    with trading.desk.store.write() as unit:
        unit.restrictions.set_kill_switch(engaged, at=trading.desk.clock.now(), who="tester", why="as the story goes")
        unit.commit()


def test_an_order_already_being_worked_is_never_crossed(trading_on_sqlite):
    trading = trading_on_sqlite
    first = stack.place(trading, "GOLD", 2)
    stack.spawn(trading)
    second = stack.place(trading, "GOLD", -2, "carry")
    stack.spawn(trading)

    assert trading.strategy_positions() == {}
    assert len(stack.traded(trading, first)) == 1
    assert stack.order(trading, second).waits_for == f"after strategy order {first} in GOLD, which trades the other way"


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.lists(st.tuples(st.sampled_from(["trend", "carry", "value"]), st.integers(-9, 9).filter(bool)), max_size=6))
def test_crossing_moves_no_contract_and_makes_no_money(trading_on_sqlite, wanted):
    trading = trading_on_sqlite
    before = sum(n for (_, code), n in trading.strategy_positions().items() if code == "BUND")
    ids = [stack.place(trading, "BUND", trade, strategy) for strategy, trade in wanted]

    stack.spawn(trading)
    again = stack.spawn(trading)

    orders = [stack.order(trading, each) for each in ids]
    assert sum(n for (_, code), n in trading.strategy_positions().items() if code == "BUND") == before
    assert sum(order.fill for order in orders) == 0
    assert len({order.filled_price for order in orders if order.fill}) <= 1
    assert again == 0 and trading.positions() == {}
    with trading.desk.store.write() as unit:
        for order in orders:
            for child in unit.orders.children([order.id]).get(order.id, []):
                unit.orders.end_contract_order(child.id, OrderStatus.CANCELLED, trading.desk.clock.now())
            unit.orders.end_instrument_order(order.id, OrderStatus.CANCELLED, trading.desk.clock.now())
        unit.commit()
