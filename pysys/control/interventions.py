"""Interventions from a shell: they need no notebook, and the kill switch needs no broker either."""

from collections.abc import Mapping
from typing import Any

from pysys.config import Settings
from pysys.control.opening import open_clock, open_desk
from pysys.control.operator import aligned, operator_name
from pysys.execution.claims import claimant
from pysys.execution.commands import do_at_once, new_token, request
from pysys.execution.interventions import ACTIONS, OVERRIDE
from pysys.execution.interventions_control import kill_switch_text
from pysys.store.commands import Command, CommandStatus
from pysys.store.database import require_current
from pysys.store.repository import Author
from pysys.store.unit import Store

OPERATOR = Author("operator")
EXIT_CODES = {
    CommandStatus.DONE: 0,
    CommandStatus.FAILED: 1,
    CommandStatus.ASKED: 1,
    CommandStatus.REFUSED: 3,
}


def intervene(
    settings: Settings, name: str, arguments: Mapping[str, Any], why: str, override: str = "", token: str = ""
) -> Command:
    """Have an intervention carried out, and come back with its answer. The same token again is the same request."""
    given = {**arguments, OVERRIDE: override} if override else dict(arguments)
    once = token if token else new_token()
    who = operator_name()
    if name in ACTIONS and ACTIONS[name].at_once:
        store = _store(settings)
        try:
            return do_at_once(store, open_clock(settings), settings.config, name, given, who=who, why=why, token=once)
        finally:
            store.close()
    desk = open_desk(settings, OPERATOR)
    try:
        return request(desk, name, given, who=who, why=why, token=once)
    finally:
        desk.store.close()


def answer_line(command: Command) -> str:
    """What became of a request, for a person."""
    if command.answer is not None:
        return f"{command.status.value}: {command.answer}"
    return (
        f"{command.name} is asked (token {command.token}), and the engine has not answered yet: `pysys command list`."
    )


def kill_switch_line(settings: Settings) -> str:
    store = _store(settings)
    try:
        with store.read() as unit:
            return kill_switch_text(unit)
    finally:
        store.close()


def command_lines(settings: Settings, limit: int) -> list[str]:
    """The latest interventions, newest first."""
    store = _store(settings)
    try:
        with store.read() as unit:
            found = unit.commands.latest(limit)
    finally:
        store.close()
    rows = [("ASKED (UTC)", "COMMAND", "STATUS", "WHO", "WHY", "ANSWER")]
    rows += [
        (f"{c.asked_at:%Y-%m-%d %H:%M:%S}", c.name, c.status.value, c.who, c.why, c.answer if c.answer else "")
        for c in found
    ]
    return aligned(rows)


def order_lines(settings: Settings) -> list[str]:
    """What is on the three stacks now."""
    store = _store(settings)
    try:
        with store.read() as unit:
            instrument_orders = unit.orders.active_instrument_orders()
            contract_orders = unit.orders.active_contract_orders()
            broker_orders = unit.orders.active_broker_orders()
    finally:
        store.close()
    rows = [("LEVEL", "ID", "STRATEGY", "INSTRUMENT", "TRADE", "FILLED", "STATE")]
    for order in instrument_orders:
        cells = (order.strategy, order.instrument, f"{order.trade:+d}", f"{order.fill:+d}", order.waits_for)
        rows.append(("instrument", str(order.id), *cells))
    for child in contract_orders:
        trade = " ".join(f"{leg.trade:+d} {leg.contract.date}" for leg in child.legs)
        filled = " ".join(f"{leg.fill:+d}" for leg in child.legs)
        worked = f"worked by {claimant(child)}" if child.claimed_by is not None else child.note
        state = "locked" if child.locked else worked
        rows.append(("contract", str(child.id), child.strategy, child.instrument, trade, filled, state))
    for sent in broker_orders:
        trade = " ".join(f"{leg.trade:+d} {leg.contract.date}" for leg in sent.legs)
        filled = " ".join(f"{leg.fill:+d}" for leg in sent.legs)
        rows.append(("broker", sent.order_ref, sent.strategy, sent.instrument, trade, filled, sent.status.value))
    return aligned(rows)


def _store(settings: Settings) -> Store:
    store = Store(settings.database_url, OPERATOR)
    require_current(store.engine)
    return store
