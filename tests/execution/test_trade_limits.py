"""Trade limits where they count: in the transaction that writes an order, whatever is cancelled, filled or reset."""

from collections import defaultdict
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as some
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from pysys.broker.port import OrderType
from pysys.domain.orders import BrokerOrder, ContractOrder, InstrumentOrder, InstrumentOrderType, OrderLeg, OrderStatus
from pysys.domain.roll_states import RollState
from pysys.execution.not_sent import Declined, NotSent
from pysys.execution.sending import write_if_allowed
from tests.broker import paper_world as world

BEST = InstrumentOrderType.BEST
KEYS = (("", 1), ("trend", 1), ("trend", 3), ("", 30))
LIMITS = dict(zip(KEYS, (7, 4, 9, 20), strict=True))


def fill_and_end(unit, order: BrokerOrder, filled: int, now) -> None:
    """An order ends, filled so far, as its executions would have it."""
    leg = replace(order.legs[0], fill=filled, filled_price=2100.0)
    unit.orders.fill_broker_order(order, {0: leg}, price=2100.0, commission=2.0, currency="USD", at=now, active=False)


class Limits(RuleBasedStateMachine):
    """Against a plain model: orders with what they asked for, what they filled and when."""

    trading = None  # given by the test

    def __init__(self) -> None:
        super().__init__()
        self.desk = self.trading.desk
        self.tick(1)
        self.resets = defaultdict(lambda: self.desk.clock.now())
        self.written: dict[int, list] = {}  # id -> [strategy, filled at, ordered, filled, active]
        with self.desk.store.write() as unit:
            for order in unit.orders.active_broker_orders():  # of the example before
                unit.orders.update_broker_order(order.id, active=False)
            for strategy, days in KEYS:
                unit.trade_limits.remove(strategy, "GOLD", days)
                unit.trade_limits.set(strategy, "GOLD", days, LIMITS[strategy, days], at=self.desk.clock.now())
                self.resets[strategy, days] = self.desk.clock.now()
            unit.commit()
        self.tick(1)  # nothing of the example before is at the moment of a reset

    def tick(self, minutes: float) -> None:
        self.desk.clock.sleep_until(self.desk.clock.now() + timedelta(minutes=minutes))

    def used(self, key) -> int:
        strategy, days = key
        began, now = self.resets[key], self.desk.clock.now()
        while now - began > timedelta(days=days):
            began += timedelta(days=days)
        return sum(
            ordered if active else filled
            for whose, at, ordered, filled, active in self.written.values()
            if strategy in ("", whose) and (active or at >= began)
        )

    @rule(strategy=some.sampled_from(["trend", "carry"]), size=some.integers(1, 6), buys=some.booleans())
    def reserve(self, strategy, size, buys):
        now = self.desk.clock.now()
        legs = (OrderLeg(world.GOLD_APR, size if buys else -size),)
        with self.desk.store.write() as unit:
            family = unit.orders.place_instrument_order(InstrumentOrder(strategy, "GOLD", legs[0].trade, BEST, now))
            parent = unit.orders.place_contract_order(
                family, ContractOrder(strategy, "GOLD", legs, BEST, now, algo_to_use="market")
            )
            unit.commit()
        working = [order_id for order_id, row in self.written.items() if row[4]]
        before = {key: self.used(key) for key in KEYS if key[0] in ("", strategy)}
        order = BrokerOrder("", parent, strategy, "GOLD", legs, OrderType.MARKET, "market", "paper", now)

        result = write_if_allowed(self.desk, order, now)

        if working:
            assert result.reason is NotSent.TURN
        elif any(LIMITS[key] - used < size for key, used in before.items()):
            assert isinstance(result, Declined) and result.reason is NotSent.TRADE_LIMIT
        else:
            self.written[result.id] = [strategy, None, size, 0, True]
        self.tick(1)

    @precondition(lambda self: any(row[4] for row in self.written.values()))
    @rule(part=some.integers(0, 6))
    def end(self, part):
        """An order ends, filled in part or whole."""
        order_id = next(order_id for order_id, row in self.written.items() if row[4])
        row = self.written[order_id]
        row[3], row[4] = min(part, row[2]), False
        row[1] = now = self.desk.clock.now()
        with self.desk.store.write() as unit:
            (order,) = unit.orders.active_broker_orders()
            sign = 1 if order.legs[0].trade > 0 else -1
            fill_and_end(unit, order, sign * row[3], now)
            unit.commit()

    @rule(key=some.sampled_from(KEYS))
    def reset(self, key):
        with self.desk.store.write() as unit:
            unit.trade_limits.reset(key[0], "GOLD", key[1], at=self.desk.clock.now())
            unit.commit()
        self.resets[key] = self.desk.clock.now()
        self.tick(1)

    @rule(hours=some.sampled_from([1, 13, 25, 49]))
    def wait(self, hours):
        self.tick(60 * hours)

    @invariant()
    def the_store_counts_as_the_model_does_and_nothing_is_exceeded(self):
        with self.desk.store.read() as unit:
            stored = {(each.strategy, each.period_days): each for each in unit.trade_limits.all(self.desk.clock.now())}
        for key, limit in stored.items():
            assert limit.used == self.used(key)
            assert self.used(key) <= limit.limit


def test_no_interleaving_exceeds_a_limit(trading_on_sqlite):
    class Machine(Limits):
        trading = trading_on_sqlite

    run_state_machine_as_test(
        Machine,
        settings=settings(
            max_examples=15, stateful_step_count=15, deadline=None, suppress_health_check=list(HealthCheck)
        ),
    )


