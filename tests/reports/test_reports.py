"""Every report, on a desk that traded for two days, on an empty one, and on one that somebody forgot to feed."""

import json
import re
from dataclasses import replace
from datetime import datetime, timedelta

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from pysys.broker.port import OrderTicket, OrderType
from pysys.config import Config
from pysys.domain.errors import ConfigError
from pysys.domain.orders import ROLL_PSEUDO_STRATEGY, Leg
from pysys.domain.overrides import Override
from pysys.domain.prices import PriceRows, to_microseconds
from pysys.reports.figures import bars
from pysys.reports.inputs import older_than_a_session, weekday_time
from pysys.reports.pandl import pandl_report
from pysys.reports.period import parse_moment, period
from pysys.reports.reconcile import reconcile_report
from pysys.reports.report import Report, Section, cell_text, table_html
from pysys.reports.roll import relative_volumes, roll_report
from pysys.reports.status import status_report
from pysys.reports.trades import trades_report
from pysys.store.prices import SeriesKey, SeriesKind
from tests.reports.report_world import BUND_JUN, GOLD_APR, GOLD_JUN, House, monday, open_house, tuesday, two_days

REPORTS = [status_report, roll_report, trades_report, pandl_report, reconcile_report]
CENT = 0.005


def shown(report: Report) -> str:
    """The page with tags taken away, after checking that it is whole and stands alone."""
    page = report.html()
    assert page.startswith("<!doctype html>") and page.rstrip().endswith("</html>")
    assert "<script" not in page and "http" not in page
    json.dumps(report.summary(), allow_nan=False)
    return re.sub(r"<[^>]+>", " ", page)


# --- every report ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("make", REPORTS)
def test_a_report_renders_on_an_empty_system_and_gives_no_headline(make, empty):
    report = make(empty.desk)
    text = shown(report)
    assert report.headline == ()
    assert "Stale capital poll: there is none" in text
    assert "Age of inputs" in text


@pytest.mark.parametrize("make", REPORTS)
def test_a_report_renders_with_a_price_series_of_one_row_without_a_price(make, house):
    with house.store.write() as unit:
        nothing = PriceRows(np.array([to_microseconds(monday(16))]), np.array([np.nan]))
        for key in (SeriesKey(SeriesKind.ADJUSTED, "GOLD"), SeriesKey(SeriesKind.FX, "EUR")):
            unit.prices.replace(key, nothing)
        unit.commit()
    report = make(house.desk)
    shown(report)
    assert any("last price" in line for line in report.banner)


@pytest.mark.parametrize("make", REPORTS)
def test_a_fed_system_has_a_headline_and_no_banner(make, house):
    report = make(house.desk)
    shown(report)
    assert report.banner == ()
    assert report.headline
    assert list(report.table("Age of inputs")["state"]) == ["fresh"] * 4


def test_both_kinds_of_database_tell_the_same(store, tmp_path, house):
    other = two_days(open_house(store, tmp_path, monday(12)))
    for make in REPORTS:
        told, expected = make(other.desk).summary(), make(house.desk).summary()
        assert json.dumps(told, sort_keys=True) == json.dumps(expected, sort_keys=True)
    other.broker.close()


@pytest.mark.parametrize("make", REPORTS)
@pytest.mark.parametrize("skipped", ["last price", "capital poll", "optimal positions"])
def test_one_skipped_step_takes_the_headline_away(make, skipped, house):
    house.at(tuesday(48 + 18))
    if skipped != "last price":
        house.prices()
    if skipped != "capital poll":
        house.poll()
    if skipped != "optimal positions":
        house.targets(GOLD=(2.6, 3.4))
    report = make(house.at(tuesday(48 + 20)).desk)
    assert report.headline == ()
    stale = report.table("Age of inputs").set_index("state").loc[["stale"], "input"]
    collected_together = {"last price": ["last price", "exchange rates"]}
    assert list(stale) == collected_together.get(skipped, [skipped])
    assert len(report.banner) == len(stale)


def test_text_from_outside_cannot_become_markup(house):
    with house.store.write() as unit:
        unit.restrictions.lock("GOLD", "person", at=house.clock.now(), who="<b>me</b>", why="<script>alert(1)</script>")
        unit.commit()
    page = status_report(house.desk).html()
    assert "<script>" not in page and "<b>me" not in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page


