"""Two backtests side by side: which positions differ today, and which stage made the difference."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pysys.systems.backtest import run_backtest
from pysys.systems.compare import compare_results
from tests.systems.markets import FACTS, SCALARS, configuration, instrument, market, walk

CODES = ["CORN", "WHEAT"]
STAGES_FROM = 5  # columns before the stages


def data(seed=1, facts=FACTS):
    return market(instrument("CORN", walk(seed, 200), facts=facts), instrument("WHEAT", walk(seed + 1, 200)))


def base(**keys):
    return configuration(CODES, forecast_cap=60.0, **keys)


def stages_that_changed(table):
    parts = table.iloc[:, STAGES_FROM:]
    return {name for name in parts.columns if (parts[name].abs() > 1e-6).any()} - {"whole_contracts"}


def test_a_backtest_does_not_differ_from_itself():
    result = run_backtest(base(), data())
    table = compare_results(result, result)
    assert (table["difference"] == 0).all()
    assert (table["first_stage"] == "").all() and (table["largest_stage"] == "").all()
    assert not stages_that_changed(table)


HALF = dict.fromkeys(("ewmac4_16", "breakout20", "accel8", "relmomentum10"), 0.15)
ONE_CHANGE = [
    ({"forecast_scalars": {**SCALARS, "carry10": 1.0}}, {"forecast carry10"}),
    ({"forecast_weights": {**HALF, "carry10": 0.4}}, {"forecast_weights"}),
    ({"forecast_div_multiplier": 2.0}, {"forecast_div_multiplier"}),
    ({"volatility_calculation": {"func": "mixed_vol_calc", "multiplier_to_get_daily_vol": 2.0}}, None),
    ({"instrument_weights": {"CORN": 0.3, "WHEAT": 0.7}}, {"instrument_weight"}),
    ({"instrument_div_multiplier": 2.0}, {"instrument_div_multiplier"}),
    ({"percentage_vol_target": 30.0}, {"percentage_vol_target"}),
    ({"notional_trading_capital": 20_000_000}, {"capital"}),
    ({"forecast_mapping": {"CORN": {"a_param": 2.0, "b_param": 1.5, "threshold": 1.0}}}, {"forecast_mapping"}),
    ({"risk_overlay": {"max_risk_fraction_normal_risk": 0.1}}, {"risk_overlay"}),
    ({"use_attenuation": ["carry10"]}, {"forecast carry10"}),
]


@pytest.mark.parametrize(("keys", "expected"), ONE_CHANGE, ids=[next(iter(keys)) for keys, _ in ONE_CHANGE])
def test_one_change_is_found_in_its_own_stage_alone(keys, expected):
    a, b = run_backtest(base(), data()), run_backtest(base(**keys), data())
    table = compare_results(a, b)
    changed = stages_that_changed(table)
    if expected is None:
        assert "contract_risk" in changed
        assert not changed & {"forecast_weights", "instrument_weight", "capital"}
    else:
        assert changed <= expected and changed
    np.testing.assert_allclose(table.iloc[:, STAGES_FROM:].sum(axis=1), table["difference"], atol=1e-6)
    for code in CODES:
        assert table.loc[code, "position_a"] == a.series_of("buffered_position", code).iloc[-1]
        assert table.loc[code, "position_b"] == b.series_of("buffered_position", code).iloc[-1]


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), target=st.floats(5, 60), cap=st.sampled_from([5.0, 20.0]))
def test_stages_always_add_up_and_there_and_back_is_nothing(seed, target, cap):
    a = run_backtest(configuration(CODES, forecast_cap=cap), data(seed))
    dear = replace(FACTS, point_size=20.0)
    keys = {"percentage_vol_target": target, "forecast_weights": {"carry10": 1.0}}
    b = run_backtest(configuration(CODES, **keys), data(seed, dear))
    there, back = compare_results(a, b), compare_results(b, a).loc[CODES]
    np.testing.assert_allclose(there.iloc[:, STAGES_FROM:].sum(axis=1), there["difference"], atol=1e-6)
    np.testing.assert_array_equal(there.loc[CODES, "difference"], -back["difference"])


def test_a_new_instrument_is_a_change_of_the_universe_and_comes_first_when_largest():
    both = run_backtest(base(), data())
    alone = run_backtest(both.config.restricted_to(["CORN"]), data())
    table = compare_results(alone, both)
    assert table.loc["WHEAT", "position_a"] == 0
    assert table.loc["WHEAT", "universe"] == table.loc["WHEAT", "difference"]
    assert table.loc["CORN", "first_stage"] != "universe"
    sizes = table["difference"].abs().to_numpy()
    assert (sizes[:-1] >= sizes[1:]).all()


def test_buffer_and_optimising_show_as_whole_contracts():
    a, b = run_backtest(base(), data()), run_backtest(base(buffer_size=0.9, buffer_method="forecast"), data())
    table = compare_results(a, b)
    assert not stages_that_changed(table)
    np.testing.assert_allclose(table["whole_contracts"], table["difference"], atol=1e-6)
    assert set(table.loc[table["difference"] != 0, "first_stage"]) <= {"whole_contracts"}
    small = run_backtest(configuration(CODES, notional_trading_capital=100_000, small_system={}), data())
    plain = run_backtest(configuration(CODES, notional_trading_capital=100_000), data())
    table = compare_results(plain, small)
    assert table.loc["CORN", "position_b"] == small.series_of("optimised_position", "CORN").iloc[-1]
