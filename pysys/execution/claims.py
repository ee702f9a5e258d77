"""Who works a contract order: an algo, in one process, for as long as its broker order is not settled.

A claim rides along in transactions that are written anyway: it is made with the broker order, kept with the heartbeat
of the trading lease, dropped when the order is settled. After a crash it runs out by itself, at once on the machine of
the dead process; a person may drop it any time.
"""

from datetime import timedelta

from pysys.clock import SystemClock
from pysys.domain.orders import BrokerOrder, ContractOrder
from pysys.store.machine import Holder, is_gone, this_process
from pysys.store.unit import Store, UnitOfWork

CLAIM_LASTS = timedelta(seconds=60)  # of real time, without a sign of life


def me() -> str:
    """This process, as claims name it."""
    return str(this_process())


def claimed_elsewhere(order: ContractOrder) -> str:
    """Which other process works an order, for a person; blank when none does that may be alive."""
    if order.claimed_by is None or order.claimed_by == me() or order.claim_until is None:
        return ""
    holder = _holder(order.claimed_by)
    if order.claim_until <= SystemClock().now() or (holder is not None and is_gone(holder)):
        return ""
    return f"{claimant(order)}, until {order.claim_until:%H:%M:%S} UTC"


def claimant(order: ContractOrder) -> str:
    """The algo and the process that work an order, for a person."""
    if order.claimed_by is None:
        return "nobody"
    holder = _holder(order.claimed_by)
    who = order.claimed_by if holder is None else f"process {holder.pid} on {holder.host}"
    return who if order.controlling_algo is None else f"algo {order.controlling_algo} of {who}"


def claim(unit: UnitOfWork, order: ContractOrder, algo: str) -> bool:
    """Claim an order for an algo of this process. False while another process that may be alive works it."""
    if claimed_elsewhere(order):
        return False
    if order.claimed_by not in (None, me()):
        unit.claims.release(order.id)
    now = SystemClock().now()
    return unit.claims.claim(order.id, me(), algo, now=now, until=now + CLAIM_LASTS)


def keep_claims(unit: UnitOfWork) -> None:
    """A sign of life for everything this process works."""
    now = SystemClock().now()
    unit.claims.keep(me(), now=now, until=now + CLAIM_LASTS)


def drop_claims(unit: UnitOfWork) -> None:
    """This process works nothing any more."""
    unit.claims.release_all_of(me())


def take_over_claims(store: Store) -> None:
    """Work on, in this process, the orders a dead one left at the broker. The caller has the right to trade."""
    with store.read() as unit:
        left = _not_ours(unit)
    if not left:
        return
    with store.write() as unit:
        for order in _not_ours(unit):
            parent = unit.orders.open_contract_order(order.parent_id)
            if parent is not None:
                claim(unit, parent, order.algo_used)
        unit.commit()


def _not_ours(unit: UnitOfWork) -> list[BrokerOrder]:
    working = unit.orders.active_broker_orders()
    owners = unit.claims.claimants(order.parent_id for order in working)
    return [order for order in working if owners.get(order.parent_id) != me()]


def _holder(owner: str) -> Holder | None:
    try:
        return Holder.parse(owner)
    except ValueError:
        return None
