"""Putting a report together: inputs always shown, no headline on a stale one."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from pysys.reports.inputs import Inputs
from pysys.reports.report import Report, Section


def compose(
    title: str,
    produced_at: datetime,
    inputs: Inputs,
    *,
    headline: Sequence[str],
    sections: Sequence[Section],
    data: Mapping[str, Any],
    period: tuple[datetime, datetime] | None = None,
) -> Report:
    """A report that ends with the age of its inputs; a stale one takes the headline away and says so instead."""
    banner = inputs.banner
    return Report(
        title=title,
        produced_at=produced_at,
        period=period,
        headline=() if banner else tuple(headline),
        banner=banner,
        sections=(*sections, inputs.section()),
        data=data,
    )
