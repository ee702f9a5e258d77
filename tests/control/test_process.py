"""A process runs its methods in order, when it may."""

from collections.abc import Iterator
from datetime import UTC, datetime, time, timedelta

import pytest

from pysys.config import Method
from pysys.control.operator import change_status, mark_finished, status_lines
from pysys.control.process import method_runs, run_process
from pysys.control.runner import Runner
from pysys.domain.errors import ConfigError, NotAllowedNow
from pysys.domain.process_rules import ProcessStatus
from pysys.store.machine import this_process
from pysys.store.runs import LeaseHeld
from tests.control.conftest import COMPLETE, OPEN, System, with_changes

PROCESS = "run_test_updates"
ALL_DAY = {"default": time(0)}


@pytest.fixture
def process(system: System) -> Iterator[System]:
    """A process of three methods, the second of which fails, and the third waits for completion; open all day."""
    for name, work in (("first", "1"), ("second", "1/0"), ("closing", "2")):
        system.notebook(name, OPEN, work, COMPLETE)
    methods = {
        "closing": Method(run_on_completion_only=True),
        "first": Method(max_executions=2),
        "second": Method(max_executions=1),
    }
    settings = with_changes(
        system.settings,
        process_configuration_methods={PROCESS: methods},
        process_configuration_start_time=ALL_DAY,
        process_configuration_stop_time=ALL_DAY,  # a stop that is not after the start is a day later
        process_configuration_previous_process={},
    )
    yield System(settings, Runner(settings, system.runner.desk, system.nursery))
    with system.store.write() as unit:
        unit.runs.set_process_status(PROCESS, ProcessStatus.GO, "test", datetime.now(UTC))
        unit.commit()


def test_methods_run_in_order_and_one_that_fails_stops_nobody(process: System) -> None:
    outcomes = run_process(process.runner, PROCESS)
    assert [outcome.name for outcome in outcomes] == ["first", "first", "second", "closing"]
    assert [outcome.ok for outcome in outcomes] == [True, True, False, True]
    with process.store.read() as unit:
        state = unit.runs.process(PROCESS)
        assert {run.method for run in unit.runs.find(process=PROCESS)} == {"first", "second", "closing"}
        assert unit.runs.lease(f"process:{PROCESS}") is None
    assert state.last_start is not None
    assert state.last_end is not None
    assert state.last_start < state.last_end
    assert any(line.startswith(PROCESS) for line in status_lines(process.settings, runs=5))


@pytest.mark.parametrize("status", ["STOP", "NO-RUN"])
def test_an_operators_word_holds_until_it_is_changed_or_overruled(process: System, status: str) -> None:
    change_status(process.settings, PROCESS, status)
    with pytest.raises(NotAllowedNow, match=f"is on {status}; `pysys go {PROCESS}`"):
        run_process(process.runner, PROCESS)


def test_now_overrules_every_rule_and_runs_each_method_once(process: System) -> None:
    change_status(process.settings, PROCESS, "STOP")
    outcomes = run_process(process.runner, PROCESS, now=True)
    assert [outcome.name for outcome in outcomes] == ["first", "second", "closing"]


def test_a_process_already_running_is_refused_until_it_is_marked_as_finished(process: System) -> None:
    now = datetime.now(UTC)
    with process.store.write() as unit:
        unit.runs.claim(f"process:{PROCESS}", this_process("other"), now, timedelta(hours=1))
        unit.commit()
    with pytest.raises(NotAllowedNow, match="already running"):
        run_process(process.runner, PROCESS)
    with pytest.raises(LeaseHeld):
        run_process(process.runner, PROCESS, now=True)
    assert mark_finished(process.settings, PROCESS) == [
        f"{PROCESS} is marked as finished; 0 of its runs were still open."
    ]
    with process.store.read() as unit:
        assert unit.runs.lease(f"process:{PROCESS}") is None


def test_a_process_that_ran_through_is_done_for_its_window(process: System) -> None:
    methods = {"run_once_a_day": {"first": Method(max_executions=1)}}
    runner = process.configured(process_configuration_methods=methods)
    assert all(outcome.ok for outcome in run_process(runner, "run_once_a_day"))
    with pytest.raises(NotAllowedNow, match="has already run since"):
        run_process(runner, "run_once_a_day")


def test_strategies_are_run_by_one_notebook_each(process: System) -> None:
    for name in ("run_systems", "generate_orders"):
        process.notebook(name, OPEN, COMPLETE, parameters="strategies: list[str] = []")
    methods = {name: {"example": Method(max_executions=1)} for name in ("run_systems", "run_strategy_order_generator")}
    settings = with_changes(process.settings, process_configuration_methods=methods)
    runs = [method_runs(settings, name)[0] for name in methods]
    assert [(run.notebook, run.parameters) for run in runs] == [
        ("run_systems", {"strategies": ["example"]}),
        ("generate_orders", {"strategies": ["example"]}),
    ]


def test_the_stop_comes_before_the_next_method(process: System) -> None:
    stop = (
        "with run.desk.store.write() as unit:\n"
        "    from pysys.domain.process_rules import ProcessStatus\n"
        f"    unit.runs.set_process_status({PROCESS!r}, ProcessStatus.STOP, 'test', run.desk.clock.now())\n"
        "    unit.commit()"
    )
    process.notebook("first", OPEN, stop, COMPLETE)
    outcomes = run_process(process.runner, PROCESS)
    assert [outcome.name for outcome in outcomes] == ["first", "closing"]


def test_unknown_names_are_answered_with_the_nearest(process: System) -> None:
    with pytest.raises(ConfigError, match=f"Did you mean {PROCESS}"):
        change_status(process.settings, "run_test_update", "GO")
    with pytest.raises(ConfigError, match="Did you mean first"):
        mark_finished(process.settings, "firs")
