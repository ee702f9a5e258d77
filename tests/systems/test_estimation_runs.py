"""Backtests that estimate their parameters on small made-up markets."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pysys.domain.errors import ConfigError
from pysys.systems.backtest import run_backtest
from pysys.systems.backtest_config import ESTIMATE_FLAGS
from pysys.systems.backtest_files import write_result
from pysys.systems.backtest_yaml import read_backtest_config
from pysys.systems.config_checks import ConfigWarning
from pysys.systems.estimation.tables import ESTIMATE_TABLES, estimate_table
from tests.systems.markets import FACTS, RULES, configuration, first_rows, instrument, market, walk

CODES = ["CORN", "WHEAT", "GOLD"]
ALL = dict.fromkeys(ESTIMATE_FLAGS, True)
QUICK = {"forecast_scalar_estimate": {"min_periods": 100}}
WEIGHTS = ("forecast_weight_estimate", "instrument_weight_estimate")
MULTIPLIERS = ("forecast_correlation_estimate", "instrument_correlation_estimate")


def three_instruments(seed=1, rows=1200):
    return [
        instrument("CORN", walk(seed, rows)),
        instrument("WHEAT", walk(seed + 1, rows - 300, 0.05), start=business_day(300)),
        instrument("GOLD", walk(seed + 2, rows - 100), start=business_day(100)),
    ]


def business_day(rows):
    return str(np.busday_offset("2020-01-06", rows))


def estimated(codes=CODES, seed=1, **keys):
    return run_backtest(configuration(codes, **{**ALL, **QUICK, **keys}), market(*three_instruments(seed)))


def same(ours, other):
    np.testing.assert_allclose(ours, other, rtol=1e-7, atol=1e-9, equal_nan=True)


@pytest.mark.parametrize("flag", ESTIMATE_FLAGS)
def test_each_parameter_can_be_estimated_alone(flag):
    config = configuration(CODES, **QUICK, **{flag: True})
    fixed = run_backtest(configuration(CODES), market(*three_instruments()))
    alone = run_backtest(config, market(*three_instruments()))
    touched = {
        "use_forecast_scale_estimates": {"scalar_ewmac4_16"},
        "use_forecast_weight_estimates": {"fw_ewmac4_16"},
        "use_forecast_div_mult_estimates": {"forecast_div_multiplier"},
        "use_instrument_weight_estimates": {"instrument_weight"},
        "use_instrument_div_mult_estimates": {"instrument_div_multiplier"},
    }
    for other, names in touched.items():
        for name in names:
            if name == "instrument_weight" and other != flag:
                continue  # smoothed from the first position on, which scalars may move
            unchanged = np.array_equal(alone.values(name), fixed.values(name), equal_nan=True)
            assert unchanged is (other != flag), name
    assert np.isfinite(alone.portfolio["net"]).all()


def assert_shares(weights):
    """Adding up to 1 from the end of the first week on."""
    np.testing.assert_allclose(weights.iloc[5:].sum(axis=1), 1.0)
    assert (weights.fillna(0.0) >= 0.0).all().all()


@pytest.mark.parametrize("date_method", ["expanding", "rolling", "in_sample"])
@pytest.mark.parametrize("method", ["handcraft", "shrinkage", "one_period", "equal_weights"])
def test_every_method_gives_shares(method, date_method):
    how = {"method": method, "date_method": date_method, "rollyears": 1}
    dates = {"date_method": date_method, "rollyears": 1}
    result = estimated(**dict.fromkeys(WEIGHTS, how), **dict.fromkeys(MULTIPLIERS, dates))
    weights = estimate_table(result, "forecast_weights").dropna(how="all")
    assert_shares(weights.loc["CORN"])
    assert_shares(estimate_table(result, "instrument_weights"))
    multipliers = estimate_table(result, "forecast_div_multiplier")
    assert not ((multipliers < 1.0 - 1e-9) | (multipliers > 2.5)).any().any()
    assert (multipliers.iloc[-1] > 1.05).all() or method == "one_period"  # which may put all in one rule
    assert estimate_table(result, "instrument_div_multiplier")["idm"].iloc[-1] > 1.2
    if method == "equal_weights" and date_method == "in_sample":
        np.testing.assert_allclose(weights.iloc[-1], 1.0 / len(RULES))


METHODS = ("handcraft", "shrinkage", "one_period")
seeds = st.integers(0, 2**32 - 10)


@settings(max_examples=6, deadline=None)
@given(seed=seeds, order=st.permutations(CODES), method=st.sampled_from(METHODS))
def test_the_order_of_instruments_does_not_matter(seed, order, method):
    how = {section: {"method": method} for section in WEIGHTS}
    one_way, other_way = estimated(CODES, seed, **how), estimated(order, seed, **how)
    names = [name for name in one_way.names if name.split("_")[0] in ("scalar", "fw", "forecast", "instrument")]
    for code in CODES:
        for name in [*names, "notional_position"]:
            same(one_way.series_of(name, code), other_way.series_of(name, code))


SEVEN_YEARS = 5 * 365  # business days of seven years of 365 days: yearly cut points fall on the same days again
FREE = replace(FACTS, spread_cost=0.0, per_block=0.0)  # costs are those of now over the whole history, by design


@pytest.mark.parametrize("date_method", ["expanding", "rolling"])
@pytest.mark.parametrize("method", METHODS)
def test_years_to_come_never_change_an_estimate_nor_a_position(method, date_method):
    window = {"date_method": date_method, "rollyears": 1}
    config = configuration(
        CODES,
        **ALL,
        forecast_scalar_estimate={"min_periods": 100, "backfill": False},
        **{section: {"method": method, **window} for section in WEIGHTS},
        **dict.fromkeys(MULTIPLIERS, window),
    )
    now = [replace(one, meta=FREE) for one in three_instruments(7, 900 + SEVEN_YEARS)]
    then = [first_rows(one, len(one.adjusted) - SEVEN_YEARS) for one in now]
    later, earlier = run_backtest(config, market(*now)), run_backtest(config, market(*then))
    wanted = {"scalar", "fw", "forecast", "instrument", "subsystem", "notional", "buffered"}
    for code in CODES:
        for name in [name for name in earlier.names if name.split("_")[0] in wanted]:
            past = earlier.series_of(name, code)
            same(later.series_of(name, code).reindex(past.index), past)
    assert len(estimate_table(earlier, "raw_instrument_weights")) >= 3
    assert earlier.values("notional_position")[-1].any()


def test_twice_the_capital_is_twice_the_position_when_forecasts_are_estimated():
    flags = [flag for flag in ESTIMATE_FLAGS if flag.startswith("use_forecast")]
    config = configuration(CODES, **dict.fromkeys(flags, True), **QUICK)
    once, twice = (run_backtest(config, market(*three_instruments()), capital=capital) for capital in (3e6, 6e6))
    np.testing.assert_allclose(twice.values("notional_position"), 2.0 * once.values("notional_position"), rtol=1e-9)


def test_the_order_of_rules_does_not_matter():
    backwards = {name: RULES[name] for name in reversed(RULES)}
    assert list(backwards) != list(RULES)
    one_way = configuration(CODES, **ALL, **QUICK)
    other_way = configuration(
        CODES, trading_rules={name: one_way.as_yaml_keys()["trading_rules"][name] for name in backwards}, **ALL, **QUICK
    )
    data = market(*three_instruments())
    for code in CODES:
        same(
            run_backtest(one_way, data).series_of("notional_position", code),
            run_backtest(other_way, data).series_of("notional_position", code),
        )


@pytest.mark.parametrize(
    ("section", "keys"),
    [
        ("forecast_scalar_estimate", {"pool_instruments": False, "min_periods": 100}),
        ("forecast_weight_estimate", {"pool_gross_returns": False}),
        ("forecast_weight_estimate", {"frequency": "D"}),
        ("forecast_weight_estimate", {"frequency": "M"}),
        ("forecast_weight_estimate", {"equalise_gross": True}),
        ("forecast_weight_estimate", {"cost_multiplier": 0.0}),
        ("forecast_weight_estimate", {"apply_cost_weight": True}),
        ("instrument_weight_estimate", {"apply_cost_weight": True}),
        ("forecast_weight_estimate", {"method": "shrinkage", "shrinkage_corr": 0.0}),
        ("forecast_correlation_estimate", {"pool_instruments": False}),
        ("forecast_cost_estimates", {"use_pooled_costs": True, "use_pooled_turnover": False}),
        ("instrument_weight_estimate", {"equalise_SR": False}),
        ("instrument_weight_estimate", {"method": "one_period", "equalise_SR": False, "equalise_gross": True}),
        ("instrument_correlation_estimate", {"using_exponent": False}),
    ],
)
def test_a_choice_makes_a_difference_and_still_trades(section, keys):
    usual, chosen = estimated(), estimated(**{section: keys})
    assert not np.allclose(usual.values("notional_position"), chosen.values("notional_position"), equal_nan=True)
    assert np.isfinite(chosen.values("notional_position")[-1]).all()


def test_costs_can_move_fitted_weights_to_what_is_cheap():
    before = {"forecast_weight_estimate": {"cost_multiplier": 0.0}, "instrument_weight_estimate": {}}
    after = {name: {**keys, "apply_cost_weight": True} for name, keys in before.items()}
    usual, leant = estimated(**before), estimated(**after)
    costs = estimate_table(usual, "sr_costs").loc["CORN"]
    ratio = [estimate_table(one, "raw_forecast_weights").loc["CORN"].iloc[-1] for one in (usual, leant)]
    change = (ratio[1] / ratio[0])[costs.sort_values().index]
    assert change.is_monotonic_decreasing and change.iloc[0] > 1.0 > change.iloc[-1]
    assert ratio[1].sum() == pytest.approx(1.0)
    assert_shares(estimate_table(leant, "instrument_weights"))


def test_pooled_costs_give_every_instrument_the_same_weights():
    cheap_and_dear = three_instruments()
    config = configuration(CODES, **ALL, **QUICK, forecast_cost_estimates={"use_pooled_costs": True})
    raw = estimate_table(run_backtest(config, market(*cheap_and_dear)), "raw_forecast_weights")
    same(raw.loc["CORN"], raw.loc["GOLD"])


def test_rules_above_the_ceiling_of_costs_are_not_traded():
    costs = estimate_table(estimated(), "sr_costs")
    ceiling = float(costs.loc["CORN"].median())
    dear = costs.columns[costs.loc["CORN"] > ceiling]
    assert len(dear) == 2
    before = estimated(forecast_weight_estimate={"ceiling_cost_SR": ceiling})
    after = estimated(forecast_post_ceiling_cost_SR=ceiling)
    for rule in dear:
        assert before.series_of(f"fw_{rule}", "CORN").isna().all()
        assert after.series_of(f"fw_{rule}", "CORN").iloc[-1] < 0.01
    assert list(before.estimates.forecasts.raw_weights["CORN"].names) == [c for c in costs.columns if c not in dear]


def test_days_on_which_nothing_is_known_keep_the_weights_there_were():
    late = {"forecast_weight_estimate": {"mean_estimate": {"min_periods": 100_000}}}
    result = estimated(**late)
    raw = estimate_table(result, "raw_forecast_weights")
    assert raw.loc["CORN"].iloc[1:].isna().all().all()
    assert_shares(estimate_table(result, "forecast_weights").loc["CORN"])
    assert np.isfinite(result.values("notional_position")[-1]).all()


def test_instruments_that_have_not_begun_diversify_nothing():
    idm = estimate_table(estimated(), "instrument_div_multiplier")["idm"]
    assert idm.iloc[:250].to_numpy() == pytest.approx(1.0, abs=0.01)  # of three, only one has a history by then
    assert idm.iloc[-1] > 1.2


def test_one_instrument_with_one_rule_has_all_the_weight():
    rule = configuration(["CORN"]).as_yaml_keys()["trading_rules"]["ewmac4_16"]
    config = configuration(
        ["CORN"], trading_rules={"trend": rule}, forecast_scalars={}, forecast_weights={}, **ALL, **QUICK
    )
    result = run_backtest(config, market(instrument("CORN", walk(1, 900))))
    assert result.series_of("fw_trend", "CORN").iloc[-1] == 1.0
    assert result.values("forecast_div_multiplier")[-1, 0] == pytest.approx(1.0)
    assert result.values("instrument_div_multiplier")[-1, 0] == pytest.approx(1.0)


ODD = {
    "a few weeks": walk(1, 30),
    "one day": walk(1, 1),
    "never a price": np.full(900, np.nan),
    "a price that never moves": np.full(900, 100.0),
    "ten days": walk(1, 10),
    "all zero": np.zeros(900),
    "negative": -walk(4, 900),
    "crossing zero": walk(4, 900) - 100.0,
    "gaps": walk(2, 900, 0.6),
    "half a year without a price": np.where((np.arange(900) > 300) & (np.arange(900) < 430), np.nan, walk(2, 900)),
    "stops moving": np.concatenate([walk(3, 500), np.full(400, walk(3, 500)[-1])]),
}
NEVER_TRADED = ("one day", "never a price", "a price that never moves", "ten days", "all zero")


@pytest.mark.parametrize("cleaning", [False, True])
@pytest.mark.parametrize("name", ODD)
def test_odd_prices_run_to_the_end_and_leave_the_others_their_share(name, cleaning):
    how = {"correlation_estimate": {"cleaning": cleaning}}
    unequal = {**how, "equalise_SR": False, "method": "one_period" if cleaning else "handcraft"}
    config = configuration(
        ["ODD", "CORN", "WHEAT"], **ALL, **QUICK, forecast_weight_estimate=how, instrument_weight_estimate=unequal
    )
    others = [instrument("CORN", walk(5, 900)), instrument("WHEAT", walk(6, 900))]
    result = run_backtest(config, market(instrument("ODD", ODD[name], level=0.0), *others))
    assert np.isfinite(result.portfolio["net"]).all()
    assert np.nanmax(np.abs(result.values("notional_position"))) < 1e6
    raw = estimate_table(result, "raw_instrument_weights")
    assert raw[["CORN", "WHEAT"]].notna().all().all()
    if name in NEVER_TRADED:
        assert (raw["ODD"].iloc[1:].fillna(0.0) <= 0.25).all()
        assert (result.series_of("buffered_position", "ODD") == 0.0).all()


def test_what_was_estimated_is_found_by_name():
    result = estimated()
    for name in ESTIMATE_TABLES:
        table = estimate_table(result, name)
        assert isinstance(table, pd.DataFrame)
        assert len(table)
    with pytest.raises(ConfigError, match="no estimate is called scalars; choose among forecast_scalars"):
        estimate_table(result, "scalars")
    fixed = run_backtest(configuration(CODES), market(*three_instruments()))
    for name in ("raw_forecast_weights", "raw_instrument_weights", "forecast_correlations", "sr_costs"):
        with pytest.raises(ConfigError, match="this was not estimated; set use_"):
            estimate_table(fixed, name)


def test_a_run_that_estimates_can_be_run_again_from_its_files(tmp_path):
    result = estimated()
    write_result(result, tmp_path)
    with pytest.warns(ConfigWarning, match="forecast_scalars, .*estimated ones count"):
        again = read_backtest_config(tmp_path / "config.yaml")
    assert again == result.config
    same(
        run_backtest(again, market(*three_instruments())).values("notional_position"),
        result.values("notional_position"),
    )


REFUSED = [
    (
        {"forecast_weight_estimate": {"method": "bootstrap"}},
        "method must be one of handcraft, shrinkage",
    ),
    (
        {"forecast_weight_estimate": {"date_method": "random"}},
        "date_method must be one of expanding, rolling",
    ),
    ({"forecast_weight_estimate": {"equalise_vols": False}}, "handcraft needs equalise_vols: True"),
    ({"forecast_weight_estimate": {"shrinkage_SR": 1.5}}, "shrinkage_SR must be between 0 and 1, not 1.5"),
    ({"forecast_weight_estimate": {"func": "my.optimiser"}}, "func my.optimiser is not known; use genericOptimiser"),
    ({"forecast_weight_estimate": {"vol_estimate": {"lookback": 5}}}, "vol_estimate: unknown key lookback"),
    ({"instrument_weight_estimate": {"ceiling_cost_SR": 5}}, "instrument_weight_estimate: unknown key ceiling_cost_SR"),
    ({"instrument_correlation_estimate": {"frequency": "2W"}}, "frequency must be one of D, W, M, not '2W'"),
    ({"instrument_div_mult_estimate": {"dm_max": 0.5}}, "dm_max must be at least 1"),
    ({"forecast_scalar_estimate": {"min_period": 5}}, "forecast_scalar_estimate: unknown key min_period"),
    ({"forecast_scalar_estimate": 5}, "forecast_scalar_estimate must be a table"),
]


@pytest.mark.parametrize(("keys", "message"), REFUSED, ids=[one[1][:40] for one in REFUSED])
def test_settings_that_cannot_be_honoured_are_refused(keys, message):
    with pytest.raises(ConfigError, match=message):
        configuration(CODES, **keys)
