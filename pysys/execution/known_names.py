"""Names a person types, which something has to be called: else a brake brakes nothing, and a position is nobody's."""

from collections.abc import Collection, Sequence
from datetime import datetime
from difflib import get_close_matches

from pysys.config import Config
from pysys.execution.identity import contracts_in_use
from pysys.execution.requests import refuse
from pysys.store.unit import UnitOfWork


def require_known_strategy(unit: UnitOfWork, config: Config, strategy: str) -> None:
    """Raises Refused for a strategy that is neither configured nor holds anything."""
    methods = config.process_configuration_methods
    known = {*config.strategy_list, *(held_by for held_by, _ in unit.positions.strategy_positions())}
    known.update(methods.get("run_systems", {}), methods.get("run_strategy_order_generator", {}))
    refuse(
        strategy not in known,
        f"No strategy {strategy} is configured or holds a position; a new one is named in strategy_list. "
        f"{_nearest(strategy, known)}",
    )


def unknown_contracts(unit: UnitOfWork, now: datetime, instrument: str, dates: Sequence[str]) -> str:
    """A sentence on the contracts that are not listed, or no more, and neither current nor held; blank without any."""
    listed = unit.markets.contracts(instrument)
    live = {each.contract.date for each in listed if each.expiry is None or each.expiry >= now.date()}
    known = live | {contract.date for contract in contracts_in_use(unit, instrument)}
    unknown = [date for date in dates if date not in known]
    if not unknown:
        return ""
    return f"{instrument} has no contract {', '.join(unknown)} that we know of. {_nearest(unknown[0], known)}"


def _nearest(name: str, known: Collection[str]) -> str:
    near = get_close_matches(name, sorted(known), n=5, cutoff=0)
    return f"The nearest there are: {', '.join(sorted(near))}." if near else "There is none at all."
