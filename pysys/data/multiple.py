"""Multiple and adjusted prices: made once from contract prices, then extended every day by the contracts in use."""

import logging
from collections import defaultdict
from collections.abc import Mapping, Sequence

import numpy as np

from pysys.data.update_result import SeriesUpdate, UpdateResult
from pysys.desk import Desk
from pysys.domain.contracts import Contract
from pysys.domain.errors import DataError
from pysys.domain.instruments import RollParameters
from pysys.domain.prices import IntArray, MultipleRows, PriceRows, to_moment
from pysys.domain.roll_calendars import (
    RollCalendarRow,
    aligned,
    approximate_calendar,
    final_calendar,
    multiple_from_calendar,
    past_rolls,
)
from pysys.domain.stitching import panama_stitch
from pysys.store.prices import OutcomeRow, PriceOutcome, SeriesKey, SeriesKind, contract_key
from pysys.store.unit import Store, UnitOfWork

logger = logging.getLogger(__name__)


def update_multiple_adjusted_prices(desk: Desk, instruments: Sequence[str] | None = None) -> UpdateResult:
    """Extend the multiple and adjusted prices of each instrument by its contracts' newer rows, one commit each.

    Daily and intraday rows of the priced, carry and forward contract are merged; where both have the same time the
    daily one counts. No spike check: the contract prices have passed theirs. instruments: by default all active ones
    that have multiple prices.
    """
    with desk.store.read() as unit:
        having = {key.code for key in unit.prices.series(SeriesKind.MULTIPLE)}
        active = [one.code for one in unit.markets.instruments()]
    codes = [code for code in active if code in having] if instruments is None else list(instruments)
    updated = [one for code in codes for one in _update_instrument(desk, code)]
    return UpdateResult("update_multiple_adjusted_prices", updated)


def _update_instrument(desk: Desk, code: str) -> list[SeriesUpdate]:
    moment = desk.clock.now()
    keys = (SeriesKey(SeriesKind.MULTIPLE, code), SeriesKey(SeriesKind.ADJUSTED, code))
    try:
        with desk.store.write() as unit:
            added = _extend(unit, code)
            last = [unit.prices.last_time(key) for key in keys]
            outcomes = [
                OutcomeRow(key, moment, PriceOutcome.NEW_ROWS if rows else PriceOutcome.NONE_EXPECTED, rows)
                for key, rows in zip(keys, added, strict=True)
            ]
            unit.prices.record_outcomes(outcomes)
            unit.commit()
    except Exception as error:
        logger.exception("%s: multiple and adjusted prices were not updated", code)
        detail = str(error) or type(error).__name__
        with desk.store.write() as unit:
            last = [unit.prices.last_time(key) for key in keys]
            outcomes = [OutcomeRow(key, moment, PriceOutcome.ERROR, 0, detail) for key in keys]
            unit.prices.record_outcomes(outcomes)
            unit.commit()
    return [SeriesUpdate(outcome, time) for outcome, time in zip(outcomes, last, strict=True)]


def _extend(unit: UnitOfWork, code: str) -> tuple[int, int]:
    """Rows added to the multiple and to the adjusted prices."""
    before = unit.prices.last_multiple(code)
    if not len(before):
        raise DataError(f"{code} has no multiple prices; import them, or make them with initialise_prices.")
    new = newer_rows(unit, code, before)
    added = unit.prices.append(SeriesKey(SeriesKind.MULTIPLE, code), new)
    key = SeriesKey(SeriesKind.ADJUSTED, code)
    behind = unit.prices.multiple(code, unit.prices.last_time(key))
    held = behind.rows(behind.price_contract == before.price_contract[0])
    return added, unit.prices.append(key, PriceRows(held.times, held.price))


def newer_rows(unit: UnitOfWork, code: str, last: MultipleRows) -> MultipleRows:
    """Rows after `last` (the latest one) from the prices of its contracts; on the union of their times."""
    numbers = [int(last.price_contract[0]), int(last.carry_contract[0]), int(last.forward_contract[0])]
    since = int(last.times[0])
    finals = [merged_finals(unit, Contract(code, f"{number:08d}"), since) for number in numbers]
    times: IntArray = np.unique(np.concatenate([rows.times for rows in finals]))
    price, carry, forward = (aligned(rows, times) for rows in finals)
    priced_in, carried_in, forward_in = (np.full(len(times), number, dtype=np.int64) for number in numbers)
    return MultipleRows(times, price, priced_in, carry, carried_in, forward, forward_in)


