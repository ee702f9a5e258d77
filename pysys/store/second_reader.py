"""A second process that reads part of the prices of a large SQLite database, while this one reads the rest.

SQLite hands over rows one at a time to an interpreter that does one thing at a time, so two processes take half the
time of one. Each instrument is read by one of them, in one view of the database. A process of its own, not a fork of
this one, because this one may have threads and open databases.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import fields
from pathlib import Path
from typing import IO, Any, TypeVar

import numpy as np

from pysys.domain.prices import MultipleRows, PriceRows
from pysys.store.bulk import bulk_reader

Rows = TypeVar("Rows", MultipleRows, PriceRows)
Histories = dict[str, tuple[MultipleRows, PriceRows]]

LARGE = 32 * 2**20  # bytes of database, from which a process is started sooner than the rows are read
_SHARE = 0.45  # of the instruments; starting takes the other process a while


def read_histories(url: str, instruments: Sequence[str], *, large: int = LARGE) -> Histories:
    """Multiple and adjusted prices, empty where there are none; two processes read a database of `large` bytes."""
    theirs = list(instruments[: int(len(instruments) * _SHARE)]) if _worth_a_process(url, large) else []
    if not theirs:
        return _read(url, instruments)
    with _second_process(url, theirs) as process:
        found = _read(url, instruments[len(theirs) :])
        received = _received(process)
    if received is None:  # a process that cannot be had costs time, not the answer
        received = _read(url, theirs)
    return received | found


def _worth_a_process(url: str, large: int) -> bool:
    if not url.startswith("sqlite:///") or (os.cpu_count() or 1) < 2:
        return False
    path = Path(url.removeprefix("sqlite:///"))
    written = path.with_name(f"{path.name}-wal")
    return sum(one.stat().st_size for one in (path, written) if one.is_file()) >= large


def _read(url: str, instruments: Sequence[str]) -> Histories:
    with bulk_reader(url) as reader:
        multiple, adjusted = reader.multiple(instruments), reader.adjusted(instruments)
    no_multiple, no_adjusted = _empty(MultipleRows), _empty(PriceRows)
    return {code: (multiple.get(code, no_multiple), adjusted.get(code, no_adjusted)) for code in instruments}


def _empty(kind: type[Rows]) -> Rows:
    return kind(*(np.empty(0, dtype=_dtype(column.name)) for column in fields(kind)))


@contextmanager
def _second_process(url: str, instruments: Sequence[str]) -> Iterator[subprocess.Popen[bytes] | None]:
    command = [sys.executable, "-m", "pysys.store.second_reader", json.dumps([url, list(instruments)])]
    try:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)  # noqa: S603
    except OSError:
        yield None
        return
    with process:
        try:
            yield process
        except BaseException:
            process.kill()
            raise


def _received(process: subprocess.Popen[bytes] | None) -> Histories | None:
    """What the other process read; None when it did not get to the end."""
    if process is None or process.stdout is None:
        return None
    try:
        index = json.loads(process.stdout.readline())
    except ValueError:
        return None
    found: Histories = {}
    for code, rows_multiple, rows_adjusted in index:
        multiple = _receive(process.stdout, MultipleRows, rows_multiple)
        adjusted = _receive(process.stdout, PriceRows, rows_adjusted)
        if multiple is None or adjusted is None:
            return None
        found[code] = MultipleRows(*multiple), PriceRows(*adjusted)
    return found


def _receive(stream: IO[bytes], kind: type[MultipleRows | PriceRows], rows: int) -> list[np.ndarray[Any, Any]] | None:
    columns = []
    for column in fields(kind):
        sent = stream.read(8 * rows)
        if len(sent) < 8 * rows:
            return None
        columns.append(np.frombuffer(sent, dtype=_dtype(column.name)))
    return columns


def _send(stream: IO[bytes], found: Histories) -> None:
    index = [(code, len(multiple), len(adjusted)) for code, (multiple, adjusted) in found.items()]
    stream.write(json.dumps(index).encode() + b"\n")
    for histories in found.values():
        for rows in histories:
            for column in fields(rows):
                values = getattr(rows, column.name)
                stream.write(np.ascontiguousarray(values, dtype=_dtype(column.name)).data)
    stream.flush()


def _dtype(column: str) -> str:
    return "int64" if column == "times" or column.endswith("_contract") else "float64"


def _main(request: str) -> None:
    url, instruments = json.loads(request)
    _send(sys.stdout.buffer, _read(url, instruments))


if __name__ == "__main__":
    _main(sys.argv[1])
