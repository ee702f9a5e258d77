"""Reads the CSV layout that users of the older library keep on disk.

Strict: a missing file or column, a number that is none, a timestamp that does not move forward, a currency without
an FX file are errors that name the file, the line and what to do. Columns are read by name. Timestamps have no
zone and are kept as written.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.csv as pa_csv
from numpy.typing import NDArray

from pysys.data.csv_faults import first_fault, locate
from pysys.domain.errors import DataError
from pysys.domain.prices import MultipleRows, from_datetime64
from pysys.systems.arrow_arrays import floats_of, missing_in, numpy_of
from pysys.systems.fx import USD
from pysys.systems.market_data import (
    TIME_UNIT,
    AdjustedPrices,
    FloatArray,
    FxPrices,
    InstrumentMeta,
    InstrumentSeries,
    IntArray,
    MarketData,
    MultiplePrices,
    TimeArray,
)

Row = TypeVar("Row")

logger = logging.getLogger(__name__)

MULTIPLE_FOLDER = "multiple_prices_csv"
ADJUSTED_FOLDER = "adjusted_prices_csv"
FX_FOLDER = "fx_prices_csv"
ROLL_CALENDAR_FOLDER = "roll_calendars_csv"
CONFIG_FOLDER = "csvconfig"

_TIME, _NUMBER, _CONTRACT, _TEXT = pa.timestamp("us"), pa.float64(), pa.int64(), pa.string()
_READERS = 2  # files parsed at once; parsing leaves the interpreter lock


@dataclass(frozen=True, slots=True, eq=False)
class RollCalendar:
    """When each contract was last held, and what was held next and compared for carry."""

    times: TimeArray
    current_contract: IntArray  # YYYYMMDD
    next_contract: IntArray
    carry_contract: IntArray


@dataclass(frozen=True, slots=True)
class InstrumentConfigRow:
    """One line of instrumentconfig.csv."""

    instrument: str
    description: str
    point_size: float  # instrument currency per 1.0 of price per contract
    currency: str
    asset_class: str
    per_block: float  # commission per contract, instrument currency
    percentage: float  # commission as a fraction of value
    per_trade: float  # commission per order, instrument currency
    region: str


@dataclass(frozen=True, slots=True)
class RollConfigRow:
    """One line of rollconfig.csv. Days are calendar days."""

    instrument: str
    hold_roll_cycle: str  # month letters of the contracts held
    roll_offset_days: int  # from expiry to the desired roll, usually negative
    carry_offset: int  # -1 or +1 in the priced cycle
    priced_roll_cycle: str  # month letters of the contracts with prices
    expiry_offset: int  # from the first of the contract month to its approximate expiry


def read_multiple_rows(path: Path) -> MultipleRows:
    """Prices of the priced, carry and forward contracts, times taken as UTC. Raises DataError."""
    table = _read(path, {"DATETIME": _TIME} | _columns_of("PRICE", "CARRY", "FORWARD"))
    return MultipleRows(
        times=from_datetime64(_times(table, "DATETIME", path)),
        price=_numbers(table, "PRICE", path),
        price_contract=_contracts(table, "PRICE_CONTRACT", path),
        carry=_numbers(table, "CARRY", path),
        carry_contract=_contracts(table, "CARRY_CONTRACT", path),
        forward=_numbers(table, "FORWARD", path),
        forward_contract=_contracts(table, "FORWARD_CONTRACT", path),
    )


def read_multiple_prices(path: Path) -> MultiplePrices:
    """What research reads of them: the priced and carry contracts. Raises DataError."""
    table = _read(path, {"DATETIME": _TIME} | _columns_of("PRICE", "CARRY"))
    return MultiplePrices(
        times=_times(table, "DATETIME", path),
        price=_numbers(table, "PRICE", path),
        carry=_numbers(table, "CARRY", path),
        price_contract=_contracts(table, "PRICE_CONTRACT", path),
        carry_contract=_contracts(table, "CARRY_CONTRACT", path),
    )


def _columns_of(*roles: str) -> dict[str, pa.DataType]:
    """The price and the contract of each role."""
    return dict.fromkeys(roles, _NUMBER) | {f"{role}_CONTRACT": _CONTRACT for role in roles}


def read_adjusted_prices(path: Path) -> AdjustedPrices:
    """Back-adjusted prices. Raises DataError."""
    table = _read(path, {"DATETIME": _TIME, "price": _NUMBER})
    return AdjustedPrices(_times(table, "DATETIME", path), _numbers(table, "price", path))


def read_fx(path: Path) -> FxPrices:
    """USD for one unit of the currency the file is named after. Raises DataError."""
    table = _read(path, {"DATETIME": _TIME, "PRICE": _NUMBER})
    prices = FxPrices(_times(table, "DATETIME", path), _numbers(table, "PRICE", path))
    _refuse_rows(prices.price <= 0, "PRICE", path, "is no exchange rate; it must be positive")
    return prices


def read_roll_calendar(path: Path) -> RollCalendar:
    """The historical roll calendar. Raises DataError."""
    contracts = ("current_contract", "next_contract", "carry_contract")
    table = _read(path, {"DATE_TIME": _TIME} | dict.fromkeys(contracts, _CONTRACT))
    return RollCalendar(_times(table, "DATE_TIME", path), *(_contracts(table, name, path) for name in contracts))


def read_instrument_config(path: Path) -> dict[str, InstrumentConfigRow]:
    """instrumentconfig.csv by instrument. Raises DataError."""
    text = ("Instrument", "Description", "Currency", "AssetClass", "Region")
    numbers = ("Pointsize", "PerBlock", "Percentage", "PerTrade")
    table = _read(path, dict.fromkeys(text, _TEXT) | dict.fromkeys(numbers, _NUMBER))
    for name in numbers:
        values = _numbers(table, name, path)
        _refuse_rows(np.isnan(values), name, path, "must not be empty")
        _refuse_rows(values < 0, name, path, "must not be negative")
    _refuse_rows(_numbers(table, "Pointsize", path) == 0, "Pointsize", path, "must be positive")
    for name in ("Instrument", "Currency", "AssetClass"):
        _refuse_empty_text(table, name, path)
    rows = [
        InstrumentConfigRow(
            instrument=row["Instrument"],
            description=row["Description"] or "",
            point_size=row["Pointsize"],
            currency=row["Currency"],
            asset_class=row["AssetClass"],
            per_block=row["PerBlock"],
            percentage=row["Percentage"],
            per_trade=row["PerTrade"],
            region=row["Region"] or "",
        )
        for row in table.to_pylist()
    ]
    return _by_instrument([row.instrument for row in rows], rows, path)


def read_roll_config(path: Path) -> dict[str, RollConfigRow]:
    """rollconfig.csv by instrument. Raises DataError."""
    text = ("Instrument", "HoldRollCycle", "PricedRollCycle")
    whole = ("RollOffsetDays", "CarryOffset", "ExpiryOffset")
    table = _read(path, dict.fromkeys(text, _TEXT) | dict.fromkeys(whole, _CONTRACT))
    for name in text:
        _refuse_empty_text(table, name, path)
    for name in whole:
        _refuse_rows(missing_in(table.column(name)), name, path, "must not be empty")
    for name in ("HoldRollCycle", "PricedRollCycle"):
        bad = [bool(set(cycle) - set("FGHJKMNQUVXZ")) for cycle in table.column(name).to_pylist()]
        _refuse_rows(np.array(bad, dtype=bool), name, path, "must be month letters out of FGHJKMNQUVXZ")
    rows = [
        RollConfigRow(
            instrument=row["Instrument"],
            hold_roll_cycle=row["HoldRollCycle"],
            roll_offset_days=row["RollOffsetDays"],
            carry_offset=row["CarryOffset"],
            priced_roll_cycle=row["PricedRollCycle"],
            expiry_offset=row["ExpiryOffset"],
        )
        for row in table.to_pylist()
    ]
    return _by_instrument([row.instrument for row in rows], rows, path)


def read_spread_costs(path: Path) -> dict[str, float]:
    """Half the bid-ask spread in price units, by instrument; NaN where the file is blank. Raises DataError."""
    table = _read(path, {"Instrument": _TEXT, "SpreadCost": _NUMBER})
    _refuse_empty_text(table, "Instrument", path)
    costs = _numbers(table, "SpreadCost", path)
    _refuse_rows(costs < 0, "SpreadCost", path, "must not be negative")
    return _by_instrument(table.column("Instrument").to_pylist(), costs.tolist(), path)


def load_market_data(folder: Path, instruments: Sequence[str] | None = None, base_currency: str = USD) -> MarketData:
    """Prices, FX and facts of `instruments` (all with multiple prices when not given) from a layout folder.

    base_currency: what results are wanted in, whose rates are read as well.
    Raises DataError for anything missing or malformed.
    """
    folder = Path(folder)
    codes = list(instruments) if instruments is not None else instruments_in(folder)
    facts = _facts(folder, codes)
    currencies = sorted({base_currency, *(fact.currency for fact in facts.values())} - {USD})
    fx_paths = {currency: _fx_path(folder, currency, facts) for currency in currencies}
    with ThreadPoolExecutor(_READERS) as pool:
        multiple = {code: pool.submit(read_multiple_prices, folder / MULTIPLE_FOLDER / f"{code}.csv") for code in codes}
        adjusted = {code: pool.submit(read_adjusted_prices, folder / ADJUSTED_FOLDER / f"{code}.csv") for code in codes}
        fx = {currency: pool.submit(read_fx, path) for currency, path in fx_paths.items()}
        series = {
            code: InstrumentSeries(code, multiple[code].result(), adjusted[code].result(), facts[code])
            for code in codes
        }
        return MarketData(series, {currency: prices.result() for currency, prices in fx.items()})


def instruments_in(folder: Path) -> list[str]:
    """Instruments with a multiple-prices file, in order. Raises DataError when there are none."""
    prices = Path(folder) / MULTIPLE_FOLDER
    codes = sorted(path.stem for path in prices.glob("*.csv"))
    if not codes:
        raise DataError(f"{prices}: no CSV files; point to the folder that holds {MULTIPLE_FOLDER}")
    return codes


def fx_currencies_in(folder: Path) -> list[str]:
    """Currencies with a `<CCY>USD.csv` file, in order."""
    return sorted(path.stem.removesuffix("USD") for path in (Path(folder) / FX_FOLDER).glob("???USD.csv"))


def _facts(folder: Path, codes: Sequence[str]) -> dict[str, InstrumentMeta]:
    config = folder / CONFIG_FOLDER
    instruments = read_instrument_config(config / "instrumentconfig.csv")
    rolls = read_roll_config(config / "rollconfig.csv")
    spread_path = config / "spreadcosts.csv"
    spreads = read_spread_costs(spread_path)
    out: dict[str, InstrumentMeta] = {}
    for code in codes:
        row = _configured(instruments, code, config / "instrumentconfig.csv")
        spread = spreads.get(code, np.nan)
        if np.isnan(spread):
            logger.warning("%s: no spread cost in %s, so trades cost commission only", code, spread_path)
            spread = 0.0
        out[code] = InstrumentMeta(
            point_size=row.point_size,
            currency=row.currency,
            asset_class=row.asset_class,
            spread_cost=spread,
            per_block=row.per_block,
            percentage=row.percentage,
            per_trade=row.per_trade,
            hold_roll_cycle=_configured(rolls, code, config / "rollconfig.csv").hold_roll_cycle,
        )
    return out


def _fx_path(folder: Path, currency: str, facts: Mapping[str, InstrumentMeta]) -> Path:
    path = folder / FX_FOLDER / f"{currency}USD.csv"
    if not path.is_file():
        quoted = ", ".join(code for code, fact in facts.items() if fact.currency == currency)
        why = f"{quoted} is quoted in {currency}" if quoted else f"{currency} is the base currency"
        raise DataError(f"{path}: no such file, but {why}; add the rates, or choose another")
    return path


def _configured(rows: Mapping[str, Row], code: str, path: Path) -> Row:
    try:
        return rows[code]
    except KeyError:
        raise DataError(f"{path}: no line for {code}; add one, or leave the instrument out") from None


def _read(path: Path, types: Mapping[str, pa.DataType]) -> pa.Table:
    """The named columns of a CSV file. Raises DataError naming the first cell that is wrong."""
    if not path.is_file():
        raise DataError(f"{path}: no such file; check the folder and the instrument code")
    options = pa_csv.ConvertOptions(
        column_types=dict(types),
        include_columns=list(types),
        null_values=[""],
        strings_can_be_null=True,
        quoted_strings_can_be_null=True,
    )
    size = max(path.stat().st_size + 1, 1024)  # one block: a file is parsed by one thread, files by several
    try:
        return pa_csv.read_csv(path, pa_csv.ReadOptions(use_threads=False, block_size=size), convert_options=options)
    except (pa.ArrowInvalid, pa.ArrowKeyError) as problem:
        raise DataError(f"{path}: {first_fault(path, types) or problem}") from problem


def _times(table: pa.Table, name: str, path: Path) -> TimeArray:
    column = table.column(name)
    _refuse_rows(missing_in(column), name, path, "is no timestamp; fill it in")
    times = numpy_of(column, TIME_UNIT)
    stuck = np.zeros(len(times), dtype=bool)
    stuck[1:] = times[1:] <= times[:-1]
    _refuse_rows(stuck, name, path, "is not after the line before; sort the file and remove repeated timestamps")
    return times


def _numbers(table: pa.Table, name: str, path: Path) -> FloatArray:
    values = floats_of(table.column(name))
    _refuse_rows(np.isinf(values), name, path, "must be a finite number")
    return values


def _contracts(table: pa.Table, name: str, path: Path) -> IntArray:
    column = table.column(name)
    _refuse_rows(missing_in(column), name, path, "is no contract id; fill it in")
    ids = numpy_of(column, "int64")
    month, day = ids // 100 % 100, ids % 100
    wrong = (ids < 1000_00_00) | (ids > 9999_99_99) | (month < 1) | (month > 12) | (day > 31)
    _refuse_rows(wrong, name, path, "is no contract id; write YYYYMMDD, or YYYYMM00")
    return ids


def _refuse_rows(wrong: NDArray[np.bool_], name: str, path: Path, why: str) -> None:
    if wrong.any():
        line, text = locate(path, int(wrong.argmax()), name)
        more = f" (and {int(wrong.sum()) - 1} more)" if wrong.sum() > 1 else ""
        raise DataError(f"{path}: line {line}{more}, column {name}: {text!r} {why}")


def _refuse_empty_text(table: pa.Table, name: str, path: Path) -> None:
    _refuse_rows(missing_in(table.column(name)), name, path, "must not be empty")


def _by_instrument(codes: Sequence[str], rows: Sequence[Row], path: Path) -> dict[str, Row]:
    if len(set(codes)) != len(codes):
        twice = sorted({code for code in codes if codes.count(code) > 1})
        raise DataError(f"{path}: more than one line for {', '.join(twice)}; keep one")
    return dict(zip(codes, rows, strict=True))
