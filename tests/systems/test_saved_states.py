"""Saved backtests: whole or not there, listed by time, opened without running code."""

from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from pysys.domain.errors import ConfigError, DataError
from pysys.systems.backtest import run_backtest
from pysys.systems.backtest_config import ESTIMATE_FLAGS
from pysys.systems.estimation.tables import estimate_table
from pysys.systems.intermediates import OTHER, intermediate, menu, names_by_stage
from pysys.systems.saved_states import KEPT_DAYS, SavedBacktests, save_state, saved_state, saved_states
from tests.systems.markets import configuration, instrument, market, walk

MOMENT = datetime(2024, 3, 4, 0, 20, tzinfo=UTC)


@pytest.fixture(scope="module")
def result():
    gold, bund = walk(0, 700, 0.1), walk(1, 700, 0.1)
    bund[-1] = np.nan  # its last day is a holiday
    markets = [instrument("GOLD", gold), instrument("BUND", bund)]
    everything = dict.fromkeys(ESTIMATE_FLAGS, True)
    return run_backtest(configuration(["GOLD", "BUND"], **everything), market(*markets))


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


def test_every_intermediate_and_every_estimate_can_be_looked_at_afterwards(result, tmp_path):
    saved = save_state(result, tmp_path, "trend", MOMENT, capital=1.0, version="1")

    assert saved.names == result.names and saved.instruments == result.instruments
    assert {"scalar_carry10", "average_position", "forecast_div_multiplier", "norm_return"} <= set(saved.names)
    for name in result.names:
        whole = result.series_of(name, "BUND").iloc[-KEPT_DAYS:]
        np.testing.assert_array_equal(saved.series_of(name, "BUND"), whole)
        np.testing.assert_array_equal(saved.values(name)["BUND"].loc[whole.index], whole)
    assert set(saved.estimates) >= {"raw_forecast_weights", "raw_instrument_weights", "forecast_correlations"}
    for name in saved.estimates:
        np.testing.assert_array_equal(saved.estimate(name).to_numpy(), estimate_table(result, name).to_numpy())
    fixed = run_backtest(configuration(["GOLD"]), market(result.series[0]))
    assert save_state(fixed, tmp_path, "fixed", MOMENT, capital=1.0, version="1").estimates == ()
    with pytest.raises(ConfigError, match="no estimate called weights; it has forecast_corr"):
        saved.estimate("weights")


def test_an_intermediate_is_found_by_stage_method_and_arguments_fresh_or_saved(result, tmp_path):
    saved = save_state(result, tmp_path, "trend", MOMENT, capital=1.0, version="1")
    opened = SavedBacktests(tmp_path, "trend").system_method()

    for backtest in (result, saved, opened):
        stages = names_by_stage(backtest)
        assert OTHER not in stages  # every series has its stage
        assert sorted(name for names in stages.values() for name in names) == sorted(backtest.names)
        assert stages["rules"] == tuple(f"raw_{rule}" for rule in result.forecasts.raw)
        listed = menu(backtest)
        assert set(listed.loc[listed["arguments"] == "instrument, rule", "method"]) == {"raw", "fc", "fw", "scalar"}
        one = intermediate(backtest, "fc", "GOLD", "carry10")
        expected = result.series_of("fc_carry10", "GOLD").iloc[-len(one) :]
        np.testing.assert_array_equal(one["GOLD"], expected)
        assert list(intermediate(backtest, "buffer_lower")) == ["GOLD", "BUND"]
        refused = {
            "fc takes a rule, and 'value' is none": ("fc", "GOLD", "value"),
            "nothing is called skew": ("skew", "GOLD", ""),
            "PLAT is not in this backtest": ("price", "PLAT", ""),
        }
        for sentence, asked in refused.items():
            with pytest.raises(ConfigError, match=sentence):
                intermediate(backtest, *asked)


def test_the_latest_row_is_of_one_day_and_says_which(result, tmp_path):
    saved = save_state(result, tmp_path, "trend", MOMENT, capital=1.0, version="1")
    latest = saved.latest()
    for code in result.instruments:
        assert latest.loc[code, "date"] == result.series_of("price", code).index[-1]
        for name in ("daily_returns", "notional_position", "raw_breakout20", "fw_carry10"):
            np.testing.assert_equal(latest.loc[code, name], result.series_of(name, code).iloc[-1])
        assert latest.loc[code, "fc_breakout20"] == result.series_of("fc_breakout20", code).ffill().iloc[-1]
    assert np.isnan(latest.loc["BUND", "daily_returns"]) and latest.loc["BUND", "price"] > 0


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


def test_one_that_was_cut_off_is_not_there_nor_is_a_stray_folder(result, tmp_path):
    unfinished = tmp_path / "trend" / ".20240304_002000"
    unfinished.mkdir(parents=True)
    for stray in ("2024_old", "20240304_002000_copy", "20240304_2"):
        (tmp_path / "trend" / stray).mkdir()
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
