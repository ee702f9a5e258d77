"""The methods of run_stack_handler: what is done to the orders, over and over, and how a day is taken down."""

import logging
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial

from pysys.broker.port import Broker, BrokerUnavailable, Session
from pysys.config import Config
from pysys.desk import Desk
from pysys.domain.contracts import Contract
from pysys.domain.errors import ConfigError
from pysys.domain.orders import BrokerOrderStatus, ContractOrder, Fill, InstrumentOrder
from pysys.domain.process_rules import MethodHistory, MethodRule, due_methods
from pysys.execution.broker_orders import OpenMarket, create_broker_orders, workable
from pysys.execution.completion import complete_orders
from pysys.execution.fates import resolve_fates
from pysys.execution.fills import ask_since, record_fills
from pysys.execution.identity import check_contract, check_locked_again
from pysys.execution.lease import LeaseLost
from pysys.execution.not_sent import Retries
from pysys.execution.reconciliation import Reconciler
from pysys.execution.restraining import beyond_limits, reduce_to_limits
from pysys.execution.rolling import force_rolls
from pysys.execution.spawning import Prices, prices_for_conditions, spawn_contract_orders
from pysys.execution.spread_book import markets_of_instrument
from pysys.execution.stack_result import StackHandlerResult
from pysys.execution.wire import TradingStopped
from pysys.execution.working import manage_working_orders, request_cancel
from pysys.store.restrictions import FAULT

PROCESS = "run_stack_handler"
CANCEL_WAIT = timedelta(seconds=60)
LOOK_FOR_STRANGERS = timedelta(minutes=5)  # orders at the broker that are not ours
FIRST_RETRY = timedelta(seconds=2)
LAST_RETRY = timedelta(minutes=1)

log = logging.getLogger(__name__)


class Sessions:
    """Sessions of the instruments being worked, asked for once for the whole day."""

    def __init__(self, broker: Broker, since: datetime, until: datetime) -> None:
        self._broker, self._since, self._until = broker, since, until
        self._known: dict[str, list[Session]] = {}

    def of(self, instrument: str) -> list[Session]:
        if instrument not in self._known:
            self._known[instrument] = list(self._broker.sessions(instrument, self._since, self._until))
        return self._known[instrument]

    def open_market(self, instrument: str, now: datetime) -> OpenMarket | None:
        return next((OpenMarket(s.closes) for s in self.of(instrument) if now in s), None)

    def next_open(self, instrument: str, now: datetime) -> datetime | None:
        return next((s.opens for s in self.of(instrument) if s.opens > now), None)


@dataclass(slots=True)
class Patience:
    """When to ask somebody again who did not answer: later each time."""

    failures: int = 0
    not_before: datetime | None = None

    def failed(self, now: datetime) -> timedelta:
        wait: timedelta = min(FIRST_RETRY * 2 ** min(self.failures, 10), LAST_RETRY)
        self.failures += 1
        self.not_before = now + wait
        return wait

    def waits(self, now: datetime) -> bool:
        return self.not_before is not None and now < self.not_before


