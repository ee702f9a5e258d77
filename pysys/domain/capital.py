"""How the account's value becomes capital at risk, and how capital is split between strategies."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

CapitalMethod = Literal["full", "half", "fixed"]


@dataclass(frozen=True, slots=True)
class CapitalState:
    """Capital after one poll of the account; all in base currency."""

    broker_value: float  # account value last accepted
    total: float  # capital at risk
    maximum: float  # high-water mark of the half method
    accumulated: float  # profit and loss since the beginning


def initial_capital(
    broker_value: float,
    total: float | None = None,
    maximum: float | None = None,
    accumulated: float = 0.0,
) -> CapitalState:
    """The first state: capital is the account's value unless told otherwise, and starts at its high-water mark."""
    started = broker_value if total is None else total
    return CapitalState(broker_value, started, started if maximum is None else maximum, accumulated)


def change_fraction(state: CapitalState, broker_value: float) -> float:
    """Change of the account since the last accepted poll, as a fraction of that poll; unsigned.

    An account that was worth nothing has no believable change: infinite unless it stays at nothing.
    """
    change = abs(broker_value - state.broker_value)
    if state.broker_value == 0:
        return 0.0 if change == 0 else float("inf")
    return change / abs(state.broker_value)


def update_capital(state: CapitalState, broker_value: float, method: CapitalMethod) -> CapitalState:
    """Capital after the account moved to `broker_value`. The change since the last poll is profit or loss.

    full: profits and losses compound. half: losses reduce capital, profits only up to the maximum. fixed:
    capital stays. A maximum set below the total pulls the total down (half).

    >>> update_capital(CapitalState(100, 98, 100, 0), 105, "half")
    CapitalState(broker_value=105, total=100, maximum=100, accumulated=5)
    """
    profit = broker_value - state.broker_value
    accumulated = state.accumulated + profit
    if method == "full":
        total = max(state.total + profit, 0)
        return CapitalState(broker_value, total, total, accumulated)
    if method == "half":
        total = max(min(state.total + profit, state.maximum), 0)
        return CapitalState(broker_value, total, state.maximum, accumulated)
    return CapitalState(broker_value, state.total, state.total, accumulated)


def split_by_weight(total: float, weights: Mapping[str, float]) -> dict[str, float]:
    """Capital of each strategy: its share of the weights, which need not sum to anything in particular.

    Raises ValueError for a negative weight, or when no weight is positive.
    """
    if any(weight < 0 for weight in weights.values()):
        raise ValueError(f"strategy_weights {dict(weights)} has a negative weight")
    whole = sum(weights.values())
    if whole <= 0:
        raise ValueError(f"strategy_weights {dict(weights)} has no positive weight, so no strategy would trade")
    return {name: total * weight / whole for name, weight in weights.items()}
