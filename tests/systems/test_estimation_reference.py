"""Estimation against the reference numbers of the established library: 8 instruments, 13 rules."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from pysys.data.csv_layout import load_market_data
from pysys.systems.backtest import run_backtest
from pysys.systems.backtest_result import BacktestResult
from pysys.systems.backtest_yaml import read_backtest_config
from pysys.systems.estimation.cleaning import cleaned_weights
from pysys.systems.estimation.diversification import diversification_multiplier
from pysys.systems.estimation.handcraft import handcrafted_weights
from pysys.systems.estimation.sharpe_adjustment import weight_multiplier
from pysys.systems.estimation.tables import estimate_table

EXACT = 1e-12
OPTIMISED = 2e-8  # what two runs of a numerical optimiser may differ by; the reference's own figure
WEEKS_A_YEAR = 365.25 / 7.0


@pytest.fixture(scope="module")
def result(shared: Path) -> BacktestResult:
    config = read_backtest_config(shared / "reference" / "estimate_config.yaml")
    return run_backtest(config, load_market_data(shared / "data" / "futures", config.instruments))


def reference(shared: Path, name: str, index: list[str] | str = "date") -> pd.DataFrame:
    table = pd.read_csv(shared / "reference" / f"estimate_{name}.csv")
    for column in {"date", "fit_start", "fit_end", "period_start", "period_end"} & set(table.columns):
        table[column] = pd.to_datetime(table[column])
    return table.set_index(index)


def assert_agrees(ours: pd.DataFrame, expected: pd.DataFrame, within: float) -> None:
    ours = ours.loc[expected.index, expected.columns]
    np.testing.assert_allclose(ours.to_numpy(float), expected.to_numpy(float), rtol=within, atol=within)


def test_forecast_scalars_agree(result, shared):
    ours = estimate_table(result, "forecast_scalars").loc["CORN"]
    assert_agrees(ours, reference(shared, "forecast_scalars"), EXACT)


def test_costs_of_rules_agree(result, shared):
    assert_agrees(estimate_table(result, "sr_costs"), reference(shared, "sr_costs", "instrument"), EXACT)


def test_forecast_weights_agree_before_and_after_smoothing(result, shared):
    rows = ["instrument", "date"]
    raw = estimate_table(result, "raw_forecast_weights")
    expected = reference(shared, "forecast_weights_raw", rows)
    assert len(raw) == len(expected)
    assert_agrees(raw, expected, OPTIMISED)
    assert_agrees(estimate_table(result, "forecast_weights"), reference(shared, "forecast_weights", rows), OPTIMISED)


def test_forecast_diversification_multipliers_agree(result, shared):
    assert_agrees(estimate_table(result, "forecast_div_multiplier"), reference(shared, "fdm"), OPTIMISED)


PERIOD = ["fit_start", "fit_end", "period_start", "period_end", "a", "b"]


def test_correlations_of_every_fit_agree(result, shared):
    of_rules = estimate_table(result, "forecast_correlations").loc["CORN"].set_index(PERIOD)
    of_instruments = estimate_table(result, "instrument_correlations").set_index(PERIOD)
    for ours, name in ((of_rules, "forecast_correlation"), (of_instruments, "instrument_correlation")):
        expected = reference(shared, name, PERIOD)
        assert len(ours) == len(expected)
        assert_agrees(ours, expected, EXACT)


def test_instrument_weights_agree_before_and_after_smoothing(result, shared):
    raw = reference(shared, "instrument_weights_raw")
    assert_agrees(estimate_table(result, "raw_instrument_weights"), raw, EXACT)
    smoothed = reference(shared, "instrument_weights")
    assert_agrees(estimate_table(result, "instrument_weights"), smoothed, EXACT)


def test_instrument_diversification_multiplier_agrees(result, shared):
    assert_agrees(estimate_table(result, "instrument_div_multiplier"), reference(shared, "idm"), EXACT)


def test_latest_values_and_positions_agree(result, shared):
    names = {
        "forecast_scalar": "scalar_{rule}",
        "forecast_weight": "fw_{rule}",
        "forecast_div_mult": "forecast_div_multiplier",
        "instrument_weight": "instrument_weight",
        "combined_forecast": "combined_forecast",
        "subsystem_position": "subsystem_position",
        "notional_position": "notional_position",
    }
    final = reference(shared, "final").reset_index()
    for row in final[final.quantity != "instrument_div_mult"].itertuples():
        ours = result.series_of(names[row.quantity].format(rule=row.rule), row.instrument)[row.date]
        assert ours == pytest.approx(row.value, rel=1e-6, abs=OPTIMISED), (row.quantity, row.instrument, row.rule)


def test_portfolio_statistics_agree_to_the_digits_given(result, shared):
    expected = reference(shared, "stats", "stat")
    for returns in ("gross", "costs", "net"):
        for stat, value in expected[returns].items():
            assert result.stats[returns][stat] == pytest.approx(value, rel=6e-4, nan_ok=True), (returns, stat)


def test_handcrafted_weights_agree(shared):
    for case in json.loads((shared / "reference" / "handcraft_cases.json").read_text()):
        correlation = np.array(case["correlation"])
        sharpe = np.array(case["annual_mean"]) / np.array(case["annual_stdev"])
        years = case["weeks_of_data"] / WEEKS_A_YEAR
        weights = handcrafted_weights(correlation, None if case["equalise_SR"] else sharpe, years)
        np.testing.assert_allclose(weights, case["weights"], rtol=0, atol=1.5e-8, err_msg=str(case["case"]))
        equal = np.full(len(weights), 1.0 / len(weights))
        multiplier = diversification_multiplier(equal, correlation, largest=2.5)
        assert multiplier == pytest.approx(case["div_mult_equal_weights"], rel=EXACT)


def test_weight_multipliers_of_sharpe_ratios_agree(shared):
    table = pd.read_csv(shared / "reference" / "sr_multiplier.csv")
    for row in table.itertuples():
        ours = weight_multiplier(np.array([float(row.relative_SR)]), row.avg_correlation, row.years_of_data)[0]
        assert ours == pytest.approx(row.multiplier, abs=3e-7), row


def test_cleaned_weights_agree(shared):
    table = pd.read_csv(shared / "reference" / "clean_weights.csv", dtype=str)

    def numbers(text: str) -> np.ndarray:
        return np.array([float(one or "nan") for one in text.split("|")])

    for row in table.itertuples():
        ours = cleaned_weights(numbers(row.weights), numbers(row.must_haves) == 1.0)
        np.testing.assert_allclose(ours, numbers(row.cleaned), rtol=0, atol=EXACT, err_msg=str(row))
