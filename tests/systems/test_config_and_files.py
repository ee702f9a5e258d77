"""What a backtest's YAML may say, whose rules it may use, and what a finished backtest leaves on disk."""

import json
import math
import subprocess
import sys
from contextlib import nullcontext
from dataclasses import replace
from datetime import date, datetime
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml

from pysys.domain.errors import ConfigError
from pysys.systems.backtest import run_backtest
from pysys.systems.backtest_config import ESTIMATE_FLAGS
from pysys.systems.backtest_files import write_result
from pysys.systems.backtest_yaml import parse_backtest_config, read_backtest_config
from pysys.systems.config_checks import ConfigWarning
from pysys.systems.small_system import SmallSystem
from pysys.systems.volatility import MixedVolatility, RobustVolatility
from tests.systems.markets import FACTS, RULES, configuration, instrument, market, walk

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
    ({"volatility_calculation": {"days": 0}}, "volatility_calculation: days must be above 1, not 0"),
    ({"volatility_calculation": {"proportion_of_slow_vol": 1.5}}, "must be between 0 and 1, not 1.5"),
    ({"volatility_calculation": {"multiplier_to_get_daily_vol": 0}}, "multiplier_to_get_daily_vol must be above 0"),
    ({"volatility_calculation": {"func": "robust_vol_calc", "floor_days": 50}}, "must not be above floor_days"),
    ({"buffer_size": 5}, "buffer_size must be between 0 and 1, not 5"),
    ({"buffer_method": None}, "buffer_method must be one of position, forecast, none, not 'None'"),
    ({"forecast_div_multiplier": -1.0}, "forecast_div_multiplier must be above 0"),
    ({"forecast_div_multiplier": {"CORN": 0.0}}, "forecast_div_multiplier of CORN must be above 0"),
    ({"capital_multiplier": {"func": "full_compounding", "fnc": 3}}, "capital_multiplier: unknown key fnc"),
    ({"capital_multiplier": 2}, "capital_multiplier must be `func: dotted.path`, not 2"),
    ({"risk_overlay": None}, "risk_overlay limits nothing"),
    ({"instruments": ["WHEAT"]}, "WHEAT have no weight and CORN are not listed. Remove `instruments`"),
    ({"instruments": [False]}, "instruments: False is not text, so it is none of the instrument codes; write it in"),
    ({"instruments": ["CORN", "CORN"]}, "instruments names CORN more than once"),
    ({"small_system": {"no_trade": ["CRON"]}}, "small_system: no_trade names CRON, which this backtest does not trade"),
    ({"small_system": {"position_limits": {"CRON": 1}}}, "small_system: position_limits names CRON"),
    ({"rule_variations": ["value"]}, "rule_variations: no trading rule is called value"),
    ({"duplicate_instruments": {"include": {"corn": "CORN"}, "exclude": {"corn": ["CORN"]}}}, "both included and excl"),
    ({"exclude_instrument_lists": {"bad": ["CORN"]}}, "exclude_instrument_lists: unknown key bad"),
    ({"exclude_instrument_lists": {"bad_markets": ["CORN"]}}, "instrument_weights: all weights are zero"),
    ({"trading_rules": {"carry": {**CARRY, "other_args": [30]}}}, "other_args must be a table"),
    ({"volatility_calculation": {"backfill": True}}, "backfill: True would size the first positions with a volatility"),
    (
        {"risk_overlay": {"max_risk_fraction_correlation_risk": 2}},
        "there is no max_risk_fraction_correlation_risk here",
    ),
]


@pytest.mark.parametrize(("keys", "message"), REFUSED, ids=[one[1][:40] for one in REFUSED])
def test_a_configuration_that_cannot_be_honoured_is_refused(keys, message):
    with pytest.raises(ConfigError, match=message):
        parse_backtest_config({**KEYS, **keys})


