"""Processes that read the price histories of a large SQLite database, while this one does something else.

Python's own SQLite hands over rows one at a time, as objects. ADBC fills whole columns at ten times the speed, but must
not be in a process that has the database open already (`bulk` says why); so it is in processes of its own, as many as
there are cores. Each instrument is read by one of them, in one view of the database.

A reader gets {"database": path, "instruments": [...]} as a line of JSON. For each instrument it answers with a line
[multiple rows, adjusted rows] and then the bare columns. It ends when its input does.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import fields
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self, TypeVar

import numpy as np

from pysys.cores import available_cores
from pysys.domain.prices import CarryRows, PriceRows
from pysys.store import history_reader
from pysys.store.bulk import bulk_reader, sqlite_file

Rows = TypeVar("Rows", CarryRows, PriceRows)
Histories = dict[str, tuple[CarryRows, PriceRows]]

LARGE = 32 * 2**20  # bytes of database, from which a process is started sooner than the rows are read
_MOST_PROCESSES = 4


def read_histories(url: str, instruments: Sequence[str], *, large: int = LARGE) -> Histories:
    """Multiple and adjusted prices of `instruments`, empty where there are none; a large database by processes."""
    if not _worth_processes(url, large):
        return _read_here(url, instruments)
    with HistoryReaders() as readers:
        return readers.read(url, instruments, large=large)


class HistoryReaders:
    """Reader processes that start at once, so that they are ready when asked."""

    def __init__(self) -> None:
        cores = available_cores()
        count = min(cores, _MOST_PROCESSES) if cores > 1 else 0
        self._processes = [one for _ in range(count) if (one := _start()) is not None]

    def read(self, url: str, instruments: Sequence[str], *, large: int = LARGE) -> Histories:
        """As `read_histories`. This process reads a database that is small or not SQLite, and what is not delivered."""
        if not self._processes or not _worth_processes(url, large):
            return _read_here(url, instruments)
        shares = [list(instruments[n :: len(self._processes)]) for n in range(len(self._processes))]
        for process, share in zip(self._processes, shares, strict=True):
            _ask(process, {"database": sqlite_file(url), "instruments": share})
        found: Histories = {}
        for process, share in zip(self._processes, shares, strict=True):
            found |= _received(process, share)
        missing = [code for code in instruments if code not in found]
        return found | (_read_here(url, missing) if missing else {})

    def close(self) -> None:
        """End the processes."""
        for process in self._processes:
            process.kill()
            process.communicate()
        self._processes = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _worth_processes(url: str, large: int) -> bool:
    name = sqlite_file(url)
    if name is None:
        return False
    path = Path(name)
    written = path.with_name(f"{path.name}-wal")
    return sum(one.stat().st_size for one in (path, written) if one.is_file()) >= large


def _start() -> subprocess.Popen[bytes] | None:
    command = [sys.executable, "-P", history_reader.__file__]
    quiet = subprocess.DEVNULL
    try:
        return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=quiet)  # noqa: S603
    except OSError:
        return None


def _ask(process: subprocess.Popen[bytes], request: dict[str, Any]) -> None:
    stream = _pipe(process.stdin)
    with suppress(OSError):  # it is gone, and will not answer
        stream.write(json.dumps(request).encode() + b"\n")
        stream.flush()


def _received(process: subprocess.Popen[bytes], instruments: Sequence[str]) -> Histories:
    """What a reader delivers; what follows a fault is missing."""
    stream, found = _pipe(process.stdout), {}
    with suppress(ValueError, EOFError):
        for code in instruments:
            multiple_rows, adjusted_rows = json.loads(stream.readline())
            found[code] = _rows(stream, CarryRows, multiple_rows), _rows(stream, PriceRows, adjusted_rows)
    return found


def _rows(stream: IO[bytes], kind: type[Rows], count: int) -> Rows:
    columns: list[Any] = []
    for column in fields(kind):
        values = np.empty(count, dtype=_dtype(column.name))
        room, filled = values.data.cast("B"), 0
        while filled < len(room):
            taken = stream.readinto(room[filled:])  # type: ignore[attr-defined]  # of any buffered stream
            if not taken:
                raise EOFError
            filled += taken
        if values.dtype.kind == "f":
            values[np.isinf(values)] = np.nan
        columns.append(values)
    return kind(*columns)


def _read_here(url: str, instruments: Sequence[str]) -> Histories:
    with bulk_reader(url) as reader:
        multiple, adjusted = reader.carry(instruments), reader.adjusted(instruments)
    return {
        code: (multiple.get(code, _empty(CarryRows)), adjusted.get(code, _empty(PriceRows))) for code in instruments
    }


def _empty(kind: type[Rows]) -> Rows:
    return kind(*(np.empty(0, dtype=_dtype(column.name)) for column in fields(kind)))


def _dtype(column: str) -> str:
    return "int64" if column == "times" or column.endswith("_contract") else "float64"


def _pipe(stream: IO[bytes] | None) -> IO[bytes]:
    if stream is None:
        raise ValueError("the reader was started without a pipe")
    return stream
