"""The book of runs: one at a time by name, each with a row that says how it began and how it ended."""

import logging
import math
import subprocess
import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pysys
from pysys.clock import Clock, SystemClock
from pysys.config import Config, config_hash
from pysys.control.outcome import RunOutcome
from pysys.store.machine import Holder, is_gone, this_process
from pysys.store.runs import Run, RunStatus
from pysys.store.unit import Store

LEASE_LASTS = timedelta(seconds=90)  # without a heartbeat
_ENDED_EARLY = "The notebook ended before its last cell wrote the completion record."
_logger = logging.getLogger(__name__)


def new_run_id() -> str:
    return uuid.uuid4().hex[:12]


@cache
def code_version() -> str:
    """Version of this program, and its commit when it runs from a git repository."""
    folder = Path(pysys.__file__).parent
    command = ["git", "-C", str(folder), "rev-parse", "--short=12", "HEAD"]
    try:
        found = subprocess.run(command, capture_output=True, text=True, timeout=10, check=False)  # noqa: S603
    except (OSError, subprocess.TimeoutExpired):
        return pysys.__version__
    commit = found.stdout.strip()
    return f"{pysys.__version__}+{commit}" if found.returncode == 0 and commit else pysys.__version__


def business_date(moment: datetime, timezone: str) -> date:
    """The day a run belongs to: the local date in the system's time zone."""
    return moment.astimezone(ZoneInfo(timezone)).date()


def plain(value: Any) -> Any:
    """`value` as JSON can hold it: numbers, text, lists and tables. Times become ISO text, NaN becomes null."""
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [plain(item) for item in value]
    if isinstance(value, bool | int | str) or value is None:
        return value
    if hasattr(value, "item") and getattr(value, "ndim", None) == 0:
        return plain(value.item())  # a numpy scalar
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, date | datetime):
        return value.isoformat()
    return str(value)


def completion_record(result: Any) -> dict[str, Any]:
    """What a run keeps of its result: `result.summary()` when it has one, a table as it is, else empty."""
    summary = getattr(result, "summary", None)
    content = plain(summary() if callable(summary) else result)
    return content if isinstance(content, dict) else {} if content is None else {"result": content}


@dataclass
class LedgerEntry:
    """A run that is going on here. Close it with `close`, whatever happens."""

    store: Store
    clock: Clock
    name: str
    run_id: str
    holder: Holder
    began: float  # time.monotonic

    @property
    def lease(self) -> str:
        return notebook_lease(self.name)

    def heartbeat(self) -> bool:
        """Keep the lease. False when somebody else has taken it."""
        with self.store.write() as unit:
            kept = unit.runs.heartbeat(self.lease, self.holder, SystemClock().now(), LEASE_LASTS)
            unit.commit()
        return kept

    def close(self, error: str | None) -> RunOutcome:
        """Write down how the run ended and give the lease back, together.

        No error and a completion record is done, no error without one is incomplete, anything else failed.
        """
        seconds = time.monotonic() - self.began
        with self.store.write() as unit:
            row = unit.runs.get(self.run_id)
            record = None if row is None else row.record
            noted = None if row is None else row.error
            problem = error if error is not None else noted
            status = RunStatus.FAILED if problem is not None else RunStatus.DONE
            if problem is None and record is None:
                status, problem = RunStatus.INCOMPLETE, _ENDED_EARLY
            unit.runs.finish(self.run_id, status, self.clock.now(), seconds, problem)
            unit.runs.release(self.lease, self.holder)
            unit.commit()
        return RunOutcome(self.run_id, self.name, status, seconds, problem, record)


def notebook_lease(name: str) -> str:
    return f"notebook:{name}"


def process_lease(name: str) -> str:
    return f"process:{name}"


def open_entry(
    store: Store,
    clock: Clock,
    config: Config,
    name: str,
    parameters: Mapping[str, Any],
    *,
    process: str | None = None,
    folder: str = "",
    run_id: str | None = None,
) -> LedgerEntry:
    """Claim `name` for this process and write down that its run begins.

    The run of a dead process that held the name is marked dead. Raises LeaseHeld while another one is alive.
    """
    identity = run_id if run_id is not None else new_run_id()
    holder = this_process(identity)
    now = clock.now()
    entry = LedgerEntry(store, clock, name, identity, holder, time.monotonic())
    with store.write() as unit:
        replaced = unit.runs.claim(notebook_lease(name), holder, SystemClock().now(), LEASE_LASTS)
        if replaced is not None and unit.runs.mark_dead(replaced.holder.run_id, now):
            _logger.warning("run %s of %s was dead and is replaced", replaced.holder.run_id, name)
        unit.runs.start(
            Run(
                id=identity,
                process=process if process is not None else name,
                method=name,
                business_date=business_date(now, config.timezone),
                parameters=plain(parameters),
                config_hash=config_hash(config),
                code_version=code_version(),
                machine=holder.host,
                pid=holder.pid,
                boot_id=holder.boot_id,
                started_at=now,
                folder=folder,
            )
        )
        unit.commit()
    return entry


def bury_the_dead(store: Store, now: datetime) -> list[str]:
    """Mark every running run whose process is certainly gone as dead, and free its lease. Returns their ids."""
    with store.write() as unit:
        gone = [run.id for run in unit.runs.find(status=RunStatus.RUNNING) if is_gone(run.holder)]
        buried = [run_id for run_id in gone if unit.runs.mark_dead(run_id, now)]
        for lease in unit.runs.leases():
            if is_gone(lease.holder):
                unit.runs.release(lease.name, lease.holder)
                if lease.name.startswith("process:"):
                    unit.runs.process_ended(lease.name.removeprefix("process:"), now)
        unit.commit()
    return buried
