"""Execution algos: pure decisions from an order, its market and the time.

A new algo is one file here, named as configuration names it, with an `ALGO`: its `first(wanted, market)` is what to
send, its `next(order, market, now)` what to do with that while it works. See `pysys.execution.algo_base.Algo`.
"""

from importlib import import_module

from pysys.config import algo_files
from pysys.domain.errors import ConfigError
from pysys.execution.algo_base import Algo

ALGOS: dict[str, Algo] = {name: import_module(f"{__name__}.{name}").ALGO for name in algo_files()}


def algo_named(name: str) -> Algo:
    """Raises ConfigError for a name there is no algo of."""
    if name not in ALGOS:
        raise ConfigError(f"There is no algo {name!r}; there are {', '.join(ALGOS)}.")
    return ALGOS[name]
