"""The overnight backtests: prices and capital in, optimal positions out."""

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pandas as pd

import pysys
from pysys.config import Method
from pysys.data.market_data import load_market_data
from pysys.desk import Desk
from pysys.domain.errors import ConfigError, NeedsOperator, PysysError
from pysys.domain.targets import BufferedTarget, Target
from pysys.store.prices import SeriesKind
from pysys.store.targets import BacktestRun
from pysys.systems.market_data import MarketData

CLASSIC_SYSTEM = "sysproduction.strategy_code.run_system_classic.runSystemClassic"


@dataclass(frozen=True, slots=True)
class StrategyOutcome:
    """One strategy's backtest."""

    strategy: str
    capital: float  # base currency
    seconds: float  # of real time
    targets: tuple[Target, ...]
    saved_state: str  # its time stamp
    error: str = ""


@dataclass(frozen=True, slots=True)
class SystemsResult:
    """Every strategy's backtest of one run."""

    outcomes: tuple[StrategyOutcome, ...]

    def table(self) -> pd.DataFrame:
        rows = [
            {
                "strategy": target.strategy,
                "instrument": target.instrument,
                "optimal position": getattr(target, "position", None),
                "buffer lower": getattr(target, "lower", None),
                "buffer upper": getattr(target, "upper", None),
                "reference price": target.reference_price,
                "reference contract": target.reference_contract,
                "reference time": target.reference_time,
            }
            for outcome in self.outcomes
            for target in outcome.targets
        ]
        return pd.DataFrame(rows)

    def summary(self) -> dict[str, Any]:
        return {
            outcome.strategy: {
                "capital": outcome.capital,
                "instruments": len(outcome.targets),
                "seconds": round(outcome.seconds, 3),
                "saved_state": outcome.saved_state,
                "error": outcome.error,
            }
            for outcome in self.outcomes
        }

    def raise_if_incomplete(self) -> None:
        """Raises NeedsOperator naming the strategies that failed."""
        failed = [f"{outcome.strategy}: {outcome.error}" for outcome in self.outcomes if outcome.error]
        if failed:
            raise NeedsOperator(" ".join(failed))


def configured_strategies(desk: Desk, process: str, chosen: Sequence[str] | None) -> dict[str, Method]:
    """Strategies a process runs, by name; all that are configured, or the chosen ones.

    Raises ConfigError for a strategy that is not configured, or when there is none.
    """
    configured = desk.config.process_configuration_methods.get(process, {})
    if not configured:
        raise ConfigError(f"process_configuration_methods.{process} lists no strategy; add one in parameters/private.")
    if not chosen:
        return dict(configured)
    unknown = [name for name in chosen if name not in configured]
    if unknown:
        raise ConfigError(f"{process}: no strategy {', '.join(unknown)}; configured: {', '.join(configured)}.")
    return {name: configured[name] for name in chosen}


def run_systems(desk: Desk, strategies: Sequence[str] | None = None) -> SystemsResult:
    """Run each strategy's backtest on the stored prices and its capital; store what it wants to hold.

    One strategy's failure does not stop the others. Running twice at one moment stores once.
    """
    methods = configured_strategies(desk, "run_systems", strategies)
    with desk.store.read() as unit:
        capital = unit.targets.latest_strategy_capital()
    outcomes = []
    prices = _Prices(desk)
    for strategy, method in methods.items():
        started = time.perf_counter()
        try:
            if strategy not in capital:
                raise NeedsOperator("no capital yet; run `pysys run strategy_allocation` first.")
            outcomes.append(_run_one(desk, strategy, method, capital[strategy][1], prices, started))
        except PysysError as error:
            seconds = time.perf_counter() - started
            outcomes.append(StrategyOutcome(strategy, math.nan, seconds, (), "", str(error)))
    return SystemsResult(tuple(outcomes))


