"""The log in the database, and the handler that carries `logging` into it."""

import logging
import sys
import threading
import time
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any, Protocol

from sqlalchemy import delete, insert, select

from pysys.store import schema
from pysys.store.repository import Repository

if TYPE_CHECKING:
    from pysys.store.unit import Store

ATTRIBUTES = (
    "stage",
    "component",
    "currency_code",
    "instrument_code",
    "contract_date",
    "strategy_name",
    "instrument_order_id",
    "contract_order_id",
    "broker_order_id",
    "order_ref",
)


@dataclass(frozen=True, slots=True)
class LogEntry:
    """One line of the log."""

    time: datetime  # UTC
    level: str  # DEBUG, INFO, WARNING, ERROR, CRITICAL
    type: str  # the top-level process
    message: str
    run_id: str | None = None
    attributes: Mapping[str, Any] = field(default_factory=dict)  # names of ATTRIBUTES


class Log(Repository):
    """The log table."""

    def write(self, entries: Sequence[LogEntry]) -> None:
        rows = [
            {
                "time": entry.time,
                "level": entry.level,
                "type": entry.type,
                "message": entry.message,
                "run_id": entry.run_id,
                "attributes": dict(entry.attributes),
            }
            for entry in entries
        ]
        if rows:
            self.connection.execute(insert(schema.log), rows)

    def read(
        self,
        attributes: Mapping[str, Any] | None = None,
        *,
        since: datetime | None = None,
        levels: Sequence[str] | None = None,
        run_id: str | None = None,
        limit: int | None = None,
    ) -> list[LogEntry]:
        """Entries, oldest first, that carry every one of `attributes`; `type` counts as one.

        `limit` keeps the newest.
        """
        wanted = dict(attributes) if attributes is not None else {}
        table = schema.log.c
        statement = select(schema.log).order_by(table.time.desc(), table.id.desc())
        if "type" in wanted:
            statement = statement.where(table.type == wanted.pop("type"))
        if since is not None:
            statement = statement.where(table.time >= since)
        if levels is not None:
            statement = statement.where(table.level.in_(levels))
        if run_id is not None:
            statement = statement.where(table.run_id == run_id)
        found: list[LogEntry] = []
        for row in self.connection.execute(statement).mappings():
            if all(str(row["attributes"].get(name)) == str(value) for name, value in wanted.items()):
                found.append(_entry(dict(row)))
            if limit is not None and len(found) == limit:
                break
        return found[::-1]

    def delete_before(self, moment: datetime) -> int:
        """Forget entries older than `moment`; returns how many."""
        return int(self.connection.execute(delete(schema.log).where(schema.log.c.time < moment)).rowcount)


def _entry(row: dict[str, Any]) -> LogEntry:
    return LogEntry(row["time"], row["level"], row["type"], row["message"], row["run_id"], row["attributes"])


class _Now(Protocol):
    def now(self) -> datetime: ...


class LogHandler(logging.Handler):
    """Carries log records into the database, from a thread of its own.

    The caller never waits and never sees an error: a record written inside an open transaction lands after it. When
    the database refuses, records are kept and tried again, the oldest dropped beyond `capacity`. The process and
    run are those who signed the store; attributes come from `extra=`, for instance
    `logger.info("no new price", extra={"currency_code": "GBPUSD"})`.
    """

    def __init__(self, store: "Store", clock: _Now, level: int = logging.INFO, capacity: int = 10_000) -> None:
        super().__init__(level)
        self._store = store
        self._clock = clock
        self._waiting: deque[LogEntry] = deque(maxlen=capacity)
        self._wake = threading.Condition()
        self._writing = False
        self._closed = False
        self._failing = False
        self._complained = False
        self._thread = threading.Thread(target=self._work, name="log writer", daemon=True)
        self._thread.start()

    def emit(self, record: logging.LogRecord) -> None:
        if threading.current_thread() is self._thread:
            return  # what the writer itself provokes would never end
        try:
            entry = self._translate(record)
        except Exception:
            self.handleError(record)
            return
        with self._wake:
            self._waiting.append(entry)
            self._wake.notify()

    def _translate(self, record: logging.LogRecord) -> LogEntry:
        given = record.__dict__
        attributes = {name: _plain(given[name]) for name in ATTRIBUTES if given.get(name) is not None}
        message = record.getMessage()
        if record.exc_info:
            message += "\n" + logging.Formatter().formatException(record.exc_info)
        author = self._store.author
        kind = str(given.get("type", author.written_by))
        return LogEntry(self._clock.now(), record.levelname[:10], kind, message, author.run_id, attributes)

    def _work(self) -> None:
        while True:
            with self._wake:
                while not self._waiting and not self._closed:
                    self._wake.wait()
                if self._closed and not self._waiting:
                    return
                batch = list(self._waiting)
                self._waiting.clear()
                self._writing = True
            written = self._write(batch)
            with self._wake:
                self._writing = False
                self._failing = not written
                if not written and self._closed:
                    return
                if not written:
                    self._waiting.extendleft(reversed(batch))
                self._wake.notify_all()
                if not written:
                    self._wake.wait(1.0)

    def _write(self, batch: Sequence[LogEntry]) -> bool:
        try:
            with self._store.write() as unit:
                unit.log.write(batch)
                unit.commit()
        except Exception as error:
            if not self._complained and sys.stderr is not None:
                self._complained = True
                sys.stderr.write(f"The log cannot be written to the database: {error}\n")
            return False
        return True

    def flush(self, timeout: float = 5.0) -> None:
        """Wait until all logged so far is in the database, at most `timeout` seconds and not while it refuses."""
        deadline = time.monotonic() + timeout
        with self._wake:
            while self._waiting or self._writing:
                left = deadline - time.monotonic()
                if left <= 0 or self._failing or not self._thread.is_alive():
                    return
                self._wake.wait(left)

    def close(self) -> None:
        self.flush()
        with self._wake:
            self._closed = True
            self._wake.notify_all()
        self._thread.join(timeout=5.0)
        super().close()


def _plain(value: object) -> str | int | float | bool:
    return value if isinstance(value, str | int | float | bool) else str(value)
