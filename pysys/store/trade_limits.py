"""Trade limits, and what of them is used.

Nobody counts: what is used follows from the broker orders written since the period began. An order that may still
trade counts whole, one whose fate is settled counts what it filled. So writing an order reserves, and its end gives
back, in whatever order things happen.
"""

from collections.abc import Iterable
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Select, and_, case, delete, func, insert, or_, select, update

from pysys.domain.limits import TradeLimit
from pysys.store.repository import Repository
from pysys.store.schema import broker_order_legs, broker_orders, trade_limits

EXEMPT_ALGO = "panic"  # its orders are limited by nothing


class TradeLimits(Repository):
    """Limits on contracts traded, by (strategy or blank for every one, instrument, period in days)."""

    def all(self) -> list[TradeLimit]:
        """Every limit, by strategy, instrument and period."""
        return self._limits(select(*trade_limits.c))

    def applying_to(self, strategy: str, instrument: str) -> list[TradeLimit]:
        """The limits an order of this strategy in this instrument has to keep."""
        table = trade_limits.c
        return self._limits(
            select(*table).where(table.instrument == instrument, or_(table.strategy == "", table.strategy == strategy))
        )

    def restart_lapsed(self, limits: Iterable[TradeLimit], now: datetime) -> None:
        """Begin a new period for every one of these limits whose period is over."""
        for limit in limits:
            if limit.lapsed(now):
                self.reset(limit.strategy, limit.instrument, limit.period_days, at=now)

    def set(self, strategy: str, instrument: str, period_days: int, limit: int, *, at: datetime) -> None:
        """Set a limit, contracts. A new one begins its period now; a changed one goes on in its period."""
        changed = self.connection.execute(
            update(trade_limits).where(_is(strategy, instrument, period_days)).values(trade_limit=limit)
        )
        if changed.rowcount == 0:
            self.connection.execute(
                insert(trade_limits).values(
                    strategy=strategy, instrument=instrument, period_days=period_days, trade_limit=limit, reset_at=at
                )
            )

    def reset(self, strategy: str, instrument: str, period_days: int, *, at: datetime) -> None:
        """Begin a new period now: what was traded before does not count any more."""
        self.connection.execute(update(trade_limits).where(_is(strategy, instrument, period_days)).values(reset_at=at))

    def remove(self, strategy: str, instrument: str, period_days: int) -> None:
        self.connection.execute(delete(trade_limits).where(_is(strategy, instrument, period_days)))

    def _limits(self, query: Select[Any]) -> list[TradeLimit]:
        table = trade_limits.c
        rows = self.connection.execute(query.order_by(table.strategy, table.instrument, table.period_days)).all()
        return [
            TradeLimit(
                strategy=row.strategy,
                instrument=row.instrument,
                period_days=row.period_days,
                limit=row.trade_limit,
                used=self._used(row.strategy, row.instrument, row.reset_at),
                reset_at=row.reset_at,
            )
            for row in rows
        ]

    def _used(self, strategy: str, instrument: str, since: datetime) -> int:
        order, leg = broker_orders.c, broker_order_legs.c
        filled, ordered = func.abs(leg.fill), func.abs(leg.trade)
        counted = case((and_(order.active, filled < ordered), ordered), else_=filled)
        query = select(func.coalesce(func.sum(counted), 0)).join(broker_orders, order.id == leg.order_id)
        query = query.where(order.instrument == instrument, order.created_at >= since, order.algo_used != EXEMPT_ALGO)
        if strategy:
            query = query.where(order.strategy == strategy)
        return int(self.connection.execute(query).scalar_one())


def _is(strategy: str, instrument: str, period_days: int) -> ColumnElement[bool]:
    table = trade_limits.c
    return and_(table.strategy == strategy, table.instrument == instrument, table.period_days == period_days)
