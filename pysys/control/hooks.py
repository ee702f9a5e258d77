"""Failures a notebook's cells do not show: in threads, in tasks nobody awaited, in shell lines."""

import asyncio
import gc
import sys
import threading
import warnings
from collections.abc import Callable
from typing import Any

Report = Callable[[str], None]


def report_hidden_failures(report: Report) -> None:
    """From now on call `report` with one sentence for each failure outside a cell's own thread of execution."""
    _watch_threads(report)
    _watch_finalizers(report)
    _watch_event_loop(report)
    _watch_shell_lines(report)


def unretrieved_task_failures() -> list[str]:
    """Tasks that failed and whose exception nobody has looked at."""
    tasks = [thing for thing in gc.get_objects() if issubclass(type(thing), asyncio.Task)]
    failed = [task for task in tasks if getattr(task, "_log_traceback", False)]
    return [f"Task {task.get_name()} failed and nobody awaited it: {describe(task.exception())}." for task in failed]


def describe(error: BaseException | None) -> str:
    return "unknown error" if error is None else f"{type(error).__name__}: {error}"


def _watch_threads(report: Report) -> None:
    before = threading.excepthook

    def hook(arguments: threading.ExceptHookArgs) -> None:
        name = arguments.thread.name if arguments.thread is not None else "unknown"
        report(f"Thread {name} failed: {describe(arguments.exc_value)}.")
        before(arguments)

    threading.excepthook = hook


def _watch_finalizers(report: Report) -> None:
    """A coroutine that was never awaited only warns; as an error it ends here, where errors of finalizers end."""
    warnings.filterwarnings("error", message=r"coroutine .* was never awaited", category=RuntimeWarning)
    before = sys.unraisablehook

    def hook(unraisable: Any) -> None:
        report(f"An error nobody could catch: {describe(unraisable.exc_value)}.")
        before(unraisable)

    sys.unraisablehook = hook


def _watch_event_loop(report: Report) -> None:
    try:
        loop = asyncio.get_running_loop()
    except RuntimeError:
        return

    def handle(running: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        report(f"{context.get('message', 'A task failed')}: {describe(context.get('exception'))}.")
        running.default_exception_handler(context)

    loop.set_exception_handler(handle)


def _watch_shell_lines(report: Report) -> None:
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    if shell is None:
        return

    def look(result: Any) -> None:
        code = shell.user_ns.pop("_exit_code", 0)
        if code != 0:
            report(f"A shell line ended with exit code {code}.")

    shell.events.register("post_run_cell", look)
