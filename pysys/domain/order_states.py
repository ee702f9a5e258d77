"""Life cycles of orders, as tables of what may follow what.

`apply_to_broker_order` and `apply_to_order` are the only ways from one state to another. An event that a state has no
row for changes nothing: it is an old report that arrives late.
"""

from collections.abc import Mapping
from enum import StrEnum

from pysys.domain.orders import BrokerOrderStatus, OrderStatus


class BrokerEvent(StrEnum):
    """What is heard of a broker order."""

    ACCEPTED = "accepted"  # the broker works it, or lists it among its open orders
    FILLED = "filled"  # every contract of it is executed
    CANCELLED = "cancelled"  # the broker has ended it, and does not list it as open
    REJECTED = "rejected"  # the broker never worked it
    NEVER_RECEIVED = "never_received"  # the broker has not heard of it
    BUSTED = "busted"  # an execution was taken back: less is filled than was


_I, _W, _F, _C, _R = (
    BrokerOrderStatus.INTENDED,
    BrokerOrderStatus.WORKING,
    BrokerOrderStatus.FILLED,
    BrokerOrderStatus.CANCELLED,
    BrokerOrderStatus.REJECTED,
)
BROKER_ORDER_MOVES: Mapping[tuple[BrokerOrderStatus, BrokerEvent], BrokerOrderStatus] = {
    (_I, BrokerEvent.ACCEPTED): _W,
    (_I, BrokerEvent.FILLED): _F,  # filled before anything else was heard
    (_I, BrokerEvent.CANCELLED): _C,
    (_I, BrokerEvent.REJECTED): _R,
    (_I, BrokerEvent.NEVER_RECEIVED): _C,
    (_W, BrokerEvent.FILLED): _F,
    (_W, BrokerEvent.CANCELLED): _C,
    (_W, BrokerEvent.REJECTED): _R,  # refused by the exchange after the broker took it
    # An informational message can pass for a cancel or a refusal while the order works on.
    (_C, BrokerEvent.ACCEPTED): _W,
    (_R, BrokerEvent.ACCEPTED): _W,
    # The execution and the cancel crossed; the execution stands.
    (_C, BrokerEvent.FILLED): _F,
    (_R, BrokerEvent.FILLED): _F,
    # What was taken back is not traded again under the same order.
    (_F, BrokerEvent.BUSTED): _C,
}


def apply_to_broker_order(status: BrokerOrderStatus, event: BrokerEvent) -> BrokerOrderStatus:
    """State of a broker order after an event.

    >>> apply_to_broker_order(BrokerOrderStatus.CANCELLED, BrokerEvent.FILLED).value
    'filled'
    >>> apply_to_broker_order(BrokerOrderStatus.FILLED, BrokerEvent.CANCELLED).value
    'filled'
    """
    return BROKER_ORDER_MOVES.get((status, event), status)


class OrderEvent(StrEnum):
    """What happens to an instrument or contract order."""

    COMPLETED = "completed"  # everything it asked for is filled
    ENDED = "ended"  # the day, or a person, ended it
    GIVEN_UP = "given_up"  # its budget of attempts is spent
    LEFT_OWING = "left_owing"  # of a roll: a late fill, or one taken back, leaves it between two contracts


ORDER_MOVES: Mapping[tuple[OrderStatus, OrderEvent], OrderStatus] = {
    (OrderStatus.OPEN, OrderEvent.COMPLETED): OrderStatus.DONE,
    (OrderStatus.OPEN, OrderEvent.ENDED): OrderStatus.CANCELLED,
    (OrderStatus.OPEN, OrderEvent.GIVEN_UP): OrderStatus.FAILED,
    # A late fill can still make a dead order whole.
    (OrderStatus.CANCELLED, OrderEvent.COMPLETED): OrderStatus.DONE,
    (OrderStatus.FAILED, OrderEvent.COMPLETED): OrderStatus.DONE,
    # What a roll owes is ordered again under the same order.
    (OrderStatus.DONE, OrderEvent.LEFT_OWING): OrderStatus.OPEN,
    (OrderStatus.CANCELLED, OrderEvent.LEFT_OWING): OrderStatus.OPEN,
    (OrderStatus.FAILED, OrderEvent.LEFT_OWING): OrderStatus.OPEN,
}


def apply_to_order(status: OrderStatus, event: OrderEvent) -> OrderStatus:
    """State of an instrument or contract order after an event.

    >>> apply_to_order(OrderStatus.CANCELLED, OrderEvent.COMPLETED).value
    'done'
    """
    return ORDER_MOVES.get((status, event), status)
