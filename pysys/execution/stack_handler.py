"""The stack handler: works every order from the instrument stack to its fills, all day long, alone on its account."""

import logging
from collections.abc import Callable
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from pysys.broker.port import BrokerUnavailable
from pysys.desk import Desk
from pysys.domain.process_rules import ProcessStatus
from pysys.execution.commands import carry_out_waiting
from pysys.execution.fills import pull_fills
from pysys.execution.identity import require_account
from pysys.execution.isolation import Patience
from pysys.execution.lease import TradingLease, claim_trading
from pysys.execution.stack_methods import StackHandler, takes_down
from pysys.execution.stack_result import PROCESS, StackHandlerResult
from pysys.execution.wire import wired

__all__ = ["StackHandlerResult", "pull_fills", "run_stack_handler"]

SIMULATED_STEP = timedelta(minutes=1)
LONGEST_SLEEP = timedelta(seconds=1)  # so that STOP is heard
RESTLESS = "moments_without_rest"
MAX_PASSES = 200  # in one go; then STOP and commands are heard before the next

log = logging.getLogger(__name__)


def run_stack_handler(
    desk: Desk,
    until: datetime | None = None,
    progress: Callable[[datetime], None] | None = None,
    told_to_stop: Callable[[], bool] | None = None,
) -> StackHandlerResult:
    """Work all orders until `until` (the configured stop time when not given), then take the stacks down safely.

    Ends sooner when the process is on STOP or `told_to_stop` says so. Safe to kill and to start again at any point:
    whatever was intended or open is resolved with the broker before anything new is sent.

    Raises WrongAccount when the broker is not the one meant, LeaseHeld while another process trades the account, and
    LeaseLost when one has taken over because this one was silent; in all three nothing more is sent.
    """
    stops = _stop_time(desk) if until is None else until
    stop = told_to_stop if told_to_stop is not None else (lambda: False)
    account = _reach_account(desk, stops, stop)
    if account is None:
        result = StackHandlerResult(desk.clock.now(), ended=desk.clock.now())
        result.unknown = "it did not answer until the end of the day"
        return result
    lease = claim_trading(desk.store, account)
    try:
        return _Loop(desk, lease, stops, progress, stop).run()
    finally:
        lease.release()


def _stop_time(desk: Desk) -> datetime:
    zone = ZoneInfo(desk.config.timezone)
    stops = desk.config.process_configuration_stop_time
    at = stops.get(PROCESS, stops.get("default"))
    now = desk.clock.now().astimezone(zone)
    if at is None:
        return (now + timedelta(days=1)).replace(hour=0, minute=0, second=0, microsecond=0)
    today = now.replace(hour=at.hour, minute=at.minute, second=0, microsecond=0)
    return today if today > now else today + timedelta(days=1)


def _reach_account(desk: Desk, stops: datetime, stop: Callable[[], bool]) -> str | None:
    """The account, once the broker answers; None when it did not before the end."""
    patience = Patience()
    while not stop() and (now := desk.clock.now()) < stops and _status(desk) is not ProcessStatus.STOP:
        if patience.waits(now):
            desk.clock.sleep_until(min(now + LONGEST_SLEEP, stops))
            continue
        try:
            return require_account(desk)
        except BrokerUnavailable as error:
            log.warning("the broker does not answer (%s); next try in %s", error, patience.failed(now))
    return require_account(desk) if patience.failures == 0 else None


def _status(desk: Desk) -> ProcessStatus:
    with desk.store.read() as unit:
        return unit.runs.process(PROCESS).status


class _Loop:
    """One run of the stack handler under its lease."""

    def __init__(
        self,
        desk: Desk,
        lease: TradingLease,
        stops: datetime,
        progress: Callable[[datetime], None] | None,
        told_to_stop: Callable[[], bool],
    ) -> None:
        self.desk = wired(desk, lease)
        self.lease = lease
        self.stops = stops
        self.progress = progress
        self.told_to_stop = told_to_stop
        self.handler = StackHandler(self.desk, stops, lease)
        self._restless: object = None  # how things stood after MAX_PASSES without coming to rest

    def run(self) -> StackHandlerResult:
        clock = self.desk.clock
        self.handler.take_over_claims()
        while (now := clock.now()) < self.stops and not self.told_to_stop():
            self.lease.beat()
            with self.desk.store.read() as unit:
                status = unit.runs.process(PROCESS).status
                asked = bool(unit.commands.waiting())
            if status is ProcessStatus.STOP:
                break
            if asked:
                carry_out_waiting(self.handler)
            at_rest = self._work_this_moment(paused=status is ProcessStatus.PAUSE)
            if self.progress is not None:
                self.progress(now)
            if at_rest or self._goes_round():
                self._sleep(now)
        self.lease.beat()
        if takes_down(self.desk.config):
            self.handler.take_down()
        else:
            self.handler.result.unresolved = self.handler.unsettled()
        self.handler.result.ended = clock.now()
        return self.handler.result

    def _work_this_moment(self, *, paused: bool) -> bool:
        """Repeat the passes until nothing more happens now, so that where a run was cut off plays no part.

        False when it has not come to rest, for which there may be a good reason: many lots in a deep market.
        """
        for _ in range(MAX_PASSES):
            if not self.handler.one_pass(paused=paused):
                self._restless = None
                return True
            self.lease.beat()
        return False

    def _goes_round(self) -> bool:
        """Whether what is done keeps undoing itself; a person is told once, and time goes on."""
        before, self._restless = self._restless, self.handler.progress()
        if before != self._restless:
            return False
        if not self.handler.result.counts.get(RESTLESS):
            log.critical("the stack handler does not come to rest: %d passes, and nothing filled or ended", MAX_PASSES)
        self.handler.result.add(RESTLESS, 1)
        return True

    def _sleep(self, now: datetime) -> None:
        """Until the next look: soon while an order is working; in a simulation, until something can happen.

        In a simulation nobody else places orders while this runs, so the time until a market opens is skipped.
        """
        clock, config = self.desk.clock, self.desk.config
        if config.clock == "exchange":
            chance = self.handler.next_chance(now, SIMULATED_STEP)
            clock.sleep_until(self.stops if chance is None else min(chance, self.stops))
            return
        wake = min(now + timedelta(seconds=config.stack_handler_interval), self.stops)
        while (moment := clock.now()) < wake and not self.told_to_stop():
            clock.sleep_until(min(moment + LONGEST_SLEEP, wake))
            self.lease.beat()