TREND = {**CARRY, "function": "systems.provided.rules.breakout.breakout", "data": ["rawdata.get_daily_prices"]}
UNSCALED = {key: value for key, value in CARRY.items() if key != "forecast_scalar"}
TWO_RULES = {"trading_rules": {"carry": CARRY, "trend": TREND}}
SHARED = {**TWO_RULES, "forecast_weights": {"carry": 0.333, "trend": 0.666}}
BY_CODE = {"CORN": {"carry": 1.0}, "CRON": {"trend": 1.0}}
SAID = [
    ({"trading_rules": {"carry": UNSCALED}}, "no forecast_scalar for carry, so 1.0 is used .* under forecast_scalars"),
    ({**SHARED, "forecast_scalars": {"trend": 2.0}}, "trend have a forecast_scalar of their own, which is used"),
    (TWO_RULES, "there are no forecast_weights, so every rule has the same"),
    ({**TWO_RULES, "forecast_weights": {"carry": 5.0, "trend": 0.92}}, "forecast_weights add up to 5.92, not to 1"),
    ({"forecast_weights": {"CORN": {"carry": 0.9}}}, "forecast_weights of CORN add up to 0.9"),
    ({"instrument_weights": {"CORN": 1.0, "WHEAT": 2.0}}, "instrument_weights add up to 3, not to 1"),
    ({"forecast_div_multiplier": {"CORN": 1.0, "CRON": 9.0}}, "forecast_div_multiplier names CRON, not traded here"),
    ({**TWO_RULES, "forecast_weights": BY_CODE}, "forecast_weights names CRON"),
    ({**SHARED, "rule_variations": ["carry"]}, "rule_variations and forecast_weights name different rules"),
]
UNSAID = [
    {"trading_rules": {"carry": UNSCALED}, "forecast_scalar": 2.0},
    {"trading_rules": {"carry": UNSCALED}, "use_forecast_scale_estimates": True},
    {**TWO_RULES, "use_forecast_weight_estimates": True},
    {**SHARED, "forecast_scalars": {"trend": 30.0}},
    {"instrument_weights": {"CORN": 2.0}, "use_instrument_weight_estimates": True},
    {"trading_rules": {"carry": CARRY, "idle": UNSCALED}, "forecast_weights": {"carry": 1.0}},
]


@pytest.mark.parametrize(("keys", "message"), SAID, ids=[one[1][:40] for one in SAID])
def test_what_may_not_be_meant_is_said_once_and_runs(keys, message):
    with pytest.warns(ConfigWarning, match=message) as said:
        assert parse_backtest_config({**KEYS, **keys}).rules["carry"].name == "carry"
    assert len(said) == 1


@pytest.mark.parametrize("keys", UNSAID, ids=range(len(UNSAID)))
def test_what_is_meant_is_not_remarked_upon(keys):
    parse_backtest_config({**KEYS, **keys})


TWO_CODES = {"instrument_weights": {"CORN": 0.9, "WHEAT": 0.1}}
ESTIMATED_ANYWAY = [
    ({"use_forecast_scale_estimates": True}, "forecast_scalars: .* set use_forecast_scale_estimates: False"),
    (
        {**SHARED, "use_forecast_weight_estimates": True},
        "forecast_weights: .* set use_forecast_weight_estimates: False",
    ),
    ({"forecast_div_multiplier": {"CORN": 1.2}, "use_forecast_div_mult_estimates": True}, "forecast_div_multiplier: "),
    ({**TWO_CODES, "use_instrument_weight_estimates": True}, "instrument_weights: .*`instruments` lists what is"),
    ({"instrument_div_multiplier": 2.0, "use_instrument_div_mult_estimates": True}, "instrument_div_multiplier: "),
]


@pytest.mark.parametrize(("keys", "message"), ESTIMATED_ANYWAY, ids=[one[1][:25] for one in ESTIMATED_ANYWAY])
def test_a_file_that_fixes_what_is_estimated_is_told_which_counts(tmp_path, keys, message):
    path = tmp_path / "strategy.yaml"
    path.write_text(yaml.safe_dump({**KEYS, **keys}))
    with pytest.warns(ConfigWarning, match=f"strategy.yaml: {message}") as said:
        config = read_backtest_config(path)
    assert len(said) == 1
    assert parse_backtest_config(config.as_yaml_keys()) == config  # a whole configuration has both, and is not warned


