"""What the research engine reads: price histories, FX and the facts of each instrument.

Plain arrays, so the same engine runs from CSV files and from the database.

Times are numpy `datetime64[us]` without a zone. They are UTC when they come from the store and the collector's
clock when they come from CSV; the engine only uses their date and their order. Prices are float64 with NaN for
missing. Contract ids are int64 `YYYYMMDD`, day 00 where the contract is known by its month.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pysys.domain.errors import DataError

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]
TimeArray = NDArray[np.datetime64]

TIME_UNIT = "datetime64[us]"


@dataclass(frozen=True, slots=True, eq=False)
class MultiplePrices:
    """Raw prices of the priced and carry contracts; one row per native timestamp, strictly increasing.

    No research reads the forward prices that are stored beside them.
    """

    times: TimeArray
    price: FloatArray
    carry: FloatArray
    price_contract: IntArray
    carry_contract: IntArray

    def __post_init__(self) -> None:
        _require_same_length(self.times, self.price, self.carry, self.price_contract, self.carry_contract)

    def __len__(self) -> int:
        return len(self.times)


@dataclass(frozen=True, slots=True, eq=False)
class AdjustedPrices:
    """Back-adjusted (panama) price of the held contract; may be zero or negative."""

    times: TimeArray
    price: FloatArray

    def __post_init__(self) -> None:
        _require_same_length(self.times, self.price)

    def __len__(self) -> int:
        return len(self.times)


@dataclass(frozen=True, slots=True, weakref_slot=True, eq=False)
class FxPrices:
    """USD for one unit of a currency."""

    times: TimeArray
    price: FloatArray

    def __post_init__(self) -> None:
        _require_same_length(self.times, self.price)

    def __len__(self) -> int:
        return len(self.times)


@dataclass(frozen=True, slots=True)
class InstrumentMeta:
    """The facts of an instrument that positions, costs and rolls need."""

    point_size: float  # instrument currency per 1.0 of price per contract
    currency: str  # of the prices, "USD"
    asset_class: str  # peers of the relative rules, "Ags"
    spread_cost: float  # half the bid-ask spread, in price units
    per_block: float  # commission per contract, instrument currency
    percentage: float  # commission as a fraction of value, 0.0001 is 0.01%
    per_trade: float  # commission per order, instrument currency
    hold_roll_cycle: str  # month letters of the contracts held, "HMUZ"

    def __post_init__(self) -> None:
        if not self.point_size > 0:
            raise ValueError(f"point size must be positive, not {self.point_size}")
        for name in ("spread_cost", "per_block", "percentage", "per_trade"):
            if not getattr(self, name) >= 0:
                raise ValueError(f"{name} must not be negative or missing, not {getattr(self, name)}")
        if not self.hold_roll_cycle:
            raise ValueError("hold roll cycle is empty; give the month letters held, such as HMUZ")


@dataclass(frozen=True, slots=True, weakref_slot=True, eq=False)
class InstrumentSeries:
    """One instrument's prices and facts."""

    code: str
    multiple: MultiplePrices
    adjusted: AdjustedPrices
    meta: InstrumentMeta


@dataclass(frozen=True, slots=True, weakref_slot=True, eq=False)
class MarketData:
    """Everything a backtest reads. `fx` maps a currency to its USD price; USD itself needs no entry."""

    instruments: Mapping[str, InstrumentSeries]
    fx: Mapping[str, FxPrices]

    def instrument(self, code: str) -> InstrumentSeries:
        """The series of `code`. Raises DataError when it is not here."""
        try:
            return self.instruments[code]
        except KeyError:
            raise DataError(
                f"{code}: no prices loaded; import them, or take {code} out of the instrument weights. "
                f"Loaded: {_some(self.instruments)}."
            ) from None

    def fx_against_usd(self, currency: str) -> FxPrices:
        """USD per unit of `currency`. Raises DataError when there is no series for it."""
        try:
            return self.fx[currency]
        except KeyError:
            raise DataError(
                f"{currency}: no FX series {currency}USD; import one, or leave out the instruments quoted in "
                f"{currency}. Loaded: {_some(self.fx)}."
            ) from None


def _require_same_length(times: TimeArray, *columns: NDArray) -> None:
    if any(len(column) != len(times) for column in columns):
        lengths = [len(times), *(len(column) for column in columns)]
        raise ValueError(f"columns of one series must have one length, not {lengths}")


def _some(names: Iterable[str], limit: int = 8) -> str:
    listed = sorted(names)
    shown = ", ".join(listed[:limit])
    return shown + (f" and {len(listed) - limit} more" if len(listed) > limit else "") if listed else "none"
