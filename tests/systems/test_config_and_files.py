"""What a backtest's YAML may say, whose rules it may use, and what a finished backtest leaves on disk."""

import json
import math
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml

from pysys.domain.errors import ConfigError
from pysys.systems.backtest import run_backtest
from pysys.systems.backtest_files import write_result
from pysys.systems.backtest_yaml import parse_backtest_config, read_backtest_config
from pysys.systems.volatility import RobustVolatility
from tests.systems.markets import configuration, instrument, market, walk

CARRY = {"function": "systems.provided.rules.carry.carry", "data": ["rawdata.raw_carry"], "forecast_scalar": 30.0}
KEYS = {"trading_rules": {"carry": CARRY}, "instrument_weights": {"CORN": 1.0}}


def test_what_is_not_said_has_the_established_default():
    config = parse_backtest_config(KEYS)
    assert (config.forecast_cap, config.average_absolute_forecast) == (20.0, 10.0)
    assert (config.buffer_method, config.buffer_size, config.buffer_trade_to_edge) == ("forecast", 0.1, True)
    assert (config.forecast_weight_ewma_span, config.instrument_weight_ewma_span) == (125.0, 125.0)
    assert config.forecast_weights == {"carry": 1.0}
    assert config.forecast_scalar_of("carry", "CORN") == 30.0


def test_numbers_yaml_reads_as_text_are_numbers_all_the_same():
    config = parse_backtest_config({**KEYS, "volatility_calculation": yaml.safe_load("vol_abs_min: 1e-10")})
    assert config.volatility.vol_abs_min == 1e-10


def test_the_usual_alternative_volatility_is_chosen_by_its_established_name():
    calculation = {"func": "sysquant.estimators.vol.robust_vol_calc", "floor_days": 250}
    assert parse_backtest_config({**KEYS, "volatility_calculation": calculation}).volatility == RobustVolatility(
        floor_days=250
    )


def test_values_given_by_instrument_reach_their_instrument_alone():
    keys = {
        "forecast_weights": {"CORN": {"ewmac4_16": 1.0}, "WHEAT": {"carry10": 0.5, "breakout20": 0.5}},
        "forecast_div_multiplier": {"CORN": 1.0, "WHEAT": 2.0},
    }
    config = configuration(["CORN", "WHEAT"], **keys)
    result = run_backtest(config, market(instrument("CORN", walk(1, 150)), instrument("WHEAT", walk(2, 150))))
    corn = result.series_of("combined_forecast", "CORN")
    alone = result.series_of("fc_ewmac4_16", "CORN").ffill().fillna(0.0)
    np.testing.assert_allclose(corn, alone, rtol=1e-9, atol=1e-12)
    assert result.series_of("fw_carry10", "CORN").isna().all()
    with pytest.raises(ConfigError, match=r"forecast_weights are given by instrument, but not for GOLD"):
        config.forecast_weights_of("GOLD")


REFUSED = [
    ({"forcast_cap": 20}, "unknown key forcast_cap"),
    ({"trading_rules": {}}, "trading_rules is missing or empty"),
    ({"trading_rules": {"carry": {**CARRY, "othr_args": {}}}}, "trading rule carry: unknown key othr_args"),
    ({"trading_rules": {"carry": {**CARRY, "data": ["rawdata.nothing"]}}}, "no daily series is called rawdata.nothing"),
    ({"trading_rules": {"carry": {"data": []}}}, "trading rule carry: give `function: dotted.path`"),
    ({"forecast_weights": {"carry": 0.5, "value": 0.5}}, "forecast_weights: no trading rule is called value"),
    ({"forecast_weights": {"CORN": {"value": 1.0}}}, "forecast_weights of CORN: no trading rule is called value"),
    ({"forecast_weights": {"carry": 0.0}}, "forecast_weights: all weights are zero"),
    ({"forecast_scalars": {"value": 1.0}}, "forecast_scalars: no trading rule is called value"),
    ({"instrument_weights": {"CORN": -0.1}}, "instrument_weights: CORN must not be negative"),
    ({"forecast_cap": "wide"}, "forecast_cap must be a number, not 'wide'"),
    ({"percentage_vol_target": 0}, "percentage_vol_target must be above 0"),
    ({"notional_trading_capital": math.inf}, "notional_trading_capital must be finite"),
    ({"buffer_method": "narrow"}, "buffer_method must be one of position, forecast, none"),
    ({"buffer_trade_to_edge": 1}, "buffer_trade_to_edge must be True or False"),
    ({"use_SR_costs": "yes"}, "use_SR_costs must be True or False"),
    (
        {"capital_multiplier": {"func": "syscore.capital.double"}},
        "capital_multiplier: unknown func syscore.capital.double",
    ),
    ({"start_date": "soon"}, "start_date must be a date such as 2000-01-31, not 'soon'"),
    ({"small_system": {"shadow_price": 1}}, "small_system: unknown key shadow_price"),
    ({"small_system": {"position_limits": {"CORN": -1}}}, "position_limits of CORN must be at least 0"),
    ({"volatility_calculation": {"func": "my.vol"}}, "volatility_calculation: unknown func my.vol"),
    ({"volatility_calculation": {"dayz": 3}}, "volatility_calculation: unknown key dayz"),
]


@pytest.mark.parametrize(("keys", "message"), REFUSED, ids=[one[1][:40] for one in REFUSED])
def test_a_configuration_that_cannot_be_honoured_is_refused(keys, message):
    with pytest.raises(ConfigError, match=message):
        parse_backtest_config({**KEYS, **keys})


