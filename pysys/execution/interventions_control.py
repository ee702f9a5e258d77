"""What a person sets: locks, the kill switch, overrides, limits, the status of a process. Each is one transaction."""

from typing import Literal

from pysys.domain.overrides import Override, OverrideKind
from pysys.domain.process_rules import ProcessStatus
from pysys.execution.known_names import require_known_strategy
from pysys.execution.requests import Request, refuse
from pysys.store.restrictions import IDENTITY, PERSON, RECONCILIATION
from pysys.store.unit import UnitOfWork

SCOPE = (
    "Nothing new is sent for any strategy, instrument or currency, nothing is netted, and no limit price is moved. "
    "Positions stay as they are. Broker orders already working work on until they fill, are cancelled or their session "
    "ends"
)
RELEASE = "It stays engaged over restarts until a person releases it: `pysys kill-switch off --why REASON`."


# --- locks ---


def lock_instrument(unit: UnitOfWork, request: Request, instrument: str) -> str:
    """No new order in the instrument until a person unlocks it; reconciliation never lifts this lock."""
    unit.markets.instrument(instrument)
    new = unit.restrictions.lock(instrument, PERSON, at=request.now, who=request.who, why=request.why)
    return (
        f"{instrument} is locked until a person unlocks it." if new else f"{instrument} was locked by a person already."
    )


def unlock_instrument(unit: UnitOfWork, request: Request, instrument: str) -> str:
    """Lift every lock of an instrument. Reconciliation and the identity check lock again what is still wrong."""
    unit.markets.instrument(instrument)
    lifted = unit.restrictions.unlock(instrument)
    if not lifted:
        return f"{instrument} was not locked."
    again = [owner for owner in lifted if owner in (RECONCILIATION, IDENTITY)]
    warning = " It is locked again at the next look if that is still so." if again else ""
    return f"{instrument} is unlocked; locks lifted: {', '.join(lifted)}.{warning}"


def unlock_all(unit: UnitOfWork, request: Request) -> str:
    """Lift the locks that programs set, on every instrument. Those of persons stay: each is somebody's decision."""
    lifted = [lock for lock in unit.restrictions.locks() if lock.owner != PERSON]
    for lock in lifted:
        unit.restrictions.unlock(lock.instrument, lock.owner)
    left = [lock.instrument for lock in unit.restrictions.locks()]
    stay = f" Locked by a person and left so: {', '.join(left)}." if left else ""
    return f"{len(lifted)} locks lifted.{stay}"


# --- the kill switch ---


def engage_kill_switch(unit: UnitOfWork, request: Request) -> str:
    """Stop trading at once, wherever the engine runs: its last call before the broker asks here."""
    before = unit.restrictions.kill_switch()
    if before is not None and before.engaged:
        return f"The kill switch was engaged already, by {before.who} at {before.time:%Y-%m-%d %H:%M} UTC. {RELEASE}"
    unit.restrictions.set_kill_switch(True, at=request.now, who=request.who, why=request.why)
    return f"The kill switch is engaged. {SCOPE}. {RELEASE}"


def release_kill_switch(unit: UnitOfWork, request: Request) -> str:
    """Let trading go on. Nothing held back is sent by this itself: the stacks are worked from where they are."""
    before = unit.restrictions.kill_switch()
    if before is None or not before.engaged:
        return "The kill switch was not engaged."
    unit.restrictions.set_kill_switch(False, at=request.now, who=request.who, why=request.why)
    return (
        f"The kill switch is released; {before.who} had engaged it at {before.time:%Y-%m-%d %H:%M} UTC: {before.why}."
    )


def kill_switch_text(unit: UnitOfWork) -> str:
    """The state of the kill switch, and what it means, for a person."""
    switch = unit.restrictions.kill_switch()
    if switch is None:
        return "The kill switch is off and was never engaged."
    when = f"by {switch.who} at {switch.time:%Y-%m-%d %H:%M} UTC: {switch.why}"
    return (
        f"The kill switch is ENGAGED, {when}. {SCOPE}. {RELEASE}" if switch.engaged else f"It is off, released {when}."
    )


# --- overrides and limits; a blank strategy or instrument means every one ---


