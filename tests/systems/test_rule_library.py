"""Every established rule, on the data its configuration names, against what must hold whatever the prices."""

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pysys.domain.errors import ConfigError
from pysys.systems.backtest import run_backtest
from pysys.systems.backtest_config import RuleSpec
from pysys.systems.established_rules import ESTABLISHED_RULES
from pysys.systems.factors import DEMEAN_METHODS, rolling_skew
from pysys.systems.raw_data import Panel, raw_data
from pysys.systems.rule_functions import find_rule, raw_forecast
from pysys.systems.rule_library import long_term_value, mr_wings
from pysys.systems.smoothing import lag
from pysys.systems.volatility import MixedVolatility
from tests.systems.markets import FACTS, configuration, first_rows, instrument, market, walk

PRICE, VOL = "rawdata.get_daily_prices", "rawdata.daily_returns_volatility"
OWN, CLASS = "rawdata.get_cumulative_daily_vol_normalised_returns", "rawdata.normalised_price_for_asset_class"
FACTOR = "rawdata.get_demeanded_factor_value"
SKEW = {"smooth": 10, "_factor_name": "neg_skew", "_lookback_days": 40}
ALL = {
    "ewmac": ("ewmac.ewmac", [PRICE, VOL], {"Lfast": 4}),
    "own volatility": ("ewmac.ewmac_calc_vol", [PRICE], {"Lfast": 4, "Lslow": 16}),
    "defaults": ("ewmac.ewmac_forecast_with_defaults", [PRICE], {}),
    "normalised momentum": ("ewmac.ewmac_calc_vol", [OWN], {"Lfast": 4}),
    "asset trend": ("ewmac.ewmac_calc_vol", [CLASS], {"Lfast": 4}),
    "carry": ("carry.carry", ["rawdata.raw_carry"], {"smooth_days": 10}),
    "relative carry": ("carry.relative_carry", ["rawdata.smoothed_carry", "rawdata.median_carry_for_asset_class"], {}),
    "breakout": ("breakout.breakout", [PRICE], {"lookback": 20}),
    "accel": ("accel.accel", [PRICE, VOL], {"Lfast": 8}),
    "relative momentum": ("rel_mom.relative_momentum", [OWN, CLASS], {"horizon": 10}),
    "mean reversion": ("cs_mr.cross_sectional_mean_reversion", [OWN, CLASS], {"horizon": 40}),
    "wings": ("mr_wings.mr_wings", [PRICE, VOL], {"Lfast": 4}),
    "value": ("value.long_term_value", [OWN], {"horizon": 60}),
    **{f"skew, {name}": ("factors.factor_trading_rule", [FACTOR], {**SKEW, "_demean_method": name})
       for name in DEMEAN_METHODS},
}  # fmt: skip
CLASSES = ("Ags", "Ags", "Metals", "Ags")

examples = settings(max_examples=12, deadline=None)
seeds = st.integers(0, 2**32 - 1)
gap_shares = st.sampled_from([0.0, 0.05, 0.6])
lowered = st.sampled_from([0.0, 100.0, 300.0])  # above zero, through it, below it


def spec(name):
    function, data, arguments = ALL[name]
    return RuleSpec(name, f"systems.provided.rules.{function}", tuple(data), arguments)


def four_instruments(seed, gaps, lower=0.0, rows=130):
    """They start three weeks after each other and end on the same day; prices are around 100, `lower` less."""
    return [
        instrument(
            code,
            walk(seed + n, rows - 15 * n, gaps) - lower,
            start=str(np.busday_offset("2020-01-06", 15 * n)),
            facts=replace(FACTS, asset_class=CLASSES[n]),
            level=0.0,
        )
        for n, code in enumerate("ABCD")
    ]


def forecasts(series, names=ALL):
    """Rule -> instrument -> forecasts by date."""
    raw = raw_data(series, MixedVolatility())
    dates = raw.grid.dates
    out = {}
    for name in names:
        panel = raw_forecast(spec(name), find_rule(spec(name), raw.grid), raw)
        assert not np.isinf(panel.values).any()
        out[name] = {
            code: dict(zip(dates[panel.index[:, column]], panel.values[panel.index[:, column], column], strict=True))
            for column, code in enumerate(raw.codes)
        }
    return out


