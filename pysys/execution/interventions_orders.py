"""What a person does to orders on the stacks: spawn, send, net, cancel, lock, take off, end the day."""

from datetime import datetime

from pysys.domain.orders import OrderStatus
from pysys.domain.roll_debts import told
from pysys.execution.broker_orders import workable
from pysys.execution.claims import claimant
from pysys.execution.completion import call_off_offsets, end_what_hung_on
from pysys.execution.requests import Request, refuse
from pysys.execution.roll_views import owing_families
from pysys.execution.spawning import net_waiting_orders
from pysys.execution.stack_methods import StackHandler
from pysys.execution.working import request_cancel
from pysys.store.stacks import Level
from pysys.store.unit import UnitOfWork

# --- make and send ---


def spawn_children(handler: StackHandler, request: Request, instrument_order: int = 0) -> str:
    """Make the contract orders of instrument orders that have none, once: of all, or of one."""
    made = handler.spawn_children(instrument_order if instrument_order else None)
    return f"{made} contract orders made."


def force_roll_orders(handler: StackHandler, request: Request) -> str:
    """Make the orders of every roll that is forced and has none, once."""
    return f"{handler.force_roll_orders()} rolls made."


def create_orders(handler: StackHandler, request: Request, contract_order: int = 0) -> str:
    """Send broker orders for what can trade now: all of it, or one contract order whose turn it is."""
    if contract_order:
        with handler.desk.store.read() as unit:
            turn = [o.id for o in workable(unit.orders.active_contract_orders(), unit.orders.active_broker_orders())]
        refuse(contract_order not in turn, f"Contract order {contract_order} is not on the stack, or not its turn yet.")
    handler.process_fills_stack()
    handler.check_external_position_break()  # a lock may have been lifted since the last comparison
    sent = handler.send_new_orders(contract_order if contract_order else None)
    return f"{sent} broker orders sent."


def net_instrument_orders(unit: UnitOfWork, request: Request) -> str:
    """Cross what different orders of one instrument want to trade against each other."""
    refuse(unit.restrictions.kill_switch_engaged(), "The kill switch is engaged: positions stay as they are.")
    netted = net_waiting_orders(unit, request.config, request.now)
    return f"Netted in {', '.join(netted)}." if netted else "There was nothing to net."


# --- cancel ---


def cancel_broker_order(handler: StackHandler, request: Request, order_ref: str, hold: bool = True) -> str:
    """Ask the broker to cancel one order, ours or a stranger's.

    hold: lock its contract order too, for else the engine sends another in its place.
    """
    desk = handler.desk
    with desk.store.read() as unit:
        order = unit.orders.broker_order_by_ref(order_ref)
    if order is None:
        known = {each.order_ref for each in desk.broker.open_orders()}
        refuse(order_ref not in known, f"Neither our books nor the broker's open orders have an order {order_ref}.")
        desk.broker.cancel(order_ref)
        return f"Asked the broker to cancel {order_ref}, which is not in our books."
    refuse(not order.is_open, f"Order {order_ref} is {order.status.value}: there is nothing to cancel.")
    if hold:
        with desk.store.write() as unit:
            unit.stacks.set_locked(Level.CONTRACT, order.parent_id, True)
            unit.commit()
    request_cancel(desk, order, f"cancelled {request.note}")
    held = f" Contract order {order.parent_id} is locked until it is unlocked." if hold else ""
    return f"Asked the broker to cancel {order_ref}; fills until it does still count.{held}"


def cancel_all(handler: StackHandler, request: Request, hold: bool = True) -> str:
    """Ask the broker to cancel every order of ours, also those of an earlier session or another program.

    hold: lock their contract orders too, for else the engine sends others in their place.
    """
    desk = handler.desk
    with desk.store.read() as unit:
        ours = {order.order_ref: order for order in unit.orders.active_broker_orders() if order.is_open}
    at_broker = [each.order_ref for each in desk.broker.open_orders()]
    with desk.store.read() as unit:
        forgotten = [
            order
            for ref in at_broker
            if ref not in ours and (order := unit.orders.broker_order_by_ref(ref)) is not None
        ]
    if hold and ours:
        with desk.store.write() as unit:
            for order in ours.values():
                unit.stacks.set_locked(Level.CONTRACT, order.parent_id, True)
            unit.commit()
    for order in [*ours.values(), *forgotten]:
        request_cancel(desk, order, f"cancelled {request.note}")
    strangers = [ref for ref in at_broker if ref not in ours and ref not in {o.order_ref for o in forgotten}]
    left = f" Not ours and left alone: {', '.join(strangers)}." if strangers else ""
    return f"Asked the broker to cancel {len(ours) + len(forgotten)} orders.{left}"


# --- locks and claims ---


def lock_order(unit: UnitOfWork, request: Request, level: Level, order_id: int) -> str:
    """Nothing new is made or sent for the order until it is unlocked."""
    return _set_lock(unit, level, order_id, locked=True)


def unlock_order(unit: UnitOfWork, request: Request, level: Level, order_id: int) -> str:
    return _set_lock(unit, level, order_id, locked=False)


def _set_lock(unit: UnitOfWork, level: Level, order_id: int, *, locked: bool) -> str:
    _require(unit, level, order_id)
    unit.stacks.set_locked(level, order_id, locked)
    return f"The {level.value} order {order_id} is {'locked' if locked else 'unlocked'}."


