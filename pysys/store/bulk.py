"""Many price rows at once.

Writing happens on the connection of the unit of work, so that prices, contracts and calendars of an instrument land
together: batched inserts on SQLite, COPY on PostgreSQL. Reading takes one consistent view of the database, however
many series are read: Arrow columns through ADBC from PostgreSQL, rows straight into arrays from SQLite.

SQLite is never opened through ADBC: its driver brings a SQLite library of its own, and two of them in one process
undo each other's file locks. The second one then takes itself for the last user of the database when it closes, and
deletes the write-ahead log under the first, with everything committed to it since.
"""

import io
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import psycopg
import pyarrow as pa
import pyarrow.csv
from sqlalchemy import Connection, make_url
from sqlalchemy.exc import IntegrityError

from pysys.domain.contracts import Contract
from pysys.domain.errors import DataError
from pysys.domain.prices import ContractBars, MultipleRows, PriceRows

_WRITE_BATCH = 20_000

Columns = dict[str, npt.NDArray[Any]]


class DuplicateRows(DataError):
    """A row at this time is already stored. Nothing of the batch was written."""


def insert_columns(connection: Connection, table: str, columns: Columns) -> None:
    """Insert one row per element of the (equally long) columns, `series_id` among them; NaN becomes NULL.

    Raises DuplicateRows when a (series, time) is there already; the transaction must then be given up.
    """
    write = _copy if connection.dialect.name == "postgresql" else _insert
    try:
        write(connection, table, columns)
    except (IntegrityError, psycopg.IntegrityError) as error:
        raise DuplicateRows(f"{table}: a row with the same time is stored already.") from error


def _insert(connection: Connection, table: str, columns: Columns) -> None:
    marks = ", ".join("?" * len(columns))
    statement = f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({marks})"  # noqa: S608
    length = len(next(iter(columns.values())))
    for start in range(0, length, _WRITE_BATCH):
        part = [_python_values(values[start : start + _WRITE_BATCH]) for values in columns.values()]
        connection.exec_driver_sql(statement, list(zip(*part, strict=True)))


def _python_values(values: npt.NDArray[Any]) -> list[Any]:
    listed: list[Any] = values.tolist()
    if values.dtype.kind == "f":
        return [value if value == value else None for value in listed]
    return listed


def _copy(connection: Connection, table: str, columns: Columns) -> None:
    arrow = pa.table({name: pa.array(values, from_pandas=True) for name, values in columns.items()})
    text = io.BytesIO()
    pa.csv.write_csv(arrow, text, pa.csv.WriteOptions(include_header=False))
    driver: Any = connection.connection.driver_connection
    statement = f"COPY {table} ({', '.join(columns)}) FROM STDIN (FORMAT CSV)"
    with driver.cursor() as cursor, cursor.copy(statement) as copy:
        copy.write(text.getbuffer())


class BulkReader:
    """Series as arrays. Series that do not exist are absent from the answers; empty ones are empty."""

    def __init__(self, select: "_Select", since: int | None = None, before: int | None = None) -> None:
        self._select = select
        self._span = "" if since is None else f" AND time >= {int(since)}"
        self._span += "" if before is None else f" AND time < {int(before)}"

    def multiple(self, instruments: Sequence[str]) -> dict[str, MultipleRows]:
        """Multiple prices by instrument."""
        names = ["price", "price_contract", "carry", "carry_contract", "forward", "forward_contract"]
        read = self._series("multiple_prices", names, "multiple", instruments)
        return {code: MultipleRows(*columns) for (code, _), columns in read.items()}

    def adjusted(self, instruments: Sequence[str]) -> dict[str, PriceRows]:
        """Back-adjusted prices by instrument."""
        read = self._series("adjusted_prices", ["price"], "adjusted", instruments)
        return {code: PriceRows(*columns) for (code, _), columns in read.items()}

    def fx(self, currencies: Sequence[str] | None = None) -> dict[str, PriceRows]:
        """USD per unit, by currency; every currency there is when None."""
        read = self._series("fx_prices", ["price"], "fx", currencies)
        return {code: PriceRows(*columns) for (code, _), columns in read.items()}

    def contract_bars(self, instrument: str, *, daily: bool) -> dict[Contract, ContractBars]:
        """Bars of every contract of an instrument."""
        kind = "contract_daily" if daily else "contract_intraday"
        names = ["open", "high", "low", "final", "volume"]
        read = self._series("contract_prices", names, kind, [instrument])
        return {Contract(code, date): ContractBars(*columns) for (code, date), columns in read.items()}

    def _series(
        self, table: str, names: list[str], kind: str, codes: Sequence[str] | None
    ) -> dict[tuple[str, str], list[npt.NDArray[Any]]]:
        """Columns time and `names` of each series of a kind, by (code, contract)."""
        series = [one for one in self._select.series(kind) if codes is None or one[1] in codes]
        if not series:
            return {}
        chosen = ", ".join(str(series_id) for series_id, _, _ in series)
        ids, *columns = self._select.columns(
            table, ["series_id", "time", *names], f"series_id IN ({chosen}){self._span} ORDER BY series_id, time"
        )
        found = {}
        for series_id, code, contract in series:
            rows = slice(*np.searchsorted(ids, [series_id, series_id + 1]))
            found[code, contract] = [column[rows] for column in columns]
        return found


