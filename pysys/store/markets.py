"""Instruments, their contracts, roll calendars and roll states."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time
from typing import Any

from sqlalchemy import Select, delete, func, insert, select, update

from pysys.domain.contracts import Contract
from pysys.domain.errors import DataError
from pysys.domain.instruments import Instrument, RollParameters, TradingHours
from pysys.domain.roll_calendars import RollCalendarRow
from pysys.domain.roll_states import RollState, RollStatus
from pysys.store.repository import Repository
from pysys.store.schema import (
    contracts,
    instruments,
    roll_calendar,
    roll_parameters,
    roll_states,
    rolls,
)
from pysys.store.unreadable import CANNOT_BE_READ, UnreadableRow, faulty_instruments

APPROXIMATE, BROKER = "approximate", "broker"  # where an expiry comes from
ACTIVE, RETIRED = "active", "retired"


class UnknownInstrument(DataError):
    """The database has no such instrument, or no roll parameters for it."""


@dataclass(frozen=True, slots=True)
class ListedContract:
    """A contract the system knows: when it expires, and whether its prices are collected."""

    contract: Contract
    expiry: date | None = None
    expiry_source: str = APPROXIMATE  # approximate, broker
    sampling: bool = False
    retired_reason: str | None = None


@dataclass(frozen=True, slots=True)
class AdjustedRoll:
    """A roll of the adjusted price that was carried out."""

    instrument: str
    time: datetime  # UTC, of the first row of the new contract
    from_contract: Contract
    to_contract: Contract
    gap: float  # price of the new contract less the old, added to the whole history


class Markets(Repository):
    """Everything known of the markets but their prices."""

    # --- instruments -------------------------------------------------------------------------------------------

    def put_instrument(self, instrument: Instrument) -> bool:
        """Write the instrument as given, its status apart. True if it was new or anything differed."""
        values = _instrument_values(instrument)
        return self._put(instruments, {"code": instrument.code}, values)

    def instrument(self, code: str) -> Instrument:
        """Raises UnknownInstrument."""
        row = self.connection.execute(select(instruments).where(instruments.c.code == code)).one_or_none()
        if row is None:
            raise UnknownInstrument(
                f"{code} is not an instrument of this database. "
                "Add it to parameters/instruments.csv and run `pysys init`, or import its prices."
            )
        return _instrument(row._mapping)

    def instruments(self, status: str | None = ACTIVE) -> list[Instrument]:
        """In order of code; those of one status, or all when None."""
        query = select(instruments).order_by(instruments.c.code)
        if status is not None:
            query = query.where(instruments.c.status == status)
        return [_instrument(row._mapping) for row in self.connection.execute(query)]

    def has_instrument(self, code: str) -> bool:
        return self._found(select(instruments.c.code).where(instruments.c.code == code))

    def status(self, code: str) -> str:
        """active or retired. Raises UnknownInstrument."""
        found = self.connection.scalar(select(instruments.c.status).where(instruments.c.code == code))
        if found is None:
            self.instrument(code)
        return str(found)

    def set_status(self, code: str, status: str) -> None:
        """Retire an instrument (nothing is sampled or updated any more) or bring it back."""
        if status not in (ACTIVE, RETIRED):
            raise ValueError(f"{code}: status {status!r} must be {ACTIVE} or {RETIRED}")
        self.instrument(code)
        self.connection.execute(update(instruments).where(instruments.c.code == code).values(status=status))

    def put_roll_parameters(self, parameters: RollParameters) -> bool:
        """True if they were new or differed."""
        return self._put(
            roll_parameters,
            {"instrument": parameters.instrument},
            {
                "hold_cycle": parameters.hold_cycle,
                "priced_cycle": parameters.priced_cycle,
                "roll_offset": parameters.roll_offset,
                "carry_offset": parameters.carry_offset,
                "expiry_offset": parameters.expiry_offset,
            },
        )

    def roll_parameters(self, instrument: str) -> RollParameters:
        """Raises UnknownInstrument when there are none."""
        query = select(roll_parameters).where(roll_parameters.c.instrument == instrument)
        row = self.connection.execute(query).one_or_none()
        if row is None:
            raise UnknownInstrument(
                f"{instrument} has no roll parameters. Add it to parameters/rolls.csv and run `pysys init`."
            )
        return RollParameters(**row._mapping)

    def all_roll_parameters(self) -> dict[str, RollParameters]:
        """By instrument code."""
        rows = self.connection.execute(select(roll_parameters).order_by(roll_parameters.c.instrument))
        return {row.instrument: RollParameters(**row._mapping) for row in rows}

    # --- contracts ---------------------------------------------------------------------------------------------

    def put_contract(self, listed: ListedContract) -> bool:
        """True if it was new or anything differed."""
        key = {"instrument": listed.contract.instrument, "contract": listed.contract.date}
        return self._put(contracts, key, _contract_values(listed))

    def add_contracts(self, listed: Iterable[ListedContract]) -> int:
        """Write those not known yet, leaving known ones as they are. How many were new."""
        wanted = list(listed)
        codes = {one.contract.instrument for one in wanted}
        known = {one.contract for code in codes for one in self.contracts(code)}
        new = [
            {"instrument": one.contract.instrument, "contract": one.contract.date, **_contract_values(one)}
            for one in wanted
            if one.contract not in known
        ]
        if new:
            self.connection.execute(insert(contracts), new)
        return len(new)

    def contract(self, contract: Contract) -> ListedContract | None:
        """None when the system does not know it."""
        query = _contracts_of(contract.instrument).where(contracts.c.contract == contract.date)
        row = self.connection.execute(query).one_or_none()
        return None if row is None else _listed(row._mapping)

    def contracts(self, instrument: str, *, sampling: bool | None = None) -> list[ListedContract]:
        """In order of contract date; only the sampled (or unsampled) ones when asked."""
        query = _contracts_of(instrument)
        if sampling is not None:
            query = query.where(contracts.c.sampling == sampling)
        return [_listed(row._mapping) for row in self.connection.execute(query)]

    # --- rolls -------------------------------------------------------------------------------------------------

    def put_roll_calendar(self, instrument: str, source: str, rows: Sequence[RollCalendarRow]) -> bool:
        """Replace the calendar of this source: file, prices or plan. True if it differed.

        Raises ValueError when a row is another instrument's.
        """
        strangers = [row for row in rows if row.current.instrument != instrument]
        if strangers:
            raise ValueError(f"{instrument}: the roll calendar has a row of {strangers[0].current}")
        if self.roll_calendar(instrument, source) == list(rows):
            return False
        this = (roll_calendar.c.instrument == instrument) & (roll_calendar.c.source == source)
        self.connection.execute(delete(roll_calendar).where(this))
        if rows:
            self.connection.execute(
                insert(roll_calendar),
                [
                    {
                        "instrument": instrument,
                        "source": source,
                        "roll_time": row.roll_time,
                        "current_contract": row.current.date,
                        "next_contract": row.next.date,
                        "carry_contract": row.carry.date,
                    }
                    for row in rows
                ],
            )
        return True

    def roll_calendar(self, instrument: str, source: str) -> list[RollCalendarRow]:
        """Oldest roll first; empty when there is none."""
        query = (
            select(roll_calendar)
            .where(roll_calendar.c.instrument == instrument, roll_calendar.c.source == source)
            .order_by(roll_calendar.c.roll_time)
        )
        return [
            RollCalendarRow(
                row.roll_time,
                Contract(instrument, row.current_contract),
                Contract(instrument, row.next_contract),
                Contract(instrument, row.carry_contract),
            )
            for row in self.connection.execute(query)
        ]

    def roll_status(self, instrument: str) -> RollStatus:
        """The latest state; No_Roll when none was ever set."""
        query = _latest_states().where(roll_states.c.instrument == instrument)
        row = self.connection.execute(query).one_or_none()
        return RollStatus(instrument, RollState.NO_ROLL, None, None) if row is None else _status(row._mapping)

    def roll_statuses(self) -> dict[str, RollStatus]:
        """The latest state of every instrument that has one; all others are in No_Roll.

        Raises UnreadableRow for a damaged one, until its instrument is locked for that fault; then it is left out.
        """
        found: dict[str, RollStatus] = {}
        for row in self.connection.execute(_latest_states()).all():
            try:
                found[row.instrument] = _status(row._mapping)
            except CANNOT_BE_READ as error:
                if row.instrument not in faulty_instruments(self.connection):
                    raise UnreadableRow(row.instrument, f"roll state {row.state!r}", error) from error
        return found

    def roll_status_history(self, instrument: str) -> list[RollStatus]:
        """Oldest first."""
        query = select(roll_states).where(roll_states.c.instrument == instrument).order_by(roll_states.c.id)
        return [_status(row._mapping) for row in self.connection.execute(query)]

    def record_roll_status(self, status: RollStatus) -> None:
        """Append to the history; the caller has checked that the move is allowed. Raises ValueError without a time."""
        if status.time is None:
            raise ValueError(f"{status.instrument}: a roll state is recorded with the time it was set")
        self.connection.execute(
            insert(roll_states).values(
                instrument=status.instrument,
                time=status.time,
                state=str(status.state),
                priced_contract=status.priced_contract,
                who=status.who,
                why=status.why,
                **self.audit,
            )
        )

    def record_roll(self, roll: AdjustedRoll) -> None:
        self.connection.execute(
            insert(rolls).values(
                instrument=roll.instrument,
                time=roll.time,
                from_contract=roll.from_contract.date,
                to_contract=roll.to_contract.date,
                gap=roll.gap,
                **self.audit,
            )
        )

    def rolls(self, instrument: str) -> list[AdjustedRoll]:
        """Rolls this system carried out, oldest first."""
        query = select(rolls).where(rolls.c.instrument == instrument).order_by(rolls.c.time)
        return [
            AdjustedRoll(
                instrument,
                row.time,
                Contract(instrument, row.from_contract),
                Contract(instrument, row.to_contract),
                row.gap,
            )
            for row in self.connection.execute(query)
        ]

    # --- helpers -----------------------------------------------------------------------------------------------

    def _found(self, query: Select[Any]) -> bool:
        return self.connection.execute(query).first() is not None

    def _put(self, table: Any, key: dict[str, str], values: dict[str, Any]) -> bool:
        this = [table.c[name] == value for name, value in key.items()]
        row = self.connection.execute(select(table).where(*this)).one_or_none()
        if row is None:
            self.connection.execute(insert(table).values(**key, **values))
            return True
        if all(row._mapping[name] == value for name, value in values.items()):
            return False
        self.connection.execute(update(table).where(*this).values(**values))
        return True


def _instrument_values(instrument: Instrument) -> dict[str, Any]:
    hours = instrument.hours
    return {
        "description": instrument.description,
        "currency": instrument.currency,
        "point_size": instrument.point_size,
        "asset_class": instrument.asset_class,
        "region": instrument.region,
        "exchange": instrument.exchange,
        "per_block": instrument.per_block,
        "per_trade": instrument.per_trade,
        "percentage": instrument.percentage,
        "spread_cost": instrument.spread_cost,
        "tick_size": instrument.tick_size,
        "timezone": None if hours is None else hours.timezone,
        "open_time": None if hours is None else f"{hours.open:%H:%M}",
        "close_time": None if hours is None else f"{hours.close:%H:%M}",
    }


def _instrument(row: Mapping[Any, Any]) -> Instrument:
    hours = None
    if row["timezone"] is not None:
        opens, closes = time.fromisoformat(row["open_time"]), time.fromisoformat(row["close_time"])
        hours = TradingHours(row["timezone"], opens, closes)
    return Instrument(
        code=row["code"],
        description=row["description"],
        currency=row["currency"],
        point_size=row["point_size"],
        asset_class=row["asset_class"],
        region=row["region"],
        exchange=row["exchange"],
        per_block=row["per_block"],
        per_trade=row["per_trade"],
        percentage=row["percentage"],
        spread_cost=row["spread_cost"],
        tick_size=row["tick_size"],
        hours=hours,
    )


def _contracts_of(instrument: str) -> Select[Any]:
    return select(contracts).where(contracts.c.instrument == instrument).order_by(contracts.c.contract)


def _contract_values(listed: ListedContract) -> dict[str, Any]:
    if listed.expiry_source not in (APPROXIMATE, BROKER):
        raise ValueError(f"{listed.contract}: expiry source {listed.expiry_source!r} must be {APPROXIMATE} or {BROKER}")
    return {
        "expiry": listed.expiry,
        "expiry_source": listed.expiry_source,
        "sampling": listed.sampling,
        "retired_reason": listed.retired_reason,
    }


def _listed(row: Mapping[Any, Any]) -> ListedContract:
    return ListedContract(
        contract=Contract(row["instrument"], row["contract"]),
        expiry=row["expiry"],
        expiry_source=row["expiry_source"],
        sampling=row["sampling"],
        retired_reason=row["retired_reason"],
    )


def _latest_states() -> Select[Any]:
    newest = select(func.max(roll_states.c.id)).group_by(roll_states.c.instrument)
    return select(roll_states).where(roll_states.c.id.in_(newest)).order_by(roll_states.c.instrument)


def _status(row: Mapping[Any, Any]) -> RollStatus:
    return RollStatus(
        row["instrument"],
        RollState(row["state"]),
        row["priced_contract"],
        row["time"],
        row["who"],
        row["why"],
    )
