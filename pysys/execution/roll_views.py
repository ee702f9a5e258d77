"""Where an instrument stands between two contracts when its orders are made, and prices moved between contracts."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal

import numpy as np

from pysys.config import Config
from pysys.domain.contract_choice import Standing
from pysys.domain.contracts import Contract
from pysys.domain.instruments import RollParameters
from pysys.domain.orders import ContractOrder, InstrumentOrder, InstrumentOrderType, OrderLeg
from pysys.domain.roll_debts import roll_debt
from pysys.domain.spreads import Spread, combined, legs_from, units_held
from pysys.execution.spread_book import legs_held, market_of_instrument, outright_positions, spread_named
from pysys.store.unit import UnitOfWork


@dataclass(frozen=True, slots=True)
class Family:
    """An instrument order with contract orders that are not filled yet."""

    parent: InstrumentOrder
    children: tuple[ContractOrder, ...]

    @property
    def remaining(self) -> dict[Contract, int]:
        """Contracts still to be traded."""
        left: dict[Contract, int] = {}
        for child in self.children:
            for leg in child.legs:
                left[leg.contract] = left.get(leg.contract, 0) + leg.remaining
        return {contract: quantity for contract, quantity in left.items() if quantity}


def working_families(unit: UnitOfWork) -> list[Family]:
    """Families with something left to trade, oldest first; of a roll that was cut off, what it still owes."""
    parents, children = _unfilled_children(unit)
    found = [Family(parents[parent_id], tuple(unfilled)) for parent_id, unfilled in children.items()]
    return sorted([*found, *owing_families(unit)], key=lambda family: family.parent.id)


def owing_families(unit: UnitOfWork) -> list[Family]:
    """Rolls that have left a contract and not entered the next, or the other way round, with no order for the rest.

    Each with one order, not stored, for what is owed.
    """
    parents, children = _unfilled_children(unit)
    rolls = [
        order.id
        for order in parents.values()
        if order.order_type is InstrumentOrderType.ZERO_ROLL and order.id not in children
    ]
    found = []
    for parent_id, family in unit.orders.children(rolls).items() if rolls else ():
        owed = roll_debt(family)
        if owed:
            legs = tuple(OrderLeg(contract, quantity) for contract, quantity in sorted(owed.items()))
            parent = parents[parent_id]
            order = replace(family[0], legs=legs, id=0, generated_at=parent.generated_at)
            found.append(Family(parent, (order,)))
    return found


def _unfilled_children(unit: UnitOfWork) -> tuple[dict[int, InstrumentOrder], dict[int, list[ContractOrder]]]:
    """Active instrument orders, and their active contract orders that are not filled, by the parent's id."""
    parents = {order.id: order for order in unit.orders.active_instrument_orders()}
    children: dict[int, list[ContractOrder]] = {}
    for child in unit.orders.active_contract_orders():
        if not child.is_filled and child.parent_id in parents:
            children.setdefault(child.parent_id, []).append(child)
    return parents, children


@dataclass(frozen=True, slots=True)
class RollView:
    """A market, or a spread within it, whose positions are then counted in units at the contract they start from."""

    instrument: str
    market: str
    standing: Standing
    spread: Spread | None = None
    rolls: RollParameters | None = None  # of the market, for a spread

    def unit_legs(self, start: Contract) -> dict[Contract, int]:
        """Contracts of one unit that starts from `start`; of a market, the contract itself."""
        return {start: 1} if self.spread is None or self.rolls is None else legs_from(self.spread, start, self.rolls)

    def first_leg(self, start: Contract) -> Contract:
        """The contract that reference and limit prices name the place of a spread by; of a market, the contract."""
        return next(iter(self.unit_legs(start)))

    def legs(self, *parts: tuple[Contract, int]) -> tuple[OrderLeg, ...]:
        """Legs of an order for (start, units) together."""
        return combined(*((self.unit_legs(start), units) for start, units in parts))

    def reference_start(self, contract: str) -> Contract | None:
        """The start whose first leg is the contract of a reference or limit price; None when it is out of reach."""
        for start in (self.standing.priced, self.standing.forward):
            if self.first_leg(start).date == contract:
                return start
        return Contract(self.market, contract) if self.spread is None else None


