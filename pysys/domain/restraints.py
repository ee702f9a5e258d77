"""What is left of a trade after overrides, position limits and stale inputs. Signed contracts."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

from pysys.domain.limits import not_beyond, units_not_beyond, within_limits, within_position_limit
from pysys.domain.overrides import NO_OVERRIDE, Override, apply_override


@dataclass(frozen=True, slots=True)
class LegLimit:
    """The position limit of a market that a spread has a leg in."""

    market: str
    per_unit: int  # contracts of the market in one unit of the spread, signed
    held: int  # contracts of the market, legs and unfilled orders of whatever strategy included
    limit: int


@dataclass(frozen=True, slots=True)
class Restraints:
    """What holds one strategy's trade in one instrument back."""

    override: Override = NO_OVERRIDE
    strategy_limits: tuple[int, ...] = ()  # position limits of this strategy in this instrument
    instrument_limits: tuple[int, ...] = ()  # of the instrument, over all strategies
    leg_limits: tuple[LegLimit, ...] = ()  # of the markets of a spread's legs
    stale: str = ""  # why the inputs are too old to open a position on


def restrain(wanted: int, position: int, others: int, restraints: Restraints) -> tuple[int, str]:
    """The trade that is left of `wanted`, and what held it back.

    position: of the strategy, its unfilled orders included. others: the same of every other strategy in the
    instrument, and of the legs of spreads in it. All rules look at these sums, so no order reaches past what was
    allowed when the earlier ones fill. The instrument's limit only makes a trade smaller here; `reductions` brings a
    sum beyond it back. On stale inputs nothing is opened, also not on the far side of zero.
    """
    notes = []
    trade = apply_override(restraints.override, position, wanted)
    if trade != wanted:
        notes.append(f"override {restraints.override}: {wanted:+d} became {trade:+d}")
    allowed = within_limits(position, trade, restraints.strategy_limits)
    if restraints.override.kind == "no_trading":
        allowed = 0
    if restraints.instrument_limits:
        tightest = min(restraints.instrument_limits)
        allowed = _no_larger(allowed, within_position_limit(position + others, allowed, tightest))
    if allowed != trade:
        notes.append(f"position limit: {trade:+d} became {allowed:+d}")
    within_legs = allowed
    for leg in restraints.leg_limits:
        within_legs = units_not_beyond(within_legs, leg.per_unit, leg.held, leg.limit)
        if within_legs != allowed:
            notes.append(f"position limit of {leg.market}: {allowed:+d} became {within_legs:+d}")
            allowed = within_legs
    closing = not_beyond(position, allowed, 0)
    if restraints.stale and closing != allowed:
        notes.append(f"{restraints.stale}: {allowed - closing:+d} not opened")
        allowed = closing
    return allowed, "; ".join(notes)


def _no_larger(trade: int, cap: int) -> int:
    """`cap` where it makes the trade smaller; 0 where it would turn it round.

    >>> _no_larger(5, 2), _no_larger(5, -1), _no_larger(-3, -8)
    (2, 0, -3)
    """
    return max(0, min(trade, cap)) if trade > 0 else min(0, max(trade, cap))


def reductions(
    positions: Mapping[tuple[str, str], int],
    strategy_limits: Mapping[tuple[str, str], int],
    instrument_limits: Mapping[str, int],
    *,
    frozen: Collection[tuple[str, str]] = (),
    legs: Mapping[str, Mapping[str, int]] | None = None,
) -> dict[tuple[str, str], int]:
    """Trades that bring every position back within its limits, by (strategy, instrument); none asked for it.

    positions: by (strategy, instrument), unfilled orders included. First each strategy within its own limit; then
    what the sum over strategies still has too much of is taken from the largest holders on that side. frozen: what may
    not be traded. legs: contracts of each market in one unit of a spread, by its code; they count in the market.
    """
    after = dict(positions)
    for key, limit in strategy_limits.items():
        if key in after and key not in frozen:
            after[key] += within_position_limit(after[key], 0, limit)
    spreads = {} if legs is None else legs
    for instrument, limit in instrument_limits.items():
        per_unit = {key: 1 if key[1] == instrument else spreads.get(key[1], {}).get(instrument, 0) for key in after}
        held = {key: after[key] * ratio for key, ratio in per_unit.items() if ratio}
        excess = -within_position_limit(sum(held.values()), 0, limit)
        for key, cut in _shared_out(excess, {key: n for key, n in held.items() if key not in frozen}):
            units = -(-abs(cut) // abs(per_unit[key]))  # up, so that the limit is kept
            after[key] -= units if after[key] > 0 else -units
    return {key: after[key] - held for key, held in positions.items() if after[key] != held}


def _shared_out(excess: int, held: Mapping[tuple[str, str], int]) -> Iterable[tuple[tuple[str, str], int]]:
    """(holder, contracts to give up), the largest holder on the side of the excess first."""
    holders = sorted((key for key, position in held.items() if position * excess > 0), key=lambda k: (-abs(held[k]), k))
    for key in holders:
        cut = held[key] if abs(held[key]) < abs(excess) else excess
        excess -= cut
        yield key, cut
        if excess == 0:
            return
