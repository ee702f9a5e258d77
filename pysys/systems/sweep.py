"""Many variations of one backtest at once: on all cores of this machine, or on a Dask cluster.

A worker opens the prices once and keeps what its stages found, so that variations of one part of a configuration
share everything before it.
"""

from __future__ import annotations

import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import as_completed as as_processes_complete
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from pysys.cores import available_cores
from pysys.domain.errors import ConfigError, PysysError
from pysys.systems.backtest import run_backtest
from pysys.systems.backtest_config import BacktestConfig
from pysys.systems.market_data import MarketData
from pysys.systems.market_files import save_market_data
from pysys.systems.stage_cache import DEFAULT_BYTES, StageCache
from pysys.systems.strategy_runs import one_core_each, opened
from pysys.systems.variations import Variation, varied_config

if TYPE_CHECKING:
    import pandas as pd

Progress = Callable[[int, int], None]  # done, of how many
Row = dict[str, Any]

ERROR = "error"

_PATIENCE = 10  # seconds for a scheduler to answer


def sweep(
    config: BacktestConfig,
    market_data: MarketData,
    variations: Sequence[Variation],
    *,
    workers: int | None = None,
    address: str | None = None,
    rules_folder: Path | None = None,
    cache_bytes: int = DEFAULT_BYTES,
    progress: Progress | None = None,
) -> pd.DataFrame:
    """Backtest every variation of `config`; a row for each, in their order.

    variations: configuration keys, dots between levels, and their values:
    `{"trading_rules.ewmac16_64.other_args.Lfast": 20, "percentage_vol_target": 15.0}`.
    workers: processes on this machine, all cores when not given; 1 runs in this process. address: of the scheduler
    of a Dask cluster, which then does the work; its workers need this package (`pip install pysys[dask]`), and
    `rules_folder` where rules of the reader's own are used. cache_bytes: what all workers on this machine together, or
    each worker of a cluster, may keep between variations.
    Columns: the varied keys; statistics of daily returns in % of capital, `net_sharpe` and so on, gross and costs
    too; `error`, empty where there was none. A variation that fails has its error and no statistics.
    """
    import pandas as pd

    if workers is not None and workers < 1:
        raise ConfigError(f"workers must be at least 1, not {workers}")
    processes = min(workers if workers is not None else available_cores(), max(len(variations), 1))
    task = _Task(config.as_yaml_keys(), rules_folder, cache_bytes if address is not None else cache_bytes // processes)
    if address is not None:
        done = _on_cluster(address, task, market_data, variations)
    elif processes == 1:
        done = _here(task, market_data, variations)
    else:
        done = _on_processes(processes, task, market_data, variations)
    rows: list[Row] = [{} for _ in variations]
    for count, (position, row) in enumerate(done, start=1):
        rows[position] = row
        if progress is not None:
            progress(count, len(variations))
    varied = list(dict.fromkeys(key for variation in variations for key in variation))
    statistics = list(dict.fromkeys(key for row in rows for key in row if key != ERROR))
    table = pd.DataFrame(rows, columns=[*statistics, ERROR])
    for place, key in enumerate(varied):
        table.insert(place, key, [variation.get(key) for variation in variations])
    return table


@dataclass(frozen=True, slots=True)
class _Task:
    """What all variations have in common, but for the prices."""

    keys: Mapping[str, Any]  # of the configuration
    rules_folder: Path | None
    cache_bytes: int


def _run_variation(task: _Task, data: MarketData | Path, variation: Variation, cache: StageCache | None = None) -> Row:
    """Statistics of one variation, or its error.

    data: the prices, or the folder they were saved in. cache: this worker's own for these prices when not given.
    """
    try:
        market_data = opened(data) if isinstance(data, Path) else data
        known = _cache_of(market_data, task.cache_bytes) if cache is None else cache
        config = varied_config(task.keys, variation)
        result = run_backtest(config, market_data, rules_folder=task.rules_folder, cache=known)
        stats = {f"{of}_{name}": value for of, each in result.stats.items() for name, value in each.items()}
    except Exception as error:  # a rule of the reader's own may raise anything; the others go on
        return {ERROR: _said(error)}
    return {**stats, ERROR: ""}


# What workers keep between variations lives as long as the prices it was worked out of, one cache for each thread.
_CACHES: WeakKeyDictionary[MarketData, threading.local] = WeakKeyDictionary()


def _cache_of(market_data: MarketData, most: int) -> StageCache:
    mine = _CACHES.setdefault(market_data, threading.local())
    if not hasattr(mine, "cache"):
        mine.cache = StageCache(most)
    return mine.cache


def _here(task: _Task, market_data: MarketData, variations: Sequence[Variation]) -> Iterator[tuple[int, Row]]:
    cache = StageCache(task.cache_bytes)
    for position, variation in enumerate(variations):
        yield position, _run_variation(task, market_data, variation, cache)


def _on_processes(
    processes: int, task: _Task, market_data: MarketData, variations: Sequence[Variation]
) -> Iterator[tuple[int, Row]]:
    """The prices are mapped into the processes, not sent."""
    with tempfile.TemporaryDirectory() as folder, one_core_each(processes) as pool:
        save_market_data(market_data, Path(folder))
        futures = {
            pool.submit(_run_variation, task, Path(folder), dict(variation)): position
            for position, variation in enumerate(variations)
        }
        for future in as_processes_complete(futures):
            yield futures[future], _row_of(future)


def _on_cluster(
    address: str, task: _Task, market_data: MarketData, variations: Sequence[Variation]
) -> Iterator[tuple[int, Row]]:
    """The prices are sent to every worker once."""
    with _cluster(address) as client:
        from distributed import as_completed

        data = client.scatter(market_data, broadcast=True, hash=False)
        futures = {
            client.submit(_run_variation, task, data, dict(variation), pure=False): position
            for position, variation in enumerate(variations)
        }
        for future in as_completed(futures, loop=client.loop):
            yield futures[future], _row_of(future)


@contextmanager
def _cluster(address: str) -> Iterator[Any]:
    try:
        from distributed import Client
    except ModuleNotFoundError as missing:
        raise ConfigError("a sweep on a cluster needs Dask; install it with `pip install 'pysys[dask]'`") from missing
    try:
        client = Client(address, set_as_default=False, timeout=_PATIENCE)
    except OSError as problem:
        raise ConfigError(f"there is no Dask scheduler at {address}: {problem}") from problem
    with client:
        yield client


def _row_of(future: Any) -> Row:
    """The row of a finished variation; a worker that died has none."""
    error = future.exception()
    return future.result() if error is None else {ERROR: _said(error)}


def _said(error: BaseException) -> str:
    return str(error) if isinstance(error, PysysError) else f"{type(error).__name__}: {error}"
