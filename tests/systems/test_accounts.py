"""Where profit came from, what trading cost, and what compounding does, by hand and by what must add up."""

import math
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pysys.domain.errors import ConfigError, DataError
from pysys.systems.account_tables import (
    SOURCES,
    account_statistics,
    accounts_of,
    drawdown,
    drawdowns,
    rolling_volatilities,
    rolling_volatility,
)
from pysys.systems.attribution import (
    REST,
    Profit,
    contributions,
    portfolio_profit,
    profits_by_asset_class,
    profits_by_instrument,
    profits_by_rule,
    rule_account,
    rule_account_by_instrument,
    rule_positions,
)
from pysys.systems.backtest import run_backtest
from pysys.systems.backtest_yaml import parse_backtest_config
from pysys.systems.capital_multiplier import compounded
from pysys.systems.raw_data import Panel
from pysys.systems.sr_cost_account import daily_sr_costs, yearly_sr_costs
from pysys.systems.statistics import return_statistics
from tests.systems.markets import FACTS, configuration, first_rows, instrument, market, walk

NAN = math.nan
few_examples = settings(max_examples=10, deadline=None)
seeds = st.integers(0, 2**32 - 1)


def three_instruments(seed=1, gaps=0.0):
    return market(
        instrument("CORN", walk(seed, 160, gaps)),
        instrument("WHEAT", walk(seed + 1, 160, gaps)),
        instrument("GOLD", walk(seed + 2, 120, gaps), start="2020-03-02", facts=replace(FACTS, asset_class="Metals")),
    )


def three(**keys):
    return configuration(["CORN", "WHEAT", "GOLD"], **keys)


# Adding up.


@few_examples
@given(seed=seeds, gaps=st.sampled_from([0.0, 0.2]), sr=st.booleans(), small=st.booleans())
def test_instruments_classes_and_rules_each_add_up_to_the_portfolio(seed, gaps, sr, small):
    keys = {"small_system": {}, "notional_trading_capital": 200_000} if small else {}
    result = run_backtest(three(use_SR_costs=sr, **keys), three_instruments(seed, gaps))
    whole = portfolio_profit(result)
    for parts in (profits_by_instrument(result), profits_by_asset_class(result), profits_by_rule(result)):
        for name in ("gross", "costs", "net"):
            total = sum(np.nan_to_num(getattr(one, name)) for one in parts.values())
            np.testing.assert_allclose(total, np.nan_to_num(getattr(whole, name)), rtol=1e-9, atol=1e-6)


def test_an_asset_class_is_its_instruments():
    result = run_backtest(three(), three_instruments())
    alone, classes = profits_by_instrument(result), profits_by_asset_class(result)
    np.testing.assert_allclose(classes["Metals"].net, alone["GOLD"].net)
    np.testing.assert_allclose(classes["Ags"].net, alone["CORN"].net + alone["WHEAT"].net)


def test_positions_of_the_rules_make_the_notional_position_where_nothing_is_capped():
    result = run_backtest(three(forecast_cap=1000.0), three_instruments(gaps=0.2))
    together = sum(rule_positions(result).values())
    notional = np.nan_to_num(result.values("notional_position"))
    np.testing.assert_allclose(together, notional, rtol=1e-9, atol=1e-9)


def test_with_one_rule_and_no_cap_only_rounding_is_left_over():
    config = three(forecast_weights={"carry10": 1.0}, forecast_cap=1000.0, buffer_method="none")
    result = run_backtest(config, three_instruments())
    parts = profits_by_rule(result)
    assert set(parts) == {"carry10", REST}
    assert np.nansum(np.abs(parts[REST].gross)) < 0.02 * np.nansum(np.abs(parts["carry10"].gross))
    np.testing.assert_allclose(np.nan_to_num(parts["carry10"].costs), np.nan_to_num(portfolio_profit(result).costs))


