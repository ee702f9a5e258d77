"""From a backtest that estimates to the fixed configuration that trades."""

import numpy as np
import pytest
import yaml

from pysys.systems.backtest import run_backtest
from pysys.systems.backtest_config import ESTIMATE_FLAGS
from pysys.systems.backtest_yaml import read_backtest_config
from pysys.systems.compare import compare_results
from pysys.systems.promote import promoted_config, write_promoted
from tests.systems.markets import configuration, instrument, market, walk

CODES = ["CORN", "GOLD"]
DATA = market(instrument("CORN", walk(1, 1100)), instrument("GOLD", walk(2, 1000), start="2020-05-25"))
ALL = dict.fromkeys(ESTIMATE_FLAGS, True)
SHORT = {
    "forecast_weight_ewma_span": 20,  # so that the last smoothed weights are those in use
    "instrument_weight_ewma_span": 20,
    "forecast_scalar_estimate": {"min_periods": 100},
}


@pytest.fixture(scope="module")
def estimated():
    return run_backtest(configuration(CODES, **ALL, **SHORT), DATA)


def test_the_promoted_system_wants_the_same_positions_today(estimated, tmp_path):
    path = write_promoted(estimated, tmp_path / "production" / "system.yaml")
    fixed = run_backtest(read_backtest_config(path), DATA)
    assert not fixed.config.estimates
    before, after = estimated.latest_positions(), fixed.latest_positions()
    assert all(abs(one.notional_position) > 0.1 for one in before.values())
    for code, one in before.items():
        np.testing.assert_allclose(after[code].notional_position, one.notional_position, rtol=1e-6)
    assert (compare_results(estimated, fixed)["difference"] == 0).all()


def test_a_promoted_configuration_says_everything_under_the_established_keys(estimated):
    keys = promoted_config(estimated)
    assert not any(keys[flag] for flag in ESTIMATE_FLAGS)
    assert not any(name.endswith(("_estimate", "_estimates")) for name in set(keys) - set(ESTIMATE_FLAGS))
    last = {name: estimated.values(name)[-1] for name in ("scalar_carry10", "fw_carry10", "instrument_weight")}
    assert keys["forecast_scalars"]["carry10"] == last["scalar_carry10"][0]
    assert keys["forecast_weights"]["GOLD"]["carry10"] == last["fw_carry10"][1]
    assert keys["instrument_weights"] == {"CORN": last["instrument_weight"][0], "GOLD": last["instrument_weight"][1]}
    assert keys["forecast_div_multiplier"]["CORN"] == estimated.values("forecast_div_multiplier")[-1, 0]
    assert keys["instrument_div_multiplier"] == estimated.values("instrument_div_multiplier")[-1, 0]
    assert yaml.safe_load(yaml.safe_dump(keys)) == keys


def test_scalars_of_each_instrument_are_promoted_by_instrument():
    own = {"forecast_scalar_estimate": {"pool_instruments": False, "min_periods": 100}}
    result = run_backtest(configuration(CODES, **{**ALL, **SHORT, **own}), DATA)
    scalars = promoted_config(result)["forecast_scalars"]["carry10"]
    assert scalars == {code: result.series_of("scalar_carry10", code).iloc[-1] for code in CODES}


def test_parameters_that_were_fixed_are_promoted_as_they_were():
    config = configuration(CODES, use_instrument_div_mult_estimates=True)
    keys = promoted_config(run_backtest(config, DATA))
    kept = ("trading_rules", "forecast_weights", "forecast_div_multiplier", "instrument_weights")
    assert {name: keys[name] for name in kept} == {name: config.as_yaml_keys()[name] for name in kept}
    assert keys["instrument_div_multiplier"] != 1.5
