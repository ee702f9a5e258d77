"""What running a step as a notebook costs beyond the work in it, against starting an empty kernel."""

import json
import statistics
from collections.abc import Iterator

from jupyter_client.manager import KernelManager

from pysys.control.outcome import RunOutcome
from pysys.control.runner import Runner
from pysys.control.setup import initialise
from tests.benchmarks.workspace import Stopwatch, settings_in_new_folder

RUNS = 5


def run() -> Iterator[str]:
    """Wall time of a `status` run less the seconds its own cells took, over the start of an empty kernel."""
    empty = statistics.median(_empty_kernel() for _ in range(RUNS))
    yield f"an empty kernel answers after {empty:.2f} s (median of {RUNS})"
    for spare in (False, True):
        with settings_in_new_folder() as settings:
            initialise(settings)
            with Runner(settings, spare=spare) as runner:
                runner.run("status")
                walls, works = [], []
                for _ in range(RUNS):
                    watch = Stopwatch()
                    outcome = runner.run("status")
                    walls.append(watch.seconds)
                    works.append(_work(outcome))
            overhead = statistics.median(wall - work for wall, work in zip(walls, works, strict=True))
            how = "one after the other" if spare else "each by itself"
            yield (
                f"runs {how}: {statistics.median(walls):.2f} s, overhead {overhead:.2f} s, "
                f"{overhead / empty:.2f} times an empty kernel"
            )


def _empty_kernel() -> float:
    watch = Stopwatch()
    manager = KernelManager()
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
