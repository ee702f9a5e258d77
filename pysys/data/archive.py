"""Stored prices as a market: what a replay trades on, and the past it starts from."""

from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta

import numpy as np

from pysys.broker.paper.stored import StoredMarket, StoredPrices
from pysys.broker.port import FxRows
from pysys.domain.contracts import Contract
from pysys.domain.errors import DataError
from pysys.domain.prices import ContractBars, to_microseconds
from pysys.store.bulk import BulkReader, bulk_reader
from pysys.store.prices import SeriesKey, SeriesKind, contract_key
from pysys.store.unit import Store

CONTRACT_HISTORY = timedelta(days=400)  # of single contracts; adjusted and multiple prices are kept whole


def stored_market(url: str, base_currency: str, seed: int, since: datetime) -> StoredMarket:
    """A market over the prices stored at `url` from `since` on.

    Raises DataError when the database has no contract prices from then on.
    """
    with Store(url).read() as unit:
        instruments = {one.code: one for one in unit.markets.instruments()}
        rolls = unit.markets.all_roll_parameters()
        priced = sorted({key.code for key in unit.prices.series(SeriesKind.MULTIPLE)})
    prices: dict[Contract, StoredPrices] = {}
    with bulk_reader(url, since=to_microseconds(since)) as reader:
        for code in priced:
            daily = reader.contract_bars(code, daily=True)
            intraday = reader.contract_bars(code, daily=False)
            for contract in sorted(set(daily) | set(intraday)):
                stored = _stored(daily.get(contract), intraday.get(contract))
                if len(stored.daily_times) or len(stored.intraday_times):
                    prices[contract] = stored
        fx = {code: FxRows(rows.times, rows.price) for code, rows in reader.fx().items()}
    if not prices:
        raise DataError(f"There are no stored contract prices from {since:%Y-%m-%d} on to trade on.")
    return StoredMarket(prices, instruments, rolls, _in_base(fx, base_currency), base_currency=base_currency, seed=seed)


def _stored(daily: ContractBars | None, intraday: ContractBars | None) -> StoredPrices:
    nothing = np.array([], dtype=np.int64), np.array([], dtype=np.float64), np.array([], dtype=np.float64)
    times, finals, volume = nothing if daily is None else (daily.times, daily.final, daily.volume)
    inside, prices = nothing[:2] if intraday is None else (intraday.times, intraday.final)
    return StoredPrices(times, finals, volume, inside, prices)


def _in_base(fx: dict[str, FxRows], base_currency: str) -> dict[str, FxRows]:
    """Rates in the base currency, from rates in USD: each at the base currency's last rate by then."""
    if base_currency == "USD":
        return {code: _present(rows) for code, rows in fx.items()}
    if base_currency not in fx:
        raise DataError(f"There are no rates of {base_currency}, the base currency: import {base_currency}USD.csv.")
    base = _present(fx[base_currency])
    crossed = {"USD": FxRows(base.times, 1 / base.rates)}
    for code, rows in fx.items():
        own = _present(rows)
        at = np.searchsorted(base.times, own.times, side="right") - 1
        known = at >= 0
        if code != base_currency:
            crossed[code] = FxRows(own.times[known], own.rates[known] / base.rates[at[known]])
    return crossed


def _present(rows: FxRows) -> FxRows:
    priced = ~np.isnan(rows.rates)
    return FxRows(rows.times[priced], rows.rates[priced])


def priced_days(url: str, first: date, last: date) -> list[date]:
    """Weekdays from `first` to `last` on which any instrument has a multiple-price row."""
    since = to_microseconds(_midnight(first))
    before = to_microseconds(_midnight(last + timedelta(days=1)))
    with Store(url).read() as unit:
        codes = [key.code for key in unit.prices.series(SeriesKind.MULTIPLE)]
    found: set[date] = set()
    with bulk_reader(url, since=since, before=before) as reader:
        for rows in reader.multiple(codes).values():
            found |= set(np.unique(rows.times.astype("datetime64[us]").astype("datetime64[D]")).tolist())
    return sorted(day for day in found if day.weekday() < 5)


def copy_past(source_url: str, target: Store, before: datetime, progress: Callable[[str], None]) -> None:
    """Fill an empty database with everything the source knew before a moment: markets, prices, FX.

    The rolls that follow are copied as a plan: the source has no price of a contract after it left it.
    """
    moment = to_microseconds(before)
    with Store(source_url).read() as unit:
        kinds = (SeriesKind.MULTIPLE, SeriesKind.ADJUSTED)  # a spread has no multiple prices
        priced = {key.code for kind in kinds for key in unit.prices.series(kind)}
        instruments = [one for one in unit.markets.instruments() if one.code in priced]
        rolls = unit.markets.all_roll_parameters()
        calendars = {one.code: unit.markets.roll_calendar(one.code, "prices") for one in instruments}
        listed = {one.code: unit.markets.contracts(one.code) for one in instruments}
    with bulk_reader(source_url, before=moment) as reader, target.write() as unit:
        for currency, rates in reader.fx().items():
            unit.prices.append(SeriesKey(SeriesKind.FX, currency), rates)
        unit.commit()
    for instrument in instruments:
        progress(instrument.code)
        with target.write() as unit:
            unit.markets.put_instrument(instrument)
            if instrument.code in rolls:
                unit.markets.put_roll_parameters(rolls[instrument.code])
            for contract in listed[instrument.code]:
                unit.markets.put_contract(contract)
            ahead = [row for row in calendars[instrument.code] if row.roll_time >= before]
            unit.markets.put_roll_calendar(instrument.code, "plan", ahead)
            with bulk_reader(source_url, before=moment) as reader:
                _copy_continuous(reader, unit.prices.append, instrument.code)
            with bulk_reader(source_url, since=to_microseconds(before - CONTRACT_HISTORY), before=moment) as reader:
                _copy_contracts(reader, unit.prices.append, instrument.code)
            unit.commit()


def _copy_continuous(reader: BulkReader, append: Callable[..., int], code: str) -> None:
    for rows in reader.multiple([code]).values():
        if len(rows):
            append(SeriesKey(SeriesKind.MULTIPLE, code), rows)
    for adjusted in reader.adjusted([code]).values():
        if len(adjusted):
            append(SeriesKey(SeriesKind.ADJUSTED, code), adjusted)


def _copy_contracts(reader: BulkReader, append: Callable[..., int], code: str) -> None:
    for daily in (True, False):
        for contract, bars in reader.contract_bars(code, daily=daily).items():
            if len(bars):
                append(contract_key(contract, daily=daily), bars)


def _midnight(day: date) -> datetime:
    return datetime(day.year, day.month, day.day, tzinfo=UTC)
