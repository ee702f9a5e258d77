"""The strategy report: one saved backtest against what was held then and is held now, or a function of one's own."""

from dataclasses import replace
from datetime import date

import pytest

from pysys.config import Config
from pysys.data.research import open_saved_state
from pysys.desk import Desk
from pysys.domain.errors import ConfigError
from pysys.reports.strategy import strategy_report
from pysys.store.prices import SeriesKey, SeriesKind
from pysys.systems.backtest import run_backtest
from pysys.systems.saved_states import save_state
from tests.reports.report_world import monday
from tests.systems.markets import configuration, first_rows, instrument, market, walk

CAPITAL = 1_000_000.0
OWN_CODE = """
from pysys.reports.report import Report


class Backtests:
    def __init__(self, folder, strategy):
        self.of = (folder.name, strategy)

    def open(self, time):
        return (*self.of, time)


def report(desk, strategy, backtest):
    return Report(f"{strategy}: {backtest}", desk.clock.now(), None, (), (), ())


def number(desk, strategy, backtest):
    return 5
"""
ESTABLISHED = {
    "load_backtests": {
        "object": "sysproduction.strategy_code.run_system_classic.runSystemClassic",
        "function": "system_method",
    },
    "reporting_code": {"function": "sysproduction.strategy_code.report_system_classic.report_system_classic"},
}


@pytest.fixture
def desk(house, tmp_path):
    config = Config(strategy_list={"trend": ESTABLISHED})
    return Desk(config, house.store, house.broker, house.clock, home=tmp_path)


def saved(desk, codes=("GOLD", "OLD"), moment=None, **keys):
    """A backtest of GOLD until now and OLD until half a year ago, run between the two first trades of the desk."""
    gold, old = instrument("GOLD", walk(1, 300)), first_rows(instrument("OLD", walk(2, 300)), 170)
    config = configuration(codes, notional_trading_capital=CAPITAL, **keys)
    result = run_backtest(config, market(gold, old))
    moment = monday(12, 4) if moment is None else moment
    save_state(result, desk.backtests, "trend", moment, capital=CAPITAL, version="1")
    return result


def test_positions_are_those_at_the_backtest_and_now_and_each_row_says_of_which_day_it_is(desk):
    result = saved(desk)
    table = strategy_report(desk, "trend").table("Positions and buffers").set_index("instrument")

    assert list(table.loc[["GOLD", "BUND"], "held at backtest"]) == [3, 0]
    assert list(table.loc[["GOLD", "BUND"], "held now"]) == [3, -2]
    assert table.loc["OLD", "day"] < table.loc["GOLD", "day"] == date.fromisoformat(str(result.dates[-1]))
    assert table.loc["GOLD", "buffer lower"] == result.latest_positions()["GOLD"].buffer_lower
    assert table.loc["GOLD", "diversification multiplier"] == 1.5
    for heading in ("Unweighted forecasts", "Forecast weights", "Weighted forecasts", "Volatility"):
        assert strategy_report(desk, "trend").table(heading).set_index("instrument")["day"].notna().all()


def test_what_is_held_in_an_instrument_the_backtest_no_longer_has_counts_in_the_risk(desk):
    saved(desk)
    with_bund = strategy_report(desk, "trend")
    risk = with_bund.table("Risk by instrument").set_index("instrument")
    assert risk.loc["BUND", "position"] == -2
    assert with_bund.data["risk"] > 1.05 * abs(risk.loc["GOLD", "annual risk, % of capital"])
    assert "no longer has BUND" in with_bund.html()

    with desk.store.write() as unit:
        unit.prices.clear(SeriesKey(SeriesKind.ADJUSTED, "BUND"))
        unit.commit()
    unknown = strategy_report(desk, "trend")
    assert unknown.data["unmeasured"] == ["BUND"]
    assert unknown.data["risk"] == pytest.approx(abs(risk.loc["GOLD", "annual risk, % of capital"]))
    assert "nothing stored tells its risk: BUND" in unknown.html()


def test_a_small_account_shows_the_contracts_optimised_together_and_no_buffers(desk):
    result = saved(desk, small_system={})
    table = strategy_report(desk, "trend").table("Positions and buffers").set_index("instrument")
    assert table.loc["GOLD", "optimised position"] == result.series_of("optimised_position", "GOLD").iloc[-1]
    assert not any(column.startswith("buffer") for column in table)


def test_a_strategys_own_code_opens_and_reports_its_backtests(desk, tmp_path):
    saved(desk)
    assert open_saved_state(desk, "trend").folder.name == "20240304_120400"
    (tmp_path / "mine.py").write_text(OWN_CODE)

    def with_code(**entry):
        return replace(desk, config=Config(strategy_list={"trend": {**ESTABLISHED, **entry}}))

    loading = {"load_backtests": {"object": "mine.Backtests", "function": "open"}}
    both = with_code(**loading, reporting_code={"function": "mine.report"})
    assert strategy_report(both, "trend", "20240304_120400").title == "trend: ('backtests', 'trend', '20240304_120400')"
    reporting = with_code(reporting_code={"function": "mine.report"})
    assert "SavedState" in strategy_report(reporting, "trend").title

    refused = {
        "reads saved states, not a tuple": with_code(**loading),
        "found no module theirs": with_code(reporting_code={"function": "theirs.report"}),
        "has nothing called other": with_code(reporting_code={"function": "mine.other"}),
        "no method called shut": with_code(load_backtests={"object": "mine.Backtests", "function": "shut"}),
        "must return a pysys.reports.report.Report, not int": with_code(reporting_code={"function": "mine.number"}),
    }
    for sentence, one in refused.items():
        with pytest.raises(ConfigError, match=sentence):
            strategy_report(one, "trend")
