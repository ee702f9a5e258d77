"""The broker of the ledger's machine: what tells late, what never tells, and a look at every order before it goes."""

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta

from pysys.broker.port import OrderTicket, WorkingStatus
from pysys.domain.contracts import Contract
from pysys.domain.orders import Fill
from tests.execution.odd_broker import OddBroker

TOLD_AFTER = timedelta(seconds=5)


class MachineBroker(OddBroker):
    """Everything not named here is as in OddBroker."""

    def __init__(self, real, before_it_goes: Callable[[OrderTicket], None]) -> None:
        super().__init__(real)
        self._before_it_goes = before_it_goes
        self.should_not_have_gone: list[AssertionError] = []
        self.crosses = False  # a cancel that is asked for meets the rest of the order: it is told some seconds later
        self._untold: list[tuple[Fill, datetime]] = []
        self._moved: dict[Contract, int] = {}  # by executions that are never told
        self._tickets: dict[str, OrderTicket] = {}
        self._crossed: dict[str, int] = {}

    def submit(self, ticket: OrderTicket) -> None:
        try:
            self._before_it_goes(ticket)
        except AssertionError as error:  # whoever sends would take it for a fault of the instrument
            self.should_not_have_gone.append(error)
        self._tickets[ticket.order_ref] = ticket
        super().submit(ticket)

    def cancel(self, order_ref: str) -> None:
        ticket = self._tickets.get(order_ref)
        before = self.real.order_states([order_ref]).get(order_ref)
        super().cancel(order_ref)
        if not self.crosses or ticket is None or len(ticket.legs) > 1 or before is None:
            return
        if before.status is not WorkingStatus.WORKING or order_ref in self._crossed:
            return
        (leg,), (filled,) = ticket.legs, before.filled
        now, rest = self.clock.now(), leg.quantity - filled
        price = self.real.quote(leg.contract).mid
        fill = Fill(self.name, f"{order_ref}.crossed", order_ref, leg.contract, rest, price, now, 1.0, "USD")
        self._crossed[order_ref] = rest
        self._untold.append((fill, now + TOLD_AFTER))

    @property
    def clock(self):
        return self.real._clock

    def order_states(self, order_refs):
        self._tell()
        states = super().order_states(order_refs)
        for ref in set(states) & {
            fill.order_ref for fill in self._corrections if fill.execution_id.endswith(".crossed")
        }:
            (filled,) = states[ref].filled
            states[ref] = replace(states[ref], filled=(filled + self._crossed[ref],))
        return states

    def fills_since(self, moment):
        self._tell()
        return super().fills_since(moment)

    def positions(self):
        self._tell()
        held = super().positions()
        for contract, moved in self._moved.items():
            held[contract] = held.get(contract, 0) + moved
        return {contract: position for contract, position in held.items() if position}

    def on_their_way(self) -> set[str]:
        """References of orders with executions that have happened and are not told yet."""
        return {fill.order_ref for fill, _ in self._untold}

    def trades_untold(self, contract: Contract, quantity: int) -> None:
        """An execution that is never told: only the position shows it."""
        self._moved[contract] = self._moved.get(contract, 0) + quantity

    def _tell(self) -> None:
        now = self.clock.now()
        for fill, when in self._untold:
            if when <= now:
                self.fills_late(fill)
        self._untold = [(fill, when) for fill, when in self._untold if when > now]
