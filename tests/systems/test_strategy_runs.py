"""Many strategies on all cores decide what each would alone, and one that fails stops no other."""

from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from pysys.domain.errors import ConfigError
from pysys.systems.strategy_runs import StrategyDecision, StrategyJob, run_strategies
from tests.systems.markets import configuration, instrument, market, walk

NOW = datetime(2024, 3, 5, 21, tzinfo=UTC)
RULE = "def broken(price):\n    raise RuntimeError('my own fault')\n"


def jobs_in(folder: Path) -> list:
    folder.mkdir()
    (folder / "mine.py").write_text(RULE)
    one = market(instrument("CORN", walk(1, 400)), instrument("GOLD", walk(2, 400)))
    other = market(instrument("CORN", walk(3, 400)))
    small = configuration(["CORN", "GOLD"], small_system={})
    broken = configuration(
        ["CORN"],
        trading_rules={"own": {"function": "mine.broken"}},
        forecast_weights={"own": 1.0},
        forecast_scalars={"own": 1.0},
    )
    asked = {
        "plain": (configuration(["CORN", "GOLD"]), one),
        "broken": (broken, one),
        "other": (configuration(["CORN"]), other),
        "small": (small, one),
    }
    return [
        (StrategyJob(name, config, 1_000_000.0 + number, NOW, folder / "states", folder, "1.0"), data)
        for number, (name, (config, data)) in enumerate(asked.items())
    ]


@pytest.mark.parametrize("cores", [1, 2])
def test_every_strategy_decides_on_its_own_prices_and_is_saved(tmp_path, monkeypatch, cores):
    monkeypatch.setattr("pysys.systems.strategy_runs.available_cores", lambda: cores)
    jobs = jobs_in(tmp_path / "here")
    found = dict(run_strategies(jobs))
    assert list(found) == ["plain", "broken", "other", "small"]
    assert isinstance(found["broken"], ConfigError)
    mine = tmp_path / "here" / "mine.py"
    assert str(found["broken"]) == f"trading rule own failed: RuntimeError: my own fault ({mine}, line 2)"
    for job, data in jobs:
        if job.strategy == "broken":
            continue
        decided = found[job.strategy]
        assert isinstance(decided, StrategyDecision)
        ((_, alone),) = run_strategies([(job, data)])
        assert decided.latest == alone.latest
        assert (decided.optimiser is not None) == (job.strategy == "small")
        if decided.optimiser is not None:
            np.testing.assert_array_equal(decided.optimiser.correlation, alone.optimiser.correlation)
            np.testing.assert_array_equal(decided.optimiser.inputs.optimal, alone.optimiser.inputs.optimal)
        assert (tmp_path / "here" / "states" / job.strategy / decided.saved_state / "stages.parquet").is_file()
    assert found["plain"].latest["CORN"] != found["other"].latest["CORN"]
