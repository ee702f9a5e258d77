"""What the desk needs of any broker, in the desk's terms. No vendor type crosses this line.

An answer is known or empty; when the broker cannot be asked, the call raises `BrokerUnavailable`: unknown never
reads as flat.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from decimal import Decimal
from enum import StrEnum
from typing import Protocol

import numpy as np
import numpy.typing as npt

from pysys.domain.contracts import Contract
from pysys.domain.errors import DataError, TryAgain
from pysys.domain.orders import BrokerIds, Fill, Leg


class BrokerUnavailable(TryAgain):
    """The broker did not answer a question. What it would have said is unknown."""


class UnknownContract(DataError):
    """The broker does not list this contract."""


class OrderType(StrEnum):
    """How an order meets the market. What follows the book is moved by the broker itself."""

    MARKET = "market"
    LIMIT = "limit"
    SNAP_MID = "snap_mid"  # a limit at the mid price, following it
    SNAP_MARKET = "snap_market"  # at the far touch, following it
    SNAP_PRIMARY = "snap_primary"  # at the near touch, following it
    ADAPTIVE = "adaptive"  # patient at first, then at the market


class WorkingStatus(StrEnum):
    """What the broker says of an order it has received."""

    PENDING = "pending"  # received, not yet live at the exchange: it cannot be changed, and may never work
    WORKING = "working"
    FILLED = "filled"
    CANCELLED = "cancelled"
    REJECTED = "rejected"


@dataclass(frozen=True, slots=True)
class OrderTicket:
    """An order as it is sent. `legs` are signed contracts; more than one leg is a calendar spread."""

    order_ref: str  # ours, stored before it is sent
    legs: tuple[Leg, ...]
    order_type: OrderType
    limit_price: Decimal | None = None  # of a spread: sum of ratio x price, legs in lowest terms, first leg positive

    def __post_init__(self) -> None:
        if not self.legs or any(leg.quantity == 0 for leg in self.legs):
            raise ValueError(f"order {self.order_ref}: every leg needs a quantity other than 0")
        if (self.order_type is OrderType.LIMIT) != (self.limit_price is not None):
            raise ValueError(f"order {self.order_ref}: a limit order has a limit price, any other has none")


@dataclass(frozen=True, slots=True)
class BrokerOrderState:
    """The broker's word on one of our orders."""

    order_ref: str
    permanent_id: str
    status: WorkingStatus
    filled: tuple[int, ...]  # signed contracts per leg
    message: str = ""
    account: str = ""
    client_id: int | None = None  # of the connection it was sent on
    temporary_id: str = ""  # of that connection's life

    @property
    def ids(self) -> BrokerIds:
        return BrokerIds(self.permanent_id, self.account, self.client_id, self.temporary_id)


@dataclass(frozen=True, slots=True)
class OpenOrder:
    """An order that works in the account, whoever placed it."""

    order_ref: str  # ours where we placed it; of any other, what `cancel` knows it by. Never blank.
    permanent_id: str
    legs: tuple[Leg, ...]  # signed contracts, as ordered


@dataclass(frozen=True, slots=True)
class FxTrade:
    """A spot currency trade as it was done. Identity is the order_ref."""

    order_ref: str
    pair: str  # EURUSD: euros bought or sold, for dollars
    amount: float  # of the first currency; positive bought it
    rate: float  # units of the second currency for one of the first
    traded_at: datetime  # UTC


@dataclass(frozen=True, slots=True)
class Quote:
    """Top of the book of one contract."""

    bid: float
    ask: float
    bid_size: int  # contracts displayed
    ask_size: int
    moment: datetime  # UTC

    @property
    def mid(self) -> float:
        return (self.bid + self.ask) / 2


@dataclass(frozen=True, slots=True)
class Session:
    """One stretch in which a market trades, UTC."""

    opens: datetime
    closes: datetime

    def __contains__(self, moment: datetime) -> bool:
        return self.opens <= moment < self.closes


@dataclass(frozen=True, slots=True)
class ContractDetails:
    """A listed contract as the broker describes it."""

    contract: Contract
    expiry: date
    currency: str
    multiplier: float  # currency per 1.0 of price
    tick_size: float | None


