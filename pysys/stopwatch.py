"""Where the time of a program goes."""

from __future__ import annotations

import time


class Stopwatch:
    """Real and processor seconds of one lap after the other."""

    def __init__(self) -> None:
        self._laps: list[tuple[str, float, float]] = []
        self._since = time.perf_counter(), time.process_time()

    def lap(self, name: str) -> None:
        """End the present lap under this name; the next one begins."""
        now = time.perf_counter(), time.process_time()
        self._laps.append((name, now[0] - self._since[0], now[1] - self._since[1]))
        self._since = now

    def lines(self) -> list[str]:
        """One for each lap, and their sum."""
        total = ("total", sum(lap[1] for lap in self._laps), sum(lap[2] for lap in self._laps))
        shown = [*self._laps, total]
        return [f"{name:10}{real:8.3f} s{processor:8.3f} s of processor" for name, real, processor in shown]
