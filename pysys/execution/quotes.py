"""Quotes that may be traded on: judged by their age, because a line can be up while nothing comes over it."""

from datetime import timedelta

from pysys.broker.port import Quote
from pysys.desk import Desk
from pysys.domain.contracts import Contract

QUOTE_LASTS = timedelta(minutes=2)


def fresh_quote(desk: Desk, contract: Contract) -> Quote | None:
    """Top of book now; None when nothing is quoted, or nothing has been heard for `QUOTE_LASTS`.

    Raises BrokerUnavailable.
    """
    quote = desk.broker.quote(contract)
    if quote is None or desk.clock.now() - quote.moment > QUOTE_LASTS:
        return None
    return quote
