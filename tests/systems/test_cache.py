"""What a cache of stages saves, and that nobody sees a difference in the numbers."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from pysys.systems.backtest import run_backtest
from pysys.systems.backtest_config import BacktestConfig
from pysys.systems.backtest_result import BacktestResult
from pysys.systems.content import digest
from pysys.systems.market_data import FxPrices, MarketData
from pysys.systems.stage_cache import StageCache
from pysys.systems.stage_run import part_of
from tests.systems.markets import configuration, instrument, market, walk

CODES = ("CORN", "WHEAT", "BUND")
EVERYTHING = dict.fromkeys(
    (
        "use_forecast_scale_estimates",
        "use_forecast_weight_estimates",
        "use_forecast_div_mult_estimates",
        "use_instrument_weight_estimates",
        "use_instrument_div_mult_estimates",
    ),
    True,
)
SIZING = ["subsystems", "positions", "account"]
OPTIONAL = {
    "use_attenuation": ["carry10"],
    "forecast_mapping": {"CORN": {"threshold": 5.0}},
    "risk_overlay": {"max_risk_leverage": 0.5},
}


def prices(rows: int = 700) -> MarketData:
    corn, wheat = (instrument(code, walk(seed, rows, gaps=0.05)) for seed, code in enumerate(CODES[:2]))
    bund = replace(instrument("BUND", walk(7, rows - 50)), meta=replace(corn.meta, currency="EUR", asset_class="Bond"))
    rates = FxPrices(corn.multiple.times, 1.1 + 0.01 * np.sin(np.arange(rows)))
    return market(corn, wheat, bund, fx={"EUR": rates})


def base(**keys: object) -> BacktestConfig:
    return configuration(CODES, **keys)


def with_rule(config: BacktestConfig, name: str, **arguments: object) -> BacktestConfig:
    rule = config.rules[name]
    changed = replace(rule, other_args={**rule.other_args, **arguments})
    return replace(config, rules={**config.rules, name: changed})


def computed(result: BacktestResult) -> list[str]:
    return [one.stage for one in result.timings if not one.reused]


def assert_same_to_the_bit(one: BacktestResult, other: BacktestResult) -> None:
    assert one.names == other.names
    for name in one.names:
        np.testing.assert_array_equal(one.values(name), other.values(name), err_msg=name)
    for returns, stats in one.stats.items():
        assert stats == pytest.approx(other.stats[returns], rel=0, abs=0, nan_ok=True)


@pytest.mark.parametrize(
    ("change", "follows"),
    [
        (lambda c: c, []),
        (lambda c: with_rule(c, "breakout20", lookback=25), ["rule breakout20", "combination", *SIZING]),
        (lambda c: replace(c, forecast_cap=15.0), ["combination", *SIZING]),
        (lambda c: replace(c, forecast_weights={**c.forecast_weights, "carry10": 0.3}), ["combination", *SIZING]),
        (lambda c: replace(c, notional_trading_capital=2e6), SIZING),
        (lambda c: replace(c, percentage_vol_target=12.0), SIZING),
        (lambda c: replace(c, instrument_weights={"CORN": 0.5, "WHEAT": 0.3, "BUND": 0.2}), SIZING[1:]),
        (lambda c: replace(c, instrument_div_multiplier=1.1), SIZING[1:]),
        (lambda c: replace(c, buffer_method="position"), SIZING[1:]),
        (lambda c: replace(c, multiply_roll_costs_by=1.0), SIZING[2:]),
        (lambda c: replace(c, capital_method="full"), []),
    ],
    ids=["nothing", "rule", "cap", "weights", "capital", "risk", "shares", "idm", "buffer", "costs", "compounding"],
)
def test_a_change_computes_what_follows_from_it_and_nothing_else(change, follows) -> None:
    data, cache = prices(), StageCache()
    run_backtest(base(), data, cache=cache)
    changed = run_backtest(change(base()), data, cache=cache)
    assert computed(changed) == follows
    assert_same_to_the_bit(changed, run_backtest(change(base()), data))


@pytest.mark.parametrize(
    "keys",
    [EVERYTHING, {"small_system": {}}, {"use_SR_costs": True}, {"start_date": "2020-08-03"}, OPTIONAL],
    ids=["estimated", "small", "sr costs", "started later", "optional"],
)
def test_every_kind_of_system_runs_the_same_out_of_a_cache(keys) -> None:
    data, cache = prices(rows=200 if "small_system" in keys else 700), StageCache()
    run_backtest(base(), data, cache=cache)
    first = run_backtest(base(**keys), data, cache=cache)
    again = run_backtest(base(**keys), data, cache=cache)
    assert computed(again) == []
    assert_same_to_the_bit(first, run_backtest(base(**keys), data))
    assert_same_to_the_bit(first, again)


@pytest.mark.parametrize(
    ("key", "value", "follows"),
    [
        ("use_attenuation", ["breakout20"], ["attenuated breakout20", "combination", "forecast mapping"]),
        ("forecast_mapping", {"BUND": {"threshold": 5.0}}, ["forecast mapping"]),
    ],
    ids=["attenuation", "mapping"],
)
def test_a_changed_option_of_forecasts_computes_what_follows(key, value, follows) -> None:
    data, cache = prices(), StageCache()
    run_backtest(base(**OPTIONAL), data, cache=cache)
    changed = run_backtest(base(**{**OPTIONAL, key: value}), data, cache=cache)
    assert computed(changed) == [*follows, "subsystems", "risk overlay", "positions", "account"]


def test_a_changed_limit_of_risk_computes_positions_and_a_changed_buffer_no_risk() -> None:
    data, cache = prices(), StageCache()
    run_backtest(base(**OPTIONAL), data, cache=cache)
    tighter = run_backtest(base(**{**OPTIONAL, "risk_overlay": {"max_risk_leverage": 0.4}}), data, cache=cache)
    assert computed(tighter) == ["risk overlay", "positions", "account"]
    wider = run_backtest(base(**OPTIONAL, buffer_size=0.2), data, cache=cache)
    assert computed(wider) == ["positions", "account"]


def test_prices_are_known_by_what_they_say() -> None:
    cache = StageCache()
    run_backtest(base(), prices(), cache=cache)
    assert computed(run_backtest(base(), prices(), cache=cache)) == []
    data = prices()
    data.instruments["CORN"].adjusted.price[400] += 1.0
    assert "raw data" in computed(run_backtest(base(), data, cache=cache))


def test_an_exchange_rate_matters_where_money_is_counted() -> None:
    data, cache = prices(), StageCache()
    run_backtest(base(), data, cache=cache)
    dearer = MarketData(data.instruments, {"EUR": FxPrices(data.fx["EUR"].times, data.fx["EUR"].price * 2)})
    assert computed(run_backtest(base(), dearer, cache=cache)) == ["exchange rates", *SIZING]


@pytest.mark.parametrize("edited", ["idea.py", "help.py"])
def test_a_readers_rule_is_computed_again_when_its_file_or_one_it_imports_is_edited(
    tmp_path: Path, edited: str
) -> None:
    imports = "from help import days\n\n" if edited == "help.py" else ""
    rule = f"{imports}def rule(price):\n    return price.diff(days)\n"
    (tmp_path / "idea.py").write_text(rule, encoding="utf-8")
    config = base(
        trading_rules={"mine": {"function": "idea.rule", "data": ["rawdata.get_daily_prices"], "other_args": {}}},
        forecast_scalars={"mine": 1.0},
        forecast_weights={"mine": 1.0},
    )
    data, cache = prices(), StageCache()
    found = []
    for days in (1, 1, 2):
        text = f"days = {days}\n" + (rule if edited == "idea.py" else "")
        (tmp_path / edited).write_text(text, encoding="utf-8")
        found.append(computed(run_backtest(config, data, rules_folder=tmp_path, cache=cache)))
    assert found[1] == []
    assert found[2] == ["rule mine", "combination", *SIZING]


def test_what_is_kept_is_bounded_and_cannot_be_written_to() -> None:
    data, cache = prices(), StageCache(max_bytes=300_000)
    result = run_backtest(base(), data, cache=cache)
    assert 0 < cache.bytes_kept <= 300_000
    assert_same_to_the_bit(result, run_backtest(base(), data))
    with pytest.raises(ValueError, match="read-only"):
        result.account.gross[0] = 0.0
    cache.clear()
    assert (len(cache), cache.bytes_kept) == (0, 0)


def test_a_stage_cannot_read_what_it_was_not_given() -> None:
    part = part_of(base(), ("instrument_weights",))
    assert part.instruments == CODES
    with pytest.raises(AttributeError, match="forecast_cap is not among the fields"):
        _ = part.forecast_cap


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"a": 1, "b": 2}, {"b": 2, "a": 1}),
        (["ab", "c"], ["a", "bc"]),
        (np.zeros((2, 3)), np.zeros((3, 2))),
        (np.zeros(2), np.zeros(2, dtype=np.int64)),
        (1, True),
        (0.0, None),
        ("1", 1),
        ([[1], 2], [[1, 2]]),
    ],
)
def test_different_content_has_different_digests(one, other) -> None:
    assert digest(one) != digest(other)
    assert digest(one) == digest(one)


def test_equal_content_has_equal_digests_and_a_function_has_none() -> None:
    assert digest({"Lfast": 16}, frozenset("ab")) == digest({"Lfast": 16.0}, frozenset("ba"))
    with pytest.raises(TypeError, match="no content"):
        digest(print)
