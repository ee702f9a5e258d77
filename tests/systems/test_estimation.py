"""The pieces of estimation: worked examples, and what holds whatever the numbers."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pysys.systems.estimation.buckets import Buckets, plain_table, stacked_table
from pysys.systems.estimation.cleaning import cleaned_weights
from pysys.systems.estimation.correlations import correlations_over_time, without_holes
from pysys.systems.estimation.cost_weights import cost_factor, cost_weighted
from pysys.systems.estimation.diversification import diversification_multiplier
from pysys.systems.estimation.handcraft import equal_risk_weights, handcrafted_weights, two_groups
from pysys.systems.estimation.moments import column_moments, pair_correlations
from pysys.systems.estimation.optimisers import AssetEstimates, highest_sharpe_weights, optimised_weights, shrunk
from pysys.systems.estimation.periods import FitRows, fit_periods, period_of_days, rows_of_fit
from pysys.systems.estimation.rule_returns import daily_deviation, years_since_last_row
from pysys.systems.estimation.scalars import forecast_scalar
from pysys.systems.estimation.settings import EstimationSettings, ScalarSettings
from pysys.systems.estimation.sharpe_adjustment import best_weight, weight_multiplier
from pysys.systems.estimation.weights import fitted_weights

NAN = np.nan
seeds = st.integers(0, 2**32 - 1)
examples = settings(max_examples=40, deadline=None)


def dates(first: str, days: int) -> np.ndarray:
    return np.datetime64(first) + np.arange(days)


def days_of(periods):
    return [tuple(str(day) for day in (one.fit_start, one.fit_end, one.start, one.end)) for one in periods]


def test_fits_are_a_year_apart_counting_back_from_the_last_day():
    first, last = np.datetime64("2020-01-05"), np.datetime64("2023-06-04")
    assert days_of(fit_periods(first, last, "expanding", 20)) == [
        ("2020-01-05", "2020-01-05", "2020-01-05", "2021-06-04"),  # nothing to fit on yet
        ("2020-01-05", "2021-06-04", "2021-06-04", "2022-06-04"),
        ("2020-01-05", "2022-06-04", "2022-06-04", "2023-06-04"),
    ]
    assert days_of(fit_periods(first, last, "rolling", 1))[1:] == [
        ("2020-06-04", "2021-06-04", "2021-06-04", "2022-06-04"),
        ("2021-06-04", "2022-06-04", "2022-06-04", "2023-06-04"),
    ]
    assert days_of(fit_periods(first, last, "in_sample", 20)) == [
        ("2020-01-05", "2023-06-05", "2020-01-05", "2023-06-04")
    ]


@pytest.mark.parametrize("days", [0, 1, 364, 365, 729, 730, 731])
def test_a_short_history_has_a_first_period_all_the_same(days):
    first = np.datetime64("2020-01-05")
    periods = fit_periods(first, first + days, "expanding", 20)
    assert not periods[0].has_data
    assert periods[-1].end == first + days
    assert len(periods) == max(days // 365, 1)


@examples
@given(days=st.integers(0, 4000), method=st.sampled_from(["expanding", "rolling"]), years=st.integers(1, 5))
def test_no_fit_sees_the_days_it_is_used_on(days, method, years):
    times = dates("2001-03-04", days + 1)
    for period in fit_periods(times[0], times[-1], method, years):
        rows = rows_of_fit(times, period)
        assert (times[rows.start : rows.stop] < period.start).all()
        assert method == "expanding" or rows.stop - rows.start <= 365 * years


def test_a_day_belongs_to_the_period_that_began_before_it():
    periods = fit_periods(np.datetime64("2020-01-05"), np.datetime64("2023-06-04"), "expanding", 20)
    days = np.array(["2020-01-04", "2020-01-05", "2021-06-03", "2021-06-04", "2030-01-01"], dtype="datetime64[D]")
    assert period_of_days(days, periods).tolist() == [-1, 0, 0, 1, 2]


def test_weeks_end_on_sunday_and_none_is_left_out():
    days = np.array(["2023-08-04", "2023-08-07", "2023-08-09", "2023-08-22"], dtype="datetime64[D]")
    buckets = Buckets.of(days, "W")
    assert [str(label) for label in buckets.labels] == ["2023-08-06", "2023-08-13", "2023-08-20", "2023-08-27"]
    values = np.array([[1.0], [2.0], [NAN], [4.0]])
    assert buckets.sums(values)[:, 0].tolist() == [1.0, 2.0, 0.0, 4.0]
    np.testing.assert_array_equal(buckets.lasts(values, fill=True)[:, 0], [1.0, 2.0, 2.0, 4.0])
    np.testing.assert_array_equal(buckets.lasts(values, fill=False)[:, 0], [1.0, 2.0, NAN, 4.0])
    inside = np.array([[False], [True], [False], [True]])
    assert buckets.within(inside)[:, 0].tolist() == [False, True, True, True]


def test_months_and_days_are_buckets_too():
    days = np.array(["2023-12-29", "2024-02-01", "2024-02-29"], dtype="datetime64[D]")
    months = Buckets.of(days, "M")
    assert [str(label) for label in months.labels] == ["2023-12-31", "2024-01-31", "2024-02-29"]
    assert months.sums(np.array([1.0, 2.0, 3.0])).tolist() == [1.0, 0.0, 5.0]
    assert (Buckets.of(days, "D").labels == days).all()


def test_stacked_instruments_follow_each_other_in_every_week():
    buckets = Buckets.of(dates("2023-08-07", 14), "W")
    values = np.array([[[1.0], [10.0]], [[2.0], [20.0]]])  # (week x instrument x rule)
    inside = np.array([[False, True], [True, True]])
    table = stacked_table(buckets, ["WHEAT", "CORN"], values, inside)
    np.testing.assert_array_equal(table.values[:, 0], [10.0, NAN, 20.0, 2.0])
    assert (np.diff(table.times) > np.timedelta64(0)).all()
    alone = plain_table(buckets, values[:, 0], inside[:, 0])
    assert (len(alone.times), alone.members) == (1, 1)


def weighted(values, decay):
    """Mean, deviation and count by the definition: weights decay on every row."""
    weight = decay ** np.arange(len(values) - 1, -1, -1.0) * ~np.isnan(values)
    known = np.nan_to_num(values)
    mean = (weight * known).sum() / weight.sum()
    variance = (weight * (known - mean) ** 2).sum() / weight.sum()
    bias = weight.sum() ** 2 / (weight.sum() ** 2 - (weight**2).sum())
    return mean, np.sqrt(variance * bias), (~np.isnan(values)).sum()


def some_rows(seed, rows=60, columns=3, gaps=0.3):
    random = np.random.default_rng(seed)
    values = random.normal(0.1, 1.0, (rows, columns)) + random.normal(0.0, 1.0, (rows, 1))
    values[random.random(values.shape) < gaps] = NAN
    return values


FITS = [FitRows(0, 0, 0), FitRows(0, 20, 21), FitRows(0, 20, 20), FitRows(0, 45, 46), FitRows(30, 60, 30)]


@examples
@given(seed=seeds, span=st.sampled_from([5.0, 40.0, np.inf]))
def test_means_and_deviations_are_those_of_the_definition(seed, span):
    values = some_rows(seed)
    found = column_moments(values, FITS, span, min_periods=8)
    for at, fit in enumerate(FITS[1:], start=1):
        for column in range(values.shape[1]):
            mean, stdev, count = weighted(values[fit.start : fit.stop, column], 1.0 - 2.0 / (span + 1.0))
            expected = (mean, stdev) if count >= 8 else (NAN, NAN)
            np.testing.assert_allclose((found.mean[at, column], found.stdev[at, column]), expected, rtol=1e-9)
    assert np.isnan(found.mean[0]).all()


@examples
@given(seed=seeds, span=st.sampled_from([5.0, 40.0, np.inf]), gaps=st.sampled_from([0.0, 0.3]))
def test_correlations_are_those_of_the_rows_both_have(seed, span, gaps):
    values = some_rows(seed, gaps=gaps)
    decay = 1.0 - 2.0 / (span + 1.0)
    found = pair_correlations(values, FITS, span, min_periods=6)
    for at, fit in enumerate(FITS[1:], start=1):
        both = values[fit.start : fit.stop, :2]
        both = both[~np.isnan(both).any(axis=1)]
        weight = decay ** np.arange(len(both) - 1, -1, -1.0)
        covariance = np.cov(both.T, aweights=weight, ddof=0)
        expected = covariance[0, 1] / np.sqrt(covariance[0, 0] * covariance[1, 1]) if len(both) >= 6 else NAN
        np.testing.assert_allclose(found[at, 0, 1], expected, rtol=1e-9, atol=1e-12)
        np.testing.assert_allclose(found[at], found[at].T, rtol=1e-12)


@examples
@given(seed=seeds, later=seeds)
def test_rows_to_come_never_change_what_was_estimated(seed, later):
    now, then = some_rows(seed), some_rows(later)
    now[45:] = then[45:]
    earlier = some_rows(seed)
    fits = FITS[:4]
    np.testing.assert_array_equal(pair_correlations(now, fits, 40, 6), pair_correlations(earlier, fits, 40, 6))
    np.testing.assert_array_equal(column_moments(now, fits, 40, 6).mean, column_moments(earlier, fits, 40, 6).mean)


@pytest.mark.parametrize("correlation", [-1.0, 1.0])
def test_opposites_and_twins_have_weights_too(correlation):
    pair = np.array([[1.0, correlation], [correlation, 1.0]])
    weights = handcrafted_weights(pair, np.array([0.7, 0.2]), years=10.0)
    assert weights.sum() == pytest.approx(1.0)
    assert weights[0] >= weights[1]


def test_what_does_not_vary_has_no_correlation():
    values = np.column_stack([np.zeros(30), np.arange(30.0), np.arange(30.0) % 7])
    found = pair_correlations(values, [FitRows(0, 30, 30)], np.inf, min_periods=5)[0]
    assert np.isnan(found[0, 1])
    assert not np.isnan(found[1, 2])


def test_holes_between_known_assets_get_the_average_and_others_almost_none_of_the_diversification():
    holes = np.array([[1.0, 0.2, NAN, NAN], [0.2, 1.0, 0.6, NAN], [NAN, 0.6, 1.0, NAN], [NAN, NAN, NAN, NAN]])
    filled = without_holes(holes, np.array([True, True, True, False]))
    assert filled[0, 2] == pytest.approx(0.4)
    assert filled[0, 3] == 0.99
    assert (np.diag(filled) == 1.0).all()
    assert (without_holes(np.full((2, 2), NAN), np.array([True, True])) == [[1.0, 0.99], [0.99, 1.0]]).all()


SCALAR = ScalarSettings(pool_instruments=True, window=250_000, min_periods=3, backfill=True)


def test_a_scalar_brings_the_average_absolute_forecast_to_ten():
    raw = np.array([[NAN, NAN], [2.0, NAN], [-4.0, 6.0], [NAN, -6.0]])
    found = forecast_scalar(raw, SCALAR, 10.0)  # sizes of the days: -, 2, 5, 5
    np.testing.assert_allclose(found[:, 0], 10.0 / 4.0)
    late = forecast_scalar(raw, ScalarSettings(False, 2, 1, False), 10.0)
    np.testing.assert_allclose(late[:, 0], [NAN, 5.0, 10.0 / 3.0, 2.5])
    np.testing.assert_allclose(late[:, 1], [NAN, NAN, 10.0 / 6.0, 10.0 / 6.0])


@examples
@given(seed=seeds, cut=st.integers(1, 50))
def test_forecasts_to_come_never_change_a_scalar(seed, cut):
    raw = some_rows(seed)
    without_backfill = ScalarSettings(True, 250_000, 5, False)
    whole = forecast_scalar(raw, without_backfill, 10.0)
    np.testing.assert_allclose(forecast_scalar(raw[:cut], without_backfill, 10.0), whole[:cut], rtol=1e-12)


def test_four_unrelated_assets_may_be_held_twice_as_large():
    assert diversification_multiplier(np.full(4, 0.25), np.eye(4), 2.5) == 2.0
    assert diversification_multiplier(np.full(16, 1 / 16), np.eye(16), 2.5) == 2.5
    assert diversification_multiplier(np.zeros(2), np.eye(2), 2.5) == 1.0
    assert diversification_multiplier(np.full(2, 0.5), np.full((2, 2), NAN), 2.5) == 1.0


ALIKE_AND_OTHER = np.array([[1.0, 0.9, 0.0], [0.9, 1.0, 0.0], [0.0, 0.0, 1.0]])


def test_two_of_a_kind_share_what_the_third_gets_alone():
    first, second = two_groups(ALIKE_AND_OTHER)
    assert (first.tolist(), second.tolist()) == ([0, 1], [2])
    half = 0.5 * 0.5 / np.sqrt(0.95)  # half of half, and the little their difference allows
    np.testing.assert_allclose(equal_risk_weights(ALIKE_AND_OTHER), [half, half, 0.5])


def test_assets_that_are_all_the_same_are_split_one_by_one():
    first, second = two_groups(np.full((5, 5), 0.99))
    assert (first.tolist(), second.tolist()) == ([0, 2, 4], [1, 3])


def random_correlation(seed, count):
    random = np.random.default_rng(seed)
    return np.corrcoef(random.normal(size=(count, 60)) + random.normal(size=60) * random.random((count, 1)))


@examples
@given(seed=seeds, count=st.integers(3, 9), years=st.floats(1, 40))
def test_handcrafted_weights_are_shares_and_follow_the_assets(seed, count, years):
    correlation = random_correlation(seed, count)
    sharpe = np.random.default_rng(seed + 1).normal(0.4, 0.5, count)
    weights = handcrafted_weights(correlation, sharpe, years)
    assert (weights >= 0).all()
    assert weights.sum() == pytest.approx(1.0)
    order = np.random.default_rng(seed + 2).permutation(count)
    shuffled = handcrafted_weights(correlation[np.ix_(order, order)], sharpe[order], years)
    np.testing.assert_allclose(shuffled, weights[order], atol=1e-9)


sharpes = st.floats(-3.0, 3.0)
correlations = st.floats(0.0, 0.95)


@examples
@given(sharpe=sharpes, correlation=correlations)
def test_the_search_gives_up_next_to_nothing_of_the_best_sharpe_ratio(sharpe, correlation):
    def ratio(weight):
        variance = weight**2 + (1 - weight) ** 2 + 2 * correlation * weight * (1 - weight)
        return (weight * sharpe + (1 - weight) * 0.5) / np.sqrt(variance)

    found = best_weight(np.array([sharpe]), 0.5, correlation)[0]
    first, second = max(sharpe - 0.5 * correlation, 0.0), max(0.5 - correlation * sharpe, 0.0)
    best = first / (first + second)
    assert ratio(best) - 2e-4 <= ratio(found) <= ratio(best) + 1e-9


@examples
@given(relative=st.lists(sharpes, min_size=2, max_size=6), correlation=st.floats(0.0, 0.95), years=st.floats(1, 50))
def test_a_better_sharpe_ratio_never_means_less_weight(relative, correlation, years):
    relative = np.sort(np.array(relative))
    multiplier = weight_multiplier(relative, correlation, years)
    assert (np.diff(multiplier) >= -0.01).all()  # the search is that rough
    assert ((multiplier >= 0) & (multiplier <= 2.0 + 1e-12)).all()
    assert weight_multiplier(np.zeros(1), correlation, years)[0] == 1.0


@examples
@given(seed=seeds, count=st.integers(2, 7))
def test_no_other_long_only_portfolio_has_a_higher_sharpe_ratio(seed, count):
    random = np.random.default_rng(seed)
    estimates = AssetEstimates(
        random.normal(0.03, 0.1, count), random.uniform(0.05, 0.3, count), random_correlation(seed, count), 10.0
    )
    covariance = estimates.correlation * np.outer(estimates.stdev, estimates.stdev)

    def ratio(weights):
        return (weights @ estimates.mean) / np.sqrt(np.einsum("...i,ij,...j", weights, covariance, weights))

    weights = highest_sharpe_weights(estimates)
    assert weights.sum() == pytest.approx(1.0)
    assert (weights >= 0).all()
    others = np.vstack([random.dirichlet(np.full(count, 0.5), 300), np.eye(count)])
    assert ratio(weights) >= ratio(others).max() - 1e-9


def test_of_two_that_always_move_together_the_better_one_is_held():
    twins = AssetEstimates(np.array([0.10, 0.09]), np.full(2, 0.2), np.ones((2, 2)), 10.0)
    np.testing.assert_allclose(highest_sharpe_weights(twins), [1.0, 0.0], atol=1e-6)


def test_losers_leave_everything_to_the_least_bad():
    losers = AssetEstimates(np.array([-0.02, -0.01]), np.array([0.1, 0.01]), np.eye(2), 10.0)
    assert highest_sharpe_weights(losers).tolist() == [1.0, 0.0]


def test_complete_shrinkage_of_equal_assets_gives_equal_weights():
    estimates = AssetEstimates(np.array([0.2, 0.0, 0.1]), np.full(3, 0.1), ALIKE_AND_OTHER, 10.0)
    np.testing.assert_allclose(highest_sharpe_weights(shrunk(estimates, 1.0, 1.0, 0.5)), 1 / 3)
    np.testing.assert_allclose(shrunk(estimates, 0.0, 0.0, 0.5).sharpe, estimates.sharpe)


def weight_settings(**keys):
    return EstimationSettings.read({"forecast_weight_estimate": keys}).forecast_weight


@pytest.mark.parametrize("method", ["handcraft", "shrinkage", "one_period"])
def test_assets_without_estimates_are_left_out(method):
    mean = np.array([0.05, NAN, 0.1, 0.02, 0.0])
    stdev = np.array([0.1, 0.1, 0.1, 0.1, 0.0])  # the last never moved
    correlation = np.full((5, 5), 0.3)
    correlation[3] = correlation[:, 3] = NAN  # never seen together with any other
    np.fill_diagonal(correlation, 1.0)
    estimates = AssetEstimates(mean, stdev, correlation, 10.0)
    for equal_vols in (True, False) if method != "handcraft" else (True,):
        weights = optimised_weights(estimates, weight_settings(method=method, equalise_vols=equal_vols))
        assert np.isnan(weights).tolist() == [False, True, False, True, True]
        assert np.nansum(weights) == pytest.approx(1.0)


WEEKS_OF_SEVEN_YEARS = 365  # of 365 days: yearly cut points fall on the same days again
METHODS = ("handcraft", "shrinkage", "one_period", "equal_weights")


def odd_columns(seed, rows):
    """Weekly returns that correlate, with gaps, a late start, one that is always 0, and one that is never there."""
    random = np.random.default_rng(seed)
    values = random.normal(0.02, 1.0, (rows, 6)) + random.normal(size=(rows, 1))
    values[random.random(rows) < 0.2, 1] = NAN
    values[: min(70, rows), 2] = NAN
    values[:, 3], values[:, 4] = 0.0, NAN
    return values


def weekly_table(values):
    buckets = Buckets.of(np.datetime64("2001-01-05") + 7 * np.arange(len(values)), "W")
    return plain_table(buckets, values, np.ones(len(values), dtype=bool))


@settings(max_examples=12, deadline=None)
@given(
    seed=seeds,
    method=st.sampled_from(METHODS),
    how=st.sampled_from(["expanding", "rolling"]),
    rows=st.integers(110, 260),
    cleaning=st.booleans(),
)
def test_weeks_to_come_never_change_the_weights_and_correlations_of_the_past(seed, method, how, rows, cleaning):
    names = tuple("FEDCBA")
    now = odd_columns(seed, rows + WEEKS_OF_SEVEN_YEARS)
    window = {"date_method": how, "rollyears": 1}
    fit = {"method": method, "correlation_estimate": {"cleaning": cleaning}, **window}
    correlate = EstimationSettings.read({"instrument_correlation_estimate": {"cleaning": cleaning, **window}})
    found = [
        (
            fitted_weights(names, table, np.full(6, 0.01), weight_settings(**fit)),
            correlations_over_time(names, table, correlate.instrument_correlation),
        )
        for table in (weekly_table(now), weekly_table(now[:rows]))
    ]
    for at, values in enumerate(("weights", "matrices")):
        later, earlier = found[0][at], found[1][at]
        periods = len(earlier.periods)
        assert periods >= 2
        assert [one.start for one in earlier.periods] == [one.start for one in later.periods[:periods]]
        ours, other = getattr(later, values)[:periods], getattr(earlier, values)
        np.testing.assert_allclose(ours, other, rtol=1e-7, atol=1e-9, equal_nan=True)
    weights = found[1][0].weights[1:]
    assert (np.nan_to_num(weights) >= 0.0).all()
    if method != "equal_weights":
        assert (np.nan_to_num(weights[:, 4]) == 0.0).all()  # never there: nothing is known of it


def test_equal_weights_ask_for_nothing():
    unknown = AssetEstimates(np.full(4, NAN), np.full(4, NAN), np.full((4, 4), NAN), 0.0)
    assert optimised_weights(unknown, weight_settings(method="equal_weights")).tolist() == [0.25] * 4


def test_the_newcomer_gets_half_an_equal_share_until_it_is_known():
    weights = cleaned_weights(np.array([0.75, 0.25, NAN]), np.array([True, True, True]))
    np.testing.assert_allclose(weights, [0.75 * 5 / 6, 0.25 * 5 / 6, 1 / 6])
    assert cleaned_weights(np.array([NAN, 1.0]), np.array([False, False])).tolist() == [0.0, 0.0]


def test_a_weekend_is_paid_for():
    days = np.array(["2023-08-03", "2023-08-04", "2023-08-07"], dtype="datetime64[D]")
    index = np.array([[True, False], [True, True], [True, True]])
    np.testing.assert_allclose(years_since_last_row(days, index) * 365.25, [[0.0, 0.0], [1.0, 0.0], [3.0, 3.0]])


def test_a_deviation_needs_two_values():
    values = np.array([[1.0, 1.0], [3.0, NAN], [NAN, NAN]])
    np.testing.assert_allclose(daily_deviation(values), [np.sqrt(2.0), NAN])


def test_what_is_cheaper_than_average_gets_the_weight_a_certain_difference_deserves():
    factor = cost_factor(np.array([-0.1, 0.0, 0.1, 0.6]), 0.0)
    np.testing.assert_allclose(factor, [2 * 0.6 / (0.6 + 0.5), 1.0, 2 * 0.4 / (0.4 + 0.5), 0.0])
    np.testing.assert_array_less(cost_factor(np.array([0.1]), 0.6), factor[2])  # the more alike, the more it matters
    certain = weight_multiplier(np.array([0.1, -0.1]), 0.3, 1e12)
    np.testing.assert_allclose(cost_factor(np.array([-0.1, 0.1]), 0.3), certain, atol=0.02)


@examples
@given(seed=seeds, count=st.integers(2, 8), correlation=st.floats(0.0, 0.95))
def test_costs_move_weights_towards_the_cheap_and_leave_their_sum(seed, count, correlation):
    random = np.random.default_rng(seed)
    weights, costs = random.uniform(0.05, 1.0, count), random.uniform(0.0, 0.3, count)
    costs[0] = NAN
    adjusted = cost_weighted(weights, costs, correlation)
    assert adjusted.sum() == pytest.approx(weights.sum())
    change = (adjusted / weights)[1:][np.argsort(costs[1:])]
    assert (np.diff(change) <= 1e-12).all()
    order = random.permutation(count)
    np.testing.assert_allclose(cost_weighted(weights[order], costs[order], correlation), adjusted[order])
    np.testing.assert_allclose(cost_weighted(weights, np.full(count, 0.1), correlation), weights)


def test_without_weights_or_costs_there_is_nothing_to_adjust():
    missing, costs = np.array([NAN, NAN]), np.array([0.1, 0.2])
    np.testing.assert_array_equal(cost_weighted(missing, costs, 0.5), missing)
    np.testing.assert_array_equal(cost_weighted(np.array([0.7, 0.3]), missing, 0.5), [0.7, 0.3])
    np.testing.assert_array_equal(cost_weighted(np.array([1.0, NAN]), costs, NAN), [1.0, NAN])