def test_a_file_that_leaves_to_the_estimates_what_they_find_is_told_nothing(tmp_path):
    rules = {"carry": UNSCALED, "trend": {key: value for key, value in TREND.items() if key != "forecast_scalar"}}
    open_keys = {"trading_rules": rules, "instruments": ["CORN", "WHEAT"], **dict.fromkeys(ESTIMATE_FLAGS, True)}
    (tmp_path / "strategy.yaml").write_text(yaml.safe_dump(open_keys))
    whole = read_backtest_config(tmp_path / "strategy.yaml").as_yaml_keys()
    (tmp_path / "written.yaml").write_text(yaml.safe_dump(whole))
    assert read_backtest_config(tmp_path / "written.yaml").as_yaml_keys() == whole


def test_weights_count_by_their_proportions():
    data = market(instrument("CORN", walk(1, 120)), instrument("WHEAT", walk(2, 120)))
    with pytest.warns(ConfigWarning, match="instrument_weights add up to 3"):
        threefold = configuration(["CORN", "WHEAT"], instrument_weights={"CORN": 1.0, "WHEAT": 2.0})
    once = configuration(["CORN", "WHEAT"], instrument_weights={"CORN": 1 / 3, "WHEAT": 2 / 3})
    for code in ("CORN", "WHEAT"):
        ours, other = (run_backtest(one, data).series_of("notional_position", code) for one in (threefold, once))
        np.testing.assert_allclose(ours, other, rtol=1e-12)


def test_without_instruments_the_codes_are_checked_against_the_prices():
    data = market(instrument("CORN", walk(1, 40)))
    everything = {key: value for key, value in KEYS.items() if key != "instrument_weights"}
    safe = parse_backtest_config({**everything, "small_system": {"no_trade": ["CRON"]}})
    with pytest.raises(ConfigError, match=r"no_trade names CRON.* Traded: CORN"):
        run_backtest(safe, data)
    for keys, message in (
        ({"forecast_div_multiplier": {"CORN": 1, "CRON": 9}}, "forecast_div_multiplier names CRON"),
        ({"exclude_instrument_lists": {"bad_markets": ["CRON"]}}, "exclude_instrument_lists, .* name CRON, of which"),
    ):
        with pytest.warns(ConfigWarning, match=message):
            run_backtest(parse_backtest_config({**everything, **keys}), data)


@pytest.mark.parametrize(
    ("keys", "name", "expected"),
    [
        ({"start_date": "2000-01-31"}, "start_date", "2000-01-31"),
        ({"start_date": date(2000, 1, 31)}, "start_date", "2000-01-31"),
        ({"start_date": datetime(2000, 1, 31, 12)}, "start_date", "2000-01-31"),
        ({"start_date": "2000-01-31 12:00:00"}, "start_date", "2000-01-31"),
        ({"capital_multiplier": "syscore.capital.full_compounding"}, "capital_method", "full"),
        ({"capital_multiplier": None}, "capital_method", "fixed"),
        ({"small_system": None}, "small_system", SmallSystem()),
        ({"small_system": {}}, "small_system", SmallSystem()),
        ({"buffer_method": "none"}, "buffer_method", "none"),
        ({"volatility_calculation": {"backfill": False}}, "volatility", MixedVolatility()),
        ({"forecast_weight_estimate": {"bootstrap_length": 50}}, "estimates", frozenset()),
    ],
    ids=str,
)
def test_other_ways_to_write_it_are_understood(keys, name, expected):
    assert getattr(parse_backtest_config({**KEYS, **keys}), name) == expected


FIVE = ["CORN", "CORN_mini", "DEAR", "GOLD", "WHEAT"]
UNTRADED = {
    "duplicate_instruments": {"include": {"corn": "CORN"}, "exclude": {"corn": "CORN_mini"}},
    "exclude_instrument_lists": {"bad_markets": ["DEAR"], "ignore_instruments": ["NOWHERE"]},
}


