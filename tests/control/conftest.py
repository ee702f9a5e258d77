"""A whole small system in a temporary folder, and notebooks written for one test."""

import json
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from pysys.config import Settings, load_settings
from pysys.control.nursery import Nursery
from pysys.control.runner import Runner
from pysys.control.setup import initialise
from pysys.store.unit import Store
from tests.conftest import PROJECT

OPEN = "from pysys.control.run import open_run\nrun = open_run()"
COMPLETE = "run.complete({'rows': 3})"


def write_notebook(path: Path, cells: Sequence[str], parameters: str | None = None) -> Path:
    """A notebook that asks for a kernel that is not there, as one from another machine would."""
    sources = ([parameters] if parameters is not None else []) + list(cells)
    code = [
        {"cell_type": "code", "id": f"c{n}", "metadata": {}, "source": text, "execution_count": None, "outputs": []}
        for n, text in enumerate(sources)
    ]
    if parameters is not None:
        code[0]["metadata"] = {"tags": ["parameters"]}
    title = {"cell_type": "markdown", "id": "title", "metadata": {}, "source": "# A test <notebook>"}
    metadata = {"kernelspec": {"name": "ir", "display_name": "R", "language": "R"}}
    content = {"cells": [title, *code], "metadata": metadata, "nbformat": 4, "nbformat_minor": 5}
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content), encoding="utf-8")
    return path


def make_home(home: Path) -> Path:
    """A project folder with the shipped parameters and no notebooks."""
    shutil.copytree(PROJECT / "parameters", home / "parameters", ignore=shutil.ignore_patterns("private"))
    for kind in ("processes", "reports"):
        (home / "notebooks" / kind).mkdir(parents=True)
    return home


@dataclass
class System:
    """An initialised system and the runner everything runs on."""

    settings: Settings
    runner: Runner

    @property
    def store(self) -> Store:
        return self.runner.desk.store

    @property
    def nursery(self) -> Nursery:
        return self.runner._open_nursery()

    def notebook(self, name: str, *cells: str, parameters: str | None = None) -> str:
        write_notebook(self.settings.notebooks / "processes" / f"{name}.ipynb", cells, parameters)
        return name

    def configured(self, **changes: Any) -> Runner:
        """A runner of the same system with other settings and the same kernels."""
        settings = with_changes(self.settings, **changes)
        return Runner(settings, self.runner.desk, self.nursery)


def with_changes(settings: Settings, **changes: Any) -> Settings:
    return replace(settings, config=settings.config.model_copy(update=changes))


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return make_home(tmp_path / "project")


@pytest.fixture(scope="package")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    """One system for all tests of this folder: its kernels are forked from one program."""
    settings = load_settings(make_home(tmp_path_factory.mktemp("system") / "project"), environment={})
    initialise(settings)
    with Runner(settings) as runner:
        yield System(settings, runner)
