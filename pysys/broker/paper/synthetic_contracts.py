"""Listed contracts of one synthetic market: their lives, their prices along the curve, their liquidity."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal

import numpy as np
from scipy.special import expit

from pysys.broker.paper.synthetic_calendar import TradingCalendar, is_trading_day
from pysys.broker.paper.synthetic_paths import Character, DailyPath, Floats, season, stream
from pysys.domain.contracts import MONTH_LETTERS, Contract
from pysys.domain.instruments import Instrument, RollParameters

LISTED_DAYS = 480  # before expiry
_LEAST_LISTED = 5  # contracts, which makes the listing longer where a cycle is sparse
_ROLLED_WITH_THE_VOLUME = 33  # days before expiry; a market rolled earlier holds a deferred contract
_CROSSOVER_LEAD = 6  # days before the desired roll the volume of the others moves on
_USUAL_CROSSOVER = 8  # days before expiry the volume of those moves on


@dataclass(frozen=True, slots=True)
class TickScale:
    """Prices as whole ticks, free of float noise."""

    tick: float
    digits: int

    @classmethod
    def of(cls, tick: float) -> "TickScale":
        exponent = Decimal(str(tick)).normalize().as_tuple().exponent
        return cls(tick, max(-int(exponent), 0))

    def from_log(self, log_price: Floats) -> Floats:
        """Nearest price on the tick, at least one tick."""
        ticks = np.maximum(np.rint(np.exp(log_price) / self.tick), 1.0)
        return np.round(ticks * self.tick, self.digits)

    def price(self, ticks: int) -> float:
        return round(ticks * self.tick, self.digits)


@dataclass(frozen=True, slots=True)
class Listing:
    """A contract and the local dates of its first and last session."""

    contract: Contract
    listed: date
    expiry: date


@dataclass(frozen=True, slots=True)
class ContractLife:
    """A contract's trading days, positions [first, stop) in the market's calendar; arrays are over them."""

    first: int
    stop: int
    log_close: Floats
    response: Floats  # log change of the contract for a log change of 1 in spot
    close: Floats  # on the tick
    liquidity: Floats  # 0 to about 1
    volume: Floats  # whole contracts
    book_key: int  # seed of the displayed sizes


def listings(
    seed: int, instrument: Instrument, roll: RollParameters, first_day: date, last_day: date
) -> Iterator[Listing]:
    """Contracts listed some time between the two days, nearest expiry first.

    Expiry is the roll parameters' approximate date, or the trading day before it when the exchange is shut.
    """
    days = max(LISTED_DAYS, _LEAST_LISTED * 366 // len(roll.priced_cycle))
    for year in range(first_day.year - 1, (last_day + timedelta(days)).year + 2):
        for month, letter in enumerate(MONTH_LETTERS, start=1):
            if letter not in roll.priced_cycle:
                continue
            contract = Contract(instrument.code, f"{year:04d}{month:02d}00")
            expiry = roll.expiry(contract)
            while not is_trading_day(seed, instrument.exchange, expiry):
                expiry -= timedelta(1)
            listed = expiry - timedelta(days)
            if expiry >= first_day and listed <= last_day:
                yield Listing(contract, listed, expiry)


def contract_life(
    seed: int,
    listing: Listing,
    roll: RollParameters,
    character: Character,
    scale: TickScale,
    calendar: TradingCalendar,
    path: DailyPath,
) -> ContractLife:
    """Prices and liquidity of a contract on its trading days.

    Log price = log spot (its deviation fading with maturity at the market's pull) + carry x maturity + the
    season at expiry: on the expiry day it is spot itself.
    """
    first = int(np.searchsorted(calendar.ordinals, listing.listed.toordinal()))
    stop = int(np.searchsorted(calendar.ordinals, listing.expiry.toordinal(), side="right"))
    days_left = (listing.expiry.toordinal() - calendar.ordinals[first:stop]).astype(np.float64)
    maturity = days_left / 365.25
    response = np.exp(-character.pull * maturity)
    log_close = (
        np.log(character.start)
        + path.spot[first:stop] * response
        + path.carry[first:stop] * maturity
        + season(character, listing.expiry.timetuple().tm_yday)
    )
    liquidity = _liquidity(days_left, listing.contract.letter, roll)
    code, month = listing.contract.instrument, int(listing.contract.date)
    market_noise = stream(seed, "volume", code).standard_normal(stop)[first:]
    noise = stream(seed, "volume", code, month).standard_normal(stop - first)
    volume = character.daily_volume * liquidity * np.exp(0.3 * market_noise + 0.15 * noise)
    return ContractLife(
        first=first,
        stop=stop,
        log_close=log_close,
        response=response,
        close=scale.from_log(log_close),
        liquidity=liquidity,
        volume=np.floor(volume),
        book_key=int(stream(seed, "book", code, month).integers(2**63)),
    )


def _liquidity(days_left: Floats, letter: str, roll: RollParameters) -> Floats:
    """Share of the market's interest a contract draws: fades with maturity, and moves on before expiry.

    Months outside the hold cycle draw less.
    """
    spacing = (365 / len(roll.priced_cycle) + 365 / len(roll.hold_cycle)) / 2
    fading = 0.9 * max(spacing, 60.0)
    with_the_volume = -roll.roll_offset <= _ROLLED_WITH_THE_VOLUME
    crossover = max(-roll.roll_offset, 0) + _CROSSOVER_LEAD if with_the_volume else _USUAL_CROSSOVER
    to_crossover = days_left - crossover
    held = 1.0 if letter in roll.hold_cycle else 0.3
    return np.asarray(held * expit(to_crossover / 1.5) * np.exp(-np.maximum(to_crossover, 0) / fading))
