"""The overnight backtests: prices and capital in, optimal positions out."""

import logging
import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pandas as pd

import pysys
from pysys.config import CLASSIC_SYSTEM, Method
from pysys.data.market_data import load_market_data
from pysys.data.spread_market_data import with_spreads
from pysys.desk import Desk
from pysys.domain.contracts import Contract
from pysys.domain.errors import ConfigError, NeedsOperator, PysysError
from pysys.domain.prices import MultipleRows
from pysys.domain.spreads import Spread, legs_beside
from pysys.domain.targets import BufferedTarget, SpreadTarget, Target
from pysys.store.prices import SeriesKind
from pysys.store.targets import BacktestRun
from pysys.systems.market_data import MarketData
from pysys.systems.strategy_runs import Outcome, StrategyDecision, StrategyJob, run_strategies

log = logging.getLogger(__name__)


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
        capital = {strategy: amount for strategy, (_, amount) in unit.targets.latest_strategy_capital().items()}
    now, prices = desk.clock.now(), _Prices(desk)
    found: dict[str, StrategyOutcome] = {}
    jobs: list[tuple[StrategyJob, MarketData]] = []
    for strategy, method in methods.items():
        try:
            stored = _stored_already(desk, strategy, now)
            if stored is not None:
                found[strategy] = stored
            else:
                job = _job(desk, strategy, method, capital.get(strategy), now)
                jobs.append((job, prices.of(job.config.instruments)))
        except Exception as error:
            found[strategy] = _failure(strategy, error)
    ran = {job.strategy: job for job, _ in jobs}
    for strategy, outcome in run_strategies(jobs):
        try:
            found[strategy] = _store(desk, ran[strategy], outcome)
        except Exception as error:
            found[strategy] = _failure(strategy, error)
    return SystemsResult(tuple(found[strategy] for strategy in methods))


def _stored_already(desk: Desk, strategy: str, now: datetime) -> StrategyOutcome | None:
    """What a run at this moment stored."""
    with desk.store.read() as unit:
        before = unit.targets.latest_backtest(strategy)
        if before is None or before.time != now:
            return None
        targets = tuple(unit.targets.targets_of(before.id))
    return StrategyOutcome(strategy, before.capital, 0.0, targets, before.saved_state)


def _job(desk: Desk, strategy: str, method: Method, capital: float | None, now: datetime) -> StrategyJob:
    from pysys.systems.backtest_yaml import read_backtest_config
    from pysys.systems.config_checks import trading_all

    if capital is None:
        raise NeedsOperator("no capital yet; run `pysys run strategy_allocation` first.")
    if capital <= 0:
        raise NeedsOperator(f"{strategy} has no capital ({capital:,.2f}), so it cannot hold anything.")
    if method.object not in (None, CLASSIC_SYSTEM):
        raise ConfigError(f"run_systems.{strategy}.object: {method.object} is not known; use {CLASSIC_SYSTEM}.")
    if not method.backtest_config_filename:
        raise ConfigError(f"run_systems.{strategy}: backtest_config_filename is missing.")
    path = desk.home / method.backtest_config_filename
    if not path.is_file():
        raise ConfigError(f"run_systems.{strategy}: there is no file {path}.")
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        config = read_backtest_config(path, desk.config.backtest_defaults)
        if not config.instrument_weights:
            config = trading_all(config, _instruments_with_prices(desk))
    for one in said:
        log.warning("%s: %s", strategy, one.message)
    if config.base_currency != desk.config.base_currency:
        raise ConfigError(
            f"{path}: base_currency {config.base_currency} is not that of the system, in which capital is counted; "
            f"set it to {desk.config.base_currency}."
        )
    return StrategyJob(strategy, config, capital, now, desk.backtests, path.parent, pysys.__version__)


def _store(desk: Desk, job: StrategyJob, outcome: Outcome) -> StrategyOutcome:
    if isinstance(outcome, Exception):
        return _failure(job.strategy, outcome)
    for doubt in outcome.doubts:
        log.warning("%s: %s", job.strategy, doubt)
    targets = _targets(desk, job.strategy, job.time, outcome)
    run = BacktestRun(job.strategy, job.time, job.capital, outcome.instruments, desk.config_hash, outcome.saved_state)
    with desk.store.write() as unit:
        unit.targets.add_backtest(run, targets)
        unit.commit()
    return StrategyOutcome(job.strategy, job.capital, outcome.seconds, targets, outcome.saved_state)


