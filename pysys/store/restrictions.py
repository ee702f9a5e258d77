"""What holds trading back: overrides, position limits, instrument locks, the kill switch."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import delete, insert, select, update

from pysys.domain.overrides import Override
from pysys.store.repository import Repository
from pysys.store.schema import instrument_locks, kill_switch, overrides, position_limits

RECONCILIATION = "reconciliation"  # owner of locks that lift by themselves when the break clears
PERSON = "person"
IDENTITY = "identity"  # the broker's contract is not the one configured; lifts when it is
FAULT = "fault"  # working the instrument failed in a way nobody foresaw; a person looks and lifts it


@dataclass(frozen=True, slots=True)
class InstrumentLock:
    """Who keeps an instrument from being traded, since when, and why."""

    instrument: str
    owner: str  # one of the owners above
    locked_at: datetime  # UTC
    who: str
    why: str


@dataclass(frozen=True, slots=True)
class KillSwitch:
    """The kill switch as somebody last set it."""

    engaged: bool
    time: datetime  # UTC
    who: str
    why: str


class Restrictions(Repository):
    """A blank strategy or instrument in an override or limit means every one."""

    def overrides(self, set_after: datetime | None = None) -> dict[tuple[str, str], Override]:
        """Overrides by (strategy, instrument); only those set later than a moment, when one is given."""
        query = select(overrides)
        if set_after is not None:
            query = query.where(overrides.c.set_at > set_after)
        return {
            (row.strategy, row.instrument): Override(row.kind, 1.0 if row.factor is None else row.factor)
            for row in self.connection.execute(query)
        }

    def set_override(
        self, strategy: str, instrument: str, override: Override, *, at: datetime, who: str, why: str
    ) -> None:
        self.remove_override(strategy, instrument)
        self.connection.execute(
            insert(overrides).values(
                strategy=strategy,
                instrument=instrument,
                kind=override.kind,
                factor=override.factor if override.kind == "factor" else None,
                set_at=at,
                who=who,
                why=why,
            )
        )

    def remove_override(self, strategy: str, instrument: str) -> None:
        table = overrides.c
        self.connection.execute(delete(overrides).where(table.strategy == strategy, table.instrument == instrument))

    def position_limits(self) -> dict[tuple[str, str], int]:
        """Limits by (strategy, instrument)."""
        query = select(position_limits)
        return {(row.strategy, row.instrument): row.position_limit for row in self.connection.execute(query)}

    def waived_limits(self) -> dict[tuple[str, str], int]:
        """Contracts beyond each limit that a person ordered all the same, by (strategy, instrument)."""
        query = select(position_limits).where(position_limits.c.waived.is_not(None))
        return {(row.strategy, row.instrument): row.waived for row in self.connection.execute(query)}

    def waive_limit(self, strategy: str, instrument: str, contracts: int | None) -> None:
        """So many contracts beyond a limit stay when they are there; None when the limit holds again."""
        table = position_limits.c
        which = (table.strategy == strategy, table.instrument == instrument)
        self.connection.execute(update(position_limits).where(*which).values(waived=contracts))

    def set_position_limit(self, strategy: str, instrument: str, limit: int, *, who: str, why: str) -> None:
        """Set a limit anew: nothing beyond it is waived any more."""
        table = position_limits.c
        self.connection.execute(
            delete(position_limits).where(table.strategy == strategy, table.instrument == instrument)
        )
        self.connection.execute(
            insert(position_limits).values(
                strategy=strategy, instrument=instrument, position_limit=limit, who=who, why=why
            )
        )

    def remove_position_limit(self, strategy: str, instrument: str) -> None:
        table = position_limits.c
        self.connection.execute(
            delete(position_limits).where(table.strategy == strategy, table.instrument == instrument)
        )

    def locked_instruments(self) -> dict[str, str]:
        """Why each locked instrument is locked."""
        query = select(instrument_locks).order_by(instrument_locks.c.instrument, instrument_locks.c.owner)
        return {row.instrument: f"{row.owner}: {row.why}" for row in self.connection.execute(query)}

    def locks(self) -> list[InstrumentLock]:
        """Every lock, by instrument and owner."""
        query = select(instrument_locks).order_by(instrument_locks.c.instrument, instrument_locks.c.owner)
        return [
            InstrumentLock(row.instrument, row.owner, row.locked_at, row.who, row.why)
            for row in self.connection.execute(query)
        ]

    def unlock(self, instrument: str, owner: str | None = None) -> list[str]:
        """Lift the lock of one owner, or of all, on an instrument; the owners whose locks were lifted."""
        table = instrument_locks.c
        query = select(table.owner).where(table.instrument == instrument)
        owners = [row[0] for row in self.connection.execute(query) if owner is None or row[0] == owner]
        if owners:
            self.connection.execute(
                delete(instrument_locks).where(table.instrument == instrument, table.owner.in_(owners))
            )
        return owners

    def explain_lock(self, instrument: str, owner: str, why: str) -> None:
        """Say anew why an owner keeps its lock."""
        table = instrument_locks.c
        self.connection.execute(
            update(instrument_locks).where(table.instrument == instrument, table.owner == owner).values(why=why)
        )

    def lock(self, instrument: str, owner: str, *, at: datetime, who: str, why: str) -> bool:
        """Lock an instrument. False when this owner had locked it already."""
        table = instrument_locks.c
        query = select(table.instrument).where(table.instrument == instrument, table.owner == owner)
        if self.connection.execute(query).first() is not None:
            return False
        self.connection.execute(
            insert(instrument_locks).values(instrument=instrument, owner=owner, locked_at=at, who=who, why=why)
        )
        return True

    def unlock_all_but(self, owner: str, still_broken: Iterable[str]) -> list[str]:
        """Lift this owner's locks on all instruments not named; the instruments unlocked."""
        table = instrument_locks.c
        broken = set(still_broken)
        query = select(table.instrument).where(table.owner == owner)
        lifted = [row[0] for row in self.connection.execute(query) if row[0] not in broken]
        if lifted:
            self.connection.execute(delete(instrument_locks).where(table.owner == owner, table.instrument.in_(lifted)))
        return lifted

    def kill_switch_engaged(self) -> bool:
        query = select(kill_switch.c.engaged).order_by(kill_switch.c.id.desc()).limit(1)
        return bool(self.connection.execute(query).scalar_one_or_none())

    def kill_switch(self) -> KillSwitch | None:
        """As last set; None when it was never touched."""
        table = kill_switch.c
        query = select(table.engaged, table.time, table.who, table.why).order_by(table.id.desc()).limit(1)
        row = self.connection.execute(query).one_or_none()
        return None if row is None else KillSwitch(row.engaged, row.time, row.who, row.why)

    def set_kill_switch(self, engaged: bool, *, at: datetime, who: str, why: str) -> None:
        """Engage or release it. It stays as set, restarts included, until somebody sets it again."""
        self.connection.execute(insert(kill_switch).values(engaged=engaged, time=at, who=who, why=why))
