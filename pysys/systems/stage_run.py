"""Running the stages of one backtest: each a function from inputs to an output, timed, and remembered if asked to.

An output is known by a key: the stage's name and the keys of everything it was given. What a stage is not given
cannot decide its output, so nothing else has to be compared.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from types import FunctionType, MethodType
from typing import TYPE_CHECKING, Any, Generic, TypeVar, cast

from pysys.systems.backtest_config import BacktestConfig
from pysys.systems.market_data import FxPrices, InstrumentSeries

if TYPE_CHECKING:
    from pysys.systems.stage_cache import StageCache

T = TypeVar("T")
Part = TypeVar("Part")
Prices = InstrumentSeries | FxPrices


@dataclass(frozen=True, slots=True, eq=False)
class Staged(Generic[T]):
    """A value and the key it is known by; the key is empty where nothing is remembered."""

    value: T
    key: bytes

    def part(self, value: Part) -> Staged[Part]:
        """A part of this value, known by the whole."""
        return Staged(value, self.key)


@dataclass(frozen=True, slots=True)
class StageTiming:
    """One stage of one run."""

    stage: str
    seconds: float
    reused: bool  # came out of a cache


class StageRun:
    """The stages of one run, in order."""

    def __init__(self, cache: StageCache | None = None) -> None:
        self._cache = cache
        self.timings: list[StageTiming] = []

    def given(self, value: T, content: Any, prices: Iterable[Prices | None] = ()) -> Staged[T]:
        """A value that comes from outside, known by some content and by price histories."""
        if self._cache is None:
            return Staged(value, b"")
        histories = [None if one is None else self._cache.key_of_prices(one) for one in prices]
        return Staged(value, self._cache.key_of(content, histories))

    def stage(self, name: str, function: Callable[..., T], *inputs: Any, label: str | None = None) -> Staged[T]:
        """`function(*inputs)`, from the cache where the same inputs were seen before.

        inputs: staged values, mappings of them, or anything `content.digest` takes; the function gets the values.
        label: what the stage is called in the timings, `name` when not given.
        """
        started = time.perf_counter()
        key, reused = b"", False
        if self._cache is None:
            value = function(*(_value(one) for one in inputs))
        else:
            key = self._cache.key_of(name, *(_key(one) for one in inputs))
            value, reused = self._cache.find(key, lambda: function(*(_value(one) for one in inputs)))
        self.timings.append(StageTiming(label or name, time.perf_counter() - started, reused))
        return Staged(value, key)


class ConfigPart:
    """Some fields of a configuration, to be given to a stage: it cannot read any other, nor depend on one unnoticed.

    Properties and methods of the configuration work as far as they get along with those fields.
    """

    def __init__(self, config: BacktestConfig, names: Iterable[str]) -> None:
        self.fields = {name: getattr(config, name) for name in names}

    def __getattr__(self, name: str) -> Any:
        if name in self.fields:
            return self.fields[name]
        known = BacktestConfig.__dict__.get(name)
        if isinstance(known, FunctionType):
            return MethodType(known, self)
        if isinstance(known, property):
            return cast("Any", known.fget)(self)
        raise AttributeError(f"{name} is not among the fields this stage was given: {', '.join(self.fields)}")


def part_of(config: BacktestConfig, names: Iterable[str]) -> BacktestConfig:
    """The named fields, as a stage takes them."""
    return cast("BacktestConfig", ConfigPart(config, names))


def _value(given: Any) -> Any:
    if isinstance(given, Staged):
        return given.value
    if isinstance(given, dict):
        return {name: _value(one) for name, one in given.items()}
    return given


def _key(given: Any) -> Any:
    if isinstance(given, Staged):
        return given.key
    if isinstance(given, ConfigPart):
        return given.fields
    if isinstance(given, dict):
        return {name: _key(one) for name, one in given.items()}
    return given
