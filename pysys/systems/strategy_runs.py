"""The backtests of a production run: one after the other in this process, or many at once on all cores."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from multiprocessing import get_context
from pathlib import Path

from pysys.cores import available_cores
from pysys.systems.backtest import run_backtest
from pysys.systems.backtest_config import BacktestConfig
from pysys.systems.backtest_result import LatestPosition
from pysys.systems.market_data import MarketData
from pysys.systems.market_files import open_market_data, save_market_data
from pysys.systems.optimised_targets import OptimiserDay, last_day
from pysys.systems.result_checks import doubts
from pysys.systems.saved_states import save_state

_WORTH_PROCESSES = 4  # plain backtests that take longer here than processes take to start


@dataclass(frozen=True, slots=True)
class StrategyJob:
    """One strategy to backtest and save."""

    strategy: str
    config: BacktestConfig
    capital: float  # base currency
    time: datetime  # of the run, UTC
    states: Path  # folder of saved states
    rules_folder: Path  # where the reader's own rules are
    version: str  # of the code


@dataclass(frozen=True, slots=True)
class StrategyDecision:
    """What a backtest wants to hold."""

    instruments: tuple[str, ...]
    latest: Mapping[str, LatestPosition]
    optimiser: OptimiserDay | None  # of a strategy that optimises whole contracts
    saved_state: str  # its name
    seconds: float  # of real time
    doubts: tuple[str, ...]  # what its numbers say is perhaps not meant


Outcome = StrategyDecision | Exception


def run_strategies(jobs: Sequence[tuple[StrategyJob, MarketData]]) -> Iterator[tuple[str, Outcome]]:
    """Backtest each job on its prices and save its state; yields strategies and decisions in the order of the jobs.

    One that fails gives its exception, and does not stop the others.
    """
    cores = available_cores()
    many = len(jobs) >= _WORTH_PROCESSES or (len(jobs) > 1 and any(job.config.estimates for job, _ in jobs))
    if many and cores > 1:
        yield from _on_processes(min(cores, len(jobs)), jobs)
        return
    for job, data in jobs:
        yield job.strategy, _outcome(lambda job=job, data=data: _decide(job, data))  # type: ignore[misc]


def _decide(job: StrategyJob, data: MarketData) -> StrategyDecision:
    started = time.perf_counter()
    result = run_backtest(job.config, data, capital=job.capital, rules_folder=job.rules_folder)
    saved = save_state(result, job.states, job.strategy, job.time, capital=job.capital, version=job.version)
    return StrategyDecision(
        instruments=result.instruments,
        latest=result.latest_positions(),
        optimiser=None if result.config.small_system is None else last_day(result),
        saved_state=saved.folder.name,
        doubts=tuple(doubts(result)),
        seconds=time.perf_counter() - started,
    )


def _outcome(decide: Callable[[], StrategyDecision]) -> Outcome:
    try:
        return decide()
    except Exception as error:  # a rule of the reader's own may raise anything
        return error


def _on_processes(processes: int, jobs: Sequence[tuple[StrategyJob, MarketData]]) -> Iterator[tuple[str, Outcome]]:
    """The prices are mapped into the processes, not sent."""
    with ExitStack() as stack:
        folders: dict[int, Path] = {}
        for _, data in jobs:
            if id(data) not in folders:
                folders[id(data)] = Path(stack.enter_context(tempfile.TemporaryDirectory()))
                save_market_data(data, folders[id(data)])
        pool = stack.enter_context(one_core_each(processes))
        futures = [(job.strategy, pool.submit(_decide_on_files, job, folders[id(data)])) for job, data in jobs]
        for strategy, future in futures:
            yield strategy, _outcome(future.result)


def _decide_on_files(job: StrategyJob, folder: Path) -> StrategyDecision:
    return _decide(job, opened(folder))


@lru_cache(maxsize=1)
def opened(folder: Path) -> MarketData:
    """The prices saved in a folder, which this process works on again and again."""
    return open_market_data(folder)


def one_core_each(processes: int) -> ProcessPoolExecutor:
    """Processes that are told before they import numpy, whose threads would get in each other's way.

    Spawned, because a process with threads must not be forked.
    """
    one_thread = ("OPENBLAS_NUM_THREADS", "1")
    return ProcessPoolExecutor(processes, get_context("spawn"), initializer=os.putenv, initargs=one_thread)
