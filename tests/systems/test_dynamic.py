"""Whole contracts for a small account: the search, its bounds and inputs, the curve, and which instruments to trade."""

import math
import time
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pysys.domain.errors import ConfigError
from pysys.systems.backtest import run_backtest
from pysys.systems.backtest_yaml import parse_backtest_config
from pysys.systems.covariance import annual_covariance, correlations, latest_correlation, weekly_returns, weeks_ended
from pysys.systems.daily import DailyGrid, business_days
from pysys.systems.dynamic import Constraints, optimise_positions
from pysys.systems.instrument_candidates import measured_candidates
from pysys.systems.instrument_choice import Candidate, Requirements, choose_instruments, minimum_capital
from pysys.systems.market_data import FxPrices
from pysys.systems.optimised_targets import last_day, optimised_book
from tests.systems.markets import FACTS, configuration, first_rows, instrument, market, walk

examples = settings(max_examples=60, deadline=None)
seeds = st.integers(0, 2**32 - 1)
INF = math.inf


def problem(seed, count=6, lots=5.0):
    random = np.random.default_rng(seed)
    common = random.normal(size=(count, 2))
    mixed = common @ common.T + np.eye(count)
    scale = 1.0 / np.sqrt(np.diag(mixed))
    covariance = annual_covariance(mixed * np.outer(scale, scale), random.uniform(0.02, 0.5, count))
    return {
        "optimal": random.normal(0, lots, count),
        "covariance": covariance,
        "per_contract_value": random.uniform(0.02, 0.4, count),
        "costs": random.uniform(0, 0.002, count),
        "prior": np.rint(random.normal(0, lots, count)),
    }


def random_constraints(seed, count=6):
    random = np.random.default_rng(seed)
    codes = [str(n) for n in range(count)]

    def some():
        return [code for code in codes if random.random() < 0.25]

    limits = [{code: int(random.integers(0, 6)) for code in some()} for _ in range(2)]
    return Constraints.of(codes, no_trade=some(), reduce_only=some(), long_only=some(), position_limits=limits)


def objective(contracts, asked, shadow_cost):
    value = asked["per_contract_value"]
    gap = (contracts - asked["optimal"]) * value
    paid = asked["costs"] * np.abs(contracts - asked["prior"]) * value
    return math.sqrt(gap @ asked["covariance"] @ gap) + shadow_cost * paid.sum()


def search_by_definition(asked, shadow_cost, lower, upper):
    contracts = np.clip(np.zeros(len(lower)), lower, upper)
    while True:
        tried = []
        for column, direction in enumerate(np.sign(asked["optimal"])):
            more = contracts.copy()
            more[column] += direction
            if direction and lower[column] <= more[column] <= upper[column]:
                tried.append((objective(more, asked, shadow_cost), column, more))
        if not tried or not min(tried)[0] < objective(contracts, asked, shadow_cost) - 1e-13:
            return contracts
        contracts = min(tried)[2]


@examples
@given(seed=seeds, shadow_cost=st.sampled_from([0.0, 10.0, 50.0]))
def test_the_search_is_its_definition(seed, shadow_cost):
    asked, limits = problem(seed), random_constraints(seed)
    found = optimise_positions(**asked, shadow_cost=shadow_cost, buffer=0.0, constraints=limits)
    expected = search_by_definition(asked, shadow_cost, *limits.bounds(asked["prior"]))
    np.testing.assert_array_equal(found.solution, expected)
    np.testing.assert_array_equal(found.positions, expected)  # without a buffer the whole way is traded


@examples
@given(seed=seeds, buffer=st.sampled_from([0.0, 0.0125, 0.3, 10.0]))
def test_bounds_hold_always_and_trades_are_whole_and_never_beyond_the_solution(seed, buffer):
    asked, limits = problem(seed), random_constraints(seed)
    found = optimise_positions(**asked, buffer=buffer, constraints=limits)
    lower, upper = limits.bounds(asked["prior"])
    held, prior = found.positions, asked["prior"]
    assert ((lower <= held) & (held <= upper)).all()
    assert (held == np.rint(held)).all()
    assert (held[limits.no_trade] == prior[limits.no_trade]).all()
    reduced = held[limits.reduce_only & ~limits.no_trade], prior[limits.reduce_only & ~limits.no_trade]
    assert (np.abs(reduced[0]) <= np.abs(reduced[1])).all() and (reduced[0] * reduced[1] >= 0).all()
    if found.tracking_error >= buffer:
        assert (np.abs(held - found.solution) <= np.abs(prior - found.solution)).all()


