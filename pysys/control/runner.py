"""Running notebooks: each on a kernel of its own, watched, written down, and kept as executed notebook and page."""

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Any
from zoneinfo import ZoneInfo

from pysys.config import Settings
from pysys.control.environment import kernel_environment, secrets_of, without_secrets
from pysys.control.files import require_writable, write_whole
from pysys.control.index import write_index
from pysys.control.ledger import LedgerEntry, business_date, new_run_id, open_entry
from pysys.control.notebooks import find_notebook
from pysys.control.nursery import Nursery, NurseryFailed
from pysys.control.opening import open_desk
from pysys.control.outcome import RunFailed, RunOutcome, one_line
from pysys.control.parameters import check_parameters, read_parameters
from pysys.control.watchdog import Watchdog, signals_end_the_run
from pysys.desk import Desk
from pysys.domain.errors import ConfigError
from pysys.store.repository import Author

RUNNER = "runner"


@dataclass(frozen=True, slots=True)
class _Request:
    """A run that has passed every check and may begin."""

    name: str
    process: str
    source: Path
    parameters: Mapping[str, Any]
    run_id: str
    started_at: datetime
    folder: Path
    deadline_minutes: float

    @property
    def stem(self) -> str:
        return f"{self.started_at:%H%M%S}_{self.run_id}"

    @property
    def running(self) -> Path:
        return self.folder / f"{self.stem}.running.ipynb"

    @property
    def executed(self) -> Path:
        return self.folder / f"{self.stem}.ipynb"

    @property
    def page(self) -> Path:
        return self.folder / f"{self.stem}.html"


