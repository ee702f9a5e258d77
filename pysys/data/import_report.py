"""What an import of price files came to, instrument by instrument."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

import pandas as pd

from pysys.domain.errors import PysysError


class ImportOutcome(StrEnum):
    IMPORTED = "imported"  # new here
    REPLACED = "replaced"  # the files differ from what was stored
    CONFIGURED = "configured"  # prices as they were; configuration, contracts or calendars changed
    UNCHANGED = "unchanged"
    REFUSED = "refused"


class ImportIncomplete(PysysError):
    """Some instruments or currencies were refused; the others were imported."""


@dataclass(frozen=True, slots=True)
class ImportedSeries:
    """One instrument, or one currency."""

    code: str
    kind: str  # instrument, fx
    outcome: ImportOutcome
    multiple_rows: int = 0  # read from the files, not necessarily written
    adjusted_rows: int = 0
    fx_rows: int = 0
    contracts: int = 0
    contract_rows: int = 0
    notes: tuple[str, ...] = ()  # what was skipped or is odd, or why it was refused

    @property
    def rows(self) -> int:
        return self.multiple_rows + self.adjusted_rows + self.fx_rows + self.contract_rows


@dataclass(frozen=True, slots=True)
class ImportReport:
    """Every currency and instrument of an import, in order."""

    series: Sequence[ImportedSeries]

    @property
    def refused(self) -> list[ImportedSeries]:
        return [one for one in self.series if one.outcome is ImportOutcome.REFUSED]

    def table(self) -> pd.DataFrame:
        """One row each: code, kind, outcome, multiple_rows, adjusted_rows, fx_rows, contracts, contract_rows, notes."""
        rows = [
            (
                one.code,
                one.kind,
                str(one.outcome),
                one.multiple_rows,
                one.adjusted_rows,
                one.fx_rows,
                one.contracts,
                one.contract_rows,
                "; ".join(one.notes),
            )
            for one in self.series
        ]
        names = ["code", "kind", "outcome", "multiple_rows", "adjusted_rows", "fx_rows"]
        return pd.DataFrame(rows, columns=[*names, "contracts", "contract_rows", "notes"])

    def raise_if_incomplete(self) -> None:
        """Raise ImportIncomplete naming everything refused, and why."""
        refused = self.refused
        if refused:
            named = " ".join(f"{one.code}: {'; '.join(one.notes)}." for one in refused)
            raise ImportIncomplete(f"{len(refused)} of {len(self.series)} were refused, the others are in. {named}")