def test_a_notebook_shows_tables_and_static_pictures(house, monkeypatch):
    shown_things = []
    monkeypatch.setattr("IPython.display.display", shown_things.append)
    report = pandl_report(house.desk)
    report.show()
    kinds = [type(thing).__name__ for thing in shown_things]
    assert kinds.count("Image") == sum(isinstance(s.content, Figure) for s in report.sections) == 2
    assert all(thing.data.startswith(b"\x89PNG") for thing in shown_things if type(thing).__name__ == "Image")


def test_numbers_are_right_aligned_missing_ones_blank_and_units_in_the_heading():
    frame = pd.DataFrame({"name": ["a", "b"], "value, USD": [1234.5, np.nan], "when": [tuesday(9), pd.NaT]})
    page = table_html(frame, {"value, USD": ",.1f"})
    assert "<th class='number'>value, USD</th>" in page
    assert "<td class='number'>1,234.5</td>" in page and "<td class='number'></td>" in page
    assert "<td>2024-03-05 09:00</td>" in page


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, ""),
        (pd.NaT, ""),
        (float("nan"), ""),
        (True, "yes"),
        (np.int64(-1200), "-1,200"),
        (0.0, "0.00"),
        ("x", "x"),
    ],
)
def test_a_cell_reads_as_a_person_would_write_it(value, text):
    assert cell_text(value, None) == text


def test_weekends_do_not_age_an_input():
    friday, next_monday = monday(96 + 18), monday(168 + 10)
    assert weekday_time(friday, next_monday) == timedelta(hours=16)
    assert not older_than_a_session(friday, next_monday)
    assert older_than_a_session(friday, next_monday + timedelta(hours=9))
    assert older_than_a_session(None, friday)


def test_a_chart_of_many_markets_says_what_it_leaves_out():
    figure = bars({f"M{n}": float(n) for n in range(100)}, title="All", xlabel="x", ylabel="y")
    assert "of 100" in figure.axes[0].get_title(loc="left")
    assert len(figure.axes[0].patches) == 40


def test_a_report_names_the_tables_it_has():
    report = Report("R", monday(1), None, (), (), (Section("Here", "why", pd.DataFrame({"a": [1]})),))
    with pytest.raises(KeyError, match="Here"):
        report.table("There")


def test_a_period_is_written_in_utc_and_must_not_end_before_it_starts(empty):
    assert parse_moment("") is None
    assert parse_moment("2024-03-05 09:00") == parse_moment("2024-03-05T10:00+01:00") == tuesday(9)
    assert period(tuesday(9), None, None) == (monday(9), tuesday(9))
    with pytest.raises(ConfigError, match="not a time"):
        parse_moment("yesterday")
    with pytest.raises(ConfigError, match="ends before"):
        pandl_report(empty.desk, start=tuesday(9), end=monday(9))


# --- P&L ---------------------------------------------------------------------------------------------------------


def test_account_and_records_agree_to_the_cent(house):
    data = pandl_report(house.desk, start=monday(0)).data
    assert data["account_end"] == pytest.approx(house.broker.account_value().total, abs=CENT)
    assert data["total"] == pytest.approx(data["account_end"] - 1e6, abs=CENT)
    assert data["unexplained"] == pytest.approx(0, abs=CENT)
    assert data["commission"] < 0
    assert data["total"] == pytest.approx(sum(data[p] for p in ("instruments", "commission", "fx")), abs=CENT)
    assert sum(data["by_strategy"].values()) == pytest.approx(data["instruments"], abs=CENT)
    assert sum(data["by_asset_class"].values()) == pytest.approx(data["instruments"], abs=CENT)
    assert set(data["by_asset_class"]) == {"Metals", "Bond"}
    assert data["percent"]["total"] == pytest.approx(100 * data["total"] / data["capital"])


def test_a_day_starts_at_the_last_poll_before_it(house):
    report = pandl_report(house.desk)
    assert (report.data["from"], report.data["to"]) == (monday(19), tuesday(18))
    whole = pandl_report(house.desk, start=monday(0)).data["total"]
    before = pandl_report(house.desk, start=monday(0), end=monday(19)).data["total"]
    assert report.data["total"] == pytest.approx(whole - before, abs=CENT)


def test_a_deposit_is_unexplained_and_nothing_else_changes(house):
    before = pandl_report(house.desk).data
    house.broker.deposit(1000.0, "EUR")
    house.poll()
    after = pandl_report(house.desk).data
    rate = next(b.fx_rate for b in house.broker.account_value().balances if b.currency == "EUR")
    assert after["unexplained"] == pytest.approx(1000 * rate, abs=CENT)
    assert after["instruments"] - before["instruments"] == pytest.approx(0, abs=CENT)


