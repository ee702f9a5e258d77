"""The engine against the reference numbers of the established library: fixed parameters, 26 instruments, 13 rules."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from pysys.data.csv_layout import load_market_data
from pysys.systems.backtest import run_backtest
from pysys.systems.backtest_result import BacktestResult
from pysys.systems.backtest_yaml import read_backtest_config

EVERY_DAY = ("CORN", "US10", "SP500_micro")
THINNED = (
    "AUD", "BITCOIN", "CRUDE_W_mini", "EUROSTX", "GAS_US_mini", "GILT", "GOLD_micro", "JPY", "KOSPI_mini", "KR3",
    "LIVECOW", "MXP", "NASDAQ_micro", "NIKKEI", "PLAT", "SOFR", "SOYBEAN", "SUGAR11", "US2", "US5", "V2X", "VIX",
    "WHEAT",
)  # fmt: skip


@pytest.fixture(scope="module")
def result(shared: Path) -> BacktestResult:
    config = read_backtest_config(shared / "reference" / "config.yaml")
    return run_backtest(config, load_market_data(shared / "data" / "futures", config.instruments))


def assert_agrees(ours: np.ndarray, reference: np.ndarray, what: str) -> None:
    """The reference's own fair test: 1e-8 of the value, or of a thousandth of the median; missing values agree."""
    np.testing.assert_array_equal(np.isnan(ours), np.isnan(reference), err_msg=f"{what}: missing values")
    if np.isnan(reference).all():
        return
    size = np.abs(reference)
    error = np.abs(ours - reference) / np.maximum(np.maximum(size, 0.001 * np.nanmedian(size)), 1e-300)
    assert np.nanmax(error) <= 1e-8, f"{what}: off by {np.nanmax(error):.2g} in row {np.nanargmax(error)}"


def assert_file_agrees(result: BacktestResult, path: Path, instrument: str) -> None:
    reference = pd.read_csv(path, parse_dates=["date"], index_col="date")
    for name in reference.columns:
        ours = result.series_of(name, instrument)
        assert reference.index.isin(ours.index).all()
        assert_agrees(ours.reindex(reference.index).to_numpy(), reference[name].to_numpy(float), f"{path.name} {name}")


@pytest.mark.parametrize("instrument", EVERY_DAY + THINNED)
def test_every_column_of_every_instrument_agrees(result, shared, instrument):
    assert_file_agrees(result, shared / "reference" / f"{instrument}.csv", instrument)


@pytest.mark.parametrize("instrument", EVERY_DAY)
def test_intermediates_and_robust_volatility_agree(result, shared, instrument):
    assert_file_agrees(result, shared / "reference" / f"intermediate_{instrument}.csv", instrument)


@pytest.mark.parametrize("instrument", EVERY_DAY)
def test_days_are_the_same_and_profits_agree(result, shared, instrument):
    path = shared / "reference" / f"pnl_{instrument}.csv"
    assert_file_agrees(result, path, instrument)
    days = pd.read_csv(path, parse_dates=["date"], index_col="date").index
    assert list(result.series_of("price", instrument).index) == list(days)


def test_portfolio_agrees(result, shared):
    reference = pd.read_csv(shared / "reference" / "portfolio.csv", parse_dates=["date"], index_col="date")
    ours = result.portfolio
    assert list(ours.index) == list(reference.index)
    for name in ("gross", "costs", "net"):
        assert_agrees(ours[name].to_numpy(), reference[name].to_numpy(float), f"portfolio {name}")


def test_statistics_agree(result, shared):
    reference = pd.read_csv(shared / "reference" / "stats.csv", index_col="stat")
    assert set(reference.index) == set(result.stats["net"])
    for returns in ("gross", "costs", "net"):
        for stat, expected in reference[returns].drop("p_value").items():
            assert result.stats[returns][stat] == pytest.approx(expected, rel=1e-8, nan_ok=True), (returns, stat)


def test_instrument_totals_turnover_and_sr_costs_agree(result, shared):
    reference = pd.read_csv(shared / "reference" / "instrument_pnl.csv", index_col="instrument")
    ours = pd.DataFrame.from_dict(result.instrument_stats, orient="index").loc[reference.index]
    for name in reference.columns:
        if reference[name].dtype.kind in "if":
            assert_agrees(ours[name].to_numpy(float), reference[name].to_numpy(float), f"instrument_pnl {name}")
        else:
            assert list(ours[name]) == list(reference[name])
