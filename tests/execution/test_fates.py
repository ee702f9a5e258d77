"""What is believed of an order, given what the broker says of it."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as some

from pysys.broker.port import BrokerOrderState, WorkingStatus
from pysys.domain.contracts import Contract
from pysys.domain.order_states import BrokerEvent
from pysys.domain.orders import BrokerOrder, BrokerOrderStatus, OrderLeg
from pysys.execution.fates import Verdict, judge

NOW = datetime(2024, 3, 4, 12, tzinfo=UTC)
LONG_AGO = NOW - timedelta(minutes=30)
JUST_NOW = NOW - timedelta(seconds=59)


def order(status: str, filled: int = 0, **more) -> BrokerOrder:
    legs = (OrderLeg(Contract("GOLD", "20240400"), 5, filled),)
    known = {"created_at": LONG_AGO, "submitted_at": LONG_AGO, **more}
    return BrokerOrder(
        "1-1", 1, "trend", "GOLD", legs, "market", "market", "paper", status=BrokerOrderStatus(status), **known
    )


def says(status: str, filled: int = 0) -> BrokerOrderState:
    return BrokerOrderState("1-1", "17", WorkingStatus(status), (filled,))


ended_long_ago = {"algo_state": {"ended_at": LONG_AGO.isoformat()}}
ended_just_now = {"algo_state": {"ended_at": JUST_NOW.isoformat()}}
cancel_asked = {"cancel_requested_at": JUST_NOW}


@pytest.mark.parametrize(
    ("held", "state", "listed_open", "verdict"),
    [
        (order("intended"), says("working"), False, Verdict(BrokerEvent.ACCEPTED)),
        (order("intended"), says("pending"), False, Verdict()),
        (order("working"), says("filled", 5), False, Verdict(BrokerEvent.FILLED)),  # settled by its executions alone
        # one look at a cancel is not enough, and its executions must be booked
        (order("working", **cancel_asked), says("cancelled"), False, Verdict(BrokerEvent.CANCELLED)),
        (order("cancelled", **cancel_asked), says("cancelled"), False, Verdict(BrokerEvent.CANCELLED, settled=True)),
        (order("cancelled", **cancel_asked), says("cancelled", 2), False, Verdict(BrokerEvent.CANCELLED)),
        (order("cancelled", 2, **cancel_asked), says("cancelled", 2), False, Verdict(BrokerEvent.CANCELLED, True)),
        (order("cancelled", 3, **cancel_asked), says("cancelled", 2), False, Verdict(BrokerEvent.CANCELLED, True)),
        # one that nobody asked for takes a minute, and is no cancel at all while the broker lists the order
        (order("cancelled", **ended_just_now), says("cancelled"), False, Verdict(BrokerEvent.CANCELLED)),
        (order("cancelled", **ended_long_ago), says("cancelled"), False, Verdict(BrokerEvent.CANCELLED, True)),
        (order("working"), says("cancelled"), True, Verdict(BrokerEvent.ACCEPTED)),
        (order("rejected"), says("rejected"), False, Verdict(BrokerEvent.REJECTED, True)),
        # never heard of
        (order("intended"), None, False, Verdict(BrokerEvent.NEVER_RECEIVED)),
        (order("intended", submitted_at=JUST_NOW), None, False, Verdict()),
        (order("intended", created_at=NOW, submitted_at=None), None, False, Verdict(send_now=True)),
        (order("intended", created_at=NOW, submitted_at=NOW), None, False, Verdict()),
        (order("intended"), None, True, Verdict(BrokerEvent.ACCEPTED)),
        (order("cancelled"), None, False, Verdict(settled=True)),
        (order("working"), None, False, Verdict(overdue="the broker had it and does not know it any more")),
        # a person is told
        (
            order("working", cancel_requested_at=LONG_AGO),
            says("working"),
            False,
            Verdict(BrokerEvent.ACCEPTED, overdue="the broker does not answer the cancel"),
        ),
        (
            order("filled", **ended_long_ago),
            says("filled", 5),
            False,
            Verdict(BrokerEvent.FILLED, overdue="the broker says it is over, but its executions have not come"),
        ),
    ],
)
def test_what_is_believed(held, state, listed_open, verdict):
    assert judge(held, state, listed_open=listed_open, now=NOW) == verdict


@given(
    some.sampled_from(BrokerOrderStatus),
    some.sampled_from(WorkingStatus),
    some.integers(0, 5),
    some.integers(0, 5),
    some.booleans(),
    some.integers(0, 300),
)
def test_nothing_is_settled_while_it_is_listed_open_or_an_execution_is_missing(
    status, told, filled, told_filled, listed, seconds
):
    held = replace(order(status.value, filled), created_at=NOW - timedelta(seconds=seconds))

    verdict = judge(held, says(told.value, told_filled), listed_open=listed, now=NOW)

    if verdict.settled:
        assert not listed
        assert filled >= told_filled
        assert told in (WorkingStatus.CANCELLED, WorkingStatus.REJECTED)
    assert not verdict.send_now
