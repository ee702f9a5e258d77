"""Transaction cost analysis: what a trade cost, by cause and in three units.

Signs are seen from the account: negative is a cost, positive a gain.
"""

from collections.abc import Iterable
from dataclasses import dataclass, fields
from datetime import datetime
from math import fsum, isnan, sqrt

BASIS_POINTS = 10_000


@dataclass(frozen=True, slots=True)
class TradePrices:
    """The prices a trade is judged by, in quote points of one lot; None where one is not known."""

    sign: int  # +1 when the first leg was bought, -1 when sold
    reference: float | None  # when the trade was decided, moved to the contract traded
    mid: float | None  # at submission
    side: float | None  # at submission, what a market order would get: offer to buy, bid to sell
    limit: float | None  # of the broker order, as first sent
    parent_limit: float | None
    fill: float | None


@dataclass(frozen=True, slots=True)
class Slippage:
    """One trade's cost by cause, per lot. None where a price needed for it is not known."""

    delay: float | None  # reference to mid
    bid_ask: float | None  # mid to side
    execution: float | None  # side to fill
    versus_limit: float | None
    versus_parent_limit: float | None
    total_trading: float | None  # bid_ask and execution: mid to fill

    def scaled(self, factor: float | None) -> "Slippage":
        """The same in another unit; all None without a factor."""
        return Slippage(
            **{f.name: _times(getattr(self, f.name), factor) for f in fields(self)},
        )


KINDS = tuple(f.name for f in fields(Slippage))


def _times(value: float | None, factor: float | None) -> float | None:
    return None if value is None or factor is None else value * factor


def slippage(prices: TradePrices) -> Slippage:
    """Cost per lot in price units, delay measured to the mid at submission.

    >>> sold = TradePrices(-1, reference=27.45, mid=27.675, side=27.65, limit=27.7, parent_limit=None, fill=27.7)
    >>> cost = slippage(sold)
    >>> [round(x, 4) for x in (cost.delay, cost.bid_ask, cost.execution, cost.total_trading)]
    [0.225, -0.025, 0.05, 0.025]
    """

    def gain(before: float | None, after: float | None) -> float | None:
        if before is None or after is None or isnan(before) or isnan(after):
            return None
        return prices.sign * (before - after) + 0.0  # never the -0.0 of a sale without cost

    return Slippage(
        delay=gain(prices.reference, prices.mid),
        bid_ask=gain(prices.mid, prices.side),
        execution=gain(prices.side, prices.fill),
        versus_limit=gain(prices.limit, prices.fill),
        versus_parent_limit=gain(prices.parent_limit, prices.fill),
        total_trading=gain(prices.mid, prices.fill),
    )


def per_annual_volatility(annual_sd: float | None) -> float | None:
    """Factor from price units to basis points of a year's standard deviation of price; None when it is not positive."""
    if annual_sd is None or not annual_sd > 0:
        return None
    return BASIS_POINTS / annual_sd


def seconds_between(earlier: datetime | None, later: datetime | None) -> float | None:
    """Delay in seconds; None when a time is missing, or when clocks disagree and it would be negative."""
    if earlier is None or later is None:
        return None
    seconds = (later - earlier).total_seconds()
    return seconds if seconds >= 0 else None


@dataclass(frozen=True, slots=True)
class Summary:
    """Statistics of one kind of slippage over some trades. The range is the mean and two standard deviations."""

    total: float
    count: int
    mean: float | None
    lower: float | None
    upper: float | None


def summarise(values: Iterable[float | None]) -> Summary:
    """Statistics of the values that are known. One value has no range, none has no mean."""
    known = [value for value in values if value is not None and not isnan(value)]
    count = len(known)
    if count == 0:
        return Summary(0.0, 0, None, None, None)
    mean = fsum(known) / count
    if count == 1:
        return Summary(known[0], 1, mean, None, None)
    spread = 2 * sqrt(fsum((value - mean) ** 2 for value in known) / (count - 1))
    return Summary(fsum(known), count, mean, mean - spread, mean + spread)
