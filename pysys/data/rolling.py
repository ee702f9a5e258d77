"""Rolling: from one priced contract to the next, by a person or by the calendar."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Literal

import numpy as np
import pandas as pd

from pysys.config import Config
from pysys.data.held_positions import held_from
from pysys.data.multiple import merged_finals
from pysys.data.update_result import UpdateIncomplete
from pysys.desk import Desk
from pysys.domain.contracts import Contract
from pysys.domain.errors import DataError
from pysys.domain.instruments import RollParameters
from pysys.domain.prices import MICROSECONDS_PER_DAY, PriceRows, to_microseconds, to_moment
from pysys.domain.roll_calendars import past_rolls
from pysys.domain.roll_decisions import (
    VOLUME_DAYS,
    RollSituation,
    RollSuggestion,
    deadline,
    recent_volume,
    relative_volume,
    suggest,
)
from pysys.domain.roll_rows import roll_rows
from pysys.domain.roll_states import RollMoveRefused, RollState, RollStatus, require_allowed
from pysys.store.markets import AdjustedRoll
from pysys.store.prices import SeriesKey, SeriesKind
from pysys.store.unit import UnitOfWork

logger = logging.getLogger(__name__)

PLAN = "plan"  # the roll calendar that says when contracts are due to be left


@dataclass(frozen=True, slots=True)
class ContractsInUse:
    """The contracts of the latest multiple prices."""

    priced: Contract
    carry: Contract
    forward: Contract


def contracts_in_use(unit: UnitOfWork, instrument: str) -> ContractsInUse:
    """Raises DataError when the instrument has no multiple prices."""
    row = unit.prices.last_multiple(instrument)
    if not len(row):
        raise DataError(
            f"{instrument} has no multiple prices, so it has no priced contract. Import or make them first."
        )
    return ContractsInUse(
        *(
            Contract(instrument, f"{numbers[-1]:08d}")
            for numbers in (row.price_contract, row.carry_contract, row.forward_contract)
        )
    )


# --- one roll ---


def roll_instrument(desk: Desk, instrument: str, *, who: str, why: str) -> AdjustedRoll:
    """Roll the adjusted price: forward becomes priced, history shifts by the gap, the state goes to No_Roll.

    One transaction. Raises RollMoveRefused while the priced contract is held or being traded, DataError when the gap
    cannot be known (see `roll_rows`). Returns the roll.
    """
    with desk.store.write() as unit:
        used = contracts_in_use(unit, instrument)
        _require_rollable(unit, desk.config, used)
        roll = _roll_prices(unit, used, unit.markets.roll_parameters(instrument))
        unit.markets.record_roll(roll)
        done = f"rolled from {used.priced.date} to {used.forward.date}: {why}"
        unit.markets.record_roll_status(
            RollStatus(instrument, RollState.NO_ROLL, used.forward.date, desk.clock.now(), who, done)
        )
        unit.commit()
    logger.info("%s rolled from %s to %s, gap %g", instrument, used.priced.date, used.forward.date, roll.gap)
    return roll


def _require_rollable(unit: UnitOfWork, config: Config, used: ContractsInUse) -> None:
    instrument = used.priced.instrument
    held = held_from(unit, config, used.priced)
    if held:
        what = ", ".join(f"{position:+d}{'' if code == instrument else f' {code}'}" for code, position in held.items())
        raise RollMoveRefused(
            f"{instrument}: the adjusted price cannot be rolled while {what} of {used.priced.date} is held. "
            "Set the roll state to Passive or Force, or close the position first."
        )
    require_allowed(instrument, unit.markets.roll_status(instrument).state, RollState.ROLL_ADJUSTED, held=False)
    here = [order for order in unit.orders.active_contract_orders() if order.instrument == instrument]
    working = [
        order
        for order in here
        if any(leg.contract == used.priced for leg in order.legs)
        or unit.orders.instrument_order(order.parent_id).instrument in config.spreads
    ]
    if working:
        raise RollMoveRefused(
            f"{instrument}: contract order {working[0].id} still trades {used.priced.date}. "
            "Wait until it is done, or cancel it, before rolling."
        )


def _roll_prices(unit: UnitOfWork, used: ContractsInUse, parameters: RollParameters) -> AdjustedRoll:
    instrument = used.priced.instrument
    series = unit.prices.multiple(instrument)
    held = series.rows(series.price_contract == int(used.priced.date))
    forward, carry = parameters.next_held(used.forward), parameters.carry_contract(used.forward)
    made = roll_rows(
        instrument,
        held,
        int(forward.date),
        int(carry.date),
        _prices_at(unit, {used.carry, forward, carry}, int(held.times[-1])),
    )
    multiple, adjusted = SeriesKey(SeriesKind.MULTIPLE, instrument), SeriesKey(SeriesKind.ADJUSTED, instrument)
    unit.prices.append(multiple, made.rows)
    unit.prices.shift_adjusted(instrument, made.gap)
    old = made.rows.price_contract == int(used.priced.date)
    price = made.rows.price + np.where(old, made.gap, 0.0)
    unit.prices.append(adjusted, PriceRows(made.rows.times, price))
    unit.markets.put_roll_calendar(instrument, "prices", past_rolls(instrument, unit.prices.multiple(instrument)))
    return AdjustedRoll(instrument, to_moment(made.rows.times[-1]), used.priced, used.forward, made.gap)


def _prices_at(unit: UnitOfWork, contracts: set[Contract], time: int) -> dict[int, float]:
    found = {}
    for contract in contracts:
        rows = merged_finals(unit, contract, time - 1)
        if len(rows) and int(rows.times[0]) == time:
            found[int(contract.date)] = float(rows.price[0])
    return found


def set_roll_state(desk: Desk, instrument: str, state: RollState, *, who: str, why: str) -> RollStatus:
    """Move to another roll state; Roll_Adjusted rolls at once and ends in No_Roll.

    Raises RollMoveRefused when the move is not allowed now. Setting the present state changes nothing.
    """
    if state is RollState.ROLL_ADJUSTED:
        roll_instrument(desk, instrument, who=who, why=why)
        with desk.store.read() as unit:
            return unit.markets.roll_status(instrument)
    with desk.store.write() as unit:
        used = contracts_in_use(unit, instrument)
        now = unit.markets.roll_status(instrument)
        held = bool(held_from(unit, desk.config, used.priced))
        require_allowed(instrument, now.state, state, held=held)
        if now.state is state:
            return now
        status = RollStatus(instrument, state, used.priced.date, desk.clock.now(), who, why)
        unit.markets.record_roll_status(status)
        unit.commit()
    return status


# --- all of them, daily ---


@dataclass(frozen=True, slots=True)
class RollCheck:
    """Where one instrument stands with its roll. Days are calendar days from today, negative once passed."""

    instrument: str
    used: ContractsInUse
    situation: RollSituation
    due: date
    carry_expiry_days: int
    forward_expiry_days: int
    suggestion: RollSuggestion
    trade_limit: str = ""  # what a trade limit that leaves no room for the roll has to say, from the day before on

    @property
    def deadline(self) -> tuple[str, str]:
        """(level, sentence); blank while nothing is near."""
        return deadline(self.situation)


@dataclass(frozen=True, slots=True)
class RollAction:
    """One instrument after an update."""

    check: RollCheck
    done: str = ""  # what was carried out: a roll state, rolled, or blank
    error: str = ""


@dataclass(frozen=True, slots=True)
class RollStatusResult:
    """Every instrument with multiple prices, most urgent first, and those that could not be judged."""

    actions: Sequence[RollAction]
    failures: dict[str, str]

    def table(self) -> pd.DataFrame:
        """One row per instrument: instrument, state, priced, carry, forward, position, due, days_to_due, price_expiry,
        carry_expiry, forward_expiry (days), forward_volume, relative_volume, suggested, done, deadline, detail."""
        rows = [_table_row(action) for action in self.actions]
        rows += [{"instrument": code, "detail": detail} for code, detail in self.failures.items()]
        return pd.DataFrame(rows, columns=_COLUMNS)

    def summary(self) -> dict[str, str]:
        """What was done, by instrument; those nothing was done about are left out."""
        return {one.check.instrument: one.error or one.done for one in self.actions if one.error or one.done}

    def raise_if_incomplete(self) -> None:
        """Raise UpdateIncomplete naming what failed, and what is about to expire with a position."""
        failed = [f"{code}: {detail}" for code, detail in self.failures.items()]
        failed += [f"{one.check.instrument}: {one.error}" for one in self.actions if one.error]
        failed += [
            f"{one.check.instrument}: {one.check.deadline[1]}"
            for one in self.actions
            if one.check.deadline[0] == "critical"
        ]
        failed += [f"{one.check.instrument}: {one.check.trade_limit}" for one in self.actions if one.check.trade_limit]
        if failed:
            raise UpdateIncomplete(f"update_roll_status: {len(failed)} need a person. {' '.join(failed)}")


_COLUMNS = [
    "instrument",
    "state",
    "priced",
    "carry",
    "forward",
    "position",
    "due",
    "days_to_due",
    "price_expiry",
    "carry_expiry",
    "forward_expiry",
    "forward_volume",
    "relative_volume",
    "suggested",
    "done",
    "deadline",
    "detail",
]


def _table_row(action: RollAction) -> dict[str, object]:
    check, now = action.check, action.check.situation
    level, sentence = check.deadline
    return {
        "instrument": check.instrument,
        "state": str(now.state),
        "priced": check.used.priced.date,
        "carry": check.used.carry.date,
        "forward": check.used.forward.date,
        "position": now.position,
        "due": check.due,
        "days_to_due": now.days_to_due,
        "price_expiry": now.days_to_expiry,
        "carry_expiry": check.carry_expiry_days,
        "forward_expiry": check.forward_expiry_days,
        "forward_volume": now.forward_volume,
        "relative_volume": now.relative_volume,
        "suggested": str(check.suggestion.state),
        "done": action.done,
        "deadline": level,
        "detail": action.error
        or "; ".join(part for part in (sentence, check.trade_limit, check.suggestion.reason) if part),
    }


def update_roll_status(desk: Desk, mode: Literal["suggest", "auto"] | None = None) -> RollStatusResult:
    """Judge the roll of every active instrument with multiple prices; in mode `auto`, do what is due.

    mode: `auto_roll` of the configuration when None.
    Due is the day in the roll calendar `plan` for the priced contract, or else expiry plus the roll offset, on the
    UTC date. Near it a held contract goes to Passive, from it on to Force, just before expiry to Force_Outright; a
    flat one rolls when due. What only liquidity suggests is never done unasked.
    """
    automatic = (desk.config.auto_roll if mode is None else mode) == "auto"
    with desk.store.read() as unit:
        having = {key.code for key in unit.prices.series(SeriesKind.MULTIPLE)}
        codes = [one.code for one in unit.markets.instruments() if one.code in having]
    actions, failures = [], {}
    for code in codes:
        try:
            with desk.store.read() as unit:
                check = check_roll(unit, desk.config, code, desk.clock.now())
        except Exception as error:
            logger.exception("%s: its roll could not be judged", code)
            failures[code] = str(error) or type(error).__name__
            continue
        actions.append(_carry_out(desk, check) if automatic else RollAction(check))
    actions.sort(key=lambda one: one.check.situation.days_to_due)
    return RollStatusResult(actions, failures)


def check_roll(unit: UnitOfWork, config: Config, instrument: str, moment: datetime) -> RollCheck:
    """Where the roll of an instrument stands at `moment`. Raises DataError without multiple prices."""
    used = contracts_in_use(unit, instrument)
    parameters = unit.markets.roll_parameters(instrument)
    today = moment.date()
    expiry = _expiry(unit, used.priced, parameters)
    due = _due(unit, used.priced, parameters, expiry)
    priced_volume, forward_volume = (_volume(unit, contract, moment) for contract in (used.priced, used.forward))
    held = held_from(unit, config, used.priced)
    situation = RollSituation(
        state=unit.markets.roll_status(instrument).state,
        position=held.get(instrument, next(iter(held.values()), 0)),
        days_to_due=(due - today).days,
        business_days_to_due=int(np.busday_count(today, due)),
        days_to_expiry=(expiry - today).days,
        business_days_to_expiry=int(np.busday_count(today, expiry)),
        forward_volume=forward_volume,
        relative_volume=relative_volume(priced_volume, forward_volume),
    )
    return RollCheck(
        instrument,
        used,
        situation,
        due,
        (_expiry(unit, used.carry, parameters) - today).days,
        (_expiry(unit, used.forward, parameters) - today).days,
        suggest(situation),
        _limit_in_the_way(unit, instrument, situation, due, moment),
    )


def _limit_in_the_way(unit: UnitOfWork, instrument: str, situation: RollSituation, due: date, moment: datetime) -> str:
    """Said while there is still a day to act on it; each contract is sold and bought, so it counts twice."""
    needed = 2 * abs(situation.position)
    if not needed or situation.business_days_to_due > 1:
        return ""
    for limit in unit.trade_limits.applying_to("", (instrument,), moment):
        if limit.limit < needed:
            return (
                f"the roll due on {due} trades {needed} contracts, and the trade limit is {limit.limit} in "
                f"{limit.period_days} days; raise the limit, or it takes longer."
            )
    return ""


def _expiry(unit: UnitOfWork, contract: Contract, parameters: RollParameters) -> date:
    known = unit.markets.contract(contract)
    if known is None or known.expiry is None:
        return parameters.expiry(contract)
    return known.expiry


def _due(unit: UnitOfWork, priced: Contract, parameters: RollParameters, expiry: date) -> date:
    planned = [row for row in unit.markets.roll_calendar(priced.instrument, PLAN) if row.current == priced]
    if planned:
        return planned[-1].roll_time.date()
    return expiry + (parameters.desired_roll_date(priced) - parameters.expiry(priced))


def _volume(unit: UnitOfWork, contract: Contract, moment: datetime) -> float:
    since = to_microseconds(moment) - VOLUME_DAYS * MICROSECONDS_PER_DAY
    return recent_volume(unit.prices.contract_bars(contract, daily=True, since=since).volume)


def _carry_out(desk: Desk, check: RollCheck) -> RollAction:
    wanted = check.suggestion
    if not wanted.act or wanted.state is check.situation.state:
        return RollAction(check)
    who = desk.store.author.written_by
    try:
        if wanted.state is RollState.ROLL_ADJUSTED:
            roll_instrument(desk, check.instrument, who=who, why=wanted.reason)
            return RollAction(check, "rolled")
        set_roll_state(desk, check.instrument, wanted.state, who=who, why=wanted.reason)
        return RollAction(check, str(wanted.state))
    except Exception as error:
        logger.exception("%s: the roll was not carried out", check.instrument)
        return RollAction(check, error=str(error) or type(error).__name__)
