"""A market over stored prices: what the paper exchange trades against when real days are run again.

Never shows anything stamped after the moment asked about, but for the hours of a session, which a real
exchange publishes ahead too: they are read off the stored rows.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal

import numpy as np
import numpy.typing as npt

from pysys.broker.port import Bars, ContractDetails, FxRows, Quote, Session, UnknownContract
from pysys.domain.contracts import Contract
from pysys.domain.errors import DataError
from pysys.domain.instruments import Instrument, RollParameters

Times = npt.NDArray[np.int64]  # microseconds since 1970, UTC
Values = npt.NDArray[np.float64]

LISTED_FOR = timedelta(days=10)  # without a price for so long a contract is no longer in its chain
AFTER_LAST_ROW = timedelta(hours=1)  # a session goes on so long after its last intraday row
DAILY_ONLY = (timedelta(hours=23), timedelta(hours=23, minutes=30))  # session of a day with a daily row alone
LARGEST_SIZE = 20  # contracts displayed at most
THIN_ONE_IN = 8  # so often a side shows hardly anything

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_MINUTE = timedelta(minutes=1) // _MICROSECOND
_DAY = timedelta(days=1) // _MICROSECOND


@dataclass(frozen=True, slots=True)
class StoredPrices:
    """Prices of one contract, oldest first; times are microseconds since 1970, UTC; NaN is no price.

    The daily rows are notional closes (23:00 as a rule), kept apart from what was sampled during the day.
    Raises DataError for lengths that differ or times that do not increase.
    """

    daily_times: Times
    daily_prices: Values
    daily_volume: Values  # contracts; NaN where not known
    intraday_times: Times
    intraday_prices: Values

    def __post_init__(self) -> None:
        for what, times, values in (
            ("daily prices", self.daily_times, self.daily_prices),
            ("daily volume", self.daily_times, self.daily_volume),
            ("intraday prices", self.intraday_times, self.intraday_prices),
        ):
            if len(times) != len(values):
                raise DataError(f"{what}: {len(times)} times but {len(values)} values")
            if np.any(np.diff(times) <= 0):
                raise DataError(f"{what}: times must increase from row to row")


@dataclass(frozen=True, slots=True)
class _Series:
    """One contract ready to be searched: rows with a price only, and all of them merged in time."""

    daily: StoredPrices
    times: Times
    prices: Values

    def last_row(self, micros: int) -> int:
        """Number of the last row at or before a moment, -1 before the first."""
        return int(np.searchsorted(self.times, micros, side="right")) - 1


@dataclass(frozen=True, slots=True)
class _Calendar:
    """Sessions of one instrument in order, and its contracts with their first and last priced moments."""

    opens: Times
    closes: Times
    contracts: tuple[Contract, ...]  # nearest expiry first
    first: Times
    last: Times

    def session(self, micros: int) -> int | None:
        """Number of the session a moment lies in."""
        number = int(np.searchsorted(self.opens, micros, side="right")) - 1
        return number if number >= 0 and micros < self.closes[number] else None


class StoredMarket:
    """A `Market` over arrays of stored prices.

    A business day on which any contract of an instrument has intraday rows trades from the first of them
    until an hour after the last, at most until midnight UTC, in whole minutes; one with daily rows alone
    from 23:00 to 23:30. Weekend rows move the last price, and count as Friday's, but open no session.
    """

    def __init__(
        self,
        prices: Mapping[Contract, StoredPrices],
        instruments: Mapping[str, Instrument],
        rolls: Mapping[str, RollParameters],
        fx: Mapping[str, FxRows],
        *,
        base_currency: str,
        seed: int,
    ) -> None:
        """fx: base currency units for one unit, by currency; the base currency itself needs none.

        Raises DataError when an instrument with prices has no configuration, roll parameters or currency
        rates.
        """
        self._instruments = {code: instruments[code] for code in sorted(_codes(prices, instruments, rolls))}
        self._rolls, self._fx, self._base_currency, self._seed = rolls, fx, base_currency, seed
        for code, instrument in self._instruments.items():
            if instrument.currency != base_currency and instrument.currency not in fx:
                raise DataError(f"{code}: no rates of {instrument.currency} in {base_currency}: import them first")
        self._series = {contract: _series(stored) for contract, stored in prices.items()}
        self._calendars = {
            code: _calendar({c: s for c, s in self._series.items() if c.instrument == code}, rolls[code])
            for code in self._instruments
        }
        self._ranks: dict[str, tuple[int, dict[Contract, int]]] = {}

    def instruments(self) -> Sequence[str]:
        return list(self._instruments)

    def currencies(self) -> Sequence[str]:
        return sorted({self._base_currency, *self._fx})

    def details(self, contract: Contract) -> ContractDetails:
        """Expiry is approximate, from the roll parameters. Raises UnknownContract without stored prices."""
        if contract not in self._series:
            raise UnknownContract(f"no stored prices of {contract}")
        instrument = self._instruments[contract.instrument]
        return ContractDetails(
            contract=contract,
            expiry=self._rolls[contract.instrument].expiry(contract),
            currency=instrument.currency,
            multiplier=instrument.point_size,
            tick_size=instrument.tick_size,
        )

    def chain(self, instrument: str, moment: datetime) -> Sequence[ContractDetails]:
        """Unexpired contracts with a price in the ten days up to `moment`, nearest expiry first."""
        return [self.details(contract) for contract in self._listed(instrument, moment)]

    def sessions(self, instrument: str, since: datetime, until: datetime) -> Sequence[Session]:
        calendar = self._calendar(instrument)
        first = int(np.searchsorted(calendar.closes, _micros(since), side="right"))
        behind = int(np.searchsorted(calendar.opens, _micros(until), side="left"))
        return [
            Session(_moment(opens), _moment(closes))
            for opens, closes in zip(
                calendar.opens[first:behind].tolist(), calendar.closes[first:behind].tolist(), strict=True
            )
        ]

    def quote(self, contract: Contract, moment: datetime) -> Quote | None:
        """Last price less and plus half the spread, at least a tick wide, snapped outward to the tick.

        None outside sessions, and for a contract without a price since the session before this one.
        """
        series, calendar = self._one(contract), self._calendars[contract.instrument]
        minute = _micros(moment) // _MINUTE
        session = calendar.session(minute * _MINUTE)
        row = series.last_row(minute * _MINUTE)
        if session is None or row < 0:
            return None
        previous_session = int(calendar.opens[max(session - 1, 0)]) // _DAY
        if _business_day(int(series.times[row]) // _DAY) < previous_session:
            return None
        instrument = self._instruments[contract.instrument]
        bid, ask = _around(float(series.prices[row]), instrument.spread_cost, instrument.tick_size)
        bid_size, ask_size = self._sizes(contract, minute)
        return Quote(bid, ask, bid_size, ask_size, _moment(minute * _MINUTE))

    def mark(self, contract: Contract, moment: datetime) -> float | None:
        series = self._one(contract)
        row = series.last_row(_micros(moment))
        return None if row < 0 else float(series.prices[row])

    def daily_bars(self, contract: Contract, since: datetime | None, until: datetime) -> Bars:
        stored = self._one(contract).daily
        rows = _between(stored.daily_times, since, until)
        return _bars(stored.daily_times[rows], stored.daily_prices[rows], stored.daily_volume[rows])

    def intraday_bars(self, contract: Contract, since: datetime | None, until: datetime) -> Bars:
        """Samples as bars of a single price; no volume is known of them."""
        stored = self._one(contract).daily
        rows = _between(stored.intraday_times, since, until)
        prices = stored.intraday_prices[rows]
        return _bars(stored.intraday_times[rows], prices, np.full(len(prices), np.nan))

    def fx_rate(self, currency: str, moment: datetime) -> float:
        if currency == self._base_currency:
            return 1.0
        rows = self._rates(currency)
        row = int(np.searchsorted(rows.times, _micros(moment), side="right")) - 1
        if row < 0:
            raise DataError(f"no rate of {currency} in {self._base_currency} up to {moment:%Y-%m-%d %H:%M} UTC")
        return float(rows.rates[row])

    def fx_rates(self, currency: str, since: datetime | None, until: datetime) -> FxRows:
        """No rows for the base currency itself."""
        if currency == self._base_currency:
            return FxRows(np.empty(0, np.int64), np.empty(0))
        stored = self._rates(currency)
        rows = _between(stored.times, since, until)
        return FxRows(stored.times[rows], stored.rates[rows])

    def commission(self, contract: Contract, quantity: int, price: float) -> float:
        return self._instruments[contract.instrument].commission(quantity, price)

    def _one(self, contract: Contract) -> _Series:
        if contract not in self._series:
            raise UnknownContract(f"no stored prices of {contract}")
        return self._series[contract]

    def _calendar(self, instrument: str) -> _Calendar:
        if instrument not in self._calendars:
            raise DataError(f"no stored prices of {instrument}: import them first")
        return self._calendars[instrument]

    def _rates(self, currency: str) -> FxRows:
        if currency not in self._fx:
            raise DataError(f"no rates of {currency} in {self._base_currency}: import them first")
        return self._fx[currency]

    def _listed(self, instrument: str, moment: datetime) -> list[Contract]:
        calendar, rolls = self._calendar(instrument), self._rolls[instrument]
        until, since = _micros(moment), _micros(moment - LISTED_FOR)
        alive = np.flatnonzero((calendar.first <= until) & (calendar.last > since))
        listed = []
        for contract in (calendar.contracts[number] for number in alive):
            series = self._series[contract]
            if series.times[series.last_row(until)] > since and rolls.expiry(contract) >= moment.date():
                listed.append(contract)
        return listed

    def _sizes(self, contract: Contract, minute: int) -> tuple[int, int]:
        """Contracts displayed at bid and ask, from (seed, contract, minute), fewer the later the expiry."""
        day = minute * _MINUTE // _DAY
        known_day, ranks = self._ranks.get(contract.instrument, (-1, {}))
        if known_day != day:
            listed = self._listed(contract.instrument, _moment(day * _DAY))
            ranks = {each: rank for rank, each in enumerate(listed)}
            self._ranks[contract.instrument] = (day, ranks)
        largest = LARGEST_SIZE / (1 + ranks.get(contract, len(ranks)) / 2)
        key = f"{self._seed}|{contract}|{minute}".encode()
        draws = hashlib.blake2b(key, digest_size=4).digest()
        return _size(draws[0], draws[1], largest), _size(draws[2], draws[3], largest)


def _size(draw: int, thin: int, largest: float) -> int:
    """Contracts from two bytes of chance: 1 to `largest`, small ones more often, now and then one or two."""
    if thin * THIN_ONE_IN < 256:
        return 1 + draw % 2
    return 1 + int((draw / 256) ** 1.5 * largest)


def _codes(
    prices: Mapping[Contract, StoredPrices],
    instruments: Mapping[str, Instrument],
    rolls: Mapping[str, RollParameters],
) -> set[str]:
    codes = {contract.instrument for contract in prices}
    for what, known in (("instrument configuration", instruments), ("roll parameters", rolls)):
        missing = sorted(codes - set(known))
        if missing:
            raise DataError(f"stored prices without {what}: {', '.join(missing)}")
    return codes


def _series(stored: StoredPrices) -> _Series:
    daily, intraday = np.isfinite(stored.daily_prices), np.isfinite(stored.intraday_prices)
    priced = StoredPrices(
        stored.daily_times[daily],
        stored.daily_prices[daily],
        stored.daily_volume[daily],
        stored.intraday_times[intraday],
        stored.intraday_prices[intraday],
    )
    times = np.concatenate([priced.intraday_times, priced.daily_times])
    prices = np.concatenate([priced.intraday_prices, priced.daily_prices])
    order = np.argsort(times, kind="stable")  # of two at the same moment the daily one is last, and counts
    return _Series(priced, times[order], prices[order])


def _calendar(series: Mapping[Contract, _Series], rolls: RollParameters) -> _Calendar:
    opens, closes = _sessions(
        np.concatenate([each.daily.intraday_times for each in series.values()]),
        np.concatenate([each.daily.daily_times for each in series.values()]),
    )
    priced = sorted((c for c in series if len(series[c].times)), key=lambda c: (rolls.expiry(c), c))
    return _Calendar(
        opens=opens,
        closes=closes,
        contracts=tuple(priced),
        first=np.array([series[c].times[0] for c in priced], np.int64),
        last=np.array([series[c].times[-1] for c in priced], np.int64),
    )


def _sessions(intraday: Times, daily: Times) -> tuple[Times, Times]:
    """(opens, closes) of the sessions that the rows of an instrument's contracts make, in order."""
    intraday = np.sort(intraday)
    days, first = np.unique(intraday // _DAY, return_index=True)
    last = np.searchsorted(intraday // _DAY, days, side="right") - 1
    opens = -(-intraday[first] // _MINUTE) * _MINUTE
    after_last = -(-intraday[last] // _MINUTE) * _MINUTE + AFTER_LAST_ROW // _MICROSECOND
    closes = np.minimum(after_last, (days + 1) * _DAY)
    daily_only = np.setdiff1d(daily // _DAY, days)
    start, end = (offset // _MICROSECOND for offset in DAILY_ONLY)
    opens = np.concatenate([opens, daily_only * _DAY + start])
    closes = np.concatenate([closes, daily_only * _DAY + end])
    order = np.argsort(opens)
    opens, closes = opens[order], closes[order]
    trading = (np.is_busday((opens // _DAY).astype("datetime64[D]"))) & (opens < closes)
    return opens[trading], closes[trading]


def _business_day(day: int) -> int:
    """The day itself (counted since 1970), Friday for one of the weekend."""
    return day - max(0, (day + 3) % 7 - 4)


def _around(price: float, half_spread: float, tick_size: float | None) -> tuple[float, float]:
    """(bid, ask) around a price, snapped outward to the tick."""
    middle = Decimal(str(round(price, 10)))
    if tick_size is None:
        half = Decimal(str(half_spread))
        return float(middle - half), float(middle + half)
    tick = Decimal(str(tick_size))
    half = max(Decimal(str(half_spread)), tick / 2)
    bid = ((middle - half) / tick).to_integral_value(ROUND_FLOOR) * tick
    ask = ((middle + half) / tick).to_integral_value(ROUND_CEILING) * tick
    return float(bid), float(ask)


def _between(times: Times, since: datetime | None, until: datetime) -> slice:
    """Rows stamped in (since, until]."""
    start = 0 if since is None else int(np.searchsorted(times, _micros(since), side="right"))
    return slice(start, int(np.searchsorted(times, _micros(until), side="right")))


def _bars(times: Times, prices: Values, volume: Values) -> Bars:
    return Bars(times, prices, prices, prices, prices, volume)


def _micros(moment: datetime) -> int:
    return (moment - _EPOCH) // _MICROSECOND


def _moment(micros: int) -> datetime:
    return _EPOCH + timedelta(microseconds=micros)
