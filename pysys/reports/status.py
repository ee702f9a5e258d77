"""Status report: is everything running, fresh and within its limits?"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import pandas as pd

from pysys.config import Config
from pysys.desk import Desk
from pysys.execution.engine import last_day_ended
from pysys.execution.fills import FEES_AGAIN
from pysys.execution.lease import engine_standings
from pysys.reports.compose import compose
from pysys.reports.inputs import Inputs, read_inputs
from pysys.reports.period import DAY
from pysys.reports.report import Report, Section, moment_text
from pysys.store.unit import UnitOfWork

NO_LIMIT = "no limit"
DOLLAR = "USD"  # every rate is stored in it
_TROUBLED_OUTCOMES = ("missing", "held_back", "error")


@dataclass(frozen=True)
class _State:
    """Everything the report shows, read in one transaction."""

    processes: pd.DataFrame
    methods: pd.DataFrame
    unsuccessful: pd.DataFrame
    prices: pd.DataFrame
    optimal: pd.DataFrame
    trade_limits: pd.DataFrame
    position_limits: pd.DataFrame
    overrides: pd.DataFrame
    locks: pd.DataFrame
    kill_switch: tuple[bool, datetime, str, str] | None
    quarantined: pd.DataFrame
    outcomes: pd.DataFrame
    refused_poll: datetime | None
    engine: pd.DataFrame
    missing_fees: pd.DataFrame
    left_over: pd.DataFrame


def status_report(desk: Desk) -> Report:
    """Exceptions first, then processes, methods, ages of data, limits, overrides, locks and price outcomes."""
    now = desk.clock.now()
    with desk.store.read() as unit:
        state = _read(desk.config, unit, now)
    inputs = read_inputs(desk, now)
    exceptions = _exceptions(state, inputs)
    count = len(exceptions)
    headline = "Nothing needs attention." if count == 0 else f"{count} thing{'s' if count > 1 else ''} to look at."
    return compose(
        "Status report",
        now,
        inputs,
        headline=[headline],
        sections=[_exception_section(exceptions), *_sections(state)],
        data={
            "exceptions": [f"{what}: {detail}" for what, detail in exceptions],
            "kill_switch_engaged": state.kill_switch is not None and state.kill_switch[0],
            "locked_instruments": sorted(set(state.locks["instrument"])),
            "quarantined_rows": int(state.quarantined["rows"].sum()),
            "price_outcomes": _counts(state.outcomes),
        },
    )


def _read(config: Config, unit: UnitOfWork, now: datetime) -> _State:
    reporting = unit.reporting
    last_poll = reporting.last_poll(now)
    return _State(
        processes=_process_table(config, reporting.processes(), now),
        methods=reporting.last_runs(now),
        unsuccessful=reporting.unsuccessful_runs(now - DAY, now),
        prices=_price_ages(unit, now),
        optimal=_ages(reporting.last_optimal(now), "time", now),
        trade_limits=_trade_limit_table(reporting.trade_limits(now), now),
        position_limits=_position_limit_table(unit),
        overrides=reporting.overrides(),
        locks=reporting.locks(),
        kill_switch=reporting.kill_switch(),
        quarantined=reporting.quarantined(),
        outcomes=reporting.price_outcomes(),
        refused_poll=None if last_poll is None or last_poll[1] else last_poll[0],
        engine=_engine_table(unit),
        missing_fees=_missing_fee_table(unit, now),
        left_over=_left_over(config, unit, now),
    )


def _left_over(config: Config, unit: UnitOfWork, now: datetime) -> pd.DataFrame:
    """Orders that should have ended with the day they were for: the engine did not live to see its end."""
    ended = last_day_ended(config, now)
    orders = unit.reporting.active_instrument_orders()
    return orders[orders["generated_at"] <= ended] if ended is not None and len(orders) else orders[:0]


def _engine_table(unit: UnitOfWork) -> pd.DataFrame:
    rows = [
        (each.account, each.state, each.host, each.pid, each.since, each.heartbeat_age.total_seconds())
        for each in engine_standings(unit)
    ]
    columns = ["account", "state", "host", "process", "since (UTC)", "last heartbeat, seconds ago"]
    return pd.DataFrame(rows, columns=columns)


def _missing_fee_table(unit: UnitOfWork, now: datetime) -> pd.DataFrame:
    """Fills whose commission the broker will not report any more by itself."""
    rows = [
        (
            row.order_ref,
            row.strategy,
            row.instrument,
            row.contract,
            row.quantity,
            row.filled_at,
            (now - row.filled_at).days,
        )
        for row in unit.positions.fills_without_commission(now - FEES_AGAIN)
    ]
    columns = ["order", "strategy", "instrument", "contract", "contracts", "filled (UTC)", "age, days"]
    return pd.DataFrame(rows, columns=columns)


def _process_table(config: Config, stored: pd.DataFrame, now: datetime) -> pd.DataFrame:
    """One row a process that is configured or has run: is it running, when did it last, when may it, after what."""
    rows = {str(row["name"]): row for row in _records(stored)}
    named = {*config.process_configuration_methods, *rows}
    ended = {name: _moment(row["last_end"]) for name, row in rows.items()}
    return pd.DataFrame(
        [_process_row(config, name, rows.get(name, {}), ended, now) for name in sorted(named)],
        columns=[
            "process",
            "running",
            "last start (UTC)",
            "last end (UTC)",
            "status",
            "finished in last day",
            "window",
            "previous required",
            "previous finished",
            "machine",
        ],
    )


def _process_row(
    config: Config,
    name: str,
    row: Mapping[str, Any],
    ended: Mapping[str, datetime | None],
    now: datetime,
) -> tuple[Any, ...]:
    start, end = _moment(row.get("last_start")), _moment(row.get("last_end"))
    previous = config.process_configuration_previous_process.get(name, "")
    return (
        name,
        start is not None and (end is None or end < start),
        start,
        end,
        row.get("status", "GO"),
        _finished(end, start, now),
        _window(config, name),
        previous,
        _finished(ended.get(previous), None, now) if previous else None,
        config.process_configuration_machine.get(name, "any"),
    )


def _finished(end: datetime | None, start: datetime | None, now: datetime) -> bool:
    """Ended within a day, and not started again since."""
    return end is not None and now - end <= DAY and (start is None or start <= end)


def _window(config: Config, name: str) -> str:
    """Configured hours, in the time zone of the system."""
    starts, stops = config.process_configuration_start_time, config.process_configuration_stop_time
    start, stop = (times.get(name, times.get("default")) for times in (starts, stops))
    begin = "" if start is None else format(start, "%H:%M")
    finish = "" if stop is None else format(stop, "%H:%M")
    return f"{begin} to {finish} {config.timezone}" if begin or finish else "any time"


def _moment(value: Any) -> datetime | None:
    return None if value is None or pd.isna(value) else pd.Timestamp(value).to_pydatetime()


def _price_ages(unit: UnitOfWork, now: datetime) -> pd.DataFrame:
    adjusted = unit.reporting.last_price_times("adjusted", now)
    rates = unit.reporting.last_price_times("fx", now)
    rows = [(code, "adjusted price", time) for code, time in adjusted.items()]
    rows += [(f"{code}{DOLLAR}", "FX rate", time) for code, time in rates.items()]
    return _ages(pd.DataFrame(rows, columns=["name", "kind", "time"]), "time", now)


def _ages(frame: pd.DataFrame, column: str, now: datetime) -> pd.DataFrame:
    """The frame with its time column named as such and followed by its age, oldest (or none at all) first."""
    times = pd.to_datetime(frame[column], utc=True)
    shown = frame.drop(columns=column).assign(**{"last update (UTC)": times})
    shown["age, hours"] = (pd.Timestamp(now) - times).dt.total_seconds() / 3600
    return shown.sort_values("last update (UTC)", na_position="first", kind="stable", ignore_index=True)


def _trade_limit_table(limits: pd.DataFrame, now: datetime) -> pd.DataFrame:
    age = pd.Timestamp(now) - pd.to_datetime(limits["reset_at"], utc=True)
    used = limits["used"]
    return pd.DataFrame(
        {
            "strategy": limits["strategy"].replace("", "all"),
            "instrument": limits["instrument"],
            "period, days": limits["period_days"],
            "limit, contracts": limits["trade_limit"],
            "used, contracts": used,
            "left, contracts": (limits["trade_limit"] - used).clip(lower=0),
            "since reset, days": age.dt.total_seconds() / 86_400,
        }
    )


def _position_limit_table(unit: UnitOfWork) -> pd.DataFrame:
    """Every limit, and every position held without one; strategies first, then the whole desk."""
    by_strategy = unit.positions.strategy_positions()
    desk_wide: dict[str, int] = {}
    for contract, quantity in unit.positions.contract_positions().items():
        desk_wide[contract.instrument] = desk_wide.get(contract.instrument, 0) + quantity
    held = {**by_strategy, **{("", code): quantity for code, quantity in desk_wide.items()}}
    limits = unit.reporting.position_limits()
    keys = sorted({*held, *limits}, key=lambda key: (key[0] == "", key))
    rows: list[tuple[Any, ...]] = []
    for key in keys:
        position, limit = held.get(key, 0), limits.get(key)
        over = limit is not None and abs(position) > limit
        rows.append((key[0] or "all", key[1], position, NO_LIMIT if limit is None else limit, over))
    return pd.DataFrame(
        rows, columns=["strategy", "instrument", "position, contracts", "limit, contracts", "beyond limit"]
    )


def _exceptions(state: _State, inputs: Inputs) -> list[tuple[str, str]]:
    """(what, detail) of everything that is not as it should be, the gravest first."""
    found: list[tuple[str, str]] = []
    if state.kill_switch is not None and state.kill_switch[0]:
        _, time, who, why = state.kill_switch
        found.append(("kill switch engaged", f"by {who} at {moment_text(time)} UTC: {why}"))
    found += [("instrument locked", f"{row.instrument} by {row.owner}: {row.why}") for row in state.locks.itertuples()]
    if state.refused_poll is not None:
        found.append(("capital poll not accepted", f"{moment_text(state.refused_poll)} UTC; a person decides"))
    found += [
        ("engine does not answer", f"{row['account']}: process {row['process']} on {row['host']} is {row['state']}")
        for row in _records(state.engine)
        if row["state"] != "alive"
    ]
    if len(state.left_over):
        orders = ", ".join(
            f"{row['id']} ({row['strategy']}/{row['instrument']}, {row['fill']} of {row['trade']} filled)"
            for row in _records(state.left_over)
        )
        since = moment_text(min(state.left_over["generated_at"]))
        detail = (
            f"since {since} UTC: {orders}. The engine did not end them, and works them when it next runs; "
            "`pysys command run delete_order` takes one off its stack"
        )
        found.append(("orders of a day that is over", detail))
    beyond = state.position_limits[state.position_limits["beyond limit"].astype(bool)]
    found += [
        ("position beyond its limit", f"{strategy}/{code}: {position} against {limit}")
        for strategy, code, position, limit, _ in beyond.itertuples(index=False, name=None)
    ]
    found += [
        (f"run {row['status']}", f"{row['method']} at {moment_text(row['started_at'])} UTC{_last_line(row['error'])}")
        for row in _records(state.unsuccessful)
    ]
    found += [("stale input", sentence) for sentence in inputs.banner]
    found += _process_exceptions(state.processes)
    if len(state.missing_fees):
        orders = _join(state.missing_fees["order"])
        detail = f"{len(state.missing_fees)} fills of orders {orders}: compare the broker's statement"
        found.append((f"no commission after {FEES_AGAIN.days} days", detail))
    if len(state.quarantined):
        rows = int(state.quarantined["rows"].sum())
        found.append(("prices in quarantine", f"{rows} rows of {_join(state.quarantined['code'])} wait for a person"))
    troubled = state.outcomes[state.outcomes["outcome"].isin(_TROUBLED_OUTCOMES)]
    found += [
        (f"prices {outcome.replace('_', ' ')}", f"{series} series of kind {kind}")
        for kind, outcome, series in troubled.itertuples(index=False, name=None)
    ]
    return found


def _process_exceptions(processes: pd.DataFrame) -> list[tuple[str, str]]:
    found = []
    for row in _records(processes):
        if row["status"] != "GO":
            found.append(("process not on GO", f"{row['process']} is on {row['status']}"))
        if _moment(row["last start (UTC)"]) is not None and not row["running"] and not row["finished in last day"]:
            found.append(("process not finished in the last day", str(row["process"])))
    never = [row["process"] for row in _records(processes) if _moment(row["last start (UTC)"]) is None]
    if never:
        found.append(("processes that never ran", _join(never)))
    return found


def _records(frame: pd.DataFrame) -> list[dict[str, Any]]:
    return [{str(name): value for name, value in row.items()} for row in frame.astype(object).to_dict("records")]


def _last_line(error: str | None) -> str:
    lines = [] if error is None or pd.isna(error) else error.strip().splitlines()
    return f": {lines[-1]}" if lines else ""


def _join(codes: Iterable[str]) -> str:
    return ", ".join(sorted(set(codes)))


def _counts(outcomes: pd.DataFrame) -> dict[str, dict[str, int]]:
    counts: dict[str, dict[str, int]] = {}
    for kind, outcome, series in outcomes.itertuples(index=False, name=None):
        counts.setdefault(str(kind), {})[str(outcome)] = int(series)
    return counts


def _exception_section(exceptions: list[tuple[str, str]]) -> Section:
    frame = pd.DataFrame(exceptions, columns=["what", "detail"])
    return Section("Exceptions", "What is not as it should be, the gravest first.", frame)


def _sections(state: _State) -> list[Section]:
    ages = {"age, hours": ",.1f"}
    kill = "Never used."
    if state.kill_switch is not None:
        engaged, time, who, why = state.kill_switch
        kill = f"{'ENGAGED' if engaged else 'Released'} by {who} at {moment_text(time)} UTC: {why}"
    return [
        Section("Kill switch", "While it is engaged no order is sent.", kill),
        Section(
            "Trading engine",
            "Who holds the right to trade; what is expired or gone holds up nobody.",
            state.engine if len(state.engine) else "No engine runs.",
            {"last heartbeat, seconds ago": ",.0f"},
        ),
        Section("Processes", "Started by the schedule, within a window, after the one they need.", state.processes),
        Section("Methods", "Last run of every method, oldest first.", _method_table(state.methods)),
        Section("Adjusted and FX prices", "Last price of every series, oldest first.", state.prices, ages),
        Section("Optimal positions", "Last target of every strategy and market, oldest first.", state.optimal, ages),
        Section(
            "Missing commissions",
            f"Fills without a commission after {FEES_AGAIN.days} days. It is unknown, and never taken as zero.",
            state.missing_fees,
        ),
        Section("Price updates", "What the last update of each series came to, counted by kind.", state.outcomes),
        Section("Quarantined prices", "Rows a gate refused, kept until a person decides.", state.quarantined),
        Section(
            "Trade limits",
            "Contracts that may still be traded in each period; an expired period counts as unused.",
            state.trade_limits,
            {"since reset, days": ",.2f"},
        ),
        Section("Position limits", "Every limit, and every position held without one.", state.position_limits),
        Section("Overrides", "Positions reduced or frozen by a person.", state.overrides),
        Section("Locked instruments", "Markets in which nothing is ordered until the lock is lifted.", state.locks),
    ]


def _method_table(methods: pd.DataFrame) -> pd.DataFrame:
    shown = methods[["method", "process", "started_at", "ended_at", "status"]]
    return shown.rename(columns={"started_at": "last start (UTC)", "ended_at": "last end (UTC)"})