def test_a_file_that_cannot_be_read_is_named(tmp_path):
    with pytest.raises(ConfigError, match=r"cannot read the backtest configuration .*none.yaml"):
        read_backtest_config(tmp_path / "none.yaml")
    (tmp_path / "bad.yaml").write_text("trading_rules: [")
    with pytest.raises(ConfigError, match=r"bad.yaml is not valid YAML"):
        read_backtest_config(tmp_path / "bad.yaml")
    (tmp_path / "list.yaml").write_text("- 1")
    with pytest.raises(ConfigError, match=r"list.yaml must hold"):
        read_backtest_config(tmp_path / "list.yaml")


OWN_RULE = """
def reversal(price, days=3):
    return -(price.ffill().diff(days))
"""


def with_own_rule(function, **other_args):
    rule = {"function": function, "data": ["rawdata.get_daily_prices"], "other_args": other_args}
    return parse_backtest_config({**KEYS, "trading_rules": {"reversal": rule, "carry": CARRY}})


def test_a_readers_own_rule_is_a_function_in_a_file(tmp_path):
    (tmp_path / "ideas").mkdir()
    (tmp_path / "ideas" / "mine.py").write_text(OWN_RULE)
    corn = instrument("CORN", walk(1, 80))
    result = run_backtest(with_own_rule("ideas.mine.reversal", days=5), market(corn), rules_folder=tmp_path)
    price = result.series_of("price", "CORN")
    expected = -price.diff(5).replace(0.0, np.nan)
    pd.testing.assert_series_equal(result.series_of("raw_reversal", "CORN"), expected, check_names=False)


NO_RULE = [
    ("ideas.mine.momentum", {}, "ideas.mine has no function called momentum"),
    ("ideas.yours.reversal", {}, r"found no module ideas.yours and no file ideas/yours.py"),
    ("reversal", {}, "'reversal' is not a dotted path to a function"),
    ("ideas.mine.reversal", {"weeks": 1}, "ideas.mine.reversal does not take 1 data and {'weeks': 1}"),
    ("systems.provided.rules.ewmac.ewmac", {"Lfast": 4}, "does not take 1 data"),
]


@pytest.mark.parametrize(("function", "other_args", "message"), NO_RULE)
def test_a_rule_that_is_not_there_is_refused(tmp_path, function, other_args, message):
    (tmp_path / "ideas").mkdir()
    (tmp_path / "ideas" / "mine.py").write_text(OWN_RULE)
    with pytest.raises(ConfigError, match=message):
        run_backtest(
            with_own_rule(function, **other_args), market(instrument("CORN", walk(1, 80))), rules_folder=tmp_path
        )


def finished():
    both = market(instrument("CORN", walk(1, 120, 0.05)), instrument("WHEAT", walk(2, 90), start="2020-02-03"))
    return run_backtest(configuration(["CORN", "WHEAT"]), both, capital=4_000_000)


def test_files_hold_what_the_result_holds(tmp_path):
    result = finished()
    assert sorted(path.name for path in write_result(result, tmp_path / "new" / "folder")) == [
        "config.yaml",
        "portfolio.parquet",
        "positions.parquet",
        "stats.json",
    ]
    folder = tmp_path / "new" / "folder"
    positions = pd.read_parquet(folder / "positions.parquet")
    positions["date"] = positions["date"].astype(result.positions["date"].dtype)
    pd.testing.assert_frame_equal(
        positions, result.positions, check_categorical=False, check_dtype=False, check_exact=True
    )
    portfolio = pd.read_parquet(folder / "portfolio.parquet")
    np.testing.assert_array_equal(portfolio["net"], result.portfolio["net"])
    stats = json.loads((folder / "stats.json").read_text())
    assert stats["net"]["sharpe"] == result.stats["net"]["sharpe"]
    assert stats["instruments"]["CORN"]["turnover"] == result.instrument_stats["CORN"]["turnover"]


def test_missing_numbers_are_null_in_parquet_and_json(tmp_path):
    import pyarrow.parquet as pq

    result = finished()
    write_result(result, tmp_path)
    column = pq.read_table(tmp_path / "positions.parquet")["price"]
    assert column.null_count == result.positions["price"].isna().sum() > 0
    assert "NaN" not in (tmp_path / "stats.json").read_text()


def test_the_resolved_configuration_runs_again_to_the_same_result(tmp_path):
    result = finished()
    write_result(result, tmp_path)
    again = read_backtest_config(tmp_path / "config.yaml")
    assert again == result.config
    assert again.notional_trading_capital == 4_000_000


def test_some_instruments_of_a_configuration_share_all_the_weight():
    config = configuration(["CORN", "WHEAT", "GOLD"]).restricted_to(["GOLD", "CORN"])
    assert config.instrument_weights == {"CORN": 0.5, "GOLD": 0.5}
    with pytest.raises(ConfigError, match="no instrument weight for TIN"):
        config.restricted_to(["TIN"])


def test_a_backtest_from_files_to_files_does_without_pandas(tmp_path):
    """Importing pandas takes longer than the backtest."""
    script = (
        "import sys, markets; from pathlib import Path\n"
        "import pysys.data.csv_layout; from pysys.systems.backtest import run_backtest\n"
        "from pysys.systems.backtest_files import write_result\n"
        "corn = markets.instrument('CORN', markets.walk(1, 100))\n"
        "write_result(run_backtest(markets.configuration(['CORN']), markets.market(corn)), sys.argv[1])\n"
        "sys.exit('pandas' in sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", script, str(tmp_path)], cwd=Path(__file__).parent, check=True)
