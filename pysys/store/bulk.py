"""Many price rows at once.

Writing happens on the connection of the unit of work, so that prices, contracts and calendars of an instrument land
together: batched inserts on SQLite, COPY on PostgreSQL. Reading opens one ADBC connection and takes Arrow columns
from it, on one consistent view of the database however many series are read.

SQLite has no column types ADBC could trust: it infers them from the first batch of rows, so a column that starts with
NULLs would read as integers and fail at the first price. Missing prices therefore leave SQLite as infinity, which
no stored price is, and become NaN here.
"""

import io
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

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

_READ_BATCH = 65_536
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

    def __init__(self, cursor: Any, *, sqlite: bool, since: int | None = None, before: int | None = None) -> None:
        self._cursor = cursor
        self._sqlite = sqlite
        self._since = since
        self._before = before

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
        wanted = None if codes is None else set(codes)
        listed = self._query(
            f"SELECT id, code, contract FROM price_series WHERE kind = '{kind}' ORDER BY id"  # noqa: S608
        ).to_pylist()
        series = [one for one in listed if wanted is None or one["code"] in wanted]
        if not series:
            return {}
        chosen = ", ".join(str(int(one["id"])) for one in series)
        shown = ", ".join(["time", *(self._shown(name) for name in names)])
        found = self._query(
            f"SELECT series_id, {shown} FROM {table} WHERE series_id IN ({chosen}){self._span()} "  # noqa: S608
            "ORDER BY series_id, time"
        )
        ids = _array("series_id", found)
        columns = [_array(name, found) for name in ["time", *names]]
        return {
            (one["code"], one["contract"]): [
                column[np.searchsorted(ids, one["id"]) : np.searchsorted(ids, one["id"], side="right")]
                for column in columns
            ]
            for one in series
        }

    def _span(self) -> str:
        since = "" if self._since is None else f" AND time >= {int(self._since)}"
        return since + ("" if self._before is None else f" AND time < {int(self._before)}")

    def _shown(self, name: str) -> str:
        if self._sqlite and not _is_whole(name):
            return f"coalesce({name}, 9e999) AS {name}"
        return name

    def _query(self, statement: str) -> pa.Table:
        self._cursor.execute(statement)
        return self._cursor.fetch_arrow_table()


def _is_whole(name: str) -> bool:
    return name in ("time", "series_id") or name.endswith("_contract")


def _array(name: str, found: pa.Table) -> npt.NDArray[Any]:
    column = found.column(name)
    if _is_whole(name):
        return np.asarray(column.to_numpy()).astype(np.int64, copy=False)
    values = np.array(column.to_numpy(), dtype=np.float64)
    values[np.isinf(values)] = np.nan
    return values


@contextmanager
def bulk_reader(url: str, *, since: int | None = None, before: int | None = None) -> Iterator[BulkReader]:
    """A reader on one consistent view of the database at a SQLAlchemy `url`.

    It reads rows stamped in [since, before), microseconds UTC; all there are when None.
    """
    parsed = make_url(url)
    sqlite = parsed.get_backend_name() == "sqlite"
    if sqlite:
        import adbc_driver_sqlite.dbapi

        connected = adbc_driver_sqlite.dbapi.connect(parsed.database, autocommit=True)
    else:
        import adbc_driver_postgresql.dbapi

        address = parsed.set(drivername="postgresql").render_as_string(hide_password=False)
        connected = adbc_driver_postgresql.dbapi.connect(address, autocommit=True)
    with connected as connection, connection.cursor() as cursor:
        if sqlite:
            cursor.execute("PRAGMA busy_timeout = 30000")
            cursor.execute("PRAGMA cache_size = -65536")
            cursor.adbc_statement.set_options(**{"adbc.sqlite.query.batch_rows": str(_READ_BATCH)})
        cursor.execute("BEGIN" if sqlite else "BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        try:
            yield BulkReader(cursor, sqlite=sqlite, since=since, before=before)
        finally:
            cursor.execute("ROLLBACK")
