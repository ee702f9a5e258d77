"""When a process may start, which of its methods runs next, and when it ends. Pure: values in, a decision out."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from enum import StrEnum
from itertools import count
from zoneinfo import ZoneInfo

SATURDAY = 5
PREVIOUS_PROCESS_LIMIT = timedelta(hours=24)


class ProcessStatus(StrEnum):
    GO = "GO"
    PAUSE = "PAUSE"  # finish the current method, then idle
    STOP = "STOP"  # finish the current method, then end
    NO_RUN = "NO-RUN"  # let it finish, do not start it again


class Verdict(StrEnum):
    START = "start"
    WAIT = "wait"  # it may become possible by itself
    GIVE_UP = "give up"  # not in this window any more


@dataclass(frozen=True, slots=True)
class Decision:
    """Whether to start, and the reason in one sentence when not."""

    verdict: Verdict
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Window:
    """Times of day between which a process runs, in the system's time zone. A stop before the start passes midnight.

    >>> night = Window(time(22), time(4), "UTC")
    >>> night.occurrence(datetime(2024, 3, 2, 1, tzinfo=ZoneInfo("UTC")))[0].isoformat()
    '2024-03-01T22:00:00+00:00'
    """

    start: time
    stop: time
    timezone: str

    def occurrence(self, now: datetime) -> tuple[datetime, datetime]:
        """The [start, stop) that holds `now`; else the one that starts later on the same local day, or has passed.

        Aware datetimes in the window's time zone. A time that a clock change skips or repeats is read once.
        """
        day = now.astimezone(ZoneInfo(self.timezone)).date()
        yesterday = self._on(day - timedelta(days=1))
        return yesterday if yesterday[0] <= now < yesterday[1] else self._on(day)

    def last_stop_of_a_weekday(self, now: datetime) -> datetime:
        """The last stop that has passed, of occurrences whose middle is on a weekday.

        >>> day = Window(time(0), time(19, 45), "UTC")
        >>> day.last_stop_of_a_weekday(datetime(2024, 3, 4, 9, tzinfo=ZoneInfo("UTC"))).isoformat()  # a Monday
        '2024-03-01T19:45:00+00:00'
        """
        today = now.astimezone(ZoneInfo(self.timezone)).date()
        occurrences = (self._on(today - timedelta(days=back)) for back in count())
        return next(
            stop for start, stop in occurrences if stop <= now and (start + (stop - start) / 2).weekday() < SATURDAY
        )

    def _on(self, day: date) -> tuple[datetime, datetime]:
        zone = ZoneInfo(self.timezone)
        last = day + timedelta(days=1) if self.stop <= self.start else day
        return datetime.combine(day, self.start, zone), datetime.combine(last, self.stop, zone)


@dataclass(frozen=True, slots=True)
class PreviousProcess:
    """The process that has to have run before."""

    name: str
    running: bool
    last_end: datetime | None  # UTC


@dataclass(frozen=True, slots=True)
class ProcessFacts:
    """What is known of a process when it asks to start. Times are UTC."""

    name: str
    status: ProcessStatus
    running: bool
    window: Window
    machine: str | None  # None: any machine
    previous: PreviousProcess | None
    completed_at: datetime | None = None  # end of its last complete run
    runs_once: bool = False  # every method has a number of executions, so one run a window is enough


def may_start(facts: ProcessFacts, now: datetime, machine: str) -> Decision:
    """Whether the process may start now on this machine.

    Running, stopped, past its stop time, already done in this window or on the wrong machine: give up. Before its
    start time, on NO-RUN, or while the previous process has not finished in the last 24 hours: wait.
    """
    start, stop = facts.window.occurrence(now)
    if facts.running:
        return Decision(Verdict.GIVE_UP, f"{facts.name} is already running.")
    if facts.status is ProcessStatus.STOP:
        return Decision(Verdict.GIVE_UP, f"{facts.name} is on STOP; `pysys go {facts.name}` lets it run.")
    if facts.machine is not None and facts.machine != machine:
        return Decision(Verdict.GIVE_UP, f"{facts.name} runs on {facts.machine}, and this is {machine}.")
    if now >= stop:
        return Decision(Verdict.GIVE_UP, f"{facts.name} may not start after {stop:%H:%M} {facts.window.timezone}.")
    if now < start:
        return Decision(Verdict.WAIT, f"{facts.name} starts at {start:%H:%M} {facts.window.timezone}.")
    if facts.runs_once and facts.completed_at is not None and facts.completed_at >= start:
        return Decision(Verdict.GIVE_UP, f"{facts.name} has already run since {start:%H:%M} {facts.window.timezone}.")
    if facts.status is ProcessStatus.NO_RUN:
        return Decision(Verdict.WAIT, f"{facts.name} is on NO-RUN; `pysys go {facts.name}` lets it run.")
    return _after_previous(facts, now)


def _after_previous(facts: ProcessFacts, now: datetime) -> Decision:
    previous = facts.previous
    if previous is None:
        return Decision(Verdict.START)
    if previous.running:
        return Decision(Verdict.WAIT, f"{facts.name} waits for {previous.name}, which is running.")
    if previous.last_end is None or now - previous.last_end > PREVIOUS_PROCESS_LIMIT:
        return Decision(Verdict.WAIT, f"{facts.name} waits for {previous.name}, not run in the last 24 hours.")
    return Decision(Verdict.START)


@dataclass(frozen=True, slots=True)
class MethodRule:
    """How often a method runs within one run of its process."""

    name: str
    frequency: float = 0  # minutes between the starts of two executions
    max_executions: int = -1  # -1: without end
    on_completion_only: bool = False


@dataclass(frozen=True, slots=True)
class MethodHistory:
    """What a method did in this run of its process."""

    executions: int = 0
    last_start: datetime | None = None  # UTC


def due_methods(rules: Sequence[MethodRule], history: Mapping[str, MethodHistory], now: datetime) -> list[MethodRule]:
    """The methods to run now, in their configured order; `completion_methods` are never among them."""
    return [rule for rule in rules if not rule.on_completion_only and _is_due(rule, _past(rule, history), now)]


def is_finished(rules: Sequence[MethodRule], history: Mapping[str, MethodHistory]) -> bool:
    """True when no method will ever be due again. Methods of completion never keep a process open."""
    return all(rule.on_completion_only or _is_spent(rule, _past(rule, history)) for rule in rules)


def completion_methods(rules: Sequence[MethodRule]) -> list[MethodRule]:
    return [rule for rule in rules if rule.on_completion_only]


def runs_once(rules: Sequence[MethodRule]) -> bool:
    """True when every method has a number of executions, so that a run of the process ends by itself."""
    return all(rule.on_completion_only or rule.max_executions >= 0 for rule in rules)


def _past(rule: MethodRule, history: Mapping[str, MethodHistory]) -> MethodHistory:
    return history.get(rule.name, MethodHistory())


def _is_spent(rule: MethodRule, past: MethodHistory) -> bool:
    return 0 <= rule.max_executions <= past.executions


def _due_at(rule: MethodRule, past: MethodHistory, now: datetime) -> datetime:
    return now if past.last_start is None else past.last_start + timedelta(minutes=rule.frequency)


def _is_due(rule: MethodRule, past: MethodHistory, now: datetime) -> bool:
    return not _is_spent(rule, past) and _due_at(rule, past, now) <= now
