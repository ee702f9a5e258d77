"""Spread instruments as configured, and what is held for them: in the markets of their legs, but not of them."""

from pysys.config import Config
from pysys.domain.contracts import Contract
from pysys.domain.spreads import Spread
from pysys.store.unit import UnitOfWork


def spread_named(config: Config, code: str) -> Spread | None:
    """The spread an instrument code stands for; None for an ordinary instrument."""
    return config.spreads.get(code)


def calendar_spreads(config: Config, market: str) -> list[Spread]:
    """Spreads between contracts of one market."""
    return [spread for spread in config.spreads.values() if spread.markets == (market,)]


def market_of_instrument(config: Config, code: str) -> str:
    """Where an instrument is rolled: a spread within one market where that market is, any other by itself."""
    spread = spread_named(config, code)
    return spread.markets[0] if spread is not None and spread.within_one_market else code


def markets_of_instrument(config: Config, code: str) -> tuple[str, ...]:
    """Markets an order in an instrument is worked in."""
    spread = spread_named(config, code)
    return (code,) if spread is None else spread.markets


def legs_held(unit: UnitOfWork, config: Config) -> dict[str, dict[Contract, int]]:
    """Contracts held for each spread within one market. Legs between markets count as the market's own."""
    within = {code for code, spread in config.spreads.items() if spread.within_one_market}
    if not within:
        return {}
    found: dict[str, dict[Contract, int]] = {}
    for (owner, contract), held in unit.orders.legs_held_for_others().items():
        if owner in within:
            found.setdefault(owner, {})[contract] = held
    return found


def legs_by_market(unit: UnitOfWork) -> dict[str, int]:
    """How many contracts of each market are held as legs of spreads, of either kind; the rest is the market's own."""
    found: dict[str, int] = {}
    for (_, contract), held in unit.orders.legs_held_for_others().items():
        found[contract.instrument] = found.get(contract.instrument, 0) + held
    return found


def legs_between_markets(unit: UnitOfWork, config: Config, market: str) -> dict[str, int]:
    """By spread between markets, how many contracts of one of its markets are held for it; wherever they rolled to."""
    found: dict[str, int] = {}
    for (owner, contract), held in unit.orders.legs_held_for_others().items():
        spread = config.spreads.get(owner)
        if contract.instrument == market and (spread is None or not spread.within_one_market):
            found[owner] = found.get(owner, 0) + held
    return {owner: held for owner, held in found.items() if held}


def outright_positions(unit: UnitOfWork, config: Config, market: str) -> dict[Contract, int]:
    """Contracts held of a market for itself: all but the legs of its calendar spreads."""
    held = {c: position for c, position in unit.positions.contract_positions().items() if c.instrument == market}
    for legs in legs_held(unit, config).values():
        for contract, position in legs.items():
            if contract.instrument == market:
                held[contract] = held.get(contract, 0) - position
    return {contract: position for contract, position in held.items() if position}
