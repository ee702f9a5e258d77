"""The SQLite file of one paper exchange: how it is opened, its tables, and how it keeps time."""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Literal

from pysys.domain.errors import ConfigError

SCHEMA_VERSION = 2  # 1 had no currency trades
BUSY_SECONDS = 60
_JOURNAL_ATTEMPTS = 100
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_MINUTE = 60_000_000

_SCHEMA = (
    """CREATE TABLE IF NOT EXISTS clock (
        only_row INTEGER PRIMARY KEY CHECK (only_row = 1),
        moment INTEGER NOT NULL
    ) STRICT""",
    """CREATE TABLE IF NOT EXISTS exchange (
        only_row INTEGER PRIMARY KEY CHECK (only_row = 1),
        account TEXT NOT NULL,
        base_currency TEXT NOT NULL,
        seed INTEGER NOT NULL,
        worked INTEGER NOT NULL,    -- last minute worked, minutes since 1970
        revision INTEGER NOT NULL   -- grows with every change
    ) STRICT""",
    """CREATE TABLE IF NOT EXISTS transfers (
        number INTEGER PRIMARY KEY,
        moment INTEGER NOT NULL,
        currency TEXT NOT NULL,
        amount REAL NOT NULL        -- positive is paid in
    ) STRICT""",
    """CREATE TABLE IF NOT EXISTS currency_trades (
        order_ref TEXT PRIMARY KEY,
        pair TEXT NOT NULL,
        amount REAL NOT NULL,       -- of the first currency, positive bought it
        rate REAL NOT NULL,         -- second currency for one of the first
        moment INTEGER NOT NULL
    ) STRICT""",
    """CREATE TABLE IF NOT EXISTS orders (
        number INTEGER PRIMARY KEY,
        order_ref TEXT NOT NULL UNIQUE,
        order_type TEXT NOT NULL,
        sent_limit TEXT,            -- as first sent; limit_price is what it was changed to since
        limit_price TEXT,
        status TEXT NOT NULL,
        message TEXT NOT NULL,
        submitted_at INTEGER NOT NULL,
        expires_at INTEGER NOT NULL,
        finished_at INTEGER,
        priority INTEGER NOT NULL UNIQUE,
        executions INTEGER NOT NULL DEFAULT 0
    ) STRICT""",
    "CREATE INDEX IF NOT EXISTS orders_working ON orders (priority) WHERE status = 'working'",
    """CREATE TABLE IF NOT EXISTS legs (
        order_number INTEGER NOT NULL REFERENCES orders (number),
        leg INTEGER NOT NULL,
        contract TEXT NOT NULL,
        quantity INTEGER NOT NULL,
        filled INTEGER NOT NULL DEFAULT 0,
        traded_value REAL NOT NULL DEFAULT 0,  -- sum of quantity x price
        commission REAL NOT NULL DEFAULT 0,
        PRIMARY KEY (order_number, leg)
    ) STRICT""",
    """CREATE TABLE IF NOT EXISTS fills (
        number INTEGER PRIMARY KEY,
        execution_id TEXT NOT NULL UNIQUE,
        order_ref TEXT NOT NULL,
        contract TEXT NOT NULL,
        quantity INTEGER NOT NULL CHECK (quantity <> 0),
        price REAL NOT NULL,
        filled_at INTEGER NOT NULL,
        commission REAL NOT NULL,
        currency TEXT NOT NULL
    ) STRICT""",
    "CREATE INDEX IF NOT EXISTS fills_by_time ON fills (filled_at)",
    """CREATE TABLE IF NOT EXISTS positions (
        contract TEXT PRIMARY KEY,
        quantity INTEGER NOT NULL,
        traded_value REAL NOT NULL,  -- sum of quantity x price of all fills
        commission REAL NOT NULL,    -- sum of all fills
        multiplier REAL NOT NULL,
        currency TEXT NOT NULL
    ) STRICT""",
    """CREATE TABLE IF NOT EXISTS taken (
        contract TEXT PRIMARY KEY,
        minute INTEGER NOT NULL,
        bought INTEGER NOT NULL,
        sold INTEGER NOT NULL
    ) STRICT""",
)


def to_micros(moment: datetime) -> int:
    """Microseconds since 1970 of an aware moment, exact. Raises TypeError for a naive one."""
    return (moment - _EPOCH) // _MICROSECOND


def from_micros(micros: int) -> datetime:
    """Aware UTC moment of microseconds since 1970."""
    return _EPOCH + timedelta(microseconds=micros)


def minute_of(moment: datetime) -> int:
    """Minutes since 1970 of the minute `moment` falls in."""
    return to_micros(moment) // _MINUTE


def start_of_minute(minute: int) -> datetime:
    """The moment a minute (counted since 1970) begins."""
    return from_micros(minute * _MINUTE)


def open_database(database: Path, synchronous: Literal["FULL", "NORMAL"]) -> sqlite3.Connection:
    """Connection to an exchange's file, made with its tables when it is new. Statements commit one by one.

    Raises ConfigError for a file of another schema.
    """
    connection = sqlite3.connect(database, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False)
    try:
        _use_write_ahead_log(connection)
        connection.execute("PRAGMA foreign_keys = ON")
        connection.execute(f"PRAGMA synchronous = {synchronous}")
        if connection.execute("PRAGMA user_version").fetchone()[0] != SCHEMA_VERSION:
            _make_tables(connection, database)
    except BaseException:
        connection.close()
        raise
    return connection


def _use_write_ahead_log(connection: sqlite3.Connection) -> None:
    """Change of journal, once in the life of a file. SQLite refuses it at once while others are busy there.

    So it is tried again after an exclusive transaction, for which SQLite does wait its turn.
    """
    for _ in range(_JOURNAL_ATTEMPTS):
        if connection.execute("PRAGMA journal_mode").fetchone()[0] == "wal":
            return
        with suppress(sqlite3.OperationalError):
            connection.execute("PRAGMA journal_mode = WAL")
            return
        connection.execute("BEGIN EXCLUSIVE")
        connection.execute("COMMIT")
    connection.execute("PRAGMA journal_mode = WAL")


def _make_tables(connection: sqlite3.Connection, database: Path) -> None:
    with transaction(connection):
        found = connection.execute("PRAGMA user_version").fetchone()[0]
        if found > SCHEMA_VERSION:
            raise ConfigError(
                f"{database.name} was written by another version of the paper exchange (schema {found}, this "
                f"one reads {SCHEMA_VERSION}). Move the file away to start a new exchange."
            )
        for statement in _SCHEMA:
            connection.execute(statement)
        connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")


@contextmanager
def transaction(connection: sqlite3.Connection) -> Iterator[None]:
    """Takes the write lock first; commits at the end, or undoes everything when an exception leaves it."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise
