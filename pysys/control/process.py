"""One run of a process: may it start, then its methods in order, as often as configured, until its window ends."""

import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, time, timedelta
from typing import Any

from pysys.clock import SystemClock
from pysys.config import Config, Settings
from pysys.control.ledger import LEASE_LASTS, new_run_id, process_lease
from pysys.control.notebooks import find_notebook
from pysys.control.outcome import RunOutcome
from pysys.control.runner import Runner
from pysys.desk import Desk
from pysys.domain.errors import ConfigError, NotAllowedNow
from pysys.domain.process_rules import (
    Decision,
    MethodHistory,
    MethodRule,
    PreviousProcess,
    ProcessFacts,
    ProcessStatus,
    Verdict,
    Window,
    completion_methods,
    due_methods,
    is_finished,
    may_start,
    runs_once,
)
from pysys.store.machine import host_name, this_process
from pysys.store.runs import RunStatus
from pysys.store.unit import Store

POLL = timedelta(seconds=60)  # between two looks whether a waiting process may start
_STEP = timedelta(seconds=0.5)  # between two looks at an idle process's status
_HEARTBEAT = 20.0  # seconds
# Processes whose methods are strategies, and the notebook that runs one of them.
_OF_STRATEGIES = {"run_systems": "run_systems", "run_strategy_order_generator": "generate_orders"}
# Processes whose methods one notebook calls over and over.
_OF_THE_ENGINE = ("run_stack_handler",)


@dataclass(frozen=True, slots=True)
class MethodRun:
    """One method of a process as a notebook run."""

    rule: MethodRule
    notebook: str
    parameters: Mapping[str, Any]


def process_names(config: Config) -> list[str]:
    """Every configured process, in the order of their start times; those without one last."""
    starts = config.process_configuration_start_time
    names = {*config.process_configuration_methods, *starts} - {"default"}

    def place(name: str) -> tuple[bool, time, str]:
        start = starts.get(name, starts.get("default"))
        return start is None, time.min if start is None else start, name

    return sorted(names, key=place)


def process_window(config: Config, name: str) -> Window:
    """Start and stop of a process. Raises ConfigError when neither it nor `default` has them."""
    starts, stops = config.process_configuration_start_time, config.process_configuration_stop_time
    start, stop = starts.get(name, starts.get("default")), stops.get(name, stops.get("default"))
    if start is None or stop is None:
        raise ConfigError(
            f"{name} has no start or stop time. Add it, or `default`, to process_configuration_start_time and "
            "process_configuration_stop_time."
        )
    return Window(start, stop, config.timezone)


def method_runs(settings: Settings, name: str) -> list[MethodRun]:
    """The methods of a process, in order. Raises ConfigError for one that has no notebook."""
    config = settings.config
    if name in _OF_THE_ENGINE:
        return [MethodRun(MethodRule(name, max_executions=1), name, {})]
    found = []
    for method, entry in config.process_configuration_methods[name].items():
        rule = MethodRule(method, entry.frequency, entry.max_executions, entry.run_on_completion_only)
        if name in _OF_STRATEGIES:
            found.append(MethodRun(rule, _OF_STRATEGIES[name], {"strategies": [method]}))
        else:
            found.append(MethodRun(rule, find_notebook(settings.notebooks, method).stem, {}))
    return found


def process_facts(
    settings: Settings, store: Store, name: str, methods: Sequence[MethodRun], now: datetime
) -> ProcessFacts:
    """What the store and the configuration know of a process."""
    config = settings.config
    window = process_window(config, name)
    before = config.process_configuration_previous_process.get(name)
    real = SystemClock().now()
    with store.read() as unit:
        state = unit.runs.process(name)
        lease = unit.runs.lease(process_lease(name))
        previous = None
        if before is not None:
            held = unit.runs.lease(process_lease(before))
            running = held is not None and not held.is_free(real)
            previous = PreviousProcess(before, running, unit.runs.process(before).last_end)
        since = window.occurrence(now)[0]
        done = unit.runs.find(process=name, status=RunStatus.DONE, since=since)
    ran = [(run.method, dict(run.parameters)) for run in done]
    complete = bool(methods) and all((each.notebook, dict(each.parameters)) in ran for each in methods)
    return ProcessFacts(
        name=name,
        status=state.status,
        running=lease is not None and not lease.is_free(real),
        window=window,
        machine=config.process_configuration_machine.get(name),
        previous=previous,
        completed_at=max((run.started_at for run in done), default=None) if complete else None,
        runs_once=name not in _OF_THE_ENGINE and runs_once([each.rule for each in methods]),
    )


