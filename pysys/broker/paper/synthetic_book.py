"""Top of the book of a synthetic contract in one minute: ticks around the price, sizes that come and go."""

import math
from dataclasses import dataclass

_MASK = 2**64 - 1


@dataclass(frozen=True, slots=True)
class Book:
    """Best bid and ask, in whole ticks, and the contracts displayed there. A side without size is empty."""

    bid: int
    ask: int
    bid_size: int
    ask_size: int


def mixed(key: int, counter: int) -> int:
    """64 well-mixed bits from a key and a counter (the splitmix64 finaliser)."""
    z = (key + counter * 0x9E3779B97F4A7C15) & _MASK
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & _MASK
    return z ^ (z >> 31)


def book(key: int, minute: int, ticks: float, usual_spread: float, liquidity: float, depth: float) -> Book:
    """The book in `minute`, counted from anywhere, of a contract priced at `ticks` ticks.

    usual_spread: ticks between bid and ask of a liquid contract; it widens as `liquidity` (0 to 1) fades, and
    one side may be empty. depth: contracts displayed on average where liquidity is 1.
    """
    thin = max(1.0 - liquidity, 0.0)
    spread = max(1, round(usual_spread * (1 + 4 * thin**3)))
    bid = max(round(ticks - spread / 2), 1)
    chance_empty = 0.35 * thin**4
    mean = depth * max(liquidity, 0.0)
    return Book(bid, bid + spread, *(_size(mixed(key, 2 * minute + side), mean, chance_empty) for side in (0, 1)))


def _size(bits: int, mean: float, chance_empty: float) -> int:
    if (bits >> 32) / 2**32 < chance_empty:
        return 0
    return 1 + int(-mean * math.log(((bits & 0xFFFFFFFF) + 1) / 2**32))
