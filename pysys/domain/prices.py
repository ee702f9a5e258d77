"""Price series as values: parallel arrays, oldest row first.

Times are integer microseconds since 1970, UTC, strictly increasing within a series. Prices are float64 in the
exchange's quote points with NaN for missing. Contracts are int64 YYYYMMDD, day 00 for a monthly contract.
"""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]

MICROSECONDS_PER_SECOND = 1_000_000
MICROSECONDS_PER_DAY = 86_400 * MICROSECONDS_PER_SECOND
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def to_microseconds(moment: datetime) -> int:
    """Exact microseconds since 1970 of an aware time. Raises ValueError for a time without a zone."""
    if moment.tzinfo is None:
        raise ValueError(f"time {moment} has no time zone; prices are stamped in UTC")
    return (moment - _EPOCH) // timedelta(microseconds=1)


def to_moment(microseconds: int) -> datetime:
    """Aware UTC time of a price stamp."""
    return _EPOCH + timedelta(microseconds=int(microseconds))


def to_datetime64(times: IntArray) -> npt.NDArray[np.datetime64]:
    """Price stamps as numpy `datetime64[us]`, UTC without saying so."""
    return times.astype("datetime64[us]")


def from_datetime64(times: npt.NDArray[np.datetime64]) -> IntArray:
    """Numpy times, taken as UTC, as price stamps."""
    return times.astype("datetime64[us]").astype(np.int64)


@dataclass(frozen=True, slots=True, eq=False)
class ContractBars:
    """Bars of one contract at one frequency. `final` is the close, `volume` contracts traded."""

    times: IntArray
    open: FloatArray
    high: FloatArray
    low: FloatArray
    final: FloatArray
    volume: FloatArray

    def __post_init__(self) -> None:
        _check_shape(self.times, self.open, self.high, self.low, self.final, self.volume)

    def __len__(self) -> int:
        return len(self.times)

    def rows(self, chosen: Any) -> "ContractBars":
        """The rows a mask, slice or index array picks."""
        return ContractBars(
            self.times[chosen],
            self.open[chosen],
            self.high[chosen],
            self.low[chosen],
            self.final[chosen],
            self.volume[chosen],
        )


@dataclass(frozen=True, slots=True, eq=False)
class MultipleRows:
    """Raw prices of the priced, carry and forward contracts, and which contracts those are on each row."""

    times: IntArray
    price: FloatArray
    price_contract: IntArray
    carry: FloatArray
    carry_contract: IntArray
    forward: FloatArray
    forward_contract: IntArray

    def __post_init__(self) -> None:
        _check_shape(
            self.times,
            self.price,
            self.price_contract,
            self.carry,
            self.carry_contract,
            self.forward,
            self.forward_contract,
        )

    def __len__(self) -> int:
        return len(self.times)

    def rows(self, chosen: Any) -> "MultipleRows":
        """The rows a mask, slice or index array picks."""
        return MultipleRows(
            self.times[chosen],
            self.price[chosen],
            self.price_contract[chosen],
            self.carry[chosen],
            self.carry_contract[chosen],
            self.forward[chosen],
            self.forward_contract[chosen],
        )


@dataclass(frozen=True, slots=True, eq=False)
class CarryRows:
    """Raw prices of the priced and carry contracts, and which contracts those are on each row."""

    times: IntArray
    price: FloatArray
    price_contract: IntArray
    carry: FloatArray
    carry_contract: IntArray

    def __post_init__(self) -> None:
        _check_shape(self.times, self.price, self.price_contract, self.carry, self.carry_contract)

    def __len__(self) -> int:
        return len(self.times)


@dataclass(frozen=True, slots=True, eq=False)
class PriceRows:
    """One price per time: a back-adjusted price, the final price of a contract, or an exchange rate."""

    times: IntArray
    price: FloatArray

    def __post_init__(self) -> None:
        _check_shape(self.times, self.price)

    def __len__(self) -> int:
        return len(self.times)

    def rows(self, chosen: Any) -> "PriceRows":
        """The rows a mask, slice or index array picks."""
        return PriceRows(self.times[chosen], self.price[chosen])


def _check_shape(times: IntArray, *columns: npt.NDArray[Any]) -> None:
    if any(len(column) != len(times) for column in columns):
        lengths = [len(times), *(len(column) for column in columns)]
        raise ValueError(f"columns of one price series must have one length, not {lengths}")
    if len(times) > 1 and not bool(np.all(times[1:] > times[:-1])):
        where = int(np.flatnonzero(times[1:] <= times[:-1])[0]) + 1
        raise ValueError(
            f"price times must increase: row {where} ({to_moment(times[where])}) does not follow "
            f"{to_moment(times[where - 1])}"
        )
