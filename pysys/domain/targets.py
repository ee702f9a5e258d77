"""From what a strategy wants to hold to what it should trade."""

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True)
class BufferedTarget:
    """A strategy's wish for one instrument: hold something within [lower, upper] contracts.

    The reference says at which price, of which contract and when the wish was computed, for measuring delay.
    """

    strategy: str
    instrument: str
    time: datetime  # UTC
    position: float  # unrounded contracts
    lower: float
    upper: float
    reference_price: float | None
    reference_contract: str | None
    reference_time: datetime | None

    def __post_init__(self) -> None:
        if not self.lower <= self.upper:
            raise ValueError(f"{self.strategy}/{self.instrument}: buffer {self.lower} to {self.upper} is reversed")


def trade_into_buffer(held: int, lower: float, upper: float) -> int:
    """Contracts to trade so that `held` reaches the nearer edge of [lower, upper], rounded half to even.

    Inside the buffer nothing is traded, which is what keeps costs down.

    >>> trade_into_buffer(held=14, lower=10.87, upper=13.32), trade_into_buffer(held=9, lower=10.87, upper=13.32)
    (-1, 2)
    >>> trade_into_buffer(held=12, lower=10.87, upper=13.32)
    0
    """
    if held < lower:
        return round(lower) - held
    if held > upper:
        return round(upper) - held
    return 0


def outside_buffer(held: int, lower: float, upper: float) -> bool:
    """Whether a position breaks its rounded buffer, as the reconcile report means it."""
    return held < round(lower) or held > round(upper)
