"""What holds for a whole backtest, whatever the prices."""

import gc
import weakref
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pysys.domain.errors import ConfigError, DataError
from pysys.systems.account import roll_costs, trade_costs
from pysys.systems.backtest import run_backtest
from pysys.systems.config_checks import ConfigWarning
from pysys.systems.market_data import FxPrices
from pysys.systems.raw_data import Panel
from pysys.systems.rule_costs import sr_cost_per_trade
from pysys.systems.volatility import RobustVolatility
from tests.systems.markets import FACTS, SCALARS, configuration, first_rows, instrument, market, walk

seeds = st.integers(0, 2**32 - 1)
few_examples = settings(max_examples=15, deadline=None)
lowered = st.sampled_from([0.0, 100.0, 300.0])  # prices above zero, through it, below it
methods = st.sampled_from(["position", "forecast", "none"])
OPTIONAL = {
    "use_attenuation": ["ewmac4_16", "carry10"],
    "forecast_mapping": {"CORN": {"a_param": 1.5, "b_param": 2.0, "threshold": 4.0}},
    "risk_overlay": {"max_risk_fraction_normal_risk": 0.8, "max_risk_fraction_stdev_risk": 0.9},
}
optional_keys = st.sampled_from([{}, OPTIONAL])


def two_instruments(seed, gaps, rows=150, lower=0.0):
    """lower: than around 100, adjusted prices; raw ones are the same but for a level of 1000 where they are not."""
    how = {"level": 0.0} if lower else {}
    return [
        instrument("CORN", walk(seed, rows, gaps) - lower, **how),
        instrument("WHEAT", walk(seed + 1, rows - 40, gaps) - lower, start="2020-03-02", **how),
    ]


def same(ours, other):
    np.testing.assert_allclose(ours, other, rtol=1e-9, atol=1e-12, equal_nan=True)


@few_examples
@given(
    seed=seeds,
    gaps=st.sampled_from([0.0, 0.1, 0.6]),
    lower=lowered,
    cut=st.integers(1, 60),
    method=methods,
    keys=optional_keys,
)
def test_days_to_come_never_change_the_past(seed, gaps, lower, cut, method, keys):
    both = two_instruments(seed, gaps, lower=lower)
    config = configuration(["CORN", "WHEAT"], buffer_method=method, **keys)
    now = run_backtest(config, market(*both))
    then = run_backtest(config, market(*(first_rows(one, len(one.adjusted) - cut) for one in both)))
    for code in then.instruments:
        for name in then.names:
            if name == "costs":  # in today's volatility, by design
                continue
            past = then.series_of(name, code)
            same(now.series_of(name, code).reindex(past.index).to_numpy(), past.to_numpy())


@few_examples
@given(seed=seeds, gaps=st.sampled_from([0.0, 0.3]), lower=lowered, keys=optional_keys)
def test_the_order_of_instruments_does_not_matter(seed, gaps, lower, keys):
    both = two_instruments(seed, gaps, lower=lower)
    one_way = run_backtest(configuration(["CORN", "WHEAT"], **keys), market(*both))
    other_way = run_backtest(configuration(["WHEAT", "CORN"], **keys), market(*both))
    for code in one_way.instruments:
        for name in one_way.names:
            same(one_way.series_of(name, code), other_way.series_of(name, code))


ESTIMATED = dict.fromkeys(
    ("use_forecast_scale_estimates", "use_forecast_weight_estimates", "use_forecast_div_mult_estimates"), True
)


@pytest.mark.parametrize("keys", [{}, {"use_SR_costs": True, **OPTIONAL}, ESTIMATED])
def test_markets_that_are_too_many_to_be_worked_out_at_once_do_not_mix(keys):
    codes = [f"M{number:02}" for number in range(70)]
    facts = [replace(FACTS, point_size=1.0 + n, spread_cost=0.01 * n, asset_class=f"class {n % 9}") for n in range(70)]
    many = [instrument(code, walk(n, 150, 0.1), facts=facts[n]) for n, code in enumerate(codes)]
    mapped = {"forecast_mapping": {"M33": OPTIONAL["forecast_mapping"]["CORN"]}} if "forecast_mapping" in keys else {}
    one_way = run_backtest(configuration(codes, **keys | mapped), market(*many))
    other_way = run_backtest(configuration(codes[50:] + codes[:50], **keys | mapped), market(*many))
    for code in codes:
        for name in one_way.names:
            same(one_way.series_of(name, code), other_way.series_of(name, code))


