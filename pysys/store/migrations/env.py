"""Runs migrations on the connection handed in by `pysys.store.database.migrate`."""

from typing import Any, Literal

from alembic import context

from pysys.store.schema import ExactDecimal, UtcDateTime, metadata


def render_as_plain_types(kind: str, item: Any, _context: Any) -> str | Literal[False]:
    """A migration is history: it names database types, not classes that may change."""
    if kind == "type" and isinstance(item, UtcDateTime):
        return "sa.DateTime(timezone=True)"
    if kind == "type" and isinstance(item, ExactDecimal):
        return "sa.String(length=40)"
    return False


context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    render_as_batch=True,
    render_item=render_as_plain_types,
)
with context.begin_transaction():
    context.run_migrations()
