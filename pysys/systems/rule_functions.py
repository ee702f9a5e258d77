"""From a dotted path in a configuration to a trading rule that can be called."""

from __future__ import annotations

import inspect
import os
import traceback
from collections.abc import Callable, Mapping, Sequence
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from pysys.domain.errors import ConfigError
from pysys.systems.backtest_config import RuleSpec
from pysys.systems.columns import by_columns
from pysys.systems.content import digest
from pysys.systems.daily import DailyGrid
from pysys.systems.dotted_paths import module_at, sources_of
from pysys.systems.established_rules import ESTABLISHED_RULES, FLAT_IS_A_FORECAST
from pysys.systems.market_data import FloatArray
from pysys.systems.raw_data import RULE_DATA, Panel, RawData
from pysys.systems.rules import Rule
from pysys.systems.yaml_keys import number, within

if TYPE_CHECKING:
    import pandas as pd

_SOURCES = "sources"  # of the reader's own rules


def raw_forecast(spec: RuleSpec, rule: Rule, raw: RawData) -> Panel:
    """Unscaled forecast of one rule for every instrument, on the union of the days of its data.

    A forecast of exactly 0 is missing, unless the rule is one that means it.
    """
    panels = [_data(spec, name, raw) for name in spec.data]
    index = np.logical_or.reduce([panel.index for panel in panels])

    def forecast_of(columns: slice) -> tuple[FloatArray]:
        forecast = rule(*(panel.of(columns) for panel in panels), **_arguments(spec))
        known = index[:, columns] if rule in FLAT_IS_A_FORECAST else index[:, columns] & (forecast != 0.0)
        return (np.where(known, forecast, np.nan),)

    ours = spec.function in ESTABLISHED_RULES  # a reader's function need not bear being called twice at a time
    count = index.shape[1]
    (values,) = by_columns(count, forecast_of) if ours else forecast_of(slice(0, count))
    return Panel(values, index)


def find_rule(spec: RuleSpec, grid: DailyGrid, folder: Path | None = None) -> Rule:
    """The function behind `spec.function`, ready for panels. Raises ConfigError when there is none that fits.

    An established path gives our own rule. Any other is the reader's: `package.module.function`, importable, or a
    file `package/module.py` under `folder` or the working directory. It is called for one instrument at a time with
    a pandas Series for each of its data, indexed by date, and returns a Series of forecasts.
    """
    ours = ESTABLISHED_RULES.get(spec.function)
    function, sources = (ours, ()) if ours is not None else _function_at(spec, folder)
    try:
        inspect.signature(function).bind(*spec.data, **_arguments(spec))
    except TypeError as problem:
        raise ConfigError(
            f"trading rule {spec.name}: {spec.function} does not take {len(spec.data)} data and "
            f"{_arguments(spec)}: {problem}"
        ) from None
    if ours is None:
        rule = one_instrument_at_a_time(function, grid, spec.name)
        vars(rule)[_SOURCES] = sources
        return rule
    _refuse_impossible_arguments(spec)
    return ours


def one_instrument_at_a_time(function: Callable[..., Any], grid: DailyGrid, name: str) -> Rule:
    """A rule on panels out of a function on one instrument's pandas Series.

    The rule raises ConfigError, with its `name`, where the function returns anything but a Series of numbers on dates
    of its data, or an infinite forecast.
    """

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
            try:
                forecast = function(*inputs, **parameters)
            except Exception as error:
                raise ConfigError(f"trading rule {name} failed: {_said(error)}") from error
            forecast = _checked(forecast, inputs, name)
            out[:, column] = forecast.reindex(dates).to_numpy(dtype=np.float64, na_value=np.nan)
        return out

    return rule


def _said(error: Exception) -> str:
    """The error, and where in the reader's own function it came up."""
    _, *own = traceback.extract_tb(error.__traceback__)
    where = f" ({own[0].filename}, line {own[0].lineno})" if own else ""
    return f"{type(error).__name__}: {error}{where}"


def _checked(forecast: Any, inputs: Sequence[pd.Series], rule: str) -> pd.Series:
    """What a function returned, if it is a forecast for these inputs."""
    import pandas as pd

    fix = "return a Series with the index of its data, such as `price * 0.5`"
    if not isinstance(forecast, pd.Series):
        raise ConfigError(f"trading rule {rule} returned a {type(forecast).__name__}, not a Series by date; {fix}")
    known = inputs[0].index
    for one in inputs[1:]:
        known = known.union(one.index)
    if forecast.index.has_duplicates or not forecast.index.isin(known).all():
        other = [day for day in forecast.index if day not in known][:1] or ["the same date twice"]
        raise ConfigError(f"trading rule {rule} returned dates its data do not have ({other[0]}); {fix}")
    try:
        values = forecast.to_numpy(dtype=np.float64, na_value=np.nan)
    except (TypeError, ValueError) as problem:
        raise ConfigError(f"trading rule {rule} returned something else than numbers: {problem}; {fix}") from None
    if np.isinf(values).any():
        day = forecast.index[np.isinf(values)][0]
        raise ConfigError(
            f"trading rule {rule} has an infinite forecast on {day}; leave it missing where it divides by 0"
        )
    return forecast


def _refuse_impossible_arguments(spec: RuleSpec) -> None:
    """Raises ConfigError for an argument of one of our own rules that no rule can work with.

    All of them are numbers of days, at least 1; an average may have `smooth_days` of 0, and a fast one is shorter than
    the slow one.
    """
    for name, value in spec.other_args.items():
        if value is None or (name.startswith("_") and name != "_lookback_days"):
            continue
        where = f"trading rule {spec.name}: {name}"
        if isinstance(value, str):
            raise ConfigError(f"{where} must be a number, not {value!r}; write it without quotes")
        within(number(value, where), where, least=0.0 if name == "smooth_days" else 1.0)
    fast, slow = spec.other_args.get("Lfast"), spec.other_args.get("Lslow")
    if fast is not None and slow is not None and fast >= slow:
        raise ConfigError(
            f"trading rule {spec.name}: Lfast {fast} must be shorter than Lslow {slow}; as it is, the rule trades "
            "against the trend or never"
        )


def rule_content(spec: RuleSpec, rule: Rule) -> bytes:
    """What else than its path and arguments decides what a rule does: the file a reader's own rule is in.

    With it the files it imports from the same folder, no others. A rule without a file is new every time.
    """
    if spec.function in ESTABLISHED_RULES:
        return b""
    try:
        files = vars(rule).get(_SOURCES) or (inspect.getfile(inspect.unwrap(rule)),)
        return digest([Path(file).read_bytes() for file in files])
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


def _function_at(spec: RuleSpec, folder: Path | None) -> tuple[Callable[..., Any], tuple[Path, ...]]:
    """A function of the reader's own, and the files it is in."""
    path, _, name = spec.function.rpartition(".")
    if not path:
        raise ConfigError(f"trading rule {spec.name}: {spec.function!r} is not a dotted path to a function")
    folders = [one for one in (folder, Path.cwd()) if one is not None]
    module = module_at(path, folders, f"trading rule {spec.name}")
    if module is None:
        raise ConfigError(
            f"trading rule {spec.name}: found no module {path} and no file {path.replace('.', '/')}.py beside the "
            f"configuration. Established rules: {', '.join(ESTABLISHED_RULES)}"
        )
    function = getattr(module, name, None)
    if not callable(function):
        raise ConfigError(f"trading rule {spec.name}: {path} has no function called {name}")
    return function, sources_of(module)
