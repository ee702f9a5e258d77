"""Our contract positions against the broker's: what agrees, what differs, and what is not known."""

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from pysys.broker.port import OpenOrder
from pysys.desk import Desk
from pysys.domain.contracts import Contract
from pysys.domain.reconciliation import position_breaks
from pysys.execution.position_sums import STRATEGIES_OWN, strategies_less_contracts, unexplained
from pysys.execution.returning import cancel_filled, take_back
from pysys.store.restrictions import RECONCILIATION
from pysys.store.unit import UnitOfWork

STACK_HANDLER = "stack handler"  # who locks
UNKNOWN = "unknown"  # how the reason of a lock begins while the broker has not said what it holds

_AND = "; "

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Findings:
    """What one comparison came to: instruments, and how each differs."""

    breaks: Mapping[str, str] = field(default_factory=dict)  # believed: locked
    suspected: Mapping[str, str] = field(
        default_factory=dict
    )  # seen once while it may still settle: nothing new is sent


def differences(ours: Mapping[Contract, int], brokers: Mapping[Contract, int]) -> dict[str, str]:
    """Instruments in which positions differ, contract by contract, and how; a missing position is 0."""
    found: dict[str, list[str]] = {}
    for each in position_breaks(ours, brokers):
        text = f"{each.key.date}: database {each.ours:+d}, broker {each.theirs:+d}"
        found.setdefault(each.key.instrument, []).append(text)
    return {instrument: "; ".join(texts) for instrument, texts in found.items()}


def judge(
    ours: Mapping[Contract, int],
    brokers: Mapping[Contract, int],
    in_flight: Iterable[str],
    suspected: Mapping[str, str],
) -> Findings:
    """Which differences are believed.

    in_flight: instruments whose orders may have filled since our fills were read. suspected: what the comparison
    before this one suspected. A difference that a fill on its way may explain, and all of them when the broker reports
    an empty account where we hold something, must be seen twice, unchanged.
    """
    found = differences(ours, brokers)
    doubtful = set(found) if ours and not brokers else set(in_flight)
    believed = {code: how for code, how in found.items() if code not in doubtful or suspected.get(code) == how}
    return Findings(believed, {code: how for code, how in found.items() if code not in believed})


def strangers(open_orders: Iterable[OpenOrder], ours: Iterable[str]) -> dict[str, str]:
    """Orders that work at the broker and are not in our books, by reference, and what they trade."""
    known = set(ours)
    return {
        order.order_ref: ", ".join(f"{leg.quantity:+d} {leg.contract}" for leg in order.legs)
        for order in open_orders
        if order.order_ref not in known
    }


def _of_the_broker(why: str) -> str:
    """The part of a lock's reason that is about the broker; blank without one."""
    return "" if why.startswith(STRATEGIES_OWN) else why.split(_AND + STRATEGIES_OWN)[0]


class Reconciler:
    """Compares again and again, and keeps the locks of reconciliation as the last comparison wants them."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self.findings = Findings()
        self.strangers: Mapping[str, str] = {}
        self.is_known = False  # whether the broker has answered, the last time it was asked
        self._filled_and_open: Sequence[str] = ()  # references, when it was asked for open orders the last time
        self._positions: tuple[Mapping[Contract, int], Mapping[tuple[str, str], int]] | None = None
        self._less: Mapping[str, int] = {}  # what strategies own less what is held, of these positions

    def compare(self, just_filled: Iterable[str]) -> Findings:
        """Read both sides once, and what strategies own. Fills must have been pulled just before; `just_filled` are the
        instruments they moved. What strategies own moves with the contracts, so a difference there is believed at once.

        Raises BrokerUnavailable, with nothing changed, when the broker does not answer: see `not_known`.
        """
        brokers = self._desk.broker.positions()
        with self._desk.store.read() as unit:
            ours = unit.positions.contract_positions()
            working = {leg.contract.instrument for order in unit.orders.active_broker_orders() for leg in order.legs}
            locked = {lock.instrument: lock.why for lock in unit.restrictions.locks() if lock.owner == RECONCILIATION}
            among_ourselves = unexplained(unit, self._apart(unit, ours))
        told = {code: how for code, why in locked.items() if (how := _of_the_broker(why))}
        found = judge(ours, brokers, working | set(just_filled), {**self.findings.suspected, **told})
        breaks = dict(found.breaks)
        for code, how in among_ourselves.items():
            breaks[code] = f"{breaks[code]}{_AND}{how}" if code in breaks else how
        self.findings = Findings(breaks, found.suspected)
        self.is_known = True
        wanted = {**{code: told[code] for code in self.findings.suspected if code in told}, **self.findings.breaks}
        if wanted != locked:
            self._keep_locks(wanted)
        return self.findings

    def _apart(self, unit: UnitOfWork, ours: Mapping[Contract, int]) -> Mapping[str, int]:
        """What strategies own less what is held, worked out anew when either has changed: legs of spreads take long."""
        key = (ours, unit.positions.strategy_positions())
        if key != self._positions:
            self._positions, self._less = key, strategies_less_contracts(unit, self._desk.config)
        return self._less

    def look_for_strangers(self) -> Mapping[str, str]:
        """Orders the broker works and we do not know; each is reported once, and cancelled only by a person.

        Orders of ours that work there though they are over here are cancelled: see `take_back`.
        """
        open_orders = self._desk.broker.open_orders()
        with self._desk.store.read() as unit:
            ours = unit.sent_orders.by_ref([order.order_ref for order in open_orders])
        take_back(self._desk, open_orders)
        self._filled_and_open = cancel_filled(self._desk, open_orders, self._filled_and_open)
        found = strangers(open_orders, ours)
        for ref, what in found.items():
            if ref not in self.strangers:
                log.critical("the broker works an order %s that is not ours: %s", ref, what)
        self.strangers = found
        return found

    def not_known(self, why: str) -> None:
        """The broker did not say what it holds: lock whatever is held or worked, as unknown, until it does."""
        self.is_known = False
        with self._desk.store.read() as unit:
            touched = {contract.instrument for contract in unit.positions.contract_positions()}
            touched |= {order.instrument for order in unit.orders.active_instrument_orders()}
            locked = {lock.instrument for lock in unit.restrictions.locks() if lock.owner == RECONCILIATION}
        if touched <= locked:
            return
        with self._desk.store.write() as unit:
            for code in sorted(touched - locked):
                reason = f"{UNKNOWN}: the broker did not say what it holds ({why})"
                unit.restrictions.lock(code, RECONCILIATION, at=self._desk.clock.now(), who=STACK_HANDLER, why=reason)
            unit.commit()
        log.warning("positions at the broker are unknown, locked until it answers: %s", ", ".join(sorted(touched)))

    def _keep_locks(self, wanted: Mapping[str, str]) -> None:
        now = self._desk.clock.now()
        with self._desk.store.write() as unit:
            for code, how in wanted.items():
                if unit.restrictions.lock(code, RECONCILIATION, at=now, who=STACK_HANDLER, why=how):
                    log.critical("position break in %s: %s", code, how, extra={"instrument_code": code})
                else:
                    unit.restrictions.explain_lock(code, RECONCILIATION, how)
            for code in unit.restrictions.unlock_all_but(RECONCILIATION, wanted):
                log.warning("position break in %s has cleared", code, extra={"instrument_code": code})
            unit.commit()