def test_a_rule_alone_earns_what_its_forecast_would_have():
    result = run_backtest(configuration(["CORN"]), market(instrument("CORN", walk(3, 150))))
    alone = rule_account(result, "breakout20")
    forecast = result.series_of("fc_breakout20", "CORN").ffill()
    position = result.series_of("average_position", "CORN") * forecast / 10.0
    expected = (position.shift(2) * result.series_of("price", "CORN").diff() * FACTS.point_size).fillna(0.0)
    np.testing.assert_allclose(np.nan_to_num(alone.gross), expected, atol=1e-6)
    assert np.nansum(alone.costs) < 0 and not (alone.costs > 0).any()
    with pytest.raises(ConfigError, match="no rule of this backtest is called value"):
        rule_account(result, "value")


def test_contributions_share_out_profit_and_risk():
    profits = {
        "up": Profit(np.array([3.0, 1.0, 3.0, 1.0]), np.array([NAN, -1.0, NAN, NAN])),
        "flat": Profit(np.array([1.0, 1.0, 1.0, 1.0]), np.full(4, NAN)),
    }
    table = contributions(profits, capital=1000.0)
    assert list(table.index) == ["up", "flat"]
    assert list(table["gross"]) == [8.0, 4.0]
    assert list(table["costs"]) == [-1.0, 0.0]
    assert list(table["share_of_net"]) == pytest.approx([7 / 11, 4 / 11])
    assert list(table["share_of_risk"]) == pytest.approx([1.0, 0.0])
    assert table.loc["up", "net_ann_mean_pct"] == pytest.approx(7 / 4 / 10 * 256)


# How it went.


def test_drawdown_is_below_the_highest_total_so_far_and_its_worst_is_the_statistic():
    net = np.array([NAN, -10.0, 20.0, -5.0, NAN, 10.0, -30.0])
    ours = drawdown(net, 1000.0)
    np.testing.assert_allclose(ours, [NAN, 0.0, 0.0, -0.5, -0.5, 0.0, -3.0])
    assert np.nanmin(ours) == return_statistics(net / 10.0)["worst_drawdown"]


def test_rolling_volatility_is_the_deviation_of_its_window_and_waits_for_it():
    net = np.concatenate([np.full(5, NAN), np.random.default_rng(1).normal(size=50)])
    ours = rolling_volatility(net, 200.0, days=20)
    assert np.isnan(ours[:24]).all() and not np.isnan(ours[24:]).any()
    assert ours[-1] == pytest.approx(np.std(net[-20:] / 2.0, ddof=1) * 16)


def a_year_later():
    """One instrument from the start, and one that begins a year and a half later."""
    old, young = instrument("CORN", walk(1, 700)), instrument("GOLD", walk(2, 300), start="2021-07-19")
    metals = replace(young, meta=replace(FACTS, asset_class="Metals"))
    return run_backtest(configuration(["CORN", "GOLD"]), market(old, metals))


def test_a_young_market_is_measured_on_its_own_days():
    result = a_year_later()
    capital = result.config.notional_trading_capital
    whole = account_statistics(accounts_of(result, "instruments"), capital)
    known = result.instrument_stats["GOLD"]
    for ours, name in (("ann_mean", "net_ann_mean_pct"), ("ann_std", "net_ann_std_pct"), ("sharpe", "net_sharpe")):
        assert whole.loc[("GOLD", "net"), ours] == pytest.approx(known[name], rel=1e-12)
    by_class = contributions(profits_by_asset_class(result), capital).loc["Metals"]
    assert by_class["net_sharpe"] == pytest.approx(known["net_sharpe"], rel=1e-12)
    own = rule_account_by_instrument(result, "carry10")["GOLD"].net
    first = int(np.flatnonzero(~np.isnan(result.values("fc_carry10")[:, 1]))[0])
    assert first > 400 and np.isnan(own[:first]).all() and not np.isnan(own[first:]).any()


def test_every_source_has_the_statistics_of_gross_costs_and_net_and_the_portfolio_those_of_the_backtest():
    result = a_year_later()
    capital = result.config.notional_trading_capital
    for kind in SOURCES:
        accounts = accounts_of(result, kind)
        table = account_statistics(accounts, capital)
        assert set(table.index) == {(source, of) for source in accounts for of in ("gross", "costs", "net")}
        below, risk = drawdowns(accounts, capital, result.dates), rolling_volatilities(accounts, capital, result.dates)
        for source in accounts:
            assert below[source].min() == pytest.approx(table.loc[(source, "net"), "worst_drawdown"], nan_ok=True)
            assert risk[source].notna().sum() == max((~np.isnan(accounts[source].net)).sum() - 255, 0)
    portfolio = account_statistics(accounts_of(result, "portfolio"), capital).loc["portfolio"]
    for of, statistics in result.stats.items():
        assert {name: portfolio.loc[of, name] for name in statistics} == pytest.approx(statistics, nan_ok=True)
    with pytest.raises(ConfigError, match="choose among portfolio, asset classes"):
        accounts_of(result, "sectors")


