"""Sweeps: the same numbers on one core, on many and on a cluster, and a failure that stops nobody else."""

import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from pysys.domain.errors import ConfigError
from pysys.systems.backtest import run_backtest
from pysys.systems.market_data import FxPrices
from pysys.systems.market_files import open_market_data, save_market_data
from pysys.systems.sweep import sweep
from pysys.systems.variations import varied_config
from tests.systems.markets import SCALARS, configuration, instrument, market, walk

CODES = ("CORN", "WHEAT")
FAST = "trading_rules.ewmac4_16.other_args.Lfast"
VARIATIONS = [
    {FAST: 4},
    {FAST: 8, "percentage_vol_target": 10.0},
    {"forecast_cap": -1},
    {"no_such_key": 1},
    {"trading_rules.nothing.other_args": {}},
    {"notional_trading_capital": 5_000_000},
]


@pytest.fixture(scope="module")
def prices():
    return market(*(instrument(code, walk(seed, 400)) for seed, code in enumerate(CODES)))


@pytest.fixture(scope="module")
def alone(prices) -> pd.DataFrame:
    return sweep(configuration(CODES), prices, VARIATIONS, workers=1)


def test_each_variation_has_its_row_in_order_and_its_own_backtest(prices, alone):
    assert list(alone[FAST].fillna(0)) == [4, 8, 0, 0, 0, 0]
    for row, keys in ((0, {}), (5, {"notional_trading_capital": 5_000_000})):
        expected = run_backtest(configuration(CODES, **keys), prices).stats
        assert alone["net_sharpe"][row] == expected["net"]["sharpe"]
        assert alone["gross_ann_std"][row] == expected["gross"]["ann_std"]
    assert alone["net_ann_std"][1] < alone["net_ann_std"][0]


def test_a_variation_that_fails_says_why_and_the_others_go_on(alone):
    assert list(alone["error"] != "") == [False, False, True, True, True, False]
    assert "forecast_cap" in alone["error"][2]
    assert "no_such_key" in alone["error"][3]
    assert "nothing called nothing" in alone["error"][4]
    assert alone.loc[2:4, "net_sharpe"].isna().all()


SAME_IN_A_FILE = [
    ({"forecast_scalars": {"ewmac4_16": 3.0}}, {"forecast_scalars": {**SCALARS, "ewmac4_16": 3.0}}),
    ({"forecast_scalars.ewmac4_16": 3.0}, {"forecast_scalars": {**SCALARS, "ewmac4_16": 3.0}}),
    (
        {"forecast_scalars.ewmac4_16.CORN": 3.0},
        {"forecast_scalars": {**SCALARS, "ewmac4_16": {"CORN": 3.0, "WHEAT": SCALARS["ewmac4_16"]}}},
    ),
    ({"instruments": ["CORN"]}, {"instrument_weights": {"CORN": 1.0}}),
    ({"instrument_weights": {"WHEAT": 1.0}}, {"instrument_weights": {"WHEAT": 1.0}}),
    ({"forecast_weight_estimate.method": "shrinkage"}, {"forecast_weight_estimate": {"method": "shrinkage"}}),
    (
        {"instrument_weight_estimate.correlation_estimate.min_periods": 30},
        {"instrument_weight_estimate": {"correlation_estimate": {"min_periods": 30}}},
    ),
    ({"forecast_div_multiplier.CORN": 2.0}, {"forecast_div_multiplier": {"CORN": 2.0, "WHEAT": 1.3}}),
    ({"small_system.shadow_cost": 10}, {"small_system": {"shadow_cost": 10}}),
    ({"risk_overlay.max_risk_leverage": 5}, {"risk_overlay": {"max_risk_leverage": 5}}),
    ({"forecast_mapping.CORN.threshold": 5}, {"forecast_mapping": {"CORN": {"threshold": 5}}}),
    ({"volatility_calculation.days": 20}, {"volatility_calculation": {"days": 20}}),
    ({"capital_multiplier.func": "half_compounding"}, {"capital_multiplier": {"func": "half_compounding"}}),
    ({"exclude_instrument_lists.bad_markets": ["CORN"]}, {"exclude_instrument_lists": {"bad_markets": ["CORN"]}}),
    ({"use_SR_costs": True, "start_date": "2020-03-01"}, {"use_SR_costs": True, "start_date": "2020-03-01"}),
    ({"buffer_size": None}, {}),
    ({"rule_variations": None}, {}),
    ({"instruments": None}, {}),
]


