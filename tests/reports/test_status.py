"""The status report on who trades."""

import os
from datetime import timedelta

import pytest

from pysys.clock import SystemClock
from pysys.reports.status import status_report
from pysys.store.machine import Holder, boot_id, host_name


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
