"""The unit of work: everything that changes together changes in one transaction, or not at all."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from typing import TYPE_CHECKING

from sqlalchemy import Connection, Engine

from pysys.store.claims import Claims
from pysys.store.commands import Commands
from pysys.store.database import connect, transaction
from pysys.store.log import Log
from pysys.store.markets import Markets
from pysys.store.orders import Orders
from pysys.store.positions import Positions
from pysys.store.prices import Prices
from pysys.store.references import References
from pysys.store.repository import Author
from pysys.store.restrictions import Restrictions
from pysys.store.runs import Runs
from pysys.store.sent_orders import SentOrders
from pysys.store.stacks import Stacks
from pysys.store.targets import Targets
from pysys.store.trade_limits import TradeLimits

if TYPE_CHECKING:
    from pysys.store.reporting import Reporting


class UnitOfWork:
    """One transaction and the repositories that share it. Undone unless committed."""

    def __init__(self, connection: Connection, author: Author) -> None:
        self.connection = connection
        self.author = author

    def commit(self) -> None:
        self.connection.commit()

    @cached_property
    def markets(self) -> Markets:
        return Markets(self.connection, self.author)

    @cached_property
    def prices(self) -> Prices:
        return Prices(self.connection, self.author)

    @cached_property
    def targets(self) -> Targets:
        return Targets(self.connection, self.author)

    @cached_property
    def orders(self) -> Orders:
        return Orders(self.connection, self.author)

    @cached_property
    def sent_orders(self) -> SentOrders:
        return SentOrders(self.connection, self.author)

    @cached_property
    def references(self) -> References:
        return References(self.connection, self.author)

    @cached_property
    def claims(self) -> Claims:
        return Claims(self.connection, self.author)

    @cached_property
    def positions(self) -> Positions:
        return Positions(self.connection, self.author)

    @cached_property
    def reporting(self) -> "Reporting":
        from pysys.store.reporting import Reporting  # brings pandas, which most processes do without

        return Reporting(self.connection, self.author)

    @cached_property
    def restrictions(self) -> Restrictions:
        return Restrictions(self.connection, self.author)

    @cached_property
    def commands(self) -> Commands:
        return Commands(self.connection, self.author)

    @cached_property
    def trade_limits(self) -> TradeLimits:
        return TradeLimits(self.connection, self.author)

    @cached_property
    def stacks(self) -> Stacks:
        return Stacks(self.connection, self.author)

    @cached_property
    def runs(self) -> Runs:
        return Runs(self.connection, self.author)

    @cached_property
    def log(self) -> Log:
        return Log(self.connection, self.author)


class Store:
    """The database of one system.

    >>> with store.write() as unit:          # doctest: +SKIP
    ...     unit.orders.place_instrument_order(order)
    ...     unit.commit()                    # without it nothing is kept
    """

    def __init__(self, url: str, author: Author | None = None, *, engine: Engine | None = None) -> None:
        self.url = url
        self.engine = engine if engine is not None else connect(url)
        self.author = author if author is not None else Author("pysys")

    def signed(self, author: Author) -> "Store":
        """The same database, written to by somebody else."""
        return Store(self.url, author, engine=self.engine)

    @contextmanager
    def read(self) -> Iterator[UnitOfWork]:
        """One consistent view of the database."""
        with transaction(self.engine, writer=False) as connection:
            yield UnitOfWork(connection, self.author)

    @contextmanager
    def write(self) -> Iterator[UnitOfWork]:
        """The only writer for as long as it is open. Keep it short; no mail or broker call inside."""
        with transaction(self.engine, writer=True) as connection:
            yield UnitOfWork(connection, self.author)

    def close(self) -> None:
        self.engine.dispose()