@pytest.mark.parametrize("flag", [False, True])
def test_of_duplicates_one_is_traded_and_a_bad_market_has_no_weight(flag):
    seeds = dict(zip(FIVE, (1, 2, 1, 4, 5), strict=True))  # the bad market moves as the first one does
    facts = {code: replace(FACTS, asset_class=code) for code in FIVE}
    data = market(*(instrument(code, walk(seed, 900), facts=facts[code]) for code, seed in seeds.items()))
    keys = {**UNTRADED, "use_instrument_weight_estimates": flag}
    result = run_backtest(configuration(FIVE, **keys), data)
    assert result.instruments == ("CORN", "DEAR", "GOLD", "WHEAT")
    assert (result.series_of("notional_position", "DEAR").fillna(0.0) == 0.0).all()
    assert parse_backtest_config(result.config.as_yaml_keys()) == result.config
    weights = result.values("instrument_weight")[-1]
    assert weights[1] == 0.0
    keys["exclude_instrument_lists"] = {"bad_markets": ["DEAR"]}
    everything = configuration(FIVE, **{**keys, "instrument_weights": {}})
    np.testing.assert_allclose(run_backtest(everything, data).values("instrument_weight")[-1], weights)
    alone = configuration(["CORN", "GOLD", "WHEAT"], use_instrument_weight_estimates=flag)
    alone_weights = run_backtest(alone, data).values("instrument_weight")[-1]
    np.testing.assert_allclose(alone_weights, weights[[0, 2, 3]], rtol=1e-4)  # but for what the first year left behind


@pytest.mark.parametrize("flag", [False, True])
def test_rule_variations_are_the_rules_where_there_are_no_weights_of_them(flag):
    data = market(instrument("CORN", walk(1, 900)), instrument("WHEAT", walk(2, 900)))
    keys = {"forecast_weights": {}, "use_forecast_weight_estimates": flag}
    listed = {"CORN": ["ewmac4_16", "accel8"]}
    with nullcontext() if flag else pytest.warns(ConfigWarning, match="no forecast_weights"):
        config = configuration(["CORN", "WHEAT"], **keys, rule_variations=listed)
    result = run_backtest(config, data)
    in_use = {
        code: [rule for rule in RULES if result.series_of(f"fw_{rule}", code).any()] for code in ("CORN", "WHEAT")
    }
    assert in_use == {"CORN": ["ewmac4_16", "accel8"], "WHEAT": list(RULES)}
    own = configuration(["WHEAT"], forecast_weights={"WHEAT": {"carry10": 1.0}}, rule_variations=["accel8"])
    assert own.forecast_weights_of("CORN") == {"accel8": 1.0}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("trading_rules: {}\nforecast_cap: 20\nforecast_cap: 30\n", "line 3: forecast_cap is there already, on line 2"),
        ("instrument_weights:\n  CORN: 0.5\n  CORN: 0.5\n", "line 3: CORN is there already, on line 2"),
        (
            "instrument_weights: {NO: 0.5, ON: 0.5}\n",
            "line 1: YAML reads the name NO as False; write it in quotes: 'NO'",
        ),
    ],
)
def test_yaml_that_would_count_for_something_else_is_refused(tmp_path, text, message):
    (tmp_path / "strategy.yaml").write_text(text)
    with pytest.raises(ConfigError, match=rf"strategy.yaml: {message}"):
        read_backtest_config(tmp_path / "strategy.yaml")


def test_a_file_lacks_what_it_does_not_give_and_overrides_what_it_merges(tmp_path):
    path = tmp_path / "strategy.yaml"
    path.write_text(
        "trading_rules:\n"
        "  carry: &carry {function: systems.provided.rules.carry.carry, data: rawdata.raw_carry, forecast_scalar: 30}\n"
        "  slow: {<<: *carry, forecast_scalar: 28}\n"
        "forecast_weights: {carry: 0.5, slow: 0.5}\ninstrument_weights: {CORN: 1}\nbase_currency: EUR\n"
    )
    config = read_backtest_config(path, {"percentage_vol_target": 25.0, "base_currency": "GBP"})
    assert (config.percentage_vol_target, config.base_currency) == (25.0, "EUR")
    assert config.forecast_scalar_of("slow", "CORN") == 28.0
    assert read_backtest_config(path).percentage_vol_target == 16.0
    path.write_text(path.read_text().replace("slow: 0.5", "slow: 1"))
    with pytest.warns(ConfigWarning, match=r"strategy.yaml: forecast_weights add up to 1.5"):
        read_backtest_config(path)


