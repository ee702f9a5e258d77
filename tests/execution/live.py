"""The paper world on a clock that runs, so that several processes can trade in it at once."""

import time
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from pysys.broker.paper.exchange import PaperBroker
from pysys.config import Config
from pysys.desk import Desk
from pysys.store.repository import Author
from pysys.store.unit import Store
from tests.broker import paper_world as world

SPEED = 60.0  # a minute of the market takes a second


@dataclass(frozen=True)
class RunningClock:
    """Noon in the paper world was at `epoch` (seconds, of the machine); since then time runs `SPEED` times as fast."""

    epoch: float

    def now(self) -> datetime:
        return world.NOON + timedelta(seconds=(time.time() - self.epoch) * SPEED)

    def sleep_until(self, moment: datetime) -> None:
        seconds = (moment - self.now()).total_seconds() / SPEED
        if seconds > 0:
            time.sleep(seconds)


def live_desk(url: str, exchange: Path, epoch: float, author: str = "run_stack_handler") -> Desk:
    """A desk of its own process on a shared database and exchange."""
    clock = RunningClock(epoch)
    broker = PaperBroker(exchange, world.market(), clock, base_currency="USD", starting_cash=world.CASH, seed=5)
    config = Config(stack_handler_interval=0.5, default_algo="market")
    return Desk(config, Store(url, Author(author)), broker, clock, exchange.parent)
