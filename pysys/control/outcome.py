"""How a run ended."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pysys.domain.errors import PysysError
from pysys.store.runs import RunStatus


class RunFailed(PysysError):
    """A run did not do all it set out to do."""


@dataclass(frozen=True, slots=True)
class RunOutcome:
    """How a run ended. `seconds` are of real time."""

    run_id: str
    name: str
    status: RunStatus
    seconds: float
    error: str | None = None  # one sentence
    record: Mapping[str, Any] | None = None  # what the run's last cell wrote
    notebook: Path | None = None  # executed
    html: Path | None = None

    @property
    def ok(self) -> bool:
        return self.status is RunStatus.DONE

    @property
    def exit_code(self) -> int:
        return 0 if self.ok else 1

    @property
    def sentence(self) -> str:
        """What happened, for a person."""
        if self.ok:
            return f"{self.name} done in {self.seconds:.1f} s."
        where = f" See {self.notebook}." if self.notebook is not None else ""
        return f"{self.name} {self.status.value}: {self.error}{where}"

    def raise_if_failed(self) -> None:
        """Raises RunFailed unless the run was a success."""
        if not self.ok:
            raise RunFailed(self.sentence)


def one_line(text: str, limit: int = 500) -> str:
    """`text` on one line without terminal colours, cut at `limit` letters."""
    clean = " ".join(re.sub(r"\x1b\[[0-9;]*m", "", text).split())
    return clean if len(clean) <= limit else f"{clean[: limit - 1]}…"
