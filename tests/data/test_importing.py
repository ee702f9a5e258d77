"""Importing price files: whole or not at all, twice is once, and every refusal is one sentence."""

import shutil
from dataclasses import replace
from datetime import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pysys.data.contract_history import contract_histories
from pysys.data.csv_layout import load_market_data as load_csv
from pysys.data.import_report import ImportIncomplete, ImportReport
from pysys.data.importing import import_prices
from pysys.data.market_data import load_market_data
from pysys.domain.contracts import Contract
from pysys.domain.errors import DataError
from pysys.domain.instruments import TradingHours
from pysys.domain.prices import MultipleRows, PriceRows
from pysys.store.prices import SeriesKey, SeriesKind
from pysys.store.schema import metadata
from pysys.store.unit import Store
from tests.data.csv_world import edit, multiple_of, write_layout, write_prices
from tests.data.price_world import GOLD_JUN, INSTRUMENTS

HOUR = 3_600_000_000


@pytest.fixture(scope="module")
def layout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_layout(tmp_path_factory.mktemp("layout") / "futures")


@pytest.fixture
def folder(layout: Path, tmp_path: Path) -> Path:
    return shutil.copytree(layout, tmp_path / "futures")


def contents(store: Store) -> dict[str, list[Any]]:
    """Every row of every table."""
    with store.read() as unit:
        return {
            table.name: sorted(map(repr, unit.connection.execute(table.select()).all()))
            for table in metadata.sorted_tables
        }


def outcomes(report: ImportReport) -> dict[str, str]:
    return {one.code: str(one.outcome) for one in report.series}


def notes(report: ImportReport, code: str) -> str:
    (found,) = [one for one in report.series if one.code == code]
    return "; ".join(found.notes)


def test_importing_twice_is_importing_once(store: Store, folder: Path) -> None:
    seen: list[tuple[int, int, str]] = []
    first = import_prices(store, folder, progress=lambda *step: seen.append(step))
    first.raise_if_incomplete()
    assert outcomes(first) == {"EUR": "imported", "BUND": "imported", "GOLD": "imported"}
    assert seen == [(1, 3, "EUR"), (2, 3, "BUND"), (3, 3, "GOLD")]
    before = contents(store)
    again = import_prices(store, folder)
    assert outcomes(again) == {"EUR": "unchanged", "BUND": "unchanged", "GOLD": "unchanged"}
    assert contents(store) == before


