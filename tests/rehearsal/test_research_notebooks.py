"""The research notebooks run as they are, on a price history, and leave charts to look at."""

import pytest
import yaml

from pysys.config import load_settings
from pysys.control.runner import Runner
from pysys.control.setup import initialise
from tests.rehearsal.conftest import PROJECT

NOTEBOOKS = {
    "backtest": {"look_at": "AUD"},
    "rule_lab": {"rule": "carry30"},
    "promote": {},
    "compare": {},
}


@pytest.fixture(scope="module")
def runner(tmp_path_factory):
    outputs = tmp_path_factory.mktemp("research")
    settings = load_settings(PROJECT, {"PYSYS_OUTPUTS_DIRECTORY": str(outputs)})
    initialise(settings)
    with Runner(settings) as opened:
        yield opened


def test_every_research_notebook_is_tried():
    assert {path.stem for path in (PROJECT / "notebooks" / "research").glob("*.ipynb")} == set(NOTEBOOKS)


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_a_research_notebook_runs_and_shows_charts(runner, archive, name):
    parameters = {"prices": archive, **NOTEBOOKS[name]}
    promoted = runner.settings.outputs / "promoted.yaml"
    if name == "promote":
        parameters["promoted"] = str(promoted)

    outcome = runner.run(name, parameters)

    assert outcome.ok, outcome.error
    assert "<img" in outcome.html.read_text(encoding="utf-8")
    if name == "promote":
        keys = yaml.safe_load(promoted.read_text())
        assert not any(value for key, value in keys.items() if key.startswith("use_") and key.endswith("_estimates"))
        assert set(keys["instrument_weights"]) == {"AUD", "EUROSTX", "V2X"}


def test_without_any_prices_a_research_notebook_says_where_to_get_some(runner):
    outcome = runner.run("backtest")
    assert not outcome.ok
    assert "pysys demo" in outcome.error
