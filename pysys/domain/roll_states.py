"""Where an instrument stands between its priced and its forward contract, and which moves are allowed."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from pysys.domain.errors import PysysError


class RollState(StrEnum):
    """Stored as these words."""

    NO_ROLL = "No_Roll"
    PASSIVE = "Passive"  # reduce in the priced contract, open in the forward one
    FORCE = "Force"  # roll by a calendar spread; normal trading waits
    FORCE_OUTRIGHT = "Force_Outright"  # roll by two outright legs; normal trading waits
    ROLL_ADJUSTED = "Roll_Adjusted"  # the adjusted price is being rolled
    CLOSE = "Close"  # close the position; normal trading waits
    NO_OPEN = "No_Open"  # trade only to reduce


NO_NORMAL_TRADING = frozenset({RollState.FORCE, RollState.FORCE_OUTRIGHT, RollState.CLOSE, RollState.ROLL_ADJUSTED})

_N, _P, _F, _L = RollState.NO_ROLL, RollState.PASSIVE, RollState.FORCE, RollState.FORCE_OUTRIGHT
_A, _C, _O = RollState.ROLL_ADJUSTED, RollState.CLOSE, RollState.NO_OPEN

# (state, is the priced contract held) -> next states, the recommended one first
ALLOWED_NEXT: dict[tuple[RollState, bool], tuple[RollState, ...]] = {
    (_N, False): (_A, _P, _N, _O),
    (_N, True): (_P, _F, _L, _N, _C, _O),
    (_P, False): (_A, _P, _N, _O),
    (_P, True): (_F, _L, _P, _N, _C, _O),
    (_F, False): (_A, _P),
    (_F, True): (_F, _L, _P, _N, _C, _O),
    (_L, False): (_A, _P),
    (_L, True): (_F, _L, _P, _N, _C, _O),
    (_A, False): (_N,),
    (_A, True): (_A,),
    (_C, False): (_A, _P),
    (_C, True): (_C, _F, _L, _P, _N, _O),
    (_O, False): (_A, _P, _O),
    (_O, True): (_C, _F, _L, _P, _N),
}


class RollMoveRefused(PysysError):
    """This roll state may not follow the present one, or the roll cannot be done now. Nothing was changed."""


def allowed_next(state: RollState, *, held: bool) -> tuple[RollState, ...]:
    """States that may follow `state`, recommended first. `held`: is there a position in the priced contract."""
    return ALLOWED_NEXT[state, held]


def require_allowed(instrument: str, state: RollState, wanted: RollState, *, held: bool) -> None:
    """Raise RollMoveRefused unless `wanted` may follow `state`."""
    options = allowed_next(state, held=held)
    if wanted not in options:
        raise RollMoveRefused(
            f"{instrument}: roll state cannot go from {state} to {wanted} while the priced contract is "
            f"{'held' if held else 'flat'}. Possible now: {', '.join(options)}."
        )


@dataclass(frozen=True, slots=True)
class RollStatus:
    """The roll state of an instrument, and who set it when and why."""

    instrument: str
    state: RollState
    priced_contract: str | None  # YYYYMMDD
    time: datetime | None  # UTC; None when never set
    who: str = ""
    why: str = ""
