"""The last call before the broker: whoever has lost the right to trade, or trades after the kill switch, stops here."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal

from pysys.broker.port import (
    AccountValue,
    Bars,
    Broker,
    BrokerOrderState,
    ContractDetails,
    FxRows,
    FxTrade,
    OpenOrder,
    OrderTicket,
    Quote,
    Session,
)
from pysys.clock import Clock
from pysys.desk import Desk
from pysys.domain.contracts import Contract
from pysys.domain.errors import NeedsOperator, TryAgain
from pysys.domain.orders import Fill
from pysys.execution.lease import TradingLease

SEND_WITHIN = timedelta(minutes=2)  # of being written down
LOOK_HOLDS = timedelta(seconds=5)  # of real time: after a longer gap everything is looked at again before sending


class TradingStopped(NeedsOperator):
    """The kill switch is engaged: this was not sent."""


class TooLateToSend(TryAgain):
    """An order was not handed over: it was written too long ago, or somebody has decided about it since."""


class Wire:
    """The broker as the holder of a trading lease reaches it.

    What moves money asks the store first, each time: the lease must still be held here (else LeaseLost) and, but for a
    cancel, the kill switch must be off (else TradingStopped). An order must still be meant as well (else
    TooLateToSend): a process that was frozen may wake up long after its order was replaced. Questions pass through.
    """

    def __init__(self, broker: Broker, lease: TradingLease, clock: Clock) -> None:
        self._broker = broker
        self._lease = lease
        self._clock = clock
        self.name = broker.name

    def submit(self, ticket: OrderTicket) -> None:
        looked_at = None
        while looked_at is None or self._lease.clock.now() - looked_at > LOOK_HOLDS:
            looked_at = self._lease.clock.now()
            self._may_trade(ticket.order_ref)
            self._still_meant(ticket.order_ref)
        self._broker.submit(ticket)

    def modify_limit(self, order_ref: str, limit_price: Decimal) -> None:
        self._may_trade(order_ref)
        self._broker.modify_limit(order_ref, limit_price)

    def trade_fx(self, order_ref: str, pair: str, amount: float) -> FxTrade:
        self._may_trade(order_ref)
        return self._broker.trade_fx(order_ref, pair, amount)

    def cancel(self, order_ref: str) -> None:
        with self._lease.store.read() as unit:
            self._lease.require(unit)
        self._broker.cancel(order_ref)

    def _may_trade(self, order_ref: str) -> None:
        with self._lease.store.read() as unit:
            self._lease.require(unit)
            switch = unit.restrictions.kill_switch()
        if switch is not None and switch.engaged:
            raise TradingStopped(
                f"{order_ref} was not sent: the kill switch was engaged by {switch.who} ({switch.why})."
            )

    def _still_meant(self, order_ref: str) -> None:
        with self._lease.store.read() as unit:
            written = unit.sent_orders.intended_since(order_ref)
        if written is None:
            raise TooLateToSend(f"{order_ref} was not sent: it was decided about meanwhile.")
        age = self._clock.now() - written
        if age > SEND_WITHIN:
            raise TooLateToSend(f"{order_ref} was not sent: it was written {age} ago, more than {SEND_WITHIN}.")

    # questions

    @property
    def account(self) -> str:
        return self._broker.account

    @property
    def environment(self) -> str:
        return self._broker.environment

    def account_value(self) -> AccountValue:
        return self._broker.account_value()

    def positions(self) -> dict[Contract, int]:
        return self._broker.positions()

    def contract_details(self, contract: Contract) -> ContractDetails:
        return self._broker.contract_details(contract)

    def listed_contracts(self, instrument: str) -> Sequence[ContractDetails]:
        return self._broker.listed_contracts(instrument)

    def sessions(self, instrument: str, since: datetime, until: datetime) -> Sequence[Session]:
        return self._broker.sessions(instrument, since, until)

    def quote(self, contract: Contract) -> Quote | None:
        return self._broker.quote(contract)

    def daily_bars(self, contract: Contract, since: datetime | None) -> Bars:
        return self._broker.daily_bars(contract, since)

    def intraday_bars(self, contract: Contract, since: datetime | None) -> Bars:
        return self._broker.intraday_bars(contract, since)

    def fx_rates(self, currency: str, since: datetime | None) -> FxRows:
        return self._broker.fx_rates(currency, since)

    def order_states(self, order_refs: Sequence[str]) -> dict[str, BrokerOrderState]:
        return self._broker.order_states(order_refs)

    def open_orders(self) -> Sequence[OpenOrder]:
        return self._broker.open_orders()

    def fills_since(self, moment: datetime | None) -> Sequence[Fill]:
        return self._broker.fills_since(moment)


def wired(desk: Desk, lease: TradingLease) -> Desk:
    """The desk of the lease's holder: its broker asks the store before anything is sent."""
    return replace(desk, broker=Wire(desk.broker, lease, desk.clock))
