"""Where a change of the account's value came from: markets, strategies, commission, exchange rates, or nowhere we know.

The broker values the account at polls. Between two polls its balance in each currency moves by what was traded and
held, by commission, and by what our records do not explain (transfers, interest, missing fills); the exchange rates
move what was there before. The split is exact: its parts sum to the change of the account's value.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import pairwise
from math import fsum, isnan

from pysys.domain.contracts import Contract
from pysys.domain.orders import ROLL_PSEUDO_STRATEGY


@dataclass(frozen=True, slots=True)
class Balance:
    """Cash and unrealised profit in one currency."""

    amount: float  # in that currency
    fx_rate: float  # base currency for one unit


@dataclass(frozen=True, slots=True)
class Poll:
    """The account as the broker valued it at one moment."""

    time: datetime  # UTC
    total: float  # base currency
    balances: Mapping[str, Balance]  # by currency
    marks: Mapping[Contract, float]  # price each open contract was valued at


@dataclass(frozen=True, slots=True)
class BookedFill:
    """One execution as our records have it."""

    contract: Contract
    strategy: str
    quantity: int  # signed contracts
    price: float  # quote points
    filled_at: datetime  # UTC
    commission: float | None = None  # positive cost; None while it is not known
    commission_currency: str | None = None  # None: that of the market
    spread: str | None = None  # the spread instrument it is a leg of
    between_markets: bool = False  # of that spread: its legs are held, and rolled, with their markets


@dataclass(frozen=True, slots=True)
class StrategyMove:
    """A change of the position a strategy holds in an instrument, whichever contracts it is in."""

    strategy: str
    instrument: str
    time: datetime  # UTC
    change: int  # signed contracts


@dataclass(frozen=True, slots=True)
class PointValue:
    """What one point of price is worth in one contract."""

    currency: str
    point_size: float  # currency per 1.0 of price


@dataclass(frozen=True, slots=True)
class SpreadLegs:
    """Contracts held as legs of spread instruments, signed. They are part of the contract positions."""

    within: Mapping[tuple[str, Contract], int] = field(default_factory=dict)  # (spread, contract), within one market
    between: Mapping[tuple[str, str], int] = field(default_factory=dict)  # (spread, market), between markets


@dataclass(frozen=True, slots=True)
class Records:
    """Our own records of a period. What is called opening is as it was at its first poll."""

    opening: Mapping[Contract, int]
    fills: Sequence[BookedFill]
    opening_strategies: Mapping[tuple[str, str], int]  # (strategy, instrument)
    moves: Sequence[StrategyMove]
    markets: Mapping[str, PointValue]  # by instrument
    opening_legs: SpreadLegs = field(default_factory=SpreadLegs)
    own_prices: Mapping[datetime, Mapping[Contract, float]] = field(default_factory=dict)  # by the time of a poll

    @property
    def contracts_in_spreads(self) -> set[Contract]:
        """Contracts that were legs of a spread within one market at some time of the period."""
        traded = {f.contract for f in self.fills if f.spread is not None and not f.between_markets}
        return traded | {contract for (_, contract), held in self.opening_legs.within.items() if held != 0}


@dataclass(frozen=True, slots=True)
class Step:
    """The account's change since the first poll, up to one poll. Base currency."""

    time: datetime
    total: float
    futures: float
    fx: float


@dataclass(frozen=True, slots=True)
class AccountChange:
    """The split of the account's change of value. Base currency; costs are negative.

    Instruments are those strategies trade: what is held as legs of a spread is the spread's, not its markets'.
    total = sum(by_instrument) + commission + fx + unexplained, and
    sum(by_instrument) = sum(by_strategy) + not_attributed.
    """

    start: datetime
    end: datetime
    total: float
    by_instrument: Mapping[str, float]
    by_strategy: Mapping[str, float]
    not_attributed: float  # of positions no strategy owned at the time
    commission: float
    fx: float
    unexplained: float
    steps: tuple[Step, ...]
    unmarked: tuple[Contract, ...]  # held, but without a mark in some poll: valued at their last known price
    unvalued: tuple[str, ...]  # currencies traded in that the broker gave no exchange rate for: left out
    commissions_unknown: int  # fills whose commission has not been reported

    @property
    def futures(self) -> float:
        """Trading result of all instruments, before commission."""
        return fsum(self.by_instrument.values())


