"""When an instrument left each of its contracts: planned from roll parameters, fitted to the prices there are,
turned into multiple prices, and read back out of multiple prices.

Final prices of the contracts come as a mapping from contract to PriceRows; rows without a price are ignored.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, time
from itertools import pairwise

import numpy as np

from pysys.domain.contracts import Contract
from pysys.domain.errors import DataError
from pysys.domain.instruments import RollParameters
from pysys.domain.prices import (
    MICROSECONDS_PER_DAY,
    MICROSECONDS_PER_SECOND,
    FloatArray,
    IntArray,
    MultipleRows,
    PriceRows,
    to_microseconds,
    to_moment,
)

_NEVER: IntArray = np.empty(0, dtype=np.int64)
_MOST_SEARCHED = 24  # contracts looked through for one that has prices


@dataclass(frozen=True, slots=True)
class RollCalendarRow:
    """One roll: `roll_time` (UTC) is the last moment `current` is held."""

    roll_time: datetime
    current: Contract
    next: Contract
    carry: Contract


ContractPrices = Mapping[Contract, PriceRows]


def approximate_calendar(parameters: RollParameters, contracts: list[Contract]) -> list[RollCalendarRow]:
    """Rolls on the desired roll dates (midnight UTC) along the held cycle, for contracts that have prices.

    Starts at the earliest contract with a carry contract and ends before the last contract; empty when none has one.
    """
    priced = sorted(set(contracts))
    rows: list[RollCalendarRow] = []
    current = _first_with_carry(parameters, priced)
    while current is not None and current < priced[-1]:
        following = _next_held_with_prices(parameters, current, priced)
        carry = _carry_with_prices(parameters, current, priced)
        if following is None or carry is None:
            break
        desired = datetime.combine(parameters.desired_roll_date(current), time(), UTC)
        rows.append(RollCalendarRow(desired, current, following, carry))
        current = following
    return rows


def _held(parameters: RollParameters, contract: Contract) -> bool:
    return contract.letter in parameters.hold_cycle


def _first_with_carry(parameters: RollParameters, priced: list[Contract]) -> Contract | None:
    for contract in priced:
        if _held(parameters, contract) and _carry_with_prices(parameters, contract, priced) is not None:
            return contract
    return None


def _next_held_with_prices(parameters: RollParameters, contract: Contract, priced: list[Contract]) -> Contract | None:
    known = set(priced)
    for _ in range(_MOST_SEARCHED):
        contract = parameters.next_held(contract)
        if contract in known:
            return contract
        if contract > priced[-1]:
            return None
    return None


def _carry_with_prices(parameters: RollParameters, contract: Contract, priced: list[Contract]) -> Contract | None:
    known = set(priced)
    for _ in range(_MOST_SEARCHED):
        contract = parameters.carry_contract(contract)
        if contract in known:
            return contract
        if not priced[0] <= contract <= priced[-1]:
            return None
    return None


def final_calendar(approximate: list[RollCalendarRow], prices: ContractPrices) -> list[RollCalendarRow]:
    """The rolls moved to the nearest moment at which both contracts have a price (and the carry contracts, if earlier).

    A roll is never before the approximate date of the roll before it. Ties go to the earlier moment. The last
    approximate row is dropped. A roll without a common price ends the calendar, or is left out when it is the first.
    """
    times = {contract: _times_with_price(rows) for contract, rows in prices.items()}
    final: list[RollCalendarRow] = []
    for row, (planned, following) in enumerate(pairwise(approximate)):
        after = to_microseconds(approximate[row - 1].roll_time) if row else None
        roll_time = _nearest_common_time(planned, following.carry, times, after)
        if roll_time is not None:
            final.append(RollCalendarRow(to_moment(roll_time), planned.current, planned.next, planned.carry))
        elif final:
            break
    return final


def _times_with_price(rows: PriceRows) -> IntArray:
    return rows.times[~np.isnan(rows.price)]


def _nearest_common_time(
    planned: RollCalendarRow, next_carry: Contract, times: Mapping[Contract, IntArray], after: int | None
) -> int | None:
    both = [planned.current, planned.next]
    wanted = [[*both, planned.carry, next_carry], both] if planned.carry < planned.current else [both]
    desired = to_microseconds(planned.roll_time)
    for contracts in wanted:
        candidates = times.get(contracts[0], _NEVER)
        for contract in contracts[1:]:
            candidates = np.intersect1d(candidates, times.get(contract, _NEVER), assume_unique=True)
        if after is not None:
            candidates = candidates[candidates > after]
        if len(candidates):
            days_away = np.abs((candidates - desired) // MICROSECONDS_PER_DAY)
            return int(candidates[np.argmin(days_away)])
    return None


def multiple_from_calendar(calendar: list[RollCalendarRow], prices: ContractPrices) -> MultipleRows:
    """Multiple prices between the first and the last roll of a final calendar.

    Between two rolls: the prices of the later row's current, next and carry contract, from one second after the
    earlier roll to the later one inclusive, on the union of their times, but no later than the current contract's last.
    """
    pieces = [
        _piece(row, prices, to_microseconds(before.roll_time) + MICROSECONDS_PER_SECOND)
        for before, row in pairwise(calendar)
    ]
    pieces = [piece for piece in pieces if len(piece)]
    if not pieces:
        raise DataError("the roll calendar needs at least two rolls with prices between them to build multiple prices")
    return joined(pieces)


def _piece(row: RollCalendarRow, prices: ContractPrices, start: int) -> MultipleRows:
    end = to_microseconds(row.roll_time)
    chosen = [_between(prices[contract], start, end) for contract in (row.current, row.carry, row.next)]
    last_priced = chosen[0].times[-1] if len(chosen[0]) else start - 1
    times = np.unique(np.concatenate([part.times for part in chosen]))
    times = times[times <= last_priced]
    price, carry, forward = (aligned(part, times) for part in chosen)
    return MultipleRows(
        times,
        price,
        np.full(len(times), int(row.current.date), dtype=np.int64),
        carry,
        np.full(len(times), int(row.carry.date), dtype=np.int64),
        forward,
        np.full(len(times), int(row.next.date), dtype=np.int64),
    )


def _between(rows: PriceRows, start: int, end: int) -> PriceRows:
    return rows.rows((rows.times >= start) & (rows.times <= end) & ~np.isnan(rows.price))


def aligned(rows: PriceRows, times: IntArray) -> FloatArray:
    """Prices of `rows` at exactly `times`, NaN where there is no row."""
    values = np.full(len(times), np.nan)
    _, here, there = np.intersect1d(times, rows.times, assume_unique=True, return_indices=True)
    values[here] = rows.price[there]
    return values


def joined(pieces: list[MultipleRows]) -> MultipleRows:
    """Pieces that follow one another as one series. Raises ValueError when they overlap."""
    return MultipleRows(
        np.concatenate([piece.times for piece in pieces]),
        np.concatenate([piece.price for piece in pieces]),
        np.concatenate([piece.price_contract for piece in pieces]),
        np.concatenate([piece.carry for piece in pieces]),
        np.concatenate([piece.carry_contract for piece in pieces]),
        np.concatenate([piece.forward for piece in pieces]),
        np.concatenate([piece.forward_contract for piece in pieces]),
    )


def calendar_from_multiple(instrument: str, prices: MultipleRows) -> list[RollCalendarRow]:
    """The rolls multiple prices were made with, plus a last row: where the data end and what was held then.

    Each roll is dated at the first row of the new contract; current and carry contract are those of the row before.
    """
    if not len(prices):
        return []

    def contract(number: int) -> Contract:
        return Contract(instrument, f"{number:08d}")

    rows = [
        RollCalendarRow(
            to_moment(prices.times[last_old + 1]),
            contract(prices.price_contract[last_old]),
            contract(prices.price_contract[last_old + 1]),
            contract(prices.carry_contract[last_old]),
        )
        for last_old in np.flatnonzero(np.diff(prices.price_contract))
    ]
    rows.append(
        RollCalendarRow(
            to_moment(prices.times[-1]),
            contract(prices.price_contract[-1]),
            contract(prices.forward_contract[-1]),
            contract(prices.carry_contract[-1]),
        )
    )
    return rows


def past_rolls(instrument: str, prices: MultipleRows) -> list[RollCalendarRow]:
    """The rolls in multiple prices, without the row for the contracts still in use."""
    return calendar_from_multiple(instrument, prices)[:-1]
