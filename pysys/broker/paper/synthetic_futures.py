"""One instrument of the synthetic market: its calendar, path and contracts, made when first asked for."""

from datetime import date
from functools import cached_property

import numpy as np
import numpy.typing as npt

from pysys.broker.paper.synthetic_book import book
from pysys.broker.paper.synthetic_calendar import (
    MINUTE,
    TradingCalendar,
    from_micros,
    micros,
    notional_closes,
    trading_calendar,
)
from pysys.broker.paper.synthetic_contracts import ContractLife, Listing, TickScale, contract_life, listings
from pysys.broker.paper.synthetic_intraday import BLOCK, IntradayPath
from pysys.broker.paper.synthetic_paths import CHARACTERS, DailyPath, Floats, daily_path
from pysys.broker.port import Bars, ContractDetails, Quote, UnknownContract
from pysys.domain.contracts import Contract
from pysys.domain.errors import ConfigError
from pysys.domain.instruments import Instrument, RollParameters, TradingHours


class SyntheticFutures:
    """The contracts of one instrument. Moments are microseconds since 1970, a `day` a position in `calendar`.

    Raises ConfigError when the instrument has no trading hours or no tick size.
    """

    def __init__(
        self, seed: int, instrument: Instrument, roll: RollParameters, first_day: date, last_day: date
    ) -> None:
        self.instrument = instrument
        self._seed = seed
        self._roll = roll
        self._first_day = first_day
        self._last_day = last_day
        self._character = CHARACTERS[instrument.code]
        self._hours, self._tick = _hours_and_tick(instrument)
        self._scale = TickScale.of(self._tick)
        self._usual_spread = 2 * instrument.spread_cost / self._tick
        self._lives: dict[Contract, ContractLife] = {}

    @cached_property
    def calendar(self) -> TradingCalendar:
        return trading_calendar(self._seed, self.instrument.exchange, self._hours, self._first_day, self._last_day)

    @cached_property
    def _path(self) -> DailyPath:
        return daily_path(self._seed, self.instrument.code, self._character, self.calendar.weekday)

    @cached_property
    def _intraday(self) -> IntradayPath:
        return IntradayPath(self._seed, self.instrument.code, self._path, self.calendar)

    @cached_property
    def _listings(self) -> dict[Contract, Listing]:
        found = listings(self._seed, self.instrument, self._roll, self._first_day, self._last_day)
        return {listing.contract: listing for listing in found}

    @cached_property
    def _listed_between(self) -> list[tuple[int, int, Listing]]:
        """Opening of a listing's first session, close of its last, the listing."""
        return [
            (micros(self._hours.session(one.listed)[0]), micros(self._hours.session(one.expiry)[1]), one)
            for one in self._listings.values()
        ]

    @cached_property
    def _stamps(self) -> npt.NDArray[np.int64]:
        return notional_closes(self.calendar.ordinals)

    @cached_property
    def _complete(self) -> npt.NDArray[np.int64]:
        """When each daily bar may be told: stamped, and its session closed."""
        return np.maximum(self._stamps, np.array(self.calendar.closes, dtype=np.int64))

    def listing(self, contract: Contract) -> Listing:
        """Raises UnknownContract."""
        listing = self._listings.get(contract)
        if listing is None:
            raise UnknownContract(
                f"{contract} is not listed: {contract.instrument} has contracts of the months "
                f"{self._roll.priced_cycle}, dated YYYYMM00, "
                f"that trade between {self._first_day} and {self._last_day}"
            )
        return listing

    def details(self, listing: Listing) -> ContractDetails:
        instrument = self.instrument
        return ContractDetails(
            listing.contract, listing.expiry, instrument.currency, instrument.point_size, instrument.tick_size
        )

    def listed_at(self, stamp: int) -> list[Listing]:
        return [one for since, until, one in self._listed_between if since <= stamp < until]

    def _life(self, contract: Contract) -> ContractLife:
        life = self._lives.get(contract)
        if life is None:
            life = contract_life(
                self._seed,
                self.listing(contract),
                self._roll,
                self._character,
                self._scale,
                self.calendar,
                self._path,
            )
            self._lives[contract] = life
        return life

    def _log_price(self, life: ContractLife, day: int, minute: int) -> float:
        row = day - life.first
        move = self._intraday.move(day, minute)
        return float(life.log_close[row] + life.response[row] * move)

    def _minute(self, day: int, stamp: int) -> int:
        return min((stamp - self.calendar.opens[day]) // MINUTE, self.calendar.minutes - 1)

    def quote(self, contract: Contract, stamp: int) -> Quote | None:
        """None when the market is shut, the contract is not trading or a side of the book is empty."""
        life = self._life(contract)
        day = self.calendar.opened_by(stamp)
        if day < 0 or stamp >= self.calendar.closes[day] or not life.first <= day < life.stop:
            return None
        minute = self._minute(day, stamp)
        liquidity = min(1.3 * float(life.liquidity[day - life.first]), 1.0)
        top = book(
            life.book_key,
            stamp // MINUTE,
            float(np.exp(self._log_price(life, day, minute))) / self._tick,
            self._usual_spread,
            liquidity,
            self._character.depth * float(self._intraday.activity[minute]),
        )
        if not top.bid_size or not top.ask_size:
            return None
        price = self._scale.price
        return Quote(price(top.bid), price(top.ask), top.bid_size, top.ask_size, from_micros(stamp))

    def mark(self, contract: Contract, stamp: int) -> float | None:
        """Price of the minute in a session, else the last close; None before the contract's first session."""
        life = self._life(contract)
        day = self.calendar.opened_by(stamp)
        if day < life.first or life.first == life.stop:
            return None
        if day >= life.stop:
            return float(life.close[-1])
        if stamp >= self.calendar.closes[day]:
            return float(life.close[day - life.first])
        return float(self._scale.from_log(np.array(self._log_price(life, day, self._minute(day, stamp)))))

    def daily_bars(self, contract: Contract, since: int, until: int) -> Bars:
        """Bars stamped in (since, until] whose session has closed by `until`."""
        life = self._life(contract)
        first = max(int(np.searchsorted(self._stamps, since, side="right")), life.first)
        stop = min(int(np.searchsorted(self._complete, until, side="right")), life.stop)
        first = min(first, stop)
        days = slice(first, stop)
        rows = slice(max(first - life.first, 0), max(stop - life.first, 0))
        log_close, response = life.log_close[rows], life.response[rows]
        opens, highs, lows = (
            self._scale.from_log(log_close + response * move) for move in self._intraday.daily_moves(first, stop)
        )
        return Bars(self._stamps[days], opens, highs, lows, life.close[rows], life.volume[rows])

    def hourly_bars(self, contract: Contract, since: int, until: int) -> Bars:
        """Bars of clock hours that end in (since, until]."""
        life = self._life(contract)
        ends = self._intraday.hour_stamps
        first = max(int(np.searchsorted(ends[:, -1], since, side="right")), life.first)
        stop = min(int(np.searchsorted(ends[:, 0], until, side="right")), life.stop)
        parts = (
            [
                self._hours_of(life, max(block * BLOCK, first), min((block + 1) * BLOCK, stop))
                for block in range(first // BLOCK, -(-stop // BLOCK))
            ]
            if first < stop
            else []
        )
        if not parts:
            empty = np.empty(0)
            return Bars(np.empty(0, dtype=np.int64), empty, empty, empty, empty, empty)
        times, *prices = (np.concatenate(column) for column in zip(*parts, strict=True))
        kept = slice(*np.searchsorted(times, [since, until], side="right"))
        return Bars(times[kept], *(column[kept] for column in prices))

    def _hours_of(
        self, life: ContractLife, first: int, stop: int
    ) -> tuple[npt.NDArray[np.int64], Floats, Floats, Floats, Floats, Floats]:
        """Times, open, high, low, final, volume of the hours of the days [first, stop), all of one block."""
        block, offset = divmod(first, BLOCK)
        in_block = slice(offset, offset + stop - first)
        rows = slice(first - life.first, stop - life.first)
        hours = self._intraday.hours(block)
        log_close, response = life.log_close[rows, None], life.response[rows, None]

        def prices(move: Floats) -> Floats:
            return self._scale.from_log(log_close + response * move[in_block]).ravel()

        so_far = np.rint(life.volume[rows, None] * hours.share[in_block])
        volume = np.diff(so_far, axis=1, prepend=0.0).ravel()
        times = self._intraday.hour_stamps[first:stop].ravel()
        return times, prices(hours.open), prices(hours.high), prices(hours.low), prices(hours.final), volume


def _hours_and_tick(instrument: Instrument) -> tuple[TradingHours, float]:
    if instrument.hours is None or instrument.tick_size is None:
        raise ConfigError(f"{instrument.code} needs trading hours and a tick size to trade on the synthetic market")
    return instrument.hours, instrument.tick_size
