"""What a daily update came to, series by series."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from pysys.domain.errors import PysysError
from pysys.domain.prices import to_moment
from pysys.store.prices import OutcomeRow, PriceOutcome

_NAMED = 5  # failures spelled out in one sentence


class UpdateIncomplete(PysysError):
    """Some series failed or were held back; the others were updated."""


@dataclass(frozen=True, slots=True)
class SeriesUpdate:
    """One series after an update."""

    outcome: OutcomeRow
    last_time: int | None  # microseconds UTC of the latest stored row


@dataclass(frozen=True, slots=True)
class UpdateResult:
    """All series of one update, in the order they were worked."""

    name: str
    series: Sequence[SeriesUpdate]

    @property
    def rows_added(self) -> int:
        return sum(one.outcome.rows for one in self.series)

    def table(self) -> pd.DataFrame:
        """One row per series: kind, code, contract, rows_added, last_price (UTC), outcome, detail."""
        rows = [
            (
                str(one.outcome.series.kind),
                one.outcome.series.code,
                one.outcome.series.contract,
                one.outcome.rows,
                pd.NaT if one.last_time is None else pd.Timestamp(to_moment(one.last_time)),
                str(one.outcome.outcome),
                one.outcome.detail,
            )
            for one in self.series
        ]
        columns = ["kind", "code", "contract", "rows_added", "last_price", "outcome", "detail"]
        return pd.DataFrame(rows, columns=columns)

    def summary(self) -> dict[str, int]:
        """Rows added, and how many series came to each outcome."""
        counts = Counter(str(one.outcome.outcome) for one in self.series)
        return {"rows_added": self.rows_added, **dict(sorted(counts.items()))}

    def raise_if_incomplete(self) -> None:
        """Raise UpdateIncomplete naming what failed or was held back. A series without new data is no failure."""
        held = [one.outcome for one in self.series if one.outcome.outcome is PriceOutcome.HELD_BACK]
        failed = [one.outcome for one in self.series if one.outcome.outcome is PriceOutcome.ERROR]
        if not held and not failed:
            return
        parts = []
        if failed:
            parts.append(f"{len(failed)} failed ({_named(failed)})")
        if held:
            parts.append(f"{len(held)} held back as spikes until somebody decides ({_named(held)})")
        raise UpdateIncomplete(f"{self.name}: of {len(self.series)} series {' and '.join(parts)}.")


def _named(outcomes: Sequence[OutcomeRow]) -> str:
    shown = [f"{one.series}: {one.detail}" for one in outcomes[:_NAMED]]
    more = len(outcomes) - len(shown)
    return "; ".join(shown) + (f"; and {more} more" if more > 0 else "")