@examples
@given(seed=seeds)
def test_a_prior_position_that_tracks_well_enough_is_left_alone(seed):
    asked = problem(seed)
    found = optimise_positions(**asked, buffer=1e9)
    np.testing.assert_array_equal(found.positions, asked["prior"])


@examples
@given(seed=seeds, gone=st.integers(0, 5), missing=st.sampled_from(["optimal", "per_contract_value", "covariance"]))
def test_an_instrument_that_is_removed_steers_nothing(seed, gone, missing):
    asked = problem(seed)
    rest = np.arange(6) != gone
    without = {name: one[np.ix_(rest, rest)] if one.ndim == 2 else one[rest] for name, one in asked.items()}
    asked[missing] = asked[missing].copy()
    asked[missing][gone] = np.nan
    if missing == "covariance":
        asked[missing][:, gone] = np.nan
    found, expected = optimise_positions(**asked), optimise_positions(**without)
    np.testing.assert_array_equal(found.positions[rest], expected.positions)
    assert found.positions[gone] == asked["prior"][gone]
    assert not found.considered[gone]
    assert found.tracking_error == pytest.approx(expected.tracking_error)


@examples
@given(seed=seeds, order=st.permutations(range(6)))
def test_the_order_of_instruments_does_not_matter(seed, order):
    asked, order = problem(seed), list(order)
    moved = {name: one[np.ix_(order, order)] if one.ndim == 2 else one[order] for name, one in asked.items()}
    np.testing.assert_array_equal(optimise_positions(**moved).positions, optimise_positions(**asked).positions[order])


def one_instrument(optimal, prior, cost=0.0, **settings_):
    """A contract is a tenth of capital and has 20% deviation: 2% of risk a lot."""
    found = optimise_positions(
        np.array([optimal]), np.array([[0.04]]), np.array([0.1]), np.array([cost]), np.array([prior]), **settings_
    )
    return found.positions[0]


def test_the_part_of_the_way_beyond_the_buffer_is_traded():
    # 10 lots are a tracking error of 0.2.
    assert one_instrument(10.0, 0.0, buffer=0.05) == 8  # three quarters, 7.5, half to even
    assert one_instrument(10.0, 0.0, buffer=0.0125) == 9  # 9.375
    assert one_instrument(10.0, 0.0, buffer=0.2) == 0  # nothing left to trade
    assert one_instrument(-10.0, 0.0, buffer=0.05) == -8
    assert one_instrument(10.4, 10.0) == 10  # 0.008 is inside the buffer


def test_a_lot_is_traded_when_it_lowers_risk_by_more_than_its_cost_times_fifty():
    dear, cheap = 0.0041, 0.0039  # 50 * cost * 0.1 against 0.02 of risk a lot
    assert one_instrument(10.0, 5.0, dear, buffer=0.0) == 5
    assert one_instrument(10.0, 5.0, cheap, buffer=0.0) == 10
    assert one_instrument(10.0, 5.0, dear, buffer=0.0, shadow_cost=10.0) == 10


@pytest.mark.parametrize(
    ("given_", "prior", "expected"),
    [
        ({}, 3, (-INF, INF)),
        ({"no_trade": "X"}, 3, (3, 3)),
        ({"reduce_only": "X"}, 3, (0, 3)),
        ({"reduce_only": "X"}, -3, (-3, 0)),
        ({"long_only": "X"}, -3, (0, INF)),
        ({"position_limits": [{"X": 5}]}, 3, (-5, 5)),
        ({"position_limits": [{}, {"X": 5}]}, 3, (-5, 5)),  # of the strategy, where the instrument has none
        ({"position_limits": [{"X": 5}, {}]}, 3, (-5, 5)),
        ({"position_limits": [{"X": 7}, {"X": 5}]}, 3, (-5, 5)),
        ({"position_limits": [{"X": 5}, {"X": 7}]}, 3, (-5, 5)),
        ({"position_limits": [{"X": 0}]}, 3, (0, 0)),
        ({"position_limits": [{"X": 2.9}]}, 3, (-2, 2)),
        ({"position_limits": [{"X": 5}], "reduce_only": "X"}, 9, (0, 5)),
        ({"position_limits": [{"X": 5}], "reduce_only": "X"}, 3, (0, 3)),
        ({"position_limits": [{"X": 5}], "no_trade": "X"}, 9, (9, 9)),  # not even back to its limit
        ({"long_only": "X", "reduce_only": "X"}, -3, (0, 0)),
    ],
)
def test_what_may_be_held(given_, prior, expected):
    lower, upper = Constraints.of(["X"], **given_).bounds(np.array([float(prior)]))
    assert (lower[0], upper[0]) == expected


