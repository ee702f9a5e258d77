"""Many price rows at once.

Writing happens on the connection of the unit of work, so that prices, contracts and calendars of an instrument land
together: batched inserts on SQLite, COPY on PostgreSQL. Reading takes one consistent view of the database, however
many series are read: what is packed of the long series and the rows after it, as Arrow columns through ADBC from
PostgreSQL, straight into arrays from SQLite.

SQLite is not opened through ADBC: its driver brings a SQLite library of its own, and two of them in one process undo
each other's file locks. The second one then takes itself for the last user of the database when it closes, and
deletes the write-ahead log under the first, with everything committed to it since.

Whoever only reads from SQLite does so without importing anything but numpy, which is most of a backtest's time.
"""

from __future__ import annotations

import io
import re
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import numpy.typing as npt

from pysys.domain.contracts import Contract
from pysys.domain.errors import DataError
from pysys.domain.prices import CarryRows, ContractBars, MultipleRows, PriceRows
from pysys.store.address import sqlite_file
from pysys.store.packed import Columns, unpack_column

if TYPE_CHECKING:
    from sqlalchemy import Connection

_WRITE_BATCH = 20_000
_CONDITIONS = 500  # in one statement; SQLite takes no more than a thousand


class DuplicateRows(DataError):
    """A row at this time is already stored. Nothing of the batch was written."""


def insert_columns(connection: Connection, table: str, columns: Columns) -> None:
    """Insert one row per element of the (equally long) columns, `series_id` among them; NaN becomes NULL.

    Raises DuplicateRows when a (series, time) is there already; the transaction must then be given up.
    """
    import psycopg
    from sqlalchemy.exc import IntegrityError

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
    import pyarrow as pa
    import pyarrow.csv

    arrow = pa.table({name: pa.array(values, from_pandas=True) for name, values in columns.items()})
    text = io.BytesIO()
    pa.csv.write_csv(arrow, text, pa.csv.WriteOptions(include_header=False))
    driver: Any = connection.connection.driver_connection
    statement = f"COPY {table} ({', '.join(columns)}) FROM STDIN (FORMAT CSV)"
    with driver.cursor() as cursor, cursor.copy(statement) as copy:
        copy.write(text.getbuffer())


@dataclass(frozen=True, slots=True)
class InstrumentFacts:
    """What research needs to know of an instrument."""

    currency: str
    point_size: float  # currency per 1.0 of price, per contract
    asset_class: str
    spread_cost: float  # half the bid-ask spread, price units
    per_block: float  # commission per contract
    percentage: float  # commission as a fraction of value
    per_trade: float  # commission per order
    hold_cycle: str  # month letters of the contracts held


