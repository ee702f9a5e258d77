"""Small worked examples of the stages between prices and profit."""

import math
from dataclasses import replace

import numpy as np
import pytest

from pysys.systems.account import roll_costs, roll_dates, trade_costs, turnover
from pysys.systems.daily import DailyGrid, as_of, business_days, dates_of
from pysys.systems.forecasts import combined_forecast, smoothed_weights
from pysys.systems.market_data import MultiplePrices
from pysys.systems.positions import Buffer, buffered_position, smoothed_instrument_weights
from pysys.systems.raw_data import annualised_roll_of_rows
from pysys.systems.statistics import return_statistics, two_sided_p_value
from tests.systems.markets import FACTS, instrument, walk

NAN = math.nan


@pytest.mark.parametrize(
    ("moment", "day"),
    [
        ("2020-03-06T09:00", "2020-03-06"),  # Friday
        ("2020-03-07T00:00", "2020-03-06"),  # Saturday
        ("2020-03-08T23:00", "2020-03-06"),  # the Sunday evening of the oil crash
        ("2020-03-09T00:00", "2020-03-09"),  # Monday
        ("1969-12-28T12:00", "1969-12-26"),  # before the epoch
    ],
)
def test_a_weekend_belongs_to_the_friday_before(moment, day):
    times = np.array([moment], dtype="datetime64[us]")
    assert dates_of(business_days(times))[0] == np.datetime64(day)


def test_business_days_are_numbered_without_gaps():
    days = np.arange(np.datetime64("1969-01-01"), np.datetime64("2031-01-01"))
    weekdays = days[np.is_busday(days)]
    numbers = business_days(weekdays)
    assert (np.diff(numbers) == 1).all()
    assert (dates_of(numbers) == weekdays).all()


def test_a_grid_skips_days_on_which_nobody_has_history():
    grid = DailyGrid.covering([(100, 102), (200, 201)])
    assert list(grid.days) == [100, 101, 102, 200, 201]
    values = np.array([1.0, 2.0, NAN, 5.0])
    np.testing.assert_array_equal(grid.last_of_day(np.array([101, 101, 101, 200]), values), [NAN, 2, NAN, 5, NAN])
    np.testing.assert_array_equal(grid.mean_of_day(np.array([101, 101, 101, 200]), values), [NAN, 1.5, NAN, 5, NAN])


def test_as_of_takes_the_row_at_or_before_and_keeps_its_gap():
    times = np.array(["2020-01-01", "2020-01-03", "2020-01-05"], dtype="datetime64[us]")
    moments = np.array(["2019-12-31", "2020-01-01", "2020-01-02", "2020-01-04", "2020-01-09"], dtype="datetime64[D]")
    np.testing.assert_array_equal(as_of(times, np.array([1.0, NAN, 3.0]), moments), [NAN, 1.0, 1.0, NAN, 3.0])


def prices(price, carry, priced, carried):
    times = np.datetime64("2020-01-01", "us") + np.arange(len(price)) * np.timedelta64(1, "D")
    price, carry = np.array(price), np.array(carry)
    priced, carried = np.array(priced), np.array(carried)
    return MultiplePrices(times, price, carry, priced, carried)


def test_roll_is_positive_when_holding_long_earns_whichever_side_carry_is():
    later = prices([100.0], [98.0], [20240600], [20240900])  # the later contract is cheaper
    earlier = prices([98.0], [100.0], [20240900], [20240600])
    assert annualised_roll_of_rows(later)[0] == pytest.approx(8.0)
    assert annualised_roll_of_rows(earlier)[0] == pytest.approx(8.0)
    equal_and_missing = prices([100.0, NAN], [100.0, 1.0], [20240600] * 2, [20240900] * 2)
    assert np.isnan(annualised_roll_of_rows(equal_and_missing)).all()
    a_day_apart = prices([100.0], [99.0], [20240615], [20240616])
    assert annualised_roll_of_rows(a_day_apart)[0] == pytest.approx(365.25)


def test_a_new_rule_fades_in_and_weights_add_up():
    forecasts = {"old": np.array([[NAN], [4.0], [4.0], [4.0]]), "new": np.array([[NAN], [NAN], [NAN], [8.0]])}
    fixed, index = {"old": np.array([0.25]), "new": np.array([0.75])}, np.ones((4, 1), dtype=bool)
    weights = smoothed_weights(forecasts, fixed, index, span=3)
    # Smoothing halves the past: new = .75 on the first day and the last, old = .25 every day.
    faded = {"old": 0.25 * (1 + 0.5 + 0.25 + 0.125), "new": 0.75 * (1 + 0.125)}
    assert weights["new"][3, 0] == pytest.approx(faded["new"] / sum(faded.values()))
    np.testing.assert_allclose(weights["old"] + weights["new"], 1.0)
    scalars = {"old": np.array([1.0]), "new": np.array([1.0])}
    combined = combined_forecast(forecasts, scalars, fixed, index, span=3, multiplier=1.0, cap=20.0)
    assert combined[0, 0] == 0.0
    expected = (4 * faded["old"] + 8 * faded["new"]) / sum(faded.values())
    assert combined[3, 0] == pytest.approx(expected)


