"""Instrument orders: what each strategy must trade to get from what it holds to what it wants."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import pandas as pd

from pysys.broker.port import BrokerUnavailable
from pysys.desk import Desk
from pysys.domain.errors import NeedsOperator
from pysys.domain.limits import within_limits, within_position_limit
from pysys.domain.orders import InstrumentOrder, InstrumentOrderType
from pysys.domain.overrides import Override, apply_override, combine
from pysys.domain.targets import BufferedTarget, trade_into_buffer
from pysys.execution.targets import configured_strategies
from pysys.store.targets import BacktestRun
from pysys.store.unit import UnitOfWork


@dataclass(frozen=True, slots=True)
class Decision:
    """What was decided for one strategy in one instrument. Contracts, signed."""

    strategy: str
    instrument: str
    position: int
    unfilled: int  # of orders already on the stack
    lower: float | None
    upper: float | None
    trade: int  # new order; 0 is none
    note: str = ""  # what held the trade back


@dataclass(frozen=True, slots=True)
class OrdersResult:
    """Every decision of one run of the order generator."""

    decisions: tuple[Decision, ...]
    missing: tuple[str, ...]  # strategies without a backtest

    def table(self) -> pd.DataFrame:
        return pd.DataFrame(
            [{slot: getattr(decision, slot) for slot in Decision.__slots__} for decision in self.decisions],
            columns=list(Decision.__slots__),
        )

    def summary(self) -> dict[str, Any]:
        return {
            "decisions": len(self.decisions),
            "orders": sum(decision.trade != 0 for decision in self.decisions),
            "contracts": sum(abs(decision.trade) for decision in self.decisions),
            "held_back": [f"{d.strategy}/{d.instrument}: {d.note}" for d in self.decisions if d.note],
            "without_backtest": list(self.missing),
        }

    def raise_if_incomplete(self) -> None:
        """Raises NeedsOperator when a strategy has no backtest to trade on."""
        if self.missing:
            raise NeedsOperator(
                f"No backtest of {', '.join(self.missing)} yet, so no orders for it. Run `pysys run run_systems` first."
            )


@dataclass(frozen=True, slots=True)
class Restraints:
    """What holds one strategy's trade in one instrument back."""

    override: Override
    strategy_limits: tuple[int, ...]  # position limits of this strategy in this instrument
    instrument_limits: tuple[int, ...]  # of the instrument, over all strategies
    stale: str = ""  # why the inputs are too old to open a position on


def decide_trade(
    target: BufferedTarget, position: int, unfilled: int, others: int, restraints: Restraints
) -> tuple[int, str]:
    """The new order, and what held it back. Contracts, signed.

    position: held by the strategy. unfilled: of its orders on the stack. others: positions and unfilled orders of
    every other strategy in the instrument. Buffer, override and limits all look at the sum, so an order never
    reaches past what was allowed when the earlier ones fill.
    """
    effective = position + unfilled
    wanted = trade_into_buffer(effective, target.lower, target.upper)
    notes = []
    trade = apply_override(restraints.override, effective, wanted)
    if trade != wanted:
        notes.append(f"override {restraints.override}: {wanted:+d} became {trade:+d}")
    before = trade
    trade = within_limits(effective, trade, restraints.strategy_limits)
    if restraints.instrument_limits:
        tightest = min(restraints.instrument_limits)
        capped = within_position_limit(effective + others, trade, tightest)
        trade = _smaller_step(trade, capped)
    if trade != before:
        notes.append(f"position limit: {before:+d} became {trade:+d}")
    if restraints.stale and abs(effective + trade) > abs(effective):
        notes.append(f"{restraints.stale}: {trade:+d} not opened")
        trade = 0
    return trade, "; ".join(notes)


def _smaller_step(trade: int, capped: int) -> int:
    """The cap on a trade, where it only makes the trade smaller or turns it toward reducing."""
    return min(trade, capped) if trade > 0 else max(trade, capped) if trade < 0 else capped


