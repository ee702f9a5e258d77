"""Commissions that have not come: a person is told once, because the broker will not report them any more."""

import logging
from datetime import datetime

from pysys.execution.fills import FEES_AGAIN
from pysys.store.unit import Store

_NAMED = 10  # orders named in one alert

log = logging.getLogger(__name__)


def tell_of_missing_fees(store: Store, now: datetime) -> int:
    """Raise one alert for the fills of a week ago and more whose commission is unknown; for how many fills.

    Each fill is told of once, whoever asks: that is kept beside it. Its commission stays unknown, never zero.
    """
    with store.read() as unit:
        if not unit.positions.fills_without_commission(now - FEES_AGAIN, untold=True):
            return 0
    with store.write() as unit:
        missing = unit.positions.fills_without_commission(now - FEES_AGAIN, untold=True)
        unit.positions.tell_commission_missing([row.id for row in missing], now)
        unit.commit()
    refs = list(dict.fromkeys(row.order_ref for row in missing))
    more = f" and {len(refs) - _NAMED} more" if len(refs) > _NAMED else ""
    log.critical(
        "no commission came in %d days for %d fills of orders %s%s: compare the broker's statement",
        FEES_AGAIN.days,
        len(missing),
        ", ".join(refs[:_NAMED]),
        more,
    )
    return len(missing)
