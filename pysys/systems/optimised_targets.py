"""Today's whole contracts for a small account, from the positions really held."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pysys.domain.errors import ConfigError
from pysys.systems.backtest_result import BacktestResult
from pysys.systems.covariance import latest_correlation
from pysys.systems.dynamic import Constraints
from pysys.systems.market_data import FloatArray
from pysys.systems.small_system import OptimiserInputs, SmallSystem, optimise_day, optimiser_inputs

OLDEST_DAYS = 5  # business days without a row after which nothing is known of an instrument


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


@dataclass(frozen=True, slots=True, eq=False)
class OptimiserDay:
    """What today's optimisation reads of a backtest: one value per instrument."""

    settings: SmallSystem
    instruments: tuple[str, ...]
    inputs: OptimiserInputs  # (1 x instrument)
    correlation: FloatArray  # (instrument x instrument)


def last_day(result: BacktestResult) -> OptimiserDay:
    """The last day of each instrument, which may be some days ago where a market was closed or its prices are late.

    What is more than a week old is unknown. Raises ConfigError when the configuration has no `small_system`.
    """
    settings = result.config.small_system
    if settings is None:
        raise ConfigError(
            "this strategy does not optimise whole contracts; add `small_system: {}` to its configuration"
        )
    facts = [one.meta for one in result.series]
    capital = result.config.notional_trading_capital
    inputs = optimiser_inputs(result.raw, result.sizing.risk, facts, result.sizing.notional, result.index, capital)
    days = result.raw.grid.days
    last = len(days) - 1 - np.argmax(result.index[::-1], axis=0)
    fresh = days[-1] - days[last] <= OLDEST_DAYS
    columns = np.arange(len(result.instruments))

    def of_last_day(values: NDArray[Any]) -> NDArray[Any]:
        return values[last, columns][None, :]

    return OptimiserDay(
        settings,
        result.instruments,
        OptimiserInputs(
            optimal=of_last_day(inputs.optimal),
            value=of_last_day(inputs.value),
            deviation=of_last_day(inputs.deviation),
            costs=of_last_day(inputs.costs),
            ready=of_last_day(inputs.ready) & fresh,
        ),
        latest_correlation(result.raw.daily_percentage_returns.values, result.raw.grid),
    )


def optimised_book(
    day: OptimiserDay, prior: Mapping[str, int], constraints: Constraints | None = None
) -> OptimisedBook:
    """Whole contracts of every instrument of the backtest, traded into from `prior` (0 if absent).

    constraints: one entry per instrument of the day; those of the configuration when not given. Positions in
    instruments the backtest does not have play no part in the risk and are handed back as `removed`.
    """
    held = np.array([float(prior.get(code, 0)) for code in day.instruments])
    limits = day.settings.constraints(day.instruments) if constraints is None else constraints
    inputs = day.inputs
    found = optimise_day(day.settings, inputs, 0, day.correlation, held, limits)
    lower, upper = limits.bounds(held)
    value, optimal = inputs.value[0], inputs.optimal[0]

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
            annual_deviation=at(inputs.deviation[0]),
            cost=at(inputs.costs[0]),
            considered=bool(found.considered[column]),
            tracking_error=found.tracking_error,
            tracking_error_after=found.tracking_error_after,
        )

    removed = {code: position for code, position in prior.items() if code not in day.instruments and position}
    return OptimisedBook(tuple(target(n, code) for n, code in enumerate(day.instruments)), removed)
