"""A fault in one of three instruments: it is locked and told of once, with its traceback, and the others go on."""

import logging
from datetime import timedelta

import pytest

from pysys.domain.roll_states import RollState
from pysys.execution.stack_methods import StackHandler
from pysys.store.restrictions import FAULT
from tests.broker import paper_world as world
from tests.execution import stack

pytestmark = pytest.mark.incident("R1")


def change(trading, sql: str) -> None:
    """What a bad disk, a bad repair or a bad version does to one row."""
    with trading.desk.store.write() as unit:
        unit.connection.exec_driver_sql(sql)
        unit.commit()


def faults(trading) -> dict[str, str]:
    with trading.desk.store.read() as unit:
        return {lock.instrument: lock.why for lock in unit.restrictions.locks() if lock.owner == FAULT}


def unlock(trading, instrument: str) -> None:
    with trading.desk.store.write() as unit:
        unit.restrictions.unlock(instrument)
        unit.commit()


def told(caplog) -> list[logging.LogRecord]:
    return [r for r in caplog.records if r.levelno >= logging.CRITICAL and "BUND is locked" in r.getMessage()]


def only_bund_is_locked(trading, caplog, because: str) -> None:
    assert list(faults(trading)) == ["BUND"]
    assert because in faults(trading)["BUND"]
    (alert,) = told(caplog)
    assert alert.exc_info is not None and alert.instrument_code == "BUND"


def some_passes(trading) -> None:
    """Passes of the stack handler at this moment; orders are left working."""
    handler = StackHandler(trading.desk, trading.desk.clock.now() + timedelta(hours=4))
    for _ in range(4):
        handler.one_pass()


UNREADABLE = "a row cannot be read: UnreadableRow: "
UNTRADED, WORKING = False, True  # how far orders had come when the damage was done

# (when, the row, its damage, its repair, why the lock)
DAMAGE = {
    "instrument order": (
        UNTRADED, "UPDATE instrument_orders SET order_type = %s WHERE id = 2", "'b?st'", "'best'",
        UNREADABLE + "row 2 of instrument_orders cannot be read (ValueError: 'b?st' is not",
    ),
    "condition cut off": (
        UNTRADED, "UPDATE instrument_orders SET condition = %s WHERE id = 2", "'{'", "NULL", UNREADABLE
    ),
    "condition of no contract": (
        UNTRADED, "UPDATE instrument_orders SET condition = %s WHERE id = 2",
        """'{"when": "below", "price": 1, "contract": "2024"}'""", "NULL", "making its contract orders failed",
    ),
    "roll state": (
        UNTRADED, "UPDATE roll_states SET state = %s WHERE instrument = 'BUND'", "'Sideways'", "'Passive'",
        UNREADABLE + "roll state 'Sideways' cannot be read",
    ),
    "contract order": (
        WORKING, "UPDATE contract_orders SET limit_price = %s WHERE id = 2", "'10O'", "NULL",
        UNREADABLE + "row 2 of contract_orders",
    ),
    "leg of one": (
        WORKING, "UPDATE contract_order_legs SET contract = %s WHERE order_id = 2", "'2024'", "'20240600'", UNREADABLE
    ),
    "broker order": (
        WORKING, "UPDATE broker_orders SET limit_price = %s WHERE id = 2", "'ten'", "NULL",
        UNREADABLE + "row 2 of broker_orders",
    ),
    "memory of one": (
        WORKING, "UPDATE broker_orders SET algo_state = %s WHERE id = 2", """'{"ended_at": "yesterday"}'""", "'{}'",
        "learning what became of its orders failed: ValueError: Invalid isoformat string: 'yesterday'",
    ),
}  # fmt: skip


@pytest.mark.parametrize("row", DAMAGE)
def test_a_damaged_row_in_the_middle_holds_up_its_own_instrument_only(trading_on_sqlite, caplog, row):
    trading = trading_on_sqlite
    come_so_far, sql, damage, repair, why = DAMAGE[row]
    trading.roll_state("BUND", RollState.PASSIVE, world.BUND_MAR.date)
    for code, trade in (("GOLD", 2), ("BUND", 40), ("NIKKEI", 2)):
        trading.order(code, trade)
    if come_so_far is WORKING:
        some_passes(trading)
    change(trading, sql % damage)

    result = trading.work(minutes=45)

    held = trading.positions()
    assert (held["GOLD/20240400"], held["NIKKEI/20240600"]) == (2, 2)
    assert trading.strategy_positions()["trend", "NIKKEI"] == 2
    only_bund_is_locked(trading, caplog, why)
    assert not [t for t, _ in trading.desk.broker.working_orders()]  # what could be cancelled was, unread
    with pytest.raises(Exception, match=r"locked until a person unlocks them: BUND|what became of order 2-1"):
        result.raise_if_incomplete()

    change(trading, sql % repair)
    unlock(trading, "BUND")
    trading.work(hours=1)
    assert faults(trading) == {}
    trading.assert_in_balance()


def test_a_fault_while_families_end_ends_the_others(trading_on_sqlite, caplog):
    trading = trading_on_sqlite
    for code in ("GOLD", "BUND", "NIKKEI"):
        trading.order(code, 1, order_type="market")
    some_passes(trading)
    change(trading, "UPDATE contract_orders SET order_type = 'm' WHERE instrument = 'BUND' AND NOT active")
    change(trading, "UPDATE instrument_orders SET active = 1 WHERE instrument = 'BUND'")
    trading.order("GOLD", 1, order_type="market")

    trading.work(minutes=5)

    only_bund_is_locked(trading, caplog, "ending its orders failed")
    assert [each.instrument for each in stack.stack(trading)] == ["BUND"]


def test_a_fault_while_a_roll_is_forced_leaves_the_other_rolls_alone(trading_on_sqlite, caplog):
    trading = trading_on_sqlite
    for code, priced in (("GOLD", world.GOLD_APR), ("BUND", world.BUND_MAR)):
        stack.hold(trading, {priced: 1})
        trading.roll_state(code, RollState.FORCE, priced.date)
    damaged = "(SELECT id FROM price_series WHERE kind = 'multiple' AND code = 'BUND')"
    change(trading, f"UPDATE multiple_prices SET forward_contract = 7 WHERE series_id = {damaged}")

    some_passes(trading)

    (rolling,) = stack.stack(trading)
    assert stack.traded(trading, rolling.id) == [(("20240400", -1), ("20240600", 1))]
    only_bund_is_locked(trading, caplog, "its roll failed")
