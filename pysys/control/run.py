"""What a notebook opens in its first cell and completes in its last: `open_run`."""

import gc
import logging
import os
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pysys.config import config_hash, load_settings
from pysys.control import hooks
from pysys.control.ledger import business_date, code_version, completion_record, new_run_id
from pysys.control.opening import open_desk
from pysys.desk import Desk
from pysys.domain.errors import PysysError
from pysys.store.log import LogHandler
from pysys.store.machine import this_process
from pysys.store.repository import Author
from pysys.store.runs import Run, RunStatus

RUN_ID, RUN_NAME, RUN_PROCESS = "PYSYS_RUN_ID", "PYSYS_RUN_NAME", "PYSYS_RUN_PROCESS"
INTERACTIVE = "interactive"


class HiddenFailure(PysysError):
    """Every cell ran, but something failed out of sight of them."""


@dataclass
class OpenRun:
    """The run a notebook is. `desk` is signed by it."""

    desk: Desk
    name: str
    run_id: str
    interactive: bool = False
    _log: LogHandler | None = None
    _began: float = field(default_factory=time.monotonic)
    _failures: list[str] = field(default_factory=list)

    def complete(self, result: Any = None) -> None:
        """Write the completion record: `result.summary()`, or a table of plain values. Only then is the run a success.

        Raises HiddenFailure when a thread, a task or a shell line failed meanwhile.
        """
        gc.collect()
        self._failures.extend(hooks.unretrieved_task_failures())
        if self._failures:
            raise HiddenFailure(" ".join(self._failures))
        if self._log is not None:
            self._log.flush()
        with self.desk.store.write() as unit:
            unit.runs.complete(self.run_id, completion_record(result))
            if self.interactive:
                seconds = time.monotonic() - self._began
                unit.runs.finish(self.run_id, RunStatus.DONE, self.desk.clock.now(), seconds)
            unit.commit()

    def note_failure(self, sentence: str) -> None:
        """A failure outside the cells: the run cannot become a success any more."""
        self._failures.append(sentence)
        with self.desk.store.write() as unit:
            unit.runs.note_failure(self.run_id, sentence)
            unit.commit()


def open_run() -> OpenRun:
    """The run this notebook belongs to; one of its own when a person has opened the notebook by hand.

    Raises ConfigError when the configuration is wrong or the database is missing.
    """
    run_id = os.environ.get(RUN_ID)
    name = os.environ[RUN_NAME] if run_id is not None else _opened_by_hand()
    process = os.environ[RUN_PROCESS] if run_id is not None else INTERACTIVE
    identity = run_id if run_id is not None else new_run_id()
    desk = open_desk(load_settings(), Author(process, identity))
    run = OpenRun(desk, name, identity, interactive=run_id is None, _log=log_into(desk))
    if run.interactive:
        _write_down(run)
    hooks.report_hidden_failures(run.note_failure)
    return run


def _opened_by_hand() -> str:
    """Name of the notebook JupyterLab has open, or `interactive` where nobody tells."""
    session = os.environ.get("JPY_SESSION_NAME", "")
    return Path(session).stem if session else INTERACTIVE


def log_into(desk: Desk) -> LogHandler:
    """Send what the library logs to the desk's store, and nowhere else."""
    handler = LogHandler(desk.store, desk.clock)
    logger = logging.getLogger("pysys")
    for old in [old for old in logger.handlers if isinstance(old, LogHandler)]:
        logger.removeHandler(old)
        old.close()
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    return handler


def _write_down(run: OpenRun) -> None:
    now = run.desk.clock.now()
    holder = this_process(run.run_id)
    with run.desk.store.write() as unit:
        unit.runs.start(
            Run(
                id=run.run_id,
                process=INTERACTIVE,
                method=run.name,
                business_date=business_date(now, run.desk.config.timezone),
                parameters={},
                config_hash=config_hash(run.desk.config),
                code_version=code_version(),
                machine=holder.host,
                pid=holder.pid,
                boot_id=holder.boot_id,
                started_at=now,
            )
        )
        unit.commit()