def _run_one(
    desk: Desk, strategy: str, method: Method, capital: float, prices: "_Prices", started: float
) -> StrategyOutcome:
    from pysys.systems.backtest import run_backtest
    from pysys.systems.backtest_yaml import read_backtest_config
    from pysys.systems.saved_states import save_state

    if method.object not in (None, CLASSIC_SYSTEM):
        raise ConfigError(f"run_systems.{strategy}.object: {method.object} is not known; use {CLASSIC_SYSTEM}.")
    if not method.backtest_config_filename:
        raise ConfigError(f"run_systems.{strategy}: backtest_config_filename is missing.")
    if capital <= 0:
        raise NeedsOperator(f"{strategy} has no capital ({capital:,.2f}), so it cannot hold anything.")
    now = desk.clock.now()
    with desk.store.read() as unit:
        before = unit.targets.latest_backtest(strategy)
        again = before is not None and before.time == now
        stored = unit.targets.targets_of(before.id) if before is not None and again else ()
    if before is not None and again:
        return StrategyOutcome(
            strategy, before.capital, time.perf_counter() - started, tuple(stored), before.saved_state
        )
    path = desk.home / method.backtest_config_filename
    if not path.is_file():
        raise ConfigError(f"run_systems.{strategy}: there is no file {path}.")
    config = read_backtest_config(path)
    chosen = config.instruments if config.instrument_weights else _instruments_with_prices(desk)
    result = run_backtest(config, prices.of(tuple(chosen)), capital=capital)
    targets = _targets(desk, strategy, now, result)
    saved = save_state(result, desk.backtests, strategy, now, capital=capital, version=pysys.__version__)
    run = BacktestRun(strategy, now, capital, result.instruments, desk.config_hash, saved.folder.name)
    with desk.store.write() as unit:
        unit.targets.add_backtest(run, targets)
        unit.commit()
    return StrategyOutcome(strategy, capital, time.perf_counter() - started, targets, saved.folder.name)


class _Prices:
    """Market data read once for all strategies of a run that trade the same instruments."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._read: dict[tuple[str, ...], MarketData] = {}

    def of(self, instruments: tuple[str, ...]) -> MarketData:
        if instruments not in self._read:
            self._read[instruments] = load_market_data(self._desk.store, instruments)
        return self._read[instruments]


def _targets(desk: Desk, strategy: str, now: datetime, result: Any) -> tuple[Target, ...]:
    """Buffers around the optimal positions, or whole contracts where the configuration optimises them."""
    wanted = [one for one in result.latest_positions().values() if not math.isnan(one.notional_position)]
    if result.config.small_system is None:
        return tuple(_target(strategy, now, one) for one in wanted)
    from pysys.execution.small_accounts import optimised_targets

    return optimised_targets(desk, strategy, result, now, {one.instrument: _reference(one) for one in wanted})


def _instruments_with_prices(desk: Desk) -> list[str]:
    """Active instruments that have an adjusted price: what a configuration without instrument_weights trades."""
    with desk.store.read() as unit:
        active = {instrument.code for instrument in unit.markets.instruments()}
        return sorted({key.code for key in unit.prices.series(SeriesKind.ADJUSTED)} & active)


def _target(strategy: str, now: datetime, wanted: Any) -> BufferedTarget:
    return BufferedTarget(
        strategy=strategy,
        instrument=wanted.instrument,
        time=now,
        position=float(wanted.notional_position),
        lower=float(wanted.buffer_lower),
        upper=float(wanted.buffer_upper),
        **_reference(wanted),
    )


def _reference(wanted: Any) -> dict[str, Any]:
    return {
        "reference_price": float(wanted.reference_price),
        "reference_contract": f"{int(wanted.reference_contract):08d}",
        "reference_time": _utc(wanted.reference_time),
    }


def _utc(stamp: np.datetime64) -> datetime:
    return datetime.fromtimestamp(int(stamp.astype("datetime64[us]").astype(np.int64)) / 1e6, UTC)
