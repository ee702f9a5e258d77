"""The instrument and roll tables of the configuration folder, read strictly into domain objects.

Every column must be there and no other; every value must parse. An error names the file, the line, the column
and what to do.
"""

import csv
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import time
from pathlib import Path
from typing import TypeVar
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pysys.domain.contracts import MONTH_LETTERS
from pysys.domain.errors import ConfigError
from pysys.domain.instruments import Instrument, RollParameters, TradingHours

INSTRUMENT_COLUMNS = (
    "instrument", "description", "exchange", "timezone", "open", "close", "tick_size", "point_size",
    "currency", "asset_class", "region", "per_block", "percentage", "per_trade", "spread_cost",
    "ib_symbol", "ib_exchange", "ib_currency", "ib_multiplier", "ib_price_magnifier",
)  # fmt: skip
ROLL_COLUMNS = (
    "instrument", "hold_roll_cycle", "priced_roll_cycle", "roll_offset_days", "carry_offset", "expiry_offset",
)  # fmt: skip

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class IbSymbol:
    """How Interactive Brokers names an instrument. Their prices are ours times `price_magnifier`."""

    symbol: str
    exchange: str
    currency: str
    multiplier: float  # currency per 1.0 of the broker's contract unit: point size x price magnifier
    price_magnifier: float


@dataclass(frozen=True, slots=True)
class _Row:
    """One line of a table, with what an error message needs to point at it."""

    path: Path
    line: int
    values: Mapping[str, str]

    def error(self, column: str, problem: str, remedy: str) -> ConfigError:
        return ConfigError(f"{self.path}, line {self.line}, column {column}: {problem}; {remedy}")

    def text(self, column: str) -> str:
        value = self.values[column].strip()
        if not value:
            raise self.error(column, "is empty", "fill it in")
        return value

    def parsed(self, column: str, parse: Callable[[str], T], wanted: str) -> T:
        text = self.text(column)
        try:
            return parse(text)
        except (ValueError, ZoneInfoNotFoundError) as error:
            raise self.error(column, f"{text!r} is not {wanted}", "correct it") from error

    def at_least_zero(self, column: str) -> float:
        return self.parsed(column, _not_negative, "a number of 0 or more")

    def above_zero(self, column: str) -> float:
        return self.parsed(column, _positive, "a number above 0")

    def whole(self, column: str) -> int:
        return self.parsed(column, int, "a whole number such as -5")


def read_instruments(path: Path) -> dict[str, Instrument]:
    """Instruments by code, in the order of the file. Raises ConfigError."""
    return {row.text("instrument"): _instrument(row) for row in _rows(path, INSTRUMENT_COLUMNS)}


def read_ib_symbols(path: Path) -> dict[str, IbSymbol]:
    """Interactive Brokers' names of the instruments of the same table, by code. Raises ConfigError."""
    return {row.text("instrument"): _ib_symbol(row) for row in _rows(path, INSTRUMENT_COLUMNS)}


def read_rolls(path: Path) -> dict[str, RollParameters]:
    """Roll parameters by instrument code, in the order of the file. Raises ConfigError."""
    return {row.text("instrument"): _roll(row) for row in _rows(path, ROLL_COLUMNS)}


def read_instruments_and_rolls(
    instruments_path: Path, rolls_path: Path
) -> tuple[dict[str, Instrument], dict[str, RollParameters]]:
    """Both tables; every instrument has a roll row and every roll row an instrument. Raises ConfigError."""
    instruments, rolls = read_instruments(instruments_path), read_rolls(rolls_path)
    _refuse_orphans(instruments_path, INSTRUMENT_COLUMNS, instruments, rolls_path, rolls)
    _refuse_orphans(rolls_path, ROLL_COLUMNS, rolls, instruments_path, instruments)
    return instruments, rolls


def _refuse_orphans(
    path: Path, columns: Sequence[str], codes: Mapping[str, object], other: Path, others: Mapping[str, object]
) -> None:
    if codes.keys() <= others.keys():
        return
    for row in _rows(path, columns):
        code = row.text("instrument")
        if code not in others:
            raise row.error("instrument", f"{code} has no row in {other}", "add one there or delete this line")


def _rows(path: Path, columns: Sequence[str]) -> Iterator[_Row]:
    """Rows of a table with exactly these columns, in any order, and an instrument of its own on each."""
    if not path.is_file():
        raise ConfigError(f"{path}: there is no such file; `pysys init` writes the standard ones")
    seen: dict[str, int] = {}
    with path.open(newline="", encoding="utf-8-sig") as file:
        reader = csv.reader(file)
        header = [name.strip() for name in next(reader, [])]
        _check_header(path, header, columns)
        for cells in reader:
            if not cells:
                continue
            line = reader.line_num
            if len(cells) != len(header):
                raise ConfigError(
                    f"{path}, line {line}: {len(cells)} values for {len(header)} columns; "
                    "put text with commas in double quotes"
                )
            row = _Row(path, line, dict(zip(header, cells, strict=True)))
            code = row.text("instrument")
            if code in seen:
                raise row.error("instrument", f"{code} is already on line {seen[code]}", "delete one of the two")
            seen[code] = line
            yield row