def test_a_position_beyond_its_limit_is_cut_back_inside_the_buffer_too():
    limits = Constraints.of(["X"], position_limits=[{"X": 4}])
    assert one_instrument(10.0, 10.0, constraints=limits) == 4
    assert one_instrument(20.0, 10.0, constraints=limits, buffer=0.1) == 4


def test_what_does_not_fit_is_refused():
    asked = problem(1)
    for wrong, message in [
        ({"prior": asked["prior"] + 0.5}, "whole contracts"),
        ({"costs": np.full(6, np.nan)}, "costs must be 0 or more and known"),
        ({"costs": np.ones(5)}, "do not fit together"),
    ]:
        with pytest.raises(ValueError, match=message):
            optimise_positions(**{**asked, **wrong})
    holed = asked["covariance"].copy()
    holed[1, 2] = holed[2, 1] = np.nan
    with pytest.raises(ValueError, match="covariance is missing between"):
        optimise_positions(**{**asked, "covariance": holed})
    with pytest.raises(ValueError, match="X: a position limit must be at least 0"):
        Constraints.of(["X"], position_limits=[{"X": -1}])


def test_a_hundred_instruments_take_milliseconds():
    asked = problem(5, count=100)
    started = time.process_time()
    optimise_positions(**asked)
    assert time.process_time() - started < 0.05


# Correlation and covariance.


def grid_of(days, start="2020-01-06"):
    dates = np.busday_offset(start, np.arange(days))
    return DailyGrid(business_days(dates))


def test_weeks_run_from_monday_to_friday_and_count_once_they_have_ended():
    grid = grid_of(8)  # a Monday to the Wednesday after
    weeks, weekly = weekly_returns(np.array([[1.0], [2.0], [math.nan], [3.0], [4.0], [5.0], [6.0], [7.0]]), grid)
    np.testing.assert_array_equal(weekly[:, 0], [10.0, 18.0])
    assert list(weeks_ended(grid, weeks)) == [0, 0, 0, 0, 1, 1, 1, 1]


@examples
@given(seed=seeds, rows=st.integers(25, 90))
def test_correlation_is_the_weighted_one_of_common_weeks_halved(seed, rows):
    random = np.random.default_rng(seed)
    weekly = random.normal(size=(rows, 2)) @ np.array([[1.0, 0.6], [0.0, 0.8]])
    weekly[random.random(rows) < 0.1, 0] = math.nan
    *_, last = correlations(weekly, span=30.0, min_weeks=5)
    both = weekly[~np.isnan(weekly).any(axis=1)]
    weights = (1.0 - 2.0 / 31.0) ** np.arange(len(both) - 1, -1, -1)
    expected = np.cov(both.T, aweights=weights)
    assert last[0, 1] == pytest.approx(0.5 * expected[0, 1] / math.sqrt(expected[0, 0] * expected[1, 1]), abs=1e-9)
    assert last[0, 0] == last[1, 1] == 1.0


@examples
@given(seed=seeds, gaps=st.sampled_from([0.0, 0.5, 0.97]))
def test_correlations_are_complete_and_never_give_negative_risk(seed, gaps):
    random = np.random.default_rng(seed)
    weekly = random.normal(size=(60, 5)) + random.normal(size=(60, 1))
    weekly[random.random(weekly.shape) < gaps] = math.nan
    for matrix in correlations(weekly, min_weeks=3, shrinkage=0.0):
        np.testing.assert_allclose(np.diag(matrix), 1.0)
        np.testing.assert_allclose(matrix, matrix.T)
        assert np.linalg.eigvalsh(matrix)[0] > -1e-9


