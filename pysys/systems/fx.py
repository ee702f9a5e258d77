"""Conversion into the base currency."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pysys.systems.daily import as_of
from pysys.systems.market_data import FloatArray, FxPrices, MarketData, TimeArray
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


def _usd(prices: FxPrices | None, moments: TimeArray) -> FloatArray:
    return np.ones(len(moments)) if prices is None else as_of(prices.times, prices.price, moments)