class _Select(Protocol):
    """Reads within one transaction."""

    def series(self, kind: str) -> list[tuple[int, str, str]]:
        """Id, code and contract of every series of a kind."""
        ...

    def columns(self, table: str, names: list[str], condition: str) -> list[npt.NDArray[Any]]:
        """One array per name, int64 for times, ids and contracts, float64 with NaN for the rest."""
        ...


class _SqliteSelect:
    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def series(self, kind: str) -> list[tuple[int, str, str]]:
        found = self._connection.execute("SELECT id, code, contract FROM price_series WHERE kind = ?", (kind,))
        return found.fetchall()

    def columns(self, table: str, names: list[str], condition: str) -> list[npt.NDArray[Any]]:
        """A missing price travels as infinity, which no stored price is, because None does not fit an array."""
        shown = ", ".join(name if _is_whole(name) else f"coalesce({name}, 9e999)" for name in names)
        kinds = np.dtype([(name, np.int64 if _is_whole(name) else np.float64) for name in names])
        found = self._connection.execute(f"SELECT {shown} FROM {table} WHERE {condition}")  # noqa: S608
        rows = np.fromiter(found, dtype=kinds)
        return [_priced(rows[name]) for name in names]


class _PostgresqlSelect:
    def __init__(self, cursor: Any) -> None:
        self._cursor = cursor

    def series(self, kind: str) -> list[tuple[int, str, str]]:
        self._cursor.execute(f"SELECT id, code, contract FROM price_series WHERE kind = '{kind}'")  # noqa: S608
        return [(row["id"], row["code"], row["contract"]) for row in self._cursor.fetch_arrow_table().to_pylist()]

    def columns(self, table: str, names: list[str], condition: str) -> list[npt.NDArray[Any]]:
        self._cursor.execute(f"SELECT {', '.join(names)} FROM {table} WHERE {condition}")  # noqa: S608
        found = self._cursor.fetch_arrow_table()
        return [
            np.array(found.column(name).to_numpy(), dtype=np.int64 if _is_whole(name) else np.float64) for name in names
        ]


def _is_whole(name: str) -> bool:
    return name in ("time", "series_id") or name.endswith("_contract")


def _priced(values: npt.NDArray[Any]) -> npt.NDArray[Any]:
    values = np.ascontiguousarray(values)
    if values.dtype.kind == "f":
        values[np.isinf(values)] = np.nan
    return values


@contextmanager
def bulk_reader(url: str, *, since: int | None = None, before: int | None = None) -> Iterator[BulkReader]:
    """A reader on one consistent view of the database at a SQLAlchemy `url`.

    It reads rows stamped in [since, before), microseconds UTC; all there are when None.
    """
    parsed = make_url(url)
    if parsed.get_backend_name() == "sqlite":
        with closing(sqlite3.connect(parsed.database or "", timeout=30, isolation_level=None)) as connection:
            connection.execute("PRAGMA query_only = ON")
            connection.execute("PRAGMA cache_size = -65536")
            connection.execute("BEGIN")
            yield BulkReader(_SqliteSelect(connection), since, before)
        return
    import adbc_driver_postgresql.dbapi as adbc

    address = parsed.set(drivername="postgresql").render_as_string(hide_password=False)
    with adbc.connect(address, autocommit=True) as connected, connected.cursor() as cursor:
        cursor.execute("BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        try:
            yield BulkReader(_PostgresqlSelect(cursor), since, before)
        finally:
            cursor.execute("ROLLBACK")
