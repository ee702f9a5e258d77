"""A market made from a seed: a dozen futures with curves, sessions, books and currencies.

Any answer is a function of the seed and of the question. Paths exist ahead of time, but nothing after the
moment asked about is told. It stands in for prices where there are none: in the demo and in tests.
"""

from collections.abc import Mapping, Sequence
from datetime import date, datetime, timedelta

import numpy as np
import numpy.typing as npt

from pysys.broker.paper.synthetic_calendar import from_micros, micros, notional_closes
from pysys.broker.paper.synthetic_futures import SyntheticFutures
from pysys.broker.paper.synthetic_paths import CHARACTERS, Floats, dollars_for_one
from pysys.broker.port import Bars, ContractDetails, FxRows, Quote, Session, UnknownContract
from pysys.domain.contracts import Contract
from pysys.domain.errors import ConfigError, DataError
from pysys.domain.instruments import Instrument, RollParameters

DEMO_INSTRUMENTS: tuple[str, ...] = tuple(CHARACTERS)

_SHORTEST = timedelta(days=14)
_FX_LEAD = 7  # days of rates before the first session, so that there is one on the first day


class SyntheticMarket:
    """The `Market` of the paper exchange, made from a seed.

    Trades those of DEMO_INSTRUMENTS that `instruments` has, with sessions on local dates from `first_day` to
    `last_day`. A later `last_day` changes nothing earlier; one instrument more or less changes no other.
    Raises ConfigError when there is none of them, one lacks hours, tick or roll parameters, or time is too short.
    """

    def __init__(
        self,
        seed: int,
        instruments: Mapping[str, Instrument],
        rolls: Mapping[str, RollParameters],
        base_currency: str = "USD",
        *,
        first_day: date,
        last_day: date,
    ) -> None:
        if seed < 0:
            raise ConfigError(f"the synthetic market's seed is {seed}; give a whole number of 0 or more")
        if last_day - first_day < _SHORTEST:
            raise ConfigError(
                f"the synthetic market would last from {first_day} to {last_day}; "
                f"its last day must be {_SHORTEST.days} days or more after the first"
            )
        codes = [code for code in DEMO_INSTRUMENTS if code in instruments]
        if not codes:
            raise ConfigError(
                f"none of the synthetic market's instruments is configured; add one of {', '.join(DEMO_INSTRUMENTS)}"
            )
        for code in codes:
            if code not in rolls:
                raise ConfigError(f"{code} has no roll parameters; the synthetic market needs them for its expiries")
        self._futures = {
            code: SyntheticFutures(seed, instruments[code], rolls[code], first_day, last_day) for code in codes
        }
        self._base = base_currency
        self._currencies = sorted({base_currency} | {instruments[code].currency for code in codes})
        self._fx_stamps, self._fx = self._rates(seed, first_day - timedelta(_FX_LEAD), last_day)

    def _rates(self, seed: int, first: date, last: date) -> tuple[npt.NDArray[np.int64], dict[str, Floats]]:
        ordinals = np.arange(first.toordinal(), last.toordinal() + 1, dtype=np.int64)
        ordinals = ordinals[(ordinals - 1) % 7 < 5]  # ordinal 1 was a Monday
        base = dollars_for_one(seed, self._base, len(ordinals))
        rates = {code: dollars_for_one(seed, code, len(ordinals)) / base for code in self._currencies}
        return notional_closes(ordinals), rates

    def instruments(self) -> Sequence[str]:
        return list(self._futures)

    def currencies(self) -> Sequence[str]:
        return list(self._currencies)

    def details(self, contract: Contract) -> ContractDetails:
        futures = self._of(contract)
        return futures.details(futures.listing(contract))

    def chain(self, instrument: str, moment: datetime) -> Sequence[ContractDetails]:
        futures = self._market(instrument)
        return [futures.details(listing) for listing in futures.listed_at(micros(moment))]

    def sessions(self, instrument: str, since: datetime, until: datetime) -> Sequence[Session]:
        calendar = self._market(instrument).calendar
        first = calendar.closed_by(micros(since)) + 1
        stop = calendar.opened_by(micros(until) - 1) + 1
        return [
            Session(from_micros(calendar.opens[day]), from_micros(calendar.closes[day])) for day in range(first, stop)
        ]

    def quote(self, contract: Contract, moment: datetime) -> Quote | None:
        return self._of(contract).quote(contract, micros(moment))

    def mark(self, contract: Contract, moment: datetime) -> float | None:
        return self._of(contract).mark(contract, micros(moment))

    def daily_bars(self, contract: Contract, since: datetime | None, until: datetime) -> Bars:
        return self._of(contract).daily_bars(contract, _after(since), micros(until))

    def intraday_bars(self, contract: Contract, since: datetime | None, until: datetime) -> Bars:
        """Hourly bars, stamped when the clock hour they belong to ends."""
        return self._of(contract).hourly_bars(contract, _after(since), micros(until))

    def fx_rate(self, currency: str, moment: datetime) -> float:
        rates = self._fx_of(currency)
        row = int(np.searchsorted(self._fx_stamps, micros(moment), side="right")) - 1
        if row < 0:
            raise DataError(
                f"{currency}: no rate at {moment:%Y-%m-%d %H:%M}; "
                f"the first is of {from_micros(int(self._fx_stamps[0]))}"
            )
        return float(rates[row])

    def fx_rates(self, currency: str, since: datetime | None, until: datetime) -> FxRows:
        rates = self._fx_of(currency)
        rows = slice(*np.searchsorted(self._fx_stamps, [_after(since), micros(until)], side="right"))
        return FxRows(self._fx_stamps[rows], rates[rows])

    def commission(self, contract: Contract, quantity: int, price: float) -> float:
        return self._of(contract).instrument.commission(quantity, price)

    def _fx_of(self, currency: str) -> Floats:
        if currency not in self._fx:
            raise DataError(f"no rate for currency {currency!r}; there are {', '.join(self._currencies)}")
        return self._fx[currency]

    def _market(self, instrument: str) -> SyntheticFutures:
        if instrument not in self._futures:
            raise UnknownContract(
                f"{instrument} is not traded on the synthetic market; it trades {', '.join(self._futures)}"
            )
        return self._futures[instrument]

    def _of(self, contract: Contract) -> SyntheticFutures:
        return self._market(contract.instrument)


def _after(since: datetime | None) -> int:
    return micros(since) if since is not None else np.iinfo(np.int64).min