@dataclass
class _Ledger:
    """Running state from poll to poll."""

    held: dict[tuple[str, Contract], int]  # by the spread within one market it is a leg of, or no spread: ""
    price: dict[Contract, float]  # last known, of contracts held
    strategies: dict[tuple[str, str], int]
    legs: dict[tuple[str, str], int]  # part of what is held for no spread: by (spread between markets, market)
    rates: dict[str, float]  # last known
    instruments: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    shares: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    unowned: list[float] = field(default_factory=list)
    commission: list[float] = field(default_factory=list)
    fx: list[float] = field(default_factory=list)
    unexplained: list[float] = field(default_factory=list)
    unmarked: set[Contract] = field(default_factory=set)
    unvalued: set[str] = field(default_factory=set)

    def attribute(self, spread: str, market: str, gain: float) -> None:
        """Share a gain of what was held among the instruments, and the strategies, that own it now.

        Legs within one market are their spread's. All else is the market's and, by the contracts each holds of it,
        that of the spreads between this market and others.
        """
        legs = {code: n for (code, where), n in self.legs.items() if where == market and n != 0}
        if spread or not legs:
            self._give(spread if spread else market, gain)
            return
        holders = {market: sum(n for (_, code), n in self.strategies.items() if code == market), **legs}
        total = sum(holders.values())
        if total == 0:
            self.instruments[market].append(gain)
            self.unowned.append(gain)
            return
        for code, quantity in holders.items():
            if quantity != 0:
                self._give(code, gain * quantity / total)

    def _give(self, instrument: str, gain: float) -> None:
        self.instruments[instrument].append(gain)
        owners = {s: n for (s, code), n in self.strategies.items() if code == instrument and n != 0}
        owned = sum(owners.values())
        if owned == 0:
            self.unowned.append(gain)
            return
        for strategy, quantity in owners.items():
            self.shares[strategy].append(gain * quantity / owned)


def account_change(polls: Sequence[Poll], records: Records) -> AccountChange:
    """Split the change of account value from the first poll to the last.

    polls: at least two, oldest first. A fill belongs to the interval (earlier poll, later poll] it was filled in.
    Per contract and interval the result is the position held times the change of mark, plus, per fill, quantity
    times (later mark - fill price), times point size and the later exchange rate. Roll fills and held positions
    are shared among the strategies by their positions in the instrument, so that a roll is nobody's gain.
    A spread instrument gains what the contracts held as its legs gain. Where an outright position offsets a leg to the
    contract, nothing is held of it that the broker would mark: `own_prices` share the nothing out between the two, or,
    without one, the next price does.

    Raises ValueError for fewer than two polls or polls out of order.
    """
    if len(polls) < 2:
        raise ValueError(f"a change of account value needs two polls; there are {len(polls)}")
    if any(later.time <= earlier.time for earlier, later in pairwise(polls)):
        raise ValueError("polls must be given oldest first, each at its own time")
    first, last = polls[0], polls[-1]
    ledger = _Ledger(
        held=_opening(records),
        price={**records.own_prices.get(first.time, {}), **_marks(first)},
        strategies=dict(records.opening_strategies),
        legs=dict(records.opening_legs.between),
        rates={c: b.fx_rate for c, b in first.balances.items()},
    )
    steps = [Step(first.time, 0.0, 0.0, 0.0)]
    for earlier, later in pairwise(polls):
        _account_interval(ledger, earlier, later, records)
        futures = fsum(x for gains in ledger.instruments.values() for x in gains)
        steps.append(Step(later.time, later.total - first.total, futures, fsum(ledger.fx)))
    counted = [f for f in records.fills if first.time < f.filled_at <= last.time]
    return AccountChange(
        start=first.time,
        end=last.time,
        total=last.total - first.total,
        by_instrument={code: fsum(gains) for code, gains in sorted(ledger.instruments.items())},
        by_strategy={name: fsum(gains) for name, gains in sorted(ledger.shares.items())},
        not_attributed=fsum(ledger.unowned),
        commission=fsum(ledger.commission),
        fx=fsum(ledger.fx),
        unexplained=fsum(ledger.unexplained),
        steps=tuple(steps),
        unmarked=tuple(sorted(ledger.unmarked)),
        unvalued=tuple(sorted(ledger.unvalued)),
        commissions_unknown=sum(f.commission is None for f in counted),
    )


