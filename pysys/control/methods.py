"""Methods by name, and running one in this process instead of in a notebook."""

import inspect
from collections.abc import Callable, Mapping
from dataclasses import replace
from importlib import import_module
from typing import Any

from pysys.control.ledger import completion_record, open_entry
from pysys.control.notebooks import report_name
from pysys.control.outcome import RunOutcome, one_line
from pysys.control.parameters import moment
from pysys.desk import Desk
from pysys.domain.errors import ConfigError
from pysys.store.repository import Author

# Functions of a desk, imported when they are first called.
METHODS = {
    "update_fx_prices": "pysys.data.fx",
    "update_sampled_contracts": "pysys.data.sampling",
    "update_historical_prices": "pysys.data.historical",
    "update_multiple_adjusted_prices": "pysys.data.multiple",
    "update_roll_status": "pysys.data.rolling",
    "update_spread_prices": "pysys.data.spread_prices",
    "update_total_capital": "pysys.data.capital",
    "strategy_allocation": "pysys.data.capital",
    "run_systems": "pysys.execution.targets",
    "generate_orders": "pysys.execution.generation",
    "run_stack_handler": "pysys.execution.stack_handler",
}
REPORTS = "pysys.reports"


def method_function(name: str) -> Callable[..., Any]:
    """The function of a desk and parameters behind a method or a report.

    Raises ConfigError for a name that is neither.
    """
    if name in METHODS:
        return _attribute(METHODS[name], name)
    report = report_name(name)
    return _attribute(f"{REPORTS}.{report}", f"{report}_report")


def _attribute(module: str, name: str) -> Callable[..., Any]:
    try:
        function: Callable[..., Any] = getattr(import_module(module), name)
    except ModuleNotFoundError as error:
        if error.name != module:
            raise
        raise ConfigError(f"There is no method or report {name}. Methods are: {', '.join(METHODS)}.") from error
    return function


def run_method(desk: Desk, name: str, parameters: Mapping[str, object], *, process: str | None = None) -> RunOutcome:
    """Call a method or report here, written down in the run table as a notebook would be.

    What it raises is the run's error, not the caller's. Raises ConfigError for an unknown name or parameter and
    LeaseHeld while another run of it is going on.
    """
    function = method_function(name)
    arguments = _arguments(function, name, parameters)
    entry = open_entry(desk.store, desk.clock, desk.config, name, parameters, process=process)
    author = Author(process if process is not None else name, entry.run_id)
    signed = replace(desk, store=desk.store.signed(author))
    error: str | None = "It was interrupted."
    try:
        result = function(signed, **arguments)
        if name in METHODS:
            result.raise_if_incomplete()
        record = completion_record(result)
        with signed.store.write() as unit:
            unit.runs.complete(entry.run_id, record)
            unit.commit()
        error = None
    except Exception as problem:
        error = one_line(f"{type(problem).__name__}: {problem}".rstrip(": "))
    finally:
        outcome = entry.close(error)
    return outcome


def _arguments(function: Callable[..., Any], name: str, parameters: Mapping[str, object]) -> dict[str, object]:
    known = [each for each in inspect.signature(function).parameters if each != "desk"]
    for each in parameters:
        if each not in known:
            raise ConfigError(f"{name} has no parameter {each}. It has: {', '.join(known) if known else 'none'}.")
    arguments = {key: None if value == [] else value for key, value in parameters.items()}
    until = arguments.get("until")
    return {**arguments, "until": moment(until)} if isinstance(until, str) else arguments