def roll_view(unit: UnitOfWork, config: Config, instrument: str, working: Sequence[Family] = ()) -> RollView | None:
    """None for an instrument whose market has no multiple prices.

    working: families whose remaining contracts count as held. Raises ValueError when what is held for a spread is no
    whole number of spreads.
    """
    market = market_of_instrument(config, instrument)
    latest = unit.prices.last_multiple(market)
    if not len(latest):
        return None
    spread = spread_named(config, instrument)
    rolls = None if spread is None else unit.markets.roll_parameters(market)
    held = legs_held(unit, config).get(instrument, {}) if spread else outright_positions(unit, config, market)
    for family in working:
        if family.parent.instrument == instrument:
            for contract, quantity in family.remaining.items():
                held[contract] = held.get(contract, 0) + quantity
    standing = Standing(
        state=unit.markets.roll_status(market).state,
        priced=Contract(market, f"{int(latest.price_contract[-1]):08d}"),
        forward=Contract(market, f"{int(latest.forward_contract[-1]):08d}"),
        positions={c: q for c, q in held.items() if q}
        if rolls is None or spread is None
        else units_held(spread, held, rolls),
    )
    return RollView(instrument, market, standing, spread, rolls)


def last_price(unit: UnitOfWork, view: RollView) -> float | None:
    """Last price we have of the priced contract, or of a spread that starts from it."""
    if view.spread is not None:
        return _last_matched(unit, view.unit_legs(view.standing.priced))
    latest = unit.prices.last_multiple(view.market)
    price = float(latest.price[-1])
    return None if np.isnan(price) else price


def price_in(unit: UnitOfWork, view: RollView, price: float, contract: str, start: Contract) -> float | None:
    """A price of `contract` (of a spread: of its first leg's contract) moved to `start`; None when it cannot be.

    The difference is that of the last time both had a price.
    """
    origin = view.reference_start(contract)
    if origin is None:
        return None
    if origin == start:
        return price
    gap = _gap(unit, view, origin, start)
    return None if gap is None else price + gap


def _gap(unit: UnitOfWork, view: RollView, origin: Contract, start: Contract) -> float | None:
    if view.spread is not None:
        legs = {leg.contract: leg.trade for leg in view.legs((start, 1), (origin, -1))}
        return _last_matched(unit, legs)
    ahead = unit.prices.last_matched_gap(view.market, origin, start)
    if ahead is not None:
        return ahead
    behind = unit.prices.last_matched_gap(view.market, start, origin)
    return None if behind is None else -behind


def _last_matched(unit: UnitOfWork, legs: Mapping[Contract, int]) -> float | None:
    """sum(quantity x price) on the last day all contracts had a daily price; None when there is none."""
    series = []
    for contract in legs:
        bars = unit.prices.contract_bars(contract, daily=True)
        priced = ~np.isnan(bars.final)
        series.append(dict(zip(bars.times[priced].tolist(), bars.final[priced].tolist(), strict=True)))
    common = set.intersection(*(set(each) for each in series)) if series else set()
    if not common:
        return None
    last = max(common)
    return float(sum(ratio * prices[last] for ratio, prices in zip(legs.values(), series, strict=True)))


def limit_on_tick(price: float, tick_size: float | None, direction: int) -> Decimal:
    """A limit on the market's tick, never worse than asked: down for a buyer (direction +1), up for a seller."""
    exact = Decimal(repr(round(price, 10)))
    tick = Decimal("1e-10") if tick_size is None else Decimal(str(tick_size))
    rounding = ROUND_FLOOR if direction > 0 else ROUND_CEILING
    return ((exact / tick).to_integral_value(rounding) * tick).normalize()
