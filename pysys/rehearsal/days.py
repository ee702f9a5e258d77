"""Whole trading days on a simulated clock: the same notebooks, library and database as production.

A rehearsal lives in a folder of its own below the outputs, with its own database and paper exchange, so it can never
touch the real one. What is done is written down step by step; started again after a kill, it goes on where it was.
"""

import json
import shutil
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, time, timedelta
from itertools import product
from pathlib import Path
from textwrap import shorten
from time import monotonic
from typing import Any

from pysys.broker.paper.clock import ExchangeClock
from pysys.clock import SystemClock
from pysys.config import Settings, load_settings
from pysys.control.environment import kernel_environment
from pysys.control.files import write_whole
from pysys.control.index import write_index
from pysys.control.methods import run_method
from pysys.control.opening import exchange_database, open_desk
from pysys.control.run import log_into
from pysys.control.runner import Runner
from pysys.desk import Desk
from pysys.reports.pandl import pandl_report
from pysys.reports.reconcile import reconcile_report
from pysys.store.repository import Author
from pysys.store.runs import Environment, RunStatus
from pysys.store.unit import Store

STACK_HANDLER_STOPS = time(23, 35)
LINE = 240  # letters of a failure shown in the summary


@dataclass(frozen=True, slots=True)
class Step:
    """One process of a trading day, and when it starts (UTC)."""

    at: time
    name: str


TRADING_DAY: tuple[Step, ...] = (
    Step(time(0, 5), "update_fx_prices"),
    Step(time(0, 6), "update_sampled_contracts"),
    Step(time(0, 7), "update_historical_prices"),
    Step(time(0, 10), "update_multiple_adjusted_prices"),
    Step(time(0, 12), "update_roll_status"),
    Step(time(0, 13), "update_spread_prices"),
    Step(time(0, 15), "update_total_capital"),
    Step(time(0, 16), "strategy_allocation"),
    Step(time(0, 20), "run_systems"),
    Step(time(0, 25), "generate_orders"),
    Step(time(0, 30), "run_stack_handler"),
    Step(time(23, 40), "update_total_capital"),
    Step(time(23, 45), "status"),
    Step(time(23, 46), "roll"),
    Step(time(23, 47), "trades"),
    Step(time(23, 48), "pandl"),
    Step(time(23, 49), "reconcile"),
    Step(time(23, 50), "strategy"),
)

Progress = Callable[[int, int, str], None]  # steps done, steps in all, what is being done


@dataclass(frozen=True, slots=True)
class Summary:
    """What a rehearsal came to; amounts in base currency."""

    name: str
    first: date
    last: date
    days: int
    base_currency: str
    trades: int  # fills
    contracts: int  # contracts traded
    positions: Mapping[str, int]  # open, by contract
    account_start: float
    account_end: float
    pandl: Mapping[str, float]  # total, instruments, commission, fx, unexplained
    breaks: Sequence[str]
    attention: Sequence[str]  # steps that did not end well, and why
    folder: Path
    seconds: float  # of real time, this start

    @property
    def reconciled(self) -> bool:
        return not self.breaks and abs(self.pandl["unexplained"]) < 0.005

    def lines(self) -> list[str]:
        """For a person to read."""
        unit = self.base_currency
        change = self.account_end - self.account_start
        parts = ", ".join(f"{name} {value:+z,.2f}" for name, value in self.pandl.items() if name != "total")
        held = ", ".join(f"{contract} {position:+d}" for contract, position in self.positions.items())
        return [
            f"{self.name}: {self.days} trading days, {self.first} to {self.last}, in {self.seconds:.0f} s",
            f"Trades:         {self.trades} fills, {self.contracts} contracts",
            f"Positions:      {held if held else 'none'}",
            f"Account:        {self.account_start:,.2f} {unit} to {self.account_end:,.2f} {unit} ({change:+z,.2f})",
            f"P&L:            {self.pandl['total']:+z,.2f} {unit}: {parts}",
            f"Reconciliation: {'no break' if not self.breaks else '; '.join(self.breaks)}",
            *[f"Look at:        {line}" for line in self.attention],
            f"Reports:        {self.folder / 'index.html'}",
        ]


@dataclass(frozen=True, slots=True)
class Plan:
    """What a rehearsal does: its settings, its days, and how its database is filled at the start."""

    name: str
    settings: Settings
    days: Sequence[date]
    prepare: Callable[[Settings], None]
    notebooks: bool


