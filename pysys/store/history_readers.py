"""Processes that read the price histories of a large SQLite database, while this one does something else.

Python's own SQLite hands over rows one at a time, as objects. ADBC fills whole columns at ten times the speed, but must
not be in a process that has the database open already (`bulk` says why); so it is in processes of its own, one for
each core up to four. Each instrument is read by one of them, in one view of the database.

A reader gets {"database": path, "instruments": [...]} as a line of JSON. For each instrument it answers with a line
[multiple rows, adjusted rows] and then the bare columns. It ends when its input does.

Little is imported before the processes are at work, because they are meant to get ahead of this one's imports.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from itertools import chain
from pathlib import Path
from types import TracebackType
from typing import IO, TYPE_CHECKING, Any, Self

from pysys.cores import available_cores
from pysys.store import history_reader
from pysys.store.address import sqlite_file

if TYPE_CHECKING:
    from pysys.domain.prices import CarryRows, PriceRows

    Histories = dict[str, tuple[CarryRows, PriceRows]]

_Columns = list[bytearray]  # of one instrument, in the order of _COLUMNS
_COLUMNS = (
    ("times", "price", "price_contract", "carry", "carry_contract"),  # multiple prices
    ("times", "price"),  # adjusted prices
)

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
        self._pool = ThreadPoolExecutor(max(len(self._processes), 1))  # else one waits until another is read empty
        self._coming: list[Future[dict[str, _Columns]]] = []
        self._begun = ""  # the database that is being read

    def begin(self, url: str, instruments: Sequence[str], *, large: int = LARGE) -> None:
        """Begin to read what will be asked for, if it is worth processes: a large SQLite database."""
        if not self._processes or not instruments or not _worth_processes(url, large):
            return
        self._begun = url
        for n, process in enumerate(self._processes):
            share = list(instruments[n :: len(self._processes)])
            _ask(process, {"database": sqlite_file(url), "instruments": share})
            self._coming.append(self._pool.submit(_received, process, share))

    def read(self, url: str, instruments: Sequence[str], *, large: int = LARGE) -> Histories:
        """As `read_histories`. This process reads a database that is small or not SQLite, and what is not delivered."""
        if not self._coming:
            self.begin(url, instruments, large=large)
        received = {code: columns for share in self._coming for code, columns in share.result().items()}
        if self._begun != url:  # another database was expected when reading began
            received = {}
        found = {code: _histories(received[code]) for code in instruments if code in received}
        self._coming = []
        missing = [code for code in instruments if code not in found]
        return found | (_read_here(url, missing) if missing else {})

    def close(self) -> None:
        """End the processes."""
        for process in self._processes:
            process.kill()
        self._pool.shutdown()
        for process in self._processes:
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


def _received(process: subprocess.Popen[bytes], instruments: Sequence[str]) -> dict[str, _Columns]:
    """What a reader delivers; what follows a fault is missing."""
    stream, found = _pipe(process.stdout), {}
    with suppress(ValueError, EOFError):
        for code in instruments:
            counts = json.loads(stream.readline())
            rows = chain(*([count] * len(columns) for count, columns in zip(counts, _COLUMNS, strict=True)))
            found[code] = [_bytes(stream, 8 * count) for count in rows]
    return found


def _bytes(stream: IO[bytes], size: int) -> bytearray:
    content, filled = bytearray(size), 0
    room = memoryview(content)
    while filled < size:
        taken = stream.readinto(room[filled:])  # type: ignore[attr-defined]  # of any buffered stream
        if not taken:
            raise EOFError
        filled += taken
    return content


def _histories(columns: _Columns) -> tuple[CarryRows, PriceRows]:
    from pysys.domain.prices import CarryRows, PriceRows

    arrays = [_array(content, name) for content, name in zip(columns, chain(*_COLUMNS), strict=True)]
    multiple = len(_COLUMNS[0])
    return CarryRows(*arrays[:multiple]), PriceRows(*arrays[multiple:])


def _array(content: bytearray, column: str) -> Any:
    import numpy as np

    values = np.frombuffer(content, dtype=_dtype(column))
    if values.dtype.kind == "f":
        values[np.isinf(values)] = np.nan
    return values


def _read_here(url: str, instruments: Sequence[str]) -> Histories:
    from pysys.store.bulk import bulk_reader

    with bulk_reader(url) as reader:
        multiple, adjusted = reader.carry(instruments), reader.adjusted(instruments)
    nothing = _histories([bytearray() for _ in chain(*_COLUMNS)])
    return {code: (multiple.get(code, nothing[0]), adjusted.get(code, nothing[1])) for code in instruments}


def _dtype(column: str) -> str:
    return "int64" if column == "times" or column.endswith("_contract") else "float64"


def _pipe(stream: IO[bytes] | None) -> IO[bytes]:
    if stream is None:
        raise ValueError("the reader was started without a pipe")
    return stream