def _opening(records: Records) -> dict[tuple[str, Contract], int]:
    held = {("", contract): quantity for contract, quantity in records.opening.items()}
    for (spread, contract), quantity in records.opening_legs.within.items():
        held[spread, contract] = quantity
        held["", contract] = held.get(("", contract), 0) - quantity
    return {key: quantity for key, quantity in held.items() if quantity != 0}


def _holding(fill: BookedFill) -> tuple[str, Contract]:
    return ("" if fill.spread is None or fill.between_markets else fill.spread), fill.contract


def _marks(poll: Poll) -> dict[Contract, float]:
    return {contract: price for contract, price in poll.marks.items() if not isnan(price)}


def _account_interval(ledger: _Ledger, earlier: Poll, later: Poll, records: Records) -> None:
    ledger.rates.update({currency: balance.fx_rate for currency, balance in later.balances.items()})
    fills = sorted((f for f in records.fills if earlier.time < f.filled_at <= later.time), key=lambda f: f.filled_at)
    ends = _end_prices(ledger, fills, _marks(later), records.own_prices.get(later.time, {}))
    booked = _results(ledger, fills, ends, earlier, later, records)
    _book_balances(ledger, earlier, later, booked)
    for fill in fills:
        key = _holding(fill)
        ledger.held[key] = ledger.held.get(key, 0) + fill.quantity
    ledger.held = {key: quantity for key, quantity in ledger.held.items() if quantity != 0}
    ledger.price = {contract: ends[contract] for _, contract in ledger.held if contract in ends}


def _end_prices(
    ledger: _Ledger,
    fills: Sequence[BookedFill],
    marks: Mapping[Contract, float],
    own: Mapping[Contract, float],
) -> dict[Contract, float]:
    """Price each contract ends the interval at: its mark, else its last fill, else its last known price.

    One that a spread and an outright position hold against each other ends at our own price. What a contract that ends
    flat is valued at plays no part in its result.
    """
    ends = {contract: ledger.price[contract] for _, contract in ledger.held if contract in ledger.price}
    quantities = dict(ledger.held)
    for fill in fills:
        ends[fill.contract] = fill.price
        quantities[_holding(fill)] = quantities.get(_holding(fill), 0) + fill.quantity
    net: dict[Contract, int] = defaultdict(int)
    for (_, contract), quantity in quantities.items():
        net[contract] += quantity
    for (_, contract), quantity in quantities.items():
        if contract in marks:
            ends[contract] = marks[contract]
        elif quantity != 0 and net[contract] == 0 and contract in own:
            ends[contract] = own[contract]
        elif quantity != 0:
            ledger.unmarked.add(contract)
    return ends


