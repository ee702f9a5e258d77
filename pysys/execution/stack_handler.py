"""The stack handler: works every order from the instrument stack to its fills, all day long."""

import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pandas as pd

from pysys.broker.port import Broker, BrokerUnavailable, Session
from pysys.desk import Desk
from pysys.domain.errors import NeedsOperator, PysysError
from pysys.domain.orders import BrokerOrderStatus
from pysys.domain.process_rules import ProcessStatus
from pysys.execution.broker_orders import (
    OpenMarket,
    complete_orders,
    create_broker_orders,
    manage_working_orders,
    position_breaks,
    request_cancel,
    resolve_fates,
)
from pysys.execution.fills import record_fills
from pysys.execution.spawning import force_rolls, spawn_contract_orders
from pysys.store.restrictions import RECONCILIATION

FILLS_AGAIN = timedelta(days=1)  # how far back executions are asked for again; hearing one twice changes nothing
CANCEL_WAIT = timedelta(seconds=60)
SIMULATED_STEP = timedelta(minutes=1)
MAX_PASSES = 200  # in one moment; more means something keeps undoing itself

log = logging.getLogger(__name__)


@dataclass
class StackHandlerResult:
    """What one run of the stack handler did."""

    started: datetime  # UTC
    ended: datetime | None = None
    counts: dict[str, int] = field(default_factory=dict)
    breaks: dict[str, str] = field(default_factory=dict)  # instruments locked at the end, and why
    unresolved: list[str] = field(default_factory=list)  # broker orders whose fate is not known at the end

    def add(self, name: str, number: int) -> int:
        self.counts[name] = self.counts.get(name, 0) + number
        return number

    def table(self) -> pd.DataFrame:
        rows = [(name.replace("_", " "), number) for name, number in self.counts.items()]
        return pd.DataFrame(rows, columns=["what", "count"]).set_index("what")

    def summary(self) -> dict[str, Any]:
        return {**self.counts, "breaks": self.breaks, "unresolved": self.unresolved}

    def raise_if_incomplete(self) -> None:
        """Raises NeedsOperator for orders whose fate the broker did not tell, or positions that differ."""
        if self.unresolved:
            raise NeedsOperator(
                f"The broker did not say what became of order {', '.join(self.unresolved)}. Nothing new is sent for "
                "its contract until it does: look at the broker's own screen."
            )
        if self.breaks:
            where = "; ".join(f"{instrument} {how}" for instrument, how in self.breaks.items())
            raise NeedsOperator(f"Positions differ from the broker's, so these are locked: {where}.")


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

    def open_markets(self, instruments: set[str], now: datetime) -> dict[str, OpenMarket]:
        found = {code: self.open_market(code, now) for code in sorted(instruments)}
        return {code: market for code, market in found.items() if market is not None}

    def next_open(self, instrument: str, now: datetime) -> datetime | None:
        return next((s.opens for s in self.of(instrument) if s.opens > now), None)


@dataclass(frozen=True, slots=True)
class _Day:
    """What one run of the stack handler carries from moment to moment."""

    sessions: Sessions
    stops: datetime  # UTC
    result: StackHandlerResult


def run_stack_handler(
    desk: Desk, until: datetime | None = None, progress: Callable[[datetime], None] | None = None
) -> StackHandlerResult:
    """Work all orders until `until` (the configured stop time when not given), then take the stacks down safely.

    Safe to kill and to start again at any point: whatever was intended or open is resolved with the broker first.
    """
    result = StackHandlerResult(desk.clock.now())
    stops = _stop_time(desk) if until is None else until
    day = _Day(Sessions(desk.broker, result.started, stops), stops, result)
    with desk.store.write() as unit:
        result.add("roll_orders", force_rolls(unit, desk.config, desk.clock.now()))
        unit.commit()
    while (now := desk.clock.now()) < stops and not _told_to_stop(desk):
        _work_this_moment(desk, day)
        if progress is not None:
            progress(now)
        desk.clock.sleep_until(_wake_time(desk, day, now))
    _take_down(desk, result)
    result.ended = desk.clock.now()
    return result


def _stop_time(desk: Desk) -> datetime:
    zone = ZoneInfo(desk.config.timezone)
    stops = desk.config.process_configuration_stop_time
    at = stops.get("run_stack_handler", stops.get("default"))
    now = desk.clock.now().astimezone(zone)
    if at is None:
        return (now + timedelta(days=1)).replace(hour=0, minute=0, second=0, microsecond=0)
    today = now.replace(hour=at.hour, minute=at.minute, second=0, microsecond=0)
    return today if today > now else today + timedelta(days=1)


def _told_to_stop(desk: Desk) -> bool:
    with desk.store.read() as unit:
        return unit.runs.process("run_stack_handler").status is ProcessStatus.STOP


def _work_this_moment(desk: Desk, day: _Day) -> None:
    """Repeat the passes until nothing more happens now, so that where a run was cut off plays no part."""
    for _ in range(MAX_PASSES):
        try:
            if not _one_pass(desk, day):
                return
        except BrokerUnavailable as error:
            log.warning("broker did not answer, nothing new is sent: %s", error)
            return
    raise PysysError(f"The stack handler did not come to rest in {MAX_PASSES} passes at {desk.clock.now():%H:%M}.")