def test_a_poll_that_was_not_believed_is_left_out_and_mentioned(house):
    with house.store.write() as unit:
        house.clock.advance(minutes=1)
        house.broker.deposit(500_000.0, "USD")
        unit.targets.add_poll(house.broker.account_value(), accepted=False)
        unit.commit()
    report = pandl_report(house.desk)
    assert report.data["unexplained"] == pytest.approx(0, abs=CENT)
    assert report.data["polls_refused"] == 1
    assert "1 polls were not accepted" in shown(report)


def test_the_tables_sum_to_the_total(house):
    report = pandl_report(house.desk)
    for heading in ("Change of account value", "P&L by strategy"):
        amounts = report.table(heading)["USD"]
        assert amounts.iloc[:-1].sum() == pytest.approx(amounts.iloc[-1], abs=CENT)
        assert amounts.iloc[-1] == pytest.approx(report.data["total"], abs=CENT)
    assert report.table("P&L by instrument")["USD"].is_monotonic_increasing


# --- trades ------------------------------------------------------------------------------------------------------


def test_a_roll_shows_its_legs_and_a_spread_price_in_lowest_terms(house):
    report = trades_report(house.desk)
    rolls = report.table("Broker orders").set_index("strategy").loc[ROLL_PSEUDO_STRATEGY]
    near, far = _price_of(house, GOLD_APR, -3), _price_of(house, GOLD_JUN, 3)
    assert rolls["fill, contracts"] == "-3, +3"
    assert rolls["price, points"] == pytest.approx(near - far)
    assert rolls["contracts"] == "20240400, 20240600"


def _price_of(house: House, contract, quantity: int) -> float:
    fills = [f for f in house.broker.fills_since(tuesday(0)) if f.contract == contract]
    assert sum(f.quantity for f in fills) == quantity
    return sum(f.quantity * f.price for f in fills) / quantity


def test_slippage_is_the_same_trade_in_three_units(house):
    report = trades_report(house.desk)
    points = report.table("Slippage in price").set_index("strategy").loc["carry"]
    vol = report.table("Slippage against volatility").set_index("strategy").loc["carry"]
    cash = report.table("Slippage in money").set_index("strategy").loc["carry"]

    assert points["delay, points"] == pytest.approx(-0.5)  # bought half a point above the reference
    assert points["bid ask, points"] < 0
    total = points["total trading, points"]
    assert total == pytest.approx(points["mid"] - points["filled"])
    assert total == pytest.approx(points["bid ask, points"] + points["execution, points"])
    assert vol["total trading, bp of annual sd"] == pytest.approx(total * 10_000 / vol["annual sd, points"])
    assert cash["one point, USD"] == pytest.approx(1000 * house_rate(house))
    assert cash["total trading, USD per lot"] == pytest.approx(total * cash["one point, USD"])


def house_rate(house: House) -> float:
    with house.store.read() as unit:
        return unit.reporting.last_dollar_rates(house.clock.now())["EUR"]


def test_the_cost_of_the_period_counts_every_lot(house):
    report = trades_report(house.desk, start=monday(0))
    assert report.data["orders"] == 4
    assert report.data["lots"] == 3 + 2 + 3 + 1
    money = report.table("Slippage in money")
    assert report.data["total_trading_cash"] == pytest.approx(money["total trading, USD"].sum())
    gold = money[(money["instrument"] == "GOLD") & (money["strategy"] == "trend")].iloc[0]
    assert gold["total trading, USD"] == pytest.approx(3 * gold["total trading, USD per lot"])


def test_delays_are_seconds_and_never_negative(house):
    delays = trades_report(house.desk, start=monday(0)).table("Delays")
    assert list(delays["generated to submitted, s"]) == [36_000.0] * 4
    known = delays["submitted to filled, s"].dropna()
    assert ((known >= 0) & (known <= 300)).all() and len(known) == 4


def test_statistics_are_per_instrument_and_strategy(house):
    report = trades_report(house.desk, start=monday(0))
    by = report.table("Statistics by instrument").set_index(["instrument", "slippage", "unit"])
    assert by.loc[("BUND", "total trading", "points"), "orders"] == 2
    row = by.loc[("BUND", "delay", "points")]
    assert row["total"] == pytest.approx(0.5 - 0.5) and row["mean"] == pytest.approx(0)  # sold high, bought high
    assert row["mean + 2 sd"] == pytest.approx(2 * np.sqrt(0.5))
    strategies = report.table("Statistics by strategy")["strategy"]
    assert set(strategies) == {"trend", "carry", ROLL_PSEUDO_STRATEGY}


