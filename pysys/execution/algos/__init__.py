"""Execution algos: pure decisions from an order, its market and the time. A new algo is one file here.

Each has `first(order, market, now)`, what to send, and `next(order, market, now)`, what to do with it while it works.
"""

from pysys.domain.errors import ConfigError
from pysys.execution.algos import best, market
from pysys.execution.algos.base import Algo

ALGOS: dict[str, Algo] = {"best": best.Best(), "market": market.Market()}


def algo_named(name: str) -> Algo:
    """Raises ConfigError for a name there is no algo of."""
    if name not in ALGOS:
        raise ConfigError(f"There is no algo {name!r}; there are {', '.join(ALGOS)}.")
    return ALGOS[name]
