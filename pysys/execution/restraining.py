"""What restrains each strategy in each instrument now, and the orders that bring positions back within limits."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from pysys.config import Config
from pysys.domain.orders import ROLL_PSEUDO_STRATEGY, InstrumentOrder, InstrumentOrderType
from pysys.domain.overrides import Override, combine
from pysys.domain.prices import to_moment
from pysys.domain.restraints import Restraints, reductions
from pysys.domain.roll_states import RollState
from pysys.execution.spread_book import market_of_instrument
from pysys.store.unit import UnitOfWork

Key = tuple[str, str]  # (strategy, instrument)
LIMIT_NOTE = "brings the position back within its limit"


@dataclass(frozen=True)
class Snapshot:
    """Positions, unfilled orders, overrides, limits and roll states, all read in one transaction."""

    positions: Mapping[Key, int]
    unfilled: Mapping[Key, int]
    overrides: Mapping[Key, Override]
    limits: Mapping[Key, int]
    no_open: frozenset[str]  # instruments in roll state No_Open

    def effective(self) -> dict[Key, int]:
        """Positions with unfilled orders, by (strategy, instrument)."""
        keys = set(self.positions) | set(self.unfilled)
        return {key: self.positions.get(key, 0) + self.unfilled.get(key, 0) for key in keys}

    def restraints(self, key: Key, stale: str = "") -> Restraints:
        strategy, instrument = key
        scopes = ((strategy, ""), ("", instrument), key, ("", ""))
        found = [self.overrides[scope] for scope in scopes if scope in self.overrides]
        if instrument in self.no_open:
            found.append(Override("reduce_only"))
        own, everybody = self.limits.get(key), self.limits.get(("", instrument))
        return Restraints(
            override=combine(found),
            strategy_limits=() if own is None else (own,),
            instrument_limits=() if everybody is None else (everybody,),
            stale=stale,
        )

    def reductions(self, effective: Mapping[Key, int]) -> dict[Key, int]:
        """Trades that bring positions back within their limits, given positions with unfilled orders."""
        own = {key: limit for key, limit in self.limits.items() if key[0]}
        everybody = {instrument: limit for (strategy, instrument), limit in self.limits.items() if not strategy}
        held = {key: position for key, position in effective.items() if key[0] != ROLL_PSEUDO_STRATEGY}
        return reductions(held, own, everybody)


def take_snapshot(unit: UnitOfWork, config: Config) -> Snapshot:
    """Read inside the transaction that will write the orders."""
    closed = {code for code, status in unit.markets.roll_statuses().items() if status.state is RollState.NO_OPEN}
    spreads = {code for code in config.spread_instruments if market_of_instrument(config, code) in closed}
    return Snapshot(
        positions=unit.positions.strategy_positions(),
        unfilled=unit.orders.unfilled_by_strategy_instrument(),
        overrides=unit.restrictions.overrides(),
        limits=unit.restrictions.position_limits(),
        no_open=frozenset(closed | spreads),
    )


def beyond_limits(unit: UnitOfWork, config: Config) -> bool:
    """Whether a position with its unfilled orders is beyond a limit; next to nothing is read without any limit."""
    if not unit.restrictions.position_limits():
        return False
    snapshot = take_snapshot(unit, config)
    return bool(snapshot.reductions(snapshot.effective()))


def reduce_to_limits(unit: UnitOfWork, config: Config, now: datetime) -> int:
    """Order what brings positions beyond their limits back, though no strategy asked; how many orders."""
    snapshot = take_snapshot(unit, config)
    wanted = snapshot.reductions(snapshot.effective())
    for key, trade in sorted(wanted.items()):
        unit.orders.place_instrument_order(reducing_order(unit, key, trade, now))
    return len(wanted)


def reducing_order(unit: UnitOfWork, key: Key, trade: int, now: datetime) -> InstrumentOrder:
    """An order on the instrument stack that belongs to no target: its reference is the last price."""
    strategy, instrument = key
    last = unit.prices.last_multiple(instrument)
    known = len(last) > 0 and last.price[-1] == last.price[-1]
    return InstrumentOrder(
        strategy=strategy,
        instrument=instrument,
        trade=trade,
        order_type=InstrumentOrderType.BEST,
        generated_at=now,
        reference_price=float(last.price[-1]) if known else None,
        reference_contract=f"{int(last.price_contract[-1]):08d}" if known else None,
        reference_time=to_moment(last.times[-1]) if known else None,
        note=LIMIT_NOTE,
    )
