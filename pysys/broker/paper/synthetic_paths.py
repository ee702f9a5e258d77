"""Seeded daily price paths of the synthetic market: spot, volatility, carry, currencies.

Every stream of random numbers has its own seed, made from the market's seed and what the stream is for, and
is drawn from the first day on: a longer market has the same beginning, and markets do not disturb each other.
"""

import zlib
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.signal import lfilter

from pysys.domain.errors import ConfigError

Floats = npt.NDArray[np.float64]

TRADING_DAYS_A_YEAR = 256
_DRIFT_SHARE = 0.06  # standard deviation of the daily drift over that of the daily change: Sharpe ratio about 1
_DRIFT_MEMORY = 0.992  # per day, half-life about 85 days
_VOL_MEMORY = 0.985  # per day, of log volatility
_VOL_OF_VOL = 0.25  # standard deviation of log volatility
_CARRY_MEMORY = 0.995  # per day, half-life about 140 days
_JUMP_CHANCE = 1 / 700  # per day
_JUMP_LEAST, _JUMP_MEAN_EXCESS = 4.0, 1.0  # in daily standard deviations


@dataclass(frozen=True, slots=True)
class Character:
    """What a synthetic market is like. Rates are a year, as fractions of the price."""

    start: float  # spot price on the first day
    volatility: float  # standard deviation of the spot's log change over a year
    carry: float  # mean slope of the log curve over a year of maturity; above 0 later contracts are dearer
    carry_deviation: float  # of that slope around its mean
    daily_volume: float  # contracts, all maturities
    depth: float  # contracts displayed on each side of the liquid contract's book
    pull: float = 0.0  # speed at which log spot returns to its start, and at which the curve expects it to
    season: float = 0.0  # amplitude of the season in the log price
    season_peak: int = 0  # day of the year
    beta: float = 0.0  # correlation with the factor all markets share


CHARACTERS: dict[str, Character] = {
    "SP500_micro": Character(4500.0, 0.16, 0.02, 0.010, 900_000, 60, beta=0.7),
    "EUROSTX": Character(4300.0, 0.18, -0.005, 0.010, 800_000, 90, beta=0.7),
    "NIKKEI": Character(33000.0, 0.19, -0.01, 0.008, 600_000, 70, beta=0.5),
    "US10": Character(111.0, 0.07, -0.015, 0.012, 1_500_000, 400, pull=0.05, beta=-0.3),
    "BUND": Character(131.0, 0.065, -0.005, 0.010, 700_000, 150, pull=0.05, beta=-0.3),
    "GILT": Character(97.0, 0.085, -0.01, 0.012, 200_000, 60, pull=0.05, beta=-0.2),
    "CORN": Character(480.0, 0.26, 0.03, 0.050, 150_000, 60, pull=0.2, season=0.05, season_peak=160, beta=0.1),
    "CRUDE_W_mini": Character(75.0, 0.34, -0.03, 0.060, 15_000, 14, pull=0.3, season=0.02, season_peak=200, beta=0.3),
    "GAS_US_mini": Character(3.0, 0.50, 0.04, 0.080, 9_000, 12, pull=0.5, season=0.12, season_peak=15),
    "GOLD_micro": Character(1950.0, 0.15, 0.045, 0.010, 120_000, 35, beta=0.05),
    "AUD": Character(0.66, 0.10, 0.0, 0.010, 90_000, 60, pull=0.05, beta=0.45),
    "V2X": Character(19.0, 0.85, 0.15, 0.120, 60_000, 60, pull=4.0, beta=-0.65),
}

_DOLLARS_FOR_ONE = {
    "USD": 1.0, "EUR": 1.08, "GBP": 1.26, "JPY": 0.0068, "KRW": 0.00075, "CHF": 1.12,
    "AUD": 0.66, "CAD": 0.74, "HKD": 0.128, "SGD": 0.74, "SEK": 0.095, "CNH": 0.14,
}  # fmt: skip
_FX_VOLATILITY = 0.085  # a year


