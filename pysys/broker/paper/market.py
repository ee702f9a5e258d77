"""What the paper exchange needs of a market: who trades when, at what price, against what size.

Every answer is a function of the market's seed or its stored prices and of the moment asked about, never of
who asked before: that is what makes a paper day repeatable, and what lets it go on after a crash.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Protocol

from pysys.broker.port import Bars, ContractDetails, FxRows, Quote, Session
from pysys.domain.contracts import Contract


class Market(Protocol):
    """Prices and sessions of some futures markets, at any moment asked for. All times are aware UTC."""

    def instruments(self) -> Sequence[str]: ...

    def currencies(self) -> Sequence[str]:
        """Currencies there is a rate for, the base currency of the account included."""
        ...

    def details(self, contract: Contract) -> ContractDetails:
        """Raises UnknownContract."""
        ...

    def chain(self, instrument: str, moment: datetime) -> Sequence[ContractDetails]:
        """Contracts listed at `moment`, nearest expiry first."""
        ...

    def sessions(self, instrument: str, since: datetime, until: datetime) -> Sequence[Session]:
        """Sessions that overlap [since, until), in order."""
        ...

    def quote(self, contract: Contract, moment: datetime) -> Quote | None:
        """Top of book in the minute `moment` falls in; None when closed or without a price."""
        ...

    def mark(self, contract: Contract, moment: datetime) -> float | None:
        """Last price at or before `moment`, open market or not; None before the first."""
        ...

    def daily_bars(self, contract: Contract, since: datetime | None, until: datetime) -> Bars:
        """Bars stamped in (since, until]."""
        ...

    def intraday_bars(self, contract: Contract, since: datetime | None, until: datetime) -> Bars: ...

    def fx_rate(self, currency: str, moment: datetime) -> float:
        """Base currency for one unit of `currency`, the last rate at or before `moment`. Raises DataError."""
        ...

    def fx_rates(self, currency: str, since: datetime | None, until: datetime) -> FxRows:
        """Daily rates stamped in (since, until]."""
        ...

    def commission(self, contract: Contract, quantity: int, price: float) -> float:
        """Commission in the contract's currency, positive."""
        ...