def _failure(strategy: str, error: Exception) -> StrategyOutcome:
    if isinstance(error, PysysError):
        said = str(error)
    else:
        said = f"{type(error).__name__}: {error}"
        log.error("the backtest of %s failed", strategy, exc_info=error)
    return StrategyOutcome(strategy, math.nan, 0.0, (), "", said)


class _Prices:
    """Market data read once for all strategies of a run that trade the same instruments."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._read: dict[tuple[str, ...], MarketData] = {}

    def of(self, instruments: tuple[str, ...]) -> MarketData:
        if instruments not in self._read:
            spreads = self._desk.config.spreads
            ordinary = load_market_data(self._desk.store, [code for code in instruments if code not in spreads])
            chosen = [spreads[code] for code in instruments if code in spreads]
            self._read[instruments] = with_spreads(ordinary, self._desk.store, chosen)
        return self._read[instruments]


def _targets(desk: Desk, strategy: str, now: datetime, decided: StrategyDecision) -> tuple[Target, ...]:
    """Buffers around the optimal positions, or whole contracts where the configuration optimises them."""
    wanted = [one for one in decided.latest.values() if not math.isnan(one.notional_position)]
    if decided.optimiser is None:
        return tuple(_target(desk, strategy, now, one) for one in wanted)
    from pysys.execution.small_accounts import optimised_targets

    return optimised_targets(
        desk, strategy, decided.optimiser, now, {one.instrument: _reference(one) for one in wanted}
    )


def _instruments_with_prices(desk: Desk) -> list[str]:
    """What a configuration without instrument_weights trades: active instruments with an adjusted price, no spreads.

    A spread is another way to hold markets that are there already, so it is traded where it is named only.
    """
    with desk.store.read() as unit:
        active = {instrument.code for instrument in unit.markets.instruments()}
        priced = {key.code for key in unit.prices.series(SeriesKind.ADJUSTED)}
        return sorted((priced & active) - desk.config.spreads.keys())


def _target(desk: Desk, strategy: str, now: datetime, wanted: Any) -> Target:
    spread = desk.config.spreads.get(wanted.instrument)
    if spread is not None:
        return _spread_target(desk, spread, strategy, now, wanted)
    return BufferedTarget(
        strategy=strategy,
        instrument=wanted.instrument,
        time=now,
        position=float(wanted.notional_position),
        lower=float(wanted.buffer_lower),
        upper=float(wanted.buffer_upper),
        **_reference(wanted),
    )


def _spread_target(desk: Desk, spread: Spread, strategy: str, now: datetime, wanted: Any) -> SpreadTarget:
    """A buffer in units, with the contract of every leg that the reference price was taken from."""
    reference = _reference(wanted)
    first = Contract(spread.legs[0].instrument, reference["reference_contract"])
    with desk.store.read() as unit:
        if spread.within_one_market:
            legs = list(legs_beside(spread, first, unit.markets.roll_parameters(first.instrument)))
        else:
            others = [unit.prices.last_multiple(code) for code in spread.markets[1:]]
            legs = [first, *(_priced(code, rows) for code, rows in zip(spread.markets[1:], others, strict=True))]
    return SpreadTarget(
        strategy=strategy,
        instrument=spread.code,
        time=now,
        lower=float(wanted.buffer_lower),
        upper=float(wanted.buffer_upper),
        reference_contracts=tuple(contract.date for contract in legs),
        reference_price=reference["reference_price"],
        reference_time=reference["reference_time"],
    )


def _priced(code: str, latest: MultipleRows) -> Contract:
    return Contract(code, f"{int(latest.price_contract[-1]):08d}")


def _reference(wanted: Any) -> dict[str, Any]:
    return {
        "reference_price": float(wanted.reference_price),
        "reference_contract": f"{int(wanted.reference_contract):08d}",
        "reference_time": _utc(wanted.reference_time),
    }


def _utc(stamp: np.datetime64) -> datetime:
    return datetime.fromtimestamp(int(stamp.astype("datetime64[us]").astype(np.int64)) / 1e6, UTC)
