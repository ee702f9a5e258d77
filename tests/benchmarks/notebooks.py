"""What running a step as a notebook costs beyond the work in it, against starting an empty kernel."""

import json
import statistics
from collections.abc import Callable, Iterator

from jupyter_client.manager import KernelManager

from pysys.config import Settings
from pysys.control.outcome import RunOutcome
from pysys.control.run_notebook import run_notebook
from pysys.control.runner import Runner
from pysys.control.setup import initialise
from tests.benchmarks.workspace import Stopwatch, settings_in_new_folder

RUNS = 5


def run() -> Iterator[str]:
    """Wall time of a `status` run less the seconds its own cells took, over the start of an empty kernel."""
    empty = statistics.median(_empty_kernel() for _ in range(RUNS))
    yield f"an empty kernel answers after {empty:.2f} s (median of {RUNS})"
    with settings_in_new_folder() as settings:
        initialise(settings)
        with Runner(settings) as runner:
            runner.run("status")
            yield _measured("runs of one day, after the first", lambda: runner.run("status"), empty)
        yield _measured("runs each by itself", lambda: _alone(settings), empty)


def _alone(settings: Settings) -> RunOutcome:
    return run_notebook(settings, "status")


def _measured(what: str, once: Callable[[], RunOutcome], empty: float) -> str:
    walls, overheads = [], []
    for _ in range(RUNS):
        watch = Stopwatch()
        outcome = once()
        walls.append(watch.seconds)
        overheads.append(watch.seconds - _work(outcome))
    overhead = statistics.median(overheads)
    return f"{what}: {statistics.median(walls):.2f} s, overhead {overhead:.2f} s, {overhead / empty:.2f} empty kernels"


def _empty_kernel() -> float:
    watch = Stopwatch()
    manager = KernelManager(transport="ipc")
    manager.start_kernel()
    client = manager.blocking_client()
    client.start_channels()
    client.wait_for_ready(timeout=60)
    client.execute_interactive("1", store_history=False)
    seconds = watch.seconds
    client.stop_channels()
    manager.shutdown_kernel(now=True)
    return seconds


def _work(outcome: RunOutcome) -> float:
    """Seconds the notebook's own cells took."""
    notebook = json.loads(outcome.notebook.read_text(encoding="utf-8"))
    return sum(cell["metadata"].get("papermill", {}).get("duration") or 0.0 for cell in notebook["cells"])
