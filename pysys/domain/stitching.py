"""Back-adjustment by the panama method: current prices stay as they are, history shifts by the gap of every roll."""

from dataclasses import dataclass

import numpy as np

from pysys.domain.errors import DataError
from pysys.domain.prices import FloatArray, IntArray, MultipleRows, PriceRows, to_moment


@dataclass(frozen=True, slots=True)
class Roll:
    """One change of the priced contract found in multiple prices. Contracts are YYYYMMDD numbers."""

    last_old_row: int
    time: int  # microseconds UTC, of the first row of the new contract
    from_contract: int
    to_contract: int
    gap: float  # price of the new contract less the old, NaN when either is missing


def rolls_of(prices: MultipleRows) -> list[Roll]:
    """Every roll, oldest first. Gap is FORWARD less PRICE on the last row of the old contract."""
    last_rows = np.flatnonzero(np.diff(prices.price_contract))
    return [
        Roll(
            last_old_row=int(row),
            time=int(prices.times[row + 1]),
            from_contract=int(prices.price_contract[row]),
            to_contract=int(prices.price_contract[row + 1]),
            gap=float(prices.forward[row] - prices.price[row]),
        )
        for row in last_rows
    ]


def panama_stitch(prices: MultipleRows, *, forward_fill: bool = False) -> PriceRows:
    """Back-adjusted price on the rows of `prices`; a missing PRICE stays missing.

    adjusted[i] = PRICE[i] + the gaps of all rolls at or after row i. `forward_fill` fills PRICE and FORWARD forward
    first, over rolls too, so that no row is missing after the first price.

    Raises DataError when a roll has no price of the old or of the new contract on the last old row, or when the new
    contract is not the one that was forward.
    """
    if forward_fill:
        prices = MultipleRows(
            prices.times,
            filled_forward(prices.price),
            prices.price_contract,
            prices.carry,
            prices.carry_contract,
            filled_forward(prices.forward),
            prices.forward_contract,
        )
    shift = np.zeros(len(prices))
    for roll in rolls_of(prices):
        if np.isnan(roll.gap):
            raise DataError(
                f"the roll from {roll.from_contract} to {roll.to_contract} at {to_moment(roll.time):%Y-%m-%d %H:%M} "
                "has no price of both contracts on the row before it, so the series cannot be stitched"
            )
        if prices.forward_contract[roll.last_old_row] != roll.to_contract:
            raise DataError(
                f"the roll at {to_moment(roll.time):%Y-%m-%d %H:%M} goes to {roll.to_contract}, but the forward "
                f"contract before it was {prices.forward_contract[roll.last_old_row]}"
            )
        shift[roll.last_old_row] = roll.gap
    total_shift = np.cumsum(shift[::-1])[::-1]
    return PriceRows(prices.times, prices.price + total_shift)


def filled_forward(values: FloatArray) -> FloatArray:
    """Each missing value replaced by the last one present before it."""
    rows = np.where(np.isnan(values), -1, np.arange(len(values)))
    latest: IntArray = np.maximum.accumulate(rows) if len(rows) else rows
    return np.where(latest >= 0, values[np.maximum(latest, 0)], np.nan)
