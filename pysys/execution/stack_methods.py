"""The methods of run_stack_handler: what is done to the orders, over and over, and how a day is taken down."""

import logging
from collections.abc import Callable, Collection, Sequence
from datetime import datetime, timedelta
from functools import partial

from pysys.broker.port import Broker, BrokerUnavailable, Session
from pysys.config import Config
from pysys.desk import Desk
from pysys.domain.contracts import Contract
from pysys.domain.errors import ConfigError
from pysys.domain.orders import BrokerOrder, BrokerOrderStatus, ContractOrder, Fill, InstrumentOrder
from pysys.domain.process_rules import MethodHistory, MethodRule, due_methods
from pysys.execution.broker_orders import OpenMarket, create_broker_orders, in_the_way, is_panic, workable
from pysys.execution.claims import take_over_claims
from pysys.execution.completion import complete_orders
from pysys.execution.fates import resolve_fates
from pysys.execution.fills import ask_since, record_fills, tell_of_alerts
from pysys.execution.identity import check_contract, check_locked_again, unlock_unneeded
from pysys.execution.isolation import Isolation, Patience
from pysys.execution.late_fees import tell_of_missing_fees
from pysys.execution.lease import LeaseLost, TradingLease
from pysys.execution.not_sent import Retries
from pysys.execution.reconciliation import Reconciler
from pysys.execution.restraining import beyond_limits, reduce_to_limits
from pysys.execution.roll_views import owing_families
from pysys.execution.roll_watch import cut_off_rolls, held_up_rolls
from pysys.execution.rolling import force_rolls, forced_markets, rolled_before_panic
from pysys.execution.sending import held_up
from pysys.execution.spawning import closes_for_conditions, prices_for_conditions, spawn_contract_orders
from pysys.execution.spread_book import markets_of_instrument
from pysys.execution.stack_result import PROCESS, StackHandlerResult
from pysys.execution.wire import TradingStopped
from pysys.execution.working import cancel_excess, cancel_overdue, manage_working_orders, request_cancel
from pysys.store.sent_orders import SentOrder
from pysys.store.unit import UnitOfWork

CANCEL_WAIT = timedelta(seconds=60)
LOOK_FOR_STRANGERS = timedelta(minutes=1)  # orders at the broker that are not ours, or over in our books
LOOK_FOR_FEES = timedelta(hours=1)  # that have not come for days
WORKING_FAILED = "working its orders failed"

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


