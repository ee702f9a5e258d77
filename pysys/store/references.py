"""What our orders are called at the broker: references no other database uses, whatever account they share."""

import secrets

from sqlalchemy import delete, insert, select

from pysys.store.repository import Repository
from pysys.store.schema import order_tag

_TAG_BYTES = 4


class References(Repository):
    """The tag of this database, and the references that end in it.

    It is drawn at random when it is first needed. Orders are found by the reference stored with them, so those of an
    earlier tag stay known.
    """

    def order_ref(self, contract_order_id: int, number: int) -> str:
        """The reference of the `number`th broker order of a contract order: 17-2-9f3a1c20."""
        return f"{contract_order_id}-{number}-{self._tag()}"

    def renew_tag(self) -> str:
        """Draw another tag; whoever restores a backup or copies a database does, for the original goes on counting."""
        tag = secrets.token_hex(_TAG_BYTES)
        self.connection.execute(delete(order_tag))
        self.connection.execute(insert(order_tag).values(id=1, tag=tag))
        return tag

    def _tag(self) -> str:
        found: str | None = self.connection.execute(select(order_tag.c.tag)).scalar_one_or_none()
        return self.renew_tag() if found is None else found