def set_override(
    unit: UnitOfWork,
    request: Request,
    kind: OverrideKind,
    strategy: str = "",
    instrument: str = "",
    factor: float = 1.0,
) -> str:
    """Brake a strategy, an instrument, or one in the other."""
    if instrument:
        unit.markets.instrument(instrument)
    if strategy:
        require_known_strategy(unit, request.config, strategy)
    refuse(kind == "factor" and not strategy and not instrument and factor > 1, "A factor is 0 to 1.")
    override = Override(kind, factor)
    unit.restrictions.set_override(strategy, instrument, override, at=request.now, who=request.who, why=request.why)
    held = (
        "What is at the broker works on."
        if override.kind == "factor" and override.factor > 0
        else "Orders already on the stacks are held to it; what is at the broker works on."
    )
    return f"Override of {_scope(strategy, instrument)} is {override}. {held}"


def remove_override(unit: UnitOfWork, request: Request, strategy: str = "", instrument: str = "") -> str:
    missing = (strategy, instrument) not in unit.restrictions.overrides()
    refuse(missing, f"There is no override of {_scope(strategy, instrument)}.")
    unit.restrictions.remove_override(strategy, instrument)
    return f"There is no override of {_scope(strategy, instrument)} any more."


def set_position_limit(unit: UnitOfWork, request: Request, instrument: str, limit: int, strategy: str = "") -> str:
    """The largest position, long or short, in contracts."""
    _require_limited(unit, request, strategy, instrument)
    refuse(limit < 0, f"A position limit is 0 or more contracts, not {limit}.")
    unit.restrictions.set_position_limit(strategy, instrument, limit, who=request.who, why=request.why)
    return f"Position limit of {_scope(strategy, instrument)} is {limit} contracts."


def remove_position_limit(unit: UnitOfWork, request: Request, instrument: str, strategy: str = "") -> str:
    missing = (strategy, instrument) not in unit.restrictions.position_limits()
    refuse(missing, f"There is no position limit of {_scope(strategy, instrument)}.")
    unit.restrictions.remove_position_limit(strategy, instrument)
    return f"There is no position limit of {_scope(strategy, instrument)} any more."


def set_trade_limit(
    unit: UnitOfWork, request: Request, instrument: str, period_days: int, limit: int, strategy: str = ""
) -> str:
    """Contracts that may be traded in a number of days."""
    _require_limited(unit, request, strategy, instrument)
    refuse(limit < 0, f"A trade limit is 0 or more contracts, not {limit}.")
    refuse(period_days < 1, f"A trade limit is for 1 day or more, not {period_days}.")
    unit.trade_limits.set(strategy, instrument, period_days, limit, at=request.now)
    return f"Trade limit of {_scope(strategy, instrument)} is {limit} contracts in {period_days} days."


def remove_trade_limit(
    unit: UnitOfWork, request: Request, instrument: str, period_days: int, strategy: str = ""
) -> str:
    _require_trade_limit(unit, strategy, instrument, period_days)
    unit.trade_limits.remove(strategy, instrument, period_days)
    return f"There is no trade limit of {_scope(strategy, instrument)} in {period_days} days any more."


def reset_trade_limit(unit: UnitOfWork, request: Request, instrument: str, period_days: int, strategy: str = "") -> str:
    """Begin a new period now."""
    _require_trade_limit(unit, strategy, instrument, period_days)
    unit.trade_limits.reset(strategy, instrument, period_days, at=request.now)
    return f"Trade limit of {_scope(strategy, instrument)} in {period_days} days begins anew."


def _require_limited(unit: UnitOfWork, request: Request, strategy: str, instrument: str) -> None:
    """Raises UnknownInstrument, as a limit is always of one, and Refused for a strategy there is not."""
    unit.markets.instrument(instrument)
    if strategy:
        require_known_strategy(unit, request.config, strategy)


def _require_trade_limit(unit: UnitOfWork, strategy: str, instrument: str, period_days: int) -> None:
    known = {(each.strategy, each.instrument, each.period_days) for each in unit.trade_limits.all()}
    missing = (strategy, instrument, period_days) not in known
    refuse(missing, f"There is no trade limit of {_scope(strategy, instrument)} in {period_days} days.")


def _scope(strategy: str, instrument: str) -> str:
    return f"{strategy if strategy else 'every strategy'} in {instrument if instrument else 'every instrument'}"


# --- processes ---


def change_process_status(
    unit: UnitOfWork, request: Request, process: str, status: Literal["GO", "PAUSE", "STOP", "NO-RUN"]
) -> str:
    known = {*request.config.process_configuration_methods, *request.config.process_configuration_start_time}
    refuse(process not in known - {"default"}, f"There is no process {process}.")
    unit.runs.set_process_status(process, ProcessStatus(status), request.who, request.now)
    return f"{process} is on {status}."
