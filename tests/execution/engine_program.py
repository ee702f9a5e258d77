"""An engine in a process of its own, forked from a server that has the imports behind it and no database open."""

import json
import multiprocessing
import os
import signal
import sys
import time
from datetime import timedelta
from pathlib import Path

from pysys.domain.errors import PysysError
from pysys.execution.engine import run_engine
from tests.execution.live import live_desk

CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload([__name__])


class EngineProcess:
    """A real process that works the orders of a shared database; it says how it ended in two files."""

    def __init__(self, url: str, exchange: Path, epoch: float, minutes: float) -> None:
        self._said = exchange.parent / f"engine-{time.monotonic_ns()}"
        self._process = CONTEXT.Process(target=work, args=(url, exchange, epoch, minutes, self._said))
        self._process.start()

    @property
    def pid(self) -> int:
        assert self._process.pid is not None
        return self._process.pid

    @property
    def exit_code(self) -> int | None:
        """None while it lives."""
        return self._process.exitcode

    def send(self, number: signal.Signals) -> None:
        os.kill(self.pid, number)

    def kill(self) -> None:
        self._process.kill()
        self._process.join()

    def wait(self, seconds: float) -> str:
        """What it said at its end."""
        self._process.join(seconds)
        assert self._process.exitcode is not None, f"the engine still runs after {seconds} s"
        return self._said.read_text()


def work(url: str, exchange: Path, epoch: float, minutes: float, said: Path) -> None:
    desk = live_desk(url, exchange, epoch)
    try:
        result = run_engine(desk, desk.clock.now() + timedelta(minutes=minutes))
    except PysysError as error:
        said.write_text(str(error))
        sys.exit(error.exit_code)
    said.write_text(json.dumps(result.summary()))