def test_a_rule_that_plays_no_part_has_no_say():
    forecasts = {"all": np.array([[4.0, 4.0]]), "first": np.array([[8.0, 8.0]])}
    fixed, index = {"all": np.array([0.5, 1.0]), "first": np.array([0.5, NAN])}, np.ones((1, 2), dtype=bool)
    ones = {"all": np.ones(2), "first": np.ones(2)}
    combined = combined_forecast(forecasts, ones, fixed, index, span=3, multiplier=1.0, cap=20.0)
    np.testing.assert_allclose(combined, [[6.0, 4.0]])


def test_capital_waits_for_an_instrument_to_have_a_position():
    subsystem = np.array([[NAN, NAN], [5.0, NAN], [5.0, 3.0]])
    index = np.array([[True, False], [True, True], [True, True]])
    weights = smoothed_instrument_weights(np.array([0.5, 0.5]), subsystem, index, span=3)
    np.testing.assert_allclose(weights, [[0.5, NAN], [0.75, 0.25], [0.875 / 1.5, 0.625 / 1.5]])


BUFFERS = [  # notional, lower, upper, to edge -> held
    ([2.5, 3.5, 9.0], [1.0, 3.0, 8.0], [4.0, 4.0, 10.0], True, [2, 3, 8]),
    ([2.5, 3.5, 9.0], [1.0, 3.0, 8.0], [4.0, 4.0, 10.0], False, [2, 4, 9]),
    ([5.0, NAN, -5.0], [4.0, NAN, -6.0], [6.0, NAN, -4.0], True, [5, 5, -4]),
    ([NAN, 3.0, 3.4], [NAN, 2.6, 3.1], [NAN, 3.6, 3.7], True, [0, 3, 3]),
]


@pytest.mark.parametrize(("notional", "lower", "upper", "to_edge", "held"), BUFFERS)
def test_trading_into_the_buffer(notional, lower, upper, to_edge, held):
    column = [np.array(one)[:, None] for one in (notional, lower, upper)]
    ours = buffered_position(column[0], Buffer(column[1], column[2]), np.ones((3, 1), dtype=bool), to_edge)
    assert list(ours[:, 0]) == held


def test_a_trade_costs_half_the_spread_and_the_dearest_commission():
    facts = replace(FACTS, point_size=10.0, spread_cost=0.5, per_block=2.0, per_trade=5.0, percentage=0.001)
    positions = np.array([[NAN], [0.0], [2.0], [2.0], [-8.0]])
    prices_then = np.array([[100.0], [100.0], [NAN], [100.0], [100.0]])
    costs = trade_costs(positions, prices_then, [facts])[:, 0]
    # 2 * 0.5 * 10 + max(2 * 2, 5); then 10 * 0.5 * 10 + max(10 * 2, 5, 0.001 * 10 * 100 * 10)
    np.testing.assert_array_equal(costs, [NAN, NAN, -15.0, NAN, -70.0])


def test_rolls_are_spread_over_the_year_and_charge_both_trades():
    assert [str(day) for day in roll_dates("HMUZ", 2021, 2021)] == [
        "2021-02-15",
        "2021-05-17",
        "2021-08-16",
        "2021-11-15",
    ]
    dates = np.arange(np.datetime64("2021-02-01"), np.datetime64("2021-05-01"))
    facts = replace(FACTS, point_size=10.0, spread_cost=0.5, per_block=2.0)
    rolls = roll_costs(dates, np.full(len(dates), -4.0), np.full(len(dates), 100.0), facts, share=0.5)
    assert list(rolls.dates) == [np.datetime64("2021-02-15")]
    np.testing.assert_allclose(rolls.costs, [-(2 * 0.5 * 10 + 2 * 2 * 2)])


def test_turning_over_the_average_position_once_a_day_is_256_times_a_year():
    positions = np.tile([0.0, 10.0], 50)[:, None]
    assert turnover(positions, np.full((100, 1), 10.0))[0] == pytest.approx(256 * 99 / 99, rel=0.02)


def test_statistics_of_a_few_days():
    stats = return_statistics(np.array([1.0, NAN, -2.0, 3.0, -1.0]))
    assert stats["mean"] == 0.25
    assert stats["ann_mean"] == 64.0
    assert stats["worst_drawdown"] == -2.0
    assert stats["time_in_drawdown"] == 0.5
    assert stats["hitrate"] == 0.5
    assert stats["profitfactor"] == pytest.approx(4 / 3)
    assert stats["sharpe"] == pytest.approx(16 * 0.25 / np.std([1, -2, 3, -1], ddof=1))


def test_statistics_of_nothing_are_missing_rather_than_an_error():
    for days in (np.empty(0), np.array([NAN]), np.array([0.0]), np.array([1.0])):
        assert math.isnan(return_statistics(days)["sharpe"])


@pytest.mark.parametrize(
    ("t", "degrees", "p"),
    [(0.0, 10, 1.0), (2.228138852, 10, 0.05), (12.70620474, 1, 0.05), (1.96, 10**6, 0.0499961)],
)
def test_p_values_are_those_of_the_tables(t, degrees, p):
    assert two_sided_p_value(t, degrees) == pytest.approx(p, rel=1e-5)
    assert two_sided_p_value(-t, degrees) == two_sided_p_value(t, degrees)


def test_columns_of_different_length_are_refused():
    whole = instrument("CORN", walk(1, 5)).multiple
    with pytest.raises(ValueError, match="one length"):
        replace(whole, price=whole.price[:-1])
