"""Position and trade limits: how much of a trade is allowed. Quantities are whole contracts, signed."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from pysys.domain.orders import lowest_terms


def within_position_limit(position: int, trade: int, limit: int) -> int:
    """The part of `trade` after which the position is within plus or minus `limit`.

    A position already beyond the limit is cut back to it, even when no trade was asked for.

    >>> within_position_limit(5, 0, 3), within_position_limit(2, 2, 3), within_position_limit(5, -9, 3)
    (-2, 1, -8)
    """
    return max(-limit, min(limit, position + trade)) - position


def within_limits(position: int, trade: int, limits: Iterable[int]) -> int:
    """`within_position_limit` for the tightest of several limits; without any, the trade as it is."""
    tightest = min(limits, default=None)
    return trade if tightest is None else within_position_limit(position, trade, tightest)


def not_beyond(position: int, trade: int, limit: int) -> int:
    """The part of `trade` that takes no position beyond plus or minus `limit`, as the last check before the broker.

    Unlike `within_position_limit` it asks for nothing: a position already beyond the limit may only shrink.

    >>> not_beyond(2, 2, 3), not_beyond(5, 2, 3), not_beyond(5, -1, 3), not_beyond(5, -9, 3)
    (1, 0, -1, -8)
    """
    return max(min(position, -limit), min(max(position, limit), position + trade)) - position


def units_not_beyond(units: int, per_unit: int, held: int, limit: int) -> int:
    """`not_beyond` for units of a spread, by what they do to one market: the whole units it leaves of `units`.

    per_unit: contracts of the market in one unit, signed. held: contracts of that market, of whatever strategy.

    >>> units_not_beyond(5, -2, 0, 3), units_not_beyond(5, -2, -4, 3), units_not_beyond(-1, -2, -4, 3)
    (1, 0, -1)
    """
    if per_unit == 0:
        return units
    kept = abs(not_beyond(held, units * per_unit, limit)) // abs(per_unit)
    return kept if units > 0 else -kept


def room(limit: int, waived: int, held: int) -> int:
    """A position limit as the pass that keeps it sees it: what a person ordered beyond it stays while it is held.

    waived: contracts beyond the limit that a person ordered all the same.

    >>> room(1, 1, 2), room(1, 1, 5), room(1, 1, 0), room(1, 0, -4)
    (2, 2, 1, 1)
    """
    return max(limit, min(abs(held), limit + waived))


@dataclass(frozen=True, slots=True)
class TradeLimit:
    """How many contracts may be traded in a period of days, and how many have been since it began.

    A blank strategy is every strategy. A calendar spread counts each of its legs. When the period is over, use starts
    again from zero; changing the limit does not.
    """

    strategy: str
    instrument: str
    period_days: int
    limit: int  # contracts
    used: int  # contracts filled since reset_at, and all of every order that may still trade, whenever written
    reset_at: datetime  # UTC, the beginning of the period

    def lapsed(self, now: datetime) -> bool:
        """Whether the period is over: more than `period_days` have passed."""
        return now - self.reset_at > timedelta(days=self.period_days)

    def period_began(self, now: datetime) -> datetime:
        """When the period `now` is in began: periods follow each other without a gap from `reset_at` on."""
        period = timedelta(days=self.period_days)
        over = max(0, -((self.reset_at - now) // period) - 1)
        return self.reset_at + over * period

    def headroom(self, now: datetime) -> int:
        """Contracts still allowed; never negative, whatever was used."""
        return self.limit if self.lapsed(now) else max(0, self.limit - self.used)


def tightest_headroom(limits: Iterable[TradeLimit], now: datetime) -> int | None:
    """Contracts every one of the limits still allows; None without any limit."""
    return min((limit.headroom(now) for limit in limits), default=None)


def allowed_trade(trade: int, headroom: int | None) -> int:
    """The part of a trade that trade limits allow.

    >>> allowed_trade(-7, 3), allowed_trade(5, None), allowed_trade(5, 0)
    (-3, 5, 0)
    """
    if headroom is None:
        return trade
    size = min(abs(trade), headroom)
    return size if trade > 0 else -size


def allowed_legs(trades: tuple[int, ...], headroom: int | None) -> tuple[int, ...]:
    """Legs cut, in proportion, until the contracts of all of them together are allowed.

    >>> allowed_legs((-5, 5), 7), allowed_legs((4,), 3), allowed_legs((1, -2, 1), 3)
    ((-3, 3), (3,), (0, 0, 0))
    """
    if headroom is None:
        return trades
    ratios, units = lowest_terms(trades)
    kept = allowed_trade(units, headroom // sum(abs(ratio) for ratio in ratios))
    return tuple(ratio * kept for ratio in ratios)