class StackHandler:
    """The methods on one desk, and what they remember from one moment to the next; nothing of it needs to survive."""

    def __init__(self, desk: Desk, stops: datetime) -> None:
        now = desk.clock.now()
        self.desk = desk
        self.stops = stops
        self.result = StackHandlerResult(now)
        self.sessions = Sessions(desk.broker, now, stops)
        self.reconciler = Reconciler(desk)
        self.patience = Patience()
        self._rules = method_rules(desk.config)
        self._history: dict[str, MethodHistory] = {}
        self._instruments: dict[str, Patience] = {}
        self._retries = Retries()
        self._checked: set[Contract] = set()
        self._booked: set[tuple[str, str]] = set()  # executions nothing is left to learn of
        self._just_filled: set[str] = set()
        self._in_touch = False  # everything open or intended has been asked about, and nothing failed since
        self._strangers_sought: datetime | None = None

    def one_pass(self, *, paused: bool = False) -> int:
        """Every method that is due, once; how much was done. Paused: fills and their consequences only.

        A broker that does not answer costs nothing but time: see `patience`.
        """
        now = self.desk.clock.now()
        if self.patience.waits(now):
            return 0
        changes = 0
        try:
            for rule in due_methods(self._rules, self._history, now):
                if paused and rule.name in _PLACING:
                    continue
                past = self._history.get(rule.name, MethodHistory())
                self._history[rule.name] = MethodHistory(past.executions + 1, now)
                changes += METHODS[rule.name](self)
        except BrokerUnavailable as error:
            self._out_of_touch(error, now)
            return 0
        except TradingStopped as stopped:
            log.warning("%s", stopped)
            return 0
        if self.patience.failures:
            log.warning("the broker answers again, after %d attempts", self.patience.failures)
            self.patience = Patience()
        return changes

    def _out_of_touch(self, error: BrokerUnavailable, now: datetime) -> None:
        self._in_touch = False
        self.result.add("broker_unavailable", 1)
        self.result.unknown = str(error)
        wait = self.patience.failed(now)
        log.warning("the broker does not answer (%s); nothing new is sent, next try in %s", error, wait)
        self.reconciler.not_known(str(error))

    # --- the methods ---

    def process_fills_stack(self) -> int:
        """Book what the broker has executed, and learn what became of every order not settled."""
        new = self.pull_fills()
        self._just_filled = {fill.contract.instrument for fill in new}
        changes = self.result.add("fills", len(new)) + resolve_fates(self.desk)
        self._in_touch = True
        return changes

    def pull_fills(self) -> list[Fill]:
        """Executions we had not recorded. One that cannot be booked locks its instrument, and the others are."""
        desk = self.desk
        with desk.store.read() as unit:
            since = ask_since(unit, desk.clock.now())
        fills = desk.broker.fills_since(since)
        try:
            return record_fills(desk.store, fills, desk.clock.now(), self._booked)
        except (BrokerUnavailable, LeaseLost):
            raise
        except Exception:
            return [new for fill in fills for new in self._record_alone(fill)]

    def _record_alone(self, fill: Fill) -> list[Fill]:
        try:
            return record_fills(self.desk.store, [fill], self.desk.clock.now())
        except Exception as error:
            self._fault(fill.contract.instrument, f"fill {fill.execution_id} cannot be booked", error)
            return []

    def check_external_position_break(self) -> int:
        """Compare positions with the broker's; lock what differs, unlock what agrees again."""
        now = self.desk.clock.now()
        if self._strangers_sought is None:
            check_locked_again(self.desk)
        findings = self.reconciler.compare(self._just_filled)
        self._just_filled = set()
        self.result.breaks = dict(findings.breaks)
        self.result.unknown = ""
        if self._strangers_sought is None or now - self._strangers_sought >= LOOK_FOR_STRANGERS:
            self.result.strangers = dict(self.reconciler.look_for_strangers())
            self._strangers_sought = now
        return 0

    def handle_completed_orders(self) -> int:
        """End families that are filled to the last leg."""
        if not self._something_to_advance():
            return 0
        with self.desk.store.write() as unit:
            ended = complete_orders(unit, self.desk.clock.now())
            unit.commit()
        return self.result.add("families_completed", ended)

    def force_roll_orders(self) -> int:
        """Make the orders that force a roll."""
        with self.desk.store.write() as unit:
            rolls = force_rolls(unit, self.desk.config, self.desk.clock.now())
            unit.commit()
        return self.result.add("roll_orders", rolls)

    def spawn_children(self, only: int | None = None) -> int:
        """Make the contract orders of new instrument orders, or of one. What fails in one instrument stays in it."""
        self._keep_limits()
        if not self._something_to_advance():
            return 0
        prices = prices_for_conditions(self.desk)
        if only is not None:
            return self.result.add("contract_orders", self._spawn(prices, lambda order: order.id == only))
        try:
            return self.result.add("contract_orders", self._spawn(prices, lambda order: True))
        except Exception:
            log.exception("contract orders cannot be made together; each instrument is tried alone")
        with self.desk.store.read() as unit:
            codes = _instruments(order.instrument for order in unit.orders.without_children())
        made = sum(self._alone(code, partial(self._spawn, prices, partial(_is_in, code))) for code in codes)
        return self.result.add("contract_orders", made)

    def _spawn(self, prices: Prices, chosen: Callable[[InstrumentOrder], bool]) -> int:
        """Make the children of the chosen orders in one transaction."""
        with self.desk.store.write() as unit:
            made = spawn_contract_orders(unit, self.desk.config, self.desk.clock.now(), prices, chosen=chosen)
            unit.commit()
        return made

    def _keep_limits(self) -> None:
        """Order what brings positions back within their limits, though no strategy asked."""
        with self.desk.store.read() as unit:
            if not beyond_limits(unit, self.desk.config):
                return
        with self.desk.store.write() as unit:
            reducing = reduce_to_limits(unit, self.desk.config, self.desk.clock.now())
            unit.commit()
        self.result.add("orders_to_keep_limits", reducing)

    def _something_to_advance(self) -> bool:
        """Whether a family may have ended or needs children: mostly not, and then nothing is written."""
        with self.desk.store.read() as unit:
            return unit.orders.families_to_advance()

    def place_broker_orders(self) -> int:
        """Let the algos look at their orders, and send new ones for contract orders that can trade now."""
        if self._stopped():
            return 0
        if not self._in_touch:
            self.process_fills_stack()  # nothing new while anything intended or open has not been asked about
        with self.desk.store.read() as unit:
            working = unit.orders.active_broker_orders()
        moved = self._together_or_alone((order.instrument for order in working), self._manage)
        return self.result.add("orders_moved_or_cancelled", moved) + self.send_new_orders()

    def send_new_orders(self, only: int | None = None) -> int:
        """Send broker orders for contract orders that can trade now, or for one of them whose turn it is."""
        if self._stopped():
            return 0
        if not (self._in_touch and self.reconciler.is_known):
            self.process_fills_stack()
            self.check_external_position_break()
        with self.desk.store.read() as unit:
            waiting = unit.orders.active_contract_orders()
        chosen = (order.instrument for order in waiting if only in (None, order.id))
        codes = [code for code in chosen if code not in self.reconciler.findings.suspected]
        sent = self._together_or_alone(codes, partial(self._create, waiting, only))
        return self.result.add("broker_orders", sent)

    def _stopped(self) -> bool:
        with self.desk.store.read() as unit:
            return unit.restrictions.kill_switch_engaged()

    def _manage(self, codes: Collection[str]) -> int:
        with self.desk.store.read() as unit:
            working = [order for order in unit.orders.active_broker_orders() if order.instrument in codes]
        return manage_working_orders(self.desk, working, self._markets(codes), self.stops)

    def _create(self, waiting: Sequence[ContractOrder], only: int | None, codes: Collection[str]) -> int:
        markets = self._markets(codes)
        with self.desk.store.read() as unit:
            working = unit.orders.active_broker_orders()
        ready = workable(waiting, working)
        traded = {leg.contract for order in ready if markets.get(order.instrument) is not None for leg in order.legs}
        wrong = {contract.instrument for contract in sorted(traded) if not self._is_the_one_meant(contract)}
        if only is not None:
            waiting = [order for order in ready if order.id == only]
        meant = {code: market for code, market in markets.items() if code not in wrong}
        return create_broker_orders(self.desk, waiting, working, meant, self.stops, self._retries)

    def _markets(self, codes: Collection[str]) -> dict[str, OpenMarket | None]:
        now = self.desk.clock.now()
        return {code: self.sessions.open_market(code, now) for code in codes}

    def _is_the_one_meant(self, contract: Contract) -> bool:
        if contract not in self._checked and check_contract(self.desk, contract):
            self._checked.add(contract)
        return contract in self._checked

    # --- one instrument at a time ---

    def _together_or_alone(self, codes: Iterable[str], work: Callable[[Collection[str]], int]) -> int:
        """Work instruments in one go, which is quicker; when that fails, each by itself, so that one fails alone.

        What was done before the failure is in the store, and is not done again.
        """
        now = self.desk.clock.now()
        waiting = [code for code in _instruments(codes) if not self._patience_with(code).waits(now)]
        if not waiting:
            return 0
        try:
            done = work(waiting)
        except (LeaseLost, TradingStopped):
            raise
        except Exception as error:
            log.info("%d instruments failed together (%s), each is worked alone", len(waiting), error)
            return sum(self._alone(code, partial(work, [code])) for code in waiting)
        for code in waiting:
            self._instruments.pop(code, None)
        return done

    def _patience_with(self, instrument: str) -> Patience:
        return self._instruments.get(instrument, Patience())

    def _alone(self, instrument: str, work: Callable[[], int]) -> int:
        """Work one instrument. What goes wrong in it stays in it: the others go on.

        A broker silent about it makes it wait; anything unforeseen locks it until a person looks.
        """
        now = self.desk.clock.now()
        patience = self._patience_with(instrument)
        if patience.waits(now):
            return 0
        try:
            done = work()
        except (LeaseLost, TradingStopped):
            raise
        except BrokerUnavailable as error:
            wait = patience.failed(now)
            self._instruments[instrument] = patience
            log.warning("%s: the broker does not answer (%s); next try in %s", instrument, error, wait)
            return 0
        except Exception as error:
            self._fault(instrument, "working its orders failed", error)
            return 0
        self._instruments.pop(instrument, None)
        return done

    def _fault(self, instrument: str, what: str, error: Exception) -> None:
        why = f"{what}: {type(error).__name__}: {' '.join(str(error).split())}"
        self.result.faults[instrument] = why
        with self.desk.store.write() as unit:
            new = unit.restrictions.lock(instrument, FAULT, at=self.desk.clock.now(), who=PROCESS, why=why)
            unit.commit()
        if new:
            log.critical("%s is locked, %s", instrument, why, exc_info=error, extra={"instrument_code": instrument})

    # --- the end of the day ---

    def take_down(self) -> None:
        """Cancel what works, wait for its fate, book its fills, end every family. Safe to repeat.

        Whatever the broker does not tell about stays open, and is told of as unresolved.
        """
        desk = self.desk
        deadline = desk.clock.now() + CANCEL_WAIT
        self._settle(self.cancel_all)
        while self.unsettled() and desk.clock.now() < deadline:
            desk.clock.sleep_until(desk.clock.now() + CANCEL_WAIT / 6)
            self._settle(lambda: 0)
        self.result.unresolved = self.unsettled()
        with desk.store.write() as unit:
            ended = complete_orders(unit, desk.clock.now(), end_of_day=True)
            self.result.add("families_ended_at_end_of_day", ended)
            unit.commit()
        try:
            self.check_external_position_break()
        except BrokerUnavailable as error:
            self._out_of_touch(error, desk.clock.now())

    def _settle(self, first: Callable[[], int]) -> None:
        try:
            first()
            self.process_fills_stack()
        except BrokerUnavailable as error:
            self._out_of_touch(error, self.desk.clock.now())

    def cancel_all(self, why: str = "end of day") -> int:
        """Ask the broker to cancel every order of ours that may still trade; how many were asked for."""
        with self.desk.store.read() as unit:
            working = [o for o in unit.orders.active_broker_orders() if o.is_open and o.cancel_requested_at is None]
        for order in working:
            request_cancel(self.desk, order, why)
        return len(working)

    def unsettled(self) -> list[str]:
        """References of orders whose fate the broker has not told."""
        with self.desk.store.read() as unit:
            active = unit.orders.active_broker_orders()
        return [order.order_ref for order in active if order.status is not BrokerOrderStatus.REJECTED]

    # --- when to look again ---

    def next_chance(self, now: datetime, step: timedelta) -> datetime | None:
        """When something can happen at the earliest, while nobody places orders; None when nothing is waiting."""
        with self.desk.store.read() as unit:
            if unit.orders.active_broker_orders() or self.patience.waits(now):
                return now + step
            locked = unit.restrictions.locked_instruments()
            waiting = {o.instrument for o in unit.orders.active_contract_orders()} - set(locked)
            conditional = {o.instrument for o in unit.orders.without_children() if o.condition is not None}
            waiting |= {market for code in conditional for market in markets_of_instrument(self.desk.config, code)}
        moments = [now + step for code in waiting if self.sessions.open_market(code, now) is not None]
        moments += [opens for code in waiting if (opens := self.sessions.next_open(code, now)) is not None]
        return min(moments, default=None)


