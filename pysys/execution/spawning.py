"""Contract orders: which contracts an instrument order is traded in, and the orders that force a roll."""

from dataclasses import dataclass
from datetime import datetime

from pysys.config import Config
from pysys.domain.contracts import Contract
from pysys.domain.orders import (
    ROLL_PSEUDO_STRATEGY,
    ContractOrder,
    InstrumentOrder,
    InstrumentOrderType,
    OrderLeg,
)
from pysys.domain.roll_split import roll_state_split
from pysys.domain.roll_states import RollState
from pysys.store.unit import UnitOfWork


@dataclass(frozen=True, slots=True)
class RollView:
    """Where an instrument stands between two contracts when its orders are made."""

    state: RollState
    priced: Contract
    forward: Contract
    priced_position: int
    spread: float | None  # forward less priced, when both last had a price; None when that never was


def roll_view(unit: UnitOfWork, instrument: str) -> RollView | None:
    """None for an instrument without multiple prices."""
    latest = unit.prices.last_multiple(instrument)
    if not len(latest):
        return None
    priced = Contract(instrument, f"{int(latest.price_contract[-1]):08d}")
    forward = Contract(instrument, f"{int(latest.forward_contract[-1]):08d}")
    return RollView(
        state=unit.markets.roll_status(instrument).state,
        priced=priced,
        forward=forward,
        priced_position=unit.positions.contract_position(priced),
        spread=unit.prices.last_matched_gap(instrument, priced, forward),
    )


def contract_orders_for(order: InstrumentOrder, view: RollView, algo: str, now: datetime) -> list[ContractOrder]:
    """The children of an instrument order: one per contract traded; none while the roll state lets nothing through.

    What closes the priced contract comes before what opens the forward one.
    """
    in_priced, in_forward = roll_state_split(view.state, view.priced_position, order.trade)
    children: list[ContractOrder] = []
    for contract, trade in ((view.priced, in_priced), (view.forward, in_forward)):
        if trade:
            children.append(
                ContractOrder(
                    strategy=order.strategy,
                    instrument=order.instrument,
                    legs=(OrderLeg(contract, trade),),
                    order_type=order.order_type,
                    generated_at=now,
                    reference_price=_moved_reference(order, contract, view),
                    algo_to_use=algo,
                    sequence=len(children),
                )
            )
    return children


def _moved_reference(order: InstrumentOrder, contract: Contract, view: RollView) -> float | None:
    """The reference price in the contract traded; None when it cannot be moved there."""
    if order.reference_price is None or order.reference_contract is None:
        return None
    if order.reference_contract == contract.date:
        return order.reference_price
    if view.spread is None:
        return None
    if (order.reference_contract, contract) == (view.priced.date, view.forward):
        return order.reference_price + view.spread
    if (order.reference_contract, contract) == (view.forward.date, view.priced):
        return order.reference_price - view.spread
    return None


def roll_orders_for(view: RollView, algo: str, now: datetime) -> tuple[InstrumentOrder, list[ContractOrder]] | None:
    """The zero instrument order and its children that move the whole priced position forward.

    Force: one calendar spread. Force_Outright: close first, then open. None when nothing is to be rolled.
    """
    held, instrument = view.priced_position, view.priced.instrument
    if held == 0 or view.state not in (RollState.FORCE, RollState.FORCE_OUTRIGHT):
        return None
    parent = InstrumentOrder(
        strategy=ROLL_PSEUDO_STRATEGY,
        instrument=instrument,
        trade=0,
        order_type=InstrumentOrderType.ZERO_ROLL,
        generated_at=now,
        reference_price=None if view.spread is None else -view.spread,
        reference_time=now,
        roll_order=True,
    )
    legs = (OrderLeg(view.priced, -held), OrderLeg(view.forward, held))
    grouped = [legs] if view.state is RollState.FORCE else [(leg,) for leg in legs]
    children = [
        ContractOrder(
            strategy=ROLL_PSEUDO_STRATEGY,
            instrument=instrument,
            legs=group,
            order_type=InstrumentOrderType.BEST,
            generated_at=now,
            reference_price=parent.reference_price if len(group) > 1 else None,
            roll_order=True,
            algo_to_use=algo,
            sequence=number,
        )
        for number, group in enumerate(grouped)
    ]
    return parent, children


def algo_for(config: Config, order_type: InstrumentOrderType, instrument: str) -> str:
    """The algo configured for the instrument, or the one its order type asks for, or the default."""
    if instrument in config.algo_overrides:
        return config.algo_overrides[instrument]
    return "market" if order_type is InstrumentOrderType.MARKET else config.default_algo


def spawn_contract_orders(unit: UnitOfWork, config: Config, now: datetime) -> int:
    """Make the children of instrument orders that have none; how many were made."""
    locked = unit.restrictions.locked_instruments()
    made = 0
    for order in unit.orders.without_children():
        view = None if order.instrument in locked else roll_view(unit, order.instrument)
        if view is None or order.roll_order:
            continue
        algo = algo_for(config, order.order_type, order.instrument)
        for child in contract_orders_for(order, view, algo, now):
            unit.orders.place_contract_order(order.id, child)
            made += 1
    return made


def force_rolls(unit: UnitOfWork, config: Config, now: datetime) -> int:
    """Make the roll orders of every instrument that is being forced and has none of its own; how many rolls."""
    locked = unit.restrictions.locked_instruments()
    busy = {order.instrument for order in unit.orders.active_contract_orders()}
    busy |= {order.instrument for order in unit.orders.active_instrument_orders() if order.roll_order}
    rolls = 0
    for instrument, status in unit.markets.roll_statuses().items():
        if status.state not in (RollState.FORCE, RollState.FORCE_OUTRIGHT) or instrument in busy | set(locked):
            continue
        view = roll_view(unit, instrument)
        algo = algo_for(config, InstrumentOrderType.ZERO_ROLL, instrument)
        made = None if view is None else roll_orders_for(view, algo, now)
        if made is None:
            continue
        parent, children = made
        parent_id = unit.orders.place_instrument_order(parent)
        for child in children:
            unit.orders.place_contract_order(parent_id, child)
        rolls += 1
    return rolls
