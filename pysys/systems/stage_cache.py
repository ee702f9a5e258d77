"""What stages of earlier backtests found, by the content of what they were given.

Handed to `run_backtest`, so that a changed rule computes that rule and what follows, changed instrument weights the
portfolio, and changed capital the sizing and the account.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import fields, is_dataclass
from typing import Any, TypeVar
from weakref import WeakKeyDictionary

import numpy as np

from pysys.systems.content import digest
from pysys.systems.market_data import FxPrices, InstrumentSeries

T = TypeVar("T")
Prices = InstrumentSeries | FxPrices

DEFAULT_BYTES = 2**30


class StageCache:
    """Outputs of stages in memory, in no more than `max_bytes` of arrays; the least recently used go first.

    What is kept is made read-only, because later runs share it. Prices are read through once and known by their
    content from then on; they must not be written to. For one thread.
    """

    def __init__(self, max_bytes: int = DEFAULT_BYTES) -> None:
        if max_bytes < 0:
            raise ValueError(f"max_bytes must not be negative, not {max_bytes}")
        self.max_bytes = max_bytes
        self._kept: OrderedDict[bytes, Any] = OrderedDict()
        self._holders: Counter[int] = Counter()  # kept outputs that hold an array, by the array's id
        self._bytes = 0
        self._prices: WeakKeyDictionary[Prices, bytes] = WeakKeyDictionary()

    def __len__(self) -> int:
        return len(self._kept)

    @property
    def bytes_kept(self) -> int:
        """Of all arrays kept, each counted once."""
        return self._bytes

    def key_of(self, *contents: Any) -> bytes:
        """The key of some content."""
        return digest(*contents)

    def key_of_prices(self, prices: Prices) -> bytes:
        """The key of a price history, read through the first time it is asked for."""
        known = self._prices.get(prices)
        if known is None:
            known = self._prices[prices] = digest(prices)
        return known

    def find(self, key: bytes, compute: Callable[[], T]) -> tuple[T, bool]:
        """The output known by `key`, and whether it was there already; what was computed is kept."""
        if key in self._kept:
            self._kept.move_to_end(key)
            return self._kept[key], True
        value = compute()
        self._keep(key, value)
        return value, False

    def clear(self) -> None:
        """Forget every output."""
        self._kept.clear()
        self._holders.clear()
        self._bytes = 0

    def _keep(self, key: bytes, value: Any) -> None:
        self._kept[key] = value
        for array in _arrays(value):
            array.setflags(write=False)
            whole = _whole(array)
            self._holders[id(whole)] += 1
            if self._holders[id(whole)] == 1:
                self._bytes += whole.nbytes
        while self._bytes > self.max_bytes and self._kept:
            self._forget(self._kept.popitem(last=False)[1])

    def _forget(self, value: Any) -> None:
        for array in _arrays(value):
            whole = _whole(array)
            self._holders[id(whole)] -= 1
            if not self._holders[id(whole)]:
                del self._holders[id(whole)]
                self._bytes -= whole.nbytes


def _whole(array: np.ndarray) -> np.ndarray:
    """The array whose memory a view keeps alive."""
    return array.base if isinstance(array.base, np.ndarray) else array


def _arrays(value: Any) -> Iterator[np.ndarray]:
    """Every array in an output."""
    if isinstance(value, np.ndarray):
        yield value
    elif isinstance(value, Mapping):
        for one in value.values():
            yield from _arrays(one)
    elif isinstance(value, list | tuple):
        for one in value:
            yield from _arrays(one)
    elif is_dataclass(value) and not isinstance(value, type):
        for field in fields(value):
            yield from _arrays(getattr(value, field.name))
