"""How much of a contract order the next broker order asks for. Pure; the contract order itself is never changed."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime

from pysys.broker.port import Quote
from pysys.domain.limits import TradeLimit, allowed_legs, not_beyond, tightest_headroom
from pysys.domain.orders import ContractOrder, lowest_terms
from pysys.execution.not_sent import Declined, NotSent

Sizes = tuple[int, ...]  # contracts by leg, signed


def cut_to_liquidity(trades: Sizes, depths: Sizes) -> Sizes:
    """Legs scaled by the scarcest depth, in proportion; all 0 when the proportion cannot be kept in whole contracts.

    >>> cut_to_liquidity((2, -2), (1, 1)), cut_to_liquidity((2, -4), (1, 1)), cut_to_liquidity((10,), (3,))
    ((1, -1), (0, 0), (3,))
    """
    ratios, units = lowest_terms(trades)
    affordable = min(depth // abs(ratio) for ratio, depth in zip(ratios, depths, strict=True))
    kept = min(abs(units), affordable) * (1 if units > 0 else -1)
    return tuple(ratio * kept for ratio in ratios)


def one_lot(trades: Sizes) -> Sizes:
    """Legs cut until the smallest is one contract; as they are when that cannot be done in proportion.

    >>> one_lot((10,)), one_lot((-2, 2)), one_lot((-3, 4, -3))
    ((1,), (-1, 1), (-3, 4, -3))
    """
    ratios, units = lowest_terms(trades)
    sign = 1 if units > 0 else -1
    if min(abs(ratio) for ratio in ratios) != 1:
        return trades
    return tuple(ratio * sign for ratio in ratios)


def passive_depths(trades: Sizes, quotes: Sequence[Quote]) -> Sizes:
    """Contracts displayed on the side each leg would join: the bid when buying."""
    return tuple(q.bid_size if quantity > 0 else q.ask_size for quantity, q in zip(trades, quotes, strict=True))


@dataclass(frozen=True, slots=True)
class Allowance:
    """What limits leave to one order.

    positions: (held now, limit) of the strategy and of the whole instrument; empty for an order of several legs, for
    which the family as a whole is judged. refused: what is against any order at all. may_shrink: the position that may
    only become smaller; None when none need. exempt: why it is held to less than others, for the audit. counterpart:
    as many contracts again must be allowed, for the order that enters where this one leaves. most: units of the legs in
    lowest terms, because another order of its family has gone no further; None without such an order.
    """

    now: datetime
    trade_limits: Sequence[TradeLimit] = ()
    positions: Sequence[tuple[int, int]] = field(default=())
    refused: Declined | None = None
    may_shrink: int | None = None
    exempt: str = ""
    counterpart: bool = False
    most: int | None = None

    def cut(self, trades: Sizes) -> Sizes | Declined:
        """The part of the trades that overrides and every limit allow."""
        if self.refused is not None:
            return self.refused
        if self.may_shrink is not None:
            trades = (not_beyond(self.may_shrink, trades[0], 0),)
            if trades == (0,):
                return Declined(NotSent.OVERRIDE, f"held {self.may_shrink:+d}, which may only become smaller")
        if self.most == 0:
            return Declined(NotSent.TURN, "after the other leg of its roll")
        if self.most is not None:
            _, units = lowest_terms(trades)
            trades = tuple(quantity // abs(units) * min(abs(units), self.most) for quantity in trades)
        headroom = tightest_headroom(self.trade_limits, self.now)
        kept = allowed_legs(trades, headroom if headroom is None or not self.counterpart else headroom // 2)
        if not any(kept):
            tightest = min(self.trade_limits, key=lambda limit: limit.headroom(self.now))
            whose = tightest.strategy if tightest.strategy else "every strategy"
            return Declined(
                NotSent.TRADE_LIMIT,
                f"{tightest.used} of {tightest.limit} contracts in {tightest.period_days} days used by {whose}",
            )
        for held, limit in self.positions:
            kept = (not_beyond(held, kept[0], limit),)
            if kept == (0,):
                return Declined(NotSent.POSITION_LIMIT, f"held {held:+d}, limit {limit}")
        return kept


def exceeds_parent(parent: ContractOrder, possibly_traded: Sequence[int], trades: Sizes) -> bool:
    """Whether filled, possibly working and new contracts together are more, in any leg, than the parent asked for."""
    return any(
        abs(done + quantity) > abs(leg.trade) or (done + quantity) * leg.trade < 0
        for leg, done, quantity in zip(parent.legs, possibly_traded, trades, strict=True)
    )