@dataclass(frozen=True, slots=True)
class Bars:
    """Price bars of one contract, oldest first. `final` is the close; times are those the bar is stamped with."""

    times: npt.NDArray[np.int64]  # microseconds since 1970, UTC
    open: npt.NDArray[np.float64]
    high: npt.NDArray[np.float64]
    low: npt.NDArray[np.float64]
    final: npt.NDArray[np.float64]
    volume: npt.NDArray[np.float64]  # contracts; NaN where not known

    def __len__(self) -> int:
        return len(self.times)


@dataclass(frozen=True, slots=True)
class FxRows:
    """Spot rates, oldest first: base currency units for one unit of the quoted currency."""

    times: npt.NDArray[np.int64]  # microseconds since 1970, UTC
    rates: npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class CurrencyBalance:
    """Cash and the unrealised profit of open positions in one currency."""

    currency: str
    balance: float  # in that currency
    fx_rate: float  # account base currency for one unit


@dataclass(frozen=True, slots=True)
class AccountValue:
    """The account as the broker values it at one moment."""

    account: str
    environment: str  # "paper" or "live"
    base_currency: str
    moment: datetime  # UTC
    balances: tuple[CurrencyBalance, ...]
    marks: dict[Contract, float] = field(default_factory=dict)  # price each open position is valued at

    @property
    def total(self) -> float:
        """Net liquidation value in base currency."""
        return sum(b.balance * b.fx_rate for b in self.balances)


class Broker(Protocol):
    """What execution and the data pipelines ask of any broker."""

    name: str

    @property
    def account(self) -> str:
        """The account this connection trades. Raises BrokerUnavailable while there is none."""
        ...

    @property
    def environment(self) -> str:
        """ "paper" or "live", as the account itself says. Raises BrokerUnavailable while there is no connection."""
        ...

    def account_value(self) -> AccountValue: ...

    def positions(self) -> dict[Contract, int]:
        """Open positions, signed contracts; flat contracts are absent."""
        ...

    def contract_details(self, contract: Contract) -> ContractDetails:
        """Raises UnknownContract when the broker does not list it."""
        ...

    def listed_contracts(self, instrument: str) -> Sequence[ContractDetails]:
        """Contracts listed now, nearest expiry first."""
        ...

    def sessions(self, instrument: str, since: datetime, until: datetime) -> Sequence[Session]:
        """Sessions that overlap [since, until), in order."""
        ...

    def quote(self, contract: Contract) -> Quote | None:
        """Top of book now; None when nothing is quoted (closed, or an empty book)."""
        ...

    def daily_bars(self, contract: Contract, since: datetime | None) -> Bars:
        """Bars stamped after `since` (all there are when None) and complete by now."""
        ...

    def intraday_bars(self, contract: Contract, since: datetime | None) -> Bars: ...

    def fx_rates(self, currency: str, since: datetime | None) -> FxRows:
        """Daily spot of `currency` in the account's base currency, stamped after `since`."""
        ...

    def submit(self, ticket: OrderTicket) -> None:
        """Send an order already stored as `intended`. The same order_ref twice is one order.

        Raises OrderRejected (closed market, unknown contract), OutcomeUnknown when no answer came.
        """
        ...

    def modify_limit(self, order_ref: str, limit_price: Decimal) -> None: ...

    def cancel(self, order_ref: str) -> None:
        """Ask for a cancel; fills may still arrive. Unknown or finished orders are left alone."""
        ...

    def order_states(self, order_refs: Sequence[str]) -> dict[str, BrokerOrderState]:
        """The broker's word on these orders; an order it never received is absent."""
        ...

    def open_orders(self) -> Sequence[OpenOrder]:
        """Every order that works in the account now, ours or not."""
        ...

    def trade_fx(self, order_ref: str, pair: str, amount: float) -> FxTrade:
        """Buy (sell when negative) `amount` of the first currency of `pair` against the second, at the market.

        The same order_ref twice is one trade. Raises OrderRejected for an unknown pair or one the market quotes the
        other way round, OutcomeUnknown when no answer came.
        """
        ...

    def fills_since(self, moment: datetime | None) -> Sequence[Fill]:
        """Executions at or after `moment`, oldest first, every leg its own row, with the ids of its order."""
        ...
