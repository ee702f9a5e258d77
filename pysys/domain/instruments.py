"""What is known of a futures market before any price: size, currency, costs, session, roll rules."""

from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from decimal import ROUND_HALF_EVEN, Decimal
from zoneinfo import ZoneInfo

from pysys.domain.contracts import MONTH_LETTERS, Contract


@dataclass(frozen=True, slots=True)
class TradingHours:
    """Regular session in exchange-local time, Monday to Friday. `close` before `open` passes midnight."""

    timezone: str  # IANA name
    open: time
    close: time

    def session(self, day: date) -> tuple[datetime, datetime]:
        """(open, close) in UTC of the session that ends on local date `day`; daylight saving included."""
        zone = ZoneInfo(self.timezone)
        start = day if self.open < self.close else day - timedelta(days=1)
        opens = datetime.combine(start, self.open, zone)
        closes = datetime.combine(day, self.close, zone)
        return opens.astimezone(ZoneInfo("UTC")), closes.astimezone(ZoneInfo("UTC"))


@dataclass(frozen=True, slots=True)
class Instrument:
    """A futures market as the desk trades it. Sizes and costs are per contract, in `currency`."""

    code: str
    description: str
    currency: str
    point_size: float  # currency per 1.0 of price, per contract
    asset_class: str
    region: str = ""
    exchange: str = ""
    per_block: float = 0.0  # commission per contract
    per_trade: float = 0.0  # commission per order
    percentage: float = 0.0  # commission as a fraction of value, 0.00004 is 0.004%
    spread_cost: float = 0.0  # half the bid-ask spread, price units
    tick_size: float | None = None  # smallest price step; None where it is not known
    hours: TradingHours | None = None

    def __post_init__(self) -> None:
        if not self.code:
            raise ValueError("an instrument without a code")
        if not self.point_size > 0:
            raise ValueError(f"{self.code}: point size {self.point_size} is not positive")
        if len(self.currency) != 3:
            raise ValueError(f"{self.code}: currency {self.currency!r} is not a three-letter code")
        if self.tick_size is not None and not self.tick_size > 0:
            raise ValueError(f"{self.code}: tick size {self.tick_size} is not positive")

    def commission(self, quantity: int, price: float) -> float:
        """Commission in `currency` for trading `quantity` contracts at `price`, as a positive number.

        The dearest of per-contract, per-order and percentage-of-value, as brokers charge.
        """
        lots = abs(quantity)
        value = self.percentage * lots * abs(price) * self.point_size
        return max(lots * self.per_block, self.per_trade if lots else 0.0, value)


def on_tick(price: float | Decimal, tick_size: float | None) -> Decimal:
    """Price as an exact multiple of the tick (nearest, half to even); to 10 digits without a tick.

    >>> on_tick(0.0010500000000000002, 0.00005)
    Decimal('0.00105')
    """
    exact = Decimal(str(price))
    if tick_size is None:
        return exact.quantize(Decimal("1e-10")).normalize()
    tick = Decimal(str(tick_size))
    return ((exact / tick).quantize(Decimal(1), rounding=ROUND_HALF_EVEN) * tick).normalize()


def _check_cycle(owner: str, name: str, cycle: str) -> None:
    if not cycle or any(letter not in MONTH_LETTERS for letter in cycle):
        raise ValueError(f"{owner}: {name} {cycle!r} must be month letters out of {MONTH_LETTERS}")


@dataclass(frozen=True, slots=True)
class RollParameters:
    """How an instrument moves along its contracts. Offsets are calendar days."""

    instrument: str
    hold_cycle: str  # months we hold, letters in calendar order
    priced_cycle: str  # months that have prices; carry contracts come from here
    roll_offset: int  # days from expiry to the desired roll, usually negative
    carry_offset: int  # +1 next priced contract, -1 the one before
    expiry_offset: int  # days from the first of the contract month to expiry

    def __post_init__(self) -> None:
        _check_cycle(self.instrument, "hold roll cycle", self.hold_cycle)
        _check_cycle(self.instrument, "priced roll cycle", self.priced_cycle)
        if self.carry_offset not in (-1, 1):
            raise ValueError(f"{self.instrument}: carry offset {self.carry_offset} must be -1 or 1")

    def next_held(self, contract: Contract) -> Contract:
        return next_in_cycle(contract, self.hold_cycle)

    def next_priced(self, contract: Contract) -> Contract:
        return next_in_cycle(contract, self.priced_cycle)

    def previous_priced(self, contract: Contract) -> Contract:
        return previous_in_cycle(contract, self.priced_cycle)

    def carry_contract(self, contract: Contract) -> Contract:
        """The contract `contract` is compared with to measure carry."""
        if self.carry_offset == 1:
            return self.next_priced(contract)
        return self.previous_priced(contract)

    def expiry(self, contract: Contract) -> date:
        """Approximate expiry; the broker's date wins where it is known."""
        return contract.approximate_expiry(self.expiry_offset)

    def desired_roll_date(self, contract: Contract) -> date:
        return self.expiry(contract) + timedelta(days=self.roll_offset)


def next_in_cycle(contract: Contract, cycle: str) -> Contract:
    """First contract strictly after `contract` whose month is in `cycle`; it need not be in the cycle itself."""
    later = [m for m in _months(cycle) if m > contract.month]
    if later:
        return contract.in_month(contract.year, later[0])
    return contract.in_month(contract.year + 1, _months(cycle)[0])


def previous_in_cycle(contract: Contract, cycle: str) -> Contract:
    """Last contract strictly before `contract` whose month is in `cycle`."""
    earlier = [m for m in _months(cycle) if m < contract.month]
    if earlier:
        return contract.in_month(contract.year, earlier[-1])
    return contract.in_month(contract.year - 1, _months(cycle)[-1])


def _months(cycle: str) -> list[int]:
    return sorted(MONTH_LETTERS.index(letter) + 1 for letter in cycle)
