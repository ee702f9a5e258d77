"""Today's whole contracts for a small account, from the positions really held."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from pysys.domain.errors import ConfigError
from pysys.systems.backtest_result import BacktestResult
from pysys.systems.covariance import latest_correlation
from pysys.systems.dynamic import Constraints
from pysys.systems.market_data import FloatArray
from pysys.systems.small_system import optimise_day, optimiser_inputs


@dataclass(frozen=True, slots=True)
class OptimisedTarget:
    """What to hold of one instrument and everything that decided it. Weights are exposure over capital."""

    instrument: str
    optimal_position: float  # contracts, unrounded; NaN when unknown
    prior_position: int  # contracts held
    solution_position: int  # contracts the search would hold without the buffer
    position: int  # contracts to hold
    lowest_position: float  # contracts
    highest_position: float  # contracts
    per_contract_value: float  # exposure of a contract, share of capital
    optimal_weight: float
    prior_weight: float
    weight: float
    annual_deviation: float  # of fractional returns
    cost: float  # share of the exposure traded
    considered: bool  # took part in risk and costs
    tracking_error: float  # of the prior positions of all, annual standard deviation
    tracking_error_after: float  # of the positions of all

    @property
    def trade(self) -> int:
        return self.position - self.prior_position


@dataclass(frozen=True, slots=True)
class OptimisedBook:
    """Targets of the whole universe of a backtest, and what is held outside it."""

    targets: tuple[OptimisedTarget, ...]
    removed: Mapping[str, int]  # contracts held of instruments the backtest no longer has; the owner says how they exit


def optimised_book(
    result: BacktestResult, prior: Mapping[str, int], constraints: Constraints | None = None
) -> OptimisedBook:
    """Whole contracts of every instrument of the backtest, as of its last day, traded into from `prior` (0 if absent).

    constraints: one entry per instrument of the result; those of the configuration when not given. Positions in
    instruments the backtest does not have play no part in the risk and are handed back as `removed`. Raises
    ConfigError when the configuration has no `small_system`.
    """
    settings = result.config.small_system
    if settings is None:
        raise ConfigError(
            "this strategy does not optimise whole contracts; add `small_system: {}` to its configuration"
        )
    facts = [one.meta for one in result.series]
    inputs = optimiser_inputs(
        result.raw,
        result.sizing.risk,
        facts,
        result.sizing.notional,
        result.index,
        result.config.notional_trading_capital,
    )
    held = np.array([float(prior.get(code, 0)) for code in result.instruments])
    limits = settings.constraints(result.instruments) if constraints is None else constraints
    correlation = latest_correlation(result.raw.daily_percentage_returns.values, result.raw.grid)
    found = optimise_day(settings, inputs, -1, correlation, held, limits)
    lower, upper = limits.bounds(held)
    value, optimal = inputs.value[-1], inputs.optimal[-1]

    def target(column: int, code: str) -> OptimisedTarget:
        def at(values: FloatArray) -> float:
            return float(values[column])

        return OptimisedTarget(
            instrument=code,
            optimal_position=at(optimal),
            prior_position=int(held[column]),
            solution_position=int(found.solution[column]),
            position=int(found.positions[column]),
            lowest_position=at(lower),
            highest_position=at(upper),
            per_contract_value=at(value),
            optimal_weight=at(optimal * value),
            prior_weight=at(held * value),
            weight=at(found.positions * value),
            annual_deviation=at(inputs.deviation[-1]),
            cost=at(inputs.costs[-1]),
            considered=bool(found.considered[column]),
            tracking_error=found.tracking_error,
            tracking_error_after=found.tracking_error_after,
        )

    removed = {code: position for code, position in prior.items() if code not in result.instruments and position}
    return OptimisedBook(tuple(target(n, code) for n, code in enumerate(result.instruments)), removed)
