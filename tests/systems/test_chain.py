"""What holds for a whole backtest, whatever the prices."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pysys.domain.errors import ConfigError, DataError
from pysys.systems.backtest import run_backtest
from pysys.systems.market_data import FxPrices
from tests.systems.markets import FACTS, configuration, first_rows, instrument, market, walk

seeds = st.integers(0, 2**32 - 1)
few_examples = settings(max_examples=15, deadline=None)
methods = st.sampled_from(["position", "forecast", "none"])


def two_instruments(seed, gaps, rows=150):
    return [
        instrument("CORN", walk(seed, rows, gaps)),
        instrument("WHEAT", walk(seed + 1, rows - 40, gaps), start="2020-03-02"),
    ]


def same(ours, other):
    np.testing.assert_allclose(ours, other, rtol=1e-9, atol=1e-12, equal_nan=True)


@few_examples
@given(seed=seeds, gaps=st.sampled_from([0.0, 0.1, 0.6]), cut=st.integers(1, 60), method=methods)
def test_days_to_come_never_change_the_past(seed, gaps, cut, method):
    both = two_instruments(seed, gaps)
    config = configuration(["CORN", "WHEAT"], buffer_method=method)
    now = run_backtest(config, market(*both))
    then = run_backtest(config, market(*(first_rows(one, len(one.adjusted) - cut) for one in both)))
    for code in then.instruments:
        for name in then.names:
            if name == "costs":  # in today's volatility, by design
                continue
            past = then.series_of(name, code)
            same(now.series_of(name, code).reindex(past.index).to_numpy(), past.to_numpy())


@few_examples
@given(seed=seeds, gaps=st.sampled_from([0.0, 0.3]))
def test_the_order_of_instruments_does_not_matter(seed, gaps):
    both = two_instruments(seed, gaps)
    one_way = run_backtest(configuration(["CORN", "WHEAT"]), market(*both))
    other_way = run_backtest(configuration(["WHEAT", "CORN"]), market(*both))
    for code in one_way.instruments:
        for name in one_way.names:
            same(one_way.series_of(name, code), other_way.series_of(name, code))


@few_examples
@given(seed=seeds, method=methods)
def test_twice_the_capital_is_twice_the_notional_position(seed, method):
    data = market(*two_instruments(seed, 0.1))
    config = configuration(["CORN", "WHEAT"], buffer_method=method)
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


@pytest.mark.parametrize("prices", ODD_PRICES.values(), ids=ODD_PRICES.keys())
def test_odd_prices_run_to_the_end_without_a_warning(prices):
    result = run_backtest(
        configuration(["ODD", "CORN"]), market(instrument("ODD", prices), instrument("CORN", walk(5, 200)))
    )
    assert set(result.stats) == {"gross", "costs", "net"}
    assert set(result.instrument_stats) == {"ODD", "CORN"}
    assert np.isfinite(result.portfolio["net"]).all()
    assert len(result.positions) == result.index.sum()
    assert not np.isinf(result.positions.select_dtypes("number")).any().any()


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
    times = np.array(["2019-01-01T00", "2020-05-04T23"], dtype="datetime64[us]")
    rates = FxPrices(times, np.array([1.10, 1.20]))
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