def _check_header(path: Path, header: Sequence[str], columns: Sequence[str]) -> None:
    for column in columns:
        if column not in header:
            raise ConfigError(f"{path}, line 1, column {column}: is missing; add it, with a value on every line")
    for number, column in enumerate(header):
        if column not in columns:
            raise ConfigError(
                f"{path}, line 1, column {column!r}: is not known; delete it, or use one of {', '.join(columns)}"
            )
        if column in header[:number]:
            raise ConfigError(f"{path}, line 1, column {column}: is there twice; delete one of the two")


def _instrument(row: _Row) -> Instrument:
    hours = TradingHours(
        timezone=row.parsed("timezone", ZoneInfo, "an IANA time zone such as Europe/London").key,
        open=row.parsed("open", _clock_time, "a time such as 08:30"),
        close=row.parsed("close", _clock_time, "a time such as 16:00"),
    )
    if hours.open == hours.close:
        raise row.error("close", f"{hours.close:%H:%M} is also the open", "give the time the session ends")
    return Instrument(
        code=row.text("instrument"),
        description=row.text("description"),
        currency=row.parsed("currency", _currency, "a three-letter currency such as USD"),
        point_size=row.above_zero("point_size"),
        asset_class=row.text("asset_class"),
        region=row.text("region"),
        exchange=row.text("exchange"),
        per_block=row.at_least_zero("per_block"),
        per_trade=row.at_least_zero("per_trade"),
        percentage=row.at_least_zero("percentage"),
        spread_cost=row.at_least_zero("spread_cost"),
        tick_size=row.above_zero("tick_size"),
        hours=hours,
    )


def _ib_symbol(row: _Row) -> IbSymbol:
    symbol = IbSymbol(
        symbol=row.text("ib_symbol"),
        exchange=row.text("ib_exchange"),
        currency=row.parsed("ib_currency", _currency, "a three-letter currency such as USD"),
        multiplier=row.above_zero("ib_multiplier"),
        price_magnifier=row.above_zero("ib_price_magnifier"),
    )
    ours = row.above_zero("point_size")
    if abs(symbol.multiplier / symbol.price_magnifier - ours) > 1e-9 * ours:
        raise row.error(
            "ib_multiplier",
            f"{symbol.multiplier:g} over the price magnifier {symbol.price_magnifier:g} is not the point size {ours:g}",
            "correct whichever is wrong",
        )
    return symbol


def _roll(row: _Row) -> RollParameters:
    for column in ("hold_roll_cycle", "priced_roll_cycle"):
        row.parsed(column, _cycle, f"month letters out of {MONTH_LETTERS}, each once, in calendar order")
    outside = [letter for letter in row.text("hold_roll_cycle") if letter not in row.text("priced_roll_cycle")]
    if outside:
        raise row.error(
            "hold_roll_cycle",
            f"{''.join(outside)} is not in the priced cycle {row.text('priced_roll_cycle')}",
            "hold only months that have prices",
        )
    return RollParameters(
        instrument=row.text("instrument"),
        hold_cycle=row.text("hold_roll_cycle"),
        priced_cycle=row.text("priced_roll_cycle"),
        roll_offset=row.whole("roll_offset_days"),
        carry_offset=row.parsed("carry_offset", _one_step, "-1 or 1"),
        expiry_offset=row.whole("expiry_offset"),
    )


def _not_negative(text: str) -> float:
    value = float(text)
    if not 0 <= value < math.inf:
        raise ValueError(text)
    return value


def _positive(text: str) -> float:
    value = float(text)
    if not 0 < value < math.inf:
        raise ValueError(text)
    return value


def _one_step(text: str) -> int:
    if text not in ("-1", "1"):
        raise ValueError(text)
    return int(text)


def _currency(text: str) -> str:
    if len(text) != 3 or not (text.isascii() and text.isalpha() and text.isupper()):
        raise ValueError(text)
    return text


def _clock_time(text: str) -> time:
    if len(text) != 5:
        raise ValueError(text)
    return time.fromisoformat(text)


def _cycle(text: str) -> str:
    if "".join(letter for letter in MONTH_LETTERS if letter in text) != text:
        raise ValueError(text)
    return text
