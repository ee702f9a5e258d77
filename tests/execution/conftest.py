"""A desk on the paper exchange's small world, with a store of its own on either database."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
from sqlalchemy import insert

from pysys.broker.paper.exchange import PaperBroker
from pysys.broker.paper.stored import StoredMarket
from pysys.config import Config
from pysys.desk import Desk
from pysys.domain.contracts import Contract
from pysys.domain.orders import InstrumentOrder, InstrumentOrderType
from pysys.domain.prices import MultipleRows
from pysys.domain.roll_states import RollState, RollStatus
from pysys.domain.targets import BufferedTarget
from pysys.execution.stack_handler import StackHandlerResult, run_stack_handler
from pysys.store.prices import SeriesKey, SeriesKind
from pysys.store.schema import order_tag
from pysys.store.targets import BacktestRun
from pysys.store.unit import Store
from tests.broker import paper_world as world


@dataclass
class TradingDesk:
    """What the tests say and ask, in a trader's words."""

    desk: Desk
    folder: Path

    def order(self, instrument: str, trade: int, strategy: str = "trend", order_type: str = "best") -> int:
        order = InstrumentOrder(strategy, instrument, trade, InstrumentOrderType(order_type), self.desk.clock.now())
        with self.desk.store.write() as unit:
            order_id = unit.orders.place_instrument_order(order)
            unit.commit()
        return order_id

    def want(self, instrument: str, lower: float, upper: float, strategy: str = "trend") -> None:
        """A backtest, run now, that wants this position in this instrument and in no other."""
        now = self.desk.clock.now()
        target = BufferedTarget(strategy, instrument, now, (lower + upper) / 2, lower, upper, 2100.0, "20240400", now)
        with self.desk.store.write() as unit:
            unit.targets.add_backtest(BacktestRun(strategy, now, 1e6, (instrument,), "hash", "folder"), [target])
            unit.commit()

    def roll_state(self, instrument: str, state: RollState, priced: str = "20240400") -> None:
        status = RollStatus(instrument, state, priced, self.desk.clock.now(), "tester", "as the story goes")
        with self.desk.store.write() as unit:
            unit.markets.record_roll_status(status)
            unit.commit()

    def work(self, **until: float) -> StackHandlerResult:
        """Run the stack handler for a while: `desk.work(minutes=30)`."""
        return run_stack_handler(self.desk, self.desk.clock.now() + timedelta(**until))

    def positions(self) -> dict[str, int]:
        with self.desk.store.read() as unit:
            return {str(contract): position for contract, position in unit.positions.contract_positions().items()}

    def strategy_positions(self) -> dict[tuple[str, str], int]:
        with self.desk.store.read() as unit:
            return unit.positions.strategy_positions()

    def broker_positions(self) -> dict[str, int]:
        return {str(contract): position for contract, position in self.desk.broker.positions().items()}

    def assert_in_balance(self) -> None:
        """Our contracts are the broker's, and the strategies' positions add up to them."""
        assert self.positions() == self.broker_positions()
        by_instrument: dict[str, int] = {}
        for contract, position in self.positions().items():
            code = contract.split("/")[0]
            by_instrument[code] = by_instrument.get(code, 0) + position
        strategies: dict[str, int] = {}
        for (_, code), position in self.strategy_positions().items():
            strategies[code] = strategies.get(code, 0) + position
        assert {k: v for k, v in by_instrument.items() if v} == {k: v for k, v in strategies.items() if v}


STRATEGIES = {
    "run_systems": {"trend": {}},
    "run_strategy_order_generator": {"trend": {}, "carry": {}},
}


@pytest.fixture
def trading(store: Store, tmp_path: Path) -> Iterator[TradingDesk]:
    """At noon on a Monday; GOLD is priced in April with June forward, NIKKEI in June."""
    yield from open_trading_desk(store, tmp_path)


@pytest.fixture
def trading_on_sqlite(sqlite_store: Store, tmp_path: Path) -> Iterator[TradingDesk]:
    """The same where the kind of database plays no part."""
    yield from open_trading_desk(sqlite_store, tmp_path)


def open_trading_desk(store: Store, folder: Path, market: StoredMarket | None = None) -> Iterator[TradingDesk]:
    """A desk in `folder` on an empty, migrated store; closed when the generator ends."""
    broker, clock = world.broker(folder / "exchange.db", world.NOON, market)
    config = Config(clock="exchange", process_configuration_methods=STRATEGIES)
    prepare_markets(store, broker)
    yield TradingDesk(Desk(config, store, broker, clock, folder), folder)
    broker.close()
    clock.close()


def prepare_markets(store: Store, broker: PaperBroker) -> None:
    """Instruments, roll parameters and multiple prices of the paper world."""
    with store.write() as unit:
        unit.connection.execute(insert(order_tag).values(id=1, tag="t"))  # so that a story can name an order: 1-1-t
        for code, instrument in world.INSTRUMENTS.items():
            unit.markets.put_instrument(instrument)
            unit.markets.put_roll_parameters(world.ROLLS[code])
        _multiple(unit, broker, world.GOLD_APR, world.GOLD_JUN, world.NOON)
        _multiple(unit, broker, world.BUND_MAR, world.BUND_JUN, world.NOON)
        _multiple(unit, broker, world.NIKKEI_JUN, world.NIKKEI_JUN, world.NOON)
        unit.commit()


def _multiple(unit, broker: PaperBroker, priced: Contract, forward: Contract, at: datetime) -> None:
    quotes = [broker.quote(contract) for contract in (priced, forward)]
    mids = [quote.mid if quote else np.nan for quote in quotes]
    rows = MultipleRows(
        times=np.array([world.micros(at - timedelta(hours=1))]),
        price=np.array([mids[0]]),
        price_contract=np.array([int(priced.date)]),
        carry=np.array([mids[1]]),
        carry_contract=np.array([int(forward.date)]),
        forward=np.array([mids[1]]),
        forward_contract=np.array([int(forward.date)]),
    )
    unit.prices.append(SeriesKey(SeriesKind.MULTIPLE, priced.instrument), rows)
