"""Running one notebook, for somebody who runs no other: everything slow begins at once, after the checks."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from pysys.config import Settings
from pysys.control.environment import kernel_environment, secrets_of
from pysys.control.files import require_writable
from pysys.control.notebooks import find_notebook
from pysys.control.nursery import Nursery
from pysys.control.parameters import check_parameters, read_parameters

if TYPE_CHECKING:
    from pysys.control.outcome import RunOutcome


def run_notebook(
    settings: Settings,
    name: str,
    parameters: Mapping[str, object] | None = None,
    *,
    process: str | None = None,
    deadline_minutes: float | None = None,
) -> "RunOutcome":
    """Run one notebook of notebooks/processes or notebooks/reports; see `Runner.run`."""
    given = parameters if parameters is not None else {}
    source = find_notebook(settings.notebooks, name)
    check_parameters(read_parameters(source), given, source.stem, secrets_of(settings))
    require_writable(settings.outputs)
    nursery = Nursery(kernel_environment(settings))
    try:
        from pysys.control.runner import Runner  # slow, so while the nursery imports

        with Runner(settings, nursery=nursery) as runner:
            return runner.run(name, given, process=process, deadline_minutes=deadline_minutes)
    finally:
        nursery.close()
