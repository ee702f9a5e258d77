"""Forecasts weaker in volatile markets and stronger in calm ones."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pysys.domain.errors import ConfigError
from pysys.systems.attenuation import AVERAGE_DAYS, expanding_quantile, vol_attenuation
from pysys.systems.backtest import run_backtest
from pysys.systems.backtest_yaml import parse_backtest_config
from tests.systems.markets import configuration, instrument, market, walk

seeds = st.integers(0, 2**32 - 1)


def volatilities(seed, rows=120, columns=3, gaps=0.2):
    random = np.random.default_rng(seed)
    values = np.exp(np.cumsum(random.normal(0.0, 0.1, (rows, columns)), axis=0))
    values[random.random(values.shape) < gaps] = np.nan
    return values


def by_hand(volatility):
    """The formula of the docstring, one instrument, one day after the other."""
    relative, weighted, weights, factors = [], 0.0, 0.0, []
    for day, today in enumerate(volatility):
        decay = 1.0 - 2.0 / 11.0
        weighted, weights = weighted * decay, weights * decay
        if not np.isnan(today):
            relative.append(today / np.nanmean(volatility[max(day - AVERAGE_DAYS + 1, 0) : day + 1]))
            lower = sum(one < relative[-1] for one in relative[:-1])
            quantile = lower / (len(relative) - 1) if len(relative) > 1 else 2.0 / 3.0
            weighted, weights = weighted + 2.0 - 1.5 * quantile, weights + 1.0
        factors.append(weighted / weights if weights else np.nan)
    return factors


@settings(max_examples=15, deadline=None)
@given(seed=seeds, gaps=st.sampled_from([0.0, 0.5]))
def test_the_factor_is_that_of_the_formula_and_of_the_past_alone(seed, gaps):
    values = volatilities(seed, gaps=gaps)
    factor = vol_attenuation(values)
    for column in range(values.shape[1]):
        np.testing.assert_allclose(factor[:, column], by_hand(values[:, column]), rtol=1e-9)
    np.testing.assert_allclose(vol_attenuation(values[:80]), factor[:80], rtol=1e-12)
    np.testing.assert_allclose(vol_attenuation(values[:, ::-1]), factor[:, ::-1], rtol=1e-12)
    assert np.nanmin(factor) >= 0.5 and np.nanmax(factor) <= 2.0


def test_after_ten_years_the_average_forgets():
    values = volatilities(5, rows=AVERAGE_DAYS + 300, columns=1, gaps=0.01)
    np.testing.assert_allclose(vol_attenuation(values)[:, 0], by_hand(values[:, 0]), rtol=1e-9)


def test_the_calmest_day_doubles_a_forecast_and_the_wildest_halves_it():
    rising, falling = np.linspace(1.0, 4.0, 200), np.linspace(4.0, 1.0, 200)
    factor = vol_attenuation(np.column_stack([rising, falling, np.full(200, 0.7), np.full(200, np.nan)]))
    np.testing.assert_allclose(factor[-1], [0.5, 2.0, 1.25, np.nan], atol=1e-6)
    assert factor[0, 0] == pytest.approx(1.0)


def test_equal_values_share_the_middle_of_their_places():
    values = np.array([[3.0], [3.0], [np.nan], [5.0], [1.0], [3.0]])
    expected = [2.0 / 3.0, 0.5, np.nan, 1.0, 0.0, 0.5]
    np.testing.assert_allclose(expanding_quantile(values)[:, 0], expected)


def test_only_the_listed_rules_are_attenuated_before_they_are_scaled():
    data = market(instrument("CORN", walk(1, 400, gaps=0.1)))
    plain = run_backtest(configuration(["CORN"]), data)
    result = run_backtest(configuration(["CORN"], use_attenuation=["ewmac4_16", "carry10"]), data)
    factor = result.values("vol_attenuation")
    assert np.nanstd(factor) > 0.1
    for rule in plain.forecasts.raw:
        if rule in ("ewmac4_16", "carry10"):
            used = np.where(np.isnan(factor), 1.0, factor)
            np.testing.assert_array_equal(result.values(f"raw_{rule}"), plain.values(f"raw_{rule}") * used)
        else:
            np.testing.assert_array_equal(result.values(f"raw_{rule}"), plain.values(f"raw_{rule}"))
    assert "vol_attenuation" in result.position_columns
    assert "vol_attenuation" not in plain.names


def test_the_list_is_written_under_its_key_and_only_then():
    config = configuration(["CORN"], use_attenuation=["breakout20"])
    assert config.as_yaml_keys()["use_attenuation"] == ["breakout20"]
    assert parse_backtest_config(config.as_yaml_keys()) == config
    assert "use_attenuation" not in configuration(["CORN"]).as_yaml_keys()


@pytest.mark.parametrize(
    ("listed", "message"),
    [
        (["ewmac5_20"], "use_attenuation: no trading rule is called ewmac5_20"),
        (True, "use_attenuation must be a list of trading rules, not True"),
        ("ewmac4_16", "use_attenuation must be a list of trading rules, not 'ewmac4_16'"),
    ],
)
def test_a_list_that_cannot_be_meant_is_refused(listed, message):
    with pytest.raises(ConfigError, match=message):
        configuration(["CORN"], use_attenuation=listed)
