"""Execution algos: pure decisions from an order, its market and the time. A new algo is one file here and one line.

Each has `first(wanted, market)`, what to send, and `next(order, market, now)`, what to do with it while it works.
"""

from pysys.broker.port import OrderType
from pysys.domain.errors import ConfigError
from pysys.execution.algos.adaptive import Adaptive
from pysys.execution.algos.base import Algo
from pysys.execution.algos.best import Best
from pysys.execution.algos.limit import Limit
from pysys.execution.algos.market import Market, Panic
from pysys.execution.algos.snap import Snap

ALGOS: dict[str, Algo] = {
    "best": Best(),
    "market": Market(),
    "limit": Limit(),
    "snap_mid": Snap(OrderType.SNAP_MID),
    "snap_market": Snap(OrderType.SNAP_MARKET),
    "snap_primary": Snap(OrderType.SNAP_PRIMARY),
    "adaptive": Adaptive(),
    "panic": Panic(),
}


def algo_named(name: str) -> Algo:
    """Raises ConfigError for a name there is no algo of."""
    if name not in ALGOS:
        raise ConfigError(f"There is no algo {name!r}; there are {', '.join(ALGOS)}.")
    return ALGOS[name]