@dataclass(frozen=True, slots=True)
class DailyPath:
    """One value a trading day. Logs are of the price."""

    spot: Floats  # log spot at the close, season left out, as a deviation from its start
    change: Floats  # of `spot` since the close before
    deviation: Floats  # standard deviation of that day's change
    carry: Floats  # slope of the log curve a year


def stream(seed: int, *purpose: str | int) -> np.random.Generator:
    """A generator of its own for this purpose; the same on every machine."""
    words = [zlib.crc32(word.encode()) if isinstance(word, str) else word for word in purpose]
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence([seed, *words])))


def _remembering(noise: Floats, memory: float, deviation: float) -> Floats:
    """First-order autoregression with that stationary standard deviation, from unit noise."""
    scaled = noise * (deviation * np.sqrt(1 - memory**2))
    if len(scaled):
        scaled[0] = noise[0] * deviation
    return np.asarray(lfilter([1.0], [1.0, -memory], scaled), dtype=np.float64)


def daily_path(seed: int, code: str, character: Character, weekday: npt.NDArray[np.int64]) -> DailyPath:
    """Path over the trading days at positions `weekday` among all weekdays since the first day.

    Drift and volatility vary slowly, jumps are rare, and part of the noise is shared by all markets.
    """
    days = len(weekday)

    def normals(purpose: str) -> Floats:
        return stream(seed, "path", code, purpose).standard_normal(days)

    shared = stream(seed, "factor").standard_normal(int(weekday[-1]) + 1 if days else 0)[weekday]
    noise = character.beta * shared + np.sqrt(1 - character.beta**2) * normals("noise")
    typical = character.volatility / np.sqrt(TRADING_DAYS_A_YEAR)
    deviation = typical * np.exp(_remembering(normals("volatility"), _VOL_MEMORY, _VOL_OF_VOL) - _VOL_OF_VOL**2)
    drift = _remembering(normals("drift"), _DRIFT_MEMORY, _DRIFT_SHARE * typical)
    jump, size, side = stream(seed, "path", code, "jumps").random((days, 3)).T
    jumps = np.where(
        jump < _JUMP_CHANCE,
        np.where(side < 0.5, -1.0, 1.0) * (_JUMP_LEAST - _JUMP_MEAN_EXCESS * np.log1p(-size)),
        0.0,
    )
    shocks = drift + deviation * (noise + jumps)
    memory = np.exp(-character.pull / TRADING_DAYS_A_YEAR)
    spot = np.asarray(lfilter([1.0], [1.0, -memory], shocks), dtype=np.float64)
    carry = character.carry + _remembering(normals("carry"), _CARRY_MEMORY, character.carry_deviation)
    return DailyPath(spot, np.diff(spot, prepend=0.0), deviation, carry)


def season(character: Character, day_of_year: Floats | float) -> Floats:
    """What the season adds to the log price on that day of the year."""
    angle = 2 * np.pi * (np.asarray(day_of_year) - character.season_peak) / 365.25
    return np.asarray(character.season * np.cos(angle), dtype=np.float64)


def dollars_for_one(seed: int, currency: str, days: int) -> Floats:
    """Dollars for one unit of `currency` on each weekday since the first. Raises ConfigError."""
    if currency not in _DOLLARS_FOR_ONE:
        raise ConfigError(
            f"the synthetic market has no rate for currency {currency}; it knows {', '.join(sorted(_DOLLARS_FOR_ONE))}"
        )
    start = _DOLLARS_FOR_ONE[currency]
    if currency == "USD":
        return np.full(days, start)
    noise = stream(seed, "fx", currency).standard_normal(days)
    memory = np.exp(-0.1 / TRADING_DAYS_A_YEAR)
    walk = lfilter([1.0], [1.0, -memory], noise * (_FX_VOLATILITY / np.sqrt(TRADING_DAYS_A_YEAR)))
    return np.asarray(start * np.exp(walk), dtype=np.float64)