def limit(trading, size: int, strategy: str = "", instrument: str = "GOLD", days: int = 1) -> None:
    with trading.desk.store.write() as unit:
        unit.trade_limits.set(strategy, instrument, days, size, at=trading.desk.clock.now())
        unit.commit()


def note_of(trading, order_id: int = 1) -> str:
    with trading.desk.store.read() as unit:
        return unit.orders.contract_order(order_id).note


def used(trading) -> list[int]:
    with trading.desk.store.read() as unit:
        return [each.used for each in unit.trade_limits.all()]


def test_ten_wanted_and_five_allowed_trades_five_and_says_why_the_rest_waits(trading):
    limit(trading, 5)
    trading.order("GOLD", 10)

    trading.work(hours=3)

    assert trading.positions() == {"GOLD/20240400": 5}
    assert note_of(trading) == "trade_limit: 5 of 5 contracts in 1 days used by every strategy"
    trading.assert_in_balance()


def test_a_roll_counts_each_of_its_legs_and_stops_when_the_limit_is_used(trading_on_sqlite):
    trading = trading_on_sqlite
    trading.order("GOLD", 5)
    trading.work(hours=1)
    trading.desk.clock.sleep_until(trading.desk.clock.now() + timedelta(minutes=1))
    limit(trading, 7)
    trading.roll_state("GOLD", RollState.FORCE)

    trading.work(hours=3)

    assert trading.positions() == {"GOLD/20240400": 2, "GOLD/20240600": 3}
    assert used(trading) == [6]
    trading.assert_in_balance()


def test_what_was_not_filled_is_given_back(trading_on_sqlite):
    trading = trading_on_sqlite
    limit(trading, 2)
    trading.order("GOLD", 2)
    trading.work(hours=1)
    assert used(trading) == [2]
    limit(trading, 1)  # lowered: the clock goes on, and nothing more is allowed
    trading.order("GOLD", -1)

    trading.work(hours=1)

    assert (used(trading), trading.positions()) == ([2], {"GOLD/20240400": 2})


def test_a_panic_order_is_held_to_no_size_and_no_limit_and_says_so(trading_on_sqlite):
    trading = trading_on_sqlite
    limit(trading, 0)
    trading.order("GOLD", 400, order_type="panic")

    trading.work(minutes=30)

    with trading.desk.store.read() as unit:
        order = unit.orders.broker_order_by_ref("1-1-t")
    assert (order.order_type, order.algo_used, order.legs[0].trade) == ("market", "panic", 400)
    assert trading.positions()["GOLD/20240400"] > 1
    assert used(trading) == [0]
    assert "exempt from trade and position limits" in _comment(trading)
    trading.assert_in_balance()


def _comment(trading) -> str:
    with trading.desk.store.read() as unit:
        return unit.connection.exec_driver_sql("SELECT algo_comment FROM broker_orders").scalar()


@pytest.mark.parametrize(
    ("hold", "reason"),
    [
        (lambda unit, now: unit.restrictions.set_kill_switch(True, at=now, who="t", why="w"), NotSent.KILL_SWITCH),
        (lambda unit, now: unit.restrictions.lock("GOLD", "person", at=now, who="t", why="w"), NotSent.LOCKED),
        (
            lambda unit, now: unit.restrictions.set_position_limit("", "GOLD", 0, who="t", why="w"),
            NotSent.POSITION_LIMIT,
        ),
        (lambda unit, now: unit.trade_limits.set("trend", "GOLD", 1, 0, at=now), NotSent.TRADE_LIMIT),
        (
            lambda unit, now: unit.claims.claim(1, "somebody", "best", now=now, until=datetime(2999, 1, 1, tzinfo=UTC)),
            NotSent.CLAIMED,
        ),
        (lambda unit, now: unit.orders.end_contract_order(1, OrderStatus.FAILED, now), NotSent.ENDED),
    ],
)
@pytest.mark.incident("E10")
def test_everything_is_checked_again_in_the_transaction_that_writes_the_order(trading_on_sqlite, hold, reason):
    """What was set after the order was decided on, and before it was written, stops it."""
    desk = trading_on_sqlite.desk
    now = desk.clock.now()
    trading_on_sqlite.order("GOLD", 2)
    legs = (OrderLeg(world.GOLD_APR, 2),)
    order = BrokerOrder("", 1, "trend", "GOLD", legs, OrderType.MARKET, "market", "paper", now)
    with desk.store.write() as unit:
        unit.orders.place_contract_order(1, ContractOrder("trend", "GOLD", legs, BEST, now, algo_to_use="market"))
        hold(unit, now)
        unit.commit()

    result = write_if_allowed(desk, order, now)

    assert isinstance(result, Declined) and result.reason is reason
    with desk.store.read() as unit:
        assert unit.orders.broker_order_by_ref("1-1-t") is None


def test_two_at_once_never_ask_for_more_than_the_parent(trading_on_sqlite):
    desk = trading_on_sqlite.desk
    now = desk.clock.now()
    trading_on_sqlite.order("GOLD", 3)
    with desk.store.write() as unit:
        parent = ContractOrder("trend", "GOLD", (OrderLeg(world.GOLD_APR, 3),), BEST, now, algo_to_use="market")
        unit.orders.place_contract_order(1, parent)
        unit.commit()
    decided = BrokerOrder(
        "", 1, "trend", "GOLD", (OrderLeg(world.GOLD_APR, 2),), OrderType.MARKET, "market", "paper", now
    )

    first, second = write_if_allowed(desk, decided, now), write_if_allowed(desk, decided, now)
    with desk.store.write() as unit:
        fill_and_end(unit, first, 2, now)
        unit.commit()
    third = write_if_allowed(desk, decided, now)

    assert second.reason is NotSent.PREDECESSOR
    assert third.reason is NotSent.EXPOSURE
