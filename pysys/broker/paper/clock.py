"""The simulated time of a replay or a demo, kept beside the exchange so that every process sees the same."""

import threading
from datetime import datetime
from pathlib import Path

from pysys.broker.paper.database import from_micros, open_database, to_micros
from pysys.domain.errors import NeedsOperator


class ExchangeClock:
    """A clock that stands where the exchange's database says, and moves only forward.

    Moving it works no orders: the exchange catches up when it is next asked. Moves are committed without an
    fsync of their own. The death of any process loses none. A power cut may lose moves made after the
    exchange last committed, never one before: both write to one log, in order, and the exchange waits for
    the disk.
    """

    def __init__(self, database: Path) -> None:
        """database: the exchange's file; made when it does not exist."""
        self._database = database
        # Moving waits for whoever writes, and that may be an exchange of this process asking for the time meanwhile:
        # so reading has a connection of its own.
        self._moving = open_database(database, synchronous="NORMAL")
        self._reading = open_database(database, synchronous="NORMAL")
        self._one_mover, self._one_reader = threading.Lock(), threading.Lock()

    def set_start(self, moment: datetime) -> None:
        """Set the time when none was ever set; a clock that runs is left alone."""
        self._moving.execute(
            "INSERT INTO clock (only_row, moment) VALUES (1, ?) ON CONFLICT DO NOTHING", (to_micros(moment),)
        )

    def now(self) -> datetime:
        """Raises NeedsOperator when the time was never set."""
        with self._one_reader:
            row = self._reading.execute("SELECT moment FROM clock WHERE only_row = 1").fetchone()
        if row is None:
            raise NeedsOperator(
                f"The simulated time in {self._database.name} was never set. "
                "Start the demo or the replay that owns it first."
            )
        return from_micros(row[0])

    def sleep_until(self, moment: datetime) -> None:
        """Move on to `moment` at once; nothing happens when it has passed."""
        if self.now() < moment:
            with self._one_mover:
                self._moving.execute(
                    "UPDATE clock SET moment = max(moment, ?) WHERE only_row = 1", (to_micros(moment),)
                )

    def close(self) -> None:
        """Give the database connection back."""
        self._moving.close()
        self._reading.close()
