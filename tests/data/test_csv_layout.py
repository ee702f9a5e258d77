"""The CSV layout is read exactly, and what is wrong with a file is said by line and column."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from pysys.data.csv_layout import (
    fx_currencies_in,
    instruments_in,
    load_market_data,
    read_adjusted_prices,
    read_fx,
    read_instrument_config,
    read_multiple_prices,
    read_multiple_rows,
    read_roll_calendar,
    read_roll_config,
    read_spread_costs,
)
from pysys.domain.errors import DataError

MULTIPLE = """DATETIME,CARRY,CARRY_CONTRACT,PRICE,PRICE_CONTRACT,FORWARD,FORWARD_CONTRACT
2020-01-01 23:00:00,99.5,20200600,100.25,20200300,,20200600
2020-01-02 14:30:07,,20200600,,20200300,99.75,20200600
2020-01-02 23:00:00,99.0,20200600,100.5,20200300,99.0,20200600
"""
INSTRUMENTS = """Instrument,Description,Pointsize,Currency,AssetClass,PerBlock,Percentage,PerTrade,Region
BUND,"Bund, ten years",1000,EUR,Bond,1.5,0,0,EU
GOLD,,100,USD,Metals,2.5,0.0001,1,US
"""
ROLLS = """Instrument,HoldRollCycle,RollOffsetDays,CarryOffset,PricedRollCycle,ExpiryOffset
BUND,HMUZ,-5,1,HMUZ,8
GOLD,GJMQVZ,-30,-1,GJMQVZ,26
"""
FILES = {
    "multiple_prices_csv/BUND.csv": MULTIPLE,
    "multiple_prices_csv/GOLD.csv": MULTIPLE,
    "adjusted_prices_csv/BUND.csv": "DATETIME,price\n2020-01-01 23:00:00,-1.5\n2020-01-02 23:00:00,\n",
    "adjusted_prices_csv/GOLD.csv": "DATETIME,price\n2020-01-01 23:00:00,1500\n",
    "fx_prices_csv/EURUSD.csv": "DATETIME,PRICE\n2020-01-01 00:00:00,1.1\n2020-01-02 00:00:00,\n",
    "roll_calendars_csv/BUND.csv": (
        "DATE_TIME,current_contract,next_contract,carry_contract\n2020-02-01 23:00:00,20200300,20200600,20200600\n"
    ),
    "csvconfig/instrumentconfig.csv": INSTRUMENTS,
    "csvconfig/rollconfig.csv": ROLLS,
    "csvconfig/spreadcosts.csv": "Instrument,SpreadCost\nBUND,0.005\nGOLD,\n",
}


@pytest.fixture
def layout(tmp_path: Path) -> Path:
    for name, text in FILES.items():
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    return tmp_path


def test_multiple_prices_are_read_by_name_with_their_gaps(layout):
    path = layout / "multiple_prices_csv" / "BUND.csv"
    prices = read_multiple_prices(path)
    assert [str(time) for time in prices.times.astype("datetime64[s]")] == [
        "2020-01-01T23:00:00",
        "2020-01-02T14:30:07",
        "2020-01-02T23:00:00",
    ]
    np.testing.assert_array_equal(prices.price, [100.25, np.nan, 100.5])
    np.testing.assert_array_equal(prices.carry, [99.5, np.nan, 99.0])
    assert list(prices.price_contract) == [20200300] * 3
    assert list(prices.carry_contract) == [20200600] * 3
    rows = read_multiple_rows(path)
    np.testing.assert_array_equal(rows.forward, [np.nan, 99.75, 99.0])
    for name in prices.__slots__:
        np.testing.assert_array_equal(getattr(prices, name).astype(float), getattr(rows, name).astype(float))


def test_columns_may_stand_in_any_order_and_others_are_ignored(tmp_path):
    path = tmp_path / "X.csv"
    path.write_text("note,price,DATETIME\nhello,2.5,2020-01-01 23:00:00\n,3,2020-01-02 23:00:00\n")
    assert list(read_adjusted_prices(path).price) == [2.5, 3.0]


def test_decimals_are_read_to_the_last_bit(tmp_path):
    numbers = [0.1, 1 / 3, 0.007142857142857143, 123456.78900000001, 5e-324]
    lines = [f"{np.datetime64('2020-01-01') + day} 23:00:00,{number!r}" for day, number in enumerate(numbers)]
    path = tmp_path / "X.csv"
    path.write_text("DATETIME,price\n" + "\n".join(lines) + "\n")
    assert list(read_adjusted_prices(path).price) == numbers


def test_a_whole_layout_becomes_market_data(layout, caplog):
    data = load_market_data(layout)
    assert list(data.instruments) == instruments_in(layout) == ["BUND", "GOLD"]
    assert list(data.fx) == fx_currencies_in(layout) == ["EUR"]
    bund, gold = data.instruments["BUND"].meta, data.instruments["GOLD"].meta
    assert (bund.point_size, bund.currency, bund.spread_cost, bund.hold_roll_cycle) == (1000.0, "EUR", 0.005, "HMUZ")
    assert (gold.per_block, gold.percentage, gold.per_trade, gold.spread_cost) == (2.5, 0.0001, 1.0, 0.0)
    assert "GOLD: no spread cost" in caplog.text
    np.testing.assert_array_equal(data.instruments["BUND"].adjusted.price, [-1.5, np.nan])


def test_configuration_tables_keep_quoted_commas_and_blanks(layout):
    config = layout / "csvconfig"
    assert read_instrument_config(config / "instrumentconfig.csv")["BUND"].description == "Bund, ten years"
    assert read_instrument_config(config / "instrumentconfig.csv")["GOLD"].description == ""
    assert read_roll_config(config / "rollconfig.csv")["GOLD"].carry_offset == -1
    assert np.isnan(read_spread_costs(config / "spreadcosts.csv")["GOLD"])
    calendar = read_roll_calendar(layout / "roll_calendars_csv" / "BUND.csv")
    assert (calendar.current_contract[0], calendar.next_contract[0]) == (20200300, 20200600)


BROKEN_PRICES = [
    ("100.25", "1OO.25", r"line 2, column PRICE: '1OO.25' is not a number"),
    ("100.5", "inf", r"line 4, column PRICE: 'inf' must be a finite number"),
    ("2020-01-02 14:30:07", "02/01/2020", r"line 3, column DATETIME: '02/01/2020' is not a timestamp"),
    ("2020-01-02 14:30:07", "", r"line 3, column DATETIME: '' is no timestamp"),
    ("2020-01-02 23:00:00", "2020-01-02 14:30:07", r"line 4, column DATETIME: .* is not after the line before"),
    ("2020-01-02 23:00:00", "2019-12-31 23:00:00", r"line 4, column DATETIME: .* is not after the line before"),
    ("100.5,20200300", "100.5,202003", r"line 4, column PRICE_CONTRACT: '202003' is no contract id"),
    ("100.5,20200300", "100.5,20201300", r"line 4, column PRICE_CONTRACT: '20201300' is no contract id"),
    ("100.5,20200300", "100.5,", r"line 4, column PRICE_CONTRACT: '' is no contract id"),
    ("100.5,20200300", "100.5,MAR20", r"line 4, column PRICE_CONTRACT: 'MAR20' is not a whole number"),
    (",99.75,20200600", "99.75", r"line 3 has 5 fields, its header 7"),
    ("CARRY_CONTRACT", "CARRYCONTRACT", r"no column CARRY_CONTRACT in its header"),
    (MULTIPLE, "", r"is empty; expected a header line"),
]


@pytest.mark.parametrize(("good", "bad", "message"), BROKEN_PRICES, ids=[one[2][:40] for one in BROKEN_PRICES])
def test_a_broken_price_file_is_refused_by_line_and_column(tmp_path, good, bad, message):
    path = tmp_path / "X.csv"
    path.write_text(MULTIPLE.replace(good, bad, 1))
    with pytest.raises(DataError, match=message) as refusal:
        read_multiple_prices(path)
    assert str(path) in str(refusal.value)


def test_lines_are_counted_over_blank_ones(tmp_path):
    path = tmp_path / "X.csv"
    path.write_text("DATETIME,PRICE\n\n2020-01-01 00:00:00,1.1\n\n2020-01-02 00:00:00,-1\n")
    with pytest.raises(DataError, match="line 5, column PRICE: '-1' is no exchange rate"):
        read_fx(path)


BROKEN_LAYOUTS = [
    ("fx_prices_csv/EURUSD.csv", None, r"EURUSD.csv: no such file, but BUND is quoted in EUR"),
    ("adjusted_prices_csv/GOLD.csv", None, r"GOLD.csv: no such file"),
    ("csvconfig/rollconfig.csv", None, r"rollconfig.csv: no such file"),
    ("csvconfig/rollconfig.csv", ROLLS.replace("GOLD", "SILVER"), r"rollconfig.csv: no line for GOLD"),
    ("csvconfig/rollconfig.csv", ROLLS.replace("GJMQVZ", "GJMXYZ"), r"line 3, column HoldRollCycle: .*month letters"),
    ("csvconfig/rollconfig.csv", ROLLS.replace("-30", ""), r"line 3, column RollOffsetDays: '' must not be empty"),
    ("csvconfig/instrumentconfig.csv", INSTRUMENTS.replace(",100,", ",0,"), r"line 3, column Pointsize: '0' must be"),
    ("csvconfig/instrumentconfig.csv", INSTRUMENTS.replace("2.5", "-2.5"), r"line 3, column PerBlock: '-2.5' must not"),
    ("csvconfig/instrumentconfig.csv", INSTRUMENTS.replace("GOLD", "BUND"), r"more than one line for BUND"),
    (
        "csvconfig/instrumentconfig.csv",
        INSTRUMENTS.replace("EUR", ""),
        r"line 2, column Currency: '' must not be empty",
    ),
    ("csvconfig/spreadcosts.csv", "Instrument,SpreadCost\nBUND,-1\n", r"line 2, column SpreadCost: '-1' must not"),
]


@pytest.mark.parametrize(("name", "text", "message"), BROKEN_LAYOUTS, ids=[one[2][:40] for one in BROKEN_LAYOUTS])
def test_a_broken_layout_is_refused_by_file(layout, name, text, message):
    path = layout / name
    path.unlink()
    if text is not None:
        path.write_text(text)
    with pytest.raises(DataError, match=message):
        load_market_data(layout)


def test_a_folder_without_prices_says_where_it_looked(layout):
    shutil.rmtree(layout / "multiple_prices_csv")
    with pytest.raises(DataError, match="multiple_prices_csv: no CSV files"):
        load_market_data(layout)


def test_every_shipped_file_is_read(shared):
    folder = shared / "data" / "futures"
    config = folder / "csvconfig"
    assert len(read_instrument_config(config / "instrumentconfig.csv")) == 586
    assert len(read_roll_config(config / "rollconfig.csv")) > 500
    assert len(read_spread_costs(config / "spreadcosts.csv")) == 581
    codes = instruments_in(folder)
    assert len(codes) == 26
    calendars = [read_roll_calendar(folder / "roll_calendars_csv" / f"{code}.csv") for code in codes]
    assert all(len(calendar.times) > 0 for calendar in calendars)
    rates = [read_fx(folder / "fx_prices_csv" / f"{currency}USD.csv") for currency in fx_currencies_in(folder)]
    assert len(rates) == 12
    assert sum(len(one.multiple) for one in load_market_data(folder).instruments.values()) == 983_658
