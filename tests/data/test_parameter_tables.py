"""The instrument and roll tables that come with the project, and the refusal of bad ones."""

from collections.abc import Callable
from decimal import Decimal
from pathlib import Path

import pytest

from pysys.data.parameter_tables import (
    read_ib_symbols,
    read_instruments,
    read_instruments_and_rolls,
    read_rolls,
)
from pysys.domain.errors import ConfigError

PARAMETERS = Path(__file__).resolve().parents[2] / "parameters"
INSTRUMENTS = PARAMETERS / "instruments.csv"
ROLLS = PARAMETERS / "rolls.csv"

TICK_VALUES = {  # of one tick in one contract, as the exchanges' contract specifications give it
    "CORN": "12.5", "WHEAT": "12.5", "SOYBEAN": "12.5", "LIVECOW": "10", "SUGAR11": "11.2",
    "US10": "15.625", "US5": "7.8125", "US2": "7.8125", "SOFR": "12.5", "KR3": "10000", "GILT": "10", "BUND": "10",
    "EUROSTX": "10", "DAX": "1", "SP500_micro": "1.25", "NASDAQ_micro": "0.5", "KOSPI_mini": "1000", "NIKKEI": "500",
    "V2X": "5", "VIX": "50", "GOLD_micro": "1", "PLAT": "5", "COPPER-micro": "1.25",
    "CRUDE_W_mini": "12.5", "GAS_US_mini": "12.5",
    "MXP": "5", "AUD": "5", "JPY": "6.25", "EUR_micro": "1.25", "BITCOIN": "0.5",
}  # fmt: skip


def test_a_tick_is_worth_what_the_contract_specification_says() -> None:
    instruments = read_instruments(INSTRUMENTS)
    worth = {code: Decimal(str(one.tick_size)) * Decimal(str(one.point_size)) for code, one in instruments.items()}
    assert worth == {code: Decimal(value) for code, value in TICK_VALUES.items()}


def test_the_tables_that_come_with_the_project_are_complete() -> None:
    instruments, rolls = read_instruments_and_rolls(INSTRUMENTS, ROLLS)
    symbols = read_ib_symbols(INSTRUMENTS)
    assert instruments.keys() == rolls.keys() == symbols.keys()
    for code, instrument in instruments.items():
        assert instrument.tick_size is not None
        assert instrument.spread_cost >= instrument.tick_size / 2
        assert symbols[code].currency == instrument.currency
        assert instrument.commission(1, 100.0) > 0


def test_point_sizes_currencies_and_cycles_agree_with_the_price_history(shared: Path) -> None:
    instruments, rolls = read_instruments_and_rolls(INSTRUMENTS, ROLLS)
    lines = (shared / "data" / "README.md").read_text().splitlines()
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if line.count("|") == 10]
    seen = 0
    for code, _, currency, point_size, *_, cycles in rows:
        if code not in instruments:
            continue
        seen += 1
        assert (instruments[code].currency, instruments[code].point_size) == (currency, float(point_size))
        hold, priced = cycles.split(",")[0].split(" / ")
        assert (rolls[code].hold_cycle, rolls[code].priced_cycle) == (hold, priced)
    assert seen == 26


def replaced(path: Path, to: Path, old: str, new: str) -> Path:
    text = path.read_text()
    assert old in text
    copy = to / path.name
    copy.write_text(text.replace(old, new, 1))
    return copy


@pytest.mark.parametrize(
    ("old", "new", "complaint"),
    [
        ("tick_size", "ticksize", r"line 1, column tick_size: is missing"),
        ("ib_price_magnifier", "ib_price_magnifier,notes", r"line 1, column 'notes': is not known; delete it"),
        ("0.25,50,USD", "0.25,fifty,USD", r"line 2, column point_size: 'fifty' is not a number above 0"),
        ("0.25,50,USD", "nan,50,USD", r"line 2, column tick_size: 'nan' is not"),
        ("0.25,50,USD", "0.25,50,Usd", r"line 2, column currency: 'Usd' is not a three-letter currency"),
        ("0.25,50,USD", "0.25,50,", r"line 2, column currency: is empty; fill it in"),
        ("America/Chicago", "America/Chicagoo", r"line 2, column timezone: .* is not an IANA time zone"),
        ("08:30,13:20", "8.30,13:20", r"line 2, column open: '8.30' is not a time"),
        ("08:30,13:20", "08:30,08:30", r"line 2, column close: 08:30 is also the open"),
        (",5000,100", ",5000,1", r"line 2, column ib_multiplier: 5000 over .* is not the point size 50"),
        ("WHEAT,", "CORN,", r"line 3, column instrument: CORN is already on line 2"),
        ('"Corn, 5000 bushels, cents"', "Corn, 5000 bushels", r"line 2: 21 values for 20 columns"),
    ],
)
def test_a_bad_instrument_table_is_refused_with_the_place(tmp_path: Path, old: str, new: str, complaint: str) -> None:
    path = replaced(INSTRUMENTS, tmp_path, old, new)
    with pytest.raises(ConfigError, match=rf"instruments\.csv, {complaint}"):
        read_ib_symbols(path) if "ib_multiplier" in complaint else read_instruments(path)


@pytest.mark.parametrize(
    ("old", "new", "complaint"),
    [
        ("Z,HKNUZ,-60", "Y,HKNUZ,-60", r"line 2, column hold_roll_cycle: 'Y' is not month letters"),
        ("Z,HKNUZ,-60", "Z,ZUNKH,-60", r"line 2, column priced_roll_cycle: 'ZUNKH' is not"),
        ("Z,HKNUZ,-60", "X,HKNUZ,-60", r"line 2, column hold_roll_cycle: X is not in the priced cycle"),
        ("-60,-1,14", "-60.5,-1,14", r"line 2, column roll_offset_days: '-60.5' is not a whole number"),
        ("-60,-1,14", "-60,0,14", r"line 2, column carry_offset: '0' is not -1 or 1"),
    ],
)
def test_a_bad_roll_table_is_refused_with_the_place(tmp_path: Path, old: str, new: str, complaint: str) -> None:
    with pytest.raises(ConfigError, match=rf"rolls\.csv, {complaint}"):
        read_rolls(replaced(ROLLS, tmp_path, old, new))


@pytest.mark.parametrize(
    ("broken", "complaint"),
    [
        (lambda folder: (INSTRUMENTS, replaced(ROLLS, folder, "WHEAT", "OATS")), r"instruments\.csv, line 3, .* WHEAT"),
        (lambda folder: (replaced(INSTRUMENTS, folder, "WHEAT", "OATS"), ROLLS), r"instruments\.csv, line 3, .* OATS"),
        (
            lambda folder: (INSTRUMENTS, replaced(ROLLS, folder, "CORN,", "OATS,Z,HKNUZ,-60,-1,14\nCORN,")),
            r"rolls\.csv, line 2, column instrument: OATS has no row in .*instruments\.csv",
        ),
        (lambda folder: (folder / "none.csv", ROLLS), r"none\.csv: there is no such file"),
    ],
)
def test_an_instrument_without_a_roll_row_is_refused_and_the_reverse(
    tmp_path: Path, broken: Callable[[Path], tuple[Path, Path]], complaint: str
) -> None:
    with pytest.raises(ConfigError, match=complaint):
        read_instruments_and_rolls(*broken(tmp_path))