def test_turnover_is_the_engines_and_of_several_the_mean_weighted_by_average_risk():
    result = a_year_later()
    turnovers = {code: one.turnover for code, one in profits_by_instrument(result).items()}
    assert turnovers == {code: pytest.approx(one["turnover"]) for code, one in result.instrument_stats.items()}
    assert profits_by_asset_class(result)["Metals"].turnover == pytest.approx(turnovers["GOLD"])
    low, high = sorted(turnovers.values())
    risk = np.nanmean(np.abs(result.sizing.average_position * result.sizing.risk.instr_value_vol), axis=0)
    expected = np.average([turnovers[code] for code in result.instruments], weights=risk)
    assert portfolio_profit(result).turnover == pytest.approx(expected)
    assert low < expected < high


# Costs in Sharpe ratio units.


def test_sr_costs_by_hand():
    dates = np.array(["2020-01-02", "2020-01-03", "2020-01-06", "2020-01-07"], dtype="datetime64[D]")
    held = Panel(np.array([[NAN], [2.0], [2.0], [0.0]]), np.ones((4, 1), dtype=bool))
    charged = daily_sr_costs(np.array([0.05]), dates, held, np.full((4, 1), 10.0), np.full((4, 1), 100.0))
    # 10 contracts of 100 a day are 16,000 of yearly risk; 5% of it a year is 800
    np.testing.assert_allclose(charged[:, 0], [0.0, -800 / 365.25, -3 * 800 / 365.25, -800 / 365.25])


def test_the_yearly_sr_cost_is_a_trade_times_turnover_and_two_trades_a_roll():
    result = run_backtest(configuration(["CORN"]), market(instrument("CORN", walk(1, 160))))
    facts, (price_vol,) = result.series[0].meta, np.nanmean(result.values("daily_returns_vol"), axis=0)
    a_trade = (facts.spread_cost * facts.point_size + facts.per_block) / (16 * price_vol * facts.point_size)
    idle, size = np.zeros((160, 1)), np.ones((160, 1))
    rolled_only = yearly_sr_costs(result.raw, [facts], idle, size)
    np.testing.assert_allclose(rolled_only, a_trade * 2 * 4)
    daily_reversal = np.tile([[1.0], [-1.0]], (80, 1))
    traded_too = yearly_sr_costs(result.raw, [facts], daily_reversal, size)
    np.testing.assert_allclose(traded_too, a_trade * (2 * 256 + 2 * 4))


def test_sr_costs_replace_cash_costs_and_leave_the_gross_profit():
    cash = run_backtest(three(), three_instruments())
    even = run_backtest(three(use_SR_costs=True), three_instruments())
    np.testing.assert_array_equal(even.values("gross"), cash.values("gross"))
    paid_cash, paid_even = (np.nansum(one.values("costs")) for one in (cash, even))
    assert paid_even < 0
    assert 0.2 < paid_even / paid_cash < 5.0
    assert even.config.as_yaml_keys()["use_SR_costs"] is True
    facts = replace(FACTS, spread_cost=0.2, per_block=4.0)
    dearer = run_backtest(
        configuration(["CORN"], use_SR_costs=True), market(instrument("CORN", walk(1, 160), facts=facts))
    )
    usual = run_backtest(configuration(["CORN"], use_SR_costs=True), market(instrument("CORN", walk(1, 160))))
    np.testing.assert_allclose(dearer.values("costs"), 2.0 * usual.values("costs"))


# Compounding.

GROSS = np.array([0.0, 10.0, -20.0, 30.0, 50.0])
COSTS = np.array([NAN, -2.0, NAN, NAN, -10.0])


