"""Price files in the established CSV layout, into the database: each instrument whole, or not at all."""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from pysys.data.contract_history import ContractHistory, contract_histories, final_only
from pysys.data.csv_layout import (
    ADJUSTED_FOLDER,
    CONFIG_FOLDER,
    FX_FOLDER,
    MULTIPLE_FOLDER,
    ROLL_CALENDAR_FOLDER,
    InstrumentConfigRow,
    RollConfigRow,
    fx_currencies_in,
    instruments_in,
    read_adjusted_prices,
    read_fx,
    read_instrument_config,
    read_multiple_rows,
    read_roll_calendar,
    read_roll_config,
    read_spread_costs,
)
from pysys.data.fx import DOLLAR
from pysys.data.import_report import ImportedSeries, ImportOutcome, ImportReport
from pysys.domain.contracts import Contract
from pysys.domain.errors import DataError, PysysError
from pysys.domain.instruments import Instrument, RollParameters
from pysys.domain.prices import MultipleRows, PriceRows, from_datetime64, to_moment
from pysys.domain.roll_calendars import RollCalendarRow, past_rolls
from pysys.domain.stitching import panama_stitch
from pysys.store.bulk import bulk_reader
from pysys.store.markets import ListedContract
from pysys.store.prices import SeriesKey, SeriesKind, contract_key
from pysys.store.unit import Store, UnitOfWork

logger = logging.getLogger(__name__)

Progress = Callable[[int, int, str], None]  # done, of how many, the code just finished

_ROUNDING = 1e-9  # relative: what is left of adding and taking away gaps


@dataclass(frozen=True, slots=True, eq=False)
class _Files:
    """Everything the files say of one instrument."""

    multiple: MultipleRows
    adjusted: PriceRows
    calendar: list[RollCalendarRow]
    instrument: Instrument
    rolls: RollParameters
    notes: tuple[str, ...]


def import_prices(
    store: Store, folder: Path, *, instruments: Sequence[str] | None = None, progress: Progress | None = None
) -> ImportReport:
    """Import exchange rates, then instruments: configuration, roll calendars, contract, multiple and adjusted prices.

    instruments: by default all that have multiple prices. Times are taken as UTC as they stand. Contract prices are
    taken out of the multiple prices. Files already imported change nothing; files that changed replace the
    instrument's prices in one transaction, unless the database has rows later than theirs. Refusals are in the report
    and stop nobody else. Raises DataError when the folder or its configuration files cannot be read.
    """
    folder = Path(folder)
    codes = list(instruments) if instruments is not None else instruments_in(folder)
    configuration = _Configuration.read(folder)
    currencies = fx_currencies_in(folder)
    done: list[ImportedSeries] = []
    total = len(currencies) + len(codes)
    for currency in currencies:
        done.append(_import_fx(store, folder / FX_FOLDER / f"{currency}{DOLLAR}.csv", currency))
        if progress is not None:
            progress(len(done), total, currency)
    for code in codes:
        done.append(_import_instrument(store, folder, code, configuration))
        if progress is not None:
            progress(len(done), total, code)
    return ImportReport(done)


@dataclass(frozen=True, slots=True)
class _Configuration:
    """The configuration files, which all instruments share."""

    folder: Path
    instruments: Mapping[str, InstrumentConfigRow]
    rolls: Mapping[str, RollConfigRow]
    spreads: Mapping[str, float]

    @classmethod
    def read(cls, folder: Path) -> "_Configuration":
        config = folder / CONFIG_FOLDER
        return cls(
            config,
            read_instrument_config(config / "instrumentconfig.csv"),
            read_roll_config(config / "rollconfig.csv"),
            read_spread_costs(config / "spreadcosts.csv"),
        )

    def instrument(self, code: str) -> tuple[Instrument, tuple[str, ...]]:
        """The instrument, and a note when it has no spread cost. Raises DataError, ValueError."""
        if code not in self.instruments:
            raise DataError(f"{code} is not in {self.folder / 'instrumentconfig.csv'}; add a line for it")
        row, spread = self.instruments[code], self.spreads.get(code, np.nan)
        made = Instrument(
            code=code,
            description=row.description,
            currency=row.currency,
            point_size=row.point_size,
            asset_class=row.asset_class,
            region=row.region,
            per_block=row.per_block,
            per_trade=row.per_trade,
            percentage=row.percentage,
            spread_cost=0.0 if np.isnan(spread) else spread,
        )
        return made, (("no spread cost is given, so 0 is used",) if np.isnan(spread) else ())

    def roll_parameters(self, code: str) -> RollParameters:
        """Raises DataError, ValueError."""
        if code not in self.rolls:
            raise DataError(f"{code} is not in {self.folder / 'rollconfig.csv'}; add a line for it")
        row = self.rolls[code]
        return RollParameters(
            instrument=code,
            hold_cycle=row.hold_roll_cycle,
            priced_cycle=row.priced_roll_cycle,
            roll_offset=row.roll_offset_days,
            carry_offset=row.carry_offset,
            expiry_offset=row.expiry_offset,
        )


# --- exchange rates ---


