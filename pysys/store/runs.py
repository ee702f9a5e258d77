"""Runs of notebooks and methods, the state of processes, and the leases that keep each to one at a time."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import date, datetime, timedelta
from enum import StrEnum
from typing import Any

from sqlalchemy import CursorResult, delete, insert, select, update

from pysys.domain.errors import NotAllowedNow
from pysys.domain.process_rules import ProcessStatus
from pysys.store import schema
from pysys.store.machine import Holder, is_gone
from pysys.store.repository import Repository


class RunStatus(StrEnum):
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    INCOMPLETE = "incomplete"  # ended without an error and without a completion record
    DEAD = "dead"  # its process is gone and never said how it ended


@dataclass(frozen=True, slots=True)
class Run:
    """One execution of a notebook or method."""

    id: str
    process: str  # the top-level process it belongs to
    method: str  # the notebook or method
    business_date: date
    parameters: Mapping[str, Any]
    config_hash: str
    code_version: str
    machine: str
    pid: int
    boot_id: str
    started_at: datetime  # UTC, on the system's clock
    status: RunStatus = RunStatus.RUNNING
    folder: str = ""
    ended_at: datetime | None = None  # UTC, on the system's clock
    seconds: float | None = None  # of real time
    error: str | None = None
    record: Mapping[str, Any] | None = field(default=None)

    @property
    def holder(self) -> Holder:
        return Holder(self.machine, self.pid, self.boot_id, self.id)


@dataclass(frozen=True, slots=True)
class ProcessState:
    """What an operator decided about a process, and when it last ran. Times are UTC."""

    name: str
    status: ProcessStatus = ProcessStatus.GO
    last_start: datetime | None = None
    last_end: datetime | None = None
    changed_at: datetime | None = None
    changed_by: str | None = None


@dataclass(frozen=True, slots=True)
class Lease:
    """Who does `name`, alone, until `expires_at` unless a heartbeat moves it. Times are of the real world, UTC."""

    name: str
    holder: Holder
    taken_at: datetime
    heartbeat_at: datetime
    expires_at: datetime

    def is_free(self, now: datetime) -> bool:
        """True when it ran out or its holder is certainly dead."""
        return self.expires_at <= now or is_gone(self.holder)


@dataclass(frozen=True, slots=True)
class Environment:
    """What this database is for; written once."""

    name: str  # production, demo, replay
    broker: str
    base_currency: str
    created_at: datetime  # UTC
    account: str | None = None  # set by the first account poll


class LeaseHeld(NotAllowedNow):
    """Somebody else does it already."""

    def __init__(self, lease: Lease) -> None:
        self.lease = lease
        what = lease.name.partition(":")[2]
        super().__init__(
            f"{what if what else lease.name} is already being run by process {lease.holder.pid} on "
            f"{lease.holder.host} since {lease.taken_at:%Y-%m-%d %H:%M:%S} UTC."
        )


class Runs(Repository):
    """The runs, processes, leases and environment tables."""

    # --- what this database is for ---

    def environment(self) -> Environment | None:
        row = self.connection.execute(select(schema.environment)).mappings().first()
        return None if row is None else Environment(**{key: row[key] for key in row if key != "id"})

    def put_environment(self, environment: Environment) -> bool:
        """Say once what the database is for. False when that was said before; nothing is changed then."""
        if self.environment() is not None:
            return False
        self.connection.execute(insert(schema.environment).values(id=1, **asdict(environment)))
        return True

    def pin_account(self, account: str) -> None:
        """Say once which account the books of this database are of; a later word changes nothing."""
        table = schema.environment
        self.connection.execute(update(table).where(table.c.account.is_(None)).values(account=account))

    # --- leases ---

    def lease(self, name: str) -> Lease | None:
        """The lease as stored, whether or not its holder still lives."""
        row = self.connection.execute(select(schema.leases).where(schema.leases.c.name == name)).mappings().first()
        return None if row is None else _lease(dict(row))

    def leases(self) -> list[Lease]:
        rows = self.connection.execute(select(schema.leases).order_by(schema.leases.c.name)).mappings()
        return [_lease(dict(row)) for row in rows]

    def claim(self, name: str, holder: Holder, now: datetime, lasting: timedelta) -> Lease | None:
        """Take the lease for `lasting` from `now`. Returns the dead lease it replaced, if there was one.

        Raises LeaseHeld when a living holder has it. Whoever claims keeps it with `heartbeat` and ends with `release`.
        """
        before = self.lease(name)
        values = {"owner": str(holder), "taken_at": now, "heartbeat_at": now, "expires_at": now + lasting}
        if before is None:
            self.connection.execute(insert(schema.leases).values(name=name, **values))
            return None
        if not before.is_free(now):
            raise LeaseHeld(before)
        taken = self._change_lease(name, before.holder, before.heartbeat_at, values)
        if not taken:
            raise LeaseHeld(before)
        return before

    def heartbeat(self, name: str, holder: Holder, now: datetime, lasting: timedelta) -> bool:
        """Keep the lease for `lasting` from `now`. False when it was lost to somebody else."""
        return self._change_lease(name, holder, None, {"heartbeat_at": now, "expires_at": now + lasting})

    def _change_lease(
        self, name: str, holder: Holder, heartbeat: datetime | None, values: Mapping[str, object]
    ) -> bool:
        statement = update(schema.leases).where(schema.leases.c.name == name, schema.leases.c.owner == str(holder))
        if heartbeat is not None:
            statement = statement.where(schema.leases.c.heartbeat_at == heartbeat)
        return _count(self.connection.execute(statement.values(**values))) == 1

    def release(self, name: str, holder: Holder | None = None) -> bool:
        """Give the lease back. Without a holder it is taken from whoever has it: an operator's decision."""
        statement = delete(schema.leases).where(schema.leases.c.name == name)
        if holder is not None:
            statement = statement.where(schema.leases.c.owner == str(holder))
        return _count(self.connection.execute(statement)) == 1

    # --- runs ---

    def start(self, run: Run) -> None:
        """Write down a run that begins now."""
        self.connection.execute(
            insert(schema.runs).values(
                id=run.id,
                process=run.process,
                method=run.method,
                business_date=run.business_date,
                parameters=dict(run.parameters),
                config_hash=run.config_hash,
                code_version=run.code_version,
                machine=run.machine,
                pid=run.pid,
                boot_id=run.boot_id,
                started_at=run.started_at,
                status=run.status.value,
                folder=run.folder,
            )
        )

    def complete(self, run_id: str, record: Mapping[str, Any]) -> None:
        """Store the completion record: the run's own word that it did all it set out to do."""
        self._update_running(run_id, {"record": dict(record)})

    def note_failure(self, run_id: str, error: str) -> None:
        """Something in the run failed out of sight of its cells; it can no longer become a success."""
        self._update_running(run_id, {"error": error})

    def finish(self, run_id: str, status: RunStatus, now: datetime, seconds: float, error: str | None = None) -> None:
        """Close a run. Only a running one: nothing that has ended changes."""
        values = {"status": status.value, "ended_at": now, "seconds": seconds, "error": error}
        self._update_running(run_id, values)

    def mark_dead(self, run_id: str, now: datetime) -> bool:
        """Close a run whose process is gone. False when it had ended."""
        error = "The process of this run is gone and did not say how it ended."
        values = {"status": RunStatus.DEAD.value, "ended_at": now, "error": error}
        return self._update_running(run_id, values)

    def _update_running(self, run_id: str, values: Mapping[str, object]) -> bool:
        running = (schema.runs.c.id == run_id) & (schema.runs.c.status == RunStatus.RUNNING.value)
        return _count(self.connection.execute(update(schema.runs).where(running).values(**values))) == 1

    def get(self, run_id: str) -> Run | None:
        row = self.connection.execute(select(schema.runs).where(schema.runs.c.id == run_id)).mappings().first()
        return None if row is None else _run(dict(row))

    def find(
        self,
        *,
        method: str | None = None,
        process: str | None = None,
        status: RunStatus | None = None,
        since: datetime | None = None,
        limit: int | None = None,
    ) -> Sequence[Run]:
        """Runs, newest first. `since` is UTC on the system's clock."""
        table = schema.runs.c
        statement = select(schema.runs).order_by(table.started_at.desc(), table.id.desc())
        if method is not None:
            statement = statement.where(table.method == method)
        if process is not None:
            statement = statement.where(table.process == process)
        if status is not None:
            statement = statement.where(table.status == status.value)
        if since is not None:
            statement = statement.where(table.started_at >= since)
        if limit is not None:
            statement = statement.limit(limit)
        return [_run(dict(row)) for row in self.connection.execute(statement).mappings()]

    # --- processes ---

    def process(self, name: str) -> ProcessState:
        """State of a process; one never heard of is on GO and has never run."""
        found = select(schema.processes).where(schema.processes.c.name == name)
        row = self.connection.execute(found).mappings().first()
        return ProcessState(name) if row is None else _process(dict(row))

    def processes(self) -> dict[str, ProcessState]:
        """State of every process that ever ran or was given a status, by name."""
        rows = self.connection.execute(select(schema.processes).order_by(schema.processes.c.name)).mappings()
        return {row["name"]: _process(dict(row)) for row in rows}

    def set_process_status(self, name: str, status: ProcessStatus, who: str, now: datetime) -> None:
        self._upsert_process(name, {"status": status.value, "changed_by": who, "changed_at": now})

    def process_started(self, name: str, now: datetime) -> None:
        self._upsert_process(name, {"last_start": now})

    def process_ended(self, name: str, now: datetime) -> None:
        self._upsert_process(name, {"last_end": now})

    def _upsert_process(self, name: str, values: Mapping[str, object]) -> None:
        table = schema.processes
        changed = self.connection.execute(update(table).where(table.c.name == name).values(**values))
        if _count(changed) == 0:
            self.connection.execute(insert(table).values(name=name, **values))


def _count(result: CursorResult[Any]) -> int:
    return result.rowcount


def _lease(row: dict[str, Any]) -> Lease:
    return Lease(row["name"], Holder.parse(row["owner"]), row["taken_at"], row["heartbeat_at"], row["expires_at"])


def _run(row: dict[str, Any]) -> Run:
    return Run(**{**row, "status": RunStatus(row["status"])})


def _process(row: dict[str, Any]) -> ProcessState:
    return ProcessState(**{**row, "status": ProcessStatus(row["status"])})
