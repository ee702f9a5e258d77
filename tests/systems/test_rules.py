"""Each trading rule, and the smoothing it rests on, against what it must be whatever the prices."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pysys.systems.raw_data import Panel
from pysys.systems.rules import accel, breakout, carry, ewmac, relative_momentum
from pysys.systems.smoothing import (
    decay_of_com,
    decay_of_span,
    ew_mean,
    ew_std,
    forward_fill,
    lag,
    rolling,
    rolling_count,
)
from tests.systems.markets import walk

examples = settings(max_examples=30, deadline=None)
seeds = st.integers(0, 2**32 - 1)
gap_shares = st.sampled_from([0.0, 0.05, 0.7])
lengths = st.integers(1, 200)


def panel(values):
    return Panel(values, np.ones(values.shape, dtype=bool))


def walks(seed, rows, gaps):
    return np.column_stack([walk(seed, rows, gaps), walk(seed + 1, rows, gaps)])


def volatility(price):
    return panel(ew_std(price.values - lag(price.values), decay_of_span(35), 10))


def close(one, other, size=1.0):
    np.testing.assert_allclose(one, other, rtol=1e-8, atol=1e-9 * size, equal_nan=True)


# One column at a time, straight from the definition.


def mean_by_definition(values, decay, min_periods):
    out, total, weight, count = [], 0.0, 0.0, 0
    for value in values:
        total, weight = total * decay, weight * decay
        if not math.isnan(value):
            total, weight, count = total + value, weight + 1.0, count + 1
        out.append(total / weight if count >= min_periods else math.nan)
    return out


def deviation_by_definition(values, decay, min_periods):
    out = []
    for row in range(len(values)):
        past = values[: row + 1]
        known = ~np.isnan(past)
        weights = (decay ** np.arange(row, -1, -1.0))[known]
        if known.sum() < min_periods:
            out.append(math.nan)
            continue
        mean = (weights * past[known]).sum() / weights.sum()
        spread = (weights * (past[known] - mean) ** 2).sum() / weights.sum()
        out.append(math.sqrt(spread * weights.sum() ** 2 / (weights.sum() ** 2 - (weights**2).sum())))
    return out


@examples
@given(seed=seeds, rows=lengths, gaps=gap_shares, span=st.integers(2, 300), needed=st.integers(1, 20))
def test_exponential_mean_is_its_definition(seed, rows, gaps, span, needed):
    values = walks(seed, rows, gaps)
    ours = ew_mean(values, decay_of_span(span), needed)
    for column in range(2):
        close(ours[:, column], mean_by_definition(values[:, column], decay_of_span(span), needed), 100)


@examples
@given(seed=seeds, rows=lengths, gaps=gap_shares, span=st.integers(3, 100), needed=st.integers(2, 20))
def test_exponential_deviation_is_its_definition(seed, rows, gaps, span, needed):
    values = walks(seed, rows, gaps) - 100.0
    ours = ew_std(values, decay_of_span(span), needed)
    for column in range(2):
        expected = deviation_by_definition(values[:, column], decay_of_span(span), needed)
        np.testing.assert_allclose(ours[:, column], expected, rtol=1e-6, equal_nan=True)


@examples
@given(seed=seeds, rows=lengths, window=st.integers(1, 50))
def test_rolling_windows_are_their_definition(seed, rows, window):
    values = walks(seed, rows, 0.0)
    for combine, identity, plain in ((np.maximum, -np.inf, np.max), (np.add, 0.0, np.sum)):
        expected = [plain(values[max(0, row - window + 1) : row + 1], axis=0) for row in range(rows)]
        close(rolling(values, window, combine, identity), expected, 1e4)
    close(rolling_count(values > 100, window), rolling((values > 100) * 1.0, window, np.add, 0.0))


def test_a_gap_of_years_keeps_the_mean():
    values = np.full((5000, 1), np.nan)
    values[[0, 1]] = 3.0
    assert ew_mean(values, decay_of_span(4))[-1, 0] == pytest.approx(3.0, rel=1e-12)


def test_filling_reaches_across_any_gap_but_not_before_the_start():
    column = np.array([math.nan, 1.0, math.nan, math.nan, 2.0])
    np.testing.assert_array_equal(forward_fill(column[:, None])[:, 0], [math.nan, 1.0, 1.0, 1.0, 2.0])


@examples
@given(seed=seeds, rows=lengths, gaps=gap_shares, shift=st.floats(-500, 500), scale=st.floats(0.1, 50))
def test_trend_ignores_the_level_and_unit_of_price(seed, rows, gaps, shift, scale):
    price = panel(walks(seed, rows, gaps))
    moved = panel(price.values * scale + shift)
    for rule in (lambda p: ewmac(p, volatility(p), 4, 16), lambda p: accel(p, volatility(p), 8)):
        close(rule(moved), rule(price), 100)
    close(breakout(moved, 20), breakout(price, 20), 100)


@examples
@given(seed=seeds, rows=lengths, gaps=gap_shares)
def test_a_market_upside_down_has_the_opposite_forecast(seed, rows, gaps):
    price, carried = panel(walks(seed, rows, gaps)), panel(walks(seed, rows, gaps) - 100)
    upside_down = panel(-price.values)
    close(ewmac(upside_down, volatility(price), 4, 16), -ewmac(price, volatility(price), 4, 16))
    close(accel(upside_down, volatility(price), 8), -accel(price, volatility(price), 8))
    close(breakout(upside_down, 20), -breakout(price, 20))
    close(carry(panel(-carried.values), 10), -carry(carried, 10))


@examples
@given(seed=seeds, rows=lengths, gaps=gap_shares, lookback=st.integers(2, 60))
def test_breakout_stays_within_twenty_and_waits_for_half_its_window(seed, rows, gaps, lookback):
    price = walks(seed, rows, gaps)
    forecast = breakout(panel(price), lookback)
    assert np.nanmax(np.abs(forecast), initial=0.0) <= 20.0 + 1e-9
    present = np.cumsum(~np.isnan(price), axis=0)
    assert np.isnan(forecast[present < math.ceil(lookback / 2)]).all()


def test_a_steady_rise_is_long_on_trend_and_at_the_top_of_its_range():
    price = panel(np.arange(200.0)[:, None] + np.tile([0.0, 0.5], 100)[:, None])
    assert ewmac(price, volatility(price), 4, 16)[-1, 0] > 0
    assert breakout(price, 20)[-1, 0] > 15
    assert abs(accel(price, volatility(price), 8)[-1, 0]) < 1


def test_carry_is_smoothed_with_a_centre_of_mass():
    values = np.array([[1.0], [0.0], [math.nan], [4.0]])
    q = decay_of_com(2)
    expected = (1.0 * q**3 + 4.0) / (q**3 + q**2 + 1.0)
    assert carry(panel(values), 2)[-1, 0] == pytest.approx(expected)


@examples
@given(seed=seeds, gaps=gap_shares)
def test_relative_momentum_is_none_for_an_instrument_alone_in_its_class(seed, gaps):
    own = panel(walks(seed, 100, gaps))
    assert np.isnan(relative_momentum(own, own, 10)).all()


def test_relative_momentum_is_the_daily_gain_on_the_class():
    days = np.arange(60.0)[:, None]
    forecast = relative_momentum(panel(0.3 * days + 1.0), panel(0.1 * days), 10)
    assert np.isnan(forecast[:10]).all()
    close(forecast[10:], np.full((50, 1), 0.2))