@examples
@given(seed=seeds, shrinkage=st.sampled_from([0.0, 0.5]), asked=st.sets(st.integers(1, 60), min_size=1))
def test_correlations_of_some_weeks_are_those_of_every_week(seed, shrinkage, asked):
    random = np.random.default_rng(seed)
    weekly = np.where(random.random((60, 5)) < 0.2, np.nan, random.normal(size=(60, 5)))
    every = list(correlations(weekly, min_weeks=4, shrinkage=shrinkage))
    some = list(correlations(weekly, min_weeks=4, shrinkage=shrinkage, after=sorted(asked)))
    np.testing.assert_array_equal(some, [every[weeks - 1] for weeks in sorted(asked)])


def test_markets_that_never_moved_together_are_taken_for_average_or_unrelated():
    weekly = np.full((30, 3), math.nan)
    weekly[:, :2] = np.random.default_rng(1).normal(size=(30, 2))
    *_, last = correlations(weekly)
    assert last[0, 2] == pytest.approx(last[0, 1])
    grid = grid_of(3)
    np.testing.assert_array_equal(latest_correlation(np.zeros((3, 2)), grid), np.eye(2))


# Along the curve.


def small_market(seed=1, rows=200):
    return [
        instrument("CORN", walk(seed, rows)),
        instrument("WHEAT", walk(seed + 1, rows - 40), start=str(np.busday_offset("2020-01-06", 40))),
        instrument("GOLD", walk(seed + 2, rows), facts=replace(FACTS, asset_class="Metals")),
    ]


def small_configuration(codes=("CORN", "WHEAT", "GOLD"), capital=150_000, **keys):
    return configuration(codes, small_system=keys, notional_trading_capital=capital)


def test_a_small_account_holds_whole_contracts_near_its_optimal_positions():
    result = run_backtest(small_configuration(shadow_cost=0.0, tracking_error_buffer=0.0), market(*small_market()))
    held, optimal = result.values("optimised_position"), result.values("notional_position")
    known = ~np.isnan(optimal) & (result.index.all(axis=1))[:, None]
    assert (held[result.index] == np.rint(held[result.index])).all()
    assert np.nanmean(np.abs(held - optimal)[known]) < 1.0
    gross = result.series_of("optimised_position", "CORN").shift(2) * result.series_of("price", "CORN").diff()
    np.testing.assert_allclose(result.series_of("gross", "CORN"), (gross * FACTS.point_size).fillna(0.0), atol=1e-6)
    assert "optimised_position" in result.positions.columns


def test_costs_and_buffer_trade_less():
    cheap = run_backtest(small_configuration(shadow_cost=0.0, tracking_error_buffer=0.0), market(*small_market()))
    usual = run_backtest(small_configuration(), market(*small_market()))

    def traded(result):
        return np.nansum(np.abs(np.diff(result.values("optimised_position"), axis=0)))

    assert 0 < traded(usual) < 0.9 * traded(cheap)


@settings(max_examples=8, deadline=None)
@given(seed=seeds, cut=st.integers(1, 40))
def test_days_to_come_never_change_an_optimised_position(seed, cut):
    series = small_market(seed, 120)
    now = run_backtest(small_configuration(), market(*series))
    then = run_backtest(small_configuration(), market(*(first_rows(one, len(one.adjusted) - cut) for one in series)))
    for code in then.instruments:
        past = then.series_of("optimised_position", code)
        assert past.equals(now.series_of("optimised_position", code).reindex(past.index))


def test_each_day_of_the_curve_trades_from_the_positions_of_the_day_before():
    result = run_backtest(small_configuration(), market(*small_market()))
    before, today = result.values("optimised_position")[-2:].astype(int)
    book = optimised_book(last_day(result), dict(zip(result.instruments, before, strict=True)))
    assert [one.position for one in book.targets] == list(today)
    from_nothing = optimised_book(last_day(result), {})
    assert [one.position for one in from_nothing.targets] != list(today)


def test_limits_of_the_configuration_hold_along_the_curve():
    limits = {"position_limits": {"CORN": 2}, "long_only": ["GOLD"], "no_trade": ["WHEAT"]}
    result = run_backtest(small_configuration(**limits), market(*small_market()))
    assert result.series_of("optimised_position", "CORN").abs().max() == 2
    assert result.series_of("optimised_position", "GOLD").min() == 0
    assert (result.series_of("optimised_position", "WHEAT") == 0).all()


