"""Every intervention by name: what a person may do to orders and positions besides watching."""

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, get_type_hints

from pydantic import TypeAdapter, ValidationError

from pysys.domain.errors import ConfigError
from pysys.execution import (
    interventions_control as control,
)
from pysys.execution import (
    interventions_orders as orders,
)
from pysys.execution import (
    interventions_trades as trades,
)
from pysys.execution.requests import Refused, Request

__all__ = ["ACTIONS", "OVERRIDE", "Action", "Refused", "Request", "bind"]

OVERRIDE = "override"  # argument of any intervention: the reason to do it though a guard refuses
_HANDED_IN = 2  # transaction or handler, and the request


@dataclass(frozen=True, slots=True)
class Action:
    """One intervention: in one transaction with its answer, or at the broker, where it may be done again safely."""

    on_ledger: Callable[..., str] | None = None  # (unit, request, **arguments)
    at_broker: Callable[..., str] | None = None  # (handler, request, **arguments)
    at_once: bool = False  # restricts or frees trading: done by whoever asks, whether or not an engine runs

    @property
    def function(self) -> Callable[..., str]:
        found = self.on_ledger if self.on_ledger is not None else self.at_broker
        if found is None:
            raise ValueError("an intervention without a function")
        return found


def _ledger(function: Callable[..., str], *, at_once: bool = False) -> Action:
    return Action(on_ledger=function, at_once=at_once)


def _broker(function: Callable[..., str]) -> Action:
    return Action(at_broker=function)


ACTIONS: dict[str, Action] = {
    # trades
    "manual_order": _ledger(trades.manual_order),
    "balance_trade": _ledger(trades.balance_trade),
    "balance_instrument_trade": _ledger(trades.balance_instrument_trade),
    "fill_by_hand": _ledger(trades.fill_by_hand),
    "cash_fx_trade": _broker(trades.cash_fx_trade),
    # orders
    "spawn_children": _broker(orders.spawn_children),
    "force_rolls": _broker(orders.force_roll_orders),
    "create_broker_orders": _broker(orders.create_orders),
    "net_instrument_orders": _ledger(orders.net_instrument_orders),
    "cancel_broker_order": _broker(orders.cancel_broker_order),
    "cancel_all": _broker(orders.cancel_all),
    "lock_order": _ledger(orders.lock_order),
    "unlock_order": _ledger(orders.unlock_order),
    "release_claim": _ledger(orders.release_claim),
    "delete_order": _ledger(orders.delete_order),
    "empty_stack": _ledger(orders.empty_stack),
    "end_of_day": _broker(orders.end_of_day),
    # control
    "lock_instrument": _ledger(control.lock_instrument, at_once=True),
    "unlock_instrument": _ledger(control.unlock_instrument),
    "unlock_all": _ledger(control.unlock_all),
    "engage_kill_switch": _ledger(control.engage_kill_switch, at_once=True),
    "release_kill_switch": _ledger(control.release_kill_switch, at_once=True),
    "set_override": _ledger(control.set_override),
    "remove_override": _ledger(control.remove_override),
    "set_position_limit": _ledger(control.set_position_limit),
    "remove_position_limit": _ledger(control.remove_position_limit),
    "set_trade_limit": _ledger(control.set_trade_limit),
    "remove_trade_limit": _ledger(control.remove_trade_limit),
    "reset_trade_limit": _ledger(control.reset_trade_limit),
    "change_process_status": _ledger(control.change_process_status, at_once=True),
}


def parameters_of(name: str) -> list[inspect.Parameter]:
    """The arguments an intervention takes, besides `override`."""
    return list(inspect.signature(ACTIONS[name].function).parameters.values())[_HANDED_IN:]


def bind(name: str, action: Action, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments as the types the intervention takes; text such as "3" from a command line is read as its type.

    Raises ConfigError for an unknown or missing one, or a wrong type.
    """
    taken = {each.name: each for each in list(inspect.signature(action.function).parameters.values())[_HANDED_IN:]}
    given = {key: value for key, value in arguments.items() if key != OVERRIDE}
    for key in given:
        if key not in taken:
            raise ConfigError(f"{name} has no argument {key}. It has: {', '.join([*taken, OVERRIDE])}.")
    missing = [key for key, each in taken.items() if each.default is inspect.Parameter.empty and key not in given]
    if missing:
        raise ConfigError(f"{name} needs {', '.join(missing)}.")
    types = get_type_hints(action.function)
    return {key: _as_type(name, key, types[key], value) for key, value in given.items()}


def _as_type(name: str, key: str, kind: Any, value: Any) -> Any:
    adapter: TypeAdapter[Any] = TypeAdapter(kind)
    try:
        if isinstance(value, str) and kind not in (str,) and value[:1] in "[{":
            return adapter.validate_json(value)
        return adapter.validate_python(value)
    except ValidationError as error:
        raise ConfigError(f"{name}: argument {key}: {error.errors()[0]['msg']}: {value!r}.") from error
