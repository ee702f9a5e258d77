"""Opening, creating and migrating the database, and its transactions."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event, inspect, make_url
from sqlalchemy.exc import OperationalError

from pysys.domain.errors import ConfigError, DataError
from pysys.store.revision import SCHEMA_REVISION

_WRITER_LOCK = 7_310_425_001  # any constant: the one advisory lock PostgreSQL writers queue on


class NoDatabase(ConfigError):
    """There is no database at the configured place yet."""


class NewerDatabase(ConfigError):
    """The database was written by a later version of this program."""


def sqlite_url(path: Path) -> str:
    return f"sqlite:///{path}"


def sqlite_path(url: str) -> Path | None:
    """The file behind a SQLite URL; None for other databases."""
    parsed = make_url(url)
    return Path(parsed.database) if parsed.get_backend_name() == "sqlite" and parsed.database else None


def connect(url: str) -> Engine:
    """An engine whose transactions follow the house rules. Nothing is opened yet.

    SQLite: WAL, foreign keys, 30 s busy timeout, durable commits, and BEGIN IMMEDIATE for writers, so that two
    writers queue instead of losing an update. PostgreSQL: writers queue on one advisory lock, so that a unit
    of work sees the same world on both.
    """
    parsed = make_url(url)
    if parsed.get_backend_name() == "postgresql":
        engine = create_engine(parsed.set(drivername="postgresql+psycopg"), pool_pre_ping=True)
    elif parsed.get_backend_name() == "sqlite":
        engine = create_engine(parsed)
        event.listen(engine, "connect", _configure_sqlite)
    else:
        raise ConfigError(
            f"database_url {parsed.render_as_string(hide_password=True)} is neither sqlite:///FILE nor "
            "postgresql://USER@HOST/NAME."
        )
    event.listen(engine, "begin", _begin)
    return engine


def _configure_sqlite(connection: Any, _record: object) -> None:
    connection.isolation_level = None  # transactions are begun by _begin, not by the driver
    cursor = connection.cursor()
    for pragma in (
        "busy_timeout = 30000",
        "journal_mode = WAL",
        "foreign_keys = ON",
        "synchronous = FULL",
        "cache_size = -65536",
    ):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _begin(connection: Connection) -> None:
    options = connection.get_execution_options()
    writer = options.get("writer", False)
    if connection.dialect.name == "sqlite":
        if options.get("reshapes", False):
            connection.exec_driver_sql("PRAGMA foreign_keys = OFF")
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writer else "BEGIN")
    elif writer:
        connection.exec_driver_sql("SELECT pg_advisory_xact_lock(%s)", (_WRITER_LOCK,))


@contextmanager
def transaction(engine: Engine, *, writer: bool) -> Iterator[Connection]:
    """One transaction; it is undone on leaving unless `connection.commit()` was called."""
    with engine.connect() as connection:
        if engine.dialect.name == "postgresql":
            connection.execution_options(isolation_level="READ COMMITTED" if writer else "REPEATABLE READ")
        yield connection.execution_options(writer=writer)


def database_revision(engine: Engine) -> str | None:
    """Revision the database is at; None when it has no schema yet.

    Raises ConfigError when the database cannot be reached.
    """
    try:
        with transaction(engine, writer=False) as connection:
            if not inspect(connection).has_table("alembic_version"):
                return None
            found = connection.exec_driver_sql("SELECT version_num FROM alembic_version").scalar()
            return None if found is None else str(found)
    except OperationalError as error:
        where = engine.url.render_as_string(hide_password=True)
        raise ConfigError(f"The database {where} cannot be opened: {error.orig}.") from error


def require_current(engine: Engine) -> None:
    """Refuse a database that is missing, old or newer than this program, and say what to do."""
    path = sqlite_path(str(engine.url))
    where = engine.url.render_as_string(hide_password=True)
    if path is not None and not path.exists():
        raise NoDatabase(f"There is no database at {path}. Run `pysys init` to create it.")
    revision = database_revision(engine)
    if revision is None:
        raise NoDatabase(f"The database {where} is empty. Run `pysys init` to create its tables.")
    if revision > SCHEMA_REVISION:
        raise NewerDatabase(
            f"The database {where} is at revision {revision}, newer than {SCHEMA_REVISION}, which this version "
            "knows. Install the newer version of pysys; nothing was changed."
        )
    if revision < SCHEMA_REVISION:
        raise ConfigError(
            f"The database {where} is at revision {revision}; this version needs {SCHEMA_REVISION}. "
            "Stop all processes, back up, and run `pysys init` to migrate it."
        )


@contextmanager
def _reshaping(engine: Engine) -> Iterator[Connection]:
    """A transaction in which tables may be made anew under the references of others.

    SQLite changes a constraint by replacing the table, and can switch references off only before a transaction.
    """
    try:
        with engine.connect() as connection:
            yield connection.execution_options(writer=True, reshapes=True)
    finally:
        engine.dispose()  # no connection without foreign keys goes back to work


def _require_no_orphans(connection: Connection) -> None:
    if connection.dialect.name != "sqlite":
        return
    orphans = connection.exec_driver_sql("PRAGMA foreign_key_check").all()
    if orphans:
        raise DataError(
            f"The migration would leave {len(orphans)} rows without what they refer to, the first in {orphans[0][0]}. "
            "The database was left as it was: check it with `PRAGMA foreign_key_check`, or restore a backup."
        )


def migrate(engine: Engine) -> bool:
    """Create the schema, or bring it to this version. True if anything was done.

    Raises NewerDatabase for a database this version does not know.
    """
    from alembic import command
    from alembic.config import Config

    path = sqlite_path(str(engine.url))
    if path is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
    revision = database_revision(engine)
    if revision is not None and revision > SCHEMA_REVISION:
        require_current(engine)
    if revision == SCHEMA_REVISION:
        return False
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    with _reshaping(engine) as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "head")
        _require_no_orphans(connection)
        connection.commit()
    if database_revision(engine) != SCHEMA_REVISION:
        raise DataError("The migration did not reach the revision this version needs; the database was left as it was.")
    return True
