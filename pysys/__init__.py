"""pysys: from research in a notebook to a futures portfolio traded every day."""

import logging

__version__ = "0.1.0"

logging.getLogger(__name__).addHandler(logging.NullHandler())
