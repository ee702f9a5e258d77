"""The paper exchange's own database: orders, executions, positions and cash, and every SQL statement on them.

Moments are stored as microseconds since 1970 UTC, contracts as "CODE/YYYYMM00".
"""

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal
from pathlib import Path

from pysys.broker.paper.database import from_micros, open_database, to_micros, transaction
from pysys.broker.paper.matching import Working, units_of
from pysys.broker.port import BrokerOrderState, BrokerUnavailable, FxTrade, OrderTicket, OrderType, WorkingStatus
from pysys.domain.contracts import Contract, parse_contract
from pysys.domain.orders import BrokerIds, Fill, Leg

_ORDER_COLUMNS = (
    "number",
    "order_ref",
    "order_type",
    "sent_limit",
    "limit_price",
    "status",
    "message",
    "submitted_at",
    "expires_at",
    "executions",
)


@dataclass(frozen=True, slots=True)
class Identity:
    """What an exchange remembers of how it was started."""

    account: str
    base_currency: str
    seed: int


@dataclass(frozen=True, slots=True)
class Progress:
    """How far the exchange has worked (minutes since 1970), and a number that grows with every change."""

    worked: int
    revision: int


@dataclass(frozen=True, slots=True)
class BookedLeg:
    """One leg of an order and what became of it. Signed contracts."""

    contract: Contract
    quantity: int
    filled: int
    traded_value: float  # sum of signed quantity x price
    commission: float  # charged so far


@dataclass(frozen=True, slots=True)
class BookedOrder:
    """An order as the exchange has it."""

    number: int
    order_ref: str
    order_type: OrderType
    sent_limit: Decimal | None
    limit_price: Decimal | None
    status: WorkingStatus
    message: str
    submitted_at: datetime
    expires_at: datetime
    executions: int
    legs: tuple[BookedLeg, ...]

    @property
    def working(self) -> Working:
        """What matching needs of it."""
        units = units_of([leg.quantity for leg in self.legs])
        done = self.legs[0].filled // (self.legs[0].quantity // units)
        legs = tuple(Leg(leg.contract, leg.quantity) for leg in self.legs)
        return Working(self.order_ref, legs, done, self.limit_price)

    @property
    def is_filled(self) -> bool:
        return all(leg.filled == leg.quantity for leg in self.legs)

    @property
    def ticket(self) -> OrderTicket:
        """The order as it was sent."""
        legs = tuple(Leg(leg.contract, leg.quantity) for leg in self.legs)
        return OrderTicket(self.order_ref, legs, self.order_type, self.sent_limit)

    @property
    def ticket_now(self) -> OrderTicket:
        """The order with the limit it was last changed to."""
        if self.order_type is not OrderType.LIMIT:
            return self.ticket
        return replace(self.ticket, limit_price=self.limit_price)

    @property
    def state(self) -> BrokerOrderState:
        filled = tuple(leg.filled for leg in self.legs)
        return BrokerOrderState(self.order_ref, str(self.number), self.status, filled, self.message)


@dataclass(frozen=True, slots=True)
class BookedPosition:
    """Everything ever traded in one contract, summed."""

    contract: Contract
    quantity: int  # signed contracts open
    traded_value: float  # sum of signed quantity x price
    commission: float
    multiplier: float
    currency: str


@contextmanager
def _answering() -> Iterator[None]:
    try:
        yield
    except sqlite3.OperationalError as error:
        raise BrokerUnavailable(
            f"the paper exchange's database does not answer ({error}); nothing was changed, try again"
        ) from error


