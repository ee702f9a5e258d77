"""A throw-away outputs folder for one benchmark, and a stopwatch."""

import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pysys.config import Settings, load_settings
from pysys.config_files import find_home

PROJECT = Path(__file__).resolve().parents[2]


@contextmanager
def settings_in_new_folder(**changes: str) -> Iterator[Settings]:
    """Settings of this project with outputs in a folder that is removed afterwards."""
    with tempfile.TemporaryDirectory() as folder:
        environment = {"PYSYS_OUTPUTS_DIRECTORY": folder, **{f"PYSYS_{k.upper()}": v for k, v in changes.items()}}
        yield load_settings(find_home(PROJECT), environment)


class Stopwatch:
    """Seconds since it was made."""

    def __init__(self) -> None:
        self._started = time.perf_counter()

    @property
    def seconds(self) -> float:
        return time.perf_counter() - self._started


def quiet(*_: object) -> None:
    """Progress nobody watches."""
