"""`outputs/index.html`: every run of a system by day, and its rehearsals."""

import json
from collections.abc import Sequence
from html import escape
from itertools import groupby
from pathlib import Path
from urllib.parse import quote

from pysys.config import Settings
from pysys.control.files import write_whole
from pysys.store.database import NoDatabase, require_current
from pysys.store.runs import Run
from pysys.store.unit import Store

_SHOWN = 2000  # runs, newest first
_STYLE = """
body{font:15px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,sans-serif;color:#1c2530;max-width:1100px;
margin:0 auto;padding:24px 28px 60px}h1{font-size:26px;margin:8px 0 16px}h2{font-size:17px;margin:28px 0 6px}
table{border-collapse:collapse;width:100%;font-size:14px;font-variant-numeric:tabular-nums}a{color:#0b5cad}
th,td{text-align:left;padding:5px 10px;border-bottom:1px solid #e6eaef;vertical-align:top}
th{border-bottom:2px solid #b9c3cf;color:#5b6877;font-weight:500}td.number{text-align:right}
td:not(:last-child){white-space:nowrap}td:last-child{width:45%}
.status{border-radius:9px;padding:1px 9px;font-size:12.5px;background:#eef1f5}.done{background:#e2f4e8;color:#1b7a3d}
.failed,.incomplete,.dead{background:#fdecec;color:#b02a1c}.running{background:#e6f0fb;color:#0b5cad}
.error{color:#b02a1c}.quiet{color:#5b6877}pre{font:12.5px/1.5 ui-monospace,Menlo,Consolas,monospace;
white-space:pre-wrap;margin:2px 0 10px}
"""


def write_index(outputs: Path, store: Store) -> Path:
    """Rewrite the index of an outputs folder from its run table and what lies in the folder."""
    with store.read() as unit:
        runs = unit.runs.find(limit=_SHOWN)
    page = outputs / "index.html"
    write_whole(page, render_index(runs, outputs))
    return page


def render_index(runs: Sequence[Run], outputs: Path) -> str:
    """The page as text. Links only to files that are there."""
    days = [_day(str(day), list(group), outputs) for day, group in groupby(runs, key=lambda run: run.business_date)]
    body = "".join(days) if days else '<p class="quiet">No run of this system itself yet.</p>'
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<title>Runs</title><style>{_STYLE.strip()}</style></head><body><h1>Runs</h1>"
        f"{_rehearsals(outputs)}{body}</body></html>\n"
    )


def _day(day: str, runs: Sequence[Run], outputs: Path) -> str:
    rows = "".join(_row(run, outputs) for run in runs)
    return (
        f"<h2>{escape(day)}</h2><table><thead><tr><th>Time (UTC)</th><th>Run</th><th>Status</th>"
        f"<th>Seconds</th><th>Output</th><th>Error</th></tr></thead><tbody>{rows}</tbody></table>\n"
    )


def _row(run: Run, outputs: Path) -> str:
    process = "" if run.process == run.method else f' <span class="quiet">{escape(run.process)}</span>'
    seconds = "" if run.seconds is None else f"{run.seconds:.1f}"
    status = escape(run.status.value)
    return (
        f"<tr><td>{run.started_at:%H:%M:%S}</td><td>{escape(run.method)}{process}</td>"
        f'<td><span class="status {status}">{status}</span></td><td class="number">{seconds}</td>'
        f'<td>{_links(run, outputs)}</td><td class="error">{escape(run.error if run.error else "")}</td></tr>\n'
    )


def _links(run: Run, outputs: Path) -> str:
    if not run.folder:
        return ""
    folder = outputs / run.folder
    found = sorted(path for path in folder.glob(f"*_{run.id}*") if path.suffix in (".html", ".ipynb"))
    labels = {".html": "page", ".ipynb": "notebook"}
    return " · ".join(_link(path.relative_to(outputs), labels[path.suffix]) for path in found)


def _link(path: Path, label: str) -> str:
    return f'<a href="{escape(quote(path.as_posix()))}">{escape(label)}</a>'


def _rehearsals(outputs: Path) -> str:
    pages = sorted(page for page in outputs.glob("*/index.html"))
    if not pages:
        return ""
    items = "".join(
        f"<li>{_link(page.relative_to(outputs), page.parent.name)}{_summary(page.parent)}</li>" for page in pages
    )
    return f"<h2>Rehearsals</h2><ul>{items}</ul>\n"


def _summary(folder: Path) -> str:
    """What the `lines` of a rehearsal's summary.json say, for a person."""
    path = folder / "summary.json"
    if not path.is_file():
        return ""
    try:
        lines = json.loads(path.read_text(encoding="utf-8"))["lines"]
    except (ValueError, KeyError, TypeError):
        return ' <span class="error">summary.json cannot be read</span>'
    return f'<pre class="quiet">{escape(chr(10).join(str(line) for line in lines))}</pre>'


def refresh_index(settings: Settings) -> None:
    """Rewrite the index of the system's own outputs, also when it has no database yet and only rehearsals to show."""
    store = Store(settings.database_url)
    try:
        require_current(store.engine)
        write_index(settings.outputs, store)
    except NoDatabase:
        write_whole(settings.outputs / "index.html", render_index([], settings.outputs))
    finally:
        store.close()
