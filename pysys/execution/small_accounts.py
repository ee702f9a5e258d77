"""Targets of a strategy that optimises whole contracts, from the positions it really holds."""

from datetime import datetime

from pysys.desk import Desk
from pysys.domain.overrides import NO_OVERRIDE, combine
from pysys.domain.targets import SimpleTarget
from pysys.store.unit import UnitOfWork
from pysys.systems.dynamic import Constraints
from pysys.systems.optimised_targets import OptimiserDay, optimised_book


def optimised_targets(
    desk: Desk, strategy: str, day: OptimiserDay, now: datetime, references: dict[str, dict[str, object]]
) -> tuple[SimpleTarget, ...]:
    """Whole contracts to hold of each instrument, traded into from what the strategy holds.

    Overrides and position limits bind inside the optimisation, so that what one market may not take others give.
    references: reference price, contract and time by instrument.
    """
    with desk.store.read() as unit:
        held = {code: lots for (name, code), lots in unit.positions.strategy_positions().items() if name == strategy}
        constraints = _constraints(unit, strategy, day)
    book = optimised_book(day, held, constraints)
    return tuple(
        SimpleTarget(strategy, each.instrument, now, float(each.position), **references[each.instrument])  # type: ignore[arg-type]
        for each in book.targets
        if each.instrument in references
    )


def _constraints(unit: UnitOfWork, strategy: str, day: OptimiserDay) -> Constraints:
    """What the configuration, the overrides and the position limits leave to the optimiser."""
    settings = day.settings
    overrides = unit.restrictions.overrides()
    limits = unit.restrictions.position_limits()
    kinds: dict[str, set[str]] = {
        "no_trading": set(settings.no_trade),
        "reduce_only": set(settings.reduce_only),
        "close": set(),
    }
    for code in day.instruments:
        scopes = ((strategy, ""), ("", code), (strategy, code), ("", ""))
        override = combine(overrides.get(scope, NO_OVERRIDE) for scope in scopes)
        if override.kind in kinds:
            kinds[override.kind].add(code)
    tables: list[dict[str, float]] = [dict(settings.position_limits)]
    tables += [{code: float(n) for (name, code), n in limits.items() if name == scope} for scope in ("", strategy)]
    tables.append(dict.fromkeys(kinds["close"], 0.0))
    return Constraints.of(
        day.instruments,
        no_trade=kinds["no_trading"],
        reduce_only=kinds["reduce_only"],
        long_only=settings.long_only,
        position_limits=tables,
    )
