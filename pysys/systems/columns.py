"""Working out many instruments a few at a time: each part stays in a processor's cache, and every core takes some."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray

from pysys.cores import available_cores

_COLUMNS = 32
_ALL_AT_ONCE = 64

Results = Sequence[NDArray]


def by_columns(count: int, work: Callable[[slice], Results]) -> Results:
    """(date x instrument) arrays of `count` instruments; `work` gives those of the instruments in a slice.

    It is called in several threads at once where there are many, so it must change nothing that it shares.
    """
    if count <= _ALL_AT_ONCE:
        return work(slice(0, count))
    parts = [slice(start, min(start + _COLUMNS, count)) for start in range(0, count, _COLUMNS)]
    whole: list[NDArray] = []
    with ThreadPoolExecutor(available_cores()) as threads:
        for columns, results in zip(parts, threads.map(work, parts), strict=True):
            whole = whole or [np.empty((len(one), count), one.dtype) for one in results]
            for each, result in zip(whole, results, strict=True):
                each[:, columns] = result
    return whole
