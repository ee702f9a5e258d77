"""Whole columns of the long price series, kept beside their rows: a history is read as a few blocks of bytes.

A series is packed up to some row, and what comes after it is read from the rows. The database itself forgets what is
packed of a series when one of the packed rows changes, whoever changes it (the triggers of migration 0004); so what
is packed is never anything else than the rows. Writing through `Prices` packs a series when many rows are not.

Little endian: times as int64 microseconds, prices as float64 with NaN for missing, contracts as int32 YYYYMMDD.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from sqlalchemy import Connection, Table

Columns = dict[str, npt.NDArray[Any]]

MOST_ROWS_APART = 1000  # of a series that is read from rows; a few milliseconds

_TIME, _CONTRACT, _PRICE = "<i8", "<i4", "<f8"


def unpack_column(name: str, content: bytes) -> npt.NDArray[Any]:
    """The values of a packed column: int64 for times and contracts, float64 for prices."""
    values = np.frombuffer(content, dtype=_type(name))
    return values.astype(np.int64 if values.dtype.kind == "i" else np.float64, copy=False)


def pack_series(connection: Connection, table: Table, series: int, written: Columns | None = None) -> None:
    """Pack a series of multiple, adjusted or FX prices up to its last row, if many rows are not packed.

    written: rows just written, which need not be read again when they are all there is to pack.
    """
    from sqlalchemy import delete, func, insert, select

    from pysys.store.schema import packed_prices as packed

    mine, apart = packed.c.series_id == series, table.c.series_id == series
    until = connection.scalar(select(func.max(packed.c.until)).where(mine))
    if until is not None:
        apart &= table.c.time > until
    rows = connection.execute(select(func.count()).select_from(table).where(apart)).scalar_one()
    if rows <= MOST_ROWS_APART or not _nobody_else_writes(connection, table):
        return
    names = [column.name for column in table.columns if column.name != "series_id"]
    if written is None or len(written["time"]) != rows:
        found = connection.execute(select(*(table.c[name] for name in names)).where(apart).order_by(table.c.time))
        columns = zip(*found, strict=True)
        written = {name: np.array(values, _type(name)) for name, values in zip(names, columns, strict=True)}
    before = dict(connection.execute(select(packed.c.name, packed.c.content).where(mine)).all())
    connection.execute(delete(packed).where(mine))
    connection.execute(
        insert(packed),
        [
            {
                "series_id": series,
                "name": name,
                "until": int(written["time"][-1]),
                "content": before.get(name, b"") + written[name].astype(_type(name)).tobytes(),
            }
            for name in names
        ],
    )


def _nobody_else_writes(connection: Connection, table: Table) -> bool:
    """Keep others from writing to `table` until the transaction ends, if nobody is.

    Somebody who writes to PostgreSQL by hand has changed rows that cannot be seen before he commits, when what is
    packed meanwhile would not be forgotten.
    """
    if connection.dialect.name != "postgresql":
        return True
    from psycopg.errors import LockNotAvailable
    from sqlalchemy.exc import OperationalError

    try:
        with connection.begin_nested():
            connection.exec_driver_sql(f"LOCK TABLE {table.name} IN SHARE ROW EXCLUSIVE MODE NOWAIT")
    except OperationalError as error:
        if isinstance(error.orig, LockNotAvailable):
            return False
        raise
    return True


def _type(name: str) -> str:
    if name == "time":
        return _TIME
    return _CONTRACT if name.endswith("_contract") else _PRICE