@few_examples
@given(seed=seeds, shut=st.integers(100, 200), volatility=st.sampled_from(["robust_vol_calc", "mixed_vol_calc"]))
def test_another_market_changes_no_forecast_after_weeks_without_a_price(seed, shut, volatility):
    closed = np.r_[walk(seed, shut), np.full(15, np.nan), walk(seed + 1, 260 - shut)]
    both = market(instrument("CORN", closed), instrument("WHEAT", walk(seed + 2, 275)))
    keys = {"volatility_calculation": {"func": volatility}}
    rules = {"forecast_weights": {name: 0.25 for name in SCALARS if name != "relmomentum10"}}
    alone = run_backtest(configuration(["CORN"], **keys, **rules), both)
    beside = run_backtest(configuration(["CORN", "WHEAT"], **keys, **rules), both)
    for name in ("raw_accel8", "raw_ewmac4_16", "combined_forecast"):
        same(alone.series_of(name, "CORN"), beside.series_of(name, "CORN"))


def test_a_result_cannot_be_written_to_and_is_freed_with_its_last_name():
    result = run_backtest(configuration(["CORN"]), market(instrument("CORN", walk(1, 60))))
    for name in ("price", "fc_carry10"):
        with pytest.raises(ValueError, match="read-only"):
            result.values(name)[:] = 0.0
    known = weakref.ref(result)
    gc.disable()
    try:
        del result
        assert known() is None
    finally:
        gc.enable()


@few_examples
@given(seed=seeds, lower=lowered, method=methods, keys=optional_keys)
def test_twice_the_capital_is_twice_the_notional_position(seed, lower, method, keys):
    data = market(*two_instruments(seed, 0.1, lower=lower))
    config = configuration(["CORN", "WHEAT"], buffer_method=method, **keys)
    once, twice = run_backtest(config, data, capital=3e6), run_backtest(config, data, capital=6e6)
    for name in ("notional_position", "buffer_lower", "buffer_upper"):
        np.testing.assert_array_equal(twice.values(name), 2.0 * once.values(name))


@few_examples
@given(seed=seeds, method=methods, to_edge=st.booleans())
def test_a_held_position_is_whole_and_inside_the_rounded_buffer(seed, method, to_edge):
    data = market(*two_instruments(seed, 0.1))
    config = configuration(["CORN", "WHEAT"], buffer_method=method, buffer_trade_to_edge=to_edge)
    result = run_backtest(config, data)
    held = result.values("buffered_position")
    lower, upper = np.rint(result.values("buffer_lower")), np.rint(result.values("buffer_upper"))
    known = ~np.isnan(lower)
    assert (held[known] == np.rint(held[known])).all()
    assert (held[known] >= lower[known]).all()
    assert (held[known] <= upper[known]).all()


def test_profit_is_the_position_of_two_closes_ago_times_the_move_of_today():
    result = run_backtest(configuration(["CORN"]), market(instrument("CORN", walk(3, 150))))
    decided, price = result.series_of("buffered_position", "CORN"), result.series_of("price", "CORN")
    expected = (decided.shift(2) * price.diff() * FACTS.point_size).fillna(0.0)
    assert decided.abs().max() > 0
    same(result.series_of("gross", "CORN"), expected)


levels = st.sampled_from([1000.0, -80.0, -130.0, -1000.0])  # of a raw price around 100 more than that


@few_examples
@given(seed=seeds, level=levels, shift=st.sampled_from([0.0, 150.0]), sr=st.booleans())
def test_a_price_below_zero_turns_no_position_around_and_no_cost_into_a_gain(seed, level, shift, sr):
    dear = replace(FACTS, percentage=0.01)
    corn = instrument("CORN", walk(seed, 150) - shift, level=level + shift, facts=dear)
    config = configuration(["CORN"], use_SR_costs=sr)
    result = run_backtest(config, market(corn))
    sized = ~np.isnan(result.values("subsystem_position"))
    assert sized.sum() > 100
    for name in ("subsystem_position", "notional_position"):
        signs = np.sign(result.values(name)[sized])
        np.testing.assert_array_equal(signs, np.sign(result.values("combined_forecast")[sized]))
    assert (result.values("vol_scalar")[sized] > 0).all()
    usual = run_backtest(config, market(instrument("CORN", walk(seed, 150) - shift, facts=dear)))
    known = ~np.isnan(result.values("daily_pct_vol"))  # which a price of exactly 0 has none of
    same(result.values("subsystem_position")[known], usual.values("subsystem_position")[known])
    np.testing.assert_array_equal(np.isnan(result.values("instr_value_vol")), np.isnan(usual.values("instr_value_vol")))
    assert (np.nan_to_num(result.values("costs")) <= 0).all()


