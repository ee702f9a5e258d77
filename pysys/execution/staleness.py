"""Whether what a trade was decided on is too old to open a position: backtest, price, capital, exchange rates.

Older than one session of the market is too old. Nobody knows where the broker does not say when its sessions were, and
then nothing is opened either.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta

from pysys.broker.port import BrokerUnavailable
from pysys.config import Config
from pysys.desk import Desk
from pysys.domain.errors import DataError
from pysys.domain.prices import to_moment
from pysys.execution.spread_book import markets_of_instrument
from pysys.store.prices import SeriesKey, SeriesKind
from pysys.store.unit import UnitOfWork

LOOK_BACK = timedelta(days=10)
NOT_KNOWN = "how old its inputs are is not known, as the broker did not say when it traded"

Closes = Mapping[str, Sequence[datetime] | None]  # by instrument: when its last sessions closed; None is not known


def closed_sessions(desk: Desk, instruments: Iterable[str], now: datetime) -> dict[str, Sequence[datetime] | None]:
    """Closes of the sessions of the last ten days, of a spread those of its first market; None where nobody says.

    Called before the transaction that decides, because it asks the broker.
    """
    found: dict[str, Sequence[datetime] | None] = {}
    for instrument in instruments:
        market = markets_of_instrument(desk.config, instrument)[0]
        try:
            sessions = desk.broker.sessions(market, now - LOOK_BACK, now)
        except (BrokerUnavailable, DataError):
            found[instrument] = None
        else:
            found[instrument] = [session.closes for session in sessions if session.closes <= now]
    return found


def stale_because(inputs: Mapping[str, datetime], closes: Sequence[datetime] | None) -> str:
    """Which input is older than one session, as more than one has closed since; blank when none is.

    inputs: when each was made, by its name.
    """
    if closes is None:
        return NOT_KNOWN
    for what, made in inputs.items():
        if sum(close > made for close in closes) > 1:
            return f"{what} of {made:%Y-%m-%d %H:%M} is older than one session"
    return ""


class InputTimes:
    """When the inputs of trades were made, as one transaction finds them."""

    def __init__(self, unit: UnitOfWork, config: Config) -> None:
        self._unit, self._config = unit, config
        self._capital = unit.targets.latest_strategy_capital()
        self._rates = unit.prices.last_times(SeriesKind.FX)

    def of(
        self, strategy: str, instrument: str, *, backtest: datetime | None, price: datetime | None
    ) -> dict[str, datetime]:
        """By name. What is on no record, as of a target that was made elsewhere, is absent.

        backtest: when the optimal position was computed. price: of the reference price.
        """
        capital = self._capital[strategy][0] if strategy in self._capital else None
        known = {"backtest": backtest, "price": price, "capital": capital}
        for market in markets_of_instrument(self._config, instrument):
            currency = self._unit.markets.instrument(market).currency
            if currency != self._config.base_currency:
                last = self._rates.get(SeriesKey(SeriesKind.FX, currency))
                known[f"{currency} rate"] = None if last is None else to_moment(last)
        return {what: made for what, made in known.items() if made is not None}