def test_fixed_capital_changes_nothing():
    account = compounded(GROSS, COSTS, 100.0, "fixed")
    np.testing.assert_array_equal(account.multiplier, np.ones(5))
    np.testing.assert_allclose(account.net, GROSS + np.nan_to_num(COSTS))
    np.testing.assert_allclose(account.account_value, [100, 108, 88, 118, 158])


def test_full_compounding_by_hand():
    # Day 2 closes at 108 after 8 of profit; -20 was decided at 100 two closes before. Day 4 earns 30 on the 1.08 of
    # day 2, day 5 50 on the 0.88 of day 3, and pays 10 on the capital of day 4.
    account = compounded(GROSS, COSTS, 100.0, "full")
    on_day_4 = 88.0 + 30.0 * 1.08
    np.testing.assert_allclose(account.gross, [0, 10, -20, 32.4, 44.0])
    np.testing.assert_allclose(account.costs, [0, -2, 0, 0, -10 * on_day_4 / 100])
    np.testing.assert_allclose(account.multiplier, [1, 1.08, 0.88, 1.204, (on_day_4 + 44.0 - 12.04) / 100])
    np.testing.assert_allclose(account.capital, account.account_value)


def test_half_compounding_by_hand_never_grows_beyond_the_start():
    account = compounded(GROSS, COSTS, 100.0, "half")
    # 108 is capped at 100, the loss counts from there: 80; then 30 on the 1.00 of day 2 is capped again.
    np.testing.assert_allclose(account.multiplier, [1, 1, 0.8, 1, 1])
    np.testing.assert_allclose(account.gross, [0, 10, -20, 30, 40])
    np.testing.assert_allclose(account.account_value, [100, 108, 88, 118, 148])


def test_capital_that_is_gone_trades_nothing_more_and_is_never_negative():
    account = compounded(np.array([-150.0, 10.0, 20.0, 40.0]), np.zeros(4), 100.0, "full")
    np.testing.assert_allclose(account.multiplier, [0, 0.1, 0.1, 0.14])
    np.testing.assert_allclose(account.gross, [-150, 10, 0, 4])  # decided on 1.0, on 1.0, on nothing, on a tenth


@pytest.mark.parametrize("method", ["full", "half", "fixed"])
def test_the_configured_method_scales_positions_along_the_curve(method):
    func = f"syscore.capital.{method}_{'capital' if method == 'fixed' else 'compounding'}"
    result = run_backtest(three(capital_multiplier={"func": func}), three_instruments())
    whole = result.portfolio_returns
    capital = result.config.notional_trading_capital
    expected = compounded(whole["gross"], whole["costs"], capital, method)
    np.testing.assert_array_equal(result.compounded.multiplier, expected.multiplier)
    np.testing.assert_allclose(
        result.values("actual_position"), result.values("buffered_position") * expected.multiplier[:, None]
    )
    assert result.config.as_yaml_keys()["capital_multiplier"] == {"func": func}
    assert (method == "fixed") == bool((expected.multiplier == 1.0).all())


# Starting later.


def test_prices_before_the_start_date_are_as_if_they_were_not_there():
    corn = instrument("CORN", walk(1, 200))
    start = str(corn.adjusted.times[60].astype("datetime64[D]"))
    late = run_backtest(configuration(["CORN"], start_date=start), market(corn))
    cut = replace(
        corn,
        adjusted=type(corn.adjusted)(corn.adjusted.times[60:], corn.adjusted.price[60:]),
        multiple=replace(
            corn.multiple,
            **{name: getattr(corn.multiple, name)[60:] for name in corn.multiple.__dataclass_fields__},
        ),
    )
    expected = run_backtest(configuration(["CORN"]), market(cut))
    pd.testing.assert_frame_equal(late.positions, expected.positions)
    assert str(late.dates[0]) == start
    assert parse_backtest_config(late.config.as_yaml_keys()).start_date == start


def test_an_instrument_that_ended_before_the_start_date_is_refused_by_name():
    ended = first_rows(instrument("CORN", walk(1, 200)), 50)
    with pytest.raises(DataError, match="CORN: no prices since start_date 2020-09-01"):
        run_backtest(configuration(["CORN"], start_date="2020-09-01"), market(ended))