def merged_finals(unit: UnitOfWork, contract: Contract, since: int | None = None) -> PriceRows:
    """Final prices of a contract, daily and intraday in one; at the same time the daily one counts."""
    daily = unit.prices.contract_bars(contract, daily=True, since=since)
    intraday = unit.prices.contract_bars(contract, daily=False, since=since)
    return merge_finals(PriceRows(daily.times, daily.final), PriceRows(intraday.times, intraday.final))


def merge_finals(first: PriceRows, second: PriceRows) -> PriceRows:
    """Rows with a price of both; at the same time the first counts."""
    first, second = first.rows(~np.isnan(first.price)), second.rows(~np.isnan(second.price))
    times, rows = np.unique(np.concatenate([first.times, second.times]), return_index=True)
    return PriceRows(times, np.concatenate([first.price, second.price])[rows])


def initialise_prices(store: Store, instrument: str, *, replace: bool = False) -> list[RollCalendarRow]:
    """Make roll calendar, multiple and adjusted prices from the stored contract prices, in one transaction.

    Rolls due after the latest price are not made yet: the series end in the contracts then in use. Returns the
    calendar kept (source `prices`). Raises DataError when there are too few contract prices, or there are multiple
    prices already and `replace` is False.
    """
    with store.write() as unit:
        if not replace and len(unit.prices.last_multiple(instrument)):
            raise DataError(f"{instrument} has multiple prices already; they were left as they are.")
        parameters = unit.markets.roll_parameters(instrument)
        keys = unit.prices.series(SeriesKind.CONTRACT_DAILY, instrument)
        finals = {Contract(instrument, key.contract): unit.prices.final_prices(key) for key in keys}
        finals = {contract: rows for contract, rows in finals.items() if not np.isnan(rows.price).all()}
        if not finals:
            raise DataError(f"{instrument} has no contract prices; run download_history or import prices first.")
        calendar = _calendar_to_date(instrument, parameters, finals)
        merged: defaultdict[Contract, PriceRows] = defaultdict(_no_rows)
        for contract, rows in finals.items():
            merged[contract] = merge_finals(rows, unit.prices.final_prices(contract_key(contract, daily=False)))
        multiple = multiple_from_calendar(calendar, merged)
        unit.prices.replace(SeriesKey(SeriesKind.MULTIPLE, instrument), multiple)
        unit.prices.replace(SeriesKey(SeriesKind.ADJUSTED, instrument), panama_stitch(multiple))
        kept = past_rolls(instrument, multiple)
        unit.markets.put_roll_calendar(instrument, "prices", kept)
        unit.commit()
    return kept


def _calendar_to_date(
    instrument: str, parameters: RollParameters, finals: Mapping[Contract, PriceRows]
) -> list[RollCalendarRow]:
    """Rolls that were due by the latest price, and a last row that ends there with the contracts then in use."""
    latest = to_moment(max(int(rows.times[-1]) for rows in finals.values()))
    planned = approximate_calendar(parameters, list(finals))
    due = [row for row in planned if row.roll_time <= latest]
    following = planned[len(due)] if len(due) < len(planned) else None
    if following is None and due:
        current = due[-1].next
        following = RollCalendarRow(latest, current, parameters.next_held(current), parameters.carry_contract(current))
    done = final_calendar([*due, following], finals) if following is not None else []
    if not done or following is None:
        raise DataError(
            f"{instrument}: the {len(finals)} contracts with prices make no roll, and at least one is needed to build "
            "multiple prices. Download a longer history."
        )
    if done[-1].next != following.current:
        raise DataError(
            f"{instrument}: {done[-1].next} and {following.current} never have a price at the same time, so the "
            "series cannot be rolled between them."
        )
    return [*done, RollCalendarRow(latest, following.current, following.next, following.carry)]


def _no_rows() -> PriceRows:
    return PriceRows(np.empty(0, dtype=np.int64), np.empty(0))
