"""What a report is: headline, sections, and how they are shown in a notebook and as a page of HTML."""

import base64
import html
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from functools import cached_property
from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from pysys.reports.figures import png

STYLE = """
.report{font:14px/1.45 system-ui,-apple-system,"Segoe UI",sans-serif;color:#1b1f24;max-width:72rem}
.report h1{font-size:1.5rem;margin:.2rem 0}
.report h2{font-size:1.1rem;margin:1.6rem 0 .2rem;border-bottom:1px solid #d6dade;padding-bottom:.15rem}
.report p{margin:.3rem 0}
.report .when,.report .why{color:#59636e}
.report .headline{font-size:1.15rem;font-weight:600}
.report .banner{background:#fff1e0;border-left:4px solid #c2410c;padding:.5rem .8rem;margin:.5rem 0}
.report .wide{overflow-x:auto}
.report table{border-collapse:collapse;margin:.4rem 0;font-variant-numeric:tabular-nums}
.report th,.report td{padding:.18rem .6rem;border-bottom:1px solid #e6e9ec;text-align:left;white-space:nowrap}
.report td.text{white-space:normal;max-width:36rem;overflow-wrap:anywhere}
.report th{background:#f4f6f8;font-weight:600}
.report .number{text-align:right}
.report img{max-width:100%;height:auto}
"""

Content = pd.DataFrame | Figure | str
Format = str | Callable[[Any], str]


@dataclass(frozen=True, slots=True)
class Section:
    """A heading, one sentence of explanation, and a table, a figure or text.

    formats: per column of the table, a format such as ",.2f" or a function of the value. Missing values are blank.
    """

    heading: str
    explanation: str
    content: Content
    formats: Mapping[str, Format] = field(default_factory=dict)


@dataclass(frozen=True)
class Report:
    """A finished report. `headline` is empty when an input is stale, and `banner` then says which."""

    title: str
    produced_at: datetime  # UTC
    period: tuple[datetime, datetime] | None  # UTC; None for a report about now
    headline: tuple[str, ...]
    banner: tuple[str, ...]
    sections: tuple[Section, ...]
    data: Mapping[str, Any] = field(default_factory=dict)  # the numbers behind it, plain values

    def table(self, heading: str) -> pd.DataFrame:
        """The table of a section. Raises KeyError naming the tables there are."""
        tables = {s.heading: s.content for s in self.sections if isinstance(s.content, pd.DataFrame)}
        if heading not in tables:
            raise KeyError(f"{self.title} has no table {heading!r}; it has {', '.join(tables)}")
        return tables[heading]

    def summary(self) -> dict[str, Any]:
        """Plain values for the record of a run: title, time, headline, what was stale, and the numbers."""
        return {
            "title": self.title,
            "produced_at": self.produced_at.isoformat(),
            "period": None if self.period is None else [moment.isoformat() for moment in self.period],
            "headline": list(self.headline),
            "stale": list(self.banner),
            **{name: _plain(value) for name, value in self.data.items()},
        }

    def html(self) -> str:
        """A page that needs nothing else: figures are inside it, text is escaped."""
        parts = "\n".join([self._head(), *(self._section(section) for section in self.sections)])
        return (
            f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{_text(self.title)}</title>'
            f"<style>{STYLE}</style></head>\n<body><div class='report'>\n{parts}\n</div></body></html>\n"
        )

    def show(self) -> None:
        """Display in a notebook, figures as static pictures."""
        from IPython.display import HTML, Image, display  # only a notebook has it loaded

        pending = [f"<style>{STYLE}</style>", self._head()]
        for section in self.sections:
            if isinstance(section.content, Figure):
                display(HTML(_wrapped([*pending, _heading(section)])))
                display(Image(data=self._png[section.heading], alt=section.explanation))
                pending = []
            else:
                pending.append(self._section(section))
        if pending:
            display(HTML(_wrapped(pending)))

    @cached_property
    def _png(self) -> dict[str, bytes]:
        return {s.heading: png(s.content) for s in self.sections if isinstance(s.content, Figure)}

    def _head(self) -> str:
        when = f"Produced {moment_text(self.produced_at)} UTC"
        if self.period is not None:
            when += f", from {moment_text(self.period[0])} to {moment_text(self.period[1])} UTC"
        banner = "".join(f"<p class='banner' role='alert'>{_text(line)}</p>" for line in self.banner)
        headline = "".join(f"<p class='headline'>{_text(line)}</p>" for line in self.headline)
        return f"<h1>{_text(self.title)}</h1><p class='when'>{when}</p>{banner}{headline}"

    def _section(self, section: Section) -> str:
        content = section.content
        if isinstance(content, Figure):
            encoded = base64.b64encode(self._png[section.heading]).decode()
            body = f"<img alt='{_text(section.explanation)}' src='data:image/png;base64,{encoded}'>"
        elif isinstance(content, pd.DataFrame):
            body = table_html(content, section.formats)
        else:
            body = f"<p>{_text(content)}</p>"
        return _heading(section) + body