def test_a_small_system_survives_a_written_configuration():
    config = small_configuration(long_only=["GOLD"], position_limits={"CORN": 2})
    assert parse_backtest_config(config.as_yaml_keys()) == config
    assert parse_backtest_config(config.as_yaml_keys()).small_system == config.small_system


ODD = [np.full(150, 100.0), np.zeros(150), walk(1, 10), np.full(30, np.nan), -walk(3, 150)]


@pytest.mark.parametrize("prices", ODD, ids=["constant", "zero", "ten days", "never a price", "negative"])
def test_odd_prices_are_left_out_and_do_not_stop_the_others(prices):
    data = market(instrument("ODD", prices, level=0.0), instrument("CORN", walk(5, 200)))
    result = run_backtest(small_configuration(["ODD", "CORN"]), data)
    assert result.series_of("optimised_position", "CORN").abs().max() > 0
    assert np.isfinite(result.values("optimised_position")[result.index]).all()


def test_todays_book_trades_from_what_is_held_and_leaves_what_is_removed_to_its_owner():
    result = run_backtest(small_configuration(), market(*small_market()))
    flat = optimised_book(last_day(result), {})
    held = {one.instrument: one.position for one in flat.targets}
    with_stranger = optimised_book(last_day(result), {"PLATINUM": -4, "SILVER": 0})
    assert with_stranger.removed == {"PLATINUM": -4}
    assert {one.instrument: one.position for one in with_stranger.targets} == held
    again = optimised_book(last_day(result), held)
    assert sum(abs(one.trade) for one in again.targets) <= sum(abs(one.trade) for one in flat.targets)
    for one in flat.targets:
        assert one.considered
        assert one.weight == pytest.approx(one.position * one.per_contract_value)
        assert one.optimal_position == result.series_of("notional_position", one.instrument).iloc[-1]
    stop = Constraints.of(result.instruments, reduce_only=result.instruments)
    assert all(one.position == 0 for one in optimised_book(last_day(result), {}, stop).targets)
    plain = run_backtest(configuration(["CORN"]), market(*small_market()))
    with pytest.raises(ConfigError, match="small_system"):
        last_day(plain)


def test_a_market_whose_prices_are_a_day_late_is_still_part_of_todays_book_and_a_dead_one_is_not():
    series = small_market()
    for days, known in ((1, True), (5, True), (6, False)):
        late = first_rows(series[0], len(series[0].adjusted) - days)
        book = optimised_book(last_day(run_backtest(small_configuration(), market(late, *series[1:]))), {})
        assert [one.considered for one in book.targets] == [known, *[True] * (len(series) - 1)]


# Which instruments.


def candidate(code, price=100.0, cost=0.001, contracts=1e4, risk=50.0, deviation=20.0):
    return Candidate(code, "Class", 50.0, price, deviation, cost, contracts, risk)


def test_minimum_capital_by_hand():
    # 4 lots * 50 * 100 * 20% a year / 25% / (2.5 * 4%) = 160,000
    assert minimum_capital(candidate("A"), Requirements()) == pytest.approx(160_000)


def test_what_is_too_large_too_dear_or_too_thin_is_refused_with_every_reason():
    candidates = [
        candidate("LARGE", price=1000.0),
        candidate("DEAR", cost=0.02),
        candidate("THIN", contracts=10.0, risk=0.1),
        candidate("UNKNOWN", cost=math.nan),
        candidate("CALM", deviation=2.0),
        candidate("GOOD"),
    ]
    table = choose_instruments(200_000, candidates, np.eye(6)).set_index("instrument")
    assert list(table.index[table["chosen"]]) == ["GOOD"]
    assert table.loc["LARGE", "reason"] == "needs capital of 1,600,000"
    assert table.loc["DEAR", "reason"] == "costs 0.0200 SR a trade, over 0.01"
    assert table.loc["THIN", "reason"].count(";") == 1
    assert "nan" in table.loc["UNKNOWN", "reason"]
    assert table.loc["CALM", "reason"] == "moves 2% a year, under 5%"
    assert table.loc["GOOD", "reason"] == "lowest cost"