def test_trades_of_another_day_are_not_todays(house):
    assert trades_report(house.desk, start=tuesday(17), end=tuesday(18)).data["orders"] == 0


# --- reconcile ---------------------------------------------------------------------------------------------------


def test_a_desk_in_order_has_no_breaks(house):
    report = reconcile_report(house.desk)
    assert list(report.breaks) == []
    assert report.headline == ("No breaks.",)
    for side in ("Positions in database", "Positions at broker"):
        held = report.table(side).set_index("instrument")["position, contracts"]
        assert dict(held) == {"BUND": -1, "GOLD": 3}
    assert report.data["trades_at_broker"] == report.data["trades_in_database"] > 0


def test_a_broker_that_does_not_answer_is_unknown_not_flat(house):
    report = reconcile_report(house.cut_off)
    assert report.breaks.broker_vs_contract is None and report.breaks.trades is None
    assert report.breaks.unknown and not report.breaks.any
    text = shown(report)
    assert "not the same as flat" in text
    assert "What the broker holds is unknown" in text
    assert list(report.breaks) == ["broker vs contract: unknown", "trades: unknown"]


def test_a_position_outside_its_buffer_is_a_break(house):
    house.targets(GOLD=(0.6, 1.4), BUND=(-2.4, -1.2))
    report = reconcile_report(house.desk)
    assert report.breaks.optimal == (("trend", "GOLD"),)
    row = report.table("Optimal versus actual positions").set_index(["strategy", "instrument"]).loc[("trend", "GOLD")]
    assert (row["current, contracts"], row["optimal, contracts"]) == (3, "0.600 / 1.400")


def test_a_position_nobody_has_a_target_for_is_shown_and_not_judged(house):
    row = reconcile_report(house.desk).table("Optimal versus actual positions").set_index("strategy").loc["carry"]
    assert (row["optimal, contracts"], row["break"]) == ("no target", "cannot be said")


def test_a_trade_made_elsewhere_is_found_by_its_execution(house):
    house.at(tuesday(24 + 9))
    house.broker.submit(OrderTicket("elsewhere", (Leg(BUND_JUN, 1),), OrderType.MARKET))
    house.clock.advance(minutes=5)
    report = reconcile_report(house.desk)
    assert [(str(b.key), b.ours, b.theirs) for b in report.breaks.broker_vs_contract] == [("BUND/20240600", -1, 0)]
    assert {b.what for b in report.breaks.trades} == {"missing_here"}

    house.book()  # our records learn of it, but no strategy owns it
    report = reconcile_report(house.desk)
    assert report.breaks.broker_vs_contract == () == report.breaks.trades
    assert [(b.key, b.ours, b.theirs) for b in report.breaks.instrument_vs_contract] == [("BUND", -1, 0)]
    assert trades_report(house.desk).data["fills_without_order"] == 1


# --- roll --------------------------------------------------------------------------------------------------------


def test_the_roll_table_counts_days_and_tags_contracts(house):
    report = roll_report(house.desk, ["GOLD"])
    today = datetime(2024, 3, 5)
    expiry = datetime(2024, 4, 1) + timedelta(days=26)
    market = report.data["markets"]["GOLD"]
    assert market["status"] == "No_Roll"
    assert market["prc_exp"] == (expiry - today).days
    assert market["roll_exp"] == market["prc_exp"] - 30
    assert market["contracts"] == ["20240400p", "20240600fc"]
    assert market["positions"] == [0, 3]
    assert market["relative_volumes"] == [1.0, pytest.approx(0.4)]
    assert list(report.table("Positions").columns) == ["instrument", *(f"Pos{n}" for n in range(6))]


def test_a_market_held_on_or_past_its_preferred_roll_is_the_headline(house):
    assert roll_report(house.desk).headline == ("None of 2 markets is held past its preferred roll.",)
    days_left = roll_report(house.desk).data["markets"]["BUND"]["prc_exp"]
    with house.store.write() as unit:
        parameters = unit.markets.roll_parameters("BUND")
        unit.markets.put_roll_parameters(replace(parameters, roll_offset=-days_left))
        unit.commit()
    report = roll_report(house.desk)
    assert report.headline == ("Held past the preferred roll: BUND.",)
    assert report.table("Status and time to roll")["instrument"].tolist() == ["BUND", "GOLD"]


