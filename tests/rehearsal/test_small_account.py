"""A strategy that optimises whole contracts, traded for two days."""

from datetime import timedelta

import yaml

from pysys.config import load_settings
from pysys.rehearsal.demo import FIRST_DAY
from pysys.rehearsal.replay import run_replay
from pysys.store.unit import Store
from tests.rehearsal.conftest import PROJECT, environment, quiet


def test_a_small_account_holds_what_the_optimiser_chose(archive, tmp_path):
    keys = yaml.safe_load((PROJECT / "parameters" / "strategies" / "example.yaml").read_text())
    config = tmp_path / "small.yaml"
    config.write_text(yaml.safe_dump({**keys, "small_system": {"no_trade": ["V2X"]}}))
    methods = {
        "run_systems": {"example": {"backtest_config_filename": str(config)}},
        "run_strategy_order_generator": {"example": {}},
    }
    variables = {
        **environment(archive, tmp_path / "outputs"),
        "PYSYS_PROCESS_CONFIGURATION_METHODS": yaml.safe_dump(methods, default_flow_style=True),
        "PYSYS_PAPER_STARTING_CASH": "200000",
    }
    settings = load_settings(PROJECT, variables)

    summary = run_replay(
        settings, FIRST_DAY, FIRST_DAY + timedelta(days=1), notebooks=False, fresh=True, progress=quiet
    )

    assert summary.attention == []
    assert summary.trades > 0
    assert not any(contract.startswith("V2X") for contract in summary.positions)
    store = Store(f"sqlite:///{summary.folder / 'state' / 'pysys.db'}")
    with store.read() as unit:
        run = unit.targets.latest_backtest("example")
        wanted = {target.instrument: target.position for target in unit.targets.targets_of(run.id)}
        held = {code: position for (_, code), position in unit.positions.strategy_positions().items()}
    store.close()
    assert all(position == round(position) for position in wanted.values())
    assert {code: int(lots) for code, lots in wanted.items() if lots} == held
