"""The three order stacks. Orders stay in their tables for good; `active` says which are still being worked."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import datetime
from decimal import Decimal
from typing import Any

from sqlalchemy import Row, Select, Table, func, insert, select, update

from pysys.domain.contracts import Contract
from pysys.domain.orders import (
    BrokerOrder,
    BrokerOrderStatus,
    ContractOrder,
    InstrumentOrder,
    InstrumentOrderType,
    OrderLeg,
    OrderStatus,
)
from pysys.store.repository import Repository, new_id
from pysys.store.schema import (
    broker_order_legs,
    broker_orders,
    contract_order_legs,
    contract_orders,
    instrument_orders,
)


class Orders(Repository):
    """Reads and writes orders of every level; the caller decides what should happen to them."""

    # --- instrument orders ---

    def place_instrument_order(self, order: InstrumentOrder) -> int:
        """Store a new order on the instrument stack and return its id."""
        return new_id(
            self.connection.execute(
                insert(instrument_orders).values(
                    strategy=order.strategy,
                    instrument=order.instrument,
                    trade=order.trade,
                    order_type=order.order_type.value,
                    reference_price=order.reference_price,
                    reference_contract=order.reference_contract,
                    reference_time=order.reference_time,
                    generated_at=order.generated_at,
                    manual_trade=order.manual_trade,
                    roll_order=order.roll_order,
                    note=order.note,
                    **self.audit,
                )
            )
        )

    def active_instrument_orders(self) -> list[InstrumentOrder]:
        query = select(instrument_orders).where(instrument_orders.c.active).order_by(instrument_orders.c.id)
        return [_instrument_order(row) for row in self.connection.execute(query)]

    def instrument_order(self, order_id: int) -> InstrumentOrder:
        row = self.connection.execute(select(instrument_orders).where(instrument_orders.c.id == order_id)).one()
        return _instrument_order(row)

    def unfilled_by_strategy_instrument(self) -> dict[tuple[str, str], int]:
        """Contracts still to be filled of active orders, summed per (strategy, instrument)."""
        table = instrument_orders.c
        query = (
            select(table.strategy, table.instrument, func.sum(table.trade - table.fill))
            .where(table.active)
            .group_by(table.strategy, table.instrument)
        )
        return {(row[0], row[1]): int(row[2]) for row in self.connection.execute(query)}

    def without_children(self) -> list[InstrumentOrder]:
        """Active instrument orders no contract order has been made for."""
        has_child = select(contract_orders.c.id).where(contract_orders.c.parent_id == instrument_orders.c.id)
        query = (
            select(instrument_orders)
            .where(instrument_orders.c.active, ~instrument_orders.c.locked, ~has_child.exists())
            .order_by(instrument_orders.c.id)
        )
        return [_instrument_order(row) for row in self.connection.execute(query)]

    def fill_instrument_order(self, order_id: int, fill: int, price: float | None, at: datetime) -> None:
        """Set the total filled, its average price and the time of the last fill."""
        self.connection.execute(
            update(instrument_orders)
            .where(instrument_orders.c.id == order_id)
            .values(fill=fill, filled_price=price, filled_at=at)
        )

    def end_instrument_order(self, order_id: int, status: OrderStatus, at: datetime, note: str = "") -> None:
        """Deactivate an order: it leaves the stack and stays in the history."""
        _end(self, instrument_orders, order_id, status, at, note)

    # --- contract orders ---

    def place_contract_order(self, parent_id: int, order: ContractOrder) -> int:
        """Store a child of an instrument order with its legs and return its id."""
        order_id = new_id(
            self.connection.execute(
                insert(contract_orders).values(
                    parent_id=parent_id,
                    strategy=order.strategy,
                    instrument=order.instrument,
                    order_type=order.order_type.value,
                    reference_price=order.reference_price,
                    generated_at=order.generated_at,
                    roll_order=order.roll_order,
                    algo_to_use=order.algo_to_use,
                    sequence=order.sequence,
                    **self.audit,
                )
            )
        )
        self._insert_legs(contract_order_legs, order_id, order.legs)
        return order_id

    def active_contract_orders(self) -> list[ContractOrder]:
        query = select(contract_orders).where(contract_orders.c.active).order_by(contract_orders.c.id)
        return self._contract_orders(query)

    def contract_order(self, order_id: int) -> ContractOrder:
        return self._contract_orders(select(contract_orders).where(contract_orders.c.id == order_id))[0]

    def children(self, instrument_order_ids: Sequence[int]) -> dict[int, list[ContractOrder]]:
        """Contract orders of these instrument orders, by parent."""
        query = select(contract_orders).where(contract_orders.c.parent_id.in_(instrument_order_ids))
        found: dict[int, list[ContractOrder]] = {}
        for child in self._contract_orders(query.order_by(contract_orders.c.id)):
            found.setdefault(child.parent_id, []).append(child)
        return found

    def families_to_advance(self) -> bool:
        """Whether an active family has no children yet, or is filled to the last leg."""
        parent, child, leg = instrument_orders.c, contract_orders.c, contract_order_legs.c
        of_family = child.parent_id == parent.id
        unfilled = select(leg.order_id).join(contract_orders, child.id == leg.order_id)
        unfilled = unfilled.where(of_family, leg.fill != leg.trade)
        query = select(parent.id).where(parent.active, ~unfilled.exists()).limit(1)
        return self.connection.execute(query).first() is not None

    def fill_contract_leg(self, order: ContractOrder, leg: int, fill: int, price: float | None, at: datetime) -> None:
        """Set the total filled and the average price of one leg."""
        self._fill_leg(contract_order_legs, order.id, leg, fill, price)
        self.connection.execute(update(contract_orders).where(contract_orders.c.id == order.id).values(filled_at=at))

    def set_contract_price(self, order_id: int, price: float | None) -> None:
        self.connection.execute(
            update(contract_orders).where(contract_orders.c.id == order_id).values(filled_price=price)
        )

    def end_contract_order(self, order_id: int, status: OrderStatus, at: datetime, note: str = "") -> None:
        _end(self, contract_orders, order_id, status, at, note)

    # --- broker orders ---

    def write_broker_order(self, order: BrokerOrder) -> BrokerOrder:
        """Store an order that is about to be sent; it comes back with its id."""
        order_id = new_id(
            self.connection.execute(
                insert(broker_orders).values(
                    order_ref=order.order_ref,
                    parent_id=order.parent_id,
                    strategy=order.strategy,
                    instrument=order.instrument,
                    order_type=order.order_type,
                    algo_used=order.algo_used,
                    algo_state=order.algo_state,
                    limit_price=order.limit_price,
                    side_price=order.side_price,
                    mid_price=order.mid_price,
                    offside_price=order.offside_price,
                    calendar_spread_order=len(order.legs) > 1,
                    roll_order=order.roll_order,
                    broker=order.broker,
                    created_at=order.created_at,
                    status=order.status.value,
                    **self.audit,
                )
            )
        )
        self._insert_legs(broker_order_legs, order_id, order.legs)
        return replace(order, id=order_id)

    def active_broker_orders(self) -> list[BrokerOrder]:
        """Broker orders whose fate is not settled, and settled ones whose fills are not all recorded."""
        query = select(broker_orders).where(broker_orders.c.active).order_by(broker_orders.c.id)
        return self._broker_orders(query)

    def broker_order_by_ref(self, order_ref: str) -> BrokerOrder | None:
        found = self._broker_orders(select(broker_orders).where(broker_orders.c.order_ref == order_ref))
        return found[0] if found else None

    def count_broker_orders(self, contract_order_id: int, status: BrokerOrderStatus | None = None) -> int:
        """How many broker orders a contract order has had, dead ones included; of one status when given."""
        query = select(func.count()).where(broker_orders.c.parent_id == contract_order_id)
        if status is not None:
            query = query.where(broker_orders.c.status == status.value)
        return int(self.connection.execute(query).scalar_one())

    def unfilled_broker_order_at(self, contract_order_id: int, moment: datetime) -> bool:
        """Whether a broker order written at this very moment has ended without any fill."""
        table = broker_orders.c
        query = select(table.id).where(
            table.parent_id == contract_order_id,
            table.created_at == moment,
            table.filled_at.is_(None),
            table.status.in_([BrokerOrderStatus.CANCELLED.value, BrokerOrderStatus.REJECTED.value]),
        )
        return self.connection.execute(query).first() is not None

    def update_broker_order(
        self,
        order_id: int,
        *,
        status: BrokerOrderStatus | None = None,
        permanent_id: str | None = None,
        account: str | None = None,
        submitted_at: datetime | None = None,
        cancel_requested_at: datetime | None = None,
        algo_state: dict[str, Any] | None = None,
        comment: str | None = None,
        active: bool | None = None,
    ) -> None:
        """Change what is given, leave the rest. A comment is added to those already there."""
        table = broker_orders.c
        values: dict[str, Any] = {
            "status": None if status is None else status.value,
            "broker_permid": permanent_id,
            "broker_account": account,
            "submitted_at": submitted_at,
            "cancel_requested_at": cancel_requested_at,
            "algo_state": algo_state,
            "active": active,
        }
        given = {key: value for key, value in values.items() if value is not None}
        if comment:
            given["algo_comment"] = table.algo_comment + f"{comment}\n"
        if given:
            self.connection.execute(update(broker_orders).where(table.id == order_id).values(**given))

    def fill_broker_leg(self, order: BrokerOrder, leg: int, fill: int, price: float | None, at: datetime) -> None:
        self._fill_leg(broker_order_legs, order.id, leg, fill, price)
        self.connection.execute(update(broker_orders).where(broker_orders.c.id == order.id).values(filled_at=at))

    def set_broker_totals(
        self, order_id: int, price: float | None, commission: float | None, currency: str | None
    ) -> None:
        """Average filled price, and the commission reported so far (None until it is)."""
        self.connection.execute(
            update(broker_orders)
            .where(broker_orders.c.id == order_id)
            .values(filled_price=price, commission=commission, commission_currency=currency)
        )

    # --- shared ---

    def _insert_legs(self, table: Table, order_id: int, legs: Sequence[OrderLeg]) -> None:
        self.connection.execute(
            insert(table),
            [
                {
                    "order_id": order_id,
                    "leg": number,
                    "instrument": leg.contract.instrument,
                    "contract": leg.contract.date,
                    "trade": leg.trade,
                }
                for number, leg in enumerate(legs)
            ],
        )

    def _fill_leg(self, table: Table, order_id: int, leg: int, fill: int, price: float | None) -> None:
        self.connection.execute(
            update(table).where(table.c.order_id == order_id, table.c.leg == leg).values(fill=fill, filled_price=price)
        )

    def _legs(self, table: Table, order_ids: Iterable[int]) -> dict[int, tuple[OrderLeg, ...]]:
        query = select(table).where(table.c.order_id.in_(list(order_ids))).order_by(table.c.order_id, table.c.leg)
        found: dict[int, list[OrderLeg]] = {}
        for row in self.connection.execute(query):
            leg = OrderLeg(Contract(row.instrument, row.contract), row.trade, row.fill, row.filled_price)
            found.setdefault(row.order_id, []).append(leg)
        return {order_id: tuple(legs) for order_id, legs in found.items()}

    def _contract_orders(self, query: Select[Any]) -> list[ContractOrder]:
        rows = self.connection.execute(query).all()
        legs = self._legs(contract_order_legs, [row.id for row in rows])
        return [
            ContractOrder(
                strategy=row.strategy,
                instrument=row.instrument,
                legs=legs[row.id],
                order_type=InstrumentOrderType(row.order_type),
                generated_at=row.generated_at,
                reference_price=row.reference_price,
                roll_order=row.roll_order,
                algo_to_use=row.algo_to_use,
                sequence=row.sequence,
                id=row.id,
                parent_id=row.parent_id,
            )
            for row in rows
        ]

    def _broker_orders(self, query: Select[Any]) -> list[BrokerOrder]:
        rows = self.connection.execute(query).all()
        legs = self._legs(broker_order_legs, [row.id for row in rows])
        return [
            BrokerOrder(
                order_ref=row.order_ref,
                parent_id=row.parent_id,
                strategy=row.strategy,
                instrument=row.instrument,
                legs=legs[row.id],
                order_type=row.order_type,
                algo_used=row.algo_used,
                broker=row.broker,
                created_at=row.created_at,
                status=BrokerOrderStatus(row.status),
                limit_price=None if row.limit_price is None else Decimal(row.limit_price),
                side_price=row.side_price,
                mid_price=row.mid_price,
                offside_price=row.offside_price,
                roll_order=row.roll_order,
                submitted_at=row.submitted_at,
                cancel_requested_at=row.cancel_requested_at,
                algo_state=row.algo_state,
                id=row.id,
            )
            for row in rows
        ]


def _instrument_order(row: Row[Any]) -> InstrumentOrder:
    return InstrumentOrder(
        strategy=row.strategy,
        instrument=row.instrument,
        trade=row.trade,
        order_type=InstrumentOrderType(row.order_type),
        generated_at=row.generated_at,
        reference_price=row.reference_price,
        reference_contract=row.reference_contract,
        reference_time=row.reference_time,
        roll_order=row.roll_order,
        manual_trade=row.manual_trade,
        note=row.note,
        id=row.id,
        fill=row.fill,
        filled_price=row.filled_price,
    )


def _end(orders: Orders, table: Table, order_id: int, status: OrderStatus, at: datetime, note: str) -> None:
    values: dict[str, Any] = {"active": False, "status": status.value, "completed_at": at}
    if note:
        values["note"] = note
    orders.connection.execute(update(table).where(table.c.id == order_id).values(**values))
