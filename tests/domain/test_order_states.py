"""Orders move only along the table, whatever is heard and in whatever order."""

import pytest
from hypothesis import given
from hypothesis import strategies as some

from pysys.domain.order_states import (
    BROKER_ORDER_MOVES,
    ORDER_MOVES,
    BrokerEvent,
    OrderEvent,
    apply_to_broker_order,
    apply_to_order,
)
from pysys.domain.orders import BrokerOrderStatus, OrderStatus

Status, Event = BrokerOrderStatus, BrokerEvent


@pytest.mark.parametrize(
    ("status", "event", "after"),
    [
        ("intended", "filled", "filled"),
        ("working", "cancelled", "cancelled"),
        ("cancelled", "filled", "filled"),  # the execution and the cancel crossed
        ("rejected", "filled", "filled"),
        ("cancelled", "accepted", "working"),  # an informational message passed for a cancel
        ("cancelled", "rejected", "cancelled"),
        ("filled", "cancelled", "filled"),
        ("filled", "accepted", "filled"),
        ("filled", "busted", "cancelled"),
        ("working", "never_received", "working"),  # it had been acknowledged
    ],
)
def test_the_odd_and_the_ordinary_moves(status, event, after):
    assert apply_to_broker_order(Status(status), Event(event)) == Status(after)


@given(some.lists(some.sampled_from(Event)))
def test_only_a_bust_takes_filled_away_and_nothing_goes_back_to_intended(events):
    status = Status.INTENDED
    for event in events:
        after = apply_to_broker_order(status, event)
        assert after is status or BROKER_ORDER_MOVES[status, event] is after
        assert after is not Status.INTENDED or status is Status.INTENDED
        assert status is not Status.FILLED or after is Status.FILLED or event is Event.BUSTED
        status = after


@given(some.sampled_from(Status), some.sampled_from(Event))
def test_hearing_the_same_twice_is_hearing_it_once(status, event):
    once = apply_to_broker_order(status, event)

    assert apply_to_broker_order(once, event) is once


@given(some.sampled_from(Status))
def test_every_state_can_still_become_filled(status):
    assert apply_to_broker_order(status, Event.FILLED) is Status.FILLED


@given(some.lists(some.sampled_from(OrderEvent)))
def test_a_completed_order_stays_completed_and_only_a_roll_that_is_left_owing_opens_again(events):
    status = OrderStatus.OPEN
    for event in events:
        after = apply_to_order(status, event)
        assert after is status or ORDER_MOVES[status, event] is after
        if event is OrderEvent.LEFT_OWING:
            assert after is OrderStatus.OPEN
        else:
            assert status is not OrderStatus.DONE or after is OrderStatus.DONE
            assert after is not OrderStatus.OPEN or status is OrderStatus.OPEN
        status = after