def test_percentage_commission_is_on_the_size_of_the_price():
    held, price = np.array([[0.0], [1.0], [1.0]]), np.array([[-40.0], [-40.0], [-40.0]])
    charged = replace(FACTS, spread_cost=0.0, per_block=0.0, percentage=0.01)
    assert trade_costs(held, price, [charged])[1, 0] == pytest.approx(-0.01 * 40 * 50)
    days = np.arange("2020-01-01", "2020-12-31", dtype="datetime64[D]")
    rolled = roll_costs(days, np.ones(len(days)), np.full(len(days), -40.0), charged, 1.0)
    np.testing.assert_allclose(rolled.costs, -2 * 0.01 * 40 * 50)
    inside = np.ones((len(days), 1), dtype=bool)
    price, vol = np.full((len(days), 1), -40.0), Panel(np.full((len(days), 1), 2.0), inside)
    of_one_trade = sr_cost_per_trade(Panel(price, inside), vol, days, [charged])
    np.testing.assert_allclose(of_one_trade, 0.01 * 40 / (16 * 2))


def test_a_price_that_has_not_moved_yet_has_no_volatility_to_be_sized_by():
    moving = walk(3, 150)
    result = run_backtest(
        configuration(["NEW"]), market(instrument("NEW", np.concatenate([np.full(30, moving[0]), moving])))
    )
    for name in ("daily_returns_vol", "raw_carry", "norm_return", "vol_scalar", "notional_position"):
        assert result.series_of(name, "NEW").iloc[:30].isna().all(), name
        assert result.series_of(name, "NEW").iloc[-1:].notna().all(), name
    assert result.series_of("subsystem_position", "NEW").abs().max() < 1e5
    robust = RobustVolatility().estimate(np.zeros((200, 1)), np.ones((200, 1), dtype=bool))
    assert np.isnan(robust).all()


def test_without_an_exchange_rate_there_is_nothing_rather_than_zero_days():
    rates = FxPrices(np.array(["2020-03-02", "2020-05-04"], dtype="datetime64[us]"), np.array([1.1, 1.2]))
    corn, config = instrument("CORN", walk(9, 150)), configuration(["CORN"], base_currency="EUR")
    with pytest.warns(ConfigWarning) as said:
        result = run_backtest(config, market(corn, fx={"EUR": rates}))
    late, old = (str(one.message) for one in said)
    assert late.startswith("exchange rates of EUR start on 2020-03-02, after the prices of CORN (2020-01-06): ")
    assert old.startswith("exchange rates of EUR end on 2020-05-04, before the prices of CORN (2020-07-31): ")
    before = result.portfolio.loc[:"2020-02-28"]
    assert before["net"].isna().all() and np.isnan(result.account.net[: len(before)]).all()
    assert result.series_of("notional_position", "CORN").loc[:"2020-02-28"].isna().all()
    newer = FxPrices(np.append(rates.times, np.datetime64("2020-07-25")), np.append(rates.price, 1.3))  # six days old
    known = run_backtest(replace(config, start_date="2020-03-02"), market(corn, fx={"EUR": newer}))
    assert known.portfolio["net"].notna().all()
    assert result.stats["net"]["time_in_drawdown"] > 0


ODD_PRICES = {
    "constant": np.full(120, 100.0),
    "straight line": np.arange(120) * 0.25,
    "crossing zero": 20.0 - np.arange(120) * 0.5 + np.tile([0.0, 1.0, -1.0], 40),
    "all zero": np.zeros(120),
    "ten days": walk(1, 10),
    "one day": walk(1, 1),
    "never a price": np.full(50, np.nan),
    "a gap of two months": np.where((np.arange(200) > 80) & (np.arange(200) < 125), np.nan, walk(2, 200)),
}


