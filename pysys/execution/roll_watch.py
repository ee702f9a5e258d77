"""Rolls a person must know of: those held up by a limit, a lock or an order for too long, and those cut off halfway."""

from datetime import datetime, timedelta

from pysys.config import Config
from pysys.domain.orders import ContractOrder
from pysys.domain.roll_debts import told
from pysys.execution.not_sent import NEEDS_OPERATOR, NotSent
from pysys.execution.roll_views import owing_families
from pysys.execution.rolling import AFTER, FORCED, forced_for, forced_markets, is_forced
from pysys.execution.spread_book import market_of_instrument
from pysys.store.unit import UnitOfWork

NOTICE = timedelta(days=1)  # before the deadline, so that there is a day to do something
_BOTH_LEGS = 2  # contracts in the smallest roll
_WHAT_TO_DO = {
    NotSent.TRADE_LIMIT: "raise the trade limit, or reset it",
    NotSent.POSITION_LIMIT: "raise the position limit",
    NotSent.OVERRIDE: "lift the override",
    NotSent.LOCKED: "look why it is locked, and unlock it",
    NotSent.KILL_SWITCH: "release the kill switch",
}
_LET_IT_TRADE = "let that order trade, or delete it"


def held_up_rolls(unit: UnitOfWork, config: Config, now: datetime) -> dict[str, str]:
    """By market, the forced rolls and closes that a limit, a lock or an order keeps from trading, and what to do.

    Those forced since a day before `force_roll_deadline_days` are over, or longer; at once where no period of a trade
    limit can ever have room for two legs. How long follows from the history of roll states: a restart forgets nothing.
    """
    found: dict[str, str] = {}
    patience = timedelta(days=config.force_roll_deadline_days) - NOTICE
    for market in forced_markets(unit):
        held = _held_up(unit, config, market)
        if held is None:
            continue
        reason, why = held
        forced = forced_for(unit, market, now, FORCED)
        limits = unit.trade_limits.applying_to("", (market,), now) if reason is NotSent.TRADE_LIMIT else ()
        if forced >= patience or any(limit.limit < _BOTH_LEGS for limit in limits):
            state = unit.markets.roll_status(market).state
            days, to_do = forced / timedelta(days=1), _WHAT_TO_DO.get(reason, _LET_IT_TRADE)
            found[market] = f"in state {state} for {days:.1f} days and held up by {why}: {to_do}"
    return found


def cut_off_rolls(unit: UnitOfWork) -> dict[str, str]:
    """By market, what rolls that have left a contract and not entered the next still owe."""
    found: dict[str, str] = {}
    for family in owing_families(unit):
        text = f"its roll was cut off and still owes {told(family.remaining)}: ordered again as soon as it may trade"
        found[family.children[0].instrument] = text
    return found


def _held_up(unit: UnitOfWork, config: Config, market: str) -> tuple[NotSent, str] | None:
    rolls = {
        order.id: order
        for order in unit.orders.active_instrument_orders()
        if is_forced(order) and market_of_instrument(config, order.instrument) == market
    }
    for order in rolls.values():
        if order.waits_for.startswith(f"{market} is locked"):
            return NotSent.LOCKED, order.waits_for
        if order.waits_for.startswith(AFTER):
            return NotSent.TURN, order.waits_for.removeprefix(AFTER)
    working = {order.parent_id for order in unit.orders.active_broker_orders()}
    for child in unit.orders.active_contract_orders():
        if child.parent_id in rolls and child.id not in working and not child.is_filled:
            reason = _reason(child)
            if reason is not None:
                return reason, child.note.removeprefix(f"{NEEDS_OPERATOR}: ")
    return None


def _reason(child: ContractOrder) -> NotSent | None:
    """Which of the things a person can do something about keeps an order from being sent."""
    note = child.note.removeprefix(f"{NEEDS_OPERATOR}: ")
    return next((reason for reason in _WHAT_TO_DO if note.split(":")[0] == reason.value), None)
