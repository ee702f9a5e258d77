"""Price series of spread instruments, as strategies see them: back-adjusted, in points of the first leg."""

from collections.abc import Mapping, Sequence
from functools import reduce
from itertools import pairwise

import numpy as np

from pysys.domain.contracts import Contract
from pysys.domain.instruments import RollParameters
from pysys.domain.prices import CarryRows, FloatArray, IntArray, MultipleRows, PriceRows
from pysys.domain.spreads import Spread, legs_from
from pysys.domain.stitching import filled_forward, panama_stitch


def between_markets(spread: Spread, adjusted: Mapping[str, PriceRows], point_sizes: Mapping[str, float]) -> PriceRows:
    """The spread of its markets' adjusted prices, at the times all of them have one.

    Each leg is adjusted for its own rolls, so none of them shows as a jump of the spread. point_sizes: by market.
    """
    markets = [adjusted[leg.instrument] for leg in spread.legs]
    return _summed(list(zip(spread.weights(point_sizes), markets, strict=True)))


def between_markets_raw(
    spread: Spread, multiple: Mapping[str, MultipleRows], point_sizes: Mapping[str, float]
) -> CarryRows:
    """The spread of the prices of its markets' priced contracts, at the times all of them have one.

    The contracts are those of the first leg's market. No carry: each leg has its own, in contracts of its own.
    """
    markets = [multiple[leg.instrument] for leg in spread.legs]
    prices = [PriceRows(rows.times, rows.price) for rows in markets]
    total = _summed(list(zip(spread.weights(point_sizes), prices, strict=True)))
    first = markets[0]
    at = np.searchsorted(first.times, total.times)
    blank = np.full(len(total), np.nan)
    return CarryRows(total.times, total.price, first.price_contract[at], blank, first.carry_contract[at])


def within_market(
    spread: Spread, market: MultipleRows, finals: Mapping[Contract, PriceRows], rolls: RollParameters
) -> PriceRows:
    """Adjusted price of a spread within one market, which rolls when its market does; see `within_market_raw`."""
    return panama_stitch(within_market_raw(spread, market, finals, rolls))


def within_market_raw(
    spread: Spread, market: MultipleRows, finals: Mapping[Contract, PriceRows], rolls: RollParameters
) -> MultipleRows:
    """Price of a spread within one market that starts from the priced contract, and of the one it rolls to.

    market: the market's multiple prices. finals: prices of single contracts; one that is missing leaves its time out.
    The contracts are those of the first leg. Carry is the spread it rolls to, NaN where that has no price; forward is
    the same, moved on from the last time both had one. The first row after a roll, which is the roll's own and no
    market time, has the price the spread was rolled at. History before a roll that cannot be bridged is left out.
    """
    priced = _along(spread, market.times, market.price_contract, finals, rolls)
    ahead = _along(spread, market.times, market.forward_contract, finals, rolls)
    rolled = np.flatnonzero(np.diff(market.price_contract)) + 1
    priced[rolled] = np.where(np.isnan(priced[rolled]), ahead[rolled - 1], priced[rolled])
    known = ~np.isnan(priced)
    starts, nexts = market.price_contract[known], market.forward_contract[known]
    gaps, turns = (ahead - priced)[known], np.flatnonzero(np.diff(starts))
    edges = [0, *(turns + 1).tolist(), len(starts)]
    for begin, end in pairwise(edges):
        gaps[begin:end] = filled_forward(gaps[begin:end])
    broken = [row for row in turns.tolist() if np.isnan(gaps[row]) or nexts[row] != starts[row + 1]]
    rows = MultipleRows(
        market.times[known],
        priced[known],
        _first_legs(spread, starts, rolls),
        ahead[known],
        _first_legs(spread, nexts, rolls),
        priced[known] + gaps,
        _first_legs(spread, nexts, rolls),
    )
    return rows.rows(slice(broken[-1] + 1 if broken else 0, None))


def _first_legs(spread: Spread, starts: IntArray, rolls: RollParameters) -> IntArray:
    """The contract of the first leg where the spread starts from each contract."""
    code = spread.markets[0]
    found = np.empty_like(starts)
    for start in np.unique(starts):
        leg = next(iter(legs_from(spread, Contract(code, f"{int(start):08d}"), rolls)))
        found[starts == start] = int(leg.date)
    return found


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


def _summed(legs: Sequence[tuple[float, PriceRows]]) -> PriceRows:
    """sum(weight x price) at the times every leg has a price."""
    priced = [(weight, rows.rows(~np.isnan(rows.price))) for weight, rows in legs]
    common = reduce(np.intersect1d, (rows.times for _, rows in priced))
    total = np.zeros(len(common))
    for weight, rows in priced:
        total += weight * rows.price[np.searchsorted(rows.times, common)]
    return PriceRows(common, total)
