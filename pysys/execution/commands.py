"""Interventions as command rows: asked for once, carried out once under the trading lease, answered, and kept."""

import logging
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from pysys.broker.port import BrokerUnavailable
from pysys.clock import Clock, SystemClock
from pysys.config import Config
from pysys.desk import Desk
from pysys.domain.errors import ConfigError, DataError, OrderRejected, PysysError
from pysys.execution.identity import require_account
from pysys.execution.interventions import ACTIONS, OVERRIDE, Action, Refused, Request, bind
from pysys.execution.lease import LeaseLost, TradingLease, claim_trading, trading_now
from pysys.execution.stack_methods import StackHandler
from pysys.execution.wire import TradingStopped, wired
from pysys.store.commands import Command, CommandStatus
from pysys.store.runs import LeaseHeld
from pysys.store.unit import Store, UnitOfWork

TOO_OLD = timedelta(minutes=10)  # an order asked for that long ago may not be what is wanted any more
ANSWER_WITHIN = timedelta(seconds=30)  # how long a person waits for the engine
_LOOK_EVERY = timedelta(seconds=0.2)
LONGEST_TOKEN = 40
_REFUSALS = (Refused, OrderRejected, TradingStopped, DataError, ValueError)

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Books:
    """All that an intervention on the ledger needs; the broker may be out of reach."""

    store: Store
    clock: Clock
    config: Config


def _books(desk: Desk) -> _Books:
    return _Books(desk.store, desk.clock, desk.config)


def new_token() -> str:
    """One use. Whoever makes a button or a form makes one for it, so that two clicks are one request."""
    return uuid.uuid4().hex[:16]


def ask(
    store: Store, clock: Clock, name: str, arguments: Mapping[str, Any], *, who: str, why: str, token: str
) -> Command:
    """Write a request down; the one already written when its token was used before.

    Raises ConfigError for an unknown intervention or argument, a wrong type, a token used for something else, or no
    reason given.
    """
    action = _action(name)
    bind(name, action, arguments)
    if not why.strip():
        raise ConfigError(f"{name} needs a reason: say why.")
    if not 0 < len(token) <= LONGEST_TOKEN:
        raise ConfigError(f"The token of a command has 1 to {LONGEST_TOKEN} letters, not {len(token)}.")
    command = Command(token, name, dict(arguments), who, why, clock.now())
    with store.write() as unit:
        stored = unit.commands.ask(command)
        if (stored.name, dict(stored.arguments)) != (name, dict(arguments)):
            raise ConfigError(f"Token {token} was used for {stored.name} already. A new request needs a new token.")
        unit.commit()
    return stored


def do_at_once(
    store: Store,
    clock: Clock,
    config: Config,
    name: str,
    arguments: Mapping[str, Any],
    *,
    who: str,
    why: str,
    token: str,
) -> Command:
    """Ask for, and do here and now, what only restricts or frees trading: no broker, engine or lease is needed for it.

    Raises ConfigError for any other intervention, and as `ask` does.
    """
    if not _action(name).at_once:
        raise ConfigError(f"{name} is carried out by the engine, or under its lease.")
    command = ask(store, clock, name, arguments, who=who, why=why, token=token)
    if not command.is_answered:
        _carry_out_on_ledger(_Books(store, clock, config), command, ACTIONS[name])
    return _current(store, token)


def request(
    desk: Desk,
    name: str,
    arguments: Mapping[str, Any],
    *,
    who: str,
    why: str,
    token: str,
    wait: timedelta = ANSWER_WITHIN,
) -> Command:
    """Ask, and see to it that it is carried out: by the engine when one runs, else here under the same lease.

    The command comes back answered, or as asked when the engine did not answer within `wait` of real time: the row then
    waits for it, until it is too old.
    """
    if _action(name).at_once:
        return do_at_once(desk.store, desk.clock, desk.config, name, arguments, who=who, why=why, token=token)
    ask(desk.store, desk.clock, name, arguments, who=who, why=why, token=token)
    clock = SystemClock()
    deadline = clock.now() + wait
    while not (command := _current(desk.store, token)).is_answered and clock.now() < deadline:
        if trading_now(desk.store) is not None or not _carry_out_here(desk):
            clock.sleep_until(clock.now() + _LOOK_EVERY)
    return command


def carry_out_waiting(handler: StackHandler) -> int:
    """Carry out every command nobody has answered, in the order they were asked; how many."""
    with handler.desk.store.read() as unit:
        waiting = unit.commands.waiting()
    for command in waiting:
        _carry_out(handler, command)
    return len(waiting)


