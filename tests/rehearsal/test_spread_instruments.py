"""Spreads traded as instruments, from their declaration to the reports: days around a roll of the legs."""

import sqlite3
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, date, datetime
from pathlib import Path

import pytest
import yaml
from sqlalchemy import select

from pysys.clock import FrozenClock
from pysys.config import Settings, load_settings
from pysys.control.setup import initialise
from pysys.data.spread_prices import update_spread_prices
from pysys.desk import Desk
from pysys.rehearsal.days import Summary
from pysys.rehearsal.replay import run_replay
from pysys.reports.pandl import pandl_report
from pysys.store.schema import instrument_orders
from pysys.store.unit import Store
from tests.rehearsal.conftest import PROJECT, environment, quiet
from tests.reports.report_world import Unreachable

FIRST, LAST = date(2024, 3, 8), date(2024, 3, 14)  # the stock index is forced to roll on the 12th
SPREADS = {
    "STOCK_CALENDAR": {
        "legs": [{"instrument": "EUROSTX", "ratio": 1}, {"instrument": "EUROSTX", "ratio": -1, "chain": 1}]
    },
    "STOCK_VOL": {"legs": [{"instrument": "EUROSTX", "ratio": 1}, {"instrument": "V2X", "ratio": 1}]},
}
TRADED = {"outright": ["EUROSTX"], "relative": ["STOCK_CALENDAR", "STOCK_VOL"]}
MARCH, JUNE, SEPTEMBER = ("EUROSTX/2024" + month + "00" for month in ("03", "06", "09"))


def declarations(folder: Path) -> dict[str, str]:
    """What a user writes: two strategies, one of which trades the spreads as it would any instrument."""
    example = yaml.safe_load((PROJECT / "parameters" / "strategies" / "example.yaml").read_text())
    for name, codes in TRADED.items():
        weights = {"instrument_weights": dict.fromkeys(codes, 1 / len(codes))}
        (folder / f"{name}.yaml").write_text(yaml.safe_dump({**example, **weights}))
    keys = {
        "spread_instruments": SPREADS,
        "strategy_list": {name: {} for name in TRADED},
        "strategy_capital_allocation": {
            "function": "sysproduction.strategy_code.strategy_allocation.weighted_strategy_allocation",
            "strategy_weights": {"outright": 70.0, "relative": 30.0},
        },
        "process_configuration_methods": {
            "run_systems": {name: {"backtest_config_filename": str(folder / f"{name}.yaml")} for name in TRADED},
            "run_strategy_order_generator": {name: {} for name in TRADED},
        },
    }
    return {f"PYSYS_{key.upper()}": yaml.safe_dump(value, default_flow_style=True) for key, value in keys.items()}


@pytest.fixture(scope="module")
def settings(archive: str, tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """A system with prices, the spreads declared and their prices made, as a user would before trading them."""
    folder = tmp_path_factory.mktemp("spreads")
    database = folder / "prices.db"
    origin = archive.removeprefix("sqlite:///")
    with closing(sqlite3.connect(origin)) as source, closing(sqlite3.connect(database)) as own:
        source.backup(own)
    variables = environment(f"sqlite:///{database}", folder / "outputs")
    found = load_settings(PROJECT, {**variables, **declarations(folder), "PYSYS_PAPER_STARTING_CASH": "600000"})
    initialise(found, "demo")
    store = Store(found.database_url)
    now = datetime(2024, 3, 18, tzinfo=UTC)
    update_spread_prices(Desk(found.config, store, None, FrozenClock(now))).raise_if_incomplete()  # type: ignore[arg-type]
    store.close()
    return found


@pytest.fixture(scope="module")
def summary(settings: Settings) -> Summary:
    return run_replay(settings, FIRST, LAST, notebooks=False, fresh=True, progress=quiet)


@pytest.fixture(scope="module")
def evening(summary: Summary, settings: Settings) -> Iterator[Desk]:
    """The desk on the last evening; the broker has been asked already."""
    store = Store(f"sqlite:///{summary.folder / 'state' / 'pysys.db'}")
    now = datetime(LAST.year, LAST.month, LAST.day, 23, 59, tzinfo=UTC)
    yield Desk(settings.config, store, Unreachable(), FrozenClock(now))  # type: ignore[arg-type]
    store.close()


def test_every_step_of_every_day_ends_well_and_the_books_are_the_brokers(summary):
    assert summary.attention == []
    assert summary.trades > 0
    assert [each for each in summary.breaks if not each.startswith("optimal vs actual")] == []


def test_contracts_are_what_is_held_outright_and_as_legs_and_the_legs_have_rolled(summary, evening):
    with evening.store.read() as unit:
        contracts = unit.positions.contract_positions()
        strategies = unit.positions.strategy_positions()
        legs = unit.orders.legs_held_for_others()
        rolls = unit.markets.rolls("EUROSTX")
        o = instrument_orders.c
        own = select(o.status).where(o.instrument == "STOCK_CALENDAR", o.roll_order)
        rolled = unit.connection.execute(own).scalars().all()
    calendar = {str(contract): held for (code, contract), held in legs.items() if code == "STOCK_CALENDAR"}
    units = strategies["relative", "STOCK_CALENDAR"]
    between: Counter[str] = Counter()
    for (code, contract), held in legs.items():
        between[contract.instrument] += held if code == "STOCK_VOL" else 0
    assert [str(roll.to_contract) for roll in rolls] == [JUNE] and rolled == ["done"]
    assert calendar == {JUNE: units, SEPTEMBER: -units}
    assert between == Counter(dict.fromkeys(("EUROSTX", "V2X"), strategies["relative", "STOCK_VOL"]))
    stock = {str(contract): held for contract, held in contracts.items() if contract.instrument == "EUROSTX"}
    outright = strategies["outright", "EUROSTX"] + strategies["relative", "STOCK_VOL"]
    assert stock == {JUNE: outright + units, SEPTEMBER: -units}


def test_gains_of_strategies_and_instruments_with_spreads_add_up_to_the_account(summary, evening):
    start = datetime(FIRST.year, FIRST.month, FIRST.day, tzinfo=UTC)
    data = pandl_report(evening, start=start, end=evening.clock.now()).data

    assert set(data["by_strategy"]) == set(TRADED)
    assert set(data["by_instrument"]) == {"EUROSTX", *SPREADS}
    assert sum(data["by_strategy"].values()) + data["not_attributed"] == pytest.approx(data["instruments"], abs=0.005)
    assert sum(data["by_instrument"].values()) == pytest.approx(data["instruments"], abs=0.005)
    spreads = sum(data["by_instrument"][code] for code in SPREADS)
    assert data["by_strategy"]["relative"] == pytest.approx(spreads, abs=0.005)
    assert data["unexplained"] == pytest.approx(0.0, abs=0.005)
    assert data["total"] == pytest.approx(summary.account_end - summary.account_start, abs=0.005)
