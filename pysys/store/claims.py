"""Claims on contract orders: which algo works one, in which process, when that last gave a sign of life, until when.

Times are of the real world: a simulated clock proves no life.
"""

from collections.abc import Iterable
from datetime import datetime

from sqlalchemy import ColumnElement, or_, select, update

from pysys.store.repository import Repository
from pysys.store.schema import broker_orders, contract_orders

_FREE = {"controlling_algo": None, "claimed_by": None, "claim_heartbeat_at": None, "claim_until": None}


class Claims(Repository):
    """A claim is compare-and-set on the order itself, and ends with the broker order it was made for."""

    def claim(self, order_id: int, owner: str, algo: str, *, now: datetime, until: datetime) -> bool:
        """Claim an order for an algo of `owner`; whatever its note said had held it up, did.

        False, with nothing changed, while somebody else's claim holds.
        """
        table = contract_orders.c
        free = or_(table.claimed_by.is_(None), table.claimed_by == owner, table.claim_until <= now)
        claim = update(contract_orders).where(table.id == order_id, free)
        values = {"controlling_algo": algo, "claimed_by": owner, "claim_heartbeat_at": now, "claim_until": until}
        return self.connection.execute(claim.values(**values, note="")).rowcount == 1

    def keep(self, owner: str, *, now: datetime, until: datetime) -> int:
        """A sign of life for every claim of `owner` whose order is still being worked; how many."""
        table = contract_orders.c
        kept = update(contract_orders).where(table.active, table.claimed_by == owner, _is_worked())
        return self.connection.execute(kept.values(claim_heartbeat_at=now, claim_until=until)).rowcount

    def claimants(self, order_ids: Iterable[int]) -> dict[int, str]:
        """Who claims each of these orders; free ones are absent."""
        table = contract_orders.c
        query = select(table.id, table.claimed_by)
        rows = self.connection.execute(query.where(table.id.in_(list(order_ids)), table.claimed_by.is_not(None)))
        return {row.id: row.claimed_by for row in rows}

    def release(self, order_id: int) -> None:
        """Drop the claim on an order, whosever it is."""
        self.connection.execute(update(contract_orders).where(contract_orders.c.id == order_id).values(**_FREE))

    def release_settled(self, order_id: int) -> None:
        """Drop the claim on an order none of whose broker orders is being worked any more."""
        table = contract_orders.c
        settled = update(contract_orders).where(table.id == order_id, ~_is_worked())
        self.connection.execute(settled.values(**_FREE))

    def release_all_of(self, owner: str) -> int:
        """Drop every claim of one owner; how many."""
        table = contract_orders.c
        own = update(contract_orders).where(table.active, table.claimed_by == owner)
        return self.connection.execute(own.values(**_FREE)).rowcount


def _is_worked() -> ColumnElement[bool]:
    working = select(broker_orders.c.id).where(broker_orders.c.active)
    return working.where(broker_orders.c.parent_id == contract_orders.c.id).exists()
