"""When a synthetic market trades: weekdays without its exchange's holidays, in the exchange's time zone."""

from bisect import bisect_right
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from pysys.broker.paper.synthetic_paths import stream
from pysys.domain.instruments import TradingHours

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)
MINUTE = 60_000_000  # microseconds
HOUR = 60 * MINUTE
NOTIONAL_CLOSE = 23 * HOUR  # a daily bar's stamp: 23:00 UTC on the session's local date
_SEEDED_HOLIDAYS = 4  # a year, besides New Year and Christmas


def micros(moment: datetime) -> int:
    """Microseconds since 1970 of an aware moment."""
    return (moment - EPOCH) // MICROSECOND


def from_micros(stamp: int) -> datetime:
    return EPOCH + stamp * MICROSECOND


def notional_closes(ordinals: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Stamps of daily bars and rates, from dates as `date.toordinal()` gives them."""
    return (ordinals - EPOCH.toordinal()) * 24 * HOUR + NOTIONAL_CLOSE


@lru_cache(maxsize=1024)
def holidays(seed: int, exchange: str, year: int) -> frozenset[date]:
    """Days on which the exchange stays shut; some of them may be weekend days."""
    drawn = stream(seed, "holidays", exchange, year).choice(np.arange(2, 358), _SEEDED_HOLIDAYS, replace=False)
    return frozenset({date(year, 1, 1), date(year, 12, 25)} | {date(year, 1, 1) + timedelta(int(d)) for d in drawn})


def is_trading_day(seed: int, exchange: str, day: date) -> bool:
    return day.weekday() < 5 and day not in holidays(seed, exchange, day.year)


@dataclass(frozen=True, slots=True)
class TradingCalendar:
    """Trading days of one market, oldest first, and their sessions in microseconds since 1970."""

    ordinals: npt.NDArray[np.int64]  # date.toordinal() of the exchange-local date
    weekday: npt.NDArray[np.int64]  # position of each among all weekdays since the market's first day
    opens: list[int]
    closes: list[int]
    minutes: int  # length of a session

    def opened_by(self, stamp: int) -> int:
        """Index of the last session that opened at or before `stamp`, -1 before the first."""
        return bisect_right(self.opens, stamp) - 1

    def closed_by(self, stamp: int) -> int:
        """Index of the last session that closed at or before `stamp`, -1 before the first."""
        return bisect_right(self.closes, stamp) - 1


def trading_calendar(seed: int, exchange: str, hours: TradingHours, first_day: date, last_day: date) -> TradingCalendar:
    """Calendar of the sessions that end on local dates from `first_day` to `last_day`, both included."""
    weekdays = [
        day for day in (first_day + timedelta(n) for n in range((last_day - first_day).days + 1)) if day.weekday() < 5
    ]
    kept = [(n, day) for n, day in enumerate(weekdays) if is_trading_day(seed, exchange, day)]
    sessions = [hours.session(day) for _, day in kept]
    return TradingCalendar(
        ordinals=np.array([day.toordinal() for _, day in kept], dtype=np.int64),
        weekday=np.array([n for n, _ in kept], dtype=np.int64),
        opens=[micros(opens) for opens, _ in sessions],
        closes=[micros(closes) for _, closes in sessions],
        minutes=((hours.close.hour - hours.open.hour) * 60 + hours.close.minute - hours.open.minute) % 1440,
    )