def test_relative_volume_follows_the_last_days_and_leaves_out_what_is_not_known():
    days = [(GOLD_APR.date, 100.0), (GOLD_APR.date, 400.0), (GOLD_APR.date, np.nan), (GOLD_JUN.date, 1000.0)]
    daily = pd.DataFrame(days, columns=["contract", "volume"])
    apr = (0.5 * 100 + 400) / 1.5  # span 3 halves the weight from day to day
    assert relative_volumes(daily, [GOLD_APR, GOLD_JUN]) == {GOLD_APR: pytest.approx(apr / 1000), GOLD_JUN: 1.0}
    assert relative_volumes(daily, [GOLD_APR, replace(GOLD_JUN, date="20241200")]) == {GOLD_APR: 1.0}
    assert relative_volumes(daily.assign(volume=0.0), [GOLD_APR]) == {GOLD_APR: 0.0}


def test_an_unknown_market_is_an_error_that_says_what_to_do(house):
    with pytest.raises(Exception, match=r"No roll parameters for GLOD.*rolls\.csv"):
        roll_report(house.desk, ["GLOD"])


# --- status ------------------------------------------------------------------------------------------------------


def test_exceptions_come_first_and_the_gravest_of_them_first(house):
    now = house.clock.now()
    with house.store.write() as unit:
        unit.restrictions.lock("GOLD", "reconciliation", at=now, who="reconcile", why="broker says 4")
        unit.restrictions.set_position_limit("", "GOLD", 2, who="me", why="small account")
        unit.restrictions.set_override("trend", "", Override("reduce_only"), at=now, who="me", why="testing")
        unit.runs.process_started("run_systems", now - timedelta(hours=30))
        unit.runs.process_ended("run_systems", now - timedelta(hours=29))
        unit.commit()
    report = status_report(house.desk)
    assert report.sections[0].heading == "Exceptions"
    what = list(report.table("Exceptions")["what"])
    assert what[:2] == ["instrument locked", "position beyond its limit"]
    assert "process not finished in the last day" in what
    assert report.data["locked_instruments"] == ["GOLD"]
    limits = report.table("Position limits").set_index(["strategy", "instrument"])["limit, contracts"]
    assert limits[("all", "GOLD")] == 2
    assert limits[("trend", "BUND")] == limits[("all", "BUND")] == "no limit"
    assert report.table("Overrides")["kind"].tolist() == ["reduce_only"]


def test_ages_are_listed_oldest_first(house):
    house.at(tuesday(24 + 18))
    house.targets(GOLD=(2.6, 3.4))
    report = status_report(house.desk)
    for heading in ("Adjusted and FX prices", "Optimal positions"):
        assert report.table(heading)["last update (UTC)"].is_monotonic_increasing
    assert report.table("Optimal positions")["instrument"].tolist() == ["BUND", "GOLD"]
    assert set(report.table("Adjusted and FX prices")["name"]) == {"GOLD", "BUND", "EURUSD"}


def test_processes_show_window_dependency_and_when_they_last_ran(house):
    settings = {
        "process_configuration_methods": {"run_systems": {}, "run_reports": {}, "run_backups": {}},
        "process_configuration_start_time": {"default": "00:01", "run_systems": "20:05"},
        "process_configuration_stop_time": {"default": "23:50"},
        "process_configuration_previous_process": {"run_reports": "run_systems"},
    }
    house.config = Config.model_validate(settings)
    now = house.clock.now()
    with house.store.write() as unit:
        unit.runs.process_started("run_systems", now - timedelta(minutes=20))
        unit.runs.process_ended("run_systems", now - timedelta(minutes=10))
        unit.runs.process_started("run_reports", now - timedelta(minutes=5))
        unit.commit()
    report = status_report(house.desk)
    processes = report.table("Processes").set_index("process")
    assert processes["running"].to_dict() == {"run_backups": False, "run_reports": True, "run_systems": False}
    assert processes.loc["run_systems", "window"] == "20:05 to 23:50 UTC"
    assert processes.loc["run_systems", "finished in last day"]
    assert processes.loc["run_reports", "previous finished"]
    told = [exception for exception in report.data["exceptions"] if exception.startswith("process")]
    assert told == ["processes that never ran: run_backups"]
