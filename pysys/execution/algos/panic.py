"""Out at any price: everything at once, whatever is displayed, limits or not."""

from pysys.execution.algo_base import Algo
from pysys.execution.algos.market import Market


class Panic(Market):
    """A market order for the whole, without regard to the book, limits or overrides."""

    whole_order = True
    unrestricted = True
    cut_to_liquidity = False


ALGO: Algo = Panic()
