"""What strategies own is what is held: a difference is found, said, and kept from growing."""

import logging
from dataclasses import replace
from decimal import Decimal

import pytest
from sqlalchemy import select

from pysys.domain.contracts import Contract
from pysys.domain.errors import NeedsOperator
from pysys.domain.instruments import Instrument
from pysys.domain.orders import BrokerOrder, Fill
from pysys.domain.roll_states import RollState
from pysys.execution.commands import new_token, request
from pysys.execution.fills import land_fills, record_fills
from pysys.store import schema
from pysys.store.restrictions import RECONCILIATION
from tests.broker import paper_world as world
from tests.execution import stack
from tests.execution.odd_broker import OddBroker

SPREADS = {
    "GOLD_CAL": {"legs": [{"instrument": "GOLD", "ratio": 1}, {"instrument": "GOLD", "ratio": -1, "chain": 1}]},
    "BUND_GOLD": {"legs": [{"instrument": "BUND", "ratio": 1}, {"instrument": "GOLD", "ratio": -1}]},
}


@pytest.fixture
def desk(trading_on_sqlite):
    """A desk that trades a calendar spread and a spread between markets too, at a broker that can have faults."""
    trading = trading_on_sqlite
    trading.desk = replace(trading.desk, broker=OddBroker(trading.desk.broker))
    stack.configure(trading, spread_instruments=SPREADS, default_algo="market")
    with trading.desk.store.write() as unit:
        for code in SPREADS:
            unit.markets.put_instrument(Instrument(code, "", "USD", 100.0, "Spread", tick_size=0.1))
        unit.commit()
    return trading


def fill(desk, execution: str, ref: str, contract: Contract, quantity: int, price: float = 2100.0, **more) -> Fill:
    return Fill("paper", execution, ref, contract, quantity, price, desk.desk.clock.now(), 1.0, "USD", **more)


def person(desk, name: str, **arguments):
    return request(desk.desk, name, arguments, who="rob", why="a story", token=new_token())


def locks(desk) -> dict[str, str]:
    with desk.desk.store.read() as unit:
        return {lock.instrument: lock.why for lock in unit.restrictions.locks() if lock.owner == RECONCILIATION}


def state_of(desk):
    with desk.desk.store.read() as unit:
        return unit.markets.roll_status("GOLD")


def alerts(caplog, of: str) -> list[str]:
    return [r.getMessage() for r in caplog.records if r.levelno >= logging.CRITICAL and of in r.getMessage()]


# --- strategies against contracts ---


def test_a_stranger_s_trade_locks_the_market_until_somebody_balances_it(desk, caplog):
    desk.order("GOLD", 2)
    desk.work(minutes=10)
    desk.desk.broker.fills_late(fill(desk, "z1", "tws", world.GOLD_APR, -5))
    desk.order("GOLD", 1)

    result = desk.work(minutes=10)

    how = "strategies own +5 more than the contracts held"
    assert (desk.positions(), desk.strategy_positions()) == ({"GOLD/20240400": -3}, {("trend", "GOLD"): 2})
    assert (locks(desk), result.breaks) == ({"GOLD": how}, {"GOLD": how})
    assert len(alerts(caplog, how)) == 1
    with pytest.raises(NeedsOperator, match=r"GOLD strategies own \+5 more"):
        result.raise_if_incomplete()

    person(desk, "balance_instrument_trade", strategy="trend", instrument="GOLD", quantity=-5)
    desk.order("GOLD", 1)
    result = desk.work(minutes=10)

    assert locks(desk) == {}
    assert desk.positions() == {"GOLD/20240400": -2}
    desk.assert_in_balance()
    result.raise_if_incomplete()


def test_a_difference_from_the_broker_and_one_among_ourselves_are_told_apart(desk):
    stack.hold(desk, {world.GOLD_APR: 2}, {"trend": 3})

    desk.work(minutes=2)

    assert locks(desk) == {"GOLD": "20240400: database +2, broker +0; strategies own +1 more than the contracts held"}
    with desk.desk.store.write() as unit:
        unit.positions.move_contract(world.GOLD_APR, -2, at=desk.desk.clock.now(), fill_id=None, reason="a mistake")
        unit.commit()
    desk.work(minutes=2)
    assert locks(desk) == {"GOLD": "strategies own +3 more than the contracts held"}


