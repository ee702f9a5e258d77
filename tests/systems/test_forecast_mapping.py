"""Weak forecasts of small accounts, left alone; strong ones, made stronger."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pysys.domain.errors import ConfigError
from pysys.systems.backtest import run_backtest
from pysys.systems.backtest_yaml import parse_backtest_config
from pysys.systems.forecast_mapping import mapped_forecast
from tests.systems.markets import configuration, instrument, market, walk

CAP = 20.0
PUBLISHED = {"a_param": 2.0, "b_param": 8.0, "threshold": 15.0}  # the three meet at the cap
forecasts = st.floats(-CAP, CAP)


@pytest.mark.parametrize(
    ("parameters", "forecast", "mapped"),
    [
        ((2.0, 8.0, 15.0), 0.0, 0.0),
        ((2.0, 8.0, 15.0), -14.9, 0.0),
        ((2.0, 8.0, 15.0), 15.0, 0.0),
        ((2.0, 8.0, 15.0), -17.5, -20.0),
        ((2.0, 8.0, 15.0), 20.0, 40.0),
        ((1.5, 4.0, 5.0), 10.0, 20.0),
        ((1.5, 4.0, 5.0), 12.5, 30.0),  # a_param * cap, from there on
        ((1.5, 4.0, 5.0), -20.0, -30.0),
        ((9.0, 1.0, 15.0), 20.0, 5.0),  # a ceiling it cannot reach
        ((1.0, 1.0, 0.0), -7.3, -7.3),
        ((2.0, 8.0, 15.0), np.nan, np.nan),
    ],
)
def test_a_forecast_is_nothing_up_to_the_threshold_and_steep_beyond(parameters, forecast, mapped):
    np.testing.assert_allclose(mapped_forecast(np.array(forecast), *parameters, cap=CAP), mapped, rtol=1e-12)


@given(
    one=forecasts,
    other=forecasts,
    a=st.floats(0.1, 5.0),
    b=st.floats(0.1, 20.0),
    threshold=st.floats(0.0, 19.0),
)
def test_a_mapping_never_jumps_turns_or_passes_its_ceiling(one, other, a, b, threshold):
    low, high = mapped_forecast(np.sort([one, other]), a, b, threshold, cap=CAP)
    assert 0.0 <= high - low <= b * abs(one - other) + 1e-9
    assert max(abs(low), abs(high)) <= a * CAP
    assert mapped_forecast(np.array(-one), a, b, threshold, cap=CAP) == -mapped_forecast(
        np.array(one), a, b, threshold, cap=CAP
    )


def test_only_the_mapped_instrument_changes_and_both_forecasts_can_be_looked_at():
    data = market(instrument("CORN", walk(1, 300)), instrument("WHEAT", walk(2, 300)))
    keys = {"forecast_div_multiplier": 2.5}
    plain = run_backtest(configuration(["CORN", "WHEAT"], **keys), data)
    mapped = run_backtest(configuration(["CORN", "WHEAT"], **keys, forecast_mapping={"CORN": PUBLISHED}), data)
    before, after = mapped.series_of("unmapped_forecast", "CORN"), mapped.series_of("combined_forecast", "CORN")
    np.testing.assert_array_equal(before, plain.series_of("combined_forecast", "CORN"))
    assert (after[before.abs() <= 15.0] == 0).all() and (before.abs() <= 15.0).any()
    assert after.abs().max() > CAP
    np.testing.assert_allclose(
        mapped.series_of("subsystem_position", "CORN"), mapped.series_of("vol_scalar", "CORN") * after / 10.0
    )
    for name in ("combined_forecast", "subsystem_position"):
        np.testing.assert_array_equal(mapped.series_of(name, "WHEAT"), plain.series_of(name, "WHEAT"))


def test_a_mapping_that_changes_nothing_changes_no_bit():
    data = market(instrument("CORN", walk(3, 300, gaps=0.1)))
    plain = run_backtest(configuration(["CORN"]), data)
    mapped = run_backtest(configuration(["CORN"], forecast_mapping={"CORN": {}}), data)
    for name in plain.names:
        np.testing.assert_array_equal(mapped.values(name), plain.values(name), err_msg=name)


def test_a_mapping_is_written_under_its_keys_and_only_then():
    config = configuration(["CORN"], forecast_mapping={"CORN": PUBLISHED})
    assert config.as_yaml_keys()["forecast_mapping"] == {"CORN": PUBLISHED}
    assert parse_backtest_config(config.as_yaml_keys()) == config
    assert "forecast_mapping" not in configuration(["CORN"]).as_yaml_keys()


@pytest.mark.parametrize(
    ("mapping", "message"),
    [
        ({"CORN": {"threshold": 20}}, "forecast_mapping of CORN: threshold must be below forecast_cap, 20"),
        ({"CORN": {"threshold": -1}}, "forecast_mapping of CORN: threshold must be at least 0"),
        ({"CORN": {"b_param": 0}}, "forecast_mapping of CORN: b_param must be above 0"),
        ({"CORN": {"c_param": 2}}, "forecast_mapping of CORN: unknown key c_param"),
        ({"CORN": 15}, "forecast_mapping of CORN must be a table of a_param, b_param and threshold, not 15"),
        (15, "forecast_mapping must be a table"),
    ],
)
def test_a_mapping_that_cannot_be_meant_is_refused(mapping, message):
    with pytest.raises(ConfigError, match=message):
        configuration(["CORN"], forecast_mapping=mapping)