class StackHandler:
    """The methods on one desk, and what they remember from one moment to the next; nothing of it needs to survive."""

    def __init__(self, desk: Desk, stops: datetime, lease: TradingLease | None = None) -> None:
        """lease: what the desk is traded under, kept while something takes long; none where nothing else trades."""
        now = desk.clock.now()
        self.desk = desk
        self.stops = stops
        self._lease = lease
        self.result = StackHandlerResult(now)
        self.sessions = Sessions(desk.broker, now, stops)
        self.reconciler = Reconciler(desk)
        self.patience = Patience()
        self._rules = method_rules(desk.config)
        self._history: dict[str, MethodHistory] = {}
        self._isolation = Isolation(desk, self.result.faults)
        self._retries = Retries()
        self._checked: set[Contract] = set()
        self._booked: set[tuple[str, str]] = set()  # executions nothing is left to learn of
        self._just_filled: set[str] = set()
        self._in_touch = False  # everything open or intended has been asked about, and nothing failed since
        self._strangers_sought: datetime | None = None
        self._fees_sought: datetime | None = None
        self._rolls_told: set[tuple[str, str]] = set()  # (market, trouble)

    def one_pass(self, *, paused: bool = False) -> int:
        """Every method that is due, once; how much was done. Paused: fills and their consequences, and time-outs, only.

        A broker that does not answer costs nothing but time: see `patience`.
        """
        now = self.desk.clock.now()
        if self.patience.waits(now):
            return 0
        changes = 0
        try:
            for rule in due_methods(self._rules, self._history, now):
                method = METHODS[rule.name]
                if paused and rule.name in _PLACING:
                    if method is not StackHandler.place_broker_orders:
                        continue
                    method = StackHandler.cancel_overdue
                past = self._history.get(rule.name, MethodHistory())
                self._history[rule.name] = MethodHistory(past.executions + 1, now)
                changes += self._isolation.guarded(partial(method, self))
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

    def take_over_claims(self) -> None:
        """Work on what a dead process left at the broker."""
        self._isolation.guarded(partial(take_over_claims, self.desk.store))

    # --- the methods ---

    def process_fills_stack(self) -> int:
        """Book what the broker has executed, and learn what became of every order not settled."""
        new = self.pull_fills()
        self._just_filled = {fill.contract.instrument for fill in new}
        changes = self.result.add("fills", len(new)) + self._resolve_fates()
        self._in_touch = True
        self._look_for_fees()
        return changes

    def _resolve_fates(self) -> int:
        with self.desk.store.read() as unit:
            unsettled = [order.instrument for order in unit.sent_orders.unsettled()]
        failure = "learning what became of its orders failed"
        return self._isolation.work(failure, unsettled, partial(resolve_fates, self.desk))

    def _look_for_fees(self) -> None:
        now = self.desk.clock.now()
        if self._fees_sought is None or now - self._fees_sought >= LOOK_FOR_FEES:
            self.result.add("fees_told_missing", tell_of_missing_fees(self.desk.store, now))
            self.result.add("alerts_told_late", tell_of_alerts(self.desk.store, now))
            self._tell_of_rolls("held up", lambda unit: held_up_rolls(unit, self.desk.config, now))
            self._fees_sought = now

    def _tell_of_rolls(self, trouble: str, look: Callable[[UnitOfWork], dict[str, str]]) -> None:
        """Remember what a person should know of rolls, and say each trouble of a market once in this run."""
        with self.desk.store.read() as unit:
            found = look(unit)
        for market, what in found.items():
            if (market, trouble) not in self._rolls_told:
                log.critical("%s: %s", market, what, extra={"instrument_code": market})
        self._rolls_told |= {(market, trouble) for market in found}
        self.result.rolls |= found

    def pull_fills(self) -> list[Fill]:
        """Executions we had not recorded. One that cannot be booked locks its instrument, and the others are."""
        desk = self.desk
        with desk.store.read() as unit:
            since = ask_since(unit, desk.clock.now(), desk.broker.name)
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
            self._isolation.fault(fill.contract.instrument, f"fill {fill.execution_id} cannot be booked", error)
            return []

    def check_external_position_break(self) -> int:
        """Compare positions with the broker's; lock what differs, unlock what agrees again."""
        now = self.desk.clock.now()
        look_around = self._strangers_sought is None or now - self._strangers_sought >= LOOK_FOR_STRANGERS
        if self._strangers_sought is None:
            check_locked_again(self.desk)
        elif look_around:
            unlock_unneeded(self.desk)
        findings = self.reconciler.compare(self._just_filled)
        self._just_filled = set()
        self.result.breaks = dict(findings.breaks)
        self.result.unknown = ""
        if look_around:
            self.result.strangers = dict(self.reconciler.look_for_strangers())
            self._strangers_sought = now
        return 0

    def handle_completed_orders(self) -> int:
        """End families that are filled to the last leg."""
        if not self._something_to_advance():
            return 0
        return self.result.add("families_completed", self._end_families("ending its orders failed"))

    def _end_families(self, failure: str, *, end_of_day: bool = False) -> int:
        def end(codes: Collection[str]) -> int:
            with self.desk.store.write() as unit:
                if self._lease is not None:
                    self._lease.require(unit)
                ended = complete_orders(unit, self.desk.clock.now(), codes, end_of_day=end_of_day)
                unit.commit()
            return ended

        with self.desk.store.read() as unit:
            codes = unit.orders.active_instruments()
        return self._isolation.work(failure, codes, end)

    def force_roll_orders(self) -> int:
        """Make the orders that force a roll."""

        def force(markets: Collection[str]) -> int:
            with self.desk.store.write() as unit:
                rolls = force_rolls(unit, self.desk.config, self.desk.clock.now(), markets)
                unit.commit()
            return rolls

        with self.desk.store.read() as unit:
            markets = forced_markets(unit)
        return self.result.add("roll_orders", self._isolation.work("forcing its roll failed", markets, force))

    def spawn_children(self, only: int | None = None) -> int:
        """Make the contract orders of new instrument orders, or of one. What fails in one instrument stays in it."""
        self._keep_limits()
        if not self._something_to_advance():
            return 0
        if only is not None:
            return self.result.add("contract_orders", self._spawn(lambda order: order.id == only))
        with self.desk.store.read() as unit:
            waiting = [*unit.orders.without_children(), *(family.parent for family in owing_families(unit))]
            codes = [*forced_markets(unit), *(order.instrument for order in waiting)]
        made = self._isolation.work(
            "making its contract orders failed",
            codes,
            lambda chosen: self._spawn(lambda order: order.instrument in chosen, chosen),
        )
        return self.result.add("contract_orders", made)

    def _spawn(self, chosen: Callable[[InstrumentOrder], bool], markets: Collection[str] | None = None) -> int:
        """Make the children of the chosen orders, and let roll states of these markets settle, in one transaction."""
        config, now = self.desk.config, self.desk.clock.now()
        prices = prices_for_conditions(self.desk, chosen)
        closes = closes_for_conditions(self.desk, prices)
        with self.desk.store.write() as unit:
            made = spawn_contract_orders(unit, config, now, prices, closes=closes, chosen=chosen, markets=markets)
            unit.commit()
        return made

    def _keep_limits(self) -> None:
        """Order what brings positions back within their limits, though no strategy asked."""

        def reduce(codes: Collection[str]) -> int:
            with self.desk.store.write() as unit:
                reducing = reduce_to_limits(unit, self.desk.config, self.desk.clock.now(), codes)
                unit.commit()
            return reducing

        with self.desk.store.read() as unit:
            beyond = beyond_limits(unit, self.desk.config)
        self.result.add("orders_to_keep_limits", self._isolation.work("keeping its limits failed", beyond, reduce))

    def _something_to_advance(self) -> bool:
        """Whether a family may have ended or needs children: mostly not, and then nothing is written."""
        with self.desk.store.read() as unit:
            return unit.orders.families_to_advance()

    def place_broker_orders(self) -> int:
        """Let the algos look at their orders, and send new ones for contract orders that can trade now."""
        if self._stopped():
            return self.cancel_overdue()
        if not self._in_touch:
            self.process_fills_stack()  # nothing new while anything intended or open has not been asked about
        with self.desk.store.read() as unit:
            working = unit.orders.active_broker_orders()
        codes = [order.instrument for order in working]
        moved = self._isolation.work(WORKING_FAILED, codes, self._manage, one_may_be_silent=True)
        self.result.add("orders_moved_or_cancelled", moved)
        cleared = self._isolation.work(WORKING_FAILED, codes, self._make_way, one_may_be_silent=True)
        return moved + self.result.add("orders_cancelled_for_panic", cleared) + self.send_new_orders()

    def _make_way(self, codes: Collection[str]) -> int:
        with self.desk.store.read() as unit:
            panics = [o for o in unit.orders.active_contract_orders() if is_panic(o) and o.instrument in codes]
            free = [order for order in panics if held_up(unit, order) is None]
            working = unit.orders.active_broker_orders()
            blocking = in_the_way(free, working) + rolled_before_panic(unit, self.desk.config, working)
        unasked = [
            (order, panic)
            for order, panic in blocking
            if order.instrument in codes and order.is_open and order.cancel_requested_at is None
        ]
        for order, panic in unasked:
            request_cancel(self.desk, order, f"makes way for panic order {panic}")
        return len(unasked)

    def cancel_overdue(self) -> int:
        """Cancel what has been at the broker for too long: that only takes risk away, so nothing holds it up."""
        with self.desk.store.read() as unit:
            codes = [order.instrument for order in unit.orders.active_broker_orders()]
        cancelled = self._isolation.work(WORKING_FAILED, codes, self._cancel_overdue, one_may_be_silent=True)
        return self.result.add("orders_moved_or_cancelled", cancelled)

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
        findings = self.reconciler.findings  # a break stands, whoever has lifted its lock meanwhile
        codes = [code for code in chosen if code not in {*findings.suspected, *findings.breaks}]
        create = partial(self._create, waiting, only)
        sent = self._isolation.work(WORKING_FAILED, codes, create, one_may_be_silent=True)
        return self.result.add("broker_orders", sent)

    def _stopped(self) -> bool:
        with self.desk.store.read() as unit:
            return unit.restrictions.kill_switch_engaged()

    def _manage(self, codes: Collection[str]) -> int:
        working, cancelled = self._without_excess(codes)
        return cancelled + manage_working_orders(self.desk, working, self._markets(codes), self.stops)

    def _cancel_overdue(self, codes: Collection[str]) -> int:
        working, cancelled = self._without_excess(codes)
        return cancelled + cancel_overdue(self.desk, working)

    def _without_excess(self, codes: Collection[str]) -> tuple[list[BrokerOrder], int]:
        """Orders at the broker, and how many others were cancelled because they could trade too much."""
        with self.desk.store.read() as unit:
            working = [order for order in unit.orders.active_broker_orders() if order.instrument in codes]
            parents = {order.id: order for order in unit.orders.active_contract_orders()} if working else {}
        excess = cancel_excess(self.desk, working, parents)
        return [order for order in working if order not in excess], len(excess)

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

    # --- the end of the day ---

    def take_down(self) -> None:
        """Cancel what works, wait for its fate, book its fills, end every family. Safe to repeat.

        A cancel asked for earlier in the day is asked for once more, and one the broker does not answer at each look.
        Whatever the broker does not tell about stays open, and is told of as unresolved.
        """
        desk = self.desk
        deadline = desk.clock.now() + CANCEL_WAIT
        answered: set[str] = set()
        self._settle(answered)
        while self._anything_active() and desk.clock.now() < deadline:
            desk.clock.sleep_until(desk.clock.now() + CANCEL_WAIT / 6)
            self._settle(answered)
        self.result.unresolved = self.unsettled()
        self.result.rolls.clear()
        self._tell_of_rolls("held up", lambda unit: held_up_rolls(unit, desk.config, desk.clock.now()))
        ended = self._end_families("ending its orders with the day failed", end_of_day=True)
        self._tell_of_rolls("cut off", cut_off_rolls)
        self.result.add("families_ended_at_end_of_day", ended)
        try:
            self.check_external_position_break()
        except BrokerUnavailable as error:
            self._out_of_touch(error, desk.clock.now())

    def _settle(self, answered: set[str]) -> None:
        if self._lease is not None:
            self._lease.beat()
        try:
            self.cancel_all(answered)
            self._isolation.guarded(self.process_fills_stack)
        except BrokerUnavailable as error:
            self._out_of_touch(error, self.desk.clock.now())

    def cancel_all(self, answered: set[str] | None = None) -> int:
        """Ask the broker to cancel every order of ours that may still trade; how many were asked for.

        answered: references of those it has answered already, which are not asked for again; it is added to.
        """
        done: set[str] = set() if answered is None else answered

        def cancel(codes: Collection[str]) -> int:
            ours = [order for order in self._cancellable(done) if order.instrument in codes]
            for order in ours:
                if request_cancel(self.desk, order, "end of day"):
                    done.add(order.order_ref)
            return len(ours)

        codes = [order.instrument for order in self._cancellable(done)]
        return self._isolation.work("cancelling its orders failed", codes, cancel)

    def _cancellable(self, answered: Collection[str]) -> list[SentOrder]:
        with self.desk.store.read() as unit:
            active = unit.sent_orders.unsettled()
        return [order for order in active if order.may_trade and order.order_ref not in answered]

    def _anything_active(self) -> bool:
        with self.desk.store.read() as unit:
            return bool(unit.sent_orders.unsettled())

    def unsettled(self) -> list[str]:
        """References of orders whose fate the broker has not told."""
        with self.desk.store.read() as unit:
            active = unit.sent_orders.unsettled()
        return [order.order_ref for order in active if order.status != BrokerOrderStatus.REJECTED]

    def progress(self) -> object:
        """What differs after anything was filled, or an order has ended or come."""
        with self.desk.store.read() as unit:
            return (
                unit.positions.fill_totals(),
                [order.id for order in unit.orders.active_instrument_orders()],
                [order.id for order in unit.orders.active_contract_orders()],
            )

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
