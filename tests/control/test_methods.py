"""Methods run without a notebook are written down the same way."""

import importlib

import pytest

from pysys.control.methods import METHODS, method_function, run_method
from pysys.control.notebooks import notebook_names
from pysys.domain.errors import ConfigError
from tests.conftest import PROJECT
from tests.control.conftest import System


def test_every_process_notebook_has_its_function() -> None:
    processes = {path.stem for path in (PROJECT / "notebooks" / "processes").glob("*.ipynb")}
    assert processes == set(METHODS)
    for name, module in METHODS.items():
        assert callable(getattr(importlib.import_module(module), name))


def test_every_report_notebook_has_its_function() -> None:
    for name, path in notebook_names(PROJECT / "notebooks").items():
        if path.parent.name == "reports":
            assert callable(method_function(name))


def test_a_method_that_raises_is_a_failed_run_and_frees_its_name(system: System) -> None:
    outcome = run_method(system.runner.desk, "strategy_allocation", {})
    assert not outcome.ok
    assert outcome.error
    with system.store.read() as unit:
        (found,) = unit.runs.find(method="strategy_allocation")
        assert unit.runs.lease("notebook:strategy_allocation") is None
    assert (found.status, found.error) == (outcome.status, outcome.error)


def test_a_report_on_an_empty_system_is_done(system: System) -> None:
    outcome = run_method(system.runner.desk, "roll_report", {})
    assert outcome.ok, outcome.sentence


def test_unknown_names_and_parameters_are_refused(system: System) -> None:
    with pytest.raises(ConfigError, match="no method or report update_everything"):
        run_method(system.runner.desk, "update_everything", {})
    with pytest.raises(ConfigError, match="update_fx_prices has no parameter instruments"):
        run_method(system.runner.desk, "update_fx_prices", {"instruments": []})
    with pytest.raises(ConfigError, match="has no time zone"):
        run_method(system.runner.desk, "run_stack_handler", {"until": "2024-03-05T19:00"})
