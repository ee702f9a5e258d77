"""How fast backtests are: cold, out of a cache, and with many instruments; and how much memory they take.

Prices are made up: years of closes, then years of hourly rows, as a collector leaves them.
"""

import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np

from pysys.systems.backtest import run_backtest
from pysys.systems.backtest_config import BacktestConfig
from pysys.systems.backtest_yaml import parse_backtest_config
from pysys.systems.market_data import AdjustedPrices, InstrumentMeta, InstrumentSeries, MarketData, MultiplePrices
from pysys.systems.market_files import save_market_data
from pysys.systems.stage_cache import StageCache
from pysys.systems.sweep import sweep
from tests.benchmarks.workspace import Stopwatch

SIZES = (6, 26, 200)
CLOSES, HOURLY_DAYS, HOURS = 7_000, 2_500, 9
CLASSES = ("Ags", "Bond", "Equity", "FX", "Metals", "OilGas")
SPANS = (4, 8, 16, 32, 64)
CARRY_DAYS = (10, 30, 60, 125)
LOOKBACKS = (20, 40, 80, 160)
VARIATIONS = 24
RUNS = 3  # of which the fastest counts: other work on the machine only ever slows one down

_MEASURE = """
import json, re, sys, time
from pathlib import Path
from pysys.systems.backtest import run_backtest
from pysys.systems.backtest_yaml import read_backtest_config
from pysys.systems.market_files import open_market_data
config, data = read_backtest_config(Path(sys.argv[1]) / "config.json"), open_market_data(Path(sys.argv[1]))
started = time.perf_counter(), time.process_time()
run_backtest(config, data).stats
real, used = time.perf_counter() - started[0], time.process_time() - started[1]
status = Path("/proc/self/status")  # getrusage would count the parent's memory
found = re.search(r"VmHWM:\\s+(\\d+) kB", status.read_text()) if status.exists() else None
print(json.dumps([real, used, int(found[1]) / 1024 if found else float("nan")]))
"""


def run() -> Iterator[str]:
    """Seconds by size, the ratio of cached to uncached runs, and of many processes to one."""
    yield from _by_size()
    config, data = _config(26), _market(26)
    yield from _cached(config, data)
    yield from _swept(config, data)


def _by_size() -> Iterator[str]:
    for size in SIZES:
        with tempfile.TemporaryDirectory() as folder:
            save_market_data(_market(size), Path(folder))
            (Path(folder) / "config.json").write_text(json.dumps(_config(size).as_yaml_keys()))
            command = [sys.executable, "-c", _MEASURE, folder]
            runs = [subprocess.run(command, check=True, capture_output=True, text=True) for _ in range(RUNS)]
            real, used, peak = min(json.loads(run.stdout) for run in runs)
        yield (
            f"{size:3} instruments, {len(_config(size).rules)} rules: {real:.2f} s ({used:.2f} s of processor, "
            f"{1000 * used / size:.0f} ms an instrument), peak memory {peak:,.0f} MB"
        )


def _cached(config: BacktestConfig, data: MarketData) -> Iterator[str]:
    rule = config.rules["ewmac16"]
    other = replace(rule, other_args={"Lfast": 20, "Lslow": 80})
    shares = dict(zip(config.instruments, np.linspace(1.0, 2.0, 26) / 39.0, strict=True))
    changes = {
        "one rule's parameter": replace(config, rules={**config.rules, "ewmac16": other}),
        "capital": replace(config, notional_trading_capital=2e6),
        "instrument weights": replace(config, instrument_weights=shares),
    }
    cache = StageCache()
    run_backtest(config, data, cache=cache)
    for what, changed in changes.items():
        watch = Stopwatch()
        run_backtest(changed, data)
        whole, watch = watch.seconds, Stopwatch()
        result = run_backtest(changed, data, cache=cache)
        part = watch.seconds
        count = sum(not one.reused for one in result.timings)
        yield (
            f"{what} changed: {part:.2f} s out of a cache, {whole:.2f} s without, ratio {part / whole:.2f}; "
            f"{count} of {len(result.timings)} stages computed"
        )


def _swept(config: BacktestConfig, data: MarketData) -> Iterator[str]:
    key = "trading_rules.ewmac16.other_args.Lslow"
    variations = [{key: 64 + 4 * number} for number in range(VARIATIONS)]
    seconds = []
    for workers in (1, None):
        watch = Stopwatch()
        sweep(config, data, variations, workers=workers)
        seconds.append(watch.seconds)
    yield f"{VARIATIONS} variations of a rule: {seconds[0]:.1f} s on one core, {seconds[1]:.1f} s on all"


def _config(size: int) -> BacktestConfig:
    ewmac = ["rawdata.get_daily_prices", "rawdata.daily_returns_volatility"]
    rules = {
        **{f"ewmac{fast}": ("ewmac.ewmac", ewmac, {"Lfast": fast, "Lslow": 4 * fast}) for fast in SPANS},
        **{f"carry{days}": ("carry.carry", ["rawdata.raw_carry"], {"smooth_days": days}) for days in CARRY_DAYS},
        **{
            f"breakout{days}": ("breakout.breakout", ["rawdata.get_daily_prices"], {"lookback": days})
            for days in LOOKBACKS
        },
    }
    return parse_backtest_config(
        {
            "trading_rules": {
                name: {"function": f"systems.provided.rules.{path}", "data": data, "other_args": arguments}
                for name, (path, data, arguments) in rules.items()
            },
            "forecast_scalars": dict.fromkeys(rules, 5.0),
            "forecast_weights": dict.fromkeys(rules, 1.0 / len(rules)),
            "instrument_weights": {_code(number): 1.0 / size for number in range(size)},
            "notional_trading_capital": 10_000_000,
        }
    )


def _code(number: int) -> str:
    return f"MARKET{number:03}"


def _market(size: int) -> MarketData:
    return MarketData({_code(number): _series(number) for number in range(size)}, {})


def _series(number: int) -> InstrumentSeries:
    days = np.busday_offset("1985-01-02", np.arange(CLOSES + HOURLY_DAYS), roll="forward").astype("datetime64[us]")
    hour = np.timedelta64(1, "h")
    closes = days[:CLOSES] + 23 * hour
    hourly = (days[CLOSES:, None] + (10 + np.arange(HOURS)) * hour).ravel()
    times = np.concatenate([closes, hourly])
    adjusted = 100.0 + np.cumsum(np.random.default_rng(number).normal(0.0, 0.2, len(times)))
    quarter = times.astype("datetime64[M]").astype(np.int64) // 3
    held, later = _contract(quarter + 1), _contract(quarter + 2)
    raw = 1000.0 + adjusted
    multiple = MultiplePrices(times, raw, raw + 0.5, held, later)
    facts = InstrumentMeta(50.0, "USD", CLASSES[number % len(CLASSES)], 0.05, 2.0, 0.0, 0.0, "HMUZ")
    return InstrumentSeries(_code(number), multiple, AdjustedPrices(times, adjusted), facts)


def _contract(quarter: np.ndarray) -> np.ndarray:
    return (1970 + quarter // 4) * 10_000 + (quarter % 4 * 3 + 3) * 100
