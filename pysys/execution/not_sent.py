"""Why nothing is sent for a contract order, and how long that is borne."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum


class NotSent(StrEnum):
    """Every reason there is. Stored, with its detail, as the note of the contract order."""

    CLAIMED = "claimed"  # somebody else works it
    LOCKED = "locked"  # the order, or its instrument
    KILL_SWITCH = "kill_switch"
    CLOSED = "closed"  # the market does not trade now
    TURN = "waits_its_turn"  # another order of its instrument or family comes first
    PREDECESSOR = "predecessor_not_settled"  # nothing new while the fate of the last broker order is unknown
    ENDED = "ended"  # filled, or taken off the stack, meanwhile
    UNBALANCED = "unbalanced"  # one leg of a spread is filled and another is not
    OVERFILLED = "overfilled"  # the broker traded more than was asked for: the next orders correct it
    EXPOSURE = "exposure"  # filled and possibly working would exceed what was asked for
    TRADE_LIMIT = "trade_limit"
    POSITION_LIMIT = "position_limit"
    OVERRIDE = "override"  # no trading at all, or nothing but what reduces
    NO_QUOTE = "no_quote"  # no bid and offer in every leg
    NO_LIQUIDITY = "no_liquidity"  # less is displayed than one lot of every leg
    ALGO_DECLINED = "algo_declined"
    TRIED_JUST_NOW = "tried_just_now"  # the last broker order ended without a fill; the next attempt waits
    GIVEN_UP = "given_up"  # the budget of attempts is spent: a person must look


# These cost questions to the broker each time they are found out, so they are asked again ever more rarely.
_ASKED_OF_THE_BROKER = frozenset({NotSent.NO_QUOTE, NotSent.NO_LIQUIDITY, NotSent.ALGO_DECLINED})
_LONGEST_WAIT = timedelta(seconds=60)
_BEAR_FOR = timedelta(minutes=30)  # then a person is told
NEEDS_OPERATOR = "needs_operator"  # how the note of an order begins that a person was told of


@dataclass(frozen=True, slots=True)
class Declined:
    """Nothing was sent, and why."""

    reason: NotSent
    detail: str = ""

    def __str__(self) -> str:
        return f"{self.reason.value}: {self.detail}" if self.detail else self.reason.value


@dataclass(frozen=True, slots=True)
class _Streak:
    declined: Declined
    since: datetime
    times: int
    again_at: datetime


class Retries:
    """How long each order has been held up for a reason only the broker can tell, and when that is asked again.

    Kept in memory by one stack handler: a new one begins patient.
    """

    def __init__(self) -> None:
        self._streaks: dict[int, _Streak] = {}

    def holds(self, order_id: int, now: datetime) -> Declined | None:
        """Why an order is not looked at again yet; None when it may be."""
        streak = self._streaks.get(order_id)
        return streak.declined if streak is not None and now < streak.again_at else None

    def declined(self, order_id: int, declined: Declined, now: datetime) -> bool:
        """Note that nothing was sent. True when it has lasted so long that a person should know."""
        if declined.reason not in _ASKED_OF_THE_BROKER:
            self._streaks.pop(order_id, None)
            return False
        before = self._streaks.get(order_id)
        since = now if before is None else before.since
        times = 1 if before is None else before.times + 1
        wait = min(_LONGEST_WAIT, timedelta(seconds=2 ** min(times, 10)))
        self._streaks[order_id] = _Streak(declined, since, times, now + wait)
        return now - since >= _BEAR_FOR

    def sent(self, order_id: int) -> None:
        """Forget what held an order up."""
        self._streaks.pop(order_id, None)


MAX_ATTEMPTS = 20  # broker orders in a row, of one contract order, that end without any fill
MAX_REJECTIONS = 5  # ... of which so many are refused
_SHORTEST_BREAK = timedelta(seconds=1)
_AFTER_REJECTION = timedelta(seconds=15)


@dataclass(frozen=True, slots=True)
class Attempts:
    """Broker orders of one contract order that ended without a fill since it was last filled."""

    count: int
    rejected: int
    last_at: datetime  # UTC, when the last of them was written

    def verdict(self, now: datetime) -> Declined | None:
        """Why no further attempt is made now; None when one may be. Each rejection doubles the wait for the next."""
        if self.rejected >= MAX_REJECTIONS:
            return Declined(NotSent.GIVEN_UP, f"rejected {self.rejected} times, a person must look")
        if self.count >= MAX_ATTEMPTS:
            return Declined(NotSent.GIVEN_UP, f"{self.count} orders in a row without a fill, a person must look")
        pause = _AFTER_REJECTION * 2**self.rejected if self.rejected else _SHORTEST_BREAK
        if now - self.last_at < pause:
            return Declined(NotSent.TRIED_JUST_NOW)
        return None
