"""How many trading days a minute a rehearsal gets through, with notebooks and without."""

from collections.abc import Iterator

from pysys.rehearsal.demo import run_demo
from tests.benchmarks.workspace import Stopwatch, quiet, settings_in_new_folder


def run() -> Iterator[str]:
    """The demo's 12 markets; preparing their history is not counted."""
    for notebooks, days in ((False, 6), (True, 2)):
        with settings_in_new_folder() as settings:
            run_demo(settings, days=1, notebooks=False, fresh=True, progress=quiet)
            watch = Stopwatch()
            run_demo(settings, days=1 + days, notebooks=notebooks, fresh=False, progress=quiet)
            how = "with notebooks" if notebooks else "without notebooks"
            yield f"{how}: {60 * days / watch.seconds:.1f} trading days a minute"
