"""The panama stitch: one continuous price out of the contracts held, with today's price unadjusted."""

from __future__ import annotations

import numpy as np

from pysys.domain.errors import DataError
from pysys.systems.market_data import AdjustedPrices, FloatArray, MultiplePrices
from pysys.systems.smoothing import forward_fill


def panama_stitch(prices: MultiplePrices, fill: bool = False) -> AdjustedPrices:
    """Back-adjusted prices on the native rows of `prices`.

    Each roll shifts all history before it by the gap between the next contract and the held one, on the last row
    that held it. A missing price stays missing, unless `fill` carries PRICE and FORWARD forward first.
    Raises DataError when a roll has no gap to measure.
    """
    price, forward = prices.price, prices.forward
    if fill:
        price, forward = forward_fill(price[:, None])[:, 0], forward_fill(forward[:, None])[:, 0]
    last_rows = np.flatnonzero(np.diff(prices.price_contract))
    gaps = forward[last_rows] - price[last_rows]
    if np.isnan(gaps).any():
        row = int(last_rows[np.isnan(gaps).argmax()])
        missing = " and ".join(
            name for name, column in (("PRICE", price), ("FORWARD", forward)) if np.isnan(column[row])
        )
        raise DataError(
            f"cannot stitch the roll from {prices.price_contract[row]} to {prices.price_contract[row + 1]}: no "
            f"{missing} at {prices.times[row]}, its last row; add that price or move the roll"
        )
    return AdjustedPrices(prices.times, price + _gaps_ahead(gaps, last_rows, len(prices)))


def _gaps_ahead(gaps: FloatArray, last_rows: np.ndarray, rows: int) -> FloatArray:
    """Sum of the gaps of all rolls at or after each row."""
    ahead = np.append(np.cumsum(gaps[::-1])[::-1], 0.0)
    return ahead[np.searchsorted(last_rows, np.arange(rows), side="left")]
