"""The program of one reader process: what `history_readers` asks for, out of SQLite through ADBC.

Run as a file, so that nothing of the library is imported but what is imported here.
"""

from __future__ import annotations

import json
import sys
from typing import IO, Any
from urllib.parse import quote

_ROWS_AT_ONCE = 2**18
_NO_PRICE = "9e999"  # infinity, which no price is: a column of numbers without holes can be sent as it is
_COLUMNS = {
    "multiple": f"time, coalesce(price, {_NO_PRICE}), price_contract, coalesce(carry, {_NO_PRICE}), carry_contract",
    "adjusted": f"time, coalesce(price, {_NO_PRICE})",
}
_TYPES = {"multiple": ["int64", "double", "int64", "double", "int64"], "adjusted": ["int64", "double"]}


def answer(request: dict[str, Any], stream: IO[bytes]) -> None:
    """Send the histories a request names."""
    import adbc_driver_manager
    import adbc_driver_sqlite

    with (
        adbc_driver_sqlite.connect(f"file:{quote(request['database'])}?mode=ro") as database,
        adbc_driver_manager.AdbcConnection(database) as connection,
    ):
        _select(connection, "BEGIN")
        known = {
            (kind, code): number
            for number, kind, code in _rows(connection, "SELECT id, kind, code FROM price_series")
            if kind in _COLUMNS
        }
        for code in request["instruments"]:
            histories = [_series(connection, kind, known.get((kind, code))) for kind in _COLUMNS]
            stream.write(json.dumps([sum(map(len, batches)) for batches in histories]).encode() + b"\n")
            for kind, batches in zip(_COLUMNS, histories, strict=True):
                for column in range(len(_TYPES[kind])):
                    for array in (batch.column(column) for batch in batches):
                        stream.write(memoryview(array.buffers()[1])[: 8 * len(array)])
    stream.flush()


def _series(connection: Any, kind: str, series: int | None) -> list[Any]:
    """The columns of one series as Arrow batches; none for a series that does not exist."""
    if series is None:
        return []
    table = f"{kind}_prices"
    statement = f"SELECT {_COLUMNS[kind]} FROM {table} WHERE series_id = {int(series)} ORDER BY time"  # noqa: S608
    batches = [batch for batch in _select(connection, statement) if len(batch)]
    for batch in batches:
        if [str(one) for one in batch.schema.types] != _TYPES[kind] or any(one.null_count for one in batch.columns):
            raise ValueError(f"{table} holds something else than numbers")
    return batches


def _rows(connection: Any, statement: str) -> list[tuple[Any, ...]]:
    return [tuple(row.values()) for batch in _select(connection, statement) for row in batch.to_pylist()]


def _select(connection: Any, statement: str) -> list[Any]:
    """Arrow batches of a statement's rows."""
    import adbc_driver_manager
    import pyarrow as pa

    with adbc_driver_manager.AdbcStatement(connection) as prepared:
        prepared.set_options(**{"adbc.sqlite.query.batch_rows": str(_ROWS_AT_ONCE)})
        prepared.set_sql_query(statement)
        stream, _ = prepared.execute_query()
        return list(pa.RecordBatchReader._import_from_c(stream.address))


if __name__ == "__main__":
    sys.modules["numpy"] = None  # type: ignore[assignment]  # pyarrow does without, and starts in a quarter of the time
    import adbc_driver_manager  # noqa: F401 - while there is nothing to do yet
    import adbc_driver_sqlite  # noqa: F401
    import pyarrow  # noqa: F401

    for line in sys.stdin:
        answer(json.loads(line), sys.stdout.buffer)
