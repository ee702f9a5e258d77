"""Desks for the reports to report on."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from pysys.store.database import migrate, sqlite_url
from pysys.store.unit import Store
from tests.reports.report_world import House, monday, open_house, tuesday, two_days


@pytest.fixture
def empty(sqlite_store: Store, tmp_path: Path) -> Iterator[House]:
    """A desk on the day it is set up: tables, and nothing in them."""
    opened = open_house(sqlite_store, tmp_path, monday(12))
    yield opened
    opened.broker.close()


@pytest.fixture(scope="session")
def traded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The databases after two days, to be copied."""
    folder = tmp_path_factory.mktemp("traded")
    store = Store(sqlite_url(folder / "pysys.db"))
    migrate(store.engine)
    two_days(open_house(store, folder, monday(12))).broker.close()
    store.close()
    return folder


@pytest.fixture
def house(traded: Path, tmp_path: Path) -> Iterator[House]:
    """The desk on Tuesday evening."""
    copied = Path(shutil.copytree(traded, tmp_path / "house"))
    store = Store(sqlite_url(copied / "pysys.db"))
    opened = open_house(store, copied, tuesday(20, 25))
    opened.orders = 4
    yield opened
    opened.broker.close()
    store.close()
