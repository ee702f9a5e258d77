"""Orders that follow the book: where they stand, when they trade."""

from datetime import timedelta
from decimal import Decimal

import pytest

from pysys.broker.paper.matching import Touch
from pysys.broker.paper.pegging import PATIENCE, standing_price
from pysys.broker.port import OrderTicket, OrderType, WorkingStatus
from pysys.domain.orders import Leg
from tests.broker import paper_world as world

APR, JUN = world.GOLD_APR, world.GOLD_JUN
BOOK = {
    APR: Touch(Decimal("2100.0"), Decimal("2100.3"), 5, 5),
    JUN: Touch(Decimal("2120.0"), Decimal("2120.1"), 5, 5),
}
NO_WAIT = timedelta(0)


@pytest.mark.parametrize(
    ("order_type", "legs", "waited", "price"),
    [
        (OrderType.SNAP_MARKET, [(APR, 1)], NO_WAIT, "2100.3"),
        (OrderType.SNAP_MARKET, [(APR, -1)], NO_WAIT, "2100.0"),
        (OrderType.SNAP_PRIMARY, [(APR, 1)], NO_WAIT, "2100.0"),
        (OrderType.SNAP_PRIMARY, [(APR, -1)], NO_WAIT, "2100.3"),
        (OrderType.SNAP_MID, [(APR, 1)], NO_WAIT, "2100.1"),  # 2100.15, to the tick on our side
        (OrderType.SNAP_MID, [(APR, -1)], NO_WAIT, "2100.2"),
        (OrderType.SNAP_MARKET, [(APR, -2), (JUN, 2)], NO_WAIT, "-20.1"),  # sells April at 2100.0, buys June at 2120.1
        (OrderType.SNAP_PRIMARY, [(APR, -2), (JUN, 2)], NO_WAIT, "-19.7"),
        (OrderType.SNAP_MID, [(APR, -2), (JUN, 2)], NO_WAIT, "-19.9"),
        (OrderType.ADAPTIVE, [(APR, 1)], NO_WAIT, "2100.0"),
        (OrderType.ADAPTIVE, [(APR, 1)], PATIENCE, None),
    ],
)
def test_where_an_order_stands(order_type, legs, waited, price):
    found = standing_price(order_type, [Leg(*leg) for leg in legs], BOOK, 0.1, waited)

    assert found == (None if price is None else Decimal(price))


@pytest.fixture
def exchange(tmp_path):
    broker, clock = world.broker(tmp_path / "exchange.db")
    yield broker, clock
    broker.close()
    clock.close()


def sent(exchange, order_type: OrderType):
    exchange.submit(OrderTicket("x", (Leg(APR, 1),), order_type))
    return exchange


def test_an_order_at_the_far_touch_trades_on_arrival(exchange):
    broker, _ = exchange
    ask = broker.quote(APR).ask

    sent(broker, OrderType.SNAP_MARKET)

    assert [fill.price for fill in broker.fills_since(None)] == [ask]


@pytest.mark.parametrize("order_type", [OrderType.SNAP_MID, OrderType.SNAP_PRIMARY, OrderType.ADAPTIVE])
def test_a_patient_order_does_not_trade_on_arrival(exchange, order_type):
    broker, _ = exchange

    sent(broker, order_type)

    assert broker.order_states(["x"])["x"].status is WorkingStatus.WORKING
    assert broker.fills_since(None) == []


def test_an_adaptive_order_takes_the_market_after_its_patience(exchange):
    broker, clock = exchange
    sent(broker, OrderType.ADAPTIVE)

    clock.sleep_until(clock.now() + PATIENCE + timedelta(minutes=1))

    assert broker.order_states(["x"])["x"].status is WorkingStatus.FILLED


def test_asking_every_minute_or_once_comes_to_the_same(tmp_path):
    fills = []
    for name, steps in (("often", 120), ("once", 1)):
        broker, clock = world.broker(tmp_path / f"{name}.db")
        sent(broker, OrderType.SNAP_MID)
        for _ in range(steps):
            clock.sleep_until(clock.now() + timedelta(minutes=120 / steps))
            broker.positions()
        fills.append(broker.fills_since(None))
        broker.close()
        clock.close()

    assert fills[0] == fills[1]
