"""Broker orders by what it takes to send or end them, whatever else of their rows can be read."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Select, select

from pysys.domain.orders import BrokerOrderStatus
from pysys.store.repository import Repository
from pysys.store.schema import broker_orders


@dataclass(frozen=True, slots=True)
class SentOrder:
    """A broker order by what it takes to end it."""

    id: int
    order_ref: str
    instrument: str
    status: str
    cancel_asked: bool
    active: bool  # its fate is not settled

    @property
    def may_trade(self) -> bool:
        return self.status in (BrokerOrderStatus.INTENDED, BrokerOrderStatus.WORKING)


class SentOrders(Repository):
    """Reads broker orders without their legs."""

    def unsettled(self) -> list[SentOrder]:
        """Those whose fate is not settled, oldest first."""
        query = _sent_orders().where(broker_orders.c.active).order_by(broker_orders.c.id)
        return [SentOrder(*row) for row in self.connection.execute(query)]

    def by_ref(self, order_refs: Sequence[str]) -> dict[str, SentOrder]:
        """Those of these references that are of orders of ours, settled or not."""
        query = _sent_orders().where(broker_orders.c.order_ref.in_(order_refs))
        found = (SentOrder(*row) for row in self.connection.execute(query))
        return {order.order_ref: order for order in found}

    def intended_since(self, order_ref: str) -> datetime | None:
        """When an order was written that is still about to be sent; None of any other."""
        table = broker_orders.c
        intended = table.status == BrokerOrderStatus.INTENDED.value
        query = select(table.created_at).where(table.order_ref == order_ref, table.active, intended)
        written: datetime | None = self.connection.execute(query).scalar_one_or_none()
        return written


def _sent_orders() -> Select[Any]:
    table = broker_orders.c
    asked = table.cancel_requested_at.is_not(None).label("cancel_asked")
    return select(table.id, table.order_ref, table.instrument, table.status, asked, table.active)
