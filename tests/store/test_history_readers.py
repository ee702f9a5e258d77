"""Reader processes read what one process reads, and this one reads it all when they cannot."""

import sys
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest

from pysys.domain.prices import MultipleRows, PriceRows
from pysys.store.database import migrate, sqlite_url
from pysys.store.history_readers import LARGE, HistoryReaders, read_histories
from pysys.store.prices import SeriesKey, SeriesKind
from pysys.store.unit import Store

CODES = ("GOLD", "BUND", "CORN", "JPY", "TIN")


def history(number: int) -> tuple[MultipleRows, PriceRows]:
    times = np.arange(50 * number, dtype=np.int64) * 3_600_000_000
    price = np.where(times % 7 == 3, np.nan, 100.0 + number + np.sqrt(times))
    contract = 20240300 + times // 3_600_000_000 // 60 * 300
    multiple = MultipleRows(times, price, contract, np.full(len(times), np.nan), contract + 300, price, contract + 600)
    return multiple, PriceRows(times, price - 50)


@pytest.fixture
def url(sqlite_store: Store) -> str:
    """A database in which BUND has no adjusted prices and TIN nothing at all."""
    with sqlite_store.write() as unit:
        for number, code in enumerate(CODES[:-1], start=1):
            multiple, adjusted = history(number)
            unit.prices.append(SeriesKey(SeriesKind.MULTIPLE, code), multiple)
            if code != "BUND":
                unit.prices.append(SeriesKey(SeriesKind.ADJUSTED, code), adjusted)
        unit.commit()
    return sqlite_store.url


def read(url: str, large: int) -> dict:
    return read_histories(url, CODES, large=large)


def assert_same(ours: dict, theirs: dict) -> None:
    assert set(ours) == set(theirs) == set(CODES)
    for code in CODES:
        for one, other in zip(ours[code], theirs[code], strict=True):
            for column in fields(one):
                mine, yours = getattr(one, column.name), getattr(other, column.name)
                np.testing.assert_array_equal(mine, yours)
                assert mine.dtype == yours.dtype


def test_processes_read_what_was_written(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pysys.store.history_readers.available_cores", lambda: 2)
    with HistoryReaders() as readers:
        monkeypatch.setattr("pysys.store.bulk.bulk_reader", None)  # nothing is left for this process to read
        readers.begin(url, CODES, large=0)
        found = readers.read(url, CODES, large=0)
        assert_same(readers.read(url, CODES, large=0), found)
    assert [len(rows) for code in ("BUND", "TIN") for rows in found[code]] == [100, 0, 0, 0]
    for number, code in enumerate(("GOLD", "BUND", "CORN"), start=1):
        multiple, adjusted = history(number)
        for column in fields(found[code][0]):
            np.testing.assert_array_equal(getattr(found[code][0], column.name), getattr(multiple, column.name))
        if code != "BUND":
            np.testing.assert_array_equal(found[code][1].price, adjusted.price)


def test_what_was_begun_for_another_database_is_not_taken_for_this_one(url: str, tmp_path: Path) -> None:
    other = sqlite_url(tmp_path / "other.db")
    store = Store(other)
    migrate(store.engine)
    with store.write() as unit:
        unit.prices.append(SeriesKey(SeriesKind.ADJUSTED, "GOLD"), history(4)[1])
        unit.commit()
    store.close()
    with HistoryReaders() as readers:
        readers.begin(url, CODES, large=0)
        assert len(readers.read(other, CODES, large=0)["GOLD"][1]) == 200
        assert_same(readers.read(url, CODES, large=0), read(url, LARGE))


def test_a_reader_that_was_told_no_instruments_still_reads_what_it_is_asked_for(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pysys.store.history_readers.available_cores", lambda: 2)
    with HistoryReaders() as readers:
        readers.begin(url, [], large=0)
        monkeypatch.setattr("pysys.store.bulk.bulk_reader", None)
        assert len(readers.read(url, CODES, large=0)["CORN"][0]) == 150


def test_one_process_reads_what_several_read(url: str) -> None:
    assert_same(read(url, LARGE), read(url, 0))


def test_what_is_committed_but_not_yet_in_the_database_file_is_read_and_stays(sqlite_store: Store, url: str) -> None:
    with sqlite_store.write() as unit:
        unit.prices.append(SeriesKey(SeriesKind.ADJUSTED, "BUND"), history(2)[1])
        unit.commit()
    assert len(read(url, 0)["BUND"][1]) == 100
    with sqlite_store.read() as unit:
        assert len(unit.prices.adjusted("BUND")) == 100


@pytest.mark.parametrize("said", ["", "Python 3", "[50, 50]", "[50, 50]\\nAAAAAAAA"])
def test_this_process_reads_what_the_others_do_not_deliver(
    url: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, said: str
) -> None:
    alone = read(url, LARGE)
    python = tmp_path / "python"
    python.write_text(f"#!/bin/sh\nprintf '{said}'\n")
    python.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(python))
    assert_same(read(url, 0), alone)


def test_this_process_reads_it_all_where_no_other_can_be_started(
    url: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    alone = read(url, LARGE)
    monkeypatch.setattr(sys, "executable", str(tmp_path / "nothing"))
    assert_same(read(url, 0), alone)
