"""Spikes: a bad tick is caught wherever it comes in, and a genuine crash is known for what it is."""

import csv
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pysys.domain.prices import from_datetime64
from pysys.domain.spikes import check_spikes, normalised_changes, spike_rows

DAY = 86_400_000_000
QUIET = 100 + np.cumsum(np.tile([0.5, -0.5], 50))


def test_a_change_is_measured_against_the_average_change_its_own_included() -> None:
    times = np.array([0, 1, 5]) * DAY
    z = normalised_changes(times, np.array([100.0, 101.0, 105.0]))
    keep = 1 - 2 / 501
    assert np.isnan(z[0]) and z[1] == 1
    assert z[2] == pytest.approx(2 / ((keep * 1 + 2) / (keep + 1)))  # 4 points in 4 days count 2


@pytest.mark.parametrize("row", [40, 60, 99])
def test_a_misplaced_decimal_point_is_found_in_new_rows_and_left_in_old_ones(row: int) -> None:
    prices = QUIET.copy()
    prices[row] *= 100
    times = np.arange(100) * DAY
    found = check_spikes(times, prices, int(times[50]), 8.0)
    assert found.found is (row >= 50)
    assert found.first_spike == (times[row] if row >= 50 else None)
    assert check_spikes(times, prices, None, 8.0).first_spike == times[row]


def test_the_jump_from_the_last_old_row_to_the_first_new_one_counts() -> None:
    times = np.arange(100) * DAY
    prices = np.where(np.arange(100) < 50, QUIET, QUIET * 2)
    assert spike_rows(times, prices, int(times[50]), 8.0) == [50]


def test_nothing_to_compare_is_no_spike() -> None:
    assert not check_spikes(np.array([0]), np.array([1.0]), None, 8.0).found
    flat = check_spikes(np.arange(3) * DAY, np.ones(3), None, 8.0)
    assert not flat.found and np.isnan(flat.largest_change)


@given(st.lists(st.floats(1, 1e4), min_size=2, max_size=60), st.floats(1.1, 50), st.floats(1e-3, 1e3))
def test_the_unit_of_the_price_plays_no_part(prices: list[float], limit: float, unit: float) -> None:
    times = np.arange(len(prices)) * DAY
    values = np.array(prices)
    ours, scaled = (normalised_changes(times, each) for each in (values, values * unit))
    np.testing.assert_allclose(ours, scaled, rtol=1e-6, atol=1e-6)
    assert set(spike_rows(times, values, None, limit + 1e-3)) <= set(spike_rows(times, values, None, limit))


def test_spikes_agree_with_the_reference(shared: Path) -> None:
    series: dict[str, list[dict[str, str]]] = {}
    with (shared / "reference" / "spike_series.csv").open() as file:
        for row in csv.DictReader(file):
            series.setdefault(row["case"], []).append(row)
    with (shared / "reference" / "spike_results.csv").open() as file:
        results = list(csv.DictReader(file))
    for expected in results:
        rows = series[expected["case"]]
        times = from_datetime64(np.array([row["datetime"] for row in rows], dtype="datetime64[us]"))
        prices = np.array([float(row["price"]) if row["price"] else np.nan for row in rows])
        new = np.array([row["is_new"] == "1" for row in rows])
        found = check_spikes(times, prices, int(times[new][0]), float(expected["max_spike"]))
        first = expected["first_spike"]
        assert found.found is (expected["flagged"] == "1")
        assert found.first_spike == (from_datetime64(np.array([first], "datetime64[us]"))[0] if first else None)
        assert found.largest_change == pytest.approx(float(expected["max_normalised_change_in_new"]), rel=1e-12)
