"""Snap to the near touch, where a passive order waits."""

from pysys.broker.port import OrderType
from pysys.execution.algo_base import Algo
from pysys.execution.algos.snap_mid import Snap

ALGO: Algo = Snap(OrderType.SNAP_PRIMARY)
