"""Fills, and the positions that follow from them."""

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Table, and_, delete, func, insert, select, update

from pysys.domain.contracts import Contract
from pysys.domain.netting import NETTED
from pysys.domain.orders import Fill, InstrumentOrder
from pysys.store.repository import Repository, new_id
from pysys.store.schema import (
    broker_orders,
    contract_orders,
    contract_position_history,
    contract_positions,
    fills,
    strategy_position_history,
    strategy_positions,
)


class Positions(Repository):
    """Fills are appended once; positions move by them and are never set."""

    def settled_executions(self, heard: Sequence[Fill]) -> set[tuple[str, str]]:
        """(broker, execution id) of those fills that teach nothing: stored, and with a commission if one was heard."""
        if not heard:
            return set()
        since = min(fill.filled_at for fill in heard)
        query = select(fills.c.broker, fills.c.execution_id, fills.c.commission.is_not(None))
        stored = {(row[0], row[1]): row[2] for row in self.connection.execute(query.where(fills.c.filled_at >= since))}
        keys = {(fill.broker, fill.execution_id): fill.commission is None for fill in heard}
        return {key for key, has_no_fee in keys.items() if key in stored and (stored[key] or has_no_fee)}

    def append_fill_once(
        self, fill: Fill, *, strategy: str, broker_order_id: int | None, recorded_at: datetime
    ) -> int | None:
        """Store a fill and return its id; None when it was already known.

        A commission that was not known at first is added when the same fill is heard again.
        """
        known = self.connection.execute(select(fills.c.id, fills.c.commission).where(_is_execution(fill))).one_or_none()
        if known is not None:
            if known.commission is None and fill.commission is not None:
                self._add_commission(fill, fill.commission)
            return None
        result = self.connection.execute(
            insert(fills).values(
                broker=fill.broker,
                execution_id=fill.execution_id,
                order_ref=fill.order_ref,
                broker_order_id=broker_order_id,
                strategy=strategy,
                instrument=fill.contract.instrument,
                contract=fill.contract.date,
                quantity=fill.quantity,
                price=fill.price,
                commission=fill.commission,
                commission_currency=fill.commission_currency,
                filled_at=fill.filled_at,
                recorded_at=recorded_at,
                corrects=fill.corrects,
                reverses=fill.reverses,
                **self.audit,
            )
        )
        return new_id(result)

    def _add_commission(self, fill: Fill, commission: float) -> None:
        """Book a commission that came late; what took the fill back gives it back."""
        currency = fill.commission_currency
        self.connection.execute(
            update(fills).where(_is_execution(fill)).values(commission=commission, commission_currency=currency)
        )
        taken_back = and_(fills.c.broker == fill.broker, fills.c.reverses == fill.execution_id)
        self.connection.execute(
            update(fills)
            .where(taken_back, fills.c.order_ref == fill.order_ref, fills.c.commission.is_(None))
            .values(commission=-commission, commission_currency=currency)
        )

    def execution(self, broker: str, execution_id: str) -> Fill | None:
        """A stored fill by its identity."""
        found = self._stored(fills.c.broker == broker, fills.c.execution_id == execution_id)
        return found[0] if found else None

    def booked_on(self, broker: str, execution_id: str) -> int | None:
        """The broker order a stored fill was booked on; None for one of no order of ours."""
        query = select(fills.c.broker_order_id).where(fills.c.broker == broker, fills.c.execution_id == execution_id)
        found: int | None = self.connection.execute(query).scalar_one()
        return found

    def is_reversed(self, broker: str, order_refs: Collection[str], execution_id: str) -> bool:
        """Whether a fill with one of these references took an execution back."""
        return bool(self._stored(*_of_orders(broker, order_refs), fills.c.reverses == execution_id))

    def corrections_of(self, broker: str, order_refs: Collection[str], execution_id: str) -> list[Fill]:
        """The fills with one of these references that replace an execution, oldest first."""
        return self._stored(*_of_orders(broker, order_refs), fills.c.corrects == execution_id)

    def _stored(self, *where: ColumnElement[bool]) -> list[Fill]:
        return [
            Fill(
                broker=row.broker,
                execution_id=row.execution_id,
                order_ref=row.order_ref,
                contract=Contract(row.instrument, row.contract),
                quantity=row.quantity,
                price=row.price,
                filled_at=row.filled_at,
                commission=row.commission,
                commission_currency=row.commission_currency,
                corrects=row.corrects,
                reverses=row.reverses,
            )
            for row in self.connection.execute(select(fills).where(*where).order_by(fills.c.id))
        ]

    def oldest_fill_without_commission(self, broker: str, since: datetime) -> datetime | None:
        """When this broker made the oldest fill after `since` whose commission is not known yet; None when all are."""
        query = select(func.min(fills.c.filled_at)).where(fills.c.filled_at >= since, fills.c.commission.is_(None))
        query = query.where(fills.c.broker == broker)
        oldest: datetime | None = self.connection.execute(query).scalar_one()
        return oldest

    def fills_without_commission(self, before: datetime, *, untold: bool = False) -> Sequence[Any]:
        """Rows of fills made before then whose commission is not known, oldest first; untold: that no alert was for."""
        query = (
            select(fills).where(fills.c.filled_at < before, fills.c.commission.is_(None)).order_by(fills.c.filled_at)
        )
        return self.connection.execute(query.where(fills.c.fee_missed_at.is_(None)) if untold else query).all()

    def put_alert(self, fill_id: int, alert: str) -> None:
        """Keep what a person should know of a fill, until `told_alerts` says that it was said."""
        self.connection.execute(update(fills).where(fills.c.id == fill_id).values(alert=alert))

    def untold_alerts(self) -> dict[int, str]:
        """By fill id, what a person should know of it and has not been told."""
        query = select(fills.c.id, fills.c.alert).where(fills.c.alert.is_not(None), fills.c.alert_told_at.is_(None))
        return {row[0]: row[1] for row in self.connection.execute(query.order_by(fills.c.id))}

    def told_alerts(self, fill_ids: Sequence[int], at: datetime) -> None:
        """Note that a person was told of these."""
        self.connection.execute(update(fills).where(fills.c.id.in_(fill_ids)).values(alert_told_at=at))

    def tell_commission_missing(self, fill_ids: Sequence[int], at: datetime) -> None:
        """Note that a person was told of these."""
        self.connection.execute(update(fills).where(fills.c.id.in_(fill_ids)).values(fee_missed_at=at))

    def fills_of_order(self, broker_order_id: int) -> Sequence[Any]:
        """Rows (execution_id, reverses, instrument, contract, quantity, price, commission, commission_currency,
        filled_at) of one broker order, in the order they were recorded."""
        return self.connection.execute(
            select(fills).where(fills.c.broker_order_id == broker_order_id).order_by(fills.c.id)
        ).all()

    def last_fill_time(self, broker: str) -> datetime | None:
        """When this broker made the last fill we have; None when it made none."""
        query = select(fills.c.filled_at).where(fills.c.broker == broker).order_by(fills.c.filled_at.desc()).limit(1)
        last: datetime | None = self.connection.execute(query).scalar_one_or_none()
        return last

    def fill_totals(self) -> tuple[int, int]:
        """(number of fills, contracts traded) since the beginning."""
        query = select(func.count(), func.coalesce(func.sum(func.abs(fills.c.quantity)), 0))
        count, contracts = self.connection.execute(query).one()
        return int(count), int(contracts)

    # --- contract positions ---

    def contract_positions(self) -> dict[Contract, int]:
        """Open positions by contract; flat ones are absent."""
        query = select(contract_positions).order_by(contract_positions.c.instrument, contract_positions.c.contract)
        return {Contract(row.instrument, row.contract): row.position for row in self.connection.execute(query)}

    def contract_position(self, contract: Contract) -> int:
        table = contract_positions.c
        query = select(table.position).where(table.instrument == contract.instrument, table.contract == contract.date)
        return self.connection.execute(query).scalar_one_or_none() or 0

    def move_contract(self, contract: Contract, change: int, *, at: datetime, fill_id: int | None, reason: str) -> int:
        """Change a contract position and keep the step; the new position."""
        key = {"instrument": contract.instrument, "contract": contract.date}
        return self._move(
            contract_positions,
            contract_position_history,
            key,
            change,
            at,
            {"fill_id": fill_id, "reason": reason},
        )

    # --- strategy positions ---

    def strategy_positions(self) -> dict[tuple[str, str], int]:
        """Open positions by (strategy, instrument); flat ones are absent."""
        query = select(strategy_positions).order_by(strategy_positions.c.strategy, strategy_positions.c.instrument)
        return {(row.strategy, row.instrument): row.position for row in self.connection.execute(query)}

    def move_strategy(
        self,
        strategy: str,
        instrument: str,
        change: int,
        *,
        at: datetime,
        price: float | None,
        fill_id: int | None,
        reason: str,
    ) -> int:
        key = {"strategy": strategy, "instrument": instrument}
        details = {"fill_id": fill_id, "reason": reason, "price": price}
        return self._move(strategy_positions, strategy_position_history, key, change, at, details)

    def booked_for(self, order: InstrumentOrder) -> float | None:
        """Sum of quantity x price by which fills of an instrument order moved its strategy; None if one is blank."""
        history, sent, child = strategy_position_history.c, broker_orders.c, contract_orders.c
        query = (
            select(history.change, history.price)
            .join_from(contract_orders, broker_orders, sent.parent_id == child.id)
            .join(fills, fills.c.broker_order_id == sent.id)
            .join(strategy_position_history, history.fill_id == fills.c.id)
            .where(child.parent_id == order.id)
            .where(history.strategy == order.strategy, history.instrument == order.instrument)
        )
        steps = self.connection.execute(query).all()
        known = [row.change * row.price for row in steps if row.price is not None]
        return sum(known, 0.0) if len(known) == len(steps) else None

    def netted(self, since: datetime | None = None) -> Sequence[Any]:
        """Rows (strategy, instrument, time, change, position, price) of what strategies traded with each other."""
        history = strategy_position_history.c
        query = select(strategy_position_history).where(history.reason == NETTED).order_by(history.id)
        return self.connection.execute(query if since is None else query.where(history.time >= since)).all()

    def _move(
        self,
        table: Table,
        history: Table,
        key: dict[str, str],
        change: int,
        at: datetime,
        details: dict[str, Any],
    ) -> int:
        matches = [table.c[name] == value for name, value in key.items()]
        held = self.connection.execute(select(table.c.position).where(*matches)).scalar_one_or_none()
        position = change if held is None else held + change
        if position == 0:
            self.connection.execute(delete(table).where(*matches))
        elif held is None:
            self.connection.execute(insert(table).values(**key, position=position, updated_at=at))
        else:
            self.connection.execute(update(table).where(*matches).values(position=position, updated_at=at))
        self.connection.execute(
            insert(history).values(**key, time=at, change=change, position=position, **details, **self.audit)
        )
        return position


def _of_orders(broker: str, order_refs: Collection[str]) -> tuple[ColumnElement[bool], ...]:
    return fills.c.order_ref.in_(order_refs), fills.c.broker == broker


def _is_execution(fill: Fill) -> ColumnElement[bool]:
    return and_(fills.c.broker == fill.broker, fills.c.execution_id == fill.execution_id)