def generate_orders(desk: Desk, strategies: Sequence[str] | None = None) -> OrdersResult:
    """Put the orders of every strategy on the instrument stack; what is there already counts as traded.

    Positions, unfilled orders, targets, overrides and limits are read, and the orders written, in one transaction.
    """
    methods = configured_strategies(desk, "run_strategy_order_generator", strategies)
    now = desk.clock.now()
    with desk.store.read() as unit:
        latest = {strategy: unit.targets.latest_backtest(strategy) for strategy in methods}
        instruments = sorted({code for run in latest.values() if run is not None for code in run.universe})
    sessions = {code: _closed_sessions(desk, code, now) for code in instruments}
    decisions: list[Decision] = []
    with desk.store.write() as unit:
        for run in latest.values():
            if run is not None:
                decisions += _decide_for_strategy(unit, run, sessions, now)
        for decision in decisions:
            if decision.trade:
                _place(unit, decision, latest[decision.strategy], now)
        unit.commit()
    return OrdersResult(tuple(decisions), tuple(name for name, run in latest.items() if run is None))


def _closed_sessions(desk: Desk, instrument: str, now: datetime) -> list[datetime]:
    """Closes of the sessions of the last ten days; empty when the broker does not say."""
    try:
        sessions = desk.broker.sessions(instrument, now - timedelta(days=10), now)
    except BrokerUnavailable:
        return []
    return [session.closes for session in sessions if session.closes <= now]


def _decide_for_strategy(
    unit: UnitOfWork, run: BacktestRun, sessions: Mapping[str, list[datetime]], now: datetime
) -> list[Decision]:
    targets = {target.instrument: target for target in unit.targets.targets_of(run.id)}
    positions = unit.positions.strategy_positions()
    unfilled = unit.orders.unfilled_by_strategy_instrument()
    held = {instrument for (strategy, instrument) in positions if strategy == run.strategy}
    decisions = []
    for instrument in sorted(set(run.universe) | held):
        key = (run.strategy, instrument)
        position, waiting = positions.get(key, 0), unfilled.get(key, 0)
        target = targets.get(instrument)
        if target is None:
            if position or waiting:
                known = instrument in run.universe
                note = "no position computed: too little history" if known else "not in the strategy any more"
                decisions.append(Decision(*key, position, waiting, None, None, 0, f"{note}; held until told otherwise"))
            continue
        others = _sum_of_others(positions, key) + _sum_of_others(unfilled, key)
        restraints = _restraints(unit, key, stale_because(target, run, sessions[instrument]))
        trade, note = decide_trade(target, position, waiting, others, restraints)
        decisions.append(Decision(*key, position, waiting, target.lower, target.upper, trade, note))
    return decisions


def _sum_of_others(table: Mapping[tuple[str, str], int], key: tuple[str, str]) -> int:
    return sum(value for other, value in table.items() if other[1] == key[1] and other != key)


def _restraints(unit: UnitOfWork, key: tuple[str, str], stale: str) -> Restraints:
    strategy, instrument = key
    overrides = unit.restrictions.overrides()
    scopes = ((strategy, ""), ("", instrument), key, ("", ""))
    limits = unit.restrictions.position_limits()
    return Restraints(
        override=combine(overrides[scope] for scope in scopes if scope in overrides),
        strategy_limits=tuple(limits[scope] for scope in [key] if scope in limits),
        instrument_limits=tuple(limits[scope] for scope in [("", instrument)] if scope in limits),
        stale=stale,
    )


def stale_because(target: BufferedTarget, run: BacktestRun, closes: Sequence[datetime]) -> str:
    """Why a target is too old to open a position on: more than one session has closed since; else blank."""
    if sum(close > run.time for close in closes) > 1:
        return f"backtest of {run.time:%Y-%m-%d %H:%M} is older than one session"
    if target.reference_time is not None and sum(close > target.reference_time for close in closes) > 1:
        return f"price of {target.reference_time:%Y-%m-%d %H:%M} is older than one session"
    return ""


def _place(unit: UnitOfWork, decision: Decision, run: BacktestRun | None, now: datetime) -> None:
    if run is None:
        return
    target = next(t for t in unit.targets.targets_of(run.id) if t.instrument == decision.instrument)
    unit.orders.place_instrument_order(
        InstrumentOrder(
            strategy=decision.strategy,
            instrument=decision.instrument,
            trade=decision.trade,
            order_type=InstrumentOrderType.BEST,
            generated_at=now,
            reference_price=target.reference_price,
            reference_contract=target.reference_contract,
            reference_time=target.reference_time,
            note=decision.note,
        )
    )
