"""Saved backtests of production runs: what a run saw and decided, readable without running any code of it.

A folder `<strategy>/<YYYYmmdd_HHMMSS>` holds config.yaml (resolved), stages.parquet (every intermediate of the last two
years), estimates/*.parquet (whatever was estimated, of the whole history), portfolio.parquet, stats.json and state.json
(strategy, time, capital, version). It is written under another name and moved into place, so a folder that is there is
whole.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from pysys.domain.errors import ConfigError, DataError
from pysys.systems.backtest_files import long_table, portfolio_table, without_nan, write_table
from pysys.systems.backtest_result import BacktestResult

if TYPE_CHECKING:
    import pandas as pd

KEPT_DAYS = 2 * 261  # business days of stage outputs in a saved state
STAMP = "%Y%m%d_%H%M%S"
ESTIMATES = "estimates"  # folder of the tables
# Tables of what each flag estimates; daily forecast scalars and weights are among the stages.
_ESTIMATED = {
    "use_forecast_weight_estimates": ("raw_forecast_weights", "sr_costs"),
    "use_forecast_div_mult_estimates": ("forecast_correlations", "forecast_div_multiplier"),
    "use_instrument_weight_estimates": ("raw_instrument_weights", "instrument_weights"),
    "use_instrument_div_mult_estimates": ("instrument_correlations", "instrument_div_multiplier"),
}
CONFIG, STAGES, PORTFOLIO, STATS, STATE = (
    "config.yaml",
    "stages.parquet",
    "portfolio.parquet",
    "stats.json",
    "state.json",
)


_KEYS = ("instrument", "date")  # of a row of the stages
_CARRIED = ("price", "denominator_price")


@dataclass(frozen=True)
class SavedState:
    """One saved backtest. Look at any intermediate of it with `intermediates`."""

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
        return self._table(STAGES, None if columns is None else [*_KEYS, *columns])

    @cached_property
    def names(self) -> tuple[str, ...]:
        """Every daily series that was saved."""
        import pyarrow.parquet as pq

        return tuple(name for name in pq.read_schema(self._file(STAGES)).names if name not in _KEYS)

    @cached_property
    def instruments(self) -> tuple[str, ...]:
        """Those with any day in the saved years, as the configuration orders them."""
        found = {str(code) for code in self.stages([])["instrument"].unique()}
        ordered = [code for code in self.config["instrument_weights"] if code in found]
        return (*ordered, *sorted(found.difference(ordered)))

    def values(self, name: str) -> pd.DataFrame:
        """A daily series of all instruments, date by instrument. Raises ConfigError for an unknown name."""
        if name not in self.names:
            raise ConfigError(f"no daily series is called {name}; choose among {', '.join(self.names)}")
        return self.stages([name]).pivot(index="date", columns="instrument", values=name)[list(self.instruments)]

    def series_of(self, name: str, instrument: str) -> pd.Series:
        """A daily series of one instrument, on the days of its history. Raises ConfigError for what there is not."""
        if name not in self.names:
            raise ConfigError(f"no daily series is called {name}; choose among {', '.join(self.names)}")
        if instrument not in self.instruments:
            raise ConfigError(f"{instrument} is not in this backtest; it has {', '.join(self.instruments)}")
        stages = self.stages([name])
        own = stages[stages["instrument"] == instrument]
        return own.set_index("date")[name]

    def latest(self, columns: Sequence[str] | None = None) -> pd.DataFrame:
        """The last day of each instrument, in the column `date`, and what the run knew on it.

        Prices and forecasts are carried forward, as the run used them; whatever else is missing that day stays so.
        """
        stages = self.stages(columns)
        carried = [name for name in map(str, stages) if name in _CARRIED or name.startswith("fc_")]
        groups = stages.groupby("instrument", observed=True)
        stages[carried] = groups[carried].ffill()
        return stages.groupby("instrument", observed=True).tail(1).set_index("instrument").sort_index()

    @property
    def estimates(self) -> tuple[str, ...]:
        """Names of the tables of estimates; none when every parameter was fixed."""
        return tuple(sorted(path.stem for path in (self.folder / ESTIMATES).glob("*.parquet")))

    def estimate(self, name: str) -> pd.DataFrame:
        """A table of estimates, as `estimation.tables.estimate_table` gives it. Raises ConfigError for another name."""
        import pandas as pd

        if name not in self.estimates:
            known = ", ".join(self.estimates) or "nothing, every parameter was fixed"
            raise ConfigError(f"{self.folder.name} has no estimate called {name}; it has {known}")
        return pd.read_parquet(self.folder / ESTIMATES / f"{name}.parquet")

    def portfolio(self) -> pd.DataFrame:
        """Daily gross, costs and net of the whole history, base currency."""
        return self._table(PORTFOLIO).set_index("date")

    def _table(self, name: str, columns: Sequence[str] | None = None) -> pd.DataFrame:
        import pyarrow.parquet as pq

        return pq.read_table(self._file(name), columns=columns).to_pandas(date_as_object=False)

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
    write_table(long_table(result, result.names, KEPT_DAYS), unfinished / STAGES)
    _write_estimates(result, unfinished / ESTIMATES)
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


def _write_estimates(result: BacktestResult, folder: Path) -> None:
    """Every table of estimates the backtest has; a history too short for one leaves it out."""
    wanted = [name for flag, names in _ESTIMATED.items() if flag in result.config.estimates for name in names]
    if not wanted:
        return
    from pysys.systems.estimation.tables import estimate_table

    folder.mkdir()
    for name in wanted:
        try:
            table = estimate_table(result, name)
        except ConfigError:
            continue  # nothing could be fitted yet
        table.to_parquet(folder / f"{name}.parquet")


def saved_states(root: Path, strategy: str) -> list[SavedState]:
    """Saved backtests of a strategy, oldest first. Folders of any other name are none."""
    found = []
    for folder in sorted((root / strategy).glob("[0-9]*_[0-9]*")):
        time = _time_of(folder.name)
        if time is not None:
            found.append(SavedState(strategy, time, folder))
    return found


def _time_of(name: str) -> datetime | None:
    try:
        time = datetime.strptime(name, STAMP).replace(tzinfo=UTC)
    except ValueError:
        return None
    return time if time.strftime(STAMP) == name else None


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


@dataclass(frozen=True, slots=True)
class SavedBacktests:
    """The saved backtests of one strategy: what `load_backtests` of a strategy opens unless it names another."""

    root: Path
    strategy: str

    def system_method(self, stamp: str = "") -> SavedState:
        """The one of that time stamp, or the newest. Raises DataError when there is none."""
        return saved_state(self.root, self.strategy, stamp)
