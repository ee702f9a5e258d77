"""Rows that cannot be read: whose they are, and when they are left out so that they hold up nobody else."""

from sqlalchemy import Connection, select

from pysys.domain.errors import DataError
from pysys.store.restrictions import FAULT
from pysys.store.schema import instrument_locks

# What reading damaged values comes to: a word nobody knows, half a number, half a time, broken JSON.
CANNOT_BE_READ = (ValueError, ArithmeticError, LookupError, TypeError)


class UnreadableRow(DataError):
    """A row is damaged. Its instrument is locked, the others go on; a person repairs the row and unlocks."""

    def __init__(self, instrument: str, what: str, error: Exception) -> None:
        self.instrument = instrument
        super().__init__(
            f"{what} cannot be read ({type(error).__name__}: {error}). Restore or repair it, then unlock {instrument}."
        )


def faulty_instruments(connection: Connection) -> set[str]:
    """Instruments locked for a fault: nothing is sent in them, so a row of theirs may be left out."""
    query = select(instrument_locks.c.instrument).where(instrument_locks.c.owner == FAULT)
    return set(connection.execute(query).scalars())
