"""Whether what is held as legs of a spread instrument is what its strategies own of it."""

from collections.abc import Mapping
from dataclasses import dataclass

from pysys.domain.contracts import Contract
from pysys.domain.instruments import RollParameters
from pysys.domain.spreads import Spread, whole_units


@dataclass(frozen=True, slots=True)
class SpreadBreak:
    """A spread whose legs are not what the strategies own of it."""

    spread: str
    units: int  # owned by strategies
    legs: tuple[tuple[Contract, int], ...]  # held for it, by the contracts they were traded in
    why: str

    def __str__(self) -> str:
        return f"{self.spread} ({self.why})"


def spread_break(
    code: str,
    spread: Spread | None,
    units: int,
    held: Mapping[Contract, int],
    rolls: Mapping[str, RollParameters],
) -> SpreadBreak | None:
    """None when the contracts held for a spread are the units its strategies own.

    spread: None for one that is declared no more, of which nothing should be left. rolls: by market.
    """
    legs = tuple((contract, quantity) for contract, quantity in sorted(held.items()) if quantity)
    if spread is None:
        why = f"{units:+d} units and {len(legs)} legs are left, and spread_instruments declares it no more"
        return SpreadBreak(code, units, legs, why) if units or legs else None
    try:
        found = whole_units(spread, held, rolls)
    except ValueError as error:
        return SpreadBreak(code, units, legs, f"{units:+d} units; {error}")
    if found == units:
        return None
    return SpreadBreak(code, units, legs, f"{units:+d} units against {found:+d} in legs")
