"""Instrument orders: what each strategy must trade to get from what it holds to what it wants."""

import logging
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

import pandas as pd

from pysys.config import Config
from pysys.desk import Desk
from pysys.domain.errors import ConfigError, NeedsOperator
from pysys.domain.orders import InstrumentOrder, InstrumentOrderType, OrderStatus
from pysys.domain.targets import BufferedTarget, Generator, SpreadTarget, Target, Wish
from pysys.execution.generators import generator_for
from pysys.execution.restraining import LIMIT_NOTE, Key, order_without_target, take_snapshot
from pysys.execution.staleness import Closes, InputTimes, closed_sessions, stale_because
from pysys.execution.targets import configured_strategies
from pysys.store.stacks import Level
from pysys.store.targets import BacktestRun
from pysys.store.unit import UnitOfWork

log = logging.getLogger(__name__)


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
    note: str = ""  # what held the trade back, or asked for it in the strategy's place
    terms: str = ""  # limit or condition the order trades on


@dataclass(frozen=True, slots=True)
class OrdersResult:
    """Every decision of one run of the order generator."""

    decisions: tuple[Decision, ...]
    missing: tuple[str, ...]  # strategies without a backtest
    failed: Mapping[str, str] = field(default_factory=dict)  # strategies nothing was decided for, and why

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
            "failed": dict(self.failed),
        }

    def raise_if_incomplete(self) -> None:
        """Raises NeedsOperator naming the strategies that failed, or have no backtest to trade on."""
        if self.failed:
            why = "; ".join(f"{strategy}: {error}" for strategy, error in self.failed.items())
            raise NeedsOperator(f"No new orders, and those there were stay, for {why}")
        if self.missing:
            raise NeedsOperator(
                f"No backtest of {', '.join(self.missing)} yet, so no orders for it. Run `pysys run run_systems` first."
            )


def generate_orders(desk: Desk, strategies: Sequence[str] | None = None) -> OrdersResult:
    """Put the orders of every strategy on the instrument stack; what is there already counts as traded.

    Positions, unfilled orders, targets, overrides and limits are read, and the orders written, in one transaction.
    After the strategies have had their say, positions beyond a limit are brought back, whoever holds them. One
    strategy's failure does not stop the others, and its orders stay as they are; but for ConfigError, which stops the
    run with nothing ordered.
    """
    methods = configured_strategies(desk, "run_strategy_order_generator", strategies)
    generators = {strategy: generator_for(strategy, method) for strategy, method in methods.items()}
    now = desk.clock.now()
    with desk.store.read() as unit:
        latest = {strategy: unit.targets.latest_backtest(strategy) for strategy in methods}
        instruments = sorted({code for run in latest.values() if run is not None for code in run.universe})
    closes = closed_sessions(desk, instruments, now)
    failed: dict[str, str] = {}
    while True:  # what a failed strategy had begun is undone by beginning anew without it
        able = {strategy: generator for strategy, generator in generators.items() if strategy not in failed}
        with desk.store.write() as unit:
            held = _withdraw_waiting(unit, able, now)
            round_ = _Round(unit, desk.config, now, held)
            try:
                for strategy, generator in able.items():
                    if (run := latest[strategy]) is not None:
                        round_.decide(run, generator, closes)
            except ConfigError:
                raise
            except Exception as error:
                log.error("deciding the orders of %s failed", strategy, exc_info=error)
                failed[strategy] = f"{type(error).__name__}: {error}"
                continue
            round_.keep_limits()
            unit.commit()
        break
    missing = tuple(name for name, run in latest.items() if run is None)
    return OrdersResult(tuple(round_.decisions), missing, failed)


def _withdraw_waiting(unit: UnitOfWork, strategies: Collection[str], now: datetime) -> set[Key]:
    """End orders of strategies that wait for a price, and limits not yet worked: this run says anew what they want.

    What of them a person had locked is returned: a new order is held in its place.
    """
    held = set()
    for order in unit.orders.without_children(locked_too=True):
        on_terms = order.condition is not None or order.order_type is InstrumentOrderType.LIMIT
        if order.strategy in strategies and on_terms and not order.manual_trade:
            unit.orders.end_instrument_order(order.id, OrderStatus.CANCELLED, now, "replaced by a new run")
            if unit.stacks.is_locked(Level.INSTRUMENT, order.id):
                held.add((order.strategy, order.instrument))
    return held