def test_a_file_that_cannot_be_read_is_named(tmp_path):
    with pytest.raises(ConfigError, match=r"cannot read the backtest configuration .*none.yaml"):
        read_backtest_config(tmp_path / "none.yaml")
    (tmp_path / "bad.yaml").write_text("trading_rules: [")
    with pytest.raises(ConfigError, match=r"bad.yaml: not valid YAML"):
        read_backtest_config(tmp_path / "bad.yaml")
    (tmp_path / "list.yaml").write_text("- 1")
    with pytest.raises(ConfigError, match=r"list.yaml: must hold"):
        read_backtest_config(tmp_path / "list.yaml")


OWN_RULE = """
def reversal(price, days=3):
    return -(price.ffill().diff(days))
"""


def with_own_rule(function, **other_args):
    rule = {"function": function, "data": ["rawdata.get_daily_prices"], "other_args": other_args}
    return parse_backtest_config(
        {
            **KEYS,
            "trading_rules": {"reversal": {**rule, "forecast_scalar": 1.0}, "carry": CARRY},
            "forecast_weights": {"reversal": 0.5, "carry": 0.5},
        }
    )


def test_a_readers_own_rule_is_a_function_in_a_file(tmp_path):
    (tmp_path / "ideas").mkdir()
    (tmp_path / "ideas" / "mine.py").write_text(OWN_RULE)
    corn = instrument("CORN", walk(1, 80))
    result = run_backtest(with_own_rule("ideas.mine.reversal", days=5), market(corn), rules_folder=tmp_path)
    price = result.series_of("price", "CORN")
    expected = -price.diff(5).replace(0.0, np.nan)
    pd.testing.assert_series_equal(result.series_of("raw_reversal", "CORN"), expected, check_names=False)


DATACLASS_RULE = """
from __future__ import annotations

from dataclasses import dataclass

from ideas.common import DAYS
from {package}.common import DAYS as again


@dataclass
class Settings:
    days: int = DAYS


def reversal(price):
    return price * 0 + Settings().days
"""


@pytest.mark.parametrize("package", ["ideas", ""], ids=["absolute", "relative"])
def test_own_rules_are_ordinary_modules_that_import_what_is_beside_them(tmp_path, package):
    corn = market(instrument("CORN", walk(1, 40)))
    said = []
    before = set(sys.modules)
    for folder, days in (("one", 3), ("two", 5), ("two", 7)):
        ideas = tmp_path / folder / "ideas"
        ideas.mkdir(parents=True, exist_ok=True)
        (ideas / "mine.py").write_text(DATACLASS_RULE.format(package=package))
        (ideas / "common.py").write_text(f"DAYS = {days}\n")
        result = run_backtest(with_own_rule("ideas.mine.reversal"), corn, rules_folder=tmp_path / folder)
        said.append(result.series_of("raw_reversal", "CORN").iloc[-1])
    assert said == [3.0, 5.0, 7.0]
    assert not {name for name in set(sys.modules) - before if name.startswith("ideas")}
    assert str(tmp_path / "two") not in sys.path


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("import nowhere_at_all", "ModuleNotFoundError: No module named 'nowhere_at_all'"),
        ("def reversal(price:", r"SyntaxError: .*line 1"),
    ],
)
def test_own_rules_that_cannot_be_imported_are_named_with_their_file(tmp_path, text, message):
    (tmp_path / "mine.py").write_text(text)
    with pytest.raises(ConfigError, match=rf"trading rule reversal: .*mine.py cannot be imported: {message}"):
        run_backtest(with_own_rule("mine.reversal"), market(instrument("CORN", walk(1, 40))), rules_folder=tmp_path)
    assert "mine" not in sys.modules


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


NO_FORECAST = [
    ("price.to_numpy()", "returned a ndarray, not a Series by date; return a Series with the index of its data"),
    ("1.0", "returned a float, not a Series"),
    ("price.to_frame()", "returned a DataFrame, not a Series"),
    ("price.resample('W').last()", "returned dates its data do not have"),
    ("price.shift(1, freq='B')", "returned dates its data do not have"),
    ("price.map(lambda one: 'up')", "returned something else than numbers"),
    ("price / 0.0", "has an infinite forecast on 2020-01-06"),
]