def release_claim(unit: UnitOfWork, request: Request, contract_order: int) -> str:
    """Free a contract order from whoever claims to be working it."""
    _require(unit, Level.CONTRACT, contract_order)
    order = unit.orders.contract_order(contract_order)
    unit.claims.release(contract_order)
    return f"Contract order {contract_order} is free; it was claimed by {claimant(order)}."


# --- take off the stacks ---


def delete_order(unit: UnitOfWork, request: Request, level: Level, order_id: int) -> str:
    """Take one order off its stack. It stays in the history, as cancelled and by whom."""
    _require(unit, level, order_id)
    wrong = _reason_to_keep(unit, level, order_id)
    request.guard(wrong is not None, f"{wrong}.")
    _remove(unit, level, order_id, request.note, request.now)
    return f"The {level.value} order {order_id} is off the stack."


def empty_stack(unit: UnitOfWork, request: Request, level: Level) -> str:
    """Take every order off a stack. To end a day use `end_of_day`, which cancels and books first."""
    ids = unit.stacks.ids(level)
    wrong = [reason for order_id in ids if (reason := _reason_to_keep(unit, level, order_id)) is not None]
    request.guard(bool(wrong), f"{'; '.join(wrong)}. `end_of_day` cancels and books first.")
    for order_id in ids:
        if unit.stacks.active(level, order_id):  # not gone with one before it
            _remove(unit, level, order_id, request.note, request.now)
    return f"{len(ids)} orders are off the {level.value} stack."


def _reason_to_keep(unit: UnitOfWork, level: Level, order_id: int) -> str | None:
    """Why the ledger breaks without this order; None when it does not.

    What became of a broker order is not known while it is active, whatever its status says.
    """
    if level is Level.BROKER:
        order = next((each for each in unit.sent_orders.unsettled() if each.id == order_id), None)
        return (
            None if order is None else f"The broker may still fill order {order.order_ref}: cancel it first, and wait"
        )
    if level is Level.CONTRACT:
        working = {order.parent_id: order.order_ref for order in unit.orders.active_broker_orders()}
        return _reason_to_keep_contract_order(unit, order_id, working)
    children = [
        child
        for child in unit.orders.children([order_id]).get(order_id, [])
        if unit.stacks.active(Level.CONTRACT, child.id)
    ]
    if children:
        return f"Instrument order {order_id} has contract order {children[0].id} on the stack: delete that first"
    family = next((each for each in owing_families(unit) if each.parent.id == order_id), None)
    if family is None:
        return None
    return f"Roll {order_id} owes {told(family.remaining)}: its end leaves what strategies own without contracts"


def _reason_to_keep_contract_order(unit: UnitOfWork, order_id: int, working: dict[int, str]) -> str | None:
    if order_id in working:
        return f"Contract order {order_id} has order {working[order_id]} at the broker: cancel it first"
    order = unit.orders.contract_order(order_id)
    if all(leg.remaining == 0 for leg in order.legs):
        return None
    if any(leg.fill for leg in order.legs):
        return f"Contract order {order_id} is filled in part: its end leaves the rest of it untraded"
    family = unit.orders.children([order.parent_id])[order.parent_id]
    filled = [each for each in family if each.instrument != order.instrument and any(leg.fill for leg in each.legs)]
    if not filled:
        return None
    return f"Contract order {filled[0].id} in {filled[0].instrument} is filled, and {order_id} is the other leg of it"


def _remove(unit: UnitOfWork, level: Level, order_id: int, note: str, at: datetime) -> None:
    """Take an order off its stack, and what hangs on it: nothing is left on a stack that cannot trade any more."""
    if level is Level.INSTRUMENT:
        _remove_family(unit, order_id, note, at)
        return
    unit.stacks.remove(level, order_id, note, at)
    if level is Level.CONTRACT:
        end_what_hung_on(unit, order_id, OrderStatus.CANCELLED, at, note)


def _remove_family(unit: UnitOfWork, order_id: int, note: str, at: datetime) -> None:
    family = unit.orders.instrument_order(order_id)
    key = (family.strategy, family.instrument)
    before = unit.orders.unfilled_by_strategy_instrument().get(key, 0)
    for child in unit.orders.children([order_id]).get(order_id, []):
        if unit.stacks.active(Level.CONTRACT, child.id):
            unit.stacks.remove(Level.CONTRACT, child.id, note, at)
    unit.stacks.remove(Level.INSTRUMENT, order_id, note, at)
    after = unit.orders.unfilled_by_strategy_instrument().get(key, 0)
    call_off_offsets(unit, family, before - after, at)


def _require(unit: UnitOfWork, level: Level, order_id: int) -> None:
    active = unit.stacks.active(level, order_id)
    refuse(active is None, f"There is no {level.value} order {order_id}.")
    refuse(active is False, f"The {level.value} order {order_id} is not on the stack any more.")


# --- the end of the day ---


def end_of_day(handler: StackHandler, request: Request) -> str:
    """Cancel what works, book its fills, end every family. Safe to repeat.

    The stacks are empty after it, but for rolls that were cut off and still owe a leg.
    """
    handler.take_down()
    left = handler.result.unresolved
    unresolved = f" The broker has not said what became of {', '.join(left)}: these stay." if left else ""
    return f"{handler.result.counts.get('families_ended_at_end_of_day', 0)} families ended.{unresolved}"
