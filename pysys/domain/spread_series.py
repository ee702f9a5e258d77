"""Price series of spread instruments, as strategies and P&L see them: sum(ratio x leg price), back-adjusted."""

from collections.abc import Mapping, Sequence
from functools import reduce

import numpy as np

from pysys.domain.contracts import Contract
from pysys.domain.instruments import RollParameters
from pysys.domain.prices import FloatArray, IntArray, MultipleRows, PriceRows
from pysys.domain.spreads import Spread, legs_from
from pysys.domain.stitching import panama_stitch


def between_markets(spread: Spread, adjusted: Mapping[str, PriceRows]) -> PriceRows:
    """The spread of its markets' adjusted prices, at the times all of them have one.

    Each leg is adjusted for its own rolls, so none of them shows as a jump of the spread.
    """
    return _summed([(leg.ratio, adjusted[leg.instrument]) for leg in spread.legs])


def within_market(
    spread: Spread, market: MultipleRows, finals: Mapping[Contract, PriceRows], rolls: RollParameters
) -> PriceRows:
    """Adjusted price of a spread within one market, which rolls when its market does.

    market: the market's multiple prices. finals: prices of single contracts; one that is missing leaves its time out.
    """
    priced = _along(spread, market.times, market.price_contract, finals, rolls)
    forward = _along(spread, market.times, market.forward_contract, finals, rolls)
    known = ~np.isnan(priced)
    rows = MultipleRows(
        market.times, priced, market.price_contract, forward, market.forward_contract, forward, market.forward_contract
    )
    return panama_stitch(rows.rows(known), forward_fill=True)


def contracts_of(spread: Spread, market: MultipleRows, rolls: RollParameters) -> set[Contract]:
    """Every contract that is or was a leg, or would be next."""
    starts = set(market.price_contract.tolist()) | set(market.forward_contract.tolist())
    code = spread.markets[0]
    return {contract for start in starts for contract in legs_from(spread, Contract(code, f"{start:08d}"), rolls)}


def _along(
    spread: Spread, times: IntArray, starts: IntArray, finals: Mapping[Contract, PriceRows], rolls: RollParameters
) -> FloatArray:
    """Price of the spread at each time, when it starts from that time's contract; NaN where a leg has none."""
    found = np.full(len(times), np.nan)
    for start in np.unique(starts):
        legs = legs_from(spread, Contract(spread.markets[0], f"{int(start):08d}"), rolls)
        if any(contract not in finals for contract in legs):
            continue
        rows = _summed([(ratio, finals[contract]) for contract, ratio in legs.items()])
        mine = starts == start
        places = np.searchsorted(rows.times, times[mine])
        places = np.minimum(places, max(len(rows) - 1, 0))
        hit = rows.times[places] == times[mine] if len(rows) else np.zeros(int(mine.sum()), bool)
        values = np.full(int(mine.sum()), np.nan)
        values[hit] = rows.price[places[hit]]
        found[mine] = values
    return found


def _summed(legs: Sequence[tuple[int, PriceRows]]) -> PriceRows:
    """sum(ratio x price) at the times every leg has a price."""
    priced = [(ratio, rows.rows(~np.isnan(rows.price))) for ratio, rows in legs]
    common = reduce(np.intersect1d, (rows.times for _, rows in priced))
    total = np.zeros(len(common))
    for ratio, rows in priced:
        total += ratio * rows.price[np.searchsorted(rows.times, common)]
    return PriceRows(common, total)