def _wrapped(parts: Sequence[str]) -> str:
    return "<div class='report'>" + "\n".join(parts) + "</div>"


def _heading(section: Section) -> str:
    return f"<h2>{_text(section.heading)}</h2><p class='why'>{_text(section.explanation)}</p>"


def _text(value: object) -> str:
    return html.escape(str(value))


def moment_text(moment: datetime) -> str:
    """To the minute, UTC."""
    return moment.astimezone(UTC).strftime("%Y-%m-%d %H:%M")


def second_text(moment: datetime) -> str:
    """To the second, UTC."""
    return moment.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S")


def table_html(frame: pd.DataFrame, formats: Mapping[str, Format]) -> str:
    """A table with right-aligned numbers; the index is shown only when it has a name."""
    shown = frame.reset_index() if frame.index.name is not None else frame
    if shown.empty:
        return "<p>None.</p>"
    numeric = {name: _is_numeric(shown[name]) for name in shown.columns}
    head = "".join(f"<th{_align(numeric[name])}>{_text(name)}</th>" for name in shown.columns)
    rows = [_cells(row, shown.columns, numeric, formats) for row in shown.to_numpy(object).tolist()]
    body = "".join(f"<tr>{''.join(cells)}</tr>" for cells in rows)
    return f"<div class='wide'><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>"


def _cells(
    row: Sequence[Any], columns: pd.Index, numeric: Mapping[str, bool], formats: Mapping[str, Format]
) -> Iterator[str]:
    for name, value in zip(columns, row, strict=True):
        align = _align(numeric[name]) or (" class='text'" if isinstance(value, str) and len(value) > 40 else "")
        yield f"<td{align}>{_text(cell_text(value, formats.get(name)))}</td>"


def _align(is_number: bool) -> str:
    return " class='number'" if is_number else ""


def _is_numeric(column: pd.Series) -> bool:
    known = [value for value in column if not _missing(value)]
    if not known:
        return bool(pd.api.types.is_numeric_dtype(column.dtype))
    return sum(_is_number(value) for value in known) * 2 > len(known)


def _is_number(value: object) -> bool:
    return pd.api.types.is_number(value) and not pd.api.types.is_bool(value)


def _missing(value: object) -> bool:
    return value is None or (pd.api.types.is_scalar(value) and bool(pd.isna(value)))  # type: ignore[call-overload]


def cell_text(value: Any, chosen: Format | None) -> str:
    """One value as text: missing is blank, times without seconds, numbers with separators and sensible digits."""
    if _missing(value):
        return ""
    if callable(chosen):
        return chosen(value)
    if pd.api.types.is_bool(value):
        return "yes" if value else "no"
    if isinstance(value, datetime):
        return moment_text(value) if value.tzinfo is not None else value.strftime("%Y-%m-%d %H:%M")
    if isinstance(value, date):
        return value.isoformat()
    if not _is_number(value):
        return str(value)
    if chosen is not None:
        return format(float(value), f"z{chosen}")
    return f"{value:,d}" if pd.api.types.is_integer(value) else f"{value:z,.2f}"


def _plain(value: Any) -> Any:
    """The value in types that JSON has."""
    if isinstance(value, Mapping):
        return {str(key): _plain(each) for key, each in value.items()}
    if isinstance(value, str):
        return str(value)
    if isinstance(value, list | tuple | set | frozenset):
        return [_plain(each) for each in value]
    if _missing(value):
        return None
    if isinstance(value, datetime | date):
        return value.isoformat()
    if pd.api.types.is_bool(value):
        return bool(value)
    if pd.api.types.is_integer(value):
        return int(value)
    if pd.api.types.is_float(value):
        return float(value)
    return str(value)
