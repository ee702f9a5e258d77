"""Orders that are over in our books and work at the broker: a ticket that arrived late, a refusal that was none."""

import logging
from collections.abc import Iterable

from pysys.broker.port import OpenOrder
from pysys.desk import Desk
from pysys.domain.order_states import BrokerEvent, apply_to_broker_order
from pysys.domain.orders import BrokerOrderStatus
from pysys.execution.sending import ask_to_cancel
from pysys.store.sent_orders import SentOrder

log = logging.getLogger(__name__)


def take_back(desk: Desk, open_orders: Iterable[OpenOrder]) -> list[str]:
    """Put settled orders that the broker lists as open back on their stack, and cancel them; their references.

    Its contract order is held until the broker has ended it for good: another order may stand in its place already, and
    both would fill. A person is told. Filled ones are left alone, see `cancel_filled`.
    """
    found = [each for each in _over(desk, open_orders) if each.status != BrokerOrderStatus.FILLED]
    for order in found:
        unanswered = ask_to_cancel(desk, order.order_ref)
        before = BrokerOrderStatus(order.status)
        comment = f"it was {before}, but the broker works it: cancelled again. {unanswered}"
        with desk.store.write() as unit:
            unit.orders.update_broker_order(
                order.id,
                status=apply_to_broker_order(before, BrokerEvent.ACCEPTED),
                cancel_requested_at=desk.clock.now(),
                algo_state={},
                comment=comment.strip(),
                active=True,
            )
            unit.commit()
        log.critical(
            "order %s was %s in our books and works at the broker: cancelled again, nothing new is sent for its "
            "contract order until it is over",
            order.order_ref,
            before,
            extra={"instrument_code": order.instrument},
        )
    return [order.order_ref for order in found]


def cancel_filled(desk: Desk, open_orders: Iterable[OpenOrder], seen_before: Iterable[str]) -> list[str]:
    """Cancel orders that are filled in our books and listed as open, look after look; references of those listed now.

    Once listed proves nothing: a broker tells an execution sooner than that its order is over.
    """
    filled = [each for each in _over(desk, open_orders) if each.status == BrokerOrderStatus.FILLED]
    told = set(seen_before)
    for order in filled:
        if order.order_ref in told:
            ask_to_cancel(desk, order.order_ref)
            log.critical(
                "order %s is filled in our books and works at the broker: cancelled there. Compare its executions.",
                order.order_ref,
                extra={"instrument_code": order.instrument},
            )
    return [order.order_ref for order in filled]


def _over(desk: Desk, open_orders: Iterable[OpenOrder]) -> list[SentOrder]:
    with desk.store.read() as unit:
        known = unit.sent_orders.by_ref([order.order_ref for order in open_orders])
    return [order for order in known.values() if not order.active]
