"""What must hold whatever died when."""

from collections import Counter
from typing import Any

from sqlalchemy import select

from pysys.desk import Desk
from pysys.execution.fates import resolve_fates
from pysys.execution.fills import pull_fills
from pysys.execution.position_sums import strategies_less_contracts, unexplained
from pysys.store import schema
from tests.crash.scenario import happened
from tests.execution.plain_ledger import Books


def recover_and_check(desk: Desk, *, finished: bool = False) -> dict[str, Any]:
    """Do what every start does before trading, then compare ledger and broker; what there was. Raises AssertionError.

    finished: the scenario is over, so every family must be complete as well.
    """
    pull_fills(desk, desk.clock.now())
    resolve_fates(desk)
    pull_fills(desk, desk.clock.now())
    executions = desk.broker.fills_since(None)
    books = Books.read(desk.store, desk.config)
    books.compare(executions, {})
    _check_orders(books, executions)
    with desk.store.read() as unit:
        assert unit.positions.contract_positions() == desk.broker.positions()
        apart = strategies_less_contracts(unit, desk.config)
        assert unexplained(unit, apart) == {}
        limits = unit.trade_limits.all(desk.clock.now())
        commands = unit.connection.execute(select(schema.commands)).all()
        events = unit.connection.execute(select(happened)).all()
    for limit in limits:
        assert limit.used == books.used(limit), limit
    _check_events(books, events)
    _check_commands(books, commands)
    if finished:
        books.everything_is_over()
        assert {order.status for order in books.orders.values()} <= {"filled", "cancelled", "rejected"}
        assert desk.broker.working_orders() == []
        assert apart == {}
        assert all(command.status in ("done", "refused") for command in commands)
    return _counts(books, commands)


def _check_orders(books: Books, executions: list[Any]) -> None:
    """Nothing traded under a reference that was not written down first."""
    assert len(books.by_ref) == len(books.orders)
    assert {one.order_ref for one in executions if not one.order_ref.startswith("expiry:")} <= set(books.by_ref)


def _check_events(books: Books, events: list[Any]) -> None:
    """Each order that was asked for is there once, for the strategy that asked."""
    asked = {event.order_id: event for event in events if event.order_id is not None}
    for order_id, event in asked.items():
        family = books.families[order_id]
        assert (family.strategy, family.instrument) == (event.strategy, event.instrument)
    others = [family for family in books.families.values() if family.id not in asked and not family.manual_trade]
    assert all(family.order_type == "Zero-roll-order" for family in others), others


def _check_commands(books: Books, commands: list[Any]) -> None:
    """What a person asked for was done once, or refused."""
    done = Counter(command.name for command in commands if command.status == "done")
    assert sum(family.manual_trade for family in books.families.values()) == done["manual_order"]
    assert {command.status for command in commands} <= {"asked", "done", "refused"}


def _counts(books: Books, commands: list[Any]) -> dict[str, Any]:
    roll_orders = [order for order in books.orders.values() if order.roll_order]
    return {
        "instrument_orders": len(books.families),
        "contract_orders": len(books.children),
        "broker_orders": len(books.orders),
        "of_rolls": len(roll_orders),
        "of_several_legs": sum(len(legs) > 1 for legs in books.order_legs.values()),
        "cancelled": sum(order.status == "cancelled" for order in books.orders.values()),
        "fills": len(books.rows["fills"]),
        "commands": dict(Counter(f"{command.name} {command.status}" for command in commands)),
        "held_back_by_a_trade_limit": sum("trade_limit" in child.note for child in books.children.values()),
    }
