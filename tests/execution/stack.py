"""What the tests of the instrument stack say and ask beside the desk's own words."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from pysys.config import Config
from pysys.domain.orders import ContractOrder, InstrumentOrder, InstrumentOrderType
from pysys.domain.targets import Target
from pysys.execution.rolling import force_rolls
from pysys.execution.spawning import spawn_contract_orders
from pysys.store.targets import BacktestRun
from tests.execution.conftest import TradingDesk


def want(trading: TradingDesk, *targets: Target, universe: tuple[str, ...] | None = None) -> None:
    """A backtest, run now, of the strategy of these targets."""
    now, strategy = trading.desk.clock.now(), targets[0].strategy
    codes = universe if universe is not None else tuple(target.instrument for target in targets)
    with trading.desk.store.write() as unit:
        unit.targets.add_backtest(BacktestRun(strategy, now, 1e6, codes, "hash", "folder"), targets)
        unit.commit()


def configure(trading: TradingDesk, **changes: Any) -> None:
    """The same desk under another configuration, checked as configuration is."""
    config = Config.model_validate({**trading.desk.config.model_dump(), **changes})
    trading.desk = replace(trading.desk, config=config)


def place(trading: TradingDesk, instrument: str, trade: int, strategy: str = "trend", **terms: Any) -> int:
    order = InstrumentOrder(
        strategy, instrument, trade, InstrumentOrderType(terms.pop("order_type", "best")), trading.desk.clock.now()
    )
    with trading.desk.store.write() as unit:
        order_id = unit.orders.place_instrument_order(replace(order, **terms))
        unit.commit()
    return order_id


def spawn(trading: TradingDesk, prices: Mapping[tuple[str, str], float] | None = None) -> int:
    with trading.desk.store.write() as unit:
        made = spawn_contract_orders(unit, trading.desk.config, trading.desk.clock.now(), prices)
        unit.commit()
    return made


def roll(trading: TradingDesk) -> int:
    with trading.desk.store.write() as unit:
        made = force_rolls(unit, trading.desk.config, trading.desk.clock.now())
        unit.commit()
    return made


def limit(trading: TradingDesk, instrument: str, most: int, strategy: str = "") -> None:
    with trading.desk.store.write() as unit:
        unit.restrictions.set_position_limit(strategy, instrument, most, who="tester", why="as the story goes")
        unit.commit()


def hold(trading: TradingDesk, held: Mapping[Any, int], strategies: Mapping[str, int] | None = None) -> None:
    """Positions in contracts, owned by strategies (by trend alone when not said), as if traded before."""
    now = trading.desk.clock.now()
    with trading.desk.store.write() as unit:
        for contract, position in held.items():
            unit.positions.move_contract(contract, position, at=now, fill_id=None, reason="before")
        code = next(iter(held)).instrument
        owners = {"trend": sum(held.values())} if strategies is None else strategies
        for strategy, position in owners.items():
            unit.positions.move_strategy(strategy, code, position, at=now, price=None, fill_id=None, reason="before")
        unit.commit()


def stack(trading: TradingDesk) -> list[InstrumentOrder]:
    with trading.desk.store.read() as unit:
        return unit.orders.active_instrument_orders()


def order(trading: TradingDesk, order_id: int) -> InstrumentOrder:
    with trading.desk.store.read() as unit:
        return unit.orders.instrument_order(order_id)


def children(trading: TradingDesk, order_id: int) -> list[ContractOrder]:
    with trading.desk.store.read() as unit:
        return unit.orders.children([order_id]).get(order_id, [])


def traded(trading: TradingDesk, order_id: int) -> list[tuple[tuple[str, int], ...]]:
    """Legs (contract, trade) of each contract order."""
    return [tuple((leg.contract.date, leg.trade) for leg in child.legs) for child in children(trading, order_id)]
