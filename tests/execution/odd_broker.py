"""The paper broker with the faults real ones have. It keeps state: what it hides now it can tell later."""

from collections import Counter
from dataclasses import replace
from datetime import datetime
from decimal import Decimal
from random import Random

from pysys.broker.port import BrokerOrderState, BrokerUnavailable, OrderTicket, WorkingStatus
from pysys.domain.contracts import Contract
from pysys.domain.errors import OrderRejected, OutcomeUnknown
from pysys.domain.orders import Fill


class OddBroker:
    """Everything not named here is the real broker's. Faults are switched on and off by a test."""

    def __init__(self, real) -> None:
        self.real = real
        self.calls: Counter[str] = Counter()
        self.says_cancelled: bool = False  # of whatever works: an informational message, misread
        self.status_events_lost = False  # every order seems to work for ever, unfilled
        self.no_answer_to_submit: str = ""  # "lost" on the way there, or "arrived"
        self.refuses = ""  # every new order, with this reason
        self.refuses_spreads = False
        self.line_cut = False  # executions, states and positions cannot be asked for
        self.flaky = False  # ... now and then
        self._luck = Random(7)
        self.repeats = False  # every execution is told twice, newest first
        self.fees_unknown = False
        self.stuck = False  # new orders are received and never begin to work
        self.ignores_cancels = False
        self.moves_fail = False
        self._stuck: dict[str, OrderTicket] = {}
        self._gone: dict[str, OrderTicket] = {}
        self._corrections: list[Fill] = []

    def __getattr__(self, name):
        return getattr(self.real, name)

    # orders

    def submit(self, ticket: OrderTicket) -> None:
        self.calls["submit"] += 1
        if self.refuses:
            raise OrderRejected(self.refuses)
        if self.refuses_spreads and len(ticket.legs) > 1:
            raise OrderRejected("no market for this combination")
        if self.no_answer_to_submit:
            if self.no_answer_to_submit == "arrived":
                self.real.submit(ticket)
            raise OutcomeUnknown("nothing was heard")
        if self.stuck:
            self._stuck[ticket.order_ref] = ticket
            return
        self.real.submit(ticket)

    def modify_limit(self, order_ref: str, limit_price: Decimal) -> None:
        self.calls["modify_limit"] += 1
        if self.moves_fail:
            raise OrderRejected("price does not conform")
        self.real.modify_limit(order_ref, limit_price)

    def cancel(self, order_ref: str) -> None:
        self.calls["cancel"] += 1
        if self.ignores_cancels:
            return
        if order_ref in self._stuck:
            self._gone[order_ref] = self._stuck.pop(order_ref)
            return
        self.real.cancel(order_ref)

    def quote(self, contract: Contract):
        self.calls["quote"] += 1
        return self.real.quote(contract)

    def order_states(self, order_refs):
        self._up()
        states = self.real.order_states(order_refs)
        for ref, state in states.items():
            if self.status_events_lost:
                states[ref] = replace(state, status=WorkingStatus.WORKING, filled=tuple(0 for _ in state.filled))
            elif self.says_cancelled and state.status is WorkingStatus.WORKING:
                states[ref] = replace(state, status=WorkingStatus.CANCELLED, message="10349: order TIF was set to DAY")
        for kept, status in ((self._stuck, WorkingStatus.PENDING), (self._gone, WorkingStatus.CANCELLED)):
            for ref in set(order_refs) & set(kept):
                states[ref] = BrokerOrderState(ref, "", status, tuple(0 for _ in kept[ref].legs))
        return states

    # executions

    def fills_since(self, moment: datetime | None):
        self._up()
        fills = [*self.real.fills_since(moment), *self._corrections]
        if self.fees_unknown:
            fills = [replace(fill, commission=None, commission_currency=None) for fill in fills]
        return [*reversed(fills), *fills] if self.repeats else fills

    def positions(self):
        self._up()
        held = self.real.positions()
        for fill in self._corrections:
            change = fill.quantity
            if fill.corrects is not None:
                change -= self._told(fill.corrects).quantity
            held[fill.contract] = held.get(fill.contract, 0) + change
        return {contract: position for contract, position in held.items() if position}

    def fills_late(self, fill: Fill) -> None:
        """An execution nobody had heard of, of an order that is over."""
        self._corrections.append(fill)

    def bust(self, execution_id: str) -> None:
        """Take an execution back."""
        original = self._told(execution_id)
        self._corrections.append(
            replace(
                original, execution_id=f"{execution_id}.bust", quantity=-original.quantity, reverses=execution_id,
                commission=0.0,
            )
        )  # fmt: skip

    def correct(self, execution_id: str, *, quantity: int, price: float) -> None:
        """Replace an execution by another."""
        original = self._told(execution_id)
        new = f"{execution_id}.02"
        self._corrections.append(
            replace(original, execution_id=new, quantity=quantity, price=price, corrects=execution_id)
        )

    def _told(self, execution_id: str) -> Fill:
        return next(fill for fill in self.real.fills_since(None) if fill.execution_id == execution_id)

    def _up(self) -> None:
        if self.line_cut or (self.flaky and self._luck.random() < 0.3):
            self.calls["cut"] += 1
            raise BrokerUnavailable("the line is down")