class BulkReader:
    """Series as arrays. Series that do not exist are absent from the answers; empty ones are empty."""

    def __init__(self, select: _Select, since: int | None = None, before: int | None = None) -> None:
        self._select = select
        self._limits = since, before
        self._span = "" if since is None else f" AND time >= {int(since)}"
        self._span += "" if before is None else f" AND time < {int(before)}"

    def revision(self) -> str | None:
        """Revision of the schema; None without one."""
        found = self._select.rows("SELECT version_num FROM alembic_version")
        return str(found[0][0]) if found else None

    def facts(self) -> dict[str, InstrumentFacts]:
        """Of every instrument that has roll parameters, retired ones too."""
        found = self._select.rows(
            "SELECT code, currency, point_size, asset_class, spread_cost, per_block, percentage, per_trade, hold_cycle "
            "FROM instruments JOIN roll_parameters ON instrument = code"
        )
        return {code: InstrumentFacts(*values) for code, *values in found}

    def multiple(self, instruments: Sequence[str]) -> dict[str, MultipleRows]:
        """Multiple prices by instrument."""
        names = ["price", "price_contract", "carry", "carry_contract", "forward", "forward_contract"]
        read = self._series("multiple_prices", names, "multiple", instruments)
        return {code: MultipleRows(*columns) for (code, _), columns in read.items()}

    def priced(self) -> list[str]:
        """Active instruments that have an adjusted price, in order; spreads have no roll parameters."""
        found = self._select.rows(
            "SELECT instruments.code FROM instruments JOIN price_series ON price_series.code = instruments.code "
            "JOIN roll_parameters ON roll_parameters.instrument = instruments.code "
            "WHERE kind = 'adjusted' AND status = 'active' ORDER BY instruments.code"
        )
        return [code for (code,) in found]

    def carry(self, instruments: Sequence[str]) -> dict[str, CarryRows]:
        """What research reads of the multiple prices, by instrument."""
        names = ["price", "price_contract", "carry", "carry_contract"]
        read = self._series("multiple_prices", names, "multiple", instruments)
        return {code: CarryRows(*columns) for (code, _), columns in read.items()}

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
        known = self._select.rows(f"SELECT id, code, contract FROM price_series WHERE kind = '{kind}'")  # noqa: S608
        series = {one: (code, contract) for one, code, contract in known if codes is None or code in codes}
        names = ["time", *names]
        packed = self._packed(list(series), names)
        apart = self._apart(table, names, list(series), {one: columns["time"][-1] for one, columns in packed.items()})
        found = {}
        for one, named in series.items():
            parts = [self._within(packed[one]), apart[one]] if one in packed else [apart[one]]
            found[named] = [np.concatenate([part[name] for part in parts]) for name in names]
        return found

    def _packed(self, series: Sequence[int], names: list[str]) -> dict[int, Columns]:
        """What is packed of each series, whatever the limits; series of which nothing is are absent."""
        shown = ", ".join(f"'{name}'" for name in names)
        found: dict[int, Columns] = {}
        for one, name, content in self._select.rows(
            "SELECT series_id, name, content FROM packed_prices "  # noqa: S608
            f"WHERE series_id IN ({_listed(series)}) AND name IN ({shown})"
        ):
            found.setdefault(one, {})[name] = unpack_column(name, content)
        return found

    def _within(self, columns: Columns) -> Columns:
        since, before = self._limits
        first = 0 if since is None else int(np.searchsorted(columns["time"], since))
        end = None if before is None else int(np.searchsorted(columns["time"], before))
        return {name: column[first:end] for name, column in columns.items()}

    def _apart(
        self, table: str, names: list[str], series: Sequence[int], packed_until: dict[int, int]
    ) -> dict[int, Columns]:
        """The rows of each series that are not packed, within the limits."""
        whole = [one for one in series if one not in packed_until]
        later = [f"series_id = {one} AND time > {until}" for one, until in packed_until.items()]
        conditions = [" OR ".join(later[start : start + _CONDITIONS]) for start in range(0, len(later), _CONDITIONS)]
        found: dict[int, Columns] = {}
        for condition in [f"series_id IN ({_listed(whole)})", *conditions]:
            source = f"{table} WHERE ({condition}) {self._span} ORDER BY series_id, time"
            ids, *columns = self._select.columns(["series_id", *names], source)
            for one in series:
                rows = slice(*np.searchsorted(ids, [one, one + 1]))
                if one not in found or rows.start < rows.stop:
                    found[one] = {name: column[rows] for name, column in zip(names, columns, strict=True)}
        return found


class _Select(Protocol):
    """Reads within one transaction."""

    def rows(self, statement: str) -> list[tuple[Any, ...]]:
        """The few rows of any statement."""
        ...

    def columns(self, names: list[str], source: str) -> list[npt.NDArray[Any]]:
        """One array per name, int64 for times, ids and contracts, float64 with NaN for the rest.

        source: what follows FROM.
        """
        ...


