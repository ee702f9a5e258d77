"""Minutes of a synthetic market: how far the spot is, in logs, from where it will close that day.

A Brownian bridge runs from the close before to the close of the day, so hours and days agree by construction.
Minutes are made a block of days at a time, each block from its own seed.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from pysys.broker.paper.synthetic_calendar import HOUR, MINUTE, TradingCalendar
from pysys.broker.paper.synthetic_paths import DailyPath, Floats, stream

BLOCK = 32  # trading days


@dataclass(frozen=True, slots=True)
class HourlyMoves:
    """Log distances from the day's close, (days, hours); `share` of the day's volume up to the hour's end."""

    open: Floats
    high: Floats
    low: Floats
    final: Floats
    share: Floats


class IntradayPath:
    """The minutes of one market. `day` is a position in the market's trading calendar."""

    def __init__(self, seed: int, code: str, path: DailyPath, calendar: TradingCalendar) -> None:
        self._seed = seed
        self._code = code
        self._path = path
        self._days = len(calendar.ordinals)
        self._minutes = calendar.minutes
        overnight = 0.1 + 0.5 * (1 - calendar.minutes / 1440)  # share of the day's variance before the open
        self._elapsed = np.linspace(overnight, 1.0, calendar.minutes)
        self.activity = 0.55 + 1.35 * np.linspace(-1.0, 1.0, calendar.minutes) ** 2  # mean about 1, busy at both ends
        opens = np.array(calendar.opens, dtype=np.int64)
        into_the_hour = int(opens[0] % HOUR // MINUTE)  # the same all year: clocks change by whole hours
        self._hour_starts = np.array([0, *range(60 - into_the_hour, calendar.minutes, 60)], dtype=np.int64)
        hours = np.arange(1, len(self._hour_starts) + 1, dtype=np.int64)
        self.hour_stamps: npt.NDArray[np.int64] = (opens // HOUR * HOUR)[:, None] + hours * HOUR  # (days, hours)
        self._extremes = np.full((3, self._days), np.nan)
        # Per path, not per class: a cache on the methods would keep every market alive.
        self.block = lru_cache(maxsize=3)(self._block)
        self.hours = lru_cache(maxsize=None)(self._hours)

    def _block(self, block: int) -> Floats:
        """(days of the block, minutes): log distance of spot from the day's close; the last minute is 0."""
        days = slice(block * BLOCK, min((block + 1) * BLOCK, self._days))
        change = self._path.change[days, None]
        steps = stream(self._seed, "minutes", self._code, block).standard_normal((len(change), self._minutes))
        steps[:, 0] *= np.sqrt(self._elapsed[0])
        steps[:, 1:] *= np.sqrt(self._elapsed[1] - self._elapsed[0])
        walk = np.cumsum(steps, axis=1)
        walk -= self._elapsed * walk[:, -1:]
        walk *= self._path.deviation[days, None]
        walk -= (1 - self._elapsed) * change
        return walk

    def _hours(self, block: int) -> HourlyMoves:
        minutes = self.block(block)
        starts = self._hour_starts
        ends = np.append(starts[1:], self._minutes) - 1
        busy = np.add.reduceat(self.activity, starts)
        noise = stream(self._seed, "hours", self._code, block).gamma(8.0, size=(len(minutes), len(starts)))
        traded = np.cumsum(noise * busy, axis=1)
        return HourlyMoves(
            open=minutes[:, starts],
            high=np.maximum.reduceat(minutes, starts, axis=1),
            low=np.minimum.reduceat(minutes, starts, axis=1),
            final=minutes[:, ends],
            share=traded / traded[:, -1:],
        )

    def move(self, day: int, minute: int) -> float:
        """Log distance of spot in that minute from the day's close."""
        block, row = divmod(day, BLOCK)
        return float(self.block(block)[row, minute])

    def daily_moves(self, first: int, stop: int) -> tuple[Floats, Floats, Floats]:
        """Log distances of open, high and low from the close, of the days [first, stop)."""
        for block in range(first // BLOCK, -(-stop // BLOCK)):
            days = slice(block * BLOCK, (block + 1) * BLOCK)
            if np.isnan(self._extremes[0, days.start]):
                hours = self.hours(block)
                self._extremes[:, days] = hours.open[:, 0], hours.high.max(axis=1), hours.low.min(axis=1)
        opens, highs, lows = self._extremes[:, first:stop]
        return opens, highs, lows
