"""The engine as a run: written down as other runs are, started and watched by a notebook, and no part of its kernel."""

import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pandas as pd

from pysys.config import Settings
from pysys.control.ledger import completion_record, notebook_lease, open_entry
from pysys.control.opening import open_desk
from pysys.control.outcome import RunFailed, RunOutcome, one_line
from pysys.control.run import log_into
from pysys.desk import Desk
from pysys.domain.errors import PysysError
from pysys.execution.engine import require_window, run_engine
from pysys.execution.stack_handler import run_stack_handler
from pysys.execution.stack_result import PROCESS, StackHandlerResult
from pysys.store.machine import is_gone
from pysys.store.repository import Author
from pysys.store.runs import Run, RunStatus

ENGINE = "engine"  # name of its runs
_BEAT = timedelta(seconds=20)
_LOOK = timedelta(seconds=1)
_STARTS_WITHIN = timedelta(seconds=60)


def run_engine_here(settings: Settings, until: datetime | None, *, now: bool) -> RunOutcome:
    """Be the engine until the end of its day, written down as a run. now: whatever the window says.

    A day that leaves something for a person is a failed run that keeps its record. Raises NotAllowedNow outside the
    window, on STOP and while another engine runs, and WrongAccount; then nothing was sent.
    """
    desk = open_desk(settings, Author(PROCESS))
    try:
        if not now:
            require_window(settings.config, desk.clock.now())
        return _run(desk, until)
    finally:
        desk.store.close()


def _run(desk: Desk, until: datetime | None) -> RunOutcome:
    parameters = {"until": None if until is None else until.isoformat()}
    entry = open_entry(desk.store, desk.clock, desk.config, ENGINE, parameters, process=PROCESS)
    signed = replace(desk, store=desk.store.signed(Author(PROCESS, entry.run_id)))
    handler = log_into(signed)
    beaten = desk.clock.now()

    def beat(moment: datetime) -> None:
        nonlocal beaten
        if moment - beaten >= _BEAT:
            beaten = moment
            entry.heartbeat()

    error: str | None = "It was interrupted."
    try:
        result = run_engine(signed, until, beat)
        with signed.store.write() as unit:
            unit.runs.complete(entry.run_id, completion_record(result))
            unit.commit()
        error = _left_for_a_person(result)
    except Exception as problem:
        error = one_line(f"{type(problem).__name__}: {problem}")
        raise
    finally:
        handler.flush()
        outcome = entry.close(error)
    return outcome


def _left_for_a_person(result: StackHandlerResult) -> str | None:
    try:
        result.raise_if_incomplete()
    except PysysError as problem:
        return one_line(str(problem))
    return None


@dataclass(frozen=True, slots=True)
class EngineReport:
    """The run of an engine, looked at from outside."""

    run: Run

    @property
    def _record(self) -> Mapping[str, Any]:
        return {} if self.run.record is None else self.run.record

    def table(self) -> pd.DataFrame:
        rows = [(name.replace("_", " "), value) for name, value in self._record.items() if isinstance(value, int)]
        return pd.DataFrame(rows, columns=["what", "count"]).set_index("what")

    def summary(self) -> dict[str, Any]:
        return {**self._record, "engine_run": self.run.id}

    def raise_if_incomplete(self) -> None:
        """Raises RunFailed when the engine did not come to a good end."""
        if self.run.status is not RunStatus.DONE:
            raise RunFailed(f"The engine's run {self.run.id} is {self.run.status.value}: {self.run.error}")


def work_orders(desk: Desk, until: datetime | None = None) -> StackHandlerResult | EngineReport:
    """Have all orders worked until `until`, or the configured stop time, and say what was done.

    By an engine of its own process, which goes on when this one ends; one that runs already is watched. In a rehearsal
    the same loop runs here, because simulated time has to wait for it.
    """
    if desk.config.clock == "exchange":
        return run_stack_handler(desk, until)
    run = running_engine(desk)
    if run is not None:
        return EngineReport(_watched(desk, run))
    process = _start(desk, until)
    report = EngineReport(_watched(desk, _started(desk, process)))
    process.wait()
    return report


def running_engine(desk: Desk) -> Run | None:
    """The run of the engine that is alive now."""
    with desk.store.read() as unit:
        lease = unit.runs.lease(notebook_lease(ENGINE))
        run = None if lease is None else unit.runs.get(lease.holder.run_id)
    return None if run is None or run.status is not RunStatus.RUNNING or is_gone(run.holder) else run


def engine_log(desk: Desk) -> Path:
    """What an engine says before and besides its log in the database."""
    return desk.outputs / "state" / "engine.log"


def _start(desk: Desk, until: datetime | None) -> "subprocess.Popen[bytes]":
    command = [sys.executable, "-m", "pysys.execution.engine", "--now"]
    if until is not None:
        command += ["--until", until.isoformat()]
    log = engine_log(desk)
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as output:
        return subprocess.Popen(  # noqa: S603
            command,
            cwd=desk.home,
            env={**os.environ, "PYSYS_HOME": str(desk.home)},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )


def _started(desk: Desk, process: "subprocess.Popen[bytes]") -> Run:
    """The run of the engine just started. Raises RunFailed when it ended before there was one."""
    deadline = desk.clock.now() + _STARTS_WITHIN
    while desk.clock.now() < deadline:
        with desk.store.read() as unit:
            runs = unit.runs.find(method=ENGINE, limit=5)
        found = next((run for run in runs if run.pid == process.pid and not _is_older(run, process)), None)
        if found is not None:
            return found
        if process.poll() is not None:
            break
        desk.clock.sleep_until(desk.clock.now() + _LOOK / 5)
    said = engine_log(desk).read_text(encoding="utf-8", errors="replace").strip().splitlines()
    raise RunFailed(f"The engine did not start: {said[-1] if said else 'it said nothing'}")


def _is_older(run: Run, process: "subprocess.Popen[bytes]") -> bool:
    return run.status is not RunStatus.RUNNING and process.poll() is None


def _watched(desk: Desk, run: Run) -> Run:
    """The run when it has ended, or its process is gone."""
    while True:
        gone = is_gone(run.holder)
        with desk.store.read() as unit:
            now = unit.runs.get(run.id)
        if now is None:
            raise RunFailed(f"The engine's run {run.id} is not in the database any more.")
        if now.status is not RunStatus.RUNNING:
            return now
        if gone:
            with desk.store.write() as unit:
                unit.runs.mark_dead(run.id, desk.clock.now())
                unit.commit()
            continue
        desk.clock.sleep_until(desk.clock.now() + _LOOK)
