"""From a backtest that estimates to the fixed configuration that trades."""

from dataclasses import replace

import numpy as np
import pytest
import yaml

from pysys.domain.errors import ConfigError
from pysys.systems.backtest import run_backtest
from pysys.systems.backtest_config import ESTIMATE_FLAGS
from pysys.systems.backtest_yaml import parse_backtest_config, read_backtest_config
from pysys.systems.compare import compare_results
from pysys.systems.promote import ended_instruments, promoted_config, promoted_tables, write_promoted
from tests.systems.markets import FACTS, configuration, instrument, market, walk

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
    # what has been in use for long is what the smoothed weights have come to
    assert keys["forecast_weights"]["GOLD"]["carry10"] == pytest.approx(last["fw_carry10"][1], rel=1e-9)
    assert keys["instrument_weights"] == pytest.approx(dict(zip(CODES, last["instrument_weight"], strict=True)))
    assert keys["forecast_div_multiplier"]["CORN"] == estimated.values("forecast_div_multiplier")[-1, 0]
    assert keys["instrument_div_multiplier"] == estimated.values("instrument_div_multiplier")[-1, 0]
    assert yaml.safe_load(yaml.safe_dump(keys)) == keys


def test_scalars_of_each_instrument_are_promoted_by_instrument():
    own = {"forecast_scalar_estimate": {"pool_instruments": False, "min_periods": 100}}
    result = run_backtest(configuration(CODES, **{**ALL, **SHORT, **own}), DATA)
    scalars = promoted_config(result)["forecast_scalars"]["carry10"]
    assert scalars == {code: result.series_of("scalar_carry10", code).iloc[-1] for code in CODES}


def test_a_rule_that_says_nothing_about_an_instrument_alone_in_its_class_does_not_stop_promotion():
    own = {"forecast_scalar_estimate": {"pool_instruments": False, "min_periods": 100}}
    lonely = instrument("LONE", walk(3, 1100), facts=replace(FACTS, asset_class="Metals"))
    data = market(*DATA.instruments.values(), lonely)
    scalars = promoted_config(run_backtest(configuration([*CODES, "LONE"], **{**ALL, **SHORT, **own}), data))[
        "forecast_scalars"
    ]
    assert scalars["relmomentum10"]["LONE"] == 1.0
    assert scalars["relmomentum10"]["CORN"] != 1.0 != scalars["carry10"]["LONE"]


def test_parameters_that_were_fixed_are_promoted_as_they_were():
    config = configuration(CODES, use_instrument_div_mult_estimates=True)
    keys = promoted_config(run_backtest(config, DATA))
    kept = ("trading_rules", "forecast_weights", "forecast_div_multiplier", "instrument_weights")
    assert {name: keys[name] for name in kept} == {name: config.as_yaml_keys()[name] for name in kept}
    assert keys["instrument_div_multiplier"] != 1.5


def test_what_is_never_estimated_is_kept_and_the_positions_with_it():
    options = {
        "use_attenuation": ["carry10"],
        "forecast_mapping": {"CORN": {"a_param": 1.5, "b_param": 1.5, "threshold": 0.5}},
        "risk_overlay": {"max_risk_fraction_normal_risk": 0.1},
    }
    estimated = run_backtest(configuration(CODES, **ALL, **SHORT, **options), DATA)
    keys = promoted_config(estimated)
    assert {name: keys[name] for name in options} == options
    before = estimated.latest_positions()
    assert estimated.values("risk_overlay_multiplier")[-1, 0] < 1
    for code, after in run_backtest(parse_backtest_config(keys), DATA).latest_positions().items():
        np.testing.assert_allclose(after.notional_position, before[code].notional_position, rtol=1e-6)


FLAGS = {
    "use_forecast_scale_estimates": "forecast_scalars",
    "use_forecast_weight_estimates": "forecast_weights",
    "use_forecast_div_mult_estimates": "forecast_div_multiplier",
    "use_instrument_weight_estimates": "instrument_weights",
    "use_instrument_div_mult_estimates": "instrument_div_multiplier",
}


@pytest.mark.parametrize("off", [(), *((flag,) for flag in ESTIMATE_FLAGS), ESTIMATE_FLAGS], ids=str)
def test_what_was_estimated_is_shown_and_nothing_else(off):
    flags = {flag: flag not in off for flag in ESTIMATE_FLAGS}
    tables = promoted_tables(run_backtest(configuration(CODES, **flags, **SHORT), DATA))
    assert set(tables) == {name for flag, name in FLAGS.items() if flags[flag]}
    assert all(table.notna().all(axis=None) and len(table) for table in tables.values())


@pytest.mark.parametrize(
    ("settings", "names"),
    [
        ({}, ("ewmac4_16", "min_periods, 500")),
        ({"forecast_scalar_estimate": {"pool_instruments": False, "min_periods": 100}}, ("NEW", "ewmac4_16")),
    ],
    ids=["too short a history", "a new instrument on its own"],
)
def test_what_cannot_be_estimated_yet_is_named_and_nothing_is_written(settings, names, tmp_path):
    corn, new = instrument("CORN", walk(1, 300)), instrument("NEW", walk(3, 60), start="2020-12-07")
    result = run_backtest(configuration(["CORN", "NEW"], **{**ALL, **settings}), market(corn, new))
    path = tmp_path / "system.yaml"
    with pytest.raises(ConfigError) as refused:
        write_promoted(result, path)
    assert all(name in str(refused.value) for name in names)
    assert not path.exists()


def test_weights_are_of_one_day_whole_for_a_newcomer_and_none_for_what_has_ended(tmp_path):
    old = [instrument(code, walk(seed, 1100)) for seed, code in enumerate(("CORN", "GOLD"))]
    ended = instrument("ENDED", walk(7, 700))
    young = instrument("YOUNG", walk(8, 150), start="2023-08-28")
    config = configuration(
        ["CORN", "GOLD", "ENDED", "YOUNG"],
        **dict.fromkeys(("use_forecast_div_mult_estimates", "use_instrument_weight_estimates"), True),
        instrument_weight_estimate={"method": "equal_weights"},
    )
    result = run_backtest(config, market(*old, ended, young))
    fading = result.series_of("instrument_weight", "YOUNG").iloc[-1]
    assert ended_instruments(result) == ("ENDED",)

    path = write_promoted(result, tmp_path / "system.yaml")
    promoted = read_backtest_config(path)
    weights = promoted.instrument_weights

    assert set(promoted.forecast_div_multiplier) == set(weights)
    assert weights == pytest.approx(dict.fromkeys(("CORN", "GOLD", "YOUNG"), 1 / 3))
    assert fading < 0.9 * weights["YOUNG"]
    assert "ENDED" in path.read_text().splitlines()[1]


def test_a_rule_without_a_weight_keeps_its_scalar():
    flags = {"use_forecast_scale_estimates": True, "forecast_weights": {"carry10": 1.0}}
    keys = promoted_config(run_backtest(configuration(CODES, **{**SHORT, **flags}), DATA))
    read = parse_backtest_config(keys)
    assert read.forecast_scalar_of("breakout20", "CORN") == 0.7
    assert read.forecast_scalar_of("carry10", "CORN") == keys["forecast_scalars"]["carry10"] != 28.0
