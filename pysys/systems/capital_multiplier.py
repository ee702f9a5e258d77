"""Capital along the account curve: how profits and losses change the size of later positions.

The three methods are those of production (`domain.capital`), applied to each close.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from pysys.domain.capital import CapitalMethod, initial_capital, update_capital
from pysys.domain.errors import ConfigError
from pysys.systems.market_data import FloatArray
from pysys.systems.yaml_keys import YamlKeys

# The established dotted paths of `capital_multiplier.func`.
CAPITAL_METHODS: dict[str, CapitalMethod] = {
    "syscore.capital.fixed_capital": "fixed",
    "syscore.capital.full_compounding": "full",
    "syscore.capital.half_compounding": "half",
}


@dataclass(frozen=True, slots=True, eq=False)
class CompoundedAccount:
    """An account whose positions grow and shrink with its capital; one entry per day."""

    multiplier: FloatArray  # of positions decided at this close: capital at risk over the capital at the start
    gross: FloatArray  # base currency a day
    costs: FloatArray  # base currency a day, negative
    account_value: FloatArray  # base currency at the close: capital at the start and every profit since
    capital: FloatArray  # base currency at risk, as of the close

    @property
    def net(self) -> FloatArray:
        return self.gross + self.costs


def capital_method(name: str) -> CapitalMethod:
    """The method behind a dotted path, or its last part. Raises ConfigError for one there is not."""
    by_last_part = {path.rsplit(".", 1)[-1]: method for path, method in CAPITAL_METHODS.items()}
    try:
        return by_last_part[name.rsplit(".", 1)[-1]]
    except KeyError:
        raise ConfigError(f"capital_multiplier: unknown func {name}; choose {', '.join(CAPITAL_METHODS)}") from None


def capital_method_of(keys: Any) -> CapitalMethod:
    """The method under `capital_multiplier`: `func: path`, or the path alone. Raises ConfigError for anything else."""
    if isinstance(keys, str):
        return capital_method(keys)
    if not isinstance(keys, Mapping):
        raise ConfigError(f"capital_multiplier must be `func: dotted.path`, not {keys!r}")
    reader = YamlKeys(keys, "capital_multiplier: ")
    method = capital_method(reader.text("func", "fixed_capital"))
    reader.refuse_the_rest()
    return method


def compounded(gross: FloatArray, costs: FloatArray, capital: float, method: CapitalMethod) -> CompoundedAccount:
    """The account that scales every position with the capital at the close that decided it.

    gross, costs: base currency a day on fixed `capital`, missing for none. A position is decided at one close, filled
    at the next and earns from there to the one after: profits carry the multiplier of two closes before, costs that
    of one. Positions are scaled as they are, without rounding, and trades that only follow the capital cost nothing.
    """
    days = len(gross)
    fixed_gross, fixed_costs = np.nan_to_num(gross), np.nan_to_num(costs)
    multiplier, value, scaled_gross, scaled_costs = (np.empty(days) for _ in range(4))
    state = initial_capital(capital)
    when_decided = when_filled = 1.0  # multipliers of two closes before, and of the last
    for day in range(days):
        scaled_gross[day] = fixed_gross[day] * when_decided
        scaled_costs[day] = fixed_costs[day] * when_filled
        state = update_capital(state, state.broker_value + scaled_gross[day] + scaled_costs[day], method)
        value[day] = state.broker_value
        multiplier[day] = state.total / capital
        when_decided, when_filled = when_filled, multiplier[day]
    return CompoundedAccount(multiplier, scaled_gross, scaled_costs, value, multiplier * capital)
