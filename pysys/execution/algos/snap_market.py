"""Snap to the far touch, which a market order would pay."""

from pysys.broker.port import OrderType
from pysys.execution.algo_base import Algo
from pysys.execution.algos.snap_mid import Snap

ALGO: Algo = Snap(OrderType.SNAP_MARKET)
