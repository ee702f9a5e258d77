"""What is held of a market, for itself and as spreads within it, however much of it offsets in single contracts.

A roll must move all of it: an outright position and the leg of a spread may cancel to nothing in the priced contract,
and both are still there.
"""

from pysys.config import Config
from pysys.domain.contracts import Contract
from pysys.domain.spreads import units_held
from pysys.store.unit import UnitOfWork


def held_of_market(unit: UnitOfWork, config: Config, market: str) -> dict[str, dict[Contract, int]]:
    """By instrument, the market or a spread within it, what is held by contract; flat ones are absent.

    Of the market contracts, of a spread units by the contract they start from, or its legs where they are no whole
    units. Legs of spreads between markets are the market's own.
    """
    own = {c: position for c, position in unit.positions.contract_positions().items() if c.instrument == market}
    legs: dict[str, dict[Contract, int]] = {}
    spreads = {code: spread for code, spread in config.spreads.items() if spread.markets == (market,)}
    held_for_others = unit.orders.legs_held_for_others() if spreads else {}
    for (code, contract), position in held_for_others.items():
        if code in spreads:
            legs.setdefault(code, {})[contract] = position
            own[contract] = own.get(contract, 0) - position
    found = {market: {contract: position for contract, position in own.items() if position}}
    for code, held in legs.items():
        try:
            found[code] = units_held(spreads[code], held, unit.markets.roll_parameters(market))
        except ValueError:
            found[code] = held
    return {code: positions for code, positions in found.items() if positions}


def held_from(unit: UnitOfWork, config: Config, priced: Contract) -> dict[str, int]:
    """By instrument, what would stay behind if its market were rolled out of the priced contract now."""
    held = held_of_market(unit, config, priced.instrument)
    return {code: positions[priced] for code, positions in held.items() if positions.get(priced, 0)}