def assert_same(ours, other, rtol=1e-8):
    for name in other:
        for code, past in other[name].items():
            now = [ours[name][code][day] for day in past]
            np.testing.assert_allclose(
                now, list(past.values()), rtol=rtol, atol=1e-9, equal_nan=True, err_msg=f"{name} of {code}"
            )


def test_the_table_covers_every_established_rule():
    assert {f"systems.provided.rules.{function}" for function, _, _ in ALL.values()} == set(ESTABLISHED_RULES)


@examples
@given(seed=seeds, gaps=gap_shares, lower=lowered, cut=st.integers(1, 60))
def test_days_to_come_never_change_a_forecast(seed, gaps, lower, cut):
    series = four_instruments(seed, gaps, lower)
    then = [first_rows(one, len(one.adjusted) - cut) for one in series]
    assert_same(forecasts(series), forecasts(then))


@examples
@given(seed=seeds, gaps=gap_shares, lower=lowered, order=st.permutations(range(4)))
def test_the_order_of_instruments_changes_nothing(seed, gaps, lower, order):
    series = four_instruments(seed, gaps, lower)
    assert_same(forecasts([series[n] for n in order]), forecasts(series))


@examples
@given(seed=seeds, gaps=gap_shares, lower=lowered, which=st.integers(0, 3), power=st.integers(-6, 8))
def test_the_unit_of_a_price_does_not_matter(seed, gaps, lower, which, power):
    series = four_instruments(seed, gaps, lower)
    one, scale = series[which], 2.0**power  # exact in binary, so thresholds are met or not as before
    many = one.multiple
    rescaled = replace(
        one,
        adjusted=replace(one.adjusted, price=one.adjusted.price * scale),
        multiple=replace(many, price=many.price * scale, carry=many.carry * scale),
    )
    before = forecasts(series)
    assert_same(forecasts([rescaled if n == which else other for n, other in enumerate(series)]), before)


ODD_PRICES = {
    "constant": np.full(300, 100.0),
    "straight line": np.arange(300) * 0.25,
    "crossing zero": 20.0 - np.arange(300) * 0.15 + np.tile([0.0, 1.0, -1.0], 100),
    "negative": -walk(4, 300),
    "all zero": np.zeros(300),
    "ten days": walk(1, 10),
    "one day": walk(1, 1),
    "never a price": np.full(50, np.nan),
    "two months without a price": np.where((np.arange(300) > 80) & (np.arange(300) < 125), np.nan, walk(2, 300)),
    "stops moving, then jumps": np.concatenate([np.full(150, 50.0), [90.0], walk(3, 149)]),
}


@pytest.mark.parametrize("prices", ODD_PRICES.values(), ids=ODD_PRICES.keys())
def test_odd_prices_warn_of_nothing_and_are_never_infinite(prices):
    peers = [instrument("PEER", walk(5, 300)), instrument("ALSO", walk(6, 200))]
    forecasts([instrument("ODD", prices, level=0.0), *peers])


def test_ten_days_of_history_are_too_few_for_anything_that_needs_a_volatility():
    found = forecasts([instrument("NEW", walk(1, 10)), instrument("OLD", walk(2, 200))])
    for name in set(ALL) - {"breakout"}:
        assert np.isnan(list(found[name]["NEW"].values())).all(), name


def test_a_price_that_never_moves_has_no_forecast_of_its_own():
    found = forecasts([instrument("DEAD", np.full(300, 100.0))])
    for name in set(ALL) - {"carry", "wings"}:
        assert np.isnan(list(found[name]["DEAD"].values())).all(), name
    assert not np.nansum(np.abs(list(found["wings"]["DEAD"].values())))


def test_alone_in_its_class_there_is_nothing_relative():
    found = forecasts(four_instruments(2, 0.0))
    alone, among_peers = "C", "A"
    relative = ("relative carry", "relative momentum", "mean reversion")
    for name in (*relative, "skew, average_factor_value_in_asset_class_for_instrument"):
        assert np.isnan(list(found[name][alone].values())).all(), name
        assert not np.isnan(list(found[name][among_peers].values())).all(), name


