"""The committed notebooks: thin, typed, without outputs, complete."""

import ast
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from pysys.control.parameters import read_parameters
from tests.conftest import PROJECT

NOTEBOOKS = sorted((PROJECT / "notebooks").glob("*/*.ipynb"))
RUN_BY_PAPERMILL = [path for path in NOTEBOOKS if path.parent.name in ("processes", "reports")]
MOST_LINES = 12  # of a cell; longer ones hold logic that belongs in the library


def cells(path: Path, kind: str = "code") -> list[dict[str, Any]]:
    return [cell for cell in json.loads(path.read_text())["cells"] if cell["cell_type"] == kind]


def source(cell: dict[str, Any]) -> str:
    return "".join(cell["source"])


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_is_committed_without_outputs_and_defines_nothing(path: Path) -> None:
    for cell in cells(path):
        assert cell["outputs"] == []
        assert cell["execution_count"] is None
        assert len(source(cell).splitlines()) <= MOST_LINES
        tree = ast.parse(source(cell))
        assert not any(isinstance(node, ast.FunctionDef | ast.ClassDef) for node in ast.walk(tree))
        assert "raises-exception" not in cell["metadata"].get("tags", [])
    assert source(cells(path, "markdown")[0]).startswith("# ")


@pytest.mark.parametrize("path", RUN_BY_PAPERMILL, ids=lambda path: path.stem)
def test_a_run_notebook_declares_parameters_opens_a_run_and_completes_it_last(path: Path) -> None:
    code = cells(path)
    tagged = [n for n, cell in enumerate(code) if "parameters" in cell["metadata"].get("tags", [])]
    assert tagged == [0]
    assert all(isinstance(node, ast.AnnAssign) for node in ast.parse(source(code[0])).body)
    read_parameters(path)
    assert "run = open_run()" in source(code[1])
    last = ast.parse(source(code[-1])).body[-1]
    assert ast.unparse(last).startswith("run.complete(")
    assert all("run.complete" not in source(cell) for cell in code[:-1])


def test_notebooks_pass_the_linter_which_knows_undefined_names() -> None:
    command = [sys.executable, "-m", "ruff", "check", "--no-cache", "--quiet", "notebooks"]
    checked = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True)
    assert checked.returncode == 0, checked.stdout + checked.stderr


def test_every_configured_method_has_a_notebook() -> None:
    from pysys.config import load_settings
    from pysys.control.process import method_runs

    settings = load_settings(PROJECT, environment={})
    for name in settings.config.process_configuration_methods:
        assert method_runs(settings, name)
