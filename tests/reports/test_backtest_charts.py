"""Tables and charts of the research notebooks: what they measure, and axes that say what they show."""

import numpy as np
import pandas as pd
import pytest

from pysys.domain.errors import ConfigError
from pysys.reports import backtest_charts as charts
from pysys.reports.choice_charts import expected_sharpe, minimum_capitals
from pysys.reports.intermediates import intermediate_chart, write_page
from pysys.systems.account_tables import accounts_of, drawdowns, rolling_volatilities
from pysys.systems.backtest import run_backtest
from pysys.systems.candidate_rules import with_candidates
from pysys.systems.instrument_candidates import measured_candidates
from pysys.systems.instrument_choice import Requirements, choose_instruments
from pysys.systems.intermediates import intermediate
from pysys.systems.sweep import sweep
from tests.systems.markets import RULES, configuration, instrument, market, walk

OLD, YOUNG = instrument("OLD", walk(1, 700, 0.2)), instrument("YOUNG", walk(2, 250, 0.1), start="2021-09-27")
DATA = market(OLD, YOUNG)
CODES = ["OLD", "YOUNG"]
WEIGHTED = {rule: 0.25 for rule in RULES if rule != "breakout20"}
BY_INSTRUMENT = {"OLD": WEIGHTED, "YOUNG": {"carry10": 1.0}}


@pytest.mark.parametrize("weights", [WEIGHTED, BY_INSTRUMENT], ids=["for all", "by instrument"])
def test_a_rule_without_a_weight_is_computed_in_the_lab_and_moves_no_position(weights):
    config = configuration(CODES, forecast_weights=weights)
    plain, lab = run_backtest(config, DATA), run_backtest(with_candidates(config), DATA)

    charts.forecasts(plain, "OLD")  # of what there is
    with pytest.raises(ConfigError, match="no rule of this backtest is called breakout20"):
        charts.rule_table(plain, "breakout20")
    table = charts.rule_table(lab, "breakout20")
    assert table.notna().all(axis=None)
    assert charts.rule_account_curve(lab, "breakout20") and charts.forecast_distribution(lab, "breakout20")
    assert "breakout20" in [line.get_label() for line in charts.forecasts(lab, "YOUNG").axes[0].lines]
    for code in CODES:
        np.testing.assert_array_equal(*(one.series_of("notional_position", code) for one in (plain, lab)))
    assert with_candidates(configuration(CODES)) == configuration(CODES)  # nothing to add


def test_the_rule_table_measures_each_market_on_its_own_days_and_turnover_as_the_engine_does():
    result = run_backtest(configuration(CODES, average_absolute_forecast=5.0), DATA)
    alone = run_backtest(configuration(["YOUNG"], average_absolute_forecast=5.0), market(YOUNG))
    rule = "carry10"  # the same forecast in both, but for the share of capital
    both, own = charts.rule_table(result, rule).loc["YOUNG"], charts.rule_table(alone, rule).loc["YOUNG"]

    assert 200 < both["days"] == own["days"] < 250
    assert both["turnover, times a year"] == own["turnover, times a year"]
    changes = np.abs(np.diff(alone.values(f"fc_{rule}")[:, 0] / 5.0))
    assert own["turnover, times a year"] == pytest.approx(256 * np.nanmean(changes), abs=1e-3)
    # weights of a young market fade in, so its size differs but hardly its quality
    assert both["net Sharpe ratio"] == pytest.approx(own["net Sharpe ratio"], abs=0.3)


def test_every_chart_names_its_axes_and_a_small_account_shows_what_it_optimised(tmp_path):
    small = run_backtest(configuration(CODES, small_system={}, notional_trading_capital=300_000), DATA)
    result = run_backtest(configuration(CODES), DATA)
    capital = result.config.notional_trading_capital
    profits = accounts_of(result, "rules")
    table = intermediate(result, "fc", rule="carry10")
    swept = sweep(result.config, DATA, [{"buffer_size": 0.0}, {"buffer_size": "wide"}], workers=1)
    measured = measured_candidates(DATA, "USD", {})
    any_volume = Requirements(least_contracts_a_day=0.0, least_risk_a_day=0.0, highest_sr_cost=1.0)
    choice = choose_instruments(1e7, measured.candidates, measured.correlation, any_volume)
    drawn = [
        *(draw(result) for draw in (charts.account_curve, charts.drawdown, charts.rolling_volatility)),
        *(draw(result) for draw in (charts.capital_methods, charts.pandl_by_instrument)),
        *(charts.positions(one, "OLD") for one in (result, small)),
        charts.by_source(drawdowns(profits, capital, result.dates), "Drawdown", "% of capital"),
        charts.by_source(rolling_volatilities(profits, capital, result.dates), "Risk", "% of capital a year"),
        charts.sweep_chart(swept),
        intermediate_chart(table),
        expected_sharpe(choice),
        minimum_capitals(choice, 1e7, "USD"),
    ]
    for figure in drawn:
        (axes,) = figure.axes
        assert axes.get_xlabel() and axes.get_ylabel() and axes.get_title(loc="left")
    plain, optimised = ([line.get_label() for line in figure.axes[0].lines] for figure in drawn[5:7])
    assert plain == ["optimal", "held"] and optimised == ["optimal", "held, optimised together"]
    assert set(charts.instrument_table(result).index) == set(CODES)

    page = write_page(table, tmp_path / "pages" / "carry.html").read_text()
    assert "fc_carry10, forecast, 10 is average" in page
    assert page.index(str(result.dates[-1])) < page.index(str(result.dates[-2]))


def test_a_readable_table_has_money_in_whole_units_and_ratios_in_thousandths():
    table = pd.DataFrame(
        {"net": [32_721_062.7, np.nan], "sharpe": [0.69312, -0.1], "rolls": [4, 12000], "of": ["A", "B"]}
    )
    shown = charts.readable(table).to_string()
    for text in ("32,721,063", "0.693", "-0.100", "12,000"):
        assert text in shown
    assert "nan" not in shown