def test_spreads_rolls_and_closes_that_go_well_are_no_difference(desk):
    desk.order("GOLD", 2)
    desk.order("GOLD_CAL", 1)
    desk.order("BUND_GOLD", -1, "rv")
    desk.work(minutes=30)
    for state in (RollState.FORCE_OUTRIGHT, RollState.CLOSE):
        desk.roll_state("GOLD", state)
        result = desk.work(minutes=30)
        assert (result.breaks, locks(desk)) == ({}, {})
    assert person(desk, "balance_instrument_trade", strategy="x", instrument="GOLD", quantity=1).status == "refused"


def test_what_a_dead_process_did_not_live_to_say_of_a_fill_is_said_by_the_next(desk, caplog):
    stranger = fill(desk, "z1", "tws", world.GOLD_APR, 3)
    desk.desk.broker.fills_late(stranger)
    with desk.desk.store.write() as unit:
        land_fills(unit, [stranger], desk.desk.clock.now())
        unit.commit()
    assert alerts(caplog, "z1") == []

    desk.work(minutes=5)
    desk.work(minutes=5)

    assert len(alerts(caplog, "execution z1 of +3 GOLD/20240400 belongs to no order of ours")) == 1


# --- close ---


@pytest.mark.parametrize("own", [0, 1, 3])
def test_close_leaves_the_legs_of_a_spread_between_markets_where_they_belong(desk, own):
    if own:
        desk.order("GOLD", own, "trend")
        desk.work(minutes=10)
    desk.order("BUND_GOLD", 2, "rv")
    desk.work(minutes=20)
    desk.roll_state("GOLD", RollState.CLOSE)

    desk.work(minutes=20)
    desk.work(minutes=5)

    assert desk.positions() == desk.broker_positions() == {"BUND/20240300": 2, "GOLD/20240400": -2}
    assert desk.strategy_positions() == {("rv", "BUND_GOLD"): 2}
    assert (state_of(desk).state, state_of(desk).why) == (
        RollState.PASSIVE,
        "nothing of its own is held any more; -2 for BUND_GOLD stays, as legs of spreads between markets",
    )


def test_a_force_roll_before_the_close_does_not_hide_the_legs(desk):
    desk.order("GOLD", 3, "trend")
    desk.order("BUND_GOLD", 2, "rv")
    desk.work(minutes=30)
    desk.roll_state("GOLD", RollState.FORCE)
    desk.work(minutes=20)
    assert desk.positions() == {"BUND/20240300": 2, "GOLD/20240600": 1}
    desk.roll_state("GOLD", RollState.CLOSE)

    desk.work(minutes=20)

    assert desk.positions() == {"BUND/20240300": 2, "GOLD/20240600": -2}
    assert desk.strategy_positions() == {("rv", "BUND_GOLD"): 2}


# --- prices ---


def _spread_sent(desk, units: int) -> int:
    """A calendar spread that is at the broker, by the id of its instrument order."""
    family = stack.place(desk, "GOLD_CAL", units)
    stack.spawn(desk)
    (child,) = stack.children(desk, family)
    with desk.desk.store.write() as unit:
        order = BrokerOrder(
            "s-1", child.id, "trend", "GOLD", child.legs, "market", "market", "paper", desk.desk.clock.now()
        )
        unit.orders.write_broker_order(order)
        unit.commit()
    return family


def _land(desk, *legs: tuple[Contract, int, float], reverses: tuple[str, ...] = ()) -> None:
    now = desk.desk.clock.now()
    for number, (contract, quantity, price) in enumerate(legs):
        more = {"reverses": reverses[number]} if reverses else {}
        name = f"{contract.date}:{quantity}:{price}:{'bust' if reverses else len(_history(desk))}"
        record_fills(desk.desk.store, [fill(desk, name, "s-1", contract, quantity, price, **more)], now)


