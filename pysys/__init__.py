"""pysys: from research in a notebook to a futures portfolio traded every day."""

__version__ = "0.1.0"
