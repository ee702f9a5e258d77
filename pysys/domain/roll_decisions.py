"""When to roll: what the calendar, the volume and the position suggest, and how loud to say it.

Days are negative once the date has passed.
"""

from dataclasses import dataclass

import numpy as np

from pysys.domain.prices import FloatArray
from pysys.domain.roll_states import RollState

PASSIVE_BUSINESS_DAYS = 5  # before the due day: start to reduce in the priced contract
NEAR_DAYS = 10  # calendar days before the due day in which an illiquid forward contract matters
OUTRIGHT_BUSINESS_DAYS = 2  # before expiry: a spread that did not trade gives way to two legs
LIQUID_RELATIVE_VOLUME = 1.0
THIN_RELATIVE_VOLUME, THIN_VOLUME = 0.01, 100.0  # enough for a tiny relative volume, in contracts a day
VOLUME_SPAN, VOLUME_DAYS = 3, 14

_FORCED = (RollState.FORCE, RollState.FORCE_OUTRIGHT)
_WAITS_FOR_POSITION = (RollState.FORCE, RollState.FORCE_OUTRIGHT, RollState.CLOSE)


@dataclass(frozen=True, slots=True)
class RollSituation:
    """What there is to know of one instrument."""

    state: RollState
    position: int  # contracts held in the priced contract, or else units of a spread that starts from it; signed
    days_to_due: int  # calendar days
    business_days_to_due: int
    days_to_expiry: int  # of the priced contract, calendar days
    business_days_to_expiry: int
    forward_volume: float  # recent contracts a day, NaN when not known
    relative_volume: float  # forward over priced, NaN when not known


@dataclass(frozen=True, slots=True)
class RollSuggestion:
    """The state to be in. `act` is whether to go there without asking."""

    state: RollState
    act: bool
    reason: str


def recent_volume(volumes: FloatArray) -> float:
    """Latest exponentially weighted average (span 3) of daily volumes, oldest first; NaN without any."""
    known = volumes[~np.isnan(volumes)]
    if not len(known):
        return float("nan")
    weights = (1 - 2 / (VOLUME_SPAN + 1)) ** np.arange(len(known))[::-1]
    return float((weights * known).sum() / weights.sum())


def relative_volume(priced: float, forward: float) -> float:
    """Forward volume over priced volume; a priced volume of 0 counts as 0.0001."""
    return forward / (priced if priced != 0 else 0.0001)


def is_liquid(forward_volume: float, relative: float) -> bool:
    """Whether the forward contract trades enough to roll into. Unknown volume is not liquid."""
    return relative > LIQUID_RELATIVE_VOLUME or (relative > THIN_RELATIVE_VOLUME and forward_volume > THIN_VOLUME)


def suggest(now: RollSituation) -> RollSuggestion:
    """What to do about the roll of one instrument."""
    return _suggest_held(now) if now.position else _suggest_flat(now)


def _suggest_flat(now: RollSituation) -> RollSuggestion:
    if now.days_to_expiry < 0:
        return RollSuggestion(RollState.ROLL_ADJUSTED, True, "flat, and the priced contract has expired")
    if now.days_to_due <= 0:
        return RollSuggestion(RollState.ROLL_ADJUSTED, True, "flat, and the roll is due")
    if now.state in _WAITS_FOR_POSITION:
        return RollSuggestion(RollState.PASSIVE, True, f"{now.state} is done: the priced contract is flat")
    if is_liquid(now.forward_volume, now.relative_volume):
        return RollSuggestion(RollState.ROLL_ADJUSTED, False, "flat, and the forward contract is liquid: may roll")
    return _stay(now)


def _suggest_held(now: RollSituation) -> RollSuggestion:
    liquid = is_liquid(now.forward_volume, now.relative_volume)
    if now.state is RollState.CLOSE:
        return RollSuggestion(RollState.CLOSE, False, "the position is being closed")
    if now.business_days_to_expiry <= OUTRIGHT_BUSINESS_DAYS:
        return RollSuggestion(RollState.FORCE_OUTRIGHT, True, "held, and expiry is too near to wait for a spread")
    if now.days_to_due <= 0:
        forced = now.state if now.state in _FORCED else RollState.FORCE
        return RollSuggestion(forced, True, "held, and the roll is due")
    if now.business_days_to_due <= PASSIVE_BUSINESS_DAYS:
        state = now.state if now.state in _FORCED else RollState.PASSIVE
        return RollSuggestion(state, True, f"held, and due in {now.business_days_to_due} business days")
    if liquid and now.state is RollState.NO_ROLL:
        return RollSuggestion(RollState.PASSIVE, False, "held, and the forward contract is liquid: may start")
    if not liquid and now.days_to_due < NEAR_DAYS and now.relative_volume == now.relative_volume:
        return RollSuggestion(RollState.NO_OPEN, False, "due soon, and the forward contract is not liquid yet")
    return _stay(now)


def _stay(now: RollSituation) -> RollSuggestion:
    return RollSuggestion(now.state, False, f"due in {now.days_to_due} days")


def deadline(now: RollSituation) -> tuple[str, str]:
    """(level, sentence) as the expiry of a held priced contract nears: blank, notice, warning or critical."""
    if not now.position:
        return "", ""
    days = now.days_to_expiry
    held = f"{now.position:+d} still held in the priced contract"
    if days < 0:
        return "critical", f"{held}, which expired {-days} days ago"
    if now.business_days_to_expiry <= 1:
        return "critical", f"{held}, which expires {'today' if days == 0 else f'in {days} days'}"
    if now.business_days_to_expiry <= 3:
        return "warning", f"{held}, which expires in {days} days"
    if now.days_to_due < 0:
        return "notice", f"{held}; the roll is {-now.days_to_due} days overdue, expiry in {days} days"
    return "", ""