def _import_fx(store: Store, path: Path, currency: str) -> ImportedSeries:
    key = SeriesKey(SeriesKind.FX, currency)
    try:
        read = read_fx(path)
        rates = PriceRows(from_datetime64(read.times), read.price)
        with store.write() as unit:
            stored = unit.prices.fx(currency)
            verdict, notes = _compare(len(stored), _same_rows(stored, rates), _later(stored.times, rates.times))
            if verdict is not ImportOutcome.UNCHANGED:
                unit.prices.replace(key, rates)
                unit.commit()
        missing = int(np.isnan(rates.price).sum())
        notes += (f"{missing} rows without a rate",) if missing else ()
        return ImportedSeries(currency, "fx", verdict, fx_rows=len(rates), notes=notes)
    except (PysysError, ValueError) as error:
        logger.warning("%s was not imported: %s", key, error)
        return ImportedSeries(currency, "fx", ImportOutcome.REFUSED, notes=(_sentence(error),))


# --- instruments ---


def _import_instrument(store: Store, folder: Path, code: str, configuration: _Configuration) -> ImportedSeries:
    try:
        files = _read(folder, code, configuration)
        return _store(store, code, files)
    except (PysysError, ValueError) as error:
        logger.warning("%s was not imported: %s", code, error)
        return ImportedSeries(code, "instrument", ImportOutcome.REFUSED, notes=(_sentence(error),))


def _sentence(error: Exception) -> str:
    return str(error).rstrip(".")


def _read(folder: Path, code: str, configuration: _Configuration) -> _Files:
    instrument, notes = configuration.instrument(code)
    rolls = configuration.roll_parameters(code)
    rows = read_multiple_rows(folder / MULTIPLE_FOLDER / f"{code}.csv")
    adjusted = read_adjusted_prices(folder / ADJUSTED_FOLDER / f"{code}.csv")
    calendar = read_roll_calendar(folder / ROLL_CALENDAR_FOLDER / f"{code}.csv")
    if not len(rows) or not len(adjusted):
        raise DataError(f"{code}: the file of {'adjusted' if len(rows) else 'multiple'} prices has no rows")
    calendar_rows = [
        RollCalendarRow(to_moment(time), *(Contract(code, f"{number:08d}") for number in (current, following, carry)))
        for time, current, following, carry in zip(
            from_datetime64(calendar.times),
            calendar.current_contract.tolist(),
            calendar.next_contract.tolist(),
            calendar.carry_contract.tolist(),
            strict=True,
        )
    ]
    prices = PriceRows(from_datetime64(adjusted.times), adjusted.price)
    notes += _oddities(rows, prices, calendar_rows)
    return _Files(rows, prices, calendar_rows, instrument, rolls, notes)


def _oddities(multiple: MultipleRows, adjusted: PriceRows, calendar: list[RollCalendarRow]) -> tuple[str, ...]:
    """What a person should know of the files."""
    notes = []
    no_price = int(np.isnan(multiple.price).sum())
    if no_price:
        notes.append(f"{no_price} rows without a price of the priced contract")
    only_multiple = len(np.setdiff1d(multiple.times, adjusted.times, assume_unique=True))
    if only_multiple:
        notes.append(f"{only_multiple} rows in the multiple prices only")
    only_adjusted = len(np.setdiff1d(adjusted.times, multiple.times, assume_unique=True))
    if only_adjusted:
        notes.append(f"{only_adjusted} rows in the adjusted prices only")
    last = to_moment(multiple.times[-1])
    if not calendar or calendar[-1].roll_time < last:
        ends = f"ends {calendar[-1].roll_time:%Y-%m-%d}" if calendar else "is empty"
        notes.append(f"roll calendar {ends}, the prices {last:%Y-%m-%d}")
    return (*notes, *_stitch_differs(multiple, adjusted))


def _stitch_differs(multiple: MultipleRows, adjusted: PriceRows) -> list[str]:
    try:
        stitched = panama_stitch(multiple)
    except DataError as error:
        return [_sentence(error)]
    _, here, there = np.intersect1d(stitched.times, adjusted.times, assume_unique=True, return_indices=True)
    difference = np.abs(stitched.price[here] - adjusted.price[there])
    scale = np.nanmax(np.abs(adjusted.price)) if np.isfinite(adjusted.price).any() else 1.0
    wrong = int((difference > max(_ROUNDING * scale, 1e-12)).sum())
    if not wrong:
        return []
    return [f"adjusted prices differ from the stitch on {wrong} rows, by up to {np.nanmax(difference):g}"]