def _history(desk) -> list[tuple[int, float]]:
    with desk.desk.store.read() as unit:
        table = schema.strategy_position_history
        return [(row.change, row.price) for row in unit.connection.execute(select(table).order_by(table.c.id))]


def test_each_step_of_a_spread_has_its_own_price_and_a_bust_takes_that_one_back(desk):
    family = _spread_sent(desk, 2)
    _land(desk, (world.GOLD_APR, 1, 2110.0), (world.GOLD_JUN, -1, 2100.0))
    _land(desk, (world.GOLD_APR, 1, 2120.0), (world.GOLD_JUN, -1, 2100.0))

    assert _history(desk) == [(1, pytest.approx(10.0)), (1, pytest.approx(20.0))]
    assert stack.order(desk, family).filled_price == pytest.approx(15.0)

    gone = ("20240400:1:2120.0:1", "20240600:-1:2100.0:1")
    _land(desk, (world.GOLD_APR, -1, 2120.0), (world.GOLD_JUN, 1, 2100.0), reverses=gone)
    assert _history(desk)[-1] == (-1, pytest.approx(20.0))
    assert stack.order(desk, family).filled_price == pytest.approx(10.0)


def test_the_average_of_a_partly_netted_spread_counts_what_was_netted(desk):
    now = desk.desk.clock.now()
    terms = {"reference_price": -30.0, "reference_contract": "20240400", "reference_time": now}
    bought = stack.place(desk, "GOLD_CAL", 5, **terms)
    stack.place(desk, "GOLD_CAL", -2, "carry", **terms)

    desk.work(minutes=20)

    legs = stack.children(desk, bought)[0].legs
    traded = legs[0].filled_price - legs[1].filled_price
    assert stack.order(desk, bought).fill == 5
    assert stack.order(desk, bought).filled_price == pytest.approx((2 * -30.0 + 3 * traded) / 5)
    own = [(change, price) for change, price in _history(desk) if change > 0]
    assert sum(change * price for change, price in own) == pytest.approx(2 * -30.0 + 3 * traded)


# --- orders that end late, and netting on demand ---


def test_a_late_fill_that_makes_an_order_whole_makes_its_family_done(desk):
    late = stack.place(desk, "GOLD", 1, order_type="limit", limit_price=Decimal("1990"), limit_contract="20240400")
    desk.work(minutes=5)
    with desk.desk.store.read() as unit:
        ref = unit.connection.execute(select(schema.broker_orders.c.order_ref)).scalar_one()

    record_fills(desk.desk.store, [fill(desk, "late", ref, world.GOLD_APR, 1, 1990.0)], desk.desk.clock.now())

    with desk.desk.store.read() as unit:
        table = schema.instrument_orders
        row = unit.connection.execute(select(table).where(table.c.id == late)).one()
    assert (row.status, row.fill, row.active, row.note) == ("done", 1, False, "filled late, after it had ended")


def test_spreads_between_markets_are_netted_on_demand_too(desk):
    now = desk.desk.clock.now()
    terms = {"reference_price": -80.0, "reference_time": now}
    stack.place(desk, "BUND_GOLD", 3, "rv", **terms)
    stack.place(desk, "BUND_GOLD", -1, "carry", **terms)

    assert person(desk, "net_instrument_orders").answer == "Netted in BUND_GOLD."

    assert desk.strategy_positions() == {("rv", "BUND_GOLD"): 1, ("carry", "BUND_GOLD"): -1}


def test_in_a_forced_state_a_trade_through_zero_closes_first_and_opens_forward(desk):
    """As the reference has it for Force against the priced position: like Passive. The opening half waits."""
    desk.order("GOLD", 2)
    desk.work(minutes=10)
    desk.roll_state("GOLD", RollState.FORCE)
    turned = stack.place(desk, "GOLD", -5)

    stack.spawn(desk)

    assert stack.traded(desk, turned) == [(("20240400", -2),), (("20240600", -3),)]
    assert [child.sequence for child in stack.children(desk, turned)] == [0, 1]