class _SqliteSelect:
    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def rows(self, statement: str) -> list[tuple[Any, ...]]:
        return self._connection.execute(statement).fetchall()

    def columns(self, names: list[str], source: str) -> list[npt.NDArray[Any]]:
        """Everything travels as float64, which holds times and contracts exactly.

        A missing price travels as infinity, which no stored price is, because None does not fit an array.
        """
        shown = ", ".join(name if _is_whole(name) else f"coalesce({name}, 9e999)" for name in names)
        found = self._connection.execute(f"SELECT {shown} FROM {source}")  # noqa: S608
        flat = np.fromiter(chain.from_iterable(found), dtype=np.float64)
        values = flat.reshape(-1, len(names))
        return [_whole(values[:, at]) if _is_whole(name) else _priced(values[:, at]) for at, name in enumerate(names)]


class _PostgresqlSelect:
    def __init__(self, connection: Any) -> None:
        self._connection = connection

    def rows(self, statement: str) -> list[tuple[Any, ...]]:
        return [tuple(row.values()) for batch in self._batches(statement) for row in batch.to_pylist()]

    def columns(self, names: list[str], source: str) -> list[npt.NDArray[Any]]:
        """A missing price travels as infinity here too: columns without holes are used as they come."""
        shown = ", ".join(f"{name}::bigint" if _is_whole(name) else f"coalesce({name}, 'Infinity')" for name in names)
        batches = self._batches(f"SELECT {shown} FROM {source}")  # noqa: S608
        return [self._column(batches, at, np.int64 if _is_whole(name) else np.float64) for at, name in enumerate(names)]

    def execute(self, statement: str) -> None:
        self._batches(statement)

    def _column(
        self, batches: list[Any], at: int, kind: type[np.int64] | type[np.float64]
    ) -> npt.NDArray[np.int64] | npt.NDArray[np.float64]:
        parts = [np.frombuffer(batch.column(at).buffers()[1], kind, len(batch)) for batch in batches if len(batch)]
        values = np.concatenate([np.empty(0, kind), *parts])
        return values if kind is np.int64 else _priced(values)

    def _batches(self, statement: str) -> list[Any]:
        """The rows of a statement as Arrow batches. The DB-API of the driver would do, but brings pandas with it."""
        import adbc_driver_manager
        import pyarrow as pa

        with adbc_driver_manager.AdbcStatement(self._connection) as prepared:
            prepared.set_sql_query(statement)
            stream, _ = prepared.execute_query()
            return list(pa.RecordBatchReader._import_from_c(stream.address))


def _listed(series: Sequence[int]) -> str:
    return ", ".join(str(one) for one in series) or "NULL"


def _is_whole(name: str) -> bool:
    return name in ("time", "series_id") or name.endswith("_contract")


def _whole(values: npt.NDArray[np.float64]) -> npt.NDArray[np.int64]:
    return values.astype(np.int64)


def _priced(values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    values = np.ascontiguousarray(values)
    values[np.isinf(values)] = np.nan
    return values


@contextmanager
def bulk_reader(url: str, *, since: int | None = None, before: int | None = None) -> Iterator[BulkReader]:
    """A reader on one consistent view of the database at a SQLAlchemy `url`.

    It reads rows stamped in [since, before), microseconds UTC; all there are when None.
    """
    path = sqlite_file(url)
    if path is not None:
        with closing(sqlite3.connect(path, timeout=30, isolation_level=None)) as connection:
            connection.execute("PRAGMA query_only = ON")
            connection.execute("PRAGMA cache_size = -65536")
            connection.execute("BEGIN")
            yield BulkReader(_SqliteSelect(connection), since, before)
        return
    import adbc_driver_manager
    import adbc_driver_postgresql

    with (
        adbc_driver_postgresql.connect(re.sub(r"^\w+(\+\w+)?:", "postgresql:", url)) as database,
        adbc_driver_manager.AdbcConnection(database) as connection,
    ):
        select = _PostgresqlSelect(connection)
        select.execute("BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        try:
            yield BulkReader(select, since, before)
        finally:
            select.execute("ROLLBACK")
