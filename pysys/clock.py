"""The clock everything is handed. Nothing else in the library reads the time."""

import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Protocol


class Clock(Protocol):
    """Time as a process sees it: aware UTC."""

    def now(self) -> datetime: ...

    def sleep_until(self, moment: datetime) -> None:
        """Return at `moment` or later; at once when it has passed."""
        ...


class SystemClock:
    """The machine's own clock."""

    def now(self) -> datetime:
        return datetime.now(UTC)

    def sleep_until(self, moment: datetime) -> None:
        seconds = (moment - self.now()).total_seconds()
        if seconds > 0:
            time.sleep(seconds)


@dataclass
class FrozenClock:
    """A clock that stands still until somebody moves it; sleeping moves it."""

    moment: datetime

    def now(self) -> datetime:
        return self.moment

    def sleep_until(self, moment: datetime) -> None:
        self.moment = max(self.moment, moment)

    def advance(self, **delta: float) -> datetime:
        """Move on by a timedelta given as keywords: `clock.advance(minutes=5)`."""
        self.moment += timedelta(**delta)
        return self.moment
