"""The status report on who trades."""

import os
from datetime import time, timedelta

import pytest

from pysys.clock import SystemClock
from pysys.config import Config
from pysys.domain.orders import InstrumentOrder, InstrumentOrderType
from pysys.reports.status import status_report
from pysys.store.machine import Holder, boot_id, host_name
from tests.reports.report_world import INSTRUMENTS, House, monday, tuesday


@pytest.mark.parametrize(
    ("host", "age", "state"),
    [(host_name(), 5, "alive"), ("another-machine", 5, "alive"), ("another-machine", 70, "expired")],
)
def test_the_engine_is_shown_and_one_that_is_silent_is_an_exception(house, host, age, state):
    assert [s.content for s in status_report(house.desk).sections if s.heading == "Trading engine"] == [
        "No engine runs."
    ]
    beaten = SystemClock().now() - timedelta(seconds=age)
    holder = Holder(host, os.getpid(), boot_id(), "run")
    with house.store.write() as unit:
        unit.runs.claim("engine:PAPER-1", holder, beaten, timedelta(seconds=60))
        unit.commit()

    report = status_report(house.desk)

    (engine,) = report.table("Trading engine").to_dict("records")
    shown = (engine["account"], engine["state"], engine["host"], engine["process"])
    assert shown == ("PAPER-1", state, host, os.getpid())
    assert age <= engine["last heartbeat, seconds ago"] < age + 30
    told = f"engine does not answer: PAPER-1: process {os.getpid()} on {host} is {state}"
    assert (told in report.data["exceptions"]) == (state != "alive")


LEFT = "orders of a day that is over"


def left_over(house: House, **methods: object) -> list[str]:
    house.config = Config(
        process_configuration_start_time={"run_stack_handler": time(0, 1)},
        process_configuration_stop_time={"run_stack_handler": time(19, 45)},
        process_configuration_methods={"run_stack_handler": methods},
    )
    return [told for told in status_report(house.desk).data["exceptions"] if told.startswith(LEFT)]


def test_orders_that_an_engine_did_not_live_to_end_are_an_exception(empty):
    with empty.store.write() as unit:
        unit.markets.put_instrument(INSTRUMENTS[0])
        for trade, moment in ((5, monday(15)), (-2, tuesday(9)), (1, tuesday(20))):  # the last is for Wednesday
            unit.orders.place_instrument_order(
                InstrumentOrder("trend", "GOLD", trade, InstrumentOrderType.BEST, moment)
            )
        unit.commit()
    first, second = "1 (trend/GOLD, 0 of 5 filled)", "2 (trend/GOLD, 0 of -2 filled)"
    at_the_end = {"safe_stack_removal": {}}
    for now, orders in ((monday(19, 44), ""), (tuesday(10), first), (tuesday(20, 25), f"{first}, {second}")):
        told = (
            f"{LEFT}: since 2024-03-04 15:00 UTC: {orders}. The engine did not end them, and works them when it next "
            "runs; `pysys command run delete_order` takes one off its stack"
        )
        assert left_over(empty.at(now), **at_the_end) == ([told] if orders else [])
        assert left_over(empty) == []  # where the stacks are never taken down