class Book:
    """The database of one exchange. Reads and writes belong inside `reading()` or `writing()`."""

    def __init__(self, database: Path) -> None:
        self._connection = open_database(database, synchronous="FULL")
        self._guard = threading.RLock()

    def close(self) -> None:
        """Give the database connection back."""
        self._connection.close()

    @contextmanager
    def reading(self) -> Iterator[None]:
        """One consistent view for several reads. Raises BrokerUnavailable when the database does not answer."""
        with self._guard, _answering():
            self._connection.execute("BEGIN")
            try:
                yield
            finally:
                self._connection.execute("ROLLBACK")

    @contextmanager
    def writing(self) -> Iterator[None]:
        """One transaction that takes the write lock first; an exception that leaves it undoes all of it.

        Raises BrokerUnavailable, with nothing changed, when the database does not answer.
        """
        with self._guard, _answering(), transaction(self._connection):
            yield

    # the exchange itself

    def identity(self) -> Identity | None:
        """None before `start`."""
        row = self._connection.execute("SELECT account, base_currency, seed FROM exchange").fetchone()
        return None if row is None else Identity(*row)

    def start(self, identity: Identity, minute: int) -> None:
        """Begin a new exchange at `minute`."""
        self._connection.execute(
            "INSERT INTO exchange (only_row, account, base_currency, seed, worked, revision) VALUES (1, ?, ?, ?, ?, 1)",
            (identity.account, identity.base_currency, identity.seed, minute),
        )

    def progress(self) -> Progress:
        worked, revision = self._connection.execute("SELECT worked, revision FROM exchange").fetchone()
        return Progress(worked, revision)

    def worked_until(self, minute: int) -> None:
        """Note that every minute up to `minute` is done, with the changes of this transaction."""
        self._connection.execute("UPDATE exchange SET worked = max(worked, ?), revision = revision + 1", (minute,))

    # money

    def transfer(self, moment: datetime, amount: float, currency: str) -> None:
        """Money paid in (positive) or out (negative)."""
        self._connection.execute(
            "INSERT INTO transfers (moment, currency, amount) VALUES (?, ?, ?)",
            (to_micros(moment), currency, amount),
        )

    def transferred(self) -> dict[str, float]:
        """Sum of all transfers by currency."""
        return dict(
            self._connection.execute("SELECT currency, sum(amount) FROM transfers GROUP BY currency").fetchall()
        )

    def currency_trade(self, order_ref: str) -> FxTrade | None:
        row = self._connection.execute(
            "SELECT pair, amount, rate, moment FROM currency_trades WHERE order_ref = ?", (order_ref,)
        ).fetchone()
        return None if row is None else FxTrade(order_ref, row[0], row[1], row[2], from_micros(row[3]))

    def trade_currency(self, trade: FxTrade) -> None:
        """Book a currency trade: one currency comes in, the other goes out."""
        self._connection.execute(
            "INSERT INTO currency_trades (order_ref, pair, amount, rate, moment) VALUES (?, ?, ?, ?, ?)",
            (trade.order_ref, trade.pair, trade.amount, trade.rate, to_micros(trade.traded_at)),
        )
        self.transfer(trade.traded_at, trade.amount, trade.pair[:3])
        self.transfer(trade.traded_at, -trade.amount * trade.rate, trade.pair[3:])

    # orders

    def add_order(
        self,
        ticket: OrderTicket,
        moment: datetime,
        expires_at: datetime,
        status: WorkingStatus,
        message: str = "",
    ) -> None:
        """Record a new order, last in time priority."""
        limit = None if ticket.limit_price is None else str(ticket.limit_price)
        number = self._connection.execute(
            "INSERT INTO orders (order_ref, order_type, sent_limit, limit_price, status, message, "
            "submitted_at, expires_at, finished_at, priority) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, "
            "(SELECT coalesce(max(priority), 0) + 1 FROM orders))",
            (
                ticket.order_ref,
                ticket.order_type.value,
                limit,
                limit,
                status.value,
                message,
                to_micros(moment),
                to_micros(expires_at),
                None if status is WorkingStatus.WORKING else to_micros(moment),
            ),
        ).lastrowid
        self._connection.executemany(
            "INSERT INTO legs (order_number, leg, contract, quantity) VALUES (?, ?, ?, ?)",
            [(number, n, str(leg.contract), leg.quantity) for n, leg in enumerate(ticket.legs)],
        )

    def order(self, order_ref: str) -> BookedOrder | None:
        found = self._orders("WHERE order_ref = ?", (order_ref,))
        return found[0] if found else None

    def working_orders(self) -> list[BookedOrder]:
        """In time priority."""
        return self._orders("WHERE status = 'working' ORDER BY priority", ())

    def _orders(self, where: str, parameters: tuple[str, ...]) -> list[BookedOrder]:
        rows = self._connection.execute(
            f"SELECT {', '.join(_ORDER_COLUMNS)} FROM orders {where}",  # noqa: S608 - all of it is this module's
            parameters,
        ).fetchall()
        return [
            BookedOrder(
                number=number,
                order_ref=order_ref,
                order_type=OrderType(order_type),
                sent_limit=None if sent is None else Decimal(sent),
                limit_price=None if limit is None else Decimal(limit),
                status=WorkingStatus(status),
                message=message,
                submitted_at=from_micros(submitted_at),
                expires_at=from_micros(expires_at),
                executions=executions,
                legs=self._legs(number),
            )
            for (
                number,
                order_ref,
                order_type,
                sent,
                limit,
                status,
                message,
                submitted_at,
                expires_at,
                executions,
            ) in rows
        ]

    def _legs(self, order_number: int) -> tuple[BookedLeg, ...]:
        rows = self._connection.execute(
            "SELECT contract, quantity, filled, traded_value, commission FROM legs WHERE order_number = ? ORDER BY leg",
            (order_number,),
        ).fetchall()
        return tuple(BookedLeg(parse_contract(contract), *rest) for contract, *rest in rows)

    def finish(self, order_ref: str, status: WorkingStatus, moment: datetime, message: str) -> None:
        """End a working order."""
        self._connection.execute(
            "UPDATE orders SET status = ?, finished_at = ?, message = ? WHERE order_ref = ? AND status = 'working'",
            (status.value, to_micros(moment), message, order_ref),
        )

    def change_limit(self, order_ref: str, limit_price: Decimal | None) -> None:
        """Move a working order to another limit (None: the market), where it is last in time priority."""
        self._connection.execute(
            "UPDATE orders SET limit_price = ?, priority = (SELECT max(priority) + 1 FROM orders) "
            "WHERE order_ref = ? AND status = 'working'",
            (None if limit_price is None else str(limit_price), order_ref),
        )

    # executions

    def fill_leg(self, order: BookedOrder, leg: int, fill: Fill) -> None:
        """Move one leg of an order by a fill, which `record_fill` books."""
        self._connection.execute(
            "UPDATE legs SET filled = filled + ?, traded_value = traded_value + ?, "
            "commission = commission + ? WHERE order_number = ? AND leg = ?",
            (fill.quantity, fill.quantity * fill.price, fill.commission, order.number, leg),
        )
        self._connection.execute("UPDATE orders SET executions = executions + 1 WHERE number = ?", (order.number,))

    def record_fill(self, fill: Fill, multiplier: float) -> None:
        """Append a fill and move its position."""
        contract, value = str(fill.contract), fill.quantity * fill.price
        self._connection.execute(
            "INSERT INTO fills (execution_id, order_ref, contract, quantity, price, filled_at, commission, "
            "currency) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            (
                fill.execution_id,
                fill.order_ref,
                contract,
                fill.quantity,
                fill.price,
                to_micros(fill.filled_at),
                fill.commission,
                fill.commission_currency,
            ),
        )
        self._connection.execute(
            "INSERT INTO positions (contract, quantity, traded_value, commission, multiplier, currency) "
            "VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (contract) DO UPDATE SET "
            "quantity = quantity + excluded.quantity, traded_value = traded_value + excluded.traded_value, "
            "commission = commission + excluded.commission",
            (contract, fill.quantity, value, fill.commission, multiplier, fill.commission_currency),
        )

    def fills(self, broker: str, account: str, since: datetime | None) -> list[Fill]:
        """Fills at or after `since`, in the order they happened. Of an expired contract there is no order."""
        rows = self._connection.execute(
            "SELECT execution_id, fills.order_ref, contract, quantity, price, filled_at, commission, currency, "
            "orders.number FROM fills LEFT JOIN orders ON orders.order_ref = fills.order_ref "
            "WHERE filled_at >= ? ORDER BY fills.number",
            (-(2**63) if since is None else to_micros(since),),
        ).fetchall()
        return [
            Fill(
                broker,
                execution,
                ref,
                parse_contract(contract),
                quantity,
                price,
                from_micros(at),
                cost,
                currency,
                ids=BrokerIds("" if number is None else str(number), account),
            )
            for execution, ref, contract, quantity, price, at, cost, currency, number in rows
        ]

    def positions(self) -> list[BookedPosition]:
        """Every contract ever traded, flat ones too."""
        rows = self._connection.execute(
            "SELECT contract, quantity, traded_value, commission, multiplier, currency FROM positions ORDER BY contract"
        ).fetchall()
        return [BookedPosition(parse_contract(contract), *rest) for contract, *rest in rows]

    def open_positions(self) -> dict[Contract, int]:
        """Signed contracts; flat ones are absent."""
        rows = self._connection.execute(
            "SELECT contract, quantity FROM positions WHERE quantity <> 0 ORDER BY contract"
        ).fetchall()
        return {parse_contract(contract): quantity for contract, quantity in rows}

    # displayed size already taken

    def taken(self, contract: Contract, minute: int) -> tuple[int, int]:
        """Contracts bought and sold in this minute so far, both positive."""
        row = self._connection.execute(
            "SELECT bought, sold FROM taken WHERE contract = ? AND minute = ?", (str(contract), minute)
        ).fetchone()
        return (0, 0) if row is None else (row[0], row[1])

    def take(self, contract: Contract, minute: int, quantity: int) -> None:
        """Count a trade of signed `quantity` against what this minute displays."""
        bought, sold = self.taken(contract, minute)
        self._connection.execute(
            "INSERT INTO taken (contract, minute, bought, sold) VALUES (?, ?, ?, ?) "
            "ON CONFLICT (contract) DO UPDATE SET minute = excluded.minute, bought = excluded.bought, "
            "sold = excluded.sold",
            (str(contract), minute, bought + max(quantity, 0), sold + max(-quantity, 0)),
        )