def _one_pass(desk: Desk, day: _Day) -> int:
    """Everything that can be done at this moment, once; how much was."""
    now, result = desk.clock.now(), day.result
    changes = result.add("fills", pull_fills(desk, now))
    changes += resolve_fates(desk)
    check_position_breaks(desk, result)
    changes += _advance_families(desk, day, now)
    with desk.store.read() as unit:
        waiting = unit.orders.active_contract_orders()
        working = unit.orders.active_broker_orders()
    if not waiting and not working:
        return changes
    open_markets = day.sessions.open_markets({order.instrument for order in waiting}, now)
    moved = result.add("orders_moved_or_cancelled", manage_working_orders(desk, working, open_markets, day.stops))
    sent = result.add("broker_orders", create_broker_orders(desk, waiting, working, open_markets, day.stops))
    return changes + moved + sent


def _advance_families(desk: Desk, day: _Day, now: datetime) -> int:
    """End families that are complete and make the children of new ones; nothing is written when there is neither."""
    with desk.store.read() as unit:
        idle = not unit.orders.families_to_advance()
    if idle:
        return 0
    with desk.store.write() as unit:
        ended = day.result.add("families_completed", complete_orders(unit, now))
        spawned = day.result.add("contract_orders", spawn_contract_orders(unit, desk.config, now))
        unit.commit()
    return ended + spawned


def pull_fills(desk: Desk, now: datetime) -> int:
    """Record executions we have not recorded yet; how many were new."""
    with desk.store.read() as unit:
        last = unit.positions.last_fill_time()
    since = None if last is None else last - FILLS_AGAIN
    return len(record_fills(desk.store, desk.broker.fills_since(since), now))


def check_position_breaks(desk: Desk, result: StackHandlerResult) -> None:
    """Lock instruments whose contract positions differ from the broker's, and lift our own locks where they agree."""
    brokers = desk.broker.positions()
    with desk.store.read() as unit:
        breaks = position_breaks(unit.positions.contract_positions(), brokers)
        locked = unit.restrictions.locked_instruments()
    ours = {code for code, why in locked.items() if why.startswith(RECONCILIATION)}
    if set(breaks) != ours:
        with desk.store.write() as unit:
            for instrument, how in breaks.items():
                if unit.restrictions.lock(
                    instrument, RECONCILIATION, at=desk.clock.now(), who="stack handler", why=how
                ):
                    log.critical("position break in %s: %s", instrument, how, extra={"instrument_code": instrument})
            for instrument in unit.restrictions.unlock_all_but(RECONCILIATION, breaks):
                log.warning("position break in %s has cleared", instrument, extra={"instrument_code": instrument})
            unit.commit()
    result.breaks = breaks


def _wake_time(desk: Desk, day: _Day, now: datetime) -> datetime:
    """When to look again: soon while an order is working; in a simulation, else when something can happen.

    In a simulation nobody else places orders while this runs, so the time until a market opens is skipped.
    """
    stops, sessions = day.stops, day.sessions
    simulated = desk.config.clock == "exchange"
    step = SIMULATED_STEP if simulated else timedelta(seconds=desk.config.stack_handler_interval)
    if not simulated:
        return min(now + step, stops)
    with desk.store.read() as unit:
        if unit.orders.active_broker_orders():
            return min(now + step, stops)
        locked = unit.restrictions.locked_instruments()
        waiting = {o.instrument for o in unit.orders.active_contract_orders()} - set(locked)
    moments = [now + step for code in waiting if sessions.open_market(code, now) is not None]
    moments += [opens for code in waiting if (opens := sessions.next_open(code, now)) is not None]
    return min([*moments, stops])


def _take_down(desk: Desk, result: StackHandlerResult) -> None:
    """Cancel what works, wait for its fate, book its fills, end every family. Safe to repeat."""
    with desk.store.read() as unit:
        working = [o for o in unit.orders.active_broker_orders() if o.cancel_requested_at is None]
    for order in working:
        if order.is_open:
            request_cancel(desk, order, "end of day")
    deadline = desk.clock.now() + CANCEL_WAIT
    while _unsettled(desk) and desk.clock.now() < deadline:
        desk.clock.sleep_until(desk.clock.now() + CANCEL_WAIT / 6)
        result.add("fills", pull_fills(desk, desk.clock.now()))
        resolve_fates(desk)
    result.add("fills", pull_fills(desk, desk.clock.now()))
    resolve_fates(desk)
    result.unresolved = _unsettled(desk)
    with desk.store.write() as unit:
        result.add("families_ended_at_end_of_day", complete_orders(unit, desk.clock.now(), end_of_day=True))
        unit.commit()
    check_position_breaks(desk, result)


def _unsettled(desk: Desk) -> list[str]:
    with desk.store.read() as unit:
        return [
            order.order_ref
            for order in unit.orders.active_broker_orders()
            if order.status is not BrokerOrderStatus.REJECTED
        ]