def _carry_out_here(desk: Desk) -> bool:
    """Carry out what waits in this process, under the lease. False when somebody else has just taken it."""
    try:
        account = require_account(desk)
    except BrokerUnavailable:
        account = desk.config.broker_account  # enough to do what needs no broker
    try:
        lease = claim_trading(desk.store, account)
    except LeaseHeld:
        return False
    try:
        carry_out_waiting(_handler(desk, lease))
    finally:
        lease.release()
    return True


def _handler(desk: Desk, lease: TradingLease) -> StackHandler:
    now = desk.clock.now()
    return StackHandler(wired(desk, lease), now + timedelta(days=1), lease)


def _carry_out(handler: StackHandler, command: Command) -> None:
    desk = handler.desk
    if desk.clock.now() - command.asked_at > TOO_OLD:
        minutes = TOO_OLD // timedelta(minutes=1)
        sentence = f"Asked at {command.asked_at:%H:%M:%S} UTC and not carried out within {minutes} minutes. Ask again."
        _answer(_books(desk), command, CommandStatus.REFUSED, sentence)
        return
    action = _action(command.name)
    if action.on_ledger is not None:
        _carry_out_on_ledger(_books(desk), command, action)
        return
    try:
        answer = _perform_at_broker(handler, command, action)
    except LeaseLost:
        raise
    except _REFUSALS as error:
        _answer(_books(desk), command, CommandStatus.REFUSED, str(error))
    except PysysError as error:
        _answer(_books(desk), command, CommandStatus.FAILED, str(error))
    except Exception as error:
        log.exception("command %s failed", command.token)
        _answer(_books(desk), command, CommandStatus.FAILED, f"{type(error).__name__}: {error}")
    else:
        _answer(_books(desk), command, CommandStatus.DONE, answer)


def _perform_at_broker(handler: StackHandler, command: Command, action: Action) -> str:
    if action.at_broker is None:
        raise ConfigError(f"{command.name} is carried out at once and needs no engine.")
    return action.at_broker(
        handler, _request(_books(handler.desk), command), **bind(command.name, action, command.arguments)
    )


def _carry_out_on_ledger(books: _Books, command: Command, action: Action) -> None:
    """Do it and answer it in one transaction: both happen once, or neither."""
    if action.on_ledger is None:
        raise ConfigError(f"{command.name} needs the broker.")
    try:
        with books.store.write() as unit:
            known = unit.commands.by_token(command.token)
            if known is None or known.is_answered:
                return
            arguments = bind(command.name, action, command.arguments)
            answer = action.on_ledger(unit, _request(books, command), **arguments)
            _write_answer(unit, books, command, CommandStatus.DONE, answer)
            unit.commit()
    except LeaseLost:
        raise
    except _REFUSALS as error:
        _answer(books, command, CommandStatus.REFUSED, str(error))
    except Exception as error:
        log.exception("command %s failed", command.token)
        _answer(books, command, CommandStatus.FAILED, f"{type(error).__name__}: {error}")


def _answer(books: _Books, command: Command, status: CommandStatus, sentence: str) -> None:
    with books.store.write() as unit:
        _write_answer(unit, books, command, status, sentence)
        unit.commit()


def _write_answer(unit: UnitOfWork, books: _Books, command: Command, status: CommandStatus, sentence: str) -> None:
    overridden = command.arguments.get(OVERRIDE)
    text = f"{sentence} (guards overridden: {overridden})" if overridden else sentence
    if unit.commands.answer(command.id, status, text, books.clock.now()):
        log.warning("%s by %s (%s): %s: %s", command.name, command.who, command.why, status.value, text)


def _request(books: _Books, command: Command) -> Request:
    return Request(
        token=command.token,
        who=command.who,
        why=command.why,
        override=str(command.arguments.get(OVERRIDE, "")),
        now=books.clock.now(),
        config=books.config,
    )


def _current(store: Store, token: str) -> Command:
    with store.read() as unit:
        command = unit.commands.by_token(token)
    if command is None:
        raise DataError(f"Command {token} was asked and is not in the database any more: restore it from a backup.")
    return command


def _action(name: str) -> Action:
    if name not in ACTIONS:
        raise ConfigError(f"There is no intervention {name}. There are: {', '.join(sorted(ACTIONS))}.")
    return ACTIONS[name]
