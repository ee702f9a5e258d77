"""An intermediate of a backtest on a chart and on a page of HTML; `systems.intermediates` finds it."""

import html
from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure

from pysys.reports.backtest_charts import by_source
from pysys.reports.report import STYLE, table_html


def intermediate_chart(table: pd.DataFrame) -> Figure:
    """Lines by date, one for each instrument of an `intermediate`."""
    return by_source(table, str(table.columns.name), table.attrs["unit"])


def write_page(table: pd.DataFrame, path: str | Path) -> Path:
    """A page with every value of an `intermediate`, the newest first; returns where it is. Replaces the file."""
    path = Path(path)
    newest_first = table.iloc[::-1].reset_index()
    newest_first["date"] = newest_first["date"].dt.date
    title = html.escape(f"{table.columns.name}, {table.attrs['unit']}")
    page = (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{title}</title><style>{STYLE}</style>'
        f"</head>\n<body><div class='report'><h1>{title}</h1>"
        f"{table_html(newest_first, dict.fromkeys(table.columns, ',.6g'))}</div></body></html>\n"
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(page, encoding="utf-8")
    return path
