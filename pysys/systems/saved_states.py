"""Saved backtests of production runs: what a run saw and decided, readable without running any code of it.

A folder `<strategy>/<YYYYmmdd_HHMMSS>` holds config.yaml (resolved), stages.parquet (every intermediate of the last two
years), portfolio.parquet, stats.json and state.json (strategy, time, capital, version). It is written under another
name and moved into place, so a folder that is there is whole.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from pysys.domain.errors import DataError
from pysys.systems.backtest_files import long_table, portfolio_table, without_nan, write_table
from pysys.systems.backtest_result import BacktestResult

if TYPE_CHECKING:
    import pandas as pd

KEPT_DAYS = 2 * 261  # business days of stage outputs in a saved state
STAMP = "%Y%m%d_%H%M%S"
CONFIG, STAGES, PORTFOLIO, STATS, STATE = (
    "config.yaml",
    "stages.parquet",
    "portfolio.parquet",
    "stats.json",
    "state.json",
)


@dataclass(frozen=True, slots=True)
class SavedState:
    """One saved backtest."""

    strategy: str
    time: datetime  # UTC
    folder: Path

    @property
    def config(self) -> dict[str, Any]:
        """The resolved configuration it ran with."""
        content = yaml.safe_load(self._file(CONFIG).read_text(encoding="utf-8"))
        return dict(content)

    @property
    def details(self) -> dict[str, Any]:
        """Strategy, time, capital in base currency, version of the code."""
        return dict(json.loads(self._file(STATE).read_text(encoding="utf-8")))

    @property
    def stats(self) -> dict[str, Any]:
        return dict(json.loads(self._file(STATS).read_text(encoding="utf-8")))

    def stages(self, columns: Sequence[str] | None = None) -> pd.DataFrame:
        """Long frame: instrument, date and intermediates by name; all of them, or the named ones."""
        import pandas as pd

        wanted = None if columns is None else ["instrument", "date", *columns]
        return pd.read_parquet(self._file(STAGES), columns=wanted)

    def latest(self, columns: Sequence[str] | None = None) -> pd.DataFrame:
        """The last row of each instrument: what the run decided on."""
        stages = self.stages(columns)
        return stages.groupby("instrument", observed=True).last()

    def portfolio(self) -> pd.DataFrame:
        """Daily gross, costs and net of the whole history, base currency."""
        import pandas as pd

        return pd.read_parquet(self._file(PORTFOLIO)).set_index("date")

    def _file(self, name: str) -> Path:
        path = self.folder / name
        if not path.is_file():
            raise DataError(f"The saved backtest {self.folder} has no {name}; run the backtest again.")
        return path


def save_state(
    result: BacktestResult, root: Path, strategy: str, time: datetime, *, capital: float, version: str
) -> SavedState:
    """Write a saved state below `root`, replacing one of the same strategy and time."""
    stamp = time.astimezone(UTC).strftime(STAMP)
    folder = root / strategy / stamp
    unfinished = root / strategy / f".{stamp}"
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir(parents=True)
    names = [*result.position_columns, *(f"fw_{rule}" for rule in result.forecasts.raw)]
    write_table(long_table(result, names, KEPT_DAYS), unfinished / STAGES)
    write_table(portfolio_table(result), unfinished / PORTFOLIO)
    _write_json(unfinished / STATS, result.stats)
    details = {"strategy": strategy, "time": time.isoformat(), "capital": capital, "version": version}
    _write_json(unfinished / STATE, details)
    text = yaml.safe_dump(result.config.as_yaml_keys(), sort_keys=False)
    (unfinished / CONFIG).write_text(text, encoding="utf-8")
    shutil.rmtree(folder, ignore_errors=True)
    unfinished.rename(folder)
    return SavedState(strategy, time, folder)


def _write_json(path: Path, content: Any) -> None:
    path.write_text(json.dumps(without_nan(content), indent=1, allow_nan=False) + "\n", encoding="utf-8")


def saved_states(root: Path, strategy: str) -> list[SavedState]:
    """Saved backtests of a strategy, oldest first."""
    found = []
    for folder in sorted((root / strategy).glob("[0-9]*_[0-9]*")):
        time = datetime.strptime(folder.name, STAMP).replace(tzinfo=UTC)
        found.append(SavedState(strategy, time, folder))
    return found


def saved_state(root: Path, strategy: str, stamp: str = "") -> SavedState:
    """The saved backtest of that time stamp (YYYYmmdd_HHMMSS), or the newest.

    Raises DataError when there is none, naming those there are.
    """
    found = saved_states(root, strategy)
    chosen = [one for one in found if not stamp or one.folder.name == stamp]
    if not chosen:
        names = ", ".join(one.folder.name for one in found[-5:])
        raise DataError(
            f"{strategy} has no saved backtest{f' {stamp}' if stamp else ''}. "
            + (f"The latest are {names}." if names else "Run `pysys run run_systems`.")
        )
    return chosen[-1]
