"""The three order stacks. Orders stay in their tables for good; `active` says which are still being worked."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any, TypeVar

from sqlalchemy import Row, Select, Table, and_, case, func, insert, or_, select, union, update

from pysys.domain.conditions import condition_to_json
from pysys.domain.contracts import Contract
from pysys.domain.order_states import OrderEvent, apply_to_order
from pysys.domain.orders import (
    BrokerIds,
    BrokerOrder,
    BrokerOrderStatus,
    ContractOrder,
    InstrumentOrder,
    OrderLeg,
    OrderStatus,
)
from pysys.store.order_rows import broker_order_of, contract_order_of, instrument_order_of
from pysys.store.repository import Repository, new_id
from pysys.store.schema import (
    broker_order_legs,
    broker_orders,
    contract_order_legs,
    contract_orders,
    instrument_orders,
)
from pysys.store.unreadable import CANNOT_BE_READ, UnreadableRow, faulty_instruments

Read = TypeVar("Read", InstrumentOrder, ContractOrder, BrokerOrder)


class Orders(Repository):
    """Reads and writes orders of every level; the caller decides what should happen to them.

    Whoever reads a whole stack gets UnreadableRow for a row that cannot be read, until its instrument is locked for
    that fault; then the row is left out, and holds up no other instrument.
    """

    def active_instruments(self) -> list[str]:
        """Instruments with something on any of the three stacks."""
        stacks = (instrument_orders, contract_orders, broker_orders)
        query = union(*(select(table.c.instrument).where(table.c.active) for table in stacks))
        return sorted(self.connection.execute(query).scalars())

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
                    limit_price=order.limit_price,
                    limit_contract=order.limit_contract,
                    condition=condition_to_json(order.condition),
                    reference_price=order.reference_price,
                    reference_contract=order.reference_contract,
                    reference_time=order.reference_time,
                    generated_at=order.generated_at,
                    manual_trade=order.manual_trade,
                    roll_order=order.roll_order,
                    note=order.note,
                    guard_overridden=order.guard_overridden if order.guard_overridden else None,
                    **self.audit,
                )
            )
        )

    def active_instrument_orders(self) -> list[InstrumentOrder]:
        query = select(instrument_orders).where(instrument_orders.c.active).order_by(instrument_orders.c.id)
        return self._apart_from_faults(self._instrument_orders, query, instrument_orders)

    def instrument_order(self, order_id: int) -> InstrumentOrder:
        return self._instrument_orders(select(instrument_orders).where(instrument_orders.c.id == order_id))[0]

    def unfilled_by_strategy_instrument(self) -> dict[tuple[str, str], int]:
        """Contracts still to be filled of active orders, summed per (strategy, instrument).

        Left out are an order that still waits for its price, because it may never trade, and what contract orders that
        have ended would have filled.
        """
        table = instrument_orders.c
        query = (
            select(table.strategy, table.instrument, func.sum(table.trade - table.fill))
            .where(table.active, or_(table.condition.is_(None), _has_child().exists()))
            .group_by(table.strategy, table.instrument)
        )
        left = {(row[0], row[1]): int(row[2]) for row in self.connection.execute(query)}
        child, leg = contract_orders.c, contract_order_legs.c
        ended = (
            select(table.strategy, table.instrument, func.sum(leg.trade - leg.fill))
            .join_from(instrument_orders, contract_orders, child.parent_id == table.id)
            .join(contract_order_legs, leg.order_id == child.id)
            .where(table.active, ~table.roll_order, ~child.active, child.instrument == table.instrument)
            .group_by(table.strategy, table.instrument)
        )
        for strategy, instrument, never in self.connection.execute(ended):
            left[strategy, instrument] -= int(never)
        return left

    def without_children(self, *, locked_too: bool = False) -> list[InstrumentOrder]:
        """Active instrument orders no contract order has been made for; those that are locked only when asked for."""
        query = (
            select(instrument_orders)
            .where(instrument_orders.c.active, ~_has_child().exists())
            .order_by(instrument_orders.c.id)
        )
        if not locked_too:
            query = query.where(~instrument_orders.c.locked)
        return self._apart_from_faults(self._instrument_orders, query, instrument_orders)

    def fill_instrument_order(self, order_id: int, fill: int, price: float | None, at: datetime) -> None:
        """Set the total filled, its average price and the time of the last fill."""
        self.connection.execute(
            update(instrument_orders)
            .where(instrument_orders.c.id == order_id)
            .values(fill=fill, filled_price=price, filled_at=at)
        )

    def set_waiting(self, order_id: int, why: str) -> None:
        """Say why an order has no contract order yet; blank when it has."""
        self.connection.execute(
            update(instrument_orders).where(instrument_orders.c.id == order_id).values(waits_for=why)
        )

    def change_trade(self, order_id: int, trade: int, note: str) -> None:
        """Change the size of an order that has no contract order yet, and say why."""
        self.connection.execute(
            update(instrument_orders).where(instrument_orders.c.id == order_id).values(trade=trade, note=note)
        )

    def set_note(self, order_id: int, note: str) -> None:
        self.connection.execute(update(instrument_orders).where(instrument_orders.c.id == order_id).values(note=note))

    def legs_held_for_others(self) -> dict[tuple[str, Contract], int]:
        """Contracts held for an instrument order of another instrument, a spread: by (that instrument, contract)."""
        parent, child, leg = instrument_orders.c, contract_orders.c, contract_order_legs.c
        total = func.sum(leg.fill)
        query = (
            select(parent.instrument, leg.instrument.label("market"), leg.contract, total)
            .join_from(contract_order_legs, contract_orders, child.id == leg.order_id)
            .join(instrument_orders, parent.id == child.parent_id)
            .where(parent.instrument != child.instrument)
            .group_by(parent.instrument, leg.instrument, leg.contract)
            .having(total != 0)
        )
        rows = self.connection.execute(query)
        return {(owner, Contract(market, date)): int(held) for owner, market, date, held in rows}

    def end_instrument_order(self, order_id: int, status: OrderStatus, at: datetime, note: str = "") -> None:
        """Deactivate an order: it leaves the stack and stays in the history. One that has ended stays as it ended."""
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
                    limit_price=order.limit_price,
                    reference_price=order.reference_price,
                    generated_at=order.generated_at,
                    roll_order=order.roll_order,
                    inter_spread_order=order.inter_spread_order,
                    manual_trade=order.manual_trade,
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
        return self._apart_from_faults(self._contract_orders, query, contract_orders)

    def contract_order(self, order_id: int) -> ContractOrder:
        return self._contract_orders(select(contract_orders).where(contract_orders.c.id == order_id))[0]

    def open_contract_order(self, order_id: int) -> ContractOrder | None:
        """A contract order that is still on the stack; None when it has ended."""
        table = contract_orders.c
        found = self._contract_orders(select(contract_orders).where(table.id == order_id, table.active))
        return found[0] if found else None

    def children(self, instrument_order_ids: Sequence[int]) -> dict[int, list[ContractOrder]]:
        """Contract orders of these instrument orders, by parent."""
        query = select(contract_orders).where(contract_orders.c.parent_id.in_(instrument_order_ids))
        found: dict[int, list[ContractOrder]] = {}
        for child in self._contract_orders(query.order_by(contract_orders.c.id)):
            found.setdefault(child.parent_id, []).append(child)
        return found

    def families_to_advance(self) -> bool:
        """Whether an active family has no children at work: none yet, or filled to the last leg, or ended."""
        parent, child, leg = instrument_orders.c, contract_orders.c, contract_order_legs.c
        of_family = child.parent_id == parent.id
        unfilled = select(leg.order_id).join(contract_orders, child.id == leg.order_id)
        unfilled = unfilled.where(of_family, child.active, leg.fill * leg.trade < leg.trade * leg.trade)
        query = select(parent.id).where(parent.active, ~unfilled.exists()).limit(1)
        return self.connection.execute(query).first() is not None

    def fill_contract_order(
        self, order_id: int, legs: Mapping[int, OrderLeg], price: float | None, at: datetime
    ) -> None:
        """Set what is filled of these legs, by number, the average price of the order and the time of its last fill."""
        for number, leg in legs.items():
            self._fill_leg(contract_order_legs, order_id, number, leg.fill, leg.filled_price)
        self.connection.execute(
            update(contract_orders).where(contract_orders.c.id == order_id).values(filled_price=price, filled_at=at)
        )

    def complete_late(self, order: ContractOrder) -> None:
        """A fill has made a contract order whole that had ended without it: it is done after all."""
        self._after_the_end(contract_orders, order.id, OrderEvent.COMPLETED, status=OrderStatus.DONE.value)

    def complete_late_family(self, order_id: int) -> None:
        """The same for an instrument order."""
        note = "filled late, after it had ended"
        self._after_the_end(instrument_orders, order_id, OrderEvent.COMPLETED, status=OrderStatus.DONE.value, note=note)

    def reopen_family(self, order_id: int, waits_for: str) -> None:
        """Put an instrument order that has ended back on its stack; one that has not stays as it is."""
        values = {"active": True, "status": OrderStatus.OPEN.value, "completed_at": None, "waits_for": waits_for}
        self._after_the_end(instrument_orders, order_id, OrderEvent.LEFT_OWING, **values)

    def _after_the_end(self, table: Table, order_id: int, event: OrderEvent, **values: Any) -> None:
        """Change an order that has ended in a state the event moves; any other stays as it is."""
        moved = [status.value for status in OrderStatus if apply_to_order(status, event) is not status]
        query = update(table).where(table.c.id == order_id, ~table.c.active, table.c.status.in_(moved))
        self.connection.execute(query.values(**values))

    def note_contract_orders(self, notes: Mapping[int, str]) -> None:
        """Set the note of each of these orders."""
        for order_id, note in notes.items():
            self.connection.execute(update(contract_orders).where(contract_orders.c.id == order_id).values(note=note))

    def possibly_traded(self, order_id: int) -> dict[Contract, int]:
        """What a contract order's broker orders have filled, or still may, by contract: signed.

        A broker order may have fewer legs than its contract order, so legs are told apart by what they trade.
        """
        order, leg = broker_orders.c, broker_order_legs.c
        may_fill = and_(order.active, func.abs(leg.fill) < func.abs(leg.trade))
        query = select(leg.instrument, leg.contract, func.sum(case((may_fill, leg.trade), else_=leg.fill)))
        query = query.join(broker_orders, order.id == leg.order_id).where(order.parent_id == order_id)
        rows = self.connection.execute(query.group_by(leg.instrument, leg.contract))
        return {Contract(instrument, date): int(traded) for instrument, date, traded in rows}

    def attempts_without_fill(self, order_ids: Sequence[int]) -> dict[int, tuple[int, int, datetime]]:
        """(broker orders, rejected ones among them, when the last was written) that ended since the last fill without
        one, by contract order; those without any are absent.
        """
        table = broker_orders.c
        filled = (
            select(table.parent_id, func.max(table.id).label("last"))
            .where(table.parent_id.in_(order_ids), table.filled_at.is_not(None))
            .group_by(table.parent_id)
            .subquery()
        )
        ended = func.sum(case((table.active, 0), else_=1))
        rejected = func.sum(case((table.status == BrokerOrderStatus.REJECTED.value, 1), else_=0))
        query = (
            select(table.parent_id, ended, rejected, func.max(table.created_at))
            .join_from(broker_orders, filled, filled.c.parent_id == table.parent_id, isouter=True)
            .where(table.parent_id.in_(order_ids), table.id > func.coalesce(filled.c.last, 0))
        )
        rows = self.connection.execute(query.group_by(table.parent_id))
        return {row[0]: (int(row[1]), int(row[2]), row[3]) for row in rows}

    def end_contract_order(self, order_id: int, status: OrderStatus, at: datetime, note: str = "") -> None:
        """Deactivate an order, as `end_instrument_order` does."""
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
        return self._apart_from_faults(self._broker_orders, query, broker_orders)

    def broker_order(self, order_id: int) -> BrokerOrder:
        return self._broker_orders(select(broker_orders).where(broker_orders.c.id == order_id))[0]

    def broker_order_by_ref(self, order_ref: str) -> BrokerOrder | None:
        found = self._broker_orders(select(broker_orders).where(broker_orders.c.order_ref == order_ref))
        return found[0] if found else None

    def broker_order_by_permanent_id(self, broker: str, permanent_id: str) -> BrokerOrder | None:
        """The order a broker knows by this id; None without an id, or when no order of ours was told it."""
        if not permanent_id:
            return None
        table = broker_orders.c
        query = select(broker_orders).where(table.broker_permid == permanent_id, table.broker == broker)
        found = self._broker_orders(query.order_by(table.id))
        return found[-1] if found else None

    def count_broker_orders(self, contract_order_id: int, status: BrokerOrderStatus | None = None) -> int:
        """How many broker orders a contract order has had, dead ones included; of one status when given."""
        query = select(func.count()).where(broker_orders.c.parent_id == contract_order_id)
        if status is not None:
            query = query.where(broker_orders.c.status == status.value)
        return int(self.connection.execute(query).scalar_one())

    def update_broker_order(
        self,
        order_id: int,
        *,
        status: BrokerOrderStatus | None = None,
        ids: BrokerIds | None = None,
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
            **({} if ids is None else _columns_of(ids)),
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

    def fill_broker_order(
        self,
        order: BrokerOrder,
        legs: Mapping[int, OrderLeg],
        *,
        price: float | None,
        commission: float | None,
        currency: str | None,
        at: datetime,
        active: bool,
    ) -> None:
        """Set what is filled of these legs, by number, and what follows: the average price, the commission so far (None
        until all of it is reported), the state of `order`, and whether anything may still come.
        """
        for number, leg in legs.items():
            self._fill_leg(broker_order_legs, order.id, number, leg.fill, leg.filled_price)
        values: dict[str, Any] = {
            "filled_price": price,
            "commission": commission,
            "commission_currency": currency,
            "filled_at": at,
            "status": order.status.value,
        }
        if not active:
            values["active"] = False
        self.connection.execute(update(broker_orders).where(broker_orders.c.id == order.id).values(**values))

    def oldest_active_broker_order(self, broker: str) -> datetime | None:
        """When the oldest order at this broker that is not settled was written; None without any."""
        table = broker_orders.c
        query = select(func.min(table.created_at)).where(table.active, table.broker == broker)
        oldest: datetime | None = self.connection.execute(query).scalar_one()
        return oldest

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

    def _with_legs(self, query: Select[Any], orders: Table, legs: Table) -> list[tuple[Row[Any], tuple[OrderLeg, ...]]]:
        """Rows of a query on `orders`, by id, each with its legs; read in one statement."""
        leg = legs.c
        columns = (
            leg.instrument.label("leg_instrument"),
            leg.contract.label("leg_contract"),
            leg.trade.label("leg_trade"),
            leg.fill.label("leg_fill"),
            leg.filled_price.label("leg_price"),
        )
        joined = query.add_columns(*columns).join_from(orders, legs, leg.order_id == orders.c.id)
        found: dict[int, tuple[Row[Any], list[OrderLeg]]] = {}
        for row in self.connection.execute(joined.order_by(None).order_by(orders.c.id, leg.leg)):
            _, own = found.setdefault(row.id, (row, []))
            contract = Contract(row.leg_instrument, row.leg_contract)
            own.append(OrderLeg(contract, row.leg_trade, row.leg_fill, row.leg_price))
        return [(row, tuple(own)) for row, own in found.values()]

    def _instrument_orders(self, query: Select[Any]) -> list[InstrumentOrder]:
        return [instrument_order_of(row) for row in self.connection.execute(query)]

    def _contract_orders(self, query: Select[Any]) -> list[ContractOrder]:
        found = self._with_legs(query, contract_orders, contract_order_legs)
        return [contract_order_of(row, legs) for row, legs in found]

    def _broker_orders(self, query: Select[Any]) -> list[BrokerOrder]:
        found = self._with_legs(query, broker_orders, broker_order_legs)
        return [broker_order_of(row, legs) for row, legs in found]

    def _apart_from_faults(
        self, read: Callable[[Select[Any]], list[Read]], query: Select[Any], table: Table
    ) -> list[Read]:
        """What `query` finds in an order table, read at once, or row by row when one of them cannot be read."""
        try:
            return read(query)
        except CANNOT_BE_READ:
            keys = self.connection.execute(query.with_only_columns(table.c.id, table.c.instrument)).all()
        known = faulty_instruments(self.connection)
        found: list[Read] = []
        for order_id, instrument in keys:
            try:
                found += read(query.where(table.c.id == order_id))
            except CANNOT_BE_READ as error:
                if instrument not in known:
                    raise UnreadableRow(instrument, f"row {order_id} of {table.name}", error) from error
        return found


def _columns_of(ids: BrokerIds) -> dict[str, Any]:
    """What the broker has said; None where it has not."""
    return {
        "broker_permid": ids.permanent_id if ids.permanent_id else None,
        "broker_account": ids.account if ids.account else None,
        "broker_clientid": ids.client_id,
        "broker_tempid": ids.temporary_id if ids.temporary_id else None,
    }


def _has_child() -> Select[Any]:
    return select(contract_orders.c.id).where(contract_orders.c.parent_id == instrument_orders.c.id)


def _end(orders: Orders, table: Table, order_id: int, status: OrderStatus, at: datetime, note: str) -> None:
    values: dict[str, Any] = {"active": False, "status": status.value, "completed_at": at}
    if note:
        values["note"] = note
    orders.connection.execute(update(table).where(table.c.id == order_id, table.c.active).values(**values))
