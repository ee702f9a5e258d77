"""What every repository shares."""

from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, CursorResult


@dataclass(frozen=True, slots=True)
class Author:
    """Who writes: the process, and the run it belongs to. Every history row carries it."""

    written_by: str
    run_id: str | None = None


class Repository:
    """The connection of one transaction, and who is writing. Its methods never commit."""

    def __init__(self, connection: Connection, author: Author) -> None:
        self.connection = connection
        self.author = author

    @property
    def audit(self) -> dict[str, str | None]:
        """Values of the `written_by` and `run_id` columns."""
        return {"written_by": self.author.written_by, "run_id": self.author.run_id}


def new_id(result: CursorResult[Any]) -> int:
    """Id of the row an insert made."""
    key = result.inserted_primary_key
    if key is None:
        raise LookupError("the insert returned no key")
    return int(key[0])
