"""What must be true of a price before an order may trade."""

from dataclasses import dataclass
from typing import Any, Literal

When = Literal["below", "above"]


@dataclass(frozen=True, slots=True)
class Condition:
    """Trade once the price of a contract is at or beyond a level.

    Tested when the contract order is made; after that the order is worked like any other.
    """

    when: When
    price: float  # quote points
    contract: str  # YYYYMMDD; the price series the level belongs to

    def __post_init__(self) -> None:
        if self.when not in ("below", "above"):
            raise ValueError(f"a condition is below or above a price, not {self.when!r}")

    def is_met(self, price: float) -> bool:
        """Whether `price`, of the condition's contract, is at the level or beyond it."""
        return price <= self.price if self.when == "below" else price >= self.price

    def __str__(self) -> str:
        return f"{self.when} {self.price:g} in {self.contract}"


def condition_to_json(condition: Condition | None) -> dict[str, Any] | None:
    if condition is None:
        return None
    return {"when": condition.when, "price": condition.price, "contract": condition.contract}


def condition_from_json(stored: dict[str, Any] | None) -> Condition | None:
    return None if stored is None else Condition(stored["when"], float(stored["price"]), str(stored["contract"]))