def run_process(runner: Runner, name: str, *, now: bool = False, wait: bool = False) -> list[RunOutcome]:
    """Run a process: all its methods, until each has had its executions or the window ends. Returns every outcome.

    A method that fails does not stop the others. `wait` polls until it may start, as long as that can still come.
    `now` asks nobody and runs each method once.

    Raises NotAllowedNow with the reason when it may not start.
    """
    settings, desk = runner.settings, runner.desk
    methods = method_runs(settings, name)
    if not now:
        _wait_for_start(settings, desk, name, methods, wait)
    with _lease(desk, name):
        return _Round(desk, name, methods, runner, _stop_time(settings, desk, name)).run(once=now)


def _wait_for_start(settings: Settings, desk: Desk, name: str, methods: Sequence[MethodRun], wait: bool) -> None:
    while True:
        decision = start_decision(settings, desk, name, methods)
        if decision.verdict is Verdict.START:
            return
        if decision.verdict is Verdict.GIVE_UP or not wait:
            raise NotAllowedNow(f"{decision.reason} Use --now to run it all the same.")
        desk.clock.sleep_until(desk.clock.now() + POLL)


def start_decision(settings: Settings, desk: Desk, name: str, methods: Sequence[MethodRun]) -> Decision:
    """Whether the process may start at this moment on this machine."""
    now = desk.clock.now()
    return may_start(process_facts(settings, desk.store, name, methods, now), now, host_name())


def _stop_time(settings: Settings, desk: Desk, name: str) -> datetime:
    return process_window(settings.config, name).occurrence(desk.clock.now())[1]


@contextmanager
def _lease(desk: Desk, name: str) -> Iterator[None]:
    """Hold the process's lease and stamp its start and end. Raises LeaseHeld when another run of it lives."""
    holder = this_process(new_run_id())
    lease, store = process_lease(name), desk.store
    with store.write() as unit:
        unit.runs.claim(lease, holder, SystemClock().now(), LEASE_LASTS)
        unit.runs.process_started(name, desk.clock.now())
        unit.commit()
    ended = threading.Event()

    def beat() -> None:
        while not ended.wait(_HEARTBEAT):
            with store.write() as unit:
                unit.runs.heartbeat(lease, holder, SystemClock().now(), LEASE_LASTS)
                unit.commit()

    thread = threading.Thread(target=beat, name="process heartbeat", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
        with store.write() as unit:
            unit.runs.process_ended(name, desk.clock.now())
            unit.runs.release(lease, holder)
            unit.commit()


class _Round:
    """The methods of one run of a process, one after the other."""

    def __init__(self, desk: Desk, name: str, methods: Sequence[MethodRun], runner: Runner, stop: datetime) -> None:
        self.desk = desk
        self.name = name
        self.methods = {each.rule.name: each for each in methods}
        self.rules = [each.rule for each in methods]
        self.runner = runner
        self.stop = stop
        self.history: dict[str, MethodHistory] = {}
        self.outcomes: list[RunOutcome] = []

    def run(self, *, once: bool) -> list[RunOutcome]:
        if once:
            for rule in self.rules:
                if not rule.on_completion_only:
                    self._run(rule)
        else:
            self._run_until_done()
        for rule in completion_methods(self.rules):
            self._run(rule)
        return self.outcomes

    def _run_until_done(self) -> None:
        while not is_finished(self.rules, self.history):
            now, status = self.desk.clock.now(), self._status()
            if status is ProcessStatus.STOP or now >= self.stop:
                return
            due = due_methods(self.rules, self.history, now)
            if due and status is not ProcessStatus.PAUSE:
                self._run(due[0])
            else:
                self.desk.clock.sleep_until(now + _STEP)

    def _run(self, rule: MethodRule) -> None:
        past = self.history.get(rule.name, MethodHistory())
        self.history[rule.name] = MethodHistory(past.executions + 1, self.desk.clock.now())
        method = self.methods[rule.name]
        deadline = self._minutes_left() if self.name in _OF_THE_ENGINE else None
        self.outcomes.append(
            self.runner.run(method.notebook, method.parameters, process=self.name, deadline_minutes=deadline)
        )

    def _minutes_left(self) -> float:
        """For what ends by itself at the stop time: until then, and the usual deadline to take things down."""
        left = (self.stop - self.desk.clock.now()).total_seconds() / 60
        return max(left, 0.0) + self.desk.config.run_deadline_minutes

    def _status(self) -> ProcessStatus:
        with self.desk.store.read() as unit:
            return unit.runs.process(self.name).status
