"""Conversion into the base currency."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from pysys.systems.daily import as_of
from pysys.systems.market_data import FloatArray, FxPrices, InstrumentSeries, MarketData, TimeArray
from pysys.systems.smoothing import divide

USD = "USD"
LONGEST_LAG = np.timedelta64(7, "D")  # of rates behind prices: longer than any holiday

Span = tuple[np.datetime64, np.datetime64] | None  # first and last day


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


def rates_that_fall_short(series: Sequence[InstrumentSeries], rates: Sequence[FxRate], base: str) -> list[str]:
    """Said of exchange rates that start after the prices they convert, or end a week or more before them.

    rates: of each of the series, in their order.
    """
    late: dict[str, dict[str, np.datetime64]] = {}  # currency -> instrument -> first day with a price
    old: dict[str, dict[str, np.datetime64]] = {}  # currency -> instrument -> last day with a price
    spans: dict[str, Span] = {}
    for one, rate in zip(series, rates, strict=True):
        own = _span(one.adjusted.times, one.adjusted.price)
        for currency, prices in ((one.meta.currency, rate.quote), (base, rate.base)):
            if prices is None or own is None:
                continue
            span = spans[currency] = _span(prices.times, prices.price)
            if span is None or span[0] > own[0]:
                late.setdefault(currency, {})[one.code] = own[0]
            if span is not None and own[1] - span[1] >= LONGEST_LAG:
                old.setdefault(currency, {})[one.code] = own[1]
    return [
        *(_said_of_late_rate(currency, spans[currency], begun) for currency, begun in late.items()),
        *(_said_of_old_rate(currency, spans[currency], ended) for currency, ended in old.items()),
    ]


def _said_of_late_rate(currency: str, span: Span, begun: Mapping[str, np.datetime64]) -> str:
    code, day = min(begun.items(), key=lambda one: one[1])
    when = "have no price at all" if span is None else f"start on {span[0]}"
    return (
        f"exchange rates of {currency} {when}, after the prices of {code} ({day}){_others(begun)}: these have no "
        "position and no profit before. Import older rates, or set start_date"
    )


def _said_of_old_rate(currency: str, span: Span, ended: Mapping[str, np.datetime64]) -> str:
    code, day = max(ended.items(), key=lambda one: one[1])
    last = "" if span is None else span[1]
    return (
        f"exchange rates of {currency} end on {last}, before the prices of {code} ({day}){_others(ended)}: since then "
        "positions are sized and profits counted at the last rate. Import newer rates"
    )


def _others(instruments: Mapping[str, np.datetime64]) -> str:
    return f" and {len(instruments) - 1} more" if len(instruments) > 1 else ""


def _span(times: TimeArray, prices: FloatArray) -> Span:
    """The days of the first and the last present price."""
    present = np.flatnonzero(~np.isnan(prices))
    if not len(present):
        return None
    first, last = times[present[[0, -1]]].astype("datetime64[D]")
    return first, last


def _usd(prices: FxPrices | None, moments: TimeArray) -> FloatArray:
    return np.ones(len(moments)) if prices is None else as_of(prices.times, prices.price, moments)
