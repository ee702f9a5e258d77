"""Crossing orders of one instrument inside the house, so that only what is left goes to the market."""

from collections.abc import Sequence
from dataclasses import dataclass

from pysys.domain.orders import InstrumentOrder

NETTED = "netted"  # reason of a strategy's position change that no broker saw


@dataclass(frozen=True, slots=True)
class Cross:
    """One order sells to another. Neither is sent; both are filled at one price, so no money is made or lost."""

    buyer: int  # order id
    seller: int
    quantity: int  # contracts, positive

    def __post_init__(self) -> None:
        if self.quantity <= 0:
            raise ValueError(f"orders {self.buyer} and {self.seller} cross {self.quantity} contracts")


def limit_allows(trade: int, limit: float, price: float) -> bool:
    """Whether an order for `trade` may be done at `price`; both prices are of one contract.

    >>> limit_allows(2, 100.0, 99.5), limit_allows(-2, 100.0, 99.5)
    (True, False)
    """
    return price <= limit if trade > 0 else price >= limit


def crosses(orders: Sequence[InstrumentOrder]) -> list[Cross]:
    """Pairs of buys and sells among the unfilled parts of orders in one instrument, the oldest first on each side.

    What is left afterwards is all on one side, so crossing again finds nothing.
    """
    buys = [[order.id, order.unfilled] for order in orders if order.unfilled > 0]
    sells = [[order.id, -order.unfilled] for order in orders if order.unfilled < 0]
    found = []
    while buys and sells:
        quantity = min(buys[0][1], sells[0][1])
        found.append(Cross(buys[0][0], sells[0][0], quantity))
        for side in (buys, sells):
            side[0][1] -= quantity
            if side[0][1] == 0:
                side.pop(0)
    return found
