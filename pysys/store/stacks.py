"""What a person does to orders on the stacks: lock them, take them off, mark a fill as entered by hand."""

from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import Table, select, update

from pysys.domain.orders import OrderStatus
from pysys.store.repository import Repository
from pysys.store.schema import broker_orders, contract_orders, instrument_orders


class Level(StrEnum):
    INSTRUMENT = "instrument"
    CONTRACT = "contract"
    BROKER = "broker"


_TABLES: dict[Level, Table] = {
    Level.INSTRUMENT: instrument_orders,
    Level.CONTRACT: contract_orders,
    Level.BROKER: broker_orders,
}


class Stacks(Repository):
    """Orders of any level by id. What was on a stack stays in the history, with the reason it left."""

    def active(self, level: Level, order_id: int) -> bool | None:
        """Whether an order is on its stack; None when there is no such order."""
        table = _TABLES[level]
        found: bool | None = self.connection.execute(
            select(table.c.active).where(table.c.id == order_id)
        ).scalar_one_or_none()
        return found

    def ids(self, level: Level) -> list[int]:
        """Orders on a stack, oldest first."""
        table = _TABLES[level]
        query = select(table.c.id).where(table.c.active).order_by(table.c.id)
        return [row[0] for row in self.connection.execute(query)]

    def is_locked(self, level: Level, order_id: int) -> bool:
        table = _lockable(level)
        return bool(self.connection.execute(select(table.c.locked).where(table.c.id == order_id)).scalar_one())

    def set_locked(self, level: Level, order_id: int, locked: bool) -> None:
        """Lock or unlock an order. Raises ValueError for a broker order, which nobody but the broker can hold."""
        table = _lockable(level)
        self.connection.execute(update(table).where(table.c.id == order_id).values(locked=locked))

    def remove(self, level: Level, order_id: int, note: str, at: datetime) -> None:
        """Take an order off its stack. A broker order keeps the status the broker gave it."""
        table = _TABLES[level]
        values: dict[str, Any] = {"active": False}
        if level is Level.BROKER:
            values["algo_comment"] = table.c.algo_comment + f"{note}\n"
        else:
            values |= {"status": OrderStatus.CANCELLED.value, "completed_at": at, "note": note}
        self.connection.execute(update(table).where(table.c.id == order_id).values(**values))

    def mark_filled_by_hand(self, broker_order_id: int) -> None:
        self.connection.execute(
            update(broker_orders).where(broker_orders.c.id == broker_order_id).values(manual_fill=True)
        )


def _lockable(level: Level) -> Table:
    if level is Level.BROKER:
        raise ValueError("a broker order cannot be locked: cancel it, or lock its contract order")
    return _TABLES[level]
