"""What an operator asks of processes from the command line: look, stop, go, mark as finished."""

import getpass
from collections.abc import Sequence
from datetime import datetime
from zoneinfo import ZoneInfo

from pysys.clock import Clock, SystemClock
from pysys.config import Config, Settings
from pysys.control.ledger import bury_the_dead, notebook_lease, process_lease
from pysys.control.notebooks import notebook_names, unknown_name
from pysys.control.opening import open_clock
from pysys.control.process import process_names
from pysys.domain.errors import ConfigError
from pysys.domain.process_rules import ProcessStatus
from pysys.execution.lease import EngineStanding, engine_standings
from pysys.store.database import require_current
from pysys.store.machine import host_name
from pysys.store.repository import Author
from pysys.store.runs import ProcessState, Run, RunStatus
from pysys.store.unit import Store

ALL = "all"


def operator_name() -> str:
    """Who sits at this machine."""
    try:
        return f"{getpass.getuser()}@{host_name()}"
    except (KeyError, OSError):
        return f"unknown@{host_name()}"


def change_status(settings: Settings, name: str, status: str) -> list[str]:
    """Give one process, or all, a status. Returns a line for each. Raises ConfigError for an unknown process."""
    known = process_names(settings.config)
    names = known if name == ALL else [name]
    if name != ALL and name not in known:
        raise ConfigError(unknown_name(name, known))
    store, clock = _open(settings)
    try:
        with store.write() as unit:
            for each in names:
                unit.runs.set_process_status(each, ProcessStatus(status), operator_name(), clock.now())
            unit.commit()
    finally:
        store.close()
    return [f"{each} is on {status}." for each in names]


def mark_finished(settings: Settings, name: str) -> list[str]:
    """Free a process or method whose program is gone, and mark its runs dead. Returns what was done.

    `all` does it for whatever is certainly dead. By name it is done even if the program lives: its run then ends
    itself at its next sign of life.
    """
    store, clock = _open(settings)
    try:
        if name == ALL:
            dead = bury_the_dead(store, clock.now())
            return [f"{len(dead)} dead runs marked as finished."]
        known = [*process_names(settings.config), *notebook_names(settings.notebooks)]
        if name not in known:
            raise ConfigError(unknown_name(name, known))
        return [_finish(store, name, clock.now())]
    finally:
        store.close()


def _finish(store: Store, name: str, now: datetime) -> str:
    with store.write() as unit:
        running = unit.runs.find(status=RunStatus.RUNNING)
        ended = [run for run in running if name in (run.process, run.method) and unit.runs.mark_dead(run.id, now)]
        for run in ended:
            unit.runs.release(notebook_lease(run.method))
        unit.runs.release(notebook_lease(name))
        if unit.runs.release(process_lease(name)):
            unit.runs.process_ended(name, now)
        unit.commit()
    return f"{name} is marked as finished; {len(ended)} of its runs were still open."


def status_lines(settings: Settings, runs: int) -> list[str]:
    """Every process with its status, whether it runs, last start and end and window; the engine; the latest runs."""
    store, _ = _open(settings)
    try:
        with store.read() as unit:
            states = unit.runs.processes()
            now = SystemClock().now()
            alive = {lease.name: lease for lease in unit.runs.leases() if not lease.is_free(now)}
            latest = unit.runs.find(limit=runs)
            engines = engine_standings(unit)
    finally:
        store.close()
    zone = ZoneInfo(settings.config.timezone)
    rows = [("PROCESS", "STATUS", "RUNNING", "LAST START", "LAST END", "WINDOW")]
    for name in process_names(settings.config):
        state = states.get(name, ProcessState(name))
        lease = alive.get(process_lease(name))
        running = "no" if lease is None else f"{lease.holder.host}:{lease.holder.pid}"
        times = (_time(state.last_start, zone), _time(state.last_end, zone))
        rows.append((name, state.status.value, running, *times, _hours(settings.config, name)))
    ran = [("RUN", "STARTED", "STATUS", "SECONDS", "ERROR"), *(_run(r, zone) for r in latest)]
    return [*aligned(rows), "", *_engine_lines(engines, zone), "", *aligned(ran)]


def _engine_lines(engines: Sequence[EngineStanding], zone: ZoneInfo) -> list[str]:
    """Who trades: alive, expired (silent for too long) or gone (its process has ended); the last two hold up nobody."""
    if not engines:
        return ["ENGINE  none: nobody holds the right to trade"]
    rows = [("ENGINE OF", "HELD BY", "SINCE", "LAST HEARTBEAT", "STATE")]
    for each in engines:
        age = f"{each.heartbeat_age.total_seconds():.0f} s ago"
        rows.append((each.account, f"{each.host}:{each.pid}", _time(each.since, zone), age, each.state))
    return aligned(rows)


def _hours(config: Config, name: str) -> str:
    starts, stops = config.process_configuration_start_time, config.process_configuration_stop_time
    start, stop = starts.get(name, starts.get("default")), stops.get(name, stops.get("default"))
    if start is None and stop is None:
        return "not configured"
    return f"{'' if start is None else format(start, '%H:%M')}-{'' if stop is None else format(stop, '%H:%M')}"


def _run(run: Run, zone: ZoneInfo) -> tuple[str, ...]:
    seconds = "" if run.seconds is None else f"{run.seconds:.1f}"
    return (run.method, _time(run.started_at, zone), run.status.value, seconds, run.error if run.error else "")


def _time(moment: datetime | None, zone: ZoneInfo) -> str:
    return "never" if moment is None else f"{moment.astimezone(zone):%Y-%m-%d %H:%M}"


def aligned(rows: Sequence[tuple[str, ...]]) -> list[str]:
    """Lines of a table, each column as wide as it needs."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]


def _open(settings: Settings) -> tuple[Store, Clock]:
    store = Store(settings.database_url, Author("operator"))
    require_current(store.engine)
    return store, open_clock(settings)
