"""The research notebooks run as they are, on a price history, and leave charts to look at."""

from datetime import UTC, datetime

import pytest
import yaml

from pysys.config import load_settings
from pysys.control.runner import Runner
from pysys.control.setup import initialise
from pysys.systems.backtest import run_backtest
from pysys.systems.saved_states import save_state
from tests.rehearsal.conftest import PROJECT
from tests.systems.markets import configuration, instrument, market, walk

NOTEBOOKS = {
    "backtest": {"look_at": "AUD", "accounts": "rules", "method": "buffer_lower", "workers": 1},
    "rule_lab": {"rule": "carry30"},
    "promote": {},
    "compare": {},
    "instrument_choice": {"least_risk_a_day": 0.1},
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


OWN_RULE = """
def slow_change(price, days=20):
    return price.diff(days)
"""


def test_a_configuration_with_weights_is_restricted_and_its_own_rule_found_beside_it(runner, archive, tmp_path):
    (tmp_path / "mine.py").write_text(OWN_RULE)
    weights = dict.fromkeys(("AUD", "EUROSTX", "V2X"), 1 / 3)
    rules = {
        "change20": {"function": "mine.slow_change", "forecast_scalar": 2.0},
        "change5": {"function": "mine.slow_change", "other_args": {"days": 5}, "forecast_scalar": 2.0},
    }
    keys = {"trading_rules": rules, "forecast_weights": {"change20": 1.0}, "instrument_weights": weights}
    config = tmp_path / "system.yaml"
    config.write_text(yaml.safe_dump(keys))
    asked = {"config": str(config), "prices": archive, "instruments": ["AUD", "V2X"]}

    kept = run_backtest(configuration(["GOLD"]), market(instrument("GOLD", walk(1, 200))))
    save_state(kept, runner.settings.backtests, "trend", datetime(2024, 3, 4, tzinfo=UTC), capital=1.0, version="1")
    looking = {"saved_strategy": "trend", "saved_time": "20240304_000000", "method": "scalar"}

    whole = runner.run("backtest", {**asked, **looking, "sweep_values": [0.2], "workers": 1})
    assert whole.ok, whole.error
    assert whole.record["instruments"] == 2
    assert (runner.settings.outputs / "intermediates" / "scalar_ewmac4_16_GOLD.html").is_file()
    lab = runner.run("rule_lab", {**asked, "rule": "change5"})  # a candidate without a weight
    assert lab.ok, lab.error