@pytest.mark.parametrize("keys", [{}, OPTIONAL], ids=["plain", "optional"])
@pytest.mark.parametrize("prices", ODD_PRICES.values(), ids=ODD_PRICES.keys())
def test_odd_prices_run_to_the_end_without_a_warning(prices, keys):
    result = run_backtest(
        configuration(["ODD", "CORN"], **keys), market(instrument("ODD", prices), instrument("CORN", walk(5, 200)))
    )
    assert set(result.stats) == {"gross", "costs", "net"}
    assert set(result.instrument_stats) == {"ODD", "CORN"}
    assert np.isfinite(result.portfolio["net"]).all()
    assert len(result.positions) == result.index.sum()
    assert not np.isinf(result.positions.select_dtypes("number")).any().any()
    assert np.nanmax(np.abs(result.values("notional_position"))) < 1e6


def test_a_price_that_never_moves_is_never_traded_on_trend():
    config = configuration(["DEAD"], forecast_weights={"ewmac4_16": 0.5, "breakout20": 0.5})
    result = run_backtest(config, market(instrument("DEAD", np.full(300, 100.1))))
    assert (result.values("buffered_position") == 0).all()


def test_a_market_that_has_stopped_moving_still_charges_for_its_past_trades():
    prices = walk(6, 600)
    prices[300:] = prices[299]
    result = run_backtest(configuration(["CORN"]), market(instrument("CORN", prices)))
    traded = result.series_of("buffered_position", "CORN").diff().shift(1).abs() > 0
    assert traded.any()
    assert (result.series_of("costs", "CORN")[traded] < 0).all()


def test_an_instrument_that_starts_in_the_last_week_leaves_the_other_alone():
    old = instrument("CORN", walk(7, 300))
    new = instrument("NEW", walk(8, 4), start=str(old.adjusted.times[-4].astype("datetime64[D]")))
    config = configuration(["CORN", "NEW"])
    result = run_backtest(config, market(old, new))
    assert np.isnan(result.latest_positions()["NEW"].notional_position)
    assert result.series_of("instrument_weight", "CORN").iloc[-1] > 0.99


def test_latest_positions_carry_the_market_they_refer_to():
    corn = instrument("CORN", walk(9, 130))
    corn.adjusted.price[-1] = np.nan
    result = run_backtest(configuration(["CORN"]), market(corn))
    latest = result.latest_positions()["CORN"]
    assert latest.reference_price == corn.adjusted.price[-2]
    assert latest.reference_time == corn.adjusted.times[-2]
    assert latest.reference_contract == corn.multiple.price_contract[-2]
    assert latest.daily_returns_vol == result.series_of("daily_returns_vol", "CORN").iloc[-1]
    assert latest.buffer_lower < latest.notional_position < latest.buffer_upper


def test_foreign_risk_is_converted_at_the_rate_of_the_midnight_before():
    times = np.array(["2019-01-01T00", "2020-05-04T23", "2020-06-19T00"], dtype="datetime64[us]")
    rates = FxPrices(times, np.array([1.10, 1.20, 1.20]))
    bund = instrument("BUND", walk(4, 120), facts=replace(FACTS, currency="EUR"))
    result = run_backtest(configuration(["BUND"]), market(bund, fx={"EUR": rates}))
    fx = result.series_of("fx_rate", "BUND")
    assert (fx["2020-05-04"], fx["2020-05-05"]) == (1.10, 1.20)
    in_euro = run_backtest(configuration(["BUND"], base_currency="EUR"), market(bund))
    assert (in_euro.series_of("fx_rate", "BUND") == 1.0).all()


def test_what_does_not_fit_together_is_refused_by_name():
    data = market(instrument("CORN", walk(1, 60), facts=replace(FACTS, currency="INR")))
    with pytest.raises(DataError, match="INR: no FX series INRUSD"):
        run_backtest(configuration(["CORN"]), data)
    with pytest.raises(ConfigError, match="no prices for GOLD"):
        run_backtest(configuration(["CORN", "GOLD"]), data)
    with pytest.raises(ConfigError, match="capital must be positive"):
        run_backtest(configuration(["CORN"]), data, capital=0.0)
