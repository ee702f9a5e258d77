"""The desk: what any process works with, handed in once by whoever starts it."""

from dataclasses import dataclass, field
from pathlib import Path

from pysys.broker.port import Broker
from pysys.clock import Clock
from pysys.config import Config, backtests_folder, config_hash, outputs_folder
from pysys.store.unit import Store


@dataclass(frozen=True, slots=True)
class Desk:
    """Configuration, store, broker and clock of one system, and the folder it lives in.

    The store is signed by the process that works here, so every row it writes says who wrote it.
    """

    config: Config
    store: Store
    broker: Broker
    clock: Clock
    home: Path = field(default_factory=Path.cwd)  # holds parameters, notebooks and outputs

    @property
    def outputs(self) -> Path:
        return outputs_folder(self.home, self.config)

    @property
    def backtests(self) -> Path:
        """Folder of the saved backtests."""
        return backtests_folder(self.home, self.config)

    @property
    def config_hash(self) -> str:
        return config_hash(self.config)
