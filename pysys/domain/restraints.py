"""What is left of a trade after overrides, position limits and stale inputs. Signed contracts."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from pysys.domain.limits import within_limits, within_position_limit
from pysys.domain.overrides import NO_OVERRIDE, Override, apply_override


@dataclass(frozen=True, slots=True)
class Restraints:
    """What holds one strategy's trade in one instrument back."""

    override: Override = NO_OVERRIDE
    strategy_limits: tuple[int, ...] = ()  # position limits of this strategy in this instrument
    instrument_limits: tuple[int, ...] = ()  # of the instrument, over all strategies
    stale: str = ""  # why the inputs are too old to open a position on


def restrain(wanted: int, position: int, others: int, restraints: Restraints) -> tuple[int, str]:
    """The trade that is left of `wanted`, and what held it back.

    position: of the strategy, its unfilled orders included. others: the same of every other strategy in the
    instrument. All rules look at these sums, so no order reaches past what was allowed when the earlier ones fill.
    The instrument's limit only makes a trade smaller here; `reductions` brings a sum beyond it back.
    """
    notes = []
    trade = apply_override(restraints.override, position, wanted)
    if trade != wanted:
        notes.append(f"override {restraints.override}: {wanted:+d} became {trade:+d}")
    allowed = within_limits(position, trade, restraints.strategy_limits)
    if restraints.instrument_limits:
        tightest = min(restraints.instrument_limits)
        allowed = _no_larger(allowed, within_position_limit(position + others, allowed, tightest))
    if allowed != trade:
        notes.append(f"position limit: {trade:+d} became {allowed:+d}")
    if restraints.stale and abs(position + allowed) > abs(position):
        notes.append(f"{restraints.stale}: {allowed:+d} not opened")
        allowed = 0
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
) -> dict[tuple[str, str], int]:
    """Trades that bring every position back within its limits, by (strategy, instrument); none asked for it.

    positions: by (strategy, instrument), unfilled orders included. First each strategy within its own limit; then
    what the sum over strategies still has too much of is taken from the largest holders on that side.
    """
    after = dict(positions)
    for key, limit in strategy_limits.items():
        if key in after:
            after[key] += within_position_limit(after[key], 0, limit)
    for instrument, limit in instrument_limits.items():
        keys = [key for key in after if key[1] == instrument]
        excess = -within_position_limit(sum(after[key] for key in keys), 0, limit)
        for key, cut in _shared_out(excess, {key: after[key] for key in keys}):
            after[key] -= cut
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
