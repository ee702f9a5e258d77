"""A roll that is cut off between two contracts: what it owes survives, is said, and is made good."""

import logging
from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as some

from pysys.domain.errors import NeedsOperator
from pysys.domain.orders import BrokerOrder, BrokerOrderStatus, Fill
from pysys.domain.roll_debts import ENTERS, LEAVES, still_owed
from pysys.domain.roll_states import RollState
from pysys.execution.commands import new_token, request
from pysys.store.restrictions import PERSON
from tests.broker import paper_world as world
from tests.execution import stack
from tests.execution.odd_broker import OddBroker

APR, JUN = "GOLD/20240400", "GOLD/20240600"


@pytest.fixture
def desk(trading_on_sqlite):
    """Long four of gold in April, at a broker that can have faults."""
    trading = trading_on_sqlite
    trading.desk = replace(trading.desk, broker=OddBroker(trading.desk.broker))
    stack.configure(trading, default_algo="market")
    trading.order("GOLD", 4)
    trading.work(hours=1)
    assert trading.positions() == {APR: 4}
    return trading


def tomorrow(desk, days: int = 1) -> None:
    now = desk.desk.clock.now()
    desk.desk.clock.sleep_until((now + timedelta(days=days)).replace(hour=9, minute=0))


def state_of(desk) -> RollState:
    with desk.desk.store.read() as unit:
        return unit.markets.roll_status("GOLD").state


def trade_limit(desk, contracts: int, days: int = 1) -> None:
    with desk.desk.store.write() as unit:
        unit.trade_limits.set("", "GOLD", days, contracts, at=desk.desk.clock.now())
        unit.commit()


def person(desk, name: str, **arguments):
    return request(desk.desk, name, arguments, who="rob", why="a story", token=new_token())


def stuck_after_leaving(desk) -> None:
    """The whole April position is left, and then nothing more is accepted for the day."""
    desk.roll_state("GOLD", RollState.FORCE_OUTRIGHT)
    stack.roll(desk)
    _fill_at_the_broker(desk, 2, ((world.GOLD_APR, -4),))


def _fill_at_the_broker(desk, contract_order: int, legs) -> None:
    """An order of ours that ended after these fills, sent under another name because the paper fills whole orders."""
    now, ref = desk.desk.clock.now(), f"{contract_order}-before"
    with desk.desk.store.write() as unit:
        parent = unit.orders.contract_order(contract_order)
        written = unit.orders.write_broker_order(
            BrokerOrder(
                ref, parent.id, parent.strategy, "GOLD", parent.legs, "market", "market", "paper", now,
                status=BrokerOrderStatus.CANCELLED, roll_order=True, submitted_at=now,
            )
        )  # fmt: skip
        unit.orders.update_broker_order(written.id, active=False)
        unit.commit()
    for number, (contract, quantity) in enumerate(legs):
        price = world.STARTS[contract]
        desk.desk.broker.fills_late(Fill("paper", f"late{number}", ref, contract, quantity, price, now, 1.0, "USD"))


# --- limits ---


def test_a_roll_in_legs_never_leaves_more_than_the_limit_lets_it_enter(desk):
    trade_limit(desk, 4)
    desk.roll_state("GOLD", RollState.FORCE_OUTRIGHT)

    desk.work(minutes=20)

    assert desk.positions() == {APR: 2, JUN: 2}
    desk.assert_in_balance()
    tomorrow(desk, 2)
    desk.work(minutes=20)
    assert desk.positions() == {JUN: 4}
    desk.assert_in_balance()


