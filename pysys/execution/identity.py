"""Whether the broker is the one that was meant: account, paper or live, and the contracts of each instrument."""

import logging
import math

from pysys.broker.port import Broker, ContractDetails, UnknownContract
from pysys.config import Config
from pysys.desk import Desk
from pysys.domain.contracts import Contract
from pysys.domain.errors import ConfigError
from pysys.domain.instruments import Instrument
from pysys.store.restrictions import IDENTITY
from pysys.store.runs import Environment
from pysys.store.unit import UnitOfWork

PAPER = "paper"
REHEARSALS = ("demo", "replay")

log = logging.getLogger(__name__)


class WrongAccount(ConfigError):
    """The broker's account is not the one this system is for. Nothing was sent."""


def require_account(desk: Desk) -> str:
    """The account that will be traded. Raises WrongAccount when it is not the one meant, or paper is live.

    The database remembers what it is for: a rehearsal trades on paper only, and the account of the first connection
    stays the one.
    """
    with desk.store.read() as unit:
        remembered = unit.runs.environment()
    wrong = account_mismatch(desk.config, remembered, desk.broker)
    if wrong is not None:
        raise WrongAccount(wrong)
    account = desk.broker.account
    if remembered is not None and remembered.account is None:
        with desk.store.write() as unit:
            unit.runs.pin_account(account)
            unit.commit()
    return account


def account_mismatch(config: Config, remembered: Environment | None, broker: Broker) -> str | None:
    """What is wrong with the account the broker connected to; None when nothing is."""
    account, environment = broker.account, broker.environment
    if environment != config.broker_environment:
        return (
            f"Account {account} is {environment}, but broker_environment is {config.broker_environment}. "
            "Log in to the other account, or change broker_environment if that is what you mean."
        )
    if config.broker_account and account != config.broker_account:
        return f"The broker is logged in to account {account}, but broker_account is {config.broker_account}."
    if remembered is None:
        return None
    if remembered.name in REHEARSALS and environment != PAPER:
        return f"This database is for a {remembered.name}, and account {account} is {environment}."
    if remembered.account is not None and account != remembered.account:
        return (
            f"This database keeps the books of account {remembered.account}, and the broker is logged in to {account}. "
            "Log in to the right one, or set database_url to the database of this one."
        )
    return None


def contract_mismatch(instrument: Instrument, details: ContractDetails) -> str | None:
    """How the broker's contract differs from the instrument configured; None when they agree.

    A tick is compared when both sides know it.
    """
    found = []
    if not math.isclose(details.multiplier, instrument.point_size, rel_tol=1e-9):
        found.append(f"multiplier {details.multiplier:g} at the broker, {instrument.point_size:g} configured")
    if details.currency != instrument.currency:
        found.append(f"currency {details.currency} at the broker, {instrument.currency} configured")
    ticks = details.tick_size, instrument.tick_size
    if ticks[0] is not None and ticks[1] is not None and not math.isclose(ticks[0], ticks[1], rel_tol=1e-9):
        found.append(f"tick {ticks[0]:g} at the broker, {ticks[1]:g} configured")
    return f"{details.contract.date}: {', '.join(found)}" if found else None


def check_contract(desk: Desk, contract: Contract) -> bool:
    """Compare a contract with its configuration and lock its instrument while they differ. True when they agree."""
    with desk.store.read() as unit:
        instrument = unit.markets.instrument(contract.instrument)
        locks = [lock for lock in unit.restrictions.locks() if lock.owner == IDENTITY]
    ours = any(lock.instrument == instrument.code and lock.why.startswith(contract.date) for lock in locks)
    try:
        wrong = contract_mismatch(instrument, desk.broker.contract_details(contract))
    except UnknownContract as error:
        wrong = f"{contract.date}: {error}"
    if wrong is not None or ours:
        with desk.store.write() as unit:
            if ours:
                unit.restrictions.unlock(instrument.code, IDENTITY)
            if wrong is not None:
                unit.restrictions.lock(instrument.code, IDENTITY, at=desk.clock.now(), who="identity check", why=wrong)
            unit.commit()
    return wrong is None


def check_locked_again(desk: Desk) -> None:
    """Compare every contract an instrument is locked for once more: it may have been put right since.

    Those nobody needs any more are not asked for, see `unlock_unneeded`.
    """
    unlock_unneeded(desk)
    with desk.store.read() as unit:
        locks = _identity_locks(unit)
    for contract in locks:
        check_contract(desk, contract)


def unlock_unneeded(desk: Desk) -> None:
    """Lift the locks of instruments for contracts that are neither current, held nor ordered any more.

    A contract is compared again before it is traded, so nothing is sent for one that is still wrong.
    """
    with desk.store.read() as unit:
        if not _identity_locks(unit):
            return
    with desk.store.write() as unit:
        ordered = {leg.contract for order in unit.orders.active_contract_orders() for leg in order.legs}
        ordered |= {leg.contract for order in unit.orders.active_broker_orders() for leg in order.legs}
        for contract in _identity_locks(unit):
            if contract not in ordered | contracts_in_use(unit, contract.instrument):
                unit.restrictions.unlock(contract.instrument, IDENTITY)
                log.warning("%s: nothing needs %s any more, its lock is lifted", contract.instrument, contract.date)
        unit.commit()


def contracts_in_use(unit: UnitOfWork, code: str) -> set[Contract]:
    """The priced, carry and forward contracts of an instrument, and those that are held."""
    row = unit.prices.last_multiple(code)
    numbers = [column[-1] for column in (row.price_contract, row.carry_contract, row.forward_contract) if len(column)]
    held = {contract for contract in unit.positions.contract_positions() if contract.instrument == code}
    return {Contract(code, f"{int(number):08d}") for number in numbers} | held


def _identity_locks(unit: UnitOfWork) -> list[Contract]:
    """Contracts that instruments are locked for."""
    locks = [lock for lock in unit.restrictions.locks() if lock.owner == IDENTITY]
    return [Contract(lock.instrument, lock.why.partition(":")[0]) for lock in locks]