class _Round:
    """One run of the generator inside its transaction. What was ordered counts for what is decided next."""

    def __init__(self, unit: UnitOfWork, config: Config, now: datetime, held: Collection[Key]) -> None:
        """held: what a person has locked orders of; new ones are locked too."""
        self.unit, self.now, self.held = unit, now, held
        self.snapshot, self.input_times = take_snapshot(unit, config), InputTimes(unit, config)
        self.effective = self.snapshot.effective()
        self.decisions: list[Decision] = []

    def decide(self, run: BacktestRun, generator: Generator, closes: Closes) -> None:
        """Order what the targets of one strategy ask for."""
        targets = {target.instrument: target for target in self.unit.targets.targets_of(run.id)}
        own = {code: held for (strategy, code), held in self.effective.items() if strategy == run.strategy}
        wishes = generator(list(targets.values()), own)
        _check_wishes(run.strategy, wishes, targets)
        for instrument in sorted(set(run.universe) | set(targets) | {code for code, held in own.items() if held}):
            key = (run.strategy, instrument)
            target = targets.get(instrument)
            if target is None:
                self._keep(key, known=instrument in run.universe)
                continue
            inputs = self.input_times.of(*key, backtest=run.time, price=target.reference_time)
            stale = stale_because(inputs, closes.get(instrument))
            for wish in wishes.get(instrument, ()):
                self._order(key, target, wish, stale)

    def _keep(self, key: Key, *, known: bool) -> None:
        held = self.effective.get(key, 0)
        override = self.snapshot.override(key)
        if held and override.closes:
            note = f"override {override}: {-held:+d}, though the strategy wants nothing"
            self.unit.orders.place_instrument_order(order_without_target(self.unit, key, -held, self.now, note))
            self.effective[key] = 0
            self.decisions.append(self._decision(key, None, -held, note))
        elif held:
            note = "no position computed: too little history" if known else "not in the strategy any more"
            self.decisions.append(self._decision(key, None, 0, f"{note}; held until told otherwise"))

    def _order(self, key: Key, target: Target, wish: Wish, stale: str) -> None:
        position = self.effective.get(key, 0)
        trade, note = self.snapshot.restrain(key, wish.trade, self.effective, stale)
        if self.snapshot.override(key).closes or trade * wish.trade < 0 or abs(trade) > abs(wish.trade):
            wish = Wish(trade)  # the strategy's terms are for another trade than this one
        self.decisions.append(replace(self._decision(key, target, trade, note), terms=wish.terms))
        if trade == 0:
            return
        order_id = self.unit.orders.place_instrument_order(_order_for(target, wish, trade, note, self.now))
        if key in self.held:
            self.unit.stacks.set_locked(Level.INSTRUMENT, order_id, True)
        if wish.condition is None:
            self.effective[key] = position + trade

    def keep_limits(self) -> None:
        """Order what brings positions back within their limits."""
        for key, trade in sorted(self.snapshot.reductions(self.effective).items()):
            self.unit.orders.place_instrument_order(order_without_target(self.unit, key, trade, self.now, LIMIT_NOTE))
            known = [n for n, d in enumerate(self.decisions) if (d.strategy, d.instrument) == key and d.trade == 0]
            if known:
                before = self.decisions[known[0]]
                note = f"{before.note}; {LIMIT_NOTE}" if before.note else LIMIT_NOTE
                self.decisions[known[0]] = replace(before, trade=trade, note=note)
            else:
                self.decisions.append(self._decision(key, None, trade, LIMIT_NOTE))
        for key in self.snapshot.kept_beyond(self.effective):
            self.decisions.append(self._decision(key, None, 0, "beyond its limit, and no trading is allowed: left so"))
        for strategy, instrument in self.snapshot.lapsed_waivers(self.effective):
            self.unit.restrictions.waive_limit(strategy, instrument, None)

    def _decision(self, key: Key, target: Target | None, trade: int, note: str) -> Decision:
        position, unfilled = self.snapshot.positions.get(key, 0), self.snapshot.unfilled.get(key, 0)
        if isinstance(target, BufferedTarget | SpreadTarget):
            return Decision(*key, position, unfilled, target.lower, target.upper, trade, note)
        return Decision(*key, position, unfilled, None, None, trade, note)


def _check_wishes(strategy: str, wishes: Mapping[str, Sequence[Wish]], targets: Mapping[str, Target]) -> None:
    strangers = sorted(set(wishes) - set(targets))
    if strangers:
        raise ConfigError(
            f"run_strategy_order_generator.{strategy}.object: it asks to trade {', '.join(strangers)}, which the "
            "strategy has no optimal position for."
        )


def _order_for(target: Target, wish: Wish, trade: int, note: str, now: datetime) -> InstrumentOrder:
    return InstrumentOrder(
        strategy=target.strategy,
        instrument=target.instrument,
        trade=trade,
        order_type=wish.order_type,
        generated_at=now,
        reference_price=target.reference_price,
        reference_contract=target.reference_contract,
        reference_time=target.reference_time,
        note=note,
        limit_price=wish.limit_price,
        limit_contract=wish.limit_contract,
        condition=wish.condition,
    )
