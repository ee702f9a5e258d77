"""Two processes read what one reads, and one reads it all when the other cannot."""

import sys
from pathlib import Path

import numpy as np
import pytest

from pysys.domain.prices import MultipleRows, PriceRows
from pysys.store.prices import SeriesKey, SeriesKind
from pysys.store.second_reader import LARGE, Histories, read_histories
from pysys.store.unit import Store

CODES = ("GOLD", "BUND", "CORN", "JPY", "TIN")


@pytest.fixture
def url(sqlite_store: Store) -> str:
    """A database in which BUND has no adjusted prices and TIN nothing at all."""
    with sqlite_store.write() as unit:
        for number, code in enumerate(CODES[:-1], start=1):
            times = np.arange(50 * number, dtype=np.int64) * 3_600_000_000
            price = np.where(times % 7 == 3, np.nan, 100.0 + number + np.sqrt(times))
            contract = 20240300 + times // 3_600_000_000 // 60 * 300
            rows = MultipleRows(times, price, contract, price + 1, contract + 300, price + 2, contract + 600)
            unit.prices.append(SeriesKey(SeriesKind.MULTIPLE, code), rows)
            if code != "BUND":
                unit.prices.append(SeriesKey(SeriesKind.ADJUSTED, code), PriceRows(times, price - 50))
        unit.commit()
    return sqlite_store.url


def assert_same(ours: Histories, theirs: Histories) -> None:
    assert set(ours) == set(theirs) == set(CODES)
    for code in CODES:
        for one, other in zip(ours[code], theirs[code], strict=True):
            for name in one.__slots__:
                np.testing.assert_array_equal(getattr(one, name), getattr(other, name))
                assert getattr(one, name).dtype == getattr(other, name).dtype


def test_two_processes_read_what_one_reads(url: str) -> None:
    alone = read_histories(url, CODES, large=LARGE)
    assert [len(rows) for rows in alone["CORN"]] == [150, 150]
    assert [len(rows) for code in ("BUND", "TIN") for rows in alone[code]] == [100, 0, 0, 0]
    assert_same(read_histories(url, CODES, large=0), alone)


def test_one_process_reads_everything_when_there_is_no_other(
    url: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    alone = read_histories(url, CODES, large=LARGE)
    python = tmp_path / "python"
    for said in ("", "Python 3", '[["GOLD", 50, 50], ["BUND", 100, 0]]'):
        python.write_text(f"#!/bin/sh\necho '{said}'\n")
        python.chmod(0o755)
        monkeypatch.setattr(sys, "executable", str(python))
        assert_same(read_histories(url, CODES, large=0), alone)
    monkeypatch.setattr(sys, "executable", str(tmp_path / "nothing"))
    assert_same(read_histories(url, CODES, large=0), alone)