def _instruments(codes: Iterable[str]) -> list[str]:
    """Each once, in the order they first appear."""
    return list(dict.fromkeys(codes))


def _is_in(instrument: str, order: InstrumentOrder) -> bool:
    return order.instrument == instrument


# By their configured names, in the order they run: what the broker says comes before what we decide.
METHODS: dict[str, Callable[[StackHandler], int]] = {
    "process_fills_stack": StackHandler.process_fills_stack,
    "check_external_position_break": StackHandler.check_external_position_break,
    "handle_completed_orders": StackHandler.handle_completed_orders,
    "generate_force_roll_orders": StackHandler.force_roll_orders,
    "spawn_children_from_new_instrument_orders": StackHandler.spawn_children,
    "create_broker_orders_from_contract_orders": StackHandler.place_broker_orders,
}
_PLACING = (
    "generate_force_roll_orders",
    "spawn_children_from_new_instrument_orders",
    "create_broker_orders_from_contract_orders",
)
REMOVAL = "safe_stack_removal"
_ONCE = "generate_force_roll_orders"


def method_rules(config: Config) -> list[MethodRule]:
    """The methods to run, in their order; one that is not configured is not run.

    Without any configuration of the process all of them are, rolls once. Raises ConfigError for an unknown method.
    """
    configured = config.process_configuration_methods.get(PROCESS)
    if configured is None:
        return [MethodRule(name, max_executions=1 if name == _ONCE else -1) for name in METHODS]
    unknown = sorted(set(configured) - {*METHODS, REMOVAL})
    if unknown:
        raise ConfigError(
            f"process_configuration_methods.{PROCESS} has no method {unknown[0]}. There are: "
            f"{', '.join([*METHODS, REMOVAL])}."
        )
    found = {name: configured[name] for name in METHODS if name in configured}
    return [
        MethodRule(name, each.frequency, each.max_executions, each.run_on_completion_only)
        for name, each in found.items()
    ]


def takes_down(config: Config) -> bool:
    """Whether the stacks are taken down at the end."""
    configured = config.process_configuration_methods.get(PROCESS)
    return configured is None or REMOVAL in configured