@pytest.mark.parametrize(("variation", "keys"), SAME_IN_A_FILE, ids=[next(iter(one)) for one, _ in SAME_IN_A_FILE])
def test_every_key_can_be_varied_with_the_meaning_it_has_in_a_file(variation, keys):
    varied = varied_config(configuration(CODES).as_yaml_keys(), variation)
    assert varied == configuration(CODES, **keys)
    assert bool(keys) == (varied != configuration(CODES))


@pytest.mark.parametrize(
    ("variation", "message"),
    [
        ({"forecast_scalars": {"value": 1.0}}, "nothing called value"),
        ({"forecast_scalar": 2.0}, r"vary forecast_scalars.<rule> instead"),
        ({"forecast_weight_estimat.method": "shrinkage"}, "nothing called forecast_weight_estimat"),
        ({"forecast_weight_estimate.metod": "shrinkage"}, "unknown key metod"),
        ({"instruments": "CORN"}, "instruments must be a list of instrument codes"),
    ],
)
def test_a_key_there_is_not_cannot_be_varied(variation, message):
    with pytest.raises(ConfigError, match=message):
        varied_config(configuration(CODES).as_yaml_keys(), variation)


def test_two_processes_find_what_one_finds(prices, alone):
    seen: list[tuple[int, int]] = []
    both = sweep(
        configuration(CODES), prices, VARIATIONS, workers=2, progress=lambda done, total: seen.append((done, total))
    )
    pd.testing.assert_frame_equal(both, alone)
    assert seen == [(count, 6) for count in range(1, 7)]


def test_a_cluster_of_two_workers_finds_what_one_process_finds(prices, alone):
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", category=DeprecationWarning, module=r"(distributed|dask|tornado)\b")
        distributed = pytest.importorskip("distributed")
        cluster = distributed.LocalCluster(
            n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None, host="127.0.0.1"
        )
        with cluster:
            found = sweep(configuration(CODES), prices, VARIATIONS, address=cluster.scheduler_address)
    pd.testing.assert_frame_equal(found, alone)


def test_nothing_to_vary_is_an_empty_table_and_no_worker_is_refused(prices):
    assert list(sweep(configuration(CODES), prices, []).columns) == ["error"]
    with pytest.raises(ConfigError, match="at least 1"):
        sweep(configuration(CODES), prices, VARIATIONS, workers=0)


def test_prices_in_files_are_the_same_prices(tmp_path: Path):
    rates = FxPrices(np.array(["2020-01-06"], dtype="datetime64[us]"), np.array([1.1]))
    data = market(instrument("CORN", walk(1, 50)), instrument("WHEAT", walk(2, 70, gaps=0.2)), fx={"EUR": rates})
    save_market_data(data, tmp_path)
    opened = open_market_data(tmp_path)
    assert list(opened.instruments) == ["CORN", "WHEAT"]
    for code, one in data.instruments.items():
        other = opened.instruments[code]
        assert other.meta == one.meta
        for kind in ("multiple", "adjusted"):
            for name in getattr(one, kind).__slots__:
                ours, theirs = getattr(getattr(other, kind), name), getattr(getattr(one, kind), name)
                np.testing.assert_array_equal(ours, theirs)
    np.testing.assert_array_equal(opened.fx["EUR"].price, rates.price)
