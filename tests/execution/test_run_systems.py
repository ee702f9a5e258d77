"""The overnight backtests: each strategy decides with its capital, and a fault of one is nobody else's."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from pysys.config import Config
from pysys.data.importing import import_prices
from pysys.desk import Desk
from pysys.domain.errors import NeedsOperator
from pysys.execution.targets import run_systems
from pysys.store.unit import Store
from tests.broker import paper_world as world
from tests.data.csv_world import write_layout
from tests.systems.markets import configuration

STRATEGIES = ("trend", "own", "euro", "poor", "typo")


@pytest.fixture
def desk(sqlite_store: Store, tmp_path: Path):
    """A trend strategy, one with a rule that breaks, one counted in euros, one without capital, one misspelt."""
    import_prices(sqlite_store, write_layout(tmp_path / "files")).raise_if_incomplete()
    keys = configuration(["GOLD", "BUND"]).as_yaml_keys()
    del keys["percentage_vol_target"], keys["base_currency"]
    broken = {"own": {"function": "broken.rule", "forecast_scalar": 1.0}}
    files = {
        "trend": keys,
        "own": {**keys, "trading_rules": {**keys["trading_rules"], **broken}, "forecast_weights": {"own": 1.0}},
        "euro": {**keys, "base_currency": "EUR"},
        "poor": keys,
        "typo": {**keys, "buffer_sise": 0.1},
    }
    for name, content in files.items():
        (tmp_path / f"{name}.yaml").write_text(yaml.safe_dump(content))
    (tmp_path / "broken.py").write_text("def rule(price):\n    raise ZeroDivisionError('of my own making')\n")
    with sqlite_store.write() as unit:
        unit.targets.add_strategy_capital(world.NOON, {name: 1e6 for name in STRATEGIES if name != "poor"})
        unit.commit()
    broker, clock = world.broker(tmp_path / "exchange.db", world.NOON)
    methods = {name: {"backtest_config_filename": f"{name}.yaml"} for name in STRATEGIES}
    config = Config(percentage_vol_target=25.0, process_configuration_methods={"run_systems": methods})
    yield Desk(config, sqlite_store, broker, clock, tmp_path)
    broker.close()
    clock.close()


def test_what_fails_says_why_and_stops_nobody(desk: Desk) -> None:
    result = run_systems(desk)
    assert [one.strategy for one in result.outcomes] == list(STRATEGIES)
    said = {one.strategy: one.error for one in result.outcomes}
    assert said["trend"] == ""
    assert "of my own making" in said["own"]
    assert "base_currency EUR is not that of the system" in said["euro"]
    assert "no capital yet" in said["poor"]
    assert "buffer_sise" in said["typo"]
    with pytest.raises(NeedsOperator, match=r"own: .*euro: .*poor: .*typo: "):
        result.raise_if_incomplete()
    with desk.store.read() as unit:
        assert [name for name in STRATEGIES if unit.targets.latest_backtest(name) is not None] == ["trend"]


def test_what_a_strategy_does_not_say_is_the_systems_own(desk: Desk) -> None:
    (trend,) = run_systems(desk, ["trend"]).outcomes
    saved = yaml.safe_load((desk.backtests / "trend" / trend.saved_state / "config.yaml").read_text())
    assert (saved["percentage_vol_target"], saved["base_currency"]) == (25.0, "USD")
    assert saved["notional_trading_capital"] == 1e6


def test_a_run_repeated_in_the_same_moment_stores_nothing_again(desk: Desk) -> None:
    first, second = (run_systems(desk, ["trend"]).outcomes[0] for _ in range(2))
    assert first.targets == second.targets
    assert first.saved_state == second.saved_state
    assert len(list((desk.backtests / "trend").iterdir())) == 1


def test_what_a_configuration_leaves_open_is_in_the_log(desk: Desk, caplog: pytest.LogCaptureFixture) -> None:
    path = desk.home / "trend.yaml"
    keys = yaml.safe_load(path.read_text())
    del keys["trading_rules"]["ewmac4_16"]["forecast_scalar"]
    path.write_text(yaml.safe_dump(keys))
    assert run_systems(desk, ["trend"]).outcomes[0].error == ""
    assert "no forecast_scalar for ewmac4_16" in caplog.text


UNTRADED = [
    {"exclude_instrument_lists": {"ignore_instruments": ["GOLD"]}},
    {"exclude_instrument_lists": {"trading_restrictions": ["GOLD"]}},
    {"allocate_zero_instrument_weights_to_these_instruments": ["GOLD"]},
    {"duplicate_instruments": {"include": {"metal": "BUND"}, "exclude": {"metal": ["GOLD"]}}},
]


@pytest.mark.parametrize("keys", UNTRADED, ids=["ignored", "restricted", "without weight", "a duplicate"])
def test_without_weights_everything_is_traded_but_what_the_file_says_not_to(desk: Desk, keys: dict[str, Any]) -> None:
    rewrite(desk, "trend", instrument_weights=None, **keys)
    (alone,) = run_systems(desk, ["trend"]).outcomes
    held = {target.instrument: (target.lower, target.upper) for target in alone.targets}  # type: ignore[union-attr]
    saved = yaml.safe_load((desk.backtests / "trend" / alone.saved_state / "config.yaml").read_text())
    assert saved["instrument_weights"]["BUND"] == 1.0
    assert any(held.pop("BUND"))
    assert not any(edge for edges in held.values() for edge in edges)


def test_a_misspelt_instrument_is_in_the_log_and_one_that_would_limit_nothing_stops_its_strategy(
    desk: Desk, caplog: pytest.LogCaptureFixture
) -> None:
    rewrite(desk, "trend", instrument_weights=None, exclude_instrument_lists={"bad_markets": ["GLOD"]})
    rewrite(desk, "own", instrument_weights=None, small_system={"no_trade": ["GLOD"]})
    said = {one.strategy: one.error for one in run_systems(desk, ["trend", "own"]).outcomes}
    assert said["trend"] == ""
    assert "name GLOD, of which there are no prices" in caplog.text
    assert "no_trade names GLOD" in said["own"]


def rewrite(desk: Desk, strategy: str, **changed: Any) -> None:
    """Change keys of a strategy's file; None takes one out."""
    path = desk.home / f"{strategy}.yaml"
    keys = {**yaml.safe_load(path.read_text()), **changed}
    path.write_text(yaml.safe_dump({key: value for key, value in keys.items() if value is not None}))