def rehearsal_settings(settings: Settings, folder: str, changes: Mapping[str, Any]) -> Settings:
    """The same settings in a folder of their own below the outputs, on a simulated clock and the paper exchange."""
    outputs = settings.outputs / folder
    fixed = {
        "outputs_directory": str(outputs),
        "database_url": f"sqlite:///{outputs / 'state' / 'pysys.db'}",
        "broker": "paper",
        "clock": "exchange",
        "auto_roll": "auto",
        "timezone": "UTC",
        "process_configuration_stop_time": {"default": time(23, 50), "run_stack_handler": STACK_HANDLER_STOPS},
        **changes,
    }
    moved = replace(settings, config=settings.config.model_copy(update=fixed))
    return load_settings(settings.home, kernel_environment(moved))


def rehearse(plan: Plan, *, fresh: bool, progress: Progress) -> Summary:
    """Run, or go on with, the trading days of a plan and sum them up.

    A step that fails is written down and the day goes on, as it would in production.
    """
    started = monotonic()
    settings = plan.settings
    if fresh and settings.outputs.exists():
        shutil.rmtree(settings.outputs)
    if not _prepared(settings).exists():
        progress(0, 1, "preparing prices")
        if settings.outputs.exists():
            shutil.rmtree(settings.outputs)
        plan.prepare(settings)
        _prepared(settings).touch()
    desk = open_desk(settings, Author("rehearsal"))
    log = log_into(desk)
    try:
        _run_days(plan, desk, progress)
        summary = _sum_up(plan, desk, monotonic() - started)
    finally:
        log.close()
        desk.store.close()
    return summary


def _prepared(settings: Settings) -> Path:
    """Marks a folder whose database was filled to the end."""
    return settings.state / "prepared"


def _run_days(plan: Plan, desk: Desk, progress: Progress) -> None:
    done = _times_done(desk)
    total = len(plan.days) * len(TRADING_DAY)
    runner = Runner(plan.settings, desk) if plan.notebooks else None
    try:
        for number, (day, step) in enumerate(product(plan.days, TRADING_DAY)):
            progress(number, total, f"{day} {step.name}")
            if done[step.name, day] > 0:
                done[step.name, day] -= 1
                continue
            desk.clock.sleep_until(datetime.combine(day, step.at, UTC))
            if runner is not None:
                runner.run(step.name)
            else:
                run_method(desk, step.name, {})
        progress(total, total, "done")
    finally:
        if runner is not None:
            runner.close()


def _times_done(desk: Desk) -> Counter[tuple[str, date]]:
    """How often each step of each day ended, well or not; one that was cut off does not count."""
    ended = (RunStatus.DONE, RunStatus.FAILED, RunStatus.INCOMPLETE)
    with desk.store.read() as unit:
        return Counter((run.method, run.business_date) for run in unit.runs.find() if run.status in ended)


def _attention(desk: Desk) -> list[str]:
    """Steps that did not end well, oldest first, one line each."""
    with desk.store.read() as unit:
        failed = [run for run in unit.runs.find() if run.status in (RunStatus.FAILED, RunStatus.INCOMPLETE)]
    return [
        shorten(f"{run.business_date} {run.method}: {run.error}", LINE, placeholder=" ...") for run in reversed(failed)
    ]


def _sum_up(plan: Plan, desk: Desk, seconds: float) -> Summary:
    settings = plan.settings
    pandl = pandl_report(desk, start=datetime.combine(plan.days[0], time(), UTC), end=desk.clock.now())
    reconcile = reconcile_report(desk)
    with desk.store.read() as unit:
        positions = unit.positions.contract_positions()
        fills, contracts = unit.positions.fill_totals()
    summary = Summary(
        name=plan.name,
        first=plan.days[0],
        last=plan.days[-1],
        days=len(plan.days),
        base_currency=settings.config.base_currency,
        trades=fills,
        contracts=contracts,
        positions={str(contract): position for contract, position in positions.items()},
        account_start=pandl.data["account_start"],
        account_end=pandl.data["account_end"],
        pandl={name: pandl.data[name] for name in ("total", "instruments", "commission", "fx", "unexplained")},
        breaks=list(reconcile.breaks),
        attention=_attention(desk),
        folder=settings.outputs,
        seconds=seconds,
    )
    write_whole(settings.outputs / "summary.json", json.dumps({"lines": summary.lines()}, indent=2))
    write_index(settings.outputs, desk.store)
    return summary


def start_clock(settings: Settings, day: date) -> None:
    """Set the simulated time to just before the first step of `day`, if it was never set."""
    settings.state.mkdir(parents=True, exist_ok=True)
    clock = ExchangeClock(exchange_database(settings))
    clock.set_start(datetime.combine(day, TRADING_DAY[0].at, UTC) - timedelta(minutes=1))
    clock.close()


def name_environment(settings: Settings, store: Store, name: str) -> None:
    """Write into a new database what it is for."""
    config = settings.config
    with store.write() as unit:
        unit.runs.put_environment(Environment(name, config.broker, config.base_currency, SystemClock().now()))
        unit.commit()
