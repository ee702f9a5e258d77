"""Finds what is wrong in a CSV file that could not be read: slow and plain, for the sentence of an error."""

from __future__ import annotations

import csv
import itertools
import re
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path

import pyarrow as pa

_WHOLE = re.compile(r"[+-]?\d+")


def first_fault(path: Path, types: Mapping[str, pa.DataType]) -> str | None:
    """The first thing wrong with a file of these columns, as the rest of a sentence; None when nothing is."""
    with path.open(newline="", encoding="utf-8", errors="replace") as file:
        lines = csv.reader(file)
        header = next(lines, None)
        if not header:
            return "is empty; expected a header line"
        missing = [name for name in types if name not in header]
        if missing:
            return f"no column {', '.join(missing)} in its header {','.join(header)}; add it"
        for row in lines:
            if not row:
                continue
            if len(row) != len(header):
                return f"line {lines.line_num} has {len(row)} fields, its header {len(header)}; repair the line"
            for name, kind in types.items():
                value = row[header.index(name)]
                if value and not _fits(value, kind):
                    return f"line {lines.line_num}, column {name}: {value!r} is not {_expected(kind)}; correct it"
    return None


def locate(path: Path, row: int, name: str) -> tuple[int, str]:
    """Line number and text of a cell, counting `row` from 0 below the header, over blank lines."""
    with path.open(newline="", encoding="utf-8", errors="replace") as file:
        lines = csv.reader(file)
        column = next(lines).index(name)
        filled = (cells for cells in lines if cells)
        cells = next(itertools.islice(filled, row, None))
        return lines.line_num, cells[column]


def _fits(value: str, kind: pa.DataType) -> bool:
    try:
        if pa.types.is_floating(kind):
            float(value)
        elif pa.types.is_integer(kind):
            return bool(_WHOLE.fullmatch(value.strip()))
        elif pa.types.is_timestamp(kind):
            datetime.fromisoformat(value)
    except ValueError:
        return False
    return True


def _expected(kind: pa.DataType) -> str:
    if pa.types.is_floating(kind):
        return "a number"
    if pa.types.is_integer(kind):
        return "a whole number"
    return "a timestamp such as 2024-01-31 23:00:00"