def test_what_was_imported_is_what_the_files_say(store: Store, folder: Path) -> None:
    import_prices(store, folder)
    ours, theirs = load_market_data(store, ["GOLD", "BUND"]), load_csv(folder)
    for code in ("GOLD", "BUND"):
        one, other = ours.instruments[code], theirs.instruments[code]
        assert one.meta == other.meta
        for name in one.multiple.__slots__:
            np.testing.assert_array_equal(getattr(one.multiple, name), getattr(other.multiple, name))
        np.testing.assert_array_equal(one.adjusted.price, other.adjusted.price)
    np.testing.assert_array_equal(ours.fx["EUR"].price, theirs.fx["EUR"].price)
    rows = multiple_of("GOLD")
    with store.read() as unit:
        daily = unit.prices.contract_bars(GOLD_JUN, daily=True)
        hourly = unit.prices.contract_bars(GOLD_JUN, daily=False)
        june = unit.markets.contract(GOLD_JUN)
        assert unit.markets.roll_calendar("GOLD", "file")[0].next == Contract("GOLD", "20230900")
        assert len(unit.markets.roll_calendar("GOLD", "prices")) == len(set(rows.price_contract)) - 1
    assert set(daily.times % (24 * HOUR)) == {23 * HOUR}
    assert set(hourly.times % (24 * HOUR) // HOUR) == set(range(8, 17))
    assert june is not None and june.expiry is not None and june.expiry.isoformat() == "2024-06-15"
    assert (june.expiry_source, june.sampling) == ("approximate", False)


def test_the_same_contract_at_the_same_time_takes_price_before_forward_before_carry() -> None:
    nan = float("nan")
    rows = MultipleRows(
        np.array([23 * HOUR, 23 * HOUR + 1_000_000, 47 * HOUR]),
        np.array([1.0, nan, nan]),
        np.array([7, 7, 7]),
        np.array([3.0, 3.5, 3.7]),
        np.array([7, 7, 7]),
        np.array([2.0, 2.5, nan]),
        np.array([7, 7, 8]),
    )
    (history,) = contract_histories(rows).values()
    assert history.daily.price.tolist() == [1.0, 3.7]
    assert (history.intraday.price.tolist(), history.intraday.times.tolist()) == ([2.5], [23 * HOUR + 1_000_000])


def test_changed_files_replace_one_instrument(store: Store, folder: Path) -> None:
    import_prices(store, folder)
    rows = multiple_of("GOLD")
    price = np.where(np.arange(len(rows)) == 5, rows.price + 1, rows.price)
    write_prices(folder, "GOLD", replace(rows, price=price))
    report = import_prices(store, folder)
    assert outcomes(report) == {"EUR": "unchanged", "BUND": "unchanged", "GOLD": "replaced"}
    with store.read() as unit:
        np.testing.assert_array_equal(unit.prices.multiple("GOLD").price, price)


def test_a_failure_half_way_through_leaves_the_instrument_as_it_was(sqlite_store: Store, folder: Path) -> None:
    last = int(multiple_of("GOLD").times[-1])
    with sqlite_store.engine.connect() as connection:
        connection.exec_driver_sql(
            f"CREATE TRIGGER full BEFORE INSERT ON adjusted_prices WHEN NEW.time = {last} "
            "AND NEW.series_id = (SELECT id FROM price_series WHERE kind = 'adjusted' AND code = 'GOLD') "
            "BEGIN SELECT RAISE(ABORT, 'no more'); END"
        )
        connection.commit()
    report = import_prices(sqlite_store, folder)
    assert outcomes(report) == {"EUR": "imported", "BUND": "imported", "GOLD": "refused"}
    with sqlite_store.read() as unit:
        assert not unit.markets.has_instrument("GOLD")
        assert unit.prices.series(SeriesKind.CONTRACT_DAILY, "GOLD") == []
        assert unit.markets.contracts("GOLD") == []
        assert len(unit.prices.adjusted("BUND")) == len(multiple_of("BUND"))


def test_every_refusal_is_one_sentence_and_stops_nobody_else(sqlite_store: Store, folder: Path) -> None:
    (folder / "fx_prices_csv" / "EURUSD.csv").unlink()
    shutil.copy(folder / "multiple_prices_csv" / "GOLD.csv", folder / "multiple_prices_csv" / "TIN.csv")
    report = import_prices(sqlite_store, folder, instruments=["TIN", "BUND", "LEAD", "GOLD"])
    assert outcomes(report) == {"TIN": "refused", "BUND": "refused", "LEAD": "refused", "GOLD": "imported"}
    assert "TIN is not in" in notes(report, "TIN") and "LEAD is not in" in notes(report, "LEAD")
    assert notes(report, "BUND").startswith("is quoted in EUR, and there are no rates of it")
    with pytest.raises(ImportIncomplete, match=r"3 of 4 were refused.*BUND: is quoted in EUR"):
        report.raise_if_incomplete()
    assert report.table().set_index("code").outcome["GOLD"] == "imported"


@pytest.mark.parametrize(
    ("damage", "sentence"),
    [
        (lambda folder: (folder / "adjusted_prices_csv" / "GOLD.csv").unlink(), "no such file"),
        (lambda folder: (folder / "roll_calendars_csv" / "GOLD.csv").unlink(), "no such file"),
        (lambda folder: edit(folder / "roll_calendars_csv" / "GOLD.csv", "2023-06-08 23:00:00", "soon"), "soon"),
        (
            lambda folder: edit(folder / "csvconfig" / "rollconfig.csv", "GOLD,HMUZ,-7,1", "GOLD,HMUZ,-7,3"),
            "carry offset",
        ),
    ],
    ids=["no adjusted prices", "no roll calendar", "a time that is none", "a carry offset of 3"],
)
def test_a_damaged_file_changes_nothing_that_was_stored(
    sqlite_store: Store, folder: Path, damage: Any, sentence: str
) -> None:
    import_prices(sqlite_store, folder)
    before = contents(sqlite_store)
    damage(folder)
    report = import_prices(sqlite_store, folder)
    assert outcomes(report) == {"EUR": "unchanged", "BUND": "unchanged", "GOLD": "refused"}
    assert sentence in notes(report, "GOLD")
    assert contents(sqlite_store) == before


def test_files_older_than_the_database_do_not_take_its_later_rows_away(sqlite_store: Store, folder: Path) -> None:
    import_prices(sqlite_store, folder)
    rows = multiple_of("GOLD")
    later = rows.rows(slice(-1, None))
    later = replace(later, times=later.times + 1_000_000)
    with sqlite_store.write() as unit:  # a day's update, and a roll that moved the adjusted price
        unit.prices.append(SeriesKey(SeriesKind.MULTIPLE, "GOLD"), later)
        unit.prices.shift_adjusted("GOLD", 12.25)
        unit.prices.append(SeriesKey(SeriesKind.ADJUSTED, "GOLD"), PriceRows(later.times, later.price))
        unit.commit()
    report = import_prices(sqlite_store, folder)
    assert outcomes(report)["GOLD"] == "unchanged" and "goes on after the files" in notes(report, "GOLD")
    write_prices(folder, "GOLD", replace(rows, price=rows.price + 1))
    report = import_prices(sqlite_store, folder)
    assert outcomes(report)["GOLD"] == "refused" and "would lose the later rows" in notes(report, "GOLD")
    with sqlite_store.read() as unit:
        assert len(unit.prices.multiple("GOLD")) == len(rows) + 1


def test_what_the_desk_knows_of_an_instrument_stays(store: Store, folder: Path) -> None:
    hours = TradingHours("America/New_York", time(18), time(17))
    known = replace(INSTRUMENTS["GOLD"], point_size=10.0, tick_size=0.1, exchange="COMEX", hours=hours)
    with store.write() as unit:
        unit.markets.put_instrument(known)
        unit.commit()
    report = import_prices(store, folder)
    assert "point size is 100 in the files and 10 here, which was kept" in notes(report, "GOLD")
    with store.read() as unit:
        gold = unit.markets.instrument("GOLD")
    assert (gold.tick_size, gold.hours, gold.exchange, gold.point_size) == (0.1, hours, "COMEX", 10.0)
    assert (gold.spread_cost, gold.description) == (0.05, "Gold, a future")


def test_what_is_odd_in_the_files_is_said(sqlite_store: Store, folder: Path) -> None:
    rows = multiple_of("GOLD")
    holed = replace(rows, price=np.where(np.arange(len(rows)) < 3, np.nan, rows.price))
    write_prices(folder, "GOLD", holed)
    adjusted = folder / "adjusted_prices_csv" / "GOLD.csv"
    lines = adjusted.read_text().splitlines()
    time, price = lines[20].split(",")
    adjusted.write_text("\n".join([*lines[:20], f"{time},{float(price) + 1.5}", *lines[21:-2]]) + "\n")
    report = import_prices(sqlite_store, folder)
    said = notes(report, "GOLD")
    assert "3 rows without a price of the priced contract" in said
    assert "2 rows in the multiple prices only" in said
    assert "roll calendar ends 2023-06-08" in said
    assert "adjusted prices differ from the stitch on 1 rows, by up to 1.5" in said
    assert "no spread cost is given" in notes(report, "BUND")


def test_without_configuration_files_nothing_is_begun(sqlite_store: Store, folder: Path) -> None:
    (folder / "csvconfig" / "instrumentconfig.csv").unlink()
    with pytest.raises(DataError, match=r"instrumentconfig\.csv: no such file"):
        import_prices(sqlite_store, folder)
    with sqlite_store.read() as unit:
        assert unit.prices.series(SeriesKind.FX) == []


def test_real_files_come_in_whole(sqlite_store: Store, shared: Path) -> None:
    folder = shared / "data" / "futures"
    report = import_prices(sqlite_store, folder, instruments=["KOSPI_mini", "GILT"])
    report.raise_if_incomplete()
    table = report.table().set_index("code")
    assert (table.multiple_rows["KOSPI_mini"], table.contracts["GILT"]) == (11652, 163)
    assert "12 rows in the multiple prices only" in table.notes["GILT"] and "differ" not in table.notes["GILT"]
    ours, theirs = load_market_data(sqlite_store, ["GILT"]), load_csv(folder, ["GILT"])
    np.testing.assert_array_equal(ours.instruments["GILT"].adjusted.price, theirs.instruments["GILT"].adjusted.price)
    np.testing.assert_array_equal(ours.fx["GBP"].price, theirs.fx["GBP"].price)
