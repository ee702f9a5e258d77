"""What must hold whatever died when."""

from collections import Counter
from typing import Any

from sqlalchemy import select

from pysys.desk import Desk
from pysys.execution.fates import resolve_fates
from pysys.execution.fills import pull_fills
from pysys.store import schema


def recover_and_check(desk: Desk, *, finished: bool = False) -> dict[str, int]:
    """Do what every start does before trading, then compare ledger and broker. Raises AssertionError.

    finished: the scenario is over, so every family must be complete as well.
    """
    pull_fills(desk, desk.clock.now())
    resolve_fates(desk)
    pull_fills(desk, desk.clock.now())
    executions = desk.broker.fills_since(None)
    with desk.store.read() as unit:
        read = unit.connection.execute
        fills = read(select(schema.fills)).all()
        broker_orders = read(select(schema.broker_orders)).all()
        contract_legs = read(select(schema.contract_order_legs)).all()
        broker_legs = read(
            select(schema.broker_order_legs, schema.broker_orders.c.parent_id, schema.broker_orders.c.status).join(
                schema.broker_orders, schema.broker_orders.c.id == schema.broker_order_legs.c.order_id
            )
        ).all()
        active = read(select(schema.instrument_orders).where(schema.instrument_orders.c.active)).all()
        contracts = unit.positions.contract_positions()
        strategies = unit.positions.strategy_positions()
    _check_fills(fills, executions)
    _check_orders(broker_orders, executions)
    _check_never_more_than_ordered(contract_legs, broker_legs)
    assert contracts == desk.broker.positions()
    _check_strategies(contracts, strategies)
    if finished:
        assert active == []
        assert {order.status for order in broker_orders} <= {"filled", "cancelled", "rejected"}
        assert desk.broker.working_orders() == []
    return {"broker_orders": len(broker_orders), "fills": len(fills), "contracts": sum(map(abs, contracts.values()))}


def _check_fills(fills: list[Any], executions: list[Any]) -> None:
    """Every execution once, none that is not the broker's, each with its own quantity and price."""
    ours = Counter((fill.execution_id, fill.contract, fill.quantity, fill.price) for fill in fills)
    theirs = Counter((one.execution_id, one.contract.date, one.quantity, one.price) for one in executions)
    assert ours == theirs
    assert max(ours.values(), default=1) == 1


def _check_orders(broker_orders: list[Any], executions: list[Any]) -> None:
    """Nothing traded under a reference that was not written down first."""
    written = {order.order_ref for order in broker_orders}
    assert len(written) == len(broker_orders)
    traded = {one.order_ref for one in executions if not one.order_ref.startswith("expiry:")}
    assert traded <= written


def _check_never_more_than_ordered(contract_legs: list[Any], broker_legs: list[Any]) -> None:
    """Filled and possibly working together never exceed what the contract order asked for."""
    exposed: Counter[tuple[int, str]] = Counter()
    for leg in broker_legs:
        alive = leg.status in ("intended", "working")
        exposed[leg.parent_id, leg.contract] += abs(leg.trade) if alive else abs(leg.fill)
    for leg in contract_legs:
        assert exposed[leg.order_id, leg.contract] <= abs(leg.trade), (leg, exposed[leg.order_id, leg.contract])


def _check_strategies(contracts: dict[Any, int], strategies: dict[tuple[str, str], int]) -> None:
    by_instrument: Counter[str] = Counter()
    for contract, position in contracts.items():
        by_instrument[contract.instrument] += position
    for (_, instrument), position in strategies.items():
        by_instrument[instrument] -= position
    assert not any(by_instrument.values()), by_instrument
