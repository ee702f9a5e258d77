"""Price series: contracts (daily and intraday apart), multiple and adjusted prices, exchange rates.

Times are integer microseconds since 1970, UTC. A missing price is NULL in the database and NaN in numpy.
Exchange rates are USD for one unit of the currency.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

import numpy as np
import numpy.typing as npt
from sqlalchemy import Table, delete, func, insert, select, update

from pysys.domain.contracts import Contract
from pysys.domain.errors import DataError
from pysys.domain.prices import ContractBars, MultipleRows, PriceRows, to_moment
from pysys.store import schema
from pysys.store.bulk import DuplicateRows, insert_columns
from pysys.store.packed import pack_series
from pysys.store.repository import Repository


class SeriesKind(StrEnum):
    """Stored as these words."""

    CONTRACT_DAILY = "contract_daily"
    CONTRACT_INTRADAY = "contract_intraday"
    MULTIPLE = "multiple"
    ADJUSTED = "adjusted"
    FX = "fx"


class PriceOutcome(StrEnum):
    """What the last update of a series came to."""

    NEW_ROWS = "new_rows"
    NONE_EXPECTED = "none_expected"
    MISSING = "missing"  # the market traded and nothing came
    HELD_BACK = "held_back"  # a gate refused the rows
    ERROR = "error"


class Resolution(StrEnum):
    """What a person decided about a quarantined row."""

    ACCEPTED = "accepted"
    PREVIOUS = "previous"  # take the price before it instead
    TYPED = "typed"


@dataclass(frozen=True, slots=True, order=True)
class SeriesKey:
    """One price series. `code` is the instrument, or the currency of an exchange rate."""

    kind: SeriesKind
    code: str
    contract: str = ""  # YYYYMMDD, blank for series that are not of one contract

    def __str__(self) -> str:
        return f"{self.kind} {self.code}" + (f"/{self.contract}" if self.contract else "")


def contract_key(contract: Contract, *, daily: bool) -> SeriesKey:
    """The daily or the intraday series of a contract."""
    kind = SeriesKind.CONTRACT_DAILY if daily else SeriesKind.CONTRACT_INTRADAY
    return SeriesKey(kind, contract.instrument, contract.date)


@dataclass(frozen=True, slots=True)
class OutcomeRow:
    """How the last update of one series went."""

    series: SeriesKey
    checked_at: datetime  # UTC
    outcome: PriceOutcome
    rows: int = 0
    detail: str = ""


@dataclass(frozen=True, slots=True)
class QuarantinedRow:
    """One row a gate refused."""

    series: SeriesKey
    time: datetime  # UTC
    value: float | None
    reason: str
    found_at: datetime  # UTC
    id: int | None = None  # set by the database
    resolved_at: datetime | None = None
    resolution: Resolution | None = None


Rows = ContractBars | MultipleRows | PriceRows

_TABLES: dict[SeriesKind, Table] = {
    SeriesKind.CONTRACT_DAILY: schema.contract_prices,
    SeriesKind.CONTRACT_INTRADAY: schema.contract_prices,
    SeriesKind.MULTIPLE: schema.multiple_prices,
    SeriesKind.ADJUSTED: schema.adjusted_prices,
    SeriesKind.FX: schema.fx_prices,
}
_PACKED = (schema.multiple_prices, schema.adjusted_prices, schema.fx_prices)
_ROW_TYPES: dict[SeriesKind, type[ContractBars] | type[MultipleRows] | type[PriceRows]] = {
    SeriesKind.CONTRACT_DAILY: ContractBars,
    SeriesKind.CONTRACT_INTRADAY: ContractBars,
    SeriesKind.MULTIPLE: MultipleRows,
    SeriesKind.ADJUSTED: PriceRows,
    SeriesKind.FX: PriceRows,
}


class Prices(Repository):
    """Price series and what the updates of them came to."""

    # --- series ------------------------------------------------------------------------------------------------

    def series(self, kind: SeriesKind, code: str | None = None) -> list[SeriesKey]:
        """Series of a kind that exist (they may be empty), in order of code and contract."""
        table = schema.price_series
        query = select(table).where(table.c.kind == str(kind)).order_by(table.c.code, table.c.contract)
        if code is not None:
            query = query.where(table.c.code == code)
        return [SeriesKey(kind, row.code, row.contract) for row in self.connection.execute(query)]

    def series_id(self, key: SeriesKey) -> int | None:
        """None when nothing was ever written to it."""
        table = schema.price_series
        found = self.connection.scalar(
            select(table.c.id).where(
                table.c.kind == str(key.kind), table.c.code == key.code, table.c.contract == key.contract
            )
        )
        return None if found is None else int(found)

    def _series_id_made(self, key: SeriesKey) -> int:
        found = self.series_id(key)
        if found is not None:
            return found
        made = self.connection.execute(
            insert(schema.price_series)
            .values(kind=str(key.kind), code=key.code, contract=key.contract)
            .returning(schema.price_series.c.id)
        )
        return int(made.scalar_one())

    # --- rows --------------------------------------------------------------------------------------------------

    def append(self, key: SeriesKey, rows: Rows) -> int:
        """Add rows; how many. Raises DuplicateRows when one of the times is stored already: the rest of the
        transaction is then lost too on PostgreSQL, so the caller gives up the unit of work."""
        _check(key, rows)
        if not len(rows):
            return 0
        table, series_id = _TABLES[key.kind], self._series_id_made(key)
        ids, columns = np.full(len(rows), series_id, dtype=np.int64), _columns(table, rows)
        try:
            insert_columns(self.connection, table.name, {"series_id": ids, **columns})
        except DuplicateRows as error:
            first, last = to_moment(rows.times[0]), to_moment(rows.times[-1])
            raise DuplicateRows(
                f"{key}: a row between {first} and {last} is stored already; nothing was written."
            ) from error
        if table in _PACKED:
            pack_series(self.connection, table, series_id, columns)
        return len(rows)

    def replace(self, key: SeriesKey, rows: Rows) -> int:
        """The series becomes exactly these rows; how many."""
        self.clear(key)
        return self.append(key, rows)

    def replace_contracts(self, instrument: str, series: Mapping[SeriesKey, ContractBars]) -> int:
        """The contract series of an instrument, of both frequencies, become exactly these; how many rows."""
        kinds = (SeriesKind.CONTRACT_DAILY, SeriesKind.CONTRACT_INTRADAY)
        for key, rows in series.items():
            if key.code != instrument or key.kind not in kinds:
                raise ValueError(f"{key} is not a contract series of {instrument}")
            _check(key, rows)
        known = self._contract_series_ids(instrument)
        table = schema.contract_prices
        for batch in _batches(list(known.values())):
            self.connection.execute(delete(table).where(table.c.series_id.in_(batch)))
        new = [key for key in series if key not in known]
        if new:
            rows_new = [{"kind": str(key.kind), "code": key.code, "contract": key.contract} for key in new]
            self.connection.execute(insert(schema.price_series), rows_new)
            known = self._contract_series_ids(instrument)
        filled = {key: rows for key, rows in series.items() if len(rows)}
        if not filled:
            return 0
        parts = [_columns(table, rows) for rows in filled.values()]
        columns = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
        ids = np.concatenate([np.full(len(rows), known[key], dtype=np.int64) for key, rows in filled.items()])
        insert_columns(self.connection, table.name, {"series_id": ids, **columns})
        return len(ids)

    def _contract_series_ids(self, instrument: str) -> dict[SeriesKey, int]:
        table = schema.price_series
        kinds = [str(SeriesKind.CONTRACT_DAILY), str(SeriesKind.CONTRACT_INTRADAY)]
        found = self.connection.execute(select(table).where(table.c.code == instrument, table.c.kind.in_(kinds)))
        return {SeriesKey(SeriesKind(row.kind), row.code, row.contract): int(row.id) for row in found}

    def clear(self, key: SeriesKey) -> int:
        """Remove every row of the series; how many there were."""
        series_id = self.series_id(key)
        if series_id is None:
            return 0
        table = _TABLES[key.kind]
        return int(self.connection.execute(delete(table).where(table.c.series_id == series_id)).rowcount)

    def correct_final(self, key: SeriesKey, time: int, price: float) -> None:
        """Give a stored bar another final price; open, high and low move with it. Raises DataError without the bar."""
        series_id, table = self.series_id(key), schema.contract_prices
        this = (table.c.series_id == series_id) & (table.c.time == time)
        stored = self.connection.scalar(select(table.c.final).where(this))
        if stored is None:
            raise DataError(f"{key}: there is no final price at {to_moment(time)} to correct.")
        shift = price - stored
        self.connection.execute(
            update(table)
            .where(this)
            .values(final=price, open=table.c.open + shift, high=table.c.high + shift, low=table.c.low + shift)
        )

    def shift_adjusted(self, instrument: str, gap: float) -> None:
        """Add `gap` to every adjusted price."""
        table = schema.adjusted_prices
        series_id = self.series_id(SeriesKey(SeriesKind.ADJUSTED, instrument))
        if series_id is not None:
            this = table.c.series_id == series_id
            self.connection.execute(update(table).where(this).values(price=table.c.price + gap))
            pack_series(self.connection, table, series_id)

    # --- reading -----------------------------------------------------------------------------------------------

    def contract_bars(self, contract: Contract, *, daily: bool, since: int | None = None) -> ContractBars:
        """Bars stamped after `since` (all when None); empty when there are none."""
        return ContractBars(*self._read(contract_key(contract, daily=daily), since))

    def multiple(self, instrument: str, since: int | None = None) -> MultipleRows:
        """Rows stamped after `since` (all when None)."""
        return MultipleRows(*self._read(SeriesKey(SeriesKind.MULTIPLE, instrument), since))

    def adjusted(self, instrument: str, since: int | None = None) -> PriceRows:
        """Rows stamped after `since` (all when None)."""
        return PriceRows(*self._read(SeriesKey(SeriesKind.ADJUSTED, instrument), since))

    def fx(self, currency: str, since: int | None = None) -> PriceRows:
        """USD per unit of `currency`, stamped after `since` (all when None)."""
        return PriceRows(*self._read(SeriesKey(SeriesKind.FX, currency), since))

    def last_multiple(self, instrument: str) -> MultipleRows:
        """The latest row of the multiple prices, or no row when there are none."""
        table, series_id = schema.multiple_prices, self.series_id(SeriesKey(SeriesKind.MULTIPLE, instrument))
        query = select(func.max(table.c.time)).where(table.c.series_id == series_id)
        last = self.connection.scalar(query)
        return self.multiple(instrument, None if last is None else int(last) - 1)

    def last_matched_gap(self, instrument: str, priced: Contract, forward: Contract) -> float | None:
        """Forward less priced on the latest row that has both; None when no row has."""
        table = schema.multiple_prices.c
        query = (
            select(table.forward - table.price)
            .where(
                table.series_id == self.series_id(SeriesKey(SeriesKind.MULTIPLE, instrument)),
                table.price_contract == int(priced.date),
                table.forward_contract == int(forward.date),
                table.price.is_not(None),
                table.forward.is_not(None),
            )
            .order_by(table.time.desc())
            .limit(1)
        )
        found: float | None = self.connection.scalar(query)
        return found

    def last_time(self, key: SeriesKey) -> int | None:
        """Stamp of the latest row, priced or not."""
        table, series_id = _TABLES[key.kind], self.series_id(key)
        found = self.connection.scalar(select(func.max(table.c.time)).where(table.c.series_id == series_id))
        return None if found is None else int(found)

    def last_times(self, kind: SeriesKind, code: str | None = None) -> dict[SeriesKey, int]:
        """Stamp of the latest row of every series of a kind that has one."""
        table, named = _TABLES[kind], schema.price_series
        newest = (
            select(func.max(table.c.time)).where(table.c.series_id == named.c.id).correlate(named).scalar_subquery()
        )
        query = select(named.c.code, named.c.contract, newest.label("last")).where(named.c.kind == str(kind))
        if code is not None:
            query = query.where(named.c.code == code)
        return {
            SeriesKey(kind, row.code, row.contract): int(row.last)
            for row in self.connection.execute(query)
            if row.last is not None
        }

    def final_prices(self, key: SeriesKey) -> PriceRows:
        """Final prices of a contract or rates of a currency, without the other columns."""
        table = _TABLES[key.kind]
        column = table.c.final if table is schema.contract_prices else table.c.price
        query = select(table.c.time, column).where(table.c.series_id == self.series_id(key)).order_by(table.c.time)
        found = self.connection.execute(query).all()
        return PriceRows(
            np.array([row[0] for row in found], dtype=np.int64), np.array([row[1] for row in found], dtype=np.float64)
        )

    def row_count(self, key: SeriesKey) -> int:
        table, series_id = _TABLES[key.kind], self.series_id(key)
        query = select(func.count()).select_from(table).where(table.c.series_id == series_id)
        return int(self.connection.execute(query).scalar_one())

    def _read(self, key: SeriesKey, since: int | None) -> Sequence[npt.NDArray[Any]]:
        table, series_id = _TABLES[key.kind], self.series_id(key)
        names = ["time", *_value_columns(table)]
        query = select(*(table.c[name] for name in names)).where(table.c.series_id == series_id)
        if since is not None:
            query = query.where(table.c.time > since)
        found = [] if series_id is None else self.connection.execute(query.order_by(table.c.time)).all()
        columns = list(zip(*found, strict=True)) if found else [()] * len(names)
        return [np.array(values, dtype=_numpy_type(name)) for name, values in zip(names, columns, strict=True)]

    # --- outcomes ----------------------------------------------------------------------------------------------

    def record_outcomes(self, outcomes: Iterable[OutcomeRow]) -> None:
        """Keep the latest outcome of each series."""
        table = schema.price_outcomes
        for one in outcomes:
            key = {"kind": str(one.series.kind), "code": one.series.code, "contract": one.series.contract}
            this = [table.c[name] == value for name, value in key.items()]
            self.connection.execute(delete(table).where(*this))
            self.connection.execute(
                insert(table).values(
                    **key,
                    checked_at=one.checked_at,
                    outcome=str(one.outcome),
                    rows=one.rows,
                    detail=one.detail,
                    **self.audit,
                )
            )

    def outcomes(self, kind: SeriesKind | None = None, code: str | None = None) -> list[OutcomeRow]:
        """The latest outcome of each series, in order of kind, code and contract."""
        table = schema.price_outcomes
        query = select(table).order_by(table.c.kind, table.c.code, table.c.contract)
        if kind is not None:
            query = query.where(table.c.kind == str(kind))
        if code is not None:
            query = query.where(table.c.code == code)
        return [
            OutcomeRow(
                SeriesKey(SeriesKind(row.kind), row.code, row.contract),
                row.checked_at,
                PriceOutcome(row.outcome),
                row.rows,
                row.detail,
            )
            for row in self.connection.execute(query)
        ]

    # --- quarantine --------------------------------------------------------------------------------------------

    def quarantine(self, rows: Iterable[QuarantinedRow]) -> int:
        """Keep refused rows until a person decides; how many were not there yet.

        A row that comes again with another value replaces the open one; a decided row stays decided.
        """
        table, new = schema.quarantine, 0
        for one in rows:
            this = (
                (table.c.kind == str(one.series.kind))
                & (table.c.code == one.series.code)
                & (table.c.contract == one.series.contract)
                & (table.c.time == one.time)
            )
            if self.connection.execute(select(table.c.id).where(this)).first() is None:
                self.connection.execute(
                    insert(table).values(
                        kind=str(one.series.kind),
                        code=one.series.code,
                        contract=one.series.contract,
                        time=one.time,
                        value=one.value,
                        reason=one.reason,
                        found_at=one.found_at,
                        **self.audit,
                    )
                )
                new += 1
            else:
                still_open = this & table.c.resolved_at.is_(None)
                self.connection.execute(update(table).where(still_open).values(value=one.value, reason=one.reason))
        return new

    def quarantined(
        self, kind: SeriesKind | None = None, code: str | None = None, *, unresolved: bool = True
    ) -> list[QuarantinedRow]:
        """Refused rows, oldest found first; all of them, decided ones too, when `unresolved` is False."""
        table = schema.quarantine
        query = select(table).order_by(table.c.code, table.c.contract, table.c.kind, table.c.time)
        if kind is not None:
            query = query.where(table.c.kind == str(kind))
        if code is not None:
            query = query.where(table.c.code == code)
        if unresolved:
            query = query.where(table.c.resolved_at.is_(None))
        return [
            QuarantinedRow(
                SeriesKey(SeriesKind(row.kind), row.code, row.contract),
                row.time,
                row.value,
                row.reason,
                row.found_at,
                row.id,
                row.resolved_at,
                None if row.resolution is None else Resolution(row.resolution),
            )
            for row in self.connection.execute(query)
        ]

    def release(self, key: SeriesKey, until: int) -> int:
        """Forget undecided rows of a series up to a time that has been written past; how many."""
        table = schema.quarantine
        gone = self.connection.execute(
            delete(table).where(
                table.c.kind == str(key.kind),
                table.c.code == key.code,
                table.c.contract == key.contract,
                table.c.time <= to_moment(until),
                table.c.resolved_at.is_(None),
            )
        )
        return int(gone.rowcount)

    def resolve(self, row_id: int, resolution: Resolution, moment: datetime, value: float | None = None) -> None:
        """Record what a person decided, with the price to use instead where that is the decision.

        Raises DataError when the row is gone or decided already.
        """
        table = schema.quarantine
        decided: dict[str, Any] = {"resolved_at": moment, "resolution": str(resolution)}
        if value is not None:
            decided["value"] = value
        changed = self.connection.execute(
            update(table).where(table.c.id == row_id, table.c.resolved_at.is_(None)).values(**decided)
        )
        if changed.rowcount != 1:
            raise DataError(f"quarantined row {row_id} does not exist or was decided already.")


def _check(key: SeriesKey, rows: Rows) -> None:
    expected = _ROW_TYPES[key.kind]
    if not isinstance(rows, expected):
        raise TypeError(f"{key}: rows are {type(rows).__name__}, not {expected.__name__}")
    for name in _value_columns(_TABLES[key.kind]):
        values = getattr(rows, name)
        if values.dtype.kind == "f" and bool(np.isinf(values).any()):
            raise DataError(f"{key}: column {name} has an infinite price; nothing was written.")


def _columns(table: Table, rows: Rows) -> dict[str, npt.NDArray[Any]]:
    return {"time": rows.times, **{name: getattr(rows, name) for name in _value_columns(table)}}


def _batches(ids: list[int], size: int = 500) -> list[list[int]]:
    return [ids[start : start + size] for start in range(0, len(ids), size)]


def _value_columns(table: Table) -> list[str]:
    return [column.name for column in table.columns if column.name not in ("series_id", "time")]


def _numpy_type(column: str) -> type[np.int64] | type[np.float64]:
    return np.int64 if column == "time" or column.endswith("_contract") else np.float64
