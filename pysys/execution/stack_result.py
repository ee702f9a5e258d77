"""What one run of the stack handler did, and what it leaves for a person."""

from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any

from pysys.domain.errors import NeedsOperator

if TYPE_CHECKING:
    import pandas as pd


PROCESS = "run_stack_handler"


@dataclass
class StackHandlerResult:
    """What one run of the stack handler did."""

    started: datetime  # UTC
    ended: datetime | None = None
    counts: dict[str, int] = field(default_factory=dict)
    breaks: dict[str, str] = field(default_factory=dict)  # instruments that differ from the broker's, or among us; how
    unresolved: list[str] = field(default_factory=list)  # broker orders whose fate is not known at the end
    strangers: dict[str, str] = field(default_factory=dict)  # orders at the broker that are not ours
    faults: dict[str, str] = field(default_factory=dict)  # instruments locked because working them failed, and how
    rolls: dict[str, str] = field(default_factory=dict)  # markets whose roll is held up for too long, or was cut off
    unknown: str = ""  # why the broker's positions are not known at the end

    def add(self, name: str, number: int) -> int:
        self.counts[name] = self.counts.get(name, 0) + number
        return number

    def table(self) -> "pd.DataFrame":
        import pandas as pd  # slow, and only somebody who looks needs it

        rows = [(name.replace("_", " "), number) for name, number in self.counts.items()]
        return pd.DataFrame(rows, columns=["what", "count"]).set_index("what")

    def summary(self) -> dict[str, Any]:
        return {
            **self.counts,
            "breaks": self.breaks,
            "unresolved": self.unresolved,
            "strangers": self.strangers,
            "faults": self.faults,
            "rolls": self.rolls,
            "unknown": self.unknown,
        }

    def raise_if_incomplete(self) -> None:
        """Raises NeedsOperator for whatever a person has to look at before the next day."""
        if self.unresolved:
            raise NeedsOperator(
                f"The broker did not say what became of order {', '.join(self.unresolved)}. Nothing new is sent for "
                "its contract until it does: look at the broker's own screen."
            )
        if self.unknown:
            raise NeedsOperator(f"The broker's positions are not known: {self.unknown}")
        if self.breaks:
            where = "; ".join(f"{instrument} {how}" for instrument, how in self.breaks.items())
            raise NeedsOperator(
                "Contracts held differ from the broker's positions, or from what strategies own, so these are locked: "
                f"{where}. A balance trade puts the books right."
            )
        if self.faults:
            where = "; ".join(f"{instrument} {how}" for instrument, how in self.faults.items())
            raise NeedsOperator(f"Working these failed, so they are locked until a person unlocks them: {where}.")
        if self.rolls:
            where = "; ".join(f"{market} {what}" for market, what in self.rolls.items())
            raise NeedsOperator(f"These rolls need a person: {where}.")
        if self.strangers:
            what = "; ".join(f"{ref} ({legs})" for ref, legs in self.strangers.items())
            raise NeedsOperator(
                f"The broker works orders that are not ours: {what}. `pysys order cancel REF` ends one."
            )
