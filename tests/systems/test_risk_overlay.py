"""All positions cut together when they add up to too much risk."""

from itertools import islice

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pysys.domain.errors import ConfigError
from pysys.systems.backtest import run_backtest
from pysys.systems.backtest_result import RISK_COLUMNS
from pysys.systems.backtest_yaml import parse_backtest_config
from pysys.systems.covariance import correlations, weekly_returns, weeks_ended
from pysys.systems.risk_overlay import high_volatility
from tests.systems.markets import configuration, instrument, market, walk

CODES = ["CORN", "WHEAT", "BUND"]
TARGET = 0.20  # of the configuration
LIMITS = {
    "max_risk_fraction_normal_risk": 0.9,
    "max_risk_fraction_stdev_risk": 1.1,
    "max_risk_limit_sum_abs_risk": 1.2,
    "max_risk_leverage": 7.0,
}
CAPITAL = 10_000_000.0


def data(seed=1, rows=500, gaps=0.1):
    return market(*(instrument(code, walk(seed + n, rows - 60 * n, gaps)) for n, code in enumerate(CODES)))


def run(seed=1, **limits):
    config = configuration(CODES, buffer_method="position", risk_overlay=limits) if limits else configuration(CODES)
    return run_backtest(config, data(seed))


def portfolio(result, name):
    """A series that is the same for every instrument, by date."""
    values = result.values(name)
    spread = np.nanmax(values, axis=1) - np.nanmin(values, axis=1)
    assert (spread == 0).all()
    return np.nanmax(values, axis=1)


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 2**32 - 10), names=st.sampled_from([*((name,) for name in LIMITS), tuple(LIMITS)]))
def test_after_the_cut_no_measure_is_above_its_limit_and_one_is_at_it(seed, names):
    result = run(seed, **{name: LIMITS[name] for name in names})
    multiplier = portfolio(result, "risk_overlay_multiplier")
    assert ((multiplier > 0) & (multiplier <= 1)).all()
    assert (multiplier < 1).any()
    measures = dict(zip(LIMITS, RISK_COLUMNS, strict=False))
    units = {name: 1.0 if name == "max_risk_leverage" else TARGET for name in LIMITS}
    shares = [portfolio(result, measures[name]) / (LIMITS[name] * units[name]) for name in names]
    used = multiplier * np.max(shares, axis=0)
    assert (used <= 1 + 1e-12).all()
    np.testing.assert_allclose(used[multiplier < 1], 1.0)


def test_every_measure_is_what_its_formula_says():
    loose = run(**dict.fromkeys(LIMITS, 1000.0))
    raw, risk, index = loose.raw, loose.sizing.risk, loose.index
    notional = loose.values("notional_position")
    weeks, weekly = weekly_returns(raw.daily_percentage_returns.values, raw.grid)
    high = high_volatility(risk.daily_pct_vol)
    day = 300
    assert index[day].all()

    def last(values, column):
        past = values[: day + 1, column]
        return past[~np.isnan(past)][-1]

    exposure = np.array([last(notional, n) * last(risk.block_value, n) * 100 / CAPITAL for n in range(3)])
    own = exposure * np.array([last(risk.daily_pct_vol, n) for n in range(3)]) * 16 / 100
    jumped = exposure * np.array([last(high, n) for n in range(3)]) * 16 / 100
    known = weeks_ended(raw.grid, weeks)[day]
    correlation = list(islice(correlations(weekly, shrinkage=0.0), int(known)))[-1]
    expected = (
        np.sqrt(own @ correlation @ own),
        np.sqrt(jumped @ correlation @ jumped),
        np.abs(own).sum(),
        np.abs(exposure).sum(),
        1.0,
    )
    np.testing.assert_allclose([portfolio(loose, name)[day] for name in RISK_COLUMNS], expected)


def test_all_positions_of_a_day_are_cut_alike_before_the_buffer():
    plain, cut = run_backtest(configuration(CODES, buffer_method="position"), data()), run(**LIMITS)
    multiplier = cut.values("risk_overlay_multiplier")
    np.testing.assert_allclose(
        cut.values("notional_position"), plain.values("notional_position") * multiplier, rtol=1e-12
    )
    present = ~np.isnan(cut.values("notional_position"))
    for name in ("buffer_lower", "buffer_upper"):
        np.testing.assert_allclose(cut.values(name)[present], (plain.values(name) * multiplier)[present], rtol=1e-12)
    assert np.nansum(np.abs(cut.values("buffered_position"))) < np.nansum(np.abs(plain.values("buffered_position")))
    for name in ("subsystem_position", "instrument_weight", "average_position"):
        np.testing.assert_array_equal(cut.values(name), plain.values(name))


def test_limits_that_are_never_reached_change_no_bit():
    plain, loose = run(), run_backtest(configuration(CODES, risk_overlay={"max_risk_leverage": 1e6}), data())
    for name in plain.names:
        np.testing.assert_array_equal(loose.values(name), plain.values(name), err_msg=name)
    assert set(loose.names) - set(plain.names) == set(RISK_COLUMNS)
    assert set(RISK_COLUMNS) <= set(loose.position_columns)


def test_a_quantile_of_ten_years_forgets_older_days():
    days = np.arange(4000.0)
    volatility = np.column_stack([days, days[::-1], np.where(days % 3 == 0, days, np.nan)])
    high = high_volatility(volatility)
    at = 3600
    window = volatility[at - 2559 : at + 1]
    np.testing.assert_allclose(high[at], np.nanquantile(window, 0.99, axis=0))
    np.testing.assert_allclose(high_volatility(volatility[:at]), high[:at])


def test_limits_are_written_under_their_keys_and_only_then():
    config = configuration(CODES, risk_overlay={"max_risk_leverage": 13})
    assert config.as_yaml_keys()["risk_overlay"] == {"max_risk_leverage": 13.0}
    assert parse_backtest_config(config.as_yaml_keys()) == config
    assert "risk_overlay" not in configuration(CODES).as_yaml_keys()


@pytest.mark.parametrize(
    ("section", "message"),
    [
        ({}, "risk_overlay limits nothing; give max_risk_fraction_normal_risk, "),
        ({"max_risk_leverage": 0}, "risk_overlay: max_risk_leverage must be above 0"),
        ({"max_leverage": 10}, "risk_overlay: unknown key max_leverage"),
        (13, "risk_overlay must be a table"),
    ],
)
def test_limits_that_cannot_be_meant_are_refused(section, message):
    with pytest.raises(ConfigError, match=message):
        configuration(CODES, risk_overlay=section)
