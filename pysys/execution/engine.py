"""The engine: the stack handler as a plain process, ended by SIGTERM as by STOP, with no kernel to die under it."""

import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from types import FrameType

from pysys.config import Config
from pysys.desk import Desk
from pysys.domain.errors import NotAllowedNow
from pysys.domain.process_rules import ProcessStatus, Window
from pysys.execution.stack_handler import run_stack_handler
from pysys.execution.stack_methods import takes_down
from pysys.execution.stack_result import PROCESS, StackHandlerResult


def run_engine(
    desk: Desk, until: datetime | None = None, progress: Callable[[datetime], None] | None = None
) -> StackHandlerResult:
    """Work the orders until `until` or the configured stop time; SIGTERM, SIGHUP and Ctrl-C drain as STOP does.

    Raises NotAllowedNow while the process is on STOP or NO-RUN; see `run_stack_handler` for the rest.
    """
    _require_permission(desk)
    with drained_by_signals() as ended:
        _stamp(desk, started=True)
        try:
            return run_stack_handler(desk, until, progress, told_to_stop=ended.is_set)
        finally:
            _stamp(desk, started=False)


def require_window(config: Config, now: datetime) -> None:
    """Raises NotAllowedNow outside the configured times of the stack handler; without times it may always run."""
    window = _window(config)
    if window is None:
        return
    opens, closes = window.occurrence(now)
    if not opens <= now < closes:
        raise NotAllowedNow(
            f"The engine runs from {window.start:%H:%M} to {window.stop:%H:%M} {window.timezone}. Use --now to run it "
            "all the same."
        )


def last_day_ended(config: Config, now: datetime) -> datetime | None:
    """When the stacks were last due to be taken down; None when they never are, or without configured times."""
    window = _window(config)
    return None if window is None or not takes_down(config) else window.last_stop_of_a_weekday(now)


def _window(config: Config) -> Window | None:
    """The configured times of the stack handler, if it has both."""
    starts, stops = config.process_configuration_start_time, config.process_configuration_stop_time
    start, stop = starts.get(PROCESS, starts.get("default")), stops.get(PROCESS, stops.get("default"))
    return None if start is None or stop is None else Window(start, stop, config.timezone)


@contextmanager
def drained_by_signals() -> Iterator[threading.Event]:
    """While open, the first signal to end asks for a safe end; a second one ends at once, as a crash would.

    Outside the main thread nothing is changed, because Python allows handlers only there.
    """
    ended = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield ended
        return

    def end(number: int, _frame: FrameType | None) -> None:
        if ended.is_set():
            raise KeyboardInterrupt
        ended.set()

    before = {number: signal.signal(number, end) for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)}
    try:
        yield ended
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _require_permission(desk: Desk) -> None:
    with desk.store.read() as unit:
        status = unit.runs.process(PROCESS).status
    if status in (ProcessStatus.STOP, ProcessStatus.NO_RUN):
        raise NotAllowedNow(f"{PROCESS} is on {status.value}; `pysys go {PROCESS}` lets it run.")


def _stamp(desk: Desk, *, started: bool) -> None:
    with desk.store.write() as unit:
        stamp = unit.runs.process_started if started else unit.runs.process_ended
        stamp(PROCESS, desk.clock.now())
        unit.commit()


if __name__ == "__main__":
    # The engine is a command: what opens its desk is above this package.
    os.execv(sys.executable, [sys.executable, "-m", "pysys.cli", "engine", *sys.argv[1:]])  # noqa: S606
