"""A backtest on disk: Parquet, JSON and YAML, readable without this library."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import yaml

from pysys.systems.arrow_arrays import arrow_of_codes, arrow_of_dates, arrow_of_floats
from pysys.systems.backtest_result import BacktestResult

POSITIONS_FILE = "positions.parquet"
PORTFOLIO_FILE = "portfolio.parquet"
STATS_FILE = "stats.json"
CONFIG_FILE = "config.yaml"


def write_result(result: BacktestResult, out_dir: str | Path) -> list[Path]:
    """Writes positions, portfolio, statistics and the resolved configuration into `out_dir`; returns the files.

    The folder is made when it is not there; files of an earlier run are replaced. Numbers that are not defined are
    null in all of them.
    """
    folder = Path(out_dir)
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / name for name in (POSITIONS_FILE, PORTFOLIO_FILE, STATS_FILE, CONFIG_FILE)]
    positions, portfolio, stats, config = paths
    with ThreadPoolExecutor(1) as pool:
        writing = pool.submit(write_table, positions_table(result), positions)  # needs the interpreter no more
        numbers = {**result.stats, "instruments": result.instrument_stats}
        if result.config.capital_method != "fixed":
            numbers["compounded"] = result.compounded_stats
        writing.result()
    write_table(portfolio_table(result), portfolio)
    stats.write_text(json.dumps(without_nan(numbers), indent=1, allow_nan=False) + "\n", encoding="utf-8")
    dumper = getattr(yaml, "CSafeDumper", yaml.SafeDumper)
    config.write_text(yaml.dump(result.config.as_yaml_keys(), Dumper=dumper, sort_keys=False), encoding="utf-8")
    return paths


def positions_table(result: BacktestResult) -> pa.Table:
    """Long table: instrument, date and `position_columns`, a row for each day of each instrument."""
    return long_table(result, result.position_columns)


def long_table(result: BacktestResult, names: Sequence[str], last_days: int | None = None) -> pa.Table:
    """Long table: instrument, date and the named intermediates; of the last business days when told how many."""
    first = 0 if last_days is None else max(len(result.dates) - last_days, 0)
    inside = np.flatnonzero(result.index[first:].T)
    dates = result.dates[first:]
    column, row = np.divmod(inside, max(len(dates), 1))
    arrays = [arrow_of_codes(column, list(result.instruments)), arrow_of_dates(dates[row])]
    arrays += [arrow_of_floats(result.values(name)[first:].T.ravel()[inside]) for name in names]
    return pa.table(arrays, names=["instrument", "date", *names])


def portfolio_table(result: BacktestResult) -> pa.Table:
    """Date and `portfolio_columns`, base currency."""
    columns = {name: arrow_of_floats(values) for name, values in result.portfolio_columns.items()}
    return pa.table({"date": arrow_of_dates(result.dates), **columns})


def write_table(table: pa.Table, path: Path) -> None:
    """Write Parquet; prices hardly repeat, so a dictionary would cost time and save nothing."""
    pq.write_table(table, path, compression="lz4", use_dictionary=["instrument"], write_statistics=False)


def without_nan(value: Any) -> Any:
    """The same with None for numbers JSON has no word for."""
    if isinstance(value, dict):
        return {key: without_nan(item) for key, item in value.items()}
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
