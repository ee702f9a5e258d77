"""Conversion into the base currency."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from pysys.systems.daily import as_of
from pysys.systems.market_data import FloatArray, FxPrices, InstrumentSeries, MarketData, TimeArray
from pysys.systems.smoothing import divide

USD = "USD"


@dataclass(frozen=True, slots=True, eq=False)
class FxRate:
    """Base currency for one unit of a currency."""

    quote: FxPrices | None  # USD for one unit of the currency; None for the dollar itself
    base: FxPrices | None  # USD for one unit of base currency; None for the dollar itself

    @classmethod
    def between(cls, currency: str, base: str, market_data: MarketData) -> FxRate:
        """Raises DataError when a series is missing."""
        if currency == base:
            return cls(None, None)
        quote, base_quote = (None if one == USD else market_data.fx_against_usd(one) for one in (currency, base))
        return cls(quote, base_quote)

    def at(self, moments: TimeArray) -> FloatArray:
        """The last rate stamped at or before each moment; missing before the first, and where that row is empty."""
        rate = _usd(self.quote, moments)
        return rate if self.base is None else divide(rate, _usd(self.base, moments))


def rates_that_start_late(series: Sequence[InstrumentSeries], rates: Sequence[FxRate], base: str) -> list[str]:
    """Said of exchange rates that start after the prices they convert: until then those have no position.

    rates: of each of the series, in their order.
    """
    late: dict[str, dict[str, np.datetime64]] = {}  # currency -> instrument -> first day with a price
    starts: dict[str, np.datetime64] = {}
    for one, rate in zip(series, rates, strict=True):
        first = _first_day(one.adjusted.times, one.adjusted.price)
        for currency, prices in ((one.meta.currency, rate.quote), (base, rate.base)):
            if prices is None or first is None:
                continue
            start = _first_day(prices.times, prices.price)
            if start is None or start > first:
                late.setdefault(currency, {})[one.code] = first
                starts[currency] = start if start is not None else np.datetime64("NaT")
    return [_said_of_late_rate(currency, starts[currency], begun) for currency, begun in late.items()]


def _said_of_late_rate(currency: str, start: np.datetime64, begun: Mapping[str, np.datetime64]) -> str:
    code, day = min(begun.items(), key=lambda one: one[1])
    others = f" and {len(begun) - 1} more" if len(begun) > 1 else ""
    when = "have no price at all" if np.isnat(start) else f"start on {start}"
    return (
        f"exchange rates of {currency} {when}, after the prices of {code} ({day}){others}: these have no position and "
        f"no profit before. Import older rates, or set start_date"
    )


def _first_day(times: TimeArray, prices: FloatArray) -> np.datetime64 | None:
    """The day of the first present price."""
    present = np.flatnonzero(~np.isnan(prices))
    return times[present[0]].astype("datetime64[D]") if len(present) else None


def _usd(prices: FxPrices | None, moments: TimeArray) -> FloatArray:
    return np.ones(len(moments)) if prices is None else as_of(prices.times, prices.price, moments)