def panel(values):
    values = np.asarray(values, dtype=float).reshape(len(values), -1)
    return Panel(values, np.ones(values.shape, dtype=bool))


def test_relative_carry_is_what_is_above_the_middle_of_the_class():
    raw = raw_data(four_instruments(3, 0.0), MixedVolatility())
    rule = spec("relative carry")
    relative = raw_forecast(rule, find_rule(rule, raw.grid), raw).values[-1]
    smoothed = raw.smoothed_carry.values[-1]
    peers = [0, 1, 3]
    np.testing.assert_allclose(np.nan_to_num(relative[peers]), smoothed[peers] - np.median(smoothed[peers]))


def test_the_wings_are_flat_in_the_middle_and_against_the_trend_beyond_three_deviations():
    price = np.tile([100.0, 101.0], 150)
    price[-3:] = [90.0, 80.0, 70.0]
    forecast = mr_wings(panel(price), panel(np.ones(300)), 4)[:, 0]
    assert (forecast[10:290] == 0.0).all()
    assert forecast[-1] > 0  # it fell: buy


def test_a_flat_wing_is_a_forecast_and_ends_the_one_before():
    prices = walk(1, 400)
    prices[200:203] -= np.array([15.0, 30.0, 45.0])
    prices[203:] -= 45.0
    wings = {"function": "systems.provided.rules.mr_wings.mr_wings", "data": [PRICE, VOL], "other_args": {"Lfast": 4}}
    config = configuration(
        ["CORN"], trading_rules={"wings": wings}, forecast_scalars={"wings": 1.0}, forecast_weights={"wings": 1.0}
    )
    combined = run_backtest(config, market(instrument("CORN", prices))).series_of("combined_forecast", "CORN")
    assert combined.iloc[195:215].max() > 1.0
    assert combined.iloc[-1] == 0.0


def test_long_term_value_is_the_fall_since_then_in_deviations_of_such_a_fall():
    falling = -0.1 * np.arange(400.0)
    value = long_term_value(panel(falling), 100)[:, 0]
    np.testing.assert_allclose(value[200:], 0.1 * 100 / math.sqrt(100))
    assert np.isnan(value[:90]).all()
    assert not np.isnan(value[105:]).any()


def test_skew_is_its_definition_and_long_what_crashes():
    values = np.array([0.01, 0.02, math.nan, 0.01, -0.09, 0.02, 0.0])
    known = values[~np.isnan(values)]
    n, off = len(known), known - known.mean()
    expected = n / ((n - 1) * (n - 2)) * (off**3).sum() / known.std(ddof=1) ** 3
    assert rolling_skew(values[:, None], 7)[-1, 0] == pytest.approx(expected)
    assert expected < 0
    assert np.isnan(rolling_skew(values[:, None], 7)[:3]).all()  # fewer than half the window
    assert np.isnan(rolling_skew(np.full((9, 1), 0.1), 5)).all()  # all alike


def test_percentage_returns_are_of_the_priced_contract_and_keep_the_sign_of_the_change():
    raw = raw_data([instrument("CORN", np.array([1.0, 3.0, 2.0, 2.0]), level=-10.0)], MixedVolatility())
    np.testing.assert_allclose(raw.daily_percentage_returns.values[1:, 0], [2 / 9, -1 / 7, 0.0])
    np.testing.assert_allclose(raw.daily_returns.values, raw.price.values - lag(raw.price.values))


def test_arguments_of_the_data_are_checked_by_name():
    raw = raw_data(four_instruments(1, 0.0), MixedVolatility())
    rule = spec(next(name for name in ALL if name.startswith("skew")))
    for wrong, message in [
        ({"_factor": "skew"}, "does not take"),
        ({"_factor_name": "beta"}, "no factor is called beta"),
        ({"_demean_method": "median"}, "no demean method is called median"),
    ]:
        asked = replace(rule, other_args=wrong)
        with pytest.raises(ConfigError, match=message):
            raw_forecast(asked, find_rule(asked, raw.grid), raw)
