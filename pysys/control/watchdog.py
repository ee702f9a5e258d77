"""What ends a run from outside: its deadline, its memory, a lost lease, a signal."""

import logging
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType, TracebackType

_LOOK_EVERY = 0.25  # seconds
_HEARTBEAT_EVERY = 20.0  # seconds
_logger = logging.getLogger(__name__)


@dataclass
class Watchdog:
    """Looks at a running kernel from a thread, kills it when it must end, and remembers why in `reason`.

    `deadline_minutes` and the heartbeat are of real time. `memory_mb` is resident memory of the kernel and of the
    processes it started.
    """

    kill: Callable[[], None]
    kernel_pid: int | None
    heartbeat: Callable[[], bool]
    deadline_minutes: float
    memory_mb: int
    reason: str | None = None
    _ended: threading.Event = field(default_factory=threading.Event)

    def __enter__(self) -> "Watchdog":
        self._thread = threading.Thread(target=self._watch, name="run watchdog", daemon=True)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        self._thread.join()

    def stop(self, reason: str) -> None:
        """End the run. The first reason stands."""
        if self.reason is None:
            self.reason = reason
        self.kill()

    def _watch(self) -> None:
        began = beaten = time.monotonic()
        while not self._ended.wait(_LOOK_EVERY):
            now = time.monotonic()
            if now - began > self.deadline_minutes * 60:
                self.stop(
                    f"The run took longer than its deadline of {self.deadline_minutes:g} minutes "
                    "(run_deadline_minutes) and was ended."
                )
            elif self._memory() > self.memory_mb:
                self.stop(f"The run used more than {self.memory_mb} MB (run_memory_limit_mb) and was ended.")
            elif now - beaten > _HEARTBEAT_EVERY:
                beaten = now
                if not self._beat():
                    self.stop("Another run took over, because this one gave no sign of life in time.")

    def _beat(self) -> bool:
        try:
            return self.heartbeat()
        except Exception as error:  # the lease outlasts several failed attempts
            _logger.warning("heartbeat failed: %s", error)
            return True

    def _memory(self) -> float:
        return 0.0 if self.kernel_pid is None else session_memory_mb(self.kernel_pid)


def session_memory_mb(leader: int) -> float:
    """Resident memory of a session's processes, MB; 0 where the system does not tell (no /proc)."""
    page = os.sysconf("SC_PAGE_SIZE")
    pages = 0
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            fields = (folder / "stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
        except OSError:
            continue  # it ended meanwhile
        if int(fields[3]) == leader:  # session id
            pages += int(fields[21])
    return pages * page / 1024**2


@contextmanager
def signals_end_the_run(watchdog: Watchdog) -> Iterator[list[int]]:
    """While open, SIGTERM, SIGHUP and Ctrl-C end the run instead of this program; yields the signals received.

    Outside the main thread nothing is changed, because Python allows handlers only there.
    """
    received: list[int] = []
    if threading.current_thread() is not threading.main_thread():
        yield received
        return

    def end(number: int, _frame: FrameType | None) -> None:
        received.append(number)
        watchdog.stop(f"The run was stopped by signal {signal.Signals(number).name}.")

    before = {number: signal.signal(number, end) for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)}
    try:
        yield received
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