class Runner:
    """Runs notebooks of one system, one after the other.

    `desk` is borrowed when given, else opened and closed here. Keep one for many runs: the first pays for imports.
    """

    def __init__(self, settings: Settings, desk: Desk | None = None, nursery: Nursery | None = None) -> None:
        require_writable(settings.outputs)
        self.settings = settings
        self._own_desk = desk is None
        self.desk = desk if desk is not None else open_desk(settings, Author(RUNNER))
        self._nursery = nursery
        self._environment = kernel_environment(settings)
        self._secrets = secrets_of(settings)

    def __enter__(self) -> "Runner":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        if self._nursery is not None:
            self._nursery.close()
            self._nursery = None
        if self._own_desk:
            self.desk.store.close()

    def run(
        self,
        name: str,
        parameters: Mapping[str, object] | None = None,
        *,
        process: str | None = None,
        deadline_minutes: float | None = None,
    ) -> RunOutcome:
        """Run a notebook and say how it ended. A failure inside it is an outcome, not an exception.

        Raises ConfigError for an unknown notebook or parameter, a wrong type, an outputs folder that cannot be written;
        LeaseHeld while another run of the same name is going on; in all these cases nothing has happened.
        """
        request = self._check(name, parameters if parameters is not None else {}, process, deadline_minutes)
        self._open_nursery()  # it imports while the rest of this is prepared
        entry = open_entry(
            self.desk.store,
            self.desk.clock,
            self.settings.config,
            request.name,
            request.parameters,
            process=request.process,
            folder=str(request.folder.relative_to(self.settings.outputs)),
            run_id=request.run_id,
        )
        signals: Sequence[int] = []
        error: str | None = "The runner itself failed before the notebook ended."
        try:
            error, signals = self._execute(request, entry)
        finally:
            outcome = entry.close(error)
            outcome = self._keep(request, outcome)
        if signals:
            raise RunFailed(outcome.sentence)
        return outcome

    def _check(
        self, name: str, given: Mapping[str, object], process: str | None, deadline_minutes: float | None
    ) -> _Request:
        source = find_notebook(self.settings.notebooks, name)
        accepted = check_parameters(read_parameters(source), given, source.stem, self._secrets)
        config = self.settings.config
        now = self.desk.clock.now()
        day = business_date(now, config.timezone)
        folder = self.settings.outputs / day.isoformat() / source.stem
        _make(folder)
        return _Request(
            name=source.stem,
            process=process if process is not None else source.stem,
            source=source,
            parameters=accepted,
            run_id=new_run_id(),
            started_at=now.astimezone(ZoneInfo(config.timezone)),
            folder=folder,
            deadline_minutes=config.run_deadline_minutes if deadline_minutes is None else deadline_minutes,
        )

    def _execute(self, request: _Request, entry: LedgerEntry) -> tuple[str | None, Sequence[int]]:
        """Run the notebook. Returns what went wrong, None if nothing did, and the signals received meanwhile."""
        error, signals, started = self._attempt(request, entry)
        if not started and not signals:
            error, signals, _ = self._attempt(request, entry)  # no cell has run, so nothing is repeated
        return error, signals

    def _attempt(self, request: _Request, entry: LedgerEntry) -> tuple[str | None, Sequence[int], bool]:
        """Returns (what went wrong or None, signals received, whether any cell may have run)."""
        engine = _import_engine()
        from pysys.control import html, kernel  # noqa: F401  # html: now, while the nursery imports too

        memory_mb = self.settings.config.run_memory_limit_mb
        try:
            started_kernel = kernel.start_kernel(self._open_nursery(), self.settings.home, memory_mb)
        except NurseryFailed as failure:
            return one_line(f"The kernel did not start: {failure}."), (), False
        watchdog = Watchdog(
            kill=started_kernel.kill,
            kernel_pid=started_kernel.pid,
            heartbeat=entry.heartbeat,
            deadline_minutes=request.deadline_minutes,
            memory_mb=memory_mb,
        )
        with watchdog, signals_end_the_run(watchdog) as signals:
            try:
                error, started = _run_cells(engine, request, started_kernel)
                code = started_kernel.exit_code
            finally:
                started_kernel.close()
        if watchdog.reason is not None:
            return watchdog.reason, signals, True
        if error is not None and started and code is not None and code != 0:
            error = _death(code)
        elif started and code == 0:
            error = None  # it left by itself: whether that was success, its completion record says
        return error, signals, started

    def _open_nursery(self) -> Nursery:
        if self._nursery is not None and not self._nursery.is_alive:
            self._nursery.close()
            self._nursery = None
        if self._nursery is None:
            self._nursery = Nursery(self._environment)
        return self._nursery

    def _keep(self, request: _Request, outcome: RunOutcome) -> RunOutcome:
        """Put the executed notebook, its page and the index in place."""
        if not request.running.exists():
            write_index(self.settings.outputs, self.desk.store)
            return outcome
        from pysys.control.html import PageHead, write_page

        text = request.running.read_text(encoding="utf-8")
        write_whole(request.executed, without_secrets(text, self._secrets))
        request.running.unlink()
        when = f"{request.started_at:%Y-%m-%d %H:%M:%S %Z}"
        error = None if outcome.error is None else without_secrets(outcome.error, self._secrets)
        head = PageHead(request.name, request.run_id, when, outcome.status.value, outcome.seconds, error)
        write_page(request.executed, request.page, head)
        write_index(self.settings.outputs, self.desk.store)
        return replace(outcome, error=error, notebook=request.executed, html=request.page)


def _import_engine() -> Any:
    """Import papermill without the second that jsonschema spends on a grammar it can do without."""
    grammar = "rfc3987_syntax"
    already = grammar in sys.modules
    if not already:
        sys.modules[grammar] = None  # type: ignore[assignment]
    try:
        from pysys.control import engine
    finally:
        if not already:
            del sys.modules[grammar]
    return engine


def _run_cells(engine: Any, request: _Request, kernel: Any) -> tuple[str | None, bool]:
    """Returns (what went wrong or None, whether any cell may have run)."""
    from pysys.control.run import RUN_ID, RUN_NAME, RUN_PROCESS

    variables = {RUN_ID: request.run_id, RUN_NAME: request.name, RUN_PROCESS: request.process}
    try:
        engine.execute(request.source, request.running, request.parameters, kernel, variables)
    except engine.PapermillExecutionError as error:
        return one_line(f"{error.ename}: {error.evalue}".rstrip(": ")), True
    except engine.DeadKernelError:
        return "The kernel ended while the notebook ran.", True
    except engine.KernelNeverStarted as error:
        return one_line(f"The kernel did not start: {error}."), False
    return None, True


def _death(code: int) -> str:
    if code < 0:
        return f"The kernel was killed by signal {-code} (out of memory, or somebody ended it)."
    return f"The kernel ended with exit code {code} while the notebook ran."


def _make(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(
            f"The folder {folder} cannot be made ({error.strerror}). Make the outputs folder writable, or set "
            "outputs_directory to one that is."
        ) from error
    require_writable(folder)