def _results(
    ledger: _Ledger,
    fills: Sequence[BookedFill],
    ends: Mapping[Contract, float],
    earlier: Poll,
    later: Poll,
    records: Records,
) -> dict[str, list[float]]:
    """Book trading results and commission of one interval; what was booked per currency, in that currency."""
    booked: dict[str, list[float]] = defaultdict(list)

    def book(contract: Contract, points: float) -> float | None:
        market = records.markets[contract.instrument]
        if market.currency not in ledger.rates:
            ledger.unvalued.add(market.currency)
            return None
        gain = points * market.point_size
        booked[market.currency].append(gain)
        return gain * ledger.rates[market.currency]

    for (spread, contract), quantity in ledger.held.items():
        if contract not in ends:
            ledger.unmarked.add(contract)
            continue
        before = ledger.price.get(contract, ends[contract])  # never priced before: its gain begins here
        gain = book(contract, quantity * (ends[contract] - before))
        if gain is not None:
            ledger.attribute(spread, contract.instrument, gain)
    moves = _moves_between(records.moves, earlier.time, later.time)
    pending = next(moves, None)
    for fill in fills:
        while pending is not None and pending.time <= fill.filled_at:
            _move(ledger, pending)
            pending = next(moves, None)
        gain = book(fill.contract, fill.quantity * (ends[fill.contract] - fill.price))
        if gain is not None and fill.strategy == ROLL_PSEUDO_STRATEGY:
            ledger.attribute(_holding(fill)[0], fill.contract.instrument, gain)
        elif gain is not None:
            ledger.instruments[fill.contract.instrument if fill.spread is None else fill.spread].append(gain)
            ledger.shares[fill.strategy].append(gain)
        if fill.spread is not None and fill.between_markets:
            leg = (fill.spread, fill.contract.instrument)
            ledger.legs[leg] = ledger.legs.get(leg, 0) + fill.quantity
        _book_commission(ledger, fill, booked, records.markets[fill.contract.instrument])
    while pending is not None:
        _move(ledger, pending)
        pending = next(moves, None)
    return booked


def _moves_between(moves: Sequence[StrategyMove], after: datetime, until: datetime) -> Iterator[StrategyMove]:
    return iter(sorted((m for m in moves if after < m.time <= until), key=lambda m: m.time))


def _move(ledger: _Ledger, move: StrategyMove) -> None:
    key = (move.strategy, move.instrument)
    ledger.strategies[key] = ledger.strategies.get(key, 0) + move.change


def _book_commission(ledger: _Ledger, fill: BookedFill, booked: dict[str, list[float]], market: PointValue) -> None:
    if fill.commission is None:
        return
    currency = market.currency if fill.commission_currency is None else fill.commission_currency
    if currency not in ledger.rates:
        ledger.unvalued.add(currency)
        return
    booked[currency].append(-fill.commission)
    ledger.commission.append(-fill.commission * ledger.rates[currency])


def _book_balances(ledger: _Ledger, earlier: Poll, later: Poll, booked: Mapping[str, Sequence[float]]) -> None:
    """Exchange rate gains on what was there before, and what the balances did beyond our records."""
    nothing = Balance(0.0, 0.0)
    for currency in sorted({*earlier.balances, *later.balances, *booked}):
        before = earlier.balances.get(currency, nothing)
        after = later.balances.get(currency, nothing)
        rate = ledger.rates[currency]
        if currency in earlier.balances and currency in later.balances:
            ledger.fx.append(before.amount * (after.fx_rate - before.fx_rate))
        change = after.amount - before.amount
        ledger.unexplained.append((change - fsum(booked.get(currency, ()))) * rate)
    rounding = _beyond_balances(later) - _beyond_balances(earlier)
    ledger.unexplained.append(rounding)


def _beyond_balances(poll: Poll) -> float:
    """What the broker's own total has beyond the sum of its balances."""
    return poll.total - fsum(b.amount * b.fx_rate for b in poll.balances.values())


def timing_difference(
    poll: Poll,
    held: Mapping[Contract, int],
    own_prices: Mapping[Contract, float],
    markets: Mapping[str, PointValue],
) -> dict[str, float]:
    """Per instrument, what our own last prices would add to the broker's valuation at `poll`. Base currency.

    Contracts without a mark, a price of ours or an exchange rate are left out.
    """
    marks = _marks(poll)
    found: dict[str, list[float]] = defaultdict(list)
    for contract, quantity in held.items():
        market = markets[contract.instrument]
        if contract not in marks or contract not in own_prices or market.currency not in poll.balances:
            continue
        points = own_prices[contract] - marks[contract]
        rate = poll.balances[market.currency].fx_rate
        found[contract.instrument].append(quantity * points * market.point_size * rate)
    return {instrument: fsum(values) for instrument, values in sorted(found.items())}
