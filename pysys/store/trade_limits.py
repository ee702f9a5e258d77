"""Trade limits, and what of them is used.

Nobody counts: what is used follows from the broker orders. One that may still trade counts whole, whenever it was
written, because it may fill any moment; one whose fate is settled counts what it filled, in the period of its last
fill. So writing an order reserves, and its end gives back, in whatever order things happen.
"""

from collections.abc import Collection, Iterable
from dataclasses import replace
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Select, and_, case, delete, func, insert, or_, select, update

from pysys.domain.limits import TradeLimit
from pysys.store.repository import Repository
from pysys.store.schema import (
    broker_order_legs,
    broker_orders,
    contract_orders,
    instrument_orders,
    roll_parameters,
    trade_limits,
)

EXEMPT_ALGO = "panic"  # its orders are limited by nothing


class TradeLimits(Repository):
    """Limits on contracts traded, by (strategy or blank for every one, instrument, period in days)."""

    def all(self, now: datetime | None = None) -> list[TradeLimit]:
        """Every limit, by strategy, instrument and period; given the time, in the period of that time."""
        return self._limits(select(*trade_limits.c), now)

    def applying_to(self, strategy: str, instruments: Collection[str], now: datetime) -> list[TradeLimit]:
        """The limits an order of this strategy in these instruments has to keep, in the period of `now`.

        instruments: the markets of its legs, and the code of the spread they belong to.
        """
        table = trade_limits.c
        whose = or_(table.strategy == "", table.strategy == strategy)
        return self._limits(select(*table).where(table.instrument.in_(instruments), whose), now)

    def begin_periods(self, limits: Iterable[TradeLimit]) -> None:
        """Write down when the periods of these limits began, where they are not the ones they were."""
        table = trade_limits.c
        for limit in limits:
            which = _is(limit.strategy, limit.instrument, limit.period_days)
            self.connection.execute(
                update(trade_limits).where(which, table.reset_at < limit.reset_at).values(reset_at=limit.reset_at)
            )

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
        """Begin a new period now: what was traded before does not count any more; what may still trade does."""
        self.connection.execute(update(trade_limits).where(_is(strategy, instrument, period_days)).values(reset_at=at))

    def remove(self, strategy: str, instrument: str, period_days: int) -> None:
        self.connection.execute(delete(trade_limits).where(_is(strategy, instrument, period_days)))

    def _limits(self, query: Select[Any], now: datetime | None) -> list[TradeLimit]:
        table = trade_limits.c
        rows = self.connection.execute(query.order_by(table.strategy, table.instrument, table.period_days)).all()
        found = []
        for row in rows:
            limit = TradeLimit(row.strategy, row.instrument, row.period_days, row.trade_limit, 0, row.reset_at)
            began = limit.reset_at if now is None else limit.period_began(now)
            found.append(replace(limit, used=self._used(row.strategy, row.instrument, began), reset_at=began))
        return found

    def _used(self, strategy: str, instrument: str, since: datetime) -> int:
        """Contracts of the orders in an instrument, or in the legs of a spread with that code."""
        order, leg = broker_orders.c, broker_order_legs.c
        filled, ordered = func.abs(leg.fill), func.abs(leg.trade)
        counted = case((and_(order.active, filled < ordered), ordered), else_=filled)
        query = select(func.coalesce(func.sum(counted), 0)).join(broker_orders, order.id == leg.order_id)
        query = query.where(order.algo_used != EXEMPT_ALGO)
        if strategy:
            query = query.where(order.strategy == strategy)
        ways = [query.where(order.instrument == instrument)]
        if self._is_spread(instrument):
            family, child = instrument_orders.c, contract_orders.c
            of_spread = query.join(contract_orders, child.id == order.parent_id)
            of_spread = of_spread.join(instrument_orders, family.id == child.parent_id)
            ways.append(of_spread.where(family.instrument == instrument, child.instrument != instrument))
        return sum(
            int(self.connection.execute(way.where(when)).scalar_one())
            for way in ways
            for when in (order.active, and_(~order.active, order.filled_at >= since))
        )

    def _is_spread(self, code: str) -> bool:
        """Whether nothing is rolled under this code: orders in it are worked in other markets."""
        query = select(roll_parameters.c.instrument).where(roll_parameters.c.instrument == code)
        return self.connection.execute(query).first() is None


def _is(strategy: str, instrument: str, period_days: int) -> ColumnElement[bool]:
    table = trade_limits.c
    return and_(table.strategy == strategy, table.instrument == instrument, table.period_days == period_days)
