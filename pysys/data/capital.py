"""The account's value becomes capital, and capital is split between strategies."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import pandas as pd

from pysys.desk import Desk
from pysys.domain.capital import (
    CapitalState,
    change_fraction,
    initial_capital,
    split_by_weight,
    update_capital,
)
from pysys.domain.dotted_names import resolve
from pysys.domain.errors import ConfigError, NeedsOperator


class CapitalChangeTooLarge(NeedsOperator):
    """The account moved more than is believed without a person looking."""


@dataclass(frozen=True, slots=True)
class CapitalUpdate:
    """What one poll of the account came to; amounts in base currency."""

    time: datetime  # UTC
    base_currency: str
    broker_value: float
    before: CapitalState | None  # None on the first poll
    after: CapitalState | None  # None when the change was refused
    refused_because: str = ""

    def table(self) -> pd.DataFrame:
        unit = self.base_currency
        before, after = self.before, self.after
        rows = {
            f"Account value, {unit}": (before.broker_value if before else None, self.broker_value),
            f"Capital, {unit}": (before.total if before else None, after.total if after else None),
            f"Maximum capital, {unit}": (before.maximum if before else None, after.maximum if after else None),
            f"Accumulated P&L, {unit}": (before.accumulated if before else None, after.accumulated if after else None),
        }
        return pd.DataFrame.from_dict(rows, orient="index", columns=["before", "now"])

    def summary(self) -> dict[str, Any]:
        return {
            "broker_value": self.broker_value,
            "capital": None if self.after is None else self.after.total,
            "refused": self.refused_because,
        }

    def raise_if_incomplete(self) -> None:
        """Raises CapitalChangeTooLarge when the poll was refused."""
        if self.refused_because:
            raise CapitalChangeTooLarge(self.refused_because)


def update_total_capital(desk: Desk) -> CapitalUpdate:
    """Poll the account and move capital by the change since the last poll.

    The poll is kept in any case. A change beyond `capital_change_limit` of the last accepted value moves nothing
    and waits for a person. Polling twice at one moment is polling once.
    """
    value = desk.broker.account_value()
    config = desk.config
    if value.base_currency != config.base_currency:
        raise ConfigError(
            f"The account {value.account} is kept in {value.base_currency}, but base_currency is "
            f"{config.base_currency}. Set base_currency to the account's."
        )
    with desk.store.write() as unit:
        latest = unit.targets.latest_capital()
        before = None if latest is None else latest[1]
        if unit.targets.has_poll_at(value.moment):
            return CapitalUpdate(value.moment, value.base_currency, value.total, before, before)
        refused = "" if before is None else _refusal(before, value.total, config.capital_change_limit)
        poll_id = unit.targets.add_poll(value, accepted=not refused)
        after = None
        if not refused:
            after = (
                initial_capital(value.total)
                if before is None
                else update_capital(before, value.total, config.production_capital_method)
            )
            unit.targets.add_capital(
                value.moment,
                after,
                method=config.production_capital_method,
                poll_id=poll_id,
                who=desk.store.author.written_by,
                why="poll of the account" if before else "first poll of the account",
            )
        unit.commit()
    return CapitalUpdate(value.moment, value.base_currency, value.total, before, after, refused)


def _refusal(before: CapitalState, broker_value: float, limit: float) -> str:
    fraction = change_fraction(before, broker_value)
    if fraction <= limit:
        return ""
    return (
        f"The account went from {before.broker_value:,.2f} to {broker_value:,.2f}, {fraction:.1%} of it, more than the "
        f"{limit:.0%} believed unseen. Capital was left as it was: check the account, then raise capital_change_limit "
        "for one run of update_total_capital if the change is real."
    )


@dataclass(frozen=True, slots=True)
class Allocation:
    """Capital of each strategy, base currency."""

    time: datetime
    base_currency: str
    total: float
    by_strategy: dict[str, float]

    def table(self) -> pd.DataFrame:
        rows = [
            {
                "strategy": name,
                f"capital, {self.base_currency}": amount,
                "share, %": 100 * amount / self.total if self.total else None,
            }
            for name, amount in self.by_strategy.items()
        ]
        return pd.DataFrame(rows).set_index("strategy")

    def summary(self) -> dict[str, Any]:
        return {"total": self.total, **self.by_strategy}

    def raise_if_incomplete(self) -> None:
        """An allocation is whole or was not made."""


def weighted_strategy_allocation(total_capital: float, strategy_weights: dict[str, float]) -> dict[str, float]:
    """The default allocation: each strategy's share of the weights."""
    return split_by_weight(total_capital, strategy_weights)


_KNOWN_ALLOCATIONS: dict[str, Callable[..., dict[str, float]]] = {
    "sysproduction.strategy_code.strategy_allocation.weighted_strategy_allocation": weighted_strategy_allocation,
}


def strategy_allocation(desk: Desk) -> Allocation:
    """Split the latest capital between strategies by the configured function, and keep the history.

    Raises NeedsOperator when there is no capital yet, ConfigError when nothing is configured.
    """
    configured = desk.config.strategy_capital_allocation
    if configured is None:
        raise ConfigError("strategy_capital_allocation is empty: name the function and the strategy_weights.")
    function = resolve(configured.function, _KNOWN_ALLOCATIONS, "strategy_capital_allocation.function")
    arguments = configured.model_dump(exclude={"function"})
    now = desk.clock.now()
    with desk.store.write() as unit:
        latest = unit.targets.latest_capital()
        if latest is None:
            raise NeedsOperator("There is no capital to split yet. Run `pysys run update_total_capital` first.")
        total = latest[1].total
        try:
            split = function(total, **arguments)
        except (TypeError, ValueError) as error:
            raise ConfigError(f"strategy_capital_allocation: {error}.") from error
        if any(time == now for time, _ in unit.targets.latest_strategy_capital().values()):
            return Allocation(now, desk.config.base_currency, total, split)
        unit.targets.add_strategy_capital(now, split)
        unit.commit()
    return Allocation(now, desk.config.base_currency, total, split)
