"""Which algo works a contract order."""

from pysys.config import Config
from pysys.domain.orders import InstrumentOrderType

PANIC_ALGO = "panic"
_BY_ORDER_TYPE = {
    InstrumentOrderType.MARKET: "market",
    InstrumentOrderType.LIMIT: "limit",
}


def algo_for(config: Config, order_type: InstrumentOrderType, instrument: str, preset: str = "") -> str:
    """The algo an order already has, else the one configured for its instrument, else that of its type, or the default.

    Orders for best execution, rolls and balance trades leave the choice to the default. A panic order is never anything
    else. With little time left the patient algos send market orders by themselves.
    """
    if order_type is InstrumentOrderType.PANIC:
        return PANIC_ALGO
    if preset:
        return preset
    return config.algo_overrides.get(instrument, _BY_ORDER_TYPE.get(order_type, config.default_algo))
