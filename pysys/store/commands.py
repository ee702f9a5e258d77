"""Commands: what a person asked for, carried out once, with its answer. The rows are the audit."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import insert, select, update

from pysys.store.repository import Repository
from pysys.store.schema import commands


class CommandStatus(StrEnum):
    ASKED = "asked"
    DONE = "done"
    REFUSED = "refused"  # it would have broken something; nothing was changed
    FAILED = "failed"  # it was tried and went wrong


@dataclass(frozen=True, slots=True)
class Command:
    """One intervention. `token` is used once: asking again with it is the same request."""

    token: str
    name: str
    arguments: Mapping[str, Any]
    who: str
    why: str
    asked_at: datetime  # UTC
    status: CommandStatus = CommandStatus.ASKED
    answered_at: datetime | None = None
    answer: str | None = None
    id: int = 0  # 0 until stored

    @property
    def is_answered(self) -> bool:
        return self.status is not CommandStatus.ASKED


class Commands(Repository):
    """Appended when asked, answered once, never deleted."""

    def ask(self, command: Command) -> Command:
        """Store a request; the one already stored when its token was used before."""
        known = self.by_token(command.token)
        if known is not None:
            return known
        self.connection.execute(
            insert(commands).values(
                token=command.token,
                name=command.name,
                arguments=dict(command.arguments),
                who=command.who,
                why=command.why,
                asked_at=command.asked_at,
                status=command.status.value,
            )
        )
        stored = self.by_token(command.token)
        if stored is None:
            raise LookupError(f"command {command.token} was stored and is not there")
        return stored

    def by_token(self, token: str) -> Command | None:
        row = self.connection.execute(select(commands).where(commands.c.token == token)).mappings().first()
        return None if row is None else _command(dict(row))

    def waiting(self) -> list[Command]:
        """Commands nobody has answered, in the order they were asked."""
        query = select(commands).where(commands.c.status == CommandStatus.ASKED.value).order_by(commands.c.id)
        return [_command(dict(row)) for row in self.connection.execute(query).mappings()]

    def latest(self, limit: int) -> list[Command]:
        """Newest first."""
        query = select(commands).order_by(commands.c.id.desc()).limit(limit)
        return [_command(dict(row)) for row in self.connection.execute(query).mappings()]

    def answer(self, command_id: int, status: CommandStatus, answer: str, at: datetime) -> bool:
        """Answer a command nobody has answered. False when somebody had."""
        asked = (commands.c.id == command_id) & (commands.c.status == CommandStatus.ASKED.value)
        values = {"status": status.value, "answer": answer, "answered_at": at}
        return self.connection.execute(update(commands).where(asked).values(**values)).rowcount == 1


def _command(row: dict[str, Any]) -> Command:
    return Command(**{**row, "status": CommandStatus(row["status"])})