def test_what_is_already_traded_stays_until_it_misses_by_a_third():
    slightly_dear, slightly_large = candidate("DEAR", cost=0.012), candidate("LARGE", price=150.0)  # needs 240,000
    new = choose_instruments(200_000, [slightly_dear, slightly_large], np.eye(2))
    assert not new["chosen"].any()
    kept = choose_instruments(
        200_000, [replace(slightly_dear, traded=True), replace(slightly_large, traded=True)], np.eye(2)
    )
    assert kept["chosen"].all()
    too_dear = choose_instruments(200_000, [replace(slightly_dear, sr_cost=0.0131, traded=True)], np.eye(1))
    assert not too_dear["chosen"].any()


def test_what_diversifies_is_added_and_what_only_repeats_is_not():
    candidates = [candidate("BOND", cost=0.001), candidate("TWIN", cost=0.006), candidate("GOLD", cost=0.008)]
    alike = np.array([[1.0, 0.99, 0.0], [0.99, 1.0, 0.0], [0.0, 0.0, 1.0]])
    table = choose_instruments(1e6, candidates, alike)
    assert list(table["instrument"]) == ["BOND", "GOLD", "TWIN"]
    assert list(table["chosen"]) == [True, True, False]
    # 0.3 - 15 * cost each, over the root of two uncorrelated risks
    assert table["portfolio_sharpe"][1] == pytest.approx((0.285 + 0.18) / math.sqrt(2))
    assert table["reason"][2] == "adds less diversification than it costs"


def test_nothing_that_qualifies_is_an_empty_choice():
    table = choose_instruments(1_000, [candidate("A")], np.eye(1))
    assert not table["chosen"].any()
    with pytest.raises(ValueError, match="capital must be positive"):
        choose_instruments(0.0, [candidate("A")], np.eye(1))
    with pytest.raises(ValueError, match="correlation must be known"):
        choose_instruments(1.0, [candidate("A")], np.full((1, 1), np.nan))


def test_candidates_are_measured_as_a_backtest_measures_and_chosen_from():
    euro = instrument("EURO", walk(5, 300), facts=replace(FACTS, currency="EUR", asset_class="Bond"))
    times = np.array(["2019-12-31", "2021-02-24", "2021-02-25"], dtype="datetime64[us]")
    rates = FxPrices(times, np.array([1.1, 1.25, np.nan]))  # an empty last row leaves the rate before it
    data = market(instrument("CORN", walk(4, 300)), euro, fx={"EUR": rates})
    found = measured_candidates(data, "USD", {"CORN": 20_000.0}, traded=("EURO",))

    result = run_backtest(configuration(["CORN", "EURO"]), data)
    for one in found.candidates:
        known = {
            name: result.series_of(name, one.instrument).iloc[-1] for name in ("denominator_price", "daily_pct_vol")
        }
        assert (one.price, one.annual_pct_deviation) == (known["denominator_price"], 16 * known["daily_pct_vol"])
        rate = 1.25 if one.instrument == "EURO" else 1.0
        assert one.point_value == 50.0 * rate
        a_year = 16 * rate * result.series_of("instr_ccy_vol", one.instrument).iloc[-1]
        capital = minimum_capital(one, Requirements(lots=1.0, risk_target_pct=100.0, instrument_weight=0.4))
        assert capital == pytest.approx(a_year)
    corn, bund = found.candidates
    assert corn.risk_a_day == pytest.approx(20_000 * corn.price * 50 * corn.annual_pct_deviation / 100 / 1e6)
    assert math.isnan(bund.risk_a_day) and bund.traded and not corn.traded
    alone = found.correlation[0, 1]
    assert abs(alone) < 0.5 and found.correlation[0, 0] == 1.0

    needs = Requirements(highest_sr_cost=1.0, least_pct_deviation=0.0)
    table = choose_instruments(1e8, found.candidates, found.correlation, needs).set_index("instrument")
    assert list(table.index[table["chosen"]]) == ["CORN"]
    assert "unknown contracts a day" in table.loc["EURO", "reason"]
    any_volume = replace(needs, least_contracts_a_day=0.0, least_risk_a_day=0.0)
    assert choose_instruments(1e8, found.candidates, found.correlation, any_volume)["chosen"].all()
