"""When a process may start, and which method runs next."""

from dataclasses import replace
from datetime import UTC, datetime, time, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pysys.domain.process_rules import (
    MethodHistory,
    MethodRule,
    PreviousProcess,
    ProcessFacts,
    ProcessStatus,
    Verdict,
    Window,
    due_methods,
    is_finished,
    may_start,
    runs_once,
)

EVENING = Window(time(20), time(23, 50), "UTC")
NIGHT = Window(time(22), time(4), "UTC")
NOON = datetime(2024, 3, 5, 12, tzinfo=UTC)
AT_21 = datetime(2024, 3, 5, 21, tzinfo=UTC)
READY = ProcessFacts("run_systems", ProcessStatus.GO, False, EVENING, None, None)
PRICES = PreviousProcess("run_daily_prices_updates", False, AT_21 - timedelta(hours=1))


def ready(**changes: object) -> ProcessFacts:
    return replace(READY, **changes)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("facts", "now", "verdict"),
    [
        (READY, AT_21, Verdict.START),
        (READY, AT_21.replace(hour=20), Verdict.START),  # the start belongs to the window
        (READY, AT_21.replace(hour=23, minute=50), Verdict.GIVE_UP),  # the stop does not
        (READY, NOON, Verdict.WAIT),
        (ready(running=True), AT_21, Verdict.GIVE_UP),
        (ready(status=ProcessStatus.STOP), AT_21, Verdict.GIVE_UP),
        (ready(status=ProcessStatus.NO_RUN), AT_21, Verdict.WAIT),
        (ready(status=ProcessStatus.NO_RUN), AT_21.replace(hour=23, minute=55), Verdict.GIVE_UP),
        (ready(status=ProcessStatus.PAUSE), AT_21, Verdict.START),  # it starts, and idles
        (ready(machine="trader"), AT_21, Verdict.START),
        (ready(machine="research"), AT_21, Verdict.GIVE_UP),
        (ready(previous=PRICES), AT_21, Verdict.START),
        (ready(previous=replace(PRICES, running=True)), AT_21, Verdict.WAIT),
        (ready(previous=replace(PRICES, last_end=None)), AT_21, Verdict.WAIT),
        (ready(previous=replace(PRICES, last_end=AT_21 - timedelta(hours=24))), AT_21, Verdict.START),
        (ready(previous=replace(PRICES, last_end=AT_21 - timedelta(hours=24, seconds=1))), AT_21, Verdict.WAIT),
        (ready(completed_at=AT_21 - timedelta(minutes=5), runs_once=True), AT_21, Verdict.GIVE_UP),
        (ready(completed_at=AT_21 - timedelta(days=1), runs_once=True), AT_21, Verdict.START),
        (ready(completed_at=AT_21 - timedelta(minutes=5)), AT_21, Verdict.START),  # all day long, so again
        (ready(window=NIGHT), AT_21, Verdict.WAIT),
        (ready(window=NIGHT), AT_21.replace(hour=23), Verdict.START),
        (ready(window=NIGHT), AT_21.replace(hour=3, minute=59), Verdict.START),  # after midnight
        (ready(window=NIGHT), AT_21.replace(hour=4), Verdict.WAIT),
        (ready(window=Window(time(20), time(23), "America/New_York")), AT_21, Verdict.WAIT),  # 16:00 there
    ],
)
def test_may_start(facts: ProcessFacts, now: datetime, verdict: Verdict) -> None:
    decision = may_start(facts, now, machine="trader")
    assert decision.verdict is verdict
    assert (decision.reason == "") == (verdict is Verdict.START)


def test_a_job_runs_once_on_the_days_the_clocks_change() -> None:
    window = Window(time(2, 30), time(4), "Europe/Berlin")
    for day in (datetime(2024, 3, 31, tzinfo=UTC), datetime(2024, 10, 27, tzinfo=UTC)):
        starts = 0
        completed = day - timedelta(days=1)
        for minute in range(24 * 60):
            now = day + timedelta(minutes=minute)
            if may_start(ready(window=window, runs_once=True, completed_at=completed), now, "m").verdict == "start":
                starts += 1
                completed = now
        assert starts == 1


TIMES = st.times().map(lambda moment: moment.replace(microsecond=0))


@given(TIMES, TIMES, st.datetimes(datetime(2020, 1, 1), datetime(2026, 1, 1), timezones=st.just(UTC)))
def test_a_window_is_open_exactly_between_its_times_of_day(start: time, stop: time, now: datetime) -> None:
    begins, ends = Window(start, stop, "UTC").occurrence(now)
    of_day = now.timetz().replace(tzinfo=None)
    inside = start <= of_day < stop if start < stop else of_day >= start or of_day < stop
    assert (begins <= now < ends) == inside


@pytest.mark.parametrize(
    ("window", "now", "stop"),
    [  # 1 March 2024 is a Friday
        (EVENING, "2024-03-05 23:49", "2024-03-04 23:50"),
        (EVENING, "2024-03-05 23:50", "2024-03-05 23:50"),
        (EVENING, "2024-03-04 10:00", "2024-03-01 23:50"),  # nothing stops on a weekend
        (NIGHT, "2024-03-02 03:00", "2024-03-01 04:00"),
        (NIGHT, "2024-03-02 04:00", "2024-03-01 04:00"),  # most of Friday's night is Saturday's
        (NIGHT, "2024-03-04 12:00", "2024-03-04 04:00"),  # and most of Sunday's is Monday's
    ],
)
def test_the_last_stop_is_that_of_a_weekday(window: Window, now: str, stop: str) -> None:
    read = datetime.fromisoformat
    assert window.last_stop_of_a_weekday(read(now).replace(tzinfo=UTC)) == read(stop).replace(tzinfo=UTC)


HOURLY = MethodRule("hourly", frequency=60, max_executions=2)
ONCE = MethodRule("once", max_executions=1)
ENDLESS = MethodRule("endless")
LAST = MethodRule("last", on_completion_only=True)


@pytest.mark.parametrize(
    ("history", "due"),
    [
        ({}, ["hourly", "once"]),
        ({"hourly": MethodHistory(1, NOON)}, ["once"]),
        ({"hourly": MethodHistory(1, NOON - timedelta(hours=1)), "once": MethodHistory(1, NOON)}, ["hourly"]),
        ({"hourly": MethodHistory(2, NOON - timedelta(hours=9)), "once": MethodHistory(1, NOON)}, []),
    ],
)
def test_methods_are_due_by_count_and_frequency(history: dict[str, MethodHistory], due: list[str]) -> None:
    assert [rule.name for rule in due_methods([HOURLY, ONCE, LAST], history, NOON)] == due


def test_methods_of_completion_never_keep_a_process_open() -> None:
    spent = {"once": MethodHistory(1, NOON)}
    assert is_finished([ONCE, LAST], spent)
    assert not is_finished([ONCE, LAST, ENDLESS], spent)
    assert runs_once([ONCE, HOURLY, LAST])
    assert not runs_once([ONCE, ENDLESS])