@pytest.mark.parametrize("limit", [1, 5])
def test_whatever_the_trade_limit_strategies_and_contracts_agree_at_the_end_of_the_day(desk, limit):
    trade_limit(desk, limit)
    desk.roll_state("GOLD", RollState.FORCE_OUTRIGHT)

    desk.work(minutes=20)

    assert sum(desk.positions().values()) == 4
    assert desk.positions().get(JUN, 0) == min(4, limit // 2)


# --- what interrupts a roll ---


def _lock(desk) -> None:
    with desk.desk.store.write() as unit:
        unit.restrictions.lock("GOLD", PERSON, at=desk.desk.clock.now(), who="rob", why="wait")
        unit.commit()


def _unlock(desk) -> None:
    with desk.desk.store.write() as unit:
        unit.restrictions.unlock("GOLD", PERSON)
        unit.commit()


INTERRUPTIONS = {
    "limit": (lambda desk: trade_limit(desk, 0), lambda desk: trade_limit(desk, 100)),
    "lock": (_lock, _unlock),
    "kill switch": (
        lambda desk: person(desk, "engage_kill_switch"),
        lambda desk: person(desk, "release_kill_switch"),
    ),
    "refusals": (
        lambda desk: setattr(desk.desk.broker, "refuses", "margin"),
        lambda desk: setattr(desk.desk.broker, "refuses", ""),
    ),
}


@pytest.mark.parametrize("interruption", INTERRUPTIONS)
def test_what_a_roll_owes_survives_the_day_is_said_and_is_made_good_in_the_forward_contract(desk, interruption, caplog):
    begin, end = INTERRUPTIONS[interruption]
    stuck_after_leaving(desk)
    begin(desk)
    waiting = stack.place(desk, "GOLD", -1, "carry")

    result = desk.work(minutes=30)

    assert (desk.positions(), desk.strategy_positions()) == ({}, {("trend", "GOLD"): 4})
    with pytest.raises(NeedsOperator, match=r"GOLD its roll was cut off and still owes \+4 GOLD/20240600"):
        result.raise_if_incomplete()
    assert any("still owes +4 GOLD/20240600" in r.getMessage() for r in caplog.records if r.levelno >= logging.CRITICAL)
    assert len([order for order in stack.stack(desk) if order.roll_order]) == 1
    assert not desk.desk.broker.real.working_orders() and state_of(desk) is RollState.FORCE_OUTRIGHT

    tomorrow(desk)
    desk.work(minutes=30)  # still interrupted: nothing is lost, and nobody trades against what is missing
    assert state_of(desk) is RollState.FORCE_OUTRIGHT and desk.positions() == {}
    assert stack.order(desk, waiting).fill == 0

    end(desk)
    tomorrow(desk)
    result = desk.work(minutes=20)

    assert desk.positions() == {JUN: 4} == desk.broker_positions()
    desk.assert_in_balance()
    assert [order for order in stack.stack(desk) if order.roll_order] == []
    result.raise_if_incomplete()


def test_what_is_owed_is_traded_even_when_a_person_changes_the_state(desk):
    stuck_after_leaving(desk)
    _lock(desk)
    desk.work(minutes=30)
    desk.roll_state("GOLD", RollState.NO_ROLL)
    _unlock(desk)

    tomorrow(desk)
    desk.work(minutes=20)

    assert desk.positions() == {JUN: 4}
    desk.assert_in_balance()


def test_what_other_trades_have_made_good_is_not_traded_again(desk):
    stuck_after_leaving(desk)
    _lock(desk)
    desk.work(minutes=30)
    (roll,) = [order for order in stack.stack(desk) if order.roll_order]
    assert person(desk, "balance_instrument_trade", strategy="trend", instrument="GOLD", quantity=-4).status == "done"
    _unlock(desk)

    tomorrow(desk)
    desk.work(minutes=20)

    assert (desk.positions(), desk.strategy_positions()) == ({}, {})
    assert stack.order(desk, roll.id).note == "what it left was made good by other trades"


def test_a_late_fill_of_the_leaving_leg_opens_the_roll_again(desk):
    desk.roll_state("GOLD", RollState.FORCE_OUTRIGHT)
    stack.roll(desk)
    _lock(desk)
    desk.work(minutes=10)
    assert [order for order in stack.stack(desk) if order.roll_order] == []
    _fill_at_the_broker(desk, 2, ((world.GOLD_APR, -1),))
    _unlock(desk)

    tomorrow(desk)
    desk.work(minutes=20)

    assert desk.positions() == {APR: 3, JUN: 1}
    desk.assert_in_balance()
    tomorrow(desk)
    desk.work(minutes=20)
    assert desk.positions() == {JUN: 4}


@pytest.mark.parametrize(("leg", "doubled"), [(LEAVES, (world.GOLD_APR, -1)), (ENTERS, (world.GOLD_JUN, 1))])
def test_a_leg_of_a_roll_that_fills_twice_is_traded_back(desk, leg, doubled):
    desk.roll_state("GOLD", RollState.FORCE_OUTRIGHT)
    desk.work(minutes=30)
    assert desk.positions() == {JUN: 4}
    _fill_at_the_broker(desk, stack.children(desk, 2)[leg].id, (doubled,))
    tomorrow(desk)

    desk.work(minutes=20)

    assert desk.positions() == desk.broker_positions() == {JUN: 4}
    desk.assert_in_balance()


# --- legs filled unevenly ---


@pytest.mark.parametrize("filled", [((world.GOLD_APR, -4),), ((world.GOLD_APR, -1),), ((world.GOLD_JUN, 3),)])
def test_legs_filled_unevenly_are_made_even_before_more_of_the_spread_is_sent(desk, filled, monkeypatch):
    desk.roll_state("GOLD", RollState.FORCE)
    stack.roll(desk)
    _fill_at_the_broker(desk, 2, filled)
    sent = []
    submit = desk.desk.broker.real.submit

    def watched(ticket):
        sent.append(tuple(leg.quantity for leg in ticket.legs))
        submit(ticket)

    monkeypatch.setattr(desk.desk.broker.real, "submit", watched)

    desk.work(minutes=20)

    assert desk.positions() == {JUN: 4}
    desk.assert_in_balance()
    assert all(len(legs) == 1 or sum(legs) == 0 for legs in sent)


def test_a_spread_with_one_leg_left_at_the_end_of_the_day_is_completed_the_next(desk):
    desk.roll_state("GOLD", RollState.FORCE)
    stack.roll(desk)
    _fill_at_the_broker(desk, 2, ((world.GOLD_APR, -4),))
    desk.desk.broker.refuses = "no"

    desk.work(minutes=30)

    assert state_of(desk) is RollState.FORCE
    desk.desk.broker.refuses = ""
    tomorrow(desk)
    desk.work(minutes=20)
    assert desk.positions() == {JUN: 4}
    desk.assert_in_balance()


@given(some.lists(some.integers(-3, 3).filter(bool), min_size=2, max_size=3), some.integers(1, 5), some.data())
def test_what_is_owed_makes_the_fills_whole_units_and_trades_nothing_back(ratios, units, data):
    wanted = {number: ratio * units for number, ratio in enumerate(ratios)}
    filled = {
        number: data.draw(some.integers(min(0, quantity), max(0, quantity))) for number, quantity in wanted.items()
    }

    owed = still_owed(wanted, filled)

    after = {number: filled[number] + owed.get(number, 0) for number in wanted}
    assert still_owed(wanted, after) == {}
    assert all(quantity * wanted[number] > 0 for number, quantity in owed.items())
    assert all(abs(after[number]) <= abs(wanted[number]) for number in wanted)


def test_a_fill_by_hand_of_the_second_leg_is_known_as_that(desk):
    desk.roll_state("GOLD", RollState.FORCE)
    stack.roll(desk)

    person(desk, "fill_by_hand", contract_order=2, contract="20240600", quantity=1, price=2120.0)

    with desk.desk.store.read() as unit:
        assert unit.orders.possibly_traded(2) == {world.GOLD_JUN: 1}


# --- held up by what a person can do something about ---


@pytest.mark.incident("R5")
def test_a_roll_that_a_limit_blocks_is_told_a_day_before_its_deadline_with_what_to_do(desk, caplog):
    trade_limit(desk, 6, days=30)
    desk.roll_state("GOLD", RollState.FORCE)
    desk.work(minutes=20)
    assert desk.positions() == {APR: 1, JUN: 3}
    told = []
    for _ in range(2):
        tomorrow(desk)
        desk.desk.clock.sleep_until(desk.desk.clock.now() + timedelta(hours=5))
        told.append(desk.work(minutes=20))

    told[0].raise_if_incomplete()
    with pytest.raises(
        NeedsOperator, match=r"GOLD in state Force for 2\.\d days .*trade_limit: 6 of 6 .*raise the trade"
    ):
        told[1].raise_if_incomplete()
    assert len([r for r in caplog.records if r.levelno >= logging.CRITICAL and "in state Force" in r.getMessage()]) == 1


@pytest.mark.incident("R5")
def test_a_limit_that_can_never_have_room_for_a_roll_is_told_at_once(desk):
    trade_limit(desk, 1, days=30)
    desk.roll_state("GOLD", RollState.FORCE)

    result = desk.work(minutes=20)

    with pytest.raises(NeedsOperator, match="raise the trade limit"):
        result.raise_if_incomplete()


@pytest.mark.incident("R5")
def test_a_roll_behind_a_lock_is_told_too(desk):
    _lock(desk)
    desk.roll_state("GOLD", RollState.FORCE_OUTRIGHT)
    desk.work(minutes=20)
    tomorrow(desk, 2)
    desk.desk.clock.sleep_until(desk.desk.clock.now() + timedelta(hours=5))

    result = desk.work(minutes=20)

    assert "look why it is locked" in result.rolls["GOLD"]


@pytest.mark.incident("R5")
def test_a_roll_behind_an_order_that_does_not_trade_is_told_too(desk):
    with desk.desk.store.write() as unit:
        unit.trade_limits.set("carry", "GOLD", 30, 0, at=desk.desk.clock.now())
        unit.commit()
    desk.roll_state("GOLD", RollState.FORCE_OUTRIGHT)
    tomorrow(desk, 2)
    desk.desk.clock.sleep_until(desk.desk.clock.now() + timedelta(hours=5))
    behind = desk.order("GOLD", -1, "carry")
    stack.spawn(desk)

    result = desk.work(minutes=20)

    assert result.rolls["GOLD"].endswith(f"held up by order {behind} in GOLD: let that order trade, or delete it")