@pytest.mark.parametrize(("returned", "message"), NO_FORECAST, ids=[one[0] for one in NO_FORECAST])
def test_a_rule_that_returns_no_forecast_by_date_is_refused_by_name(tmp_path, returned, message):
    (tmp_path / "odd_rules.py").write_text(f"def odd(price):\n    return {returned}\n")
    with pytest.raises(ConfigError, match=f"trading rule reversal {message}"):
        run_backtest(with_own_rule("odd_rules.odd"), market(instrument("CORN", walk(1, 40))), rules_folder=tmp_path)


def test_a_rule_may_leave_days_out(tmp_path):
    (tmp_path / "odd_rules.py").write_text("def odd(price):\n    return price.diff().dropna().iloc[::2]\n")
    corn = market(instrument("CORN", walk(1, 40)))
    result = run_backtest(with_own_rule("odd_rules.odd"), corn, rules_folder=tmp_path)
    known = result.series_of("raw_reversal", "CORN").notna()
    assert known.iloc[1::2].sum() > known.iloc[::2].sum() == 0


IMPOSSIBLE_ARGUMENTS = [
    ("ewmac.ewmac_calc_vol", {"Lfast": 0}, "Lfast must be at least 1, not 0"),
    ("ewmac.ewmac_calc_vol", {"Lfast": "4"}, "Lfast must be a number, not '4'; write it without quotes"),
    ("ewmac.ewmac_calc_vol", {"Lfast": 4, "vol_days": [35]}, r"vol_days must be a number, not \[35\]"),
    ("breakout.breakout", {"lookback": -40}, "lookback must be at least 1, not -40"),
    ("ewmac.ewmac_calc_vol", {"Lfast": 16, "Lslow": 4}, "Lfast 16 must be shorter than Lslow 4"),
    ("carry.carry", {"smooth_days": -5}, "smooth_days must be at least 0, not -5"),
]


@pytest.mark.parametrize(("function", "arguments", "message"), IMPOSSIBLE_ARGUMENTS)
def test_arguments_no_rule_can_work_with_are_refused_by_name(function, arguments, message):
    config = with_own_rule(f"systems.provided.rules.{function}", **arguments)
    with pytest.raises(ConfigError, match=f"trading rule reversal: {message}"):
        run_backtest(config, market(instrument("CORN", walk(1, 40))))


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


def test_capital_that_follows_profits_is_written_beside_what_is_on_fixed_capital(tmp_path):
    data = market(instrument("CORN", walk(1, 200)))
    fixed = run_backtest(configuration(["CORN"]), data)
    result = run_backtest(configuration(["CORN"], capital_multiplier="full_compounding"), data)
    for folder, one in (("fixed", fixed), ("full", result)):
        write_result(one, tmp_path / folder)
    (_, plain), (positions, portfolio) = (
        [pd.read_parquet(tmp_path / folder / f"{name}.parquet") for name in ("positions", "portfolio")]
        for folder in ("fixed", "full")
    )
    assert [*plain.columns, "capital", *(f"compounded_{name}" for name in ("gross", "costs", "net"))] == [
        *portfolio.columns
    ]
    pd.testing.assert_frame_equal(portfolio[plain.columns], plain)
    multiplier = portfolio["capital"] / result.config.notional_trading_capital
    assert multiplier.iloc[-1] != 1.0
    np.testing.assert_allclose(positions["actual_position"], positions["buffered_position"] * multiplier)
    np.testing.assert_allclose(portfolio["capital"].diff().iloc[1:], portfolio["compounded_net"].iloc[1:], atol=1e-6)
    stats = [json.loads((tmp_path / folder / "stats.json").read_text()) for folder in ("fixed", "full")]
    assert "compounded" not in stats[0]
    percent = 100.0 * portfolio["capital"].pct_change().iloc[1:]
    assert stats[1]["compounded"]["net"]["max"] == pytest.approx(percent.max())
    assert stats[1]["net"] == stats[0]["net"]


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


def test_some_instruments_take_their_own_limits_and_tables_along():
    limits = {"no_trade": ["WHEAT"], "position_limits": {"CORN": 3, "WHEAT": 0}}
    config = configuration(["CORN", "WHEAT"], forecast_div_multiplier={"CORN": 1, "WHEAT": 2}, small_system=limits)
    alone = config.restricted_to(["CORN"])
    assert alone.small_system == SmallSystem(position_limits={"CORN": 3.0})
    assert parse_backtest_config(alone.as_yaml_keys()) == alone


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
