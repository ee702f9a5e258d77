"""Saved backtests: whole or not there, listed by time, opened without running code."""

from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from pysys.domain.errors import DataError
from pysys.systems.backtest import run_backtest
from pysys.systems.saved_states import save_state, saved_state, saved_states
from tests.systems.markets import configuration, instrument, market, walk

MOMENT = datetime(2024, 3, 4, 0, 20, tzinfo=UTC)


@pytest.fixture(scope="module")
def result():
    markets = [instrument(code, walk(seed, 700)) for seed, code in enumerate(("GOLD", "BUND"))]
    return run_backtest(configuration(["GOLD", "BUND"]), market(*markets))


def test_what_was_saved_is_what_the_backtest_said(result, tmp_path):
    saved = save_state(result, tmp_path, "trend", MOMENT, capital=250_000.0, version="1")

    latest = saved.latest(["notional_position", "buffer_lower"])
    for code, wanted in result.latest_positions().items():
        assert latest.loc[code, "notional_position"] == wanted.notional_position
        assert latest.loc[code, "buffer_lower"] == wanted.buffer_lower
    assert saved.details["capital"] == 250_000.0
    assert saved.config["instrument_weights"] == dict(result.config.instrument_weights)
    np.testing.assert_allclose(saved.portfolio()["net"], result.portfolio["net"])
    assert {"net", "gross", "costs"} <= set(saved.stats)


def test_saved_states_are_listed_by_time_and_the_newest_is_the_default(result, tmp_path):
    for days in (2, 0, 1):
        save_state(result, tmp_path, "trend", MOMENT + timedelta(days=days), capital=1.0, version="1")

    assert [one.time for one in saved_states(tmp_path, "trend")] == [MOMENT + timedelta(days=n) for n in range(3)]
    assert saved_state(tmp_path, "trend").time == MOMENT + timedelta(days=2)
    assert saved_state(tmp_path, "trend", "20240304_002000").time == MOMENT


def test_saving_twice_at_one_moment_keeps_one(result, tmp_path):
    save_state(result, tmp_path, "trend", MOMENT, capital=1.0, version="1")
    save_state(result, tmp_path, "trend", MOMENT, capital=2.0, version="1")

    (only,) = saved_states(tmp_path, "trend")
    assert only.details["capital"] == 2.0


def test_one_that_was_cut_off_is_not_there(result, tmp_path):
    unfinished = tmp_path / "trend" / ".20240304_002000"
    unfinished.mkdir(parents=True)
    (unfinished / "config.yaml").write_text("half")

    assert saved_states(tmp_path, "trend") == []
    save_state(result, tmp_path, "trend", MOMENT, capital=1.0, version="1")
    assert not unfinished.exists()


def test_asking_for_one_that_is_not_there_names_those_that_are(result, tmp_path):
    with pytest.raises(DataError, match="pysys run run_systems"):
        saved_state(tmp_path, "trend")
    save_state(result, tmp_path, "trend", MOMENT, capital=1.0, version="1")
    with pytest.raises(DataError, match="20240304_002000"):
        saved_state(tmp_path, "trend", "20240101_000000")
