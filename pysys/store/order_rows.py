"""Rows of the order tables as orders."""

from decimal import Decimal
from typing import Any

from sqlalchemy import Row

from pysys.domain.conditions import condition_from_json
from pysys.domain.orders import (
    BrokerIds,
    BrokerOrder,
    BrokerOrderStatus,
    ContractOrder,
    InstrumentOrder,
    InstrumentOrderType,
    OrderLeg,
)


def instrument_order_of(row: Row[Any]) -> InstrumentOrder:
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
        limit_price=row.limit_price,
        limit_contract=row.limit_contract,
        condition=condition_from_json(row.condition),
        waits_for=row.waits_for,
        guard_overridden="" if row.guard_overridden is None else row.guard_overridden,
    )


def contract_order_of(row: Row[Any], legs: tuple[OrderLeg, ...]) -> ContractOrder:
    return ContractOrder(
        strategy=row.strategy,
        instrument=row.instrument,
        legs=legs,
        order_type=InstrumentOrderType(row.order_type),
        generated_at=row.generated_at,
        reference_price=row.reference_price,
        roll_order=row.roll_order,
        algo_to_use=row.algo_to_use,
        sequence=row.sequence,
        locked=row.locked,
        controlling_algo=row.controlling_algo,
        claimed_by=row.claimed_by,
        claim_heartbeat_at=row.claim_heartbeat_at,
        claim_until=row.claim_until,
        note=row.note,
        id=row.id,
        parent_id=row.parent_id,
        limit_price=row.limit_price,
        inter_spread_order=row.inter_spread_order,
        manual_trade=row.manual_trade,
    )


def broker_order_of(row: Row[Any], legs: tuple[OrderLeg, ...]) -> BrokerOrder:
    return BrokerOrder(
        order_ref=row.order_ref,
        parent_id=row.parent_id,
        strategy=row.strategy,
        instrument=row.instrument,
        legs=legs,
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
        ids=BrokerIds(
            permanent_id=row.broker_permid or "",
            account=row.broker_account or "",
            client_id=row.broker_clientid,
            temporary_id=row.broker_tempid or "",
        ),
        active=row.active,
        id=row.id,
    )