def _store(store: Store, code: str, files: _Files) -> ImportedSeries:
    histories = contract_histories(files.multiple)
    with bulk_reader(store.url) as reader:
        multiple, adjusted = reader.multiple([code]).get(code), reader.adjusted([code]).get(code)
    same = _same_multiple(multiple, files.multiple) and _same_adjusted(adjusted, files.adjusted)
    later = multiple is not None and _later(multiple.times, files.multiple.times)
    verdict, notes = _compare(0 if multiple is None else len(multiple), same, later)
    with store.write() as unit:
        kept, more_notes = _kept_facts(unit, files.instrument)
        _require_rates(unit, files.instrument.currency)
        changed = [
            unit.markets.put_instrument(kept),
            unit.markets.put_roll_parameters(files.rolls),
            unit.markets.put_roll_calendar(code, "file", files.calendar),
        ]
        listed = [Contract(code, f"{number:08d}") for number in _mentioned(files.multiple)]
        changed.append(unit.markets.add_contracts(ListedContract(one, files.rolls.expiry(one)) for one in listed) > 0)
        if verdict is not ImportOutcome.UNCHANGED:
            _write_prices(unit, code, files, histories)
        elif any(changed):
            verdict = ImportOutcome.CONFIGURED
        unit.commit()
    return ImportedSeries(
        code,
        "instrument",
        verdict,
        multiple_rows=len(files.multiple),
        adjusted_rows=len(files.adjusted),
        contracts=len(listed),
        contract_rows=sum(len(one.daily) + len(one.intraday) for one in histories.values()),
        notes=(*files.notes, *notes, *more_notes),
    )


def _write_prices(unit: UnitOfWork, code: str, files: _Files, histories: dict[int, ContractHistory]) -> None:
    series = {}
    for number, history in histories.items():
        contract = Contract(code, f"{number:08d}")
        series[contract_key(contract, daily=True)] = final_only(history.daily)
        series[contract_key(contract, daily=False)] = final_only(history.intraday)
    unit.prices.replace_contracts(code, series)
    unit.prices.replace(SeriesKey(SeriesKind.MULTIPLE, code), files.multiple)
    unit.prices.replace(SeriesKey(SeriesKind.ADJUSTED, code), files.adjusted)
    unit.markets.put_roll_calendar(code, "prices", past_rolls(code, files.multiple))


def _mentioned(prices: MultipleRows) -> list[int]:
    columns = (prices.price_contract, prices.carry_contract, prices.forward_contract)
    return [int(number) for number in np.unique(np.concatenate(columns))]


def _kept_facts(unit: UnitOfWork, wanted: Instrument) -> tuple[Instrument, tuple[str, ...]]:
    """The instrument to write: what the files do not know stays, and so do size and currency where they differ."""
    if not unit.markets.has_instrument(wanted.code):
        return wanted, ()
    stored = unit.markets.instrument(wanted.code)
    notes = []
    if stored.point_size != wanted.point_size:
        notes.append(f"point size is {wanted.point_size:g} in the files and {stored.point_size:g} here, which was kept")
    if stored.currency != wanted.currency:
        notes.append(f"currency is {wanted.currency} in the files and {stored.currency} here, which was kept")
    kept = replace(
        wanted,
        point_size=stored.point_size,
        currency=stored.currency,
        exchange=stored.exchange,
        tick_size=stored.tick_size,
        hours=stored.hours,
    )
    return kept, tuple(notes)


def _require_rates(unit: UnitOfWork, currency: str) -> None:
    if currency != DOLLAR and unit.prices.last_time(SeriesKey(SeriesKind.FX, currency)) is None:
        raise DataError(
            f"is quoted in {currency}, and there are no rates of it; add {FX_FOLDER}/{currency}{DOLLAR}.csv"
        )


# --- files against what is stored ---


def _compare(stored: int, same: bool, later: bool) -> tuple[ImportOutcome, tuple[str, ...]]:
    if not stored:
        return ImportOutcome.IMPORTED, ()
    if same:
        return ImportOutcome.UNCHANGED, (("the database goes on after the files",) if later else ())
    if later:
        raise DataError(
            "the files differ from what is stored, and end before it; replacing would lose the later rows, so nothing "
            "was changed"
        )
    return ImportOutcome.REPLACED, ()


def _later(stored: np.ndarray, files: np.ndarray) -> bool:
    return bool(len(stored) and len(files) and stored[-1] > files[-1])


def _same_rows(stored: PriceRows, files: PriceRows) -> bool:
    count = len(files)
    return np.array_equal(stored.times[:count], files.times) and np.array_equal(
        stored.price[:count], files.price, equal_nan=True
    )


def _same_multiple(stored: MultipleRows | None, files: MultipleRows) -> bool:
    if stored is None:
        return False
    count = len(files)
    return all(
        np.array_equal(getattr(stored, name)[:count], getattr(files, name), equal_nan=True)
        for name in MultipleRows.__slots__
    )


def _same_adjusted(stored: PriceRows | None, files: PriceRows) -> bool:
    """The same but for a shift of all prices, which is what rolls since the import leave behind."""
    if stored is None or not np.array_equal(stored.times[: len(files)], files.times):
        return False
    shift = stored.price[: len(files)] - files.price
    if not np.array_equal(np.isnan(stored.price[: len(files)]), np.isnan(files.price)):
        return False
    moved = shift[~np.isnan(shift)]
    if not len(moved) or not moved.any():
        return True
    rolled_since = len(stored) > len(files)
    return rolled_since and float(np.ptp(moved)) <= _ROUNDING * max(float(np.nanmax(np.abs(files.price))), 1.0)
