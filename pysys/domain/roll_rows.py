"""The rows that roll a multiple price series from its priced to its forward contract."""

from dataclasses import dataclass

import numpy as np

from pysys.domain.errors import DataError
from pysys.domain.prices import (
    MICROSECONDS_PER_DAY,
    MICROSECONDS_PER_SECOND,
    MultipleRows,
    to_moment,
)

MATCHED_ROWS = 5  # the gap used to infer a price is the median over so many rows with both prices
MOST_DAYS_APART = 14  # between the last matched row and the row a price is inferred for


@dataclass(frozen=True, slots=True)
class RollRows:
    """What a roll appends: one row of the new contract, after one of the old contract where it was not complete."""

    rows: MultipleRows
    gap: float  # price of the new contract less the old at the same time
    inferred: str  # which price was inferred, blank when none


def roll_rows(
    instrument: str, held: MultipleRows, next_forward: int, next_carry: int, prices_then: dict[int, float]
) -> RollRows:
    """Rows one second apart that roll `held` (all rows of the present priced contract) into its forward contract.

    next_forward, next_carry: contracts (YYYYMMDD) after the roll. prices_then: prices known at the last row's time,
    by contract. If the last row lacks the price of one of the two contracts, the latest row with either is completed
    with the median gap of the last five rows that have both, and written again as the last row of the old contract.

    Raises DataError when the two never had a price together, or not within 14 days of the latest price.
    """
    either = np.flatnonzero(~np.isnan(held.price) | ~np.isnan(held.forward))
    both = np.flatnonzero(~np.isnan(held.price) & ~np.isnan(held.forward))
    old, new = int(held.price_contract[-1]), int(held.forward_contract[-1])
    if not len(both):
        raise DataError(
            f"{instrument}: {old} and {new} have never had a price at the same time, so the adjusted price cannot be "
            "rolled. Update the prices of both, or wait until both trade."
        )
    last, matched = int(either[-1]), int(both[-1])
    apart = (held.times[last] - held.times[matched]) / MICROSECONDS_PER_DAY
    if apart > MOST_DAYS_APART:
        raise DataError(
            f"{instrument}: {old} and {new} last had a price together on {to_moment(held.times[matched]):%Y-%m-%d}, "
            f"{apart:.0f} days before the latest price; more than {MOST_DAYS_APART} is too long to infer one. "
            "Update the prices of both first."
        )
    recent = both[-MATCHED_ROWS:]
    usual_gap = float(np.median(held.forward[recent] - held.price[recent]))
    price, forward, inferred = float(held.price[last]), float(held.forward[last]), ""
    if np.isnan(forward):
        forward, inferred = price + usual_gap, f"price of {new}"
    elif np.isnan(price):
        price, inferred = forward - usual_gap, f"price of {old}"
    at_end = last == len(held) - 1
    known = prices_then | {old: price, new: forward} if at_end else {old: price, new: forward}
    carry = int(held.carry_contract[-1])
    rows = []
    if inferred or not at_end:
        rows.append((price, old, known.get(carry, np.nan), carry, forward, new))
    rows.append(
        (forward, new, known.get(next_carry, np.nan), next_carry, known.get(next_forward, np.nan), next_forward)
    )
    stamps = held.times[-1] + MICROSECONDS_PER_SECOND * np.arange(1, len(rows) + 1)
    columns = list(zip(*rows, strict=True))
    return RollRows(
        MultipleRows(
            stamps,
            np.array(columns[0], dtype=np.float64),
            np.array(columns[1], dtype=np.int64),
            np.array(columns[2], dtype=np.float64),
            np.array(columns[3], dtype=np.int64),
            np.array(columns[4], dtype=np.float64),
            np.array(columns[5], dtype=np.int64),
        ),
        forward - price,
        inferred,
    )
