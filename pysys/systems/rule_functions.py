"""From a dotted path in a configuration to a trading rule that can be called."""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import os
from collections.abc import Callable, Mapping, Sequence
from functools import wraps
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from pysys.domain.errors import ConfigError
from pysys.systems.backtest_config import RuleSpec
from pysys.systems.daily import DailyGrid
from pysys.systems.established_rules import ESTABLISHED_RULES, FLAT_IS_A_FORECAST
from pysys.systems.market_data import FloatArray
from pysys.systems.raw_data import RULE_DATA, Panel, RawData
from pysys.systems.rules import Rule


def raw_forecast(spec: RuleSpec, rule: Rule, raw: RawData) -> Panel:
    """Unscaled forecast of one rule for every instrument, on the union of the days of its data.

    A forecast of exactly 0 is missing, unless the rule is one that means it.
    """
    panels = [_data(spec, name, raw) for name in spec.data]
    index = np.logical_or.reduce([panel.index for panel in panels])
    values = np.where(index, rule(*panels, **_arguments(spec)), np.nan)
    if rule not in FLAT_IS_A_FORECAST:
        values[values == 0.0] = np.nan
    return Panel(values, index)


def find_rule(spec: RuleSpec, grid: DailyGrid, folder: Path | None = None) -> Rule:
    """The function behind `spec.function`, ready for panels. Raises ConfigError when there is none that fits.

    An established path gives our own rule. Any other is the reader's: `package.module.function`, importable, or a
    file `package/module.py` under `folder` or the working directory. It is called for one instrument at a time with
    a pandas Series for each of its data, indexed by date, and returns a Series of forecasts.
    """
    ours = ESTABLISHED_RULES.get(spec.function)
    function = ours if ours is not None else _function_at(spec, folder)
    try:
        inspect.signature(function).bind(*spec.data, **_arguments(spec))
    except TypeError as problem:
        raise ConfigError(
            f"trading rule {spec.name}: {spec.function} does not take {len(spec.data)} data and "
            f"{_arguments(spec)}: {problem}"
        ) from None
    return ours if ours is not None else one_instrument_at_a_time(function, grid)


def one_instrument_at_a_time(function: Callable[..., Any], grid: DailyGrid) -> Rule:
    """A rule on panels out of a function on one instrument's pandas Series."""

    @wraps(function)
    def rule(*panels: Panel, **parameters: Any) -> FloatArray:
        import pandas as pd

        dates = pd.DatetimeIndex(grid.dates)
        shape = panels[0].values.shape
        out = np.full(shape, np.nan)
        for column in range(shape[1]):
            inputs = [
                pd.Series(panel.values[panel.index[:, column], column], index=dates[panel.index[:, column]])
                for panel in panels
            ]
            forecast = pd.Series(function(*inputs, **parameters)).reindex(dates)
            out[:, column] = forecast.to_numpy(dtype=np.float64, na_value=np.nan)
        return out

    return rule


def rule_content(spec: RuleSpec, rule: Rule) -> bytes:
    """What else than its path and arguments decides what a rule does: the file a reader's own rule is in.

    Other files which that one imports are not looked at. A rule without a file is new every time.
    """
    if spec.function in ESTABLISHED_RULES:
        return b""
    try:
        return Path(inspect.getfile(inspect.unwrap(rule))).read_bytes()
    except (TypeError, OSError):
        return os.urandom(16)


def find_rules(specs: Mapping[str, RuleSpec], grid: DailyGrid, folder: Path | None = None) -> dict[str, Rule]:
    """The functions of all rules, by rule name."""
    return {name: find_rule(spec, grid, folder) for name, spec in specs.items()}


def _data(spec: RuleSpec, name: str, raw: RawData) -> Panel:
    """The daily series called `name`; one that is a choice of many takes the rule's arguments that start with `_`."""
    panel = getattr(raw, RULE_DATA[name])
    if isinstance(panel, Panel):
        return panel
    arguments = {key[1:]: value for key, value in spec.other_args.items() if key.startswith("_")}
    try:
        inspect.signature(panel).bind(**arguments)
    except TypeError as problem:
        raise ConfigError(f"trading rule {spec.name}: {name} does not take {arguments}: {problem}") from None
    return panel(**arguments)


def _arguments(spec: RuleSpec) -> dict[str, Any]:
    """The arguments of the rule itself."""
    return {key: value for key, value in spec.other_args.items() if not key.startswith("_")}


def _function_at(spec: RuleSpec, folder: Path | None) -> Callable[..., Any]:
    path, _, name = spec.function.rpartition(".")
    if not path:
        raise ConfigError(f"trading rule {spec.name}: {spec.function!r} is not a dotted path to a function")
    module = _module_at(path, [one for one in (folder, Path.cwd()) if one is not None])
    if module is None:
        raise ConfigError(
            f"trading rule {spec.name}: found no module {path} and no file {path.replace('.', '/')}.py beside the "
            f"configuration. Established rules: {', '.join(ESTABLISHED_RULES)}"
        )
    function = getattr(module, name, None)
    if not callable(function):
        raise ConfigError(f"trading rule {spec.name}: {path} has no function called {name}")
    return function


def _module_at(path: str, folders: Sequence[Path]) -> ModuleType | None:
    for folder in folders:
        file = folder.joinpath(*path.split(".")).with_suffix(".py")
        if file.is_file():
            spec = importlib.util.spec_from_file_location(path, file)
            if spec is not None and spec.loader is not None:
                module = importlib.util.module_from_spec(spec)
                spec.loader.exec_module(module)
                return module
    try:
        return importlib.import_module(path)
    except ModuleNotFoundError as problem:
        if problem.name is not None and (path == problem.name or path.startswith(problem.name + ".")):
            return None
        raise
