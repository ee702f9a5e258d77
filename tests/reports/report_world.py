"""A small desk with two markets, two currencies and a paper broker, for the reports to report on.

Prices are stored ones of two weeks of March 2024: a row on the hour from 08:00 to 16:00 UTC on business days, so the
markets trade from 08:00 to 17:00, and a daily close at 23:00.
"""

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np

from pysys.broker.paper.exchange import PaperBroker
from pysys.broker.paper.stored import StoredMarket, StoredPrices
from pysys.broker.port import BrokerUnavailable, FxRows, OrderTicket, OrderType
from pysys.clock import FrozenClock
from pysys.config import Config
from pysys.data.capital import update_total_capital
from pysys.desk import Desk
from pysys.domain.contracts import Contract
from pysys.domain.instruments import Instrument, RollParameters
from pysys.domain.orders import (
    ROLL_PSEUDO_STRATEGY,
    BrokerOrder,
    ContractOrder,
    InstrumentOrder,
    InstrumentOrderType,
    Leg,
    OrderLeg,
    spread_price,
)
from pysys.domain.prices import ContractBars, MultipleRows, PriceRows
from pysys.domain.targets import BufferedTarget
from pysys.execution.fills import record_fills
from pysys.store.markets import ListedContract
from pysys.store.prices import SeriesKey, SeriesKind, contract_key
from pysys.store.targets import BacktestRun
from pysys.store.unit import Store

MONDAY = datetime(2024, 3, 4, tzinfo=UTC)
GOLD_APR, GOLD_JUN = Contract("GOLD", "20240400"), Contract("GOLD", "20240600")
BUND_JUN, BUND_SEP = Contract("BUND", "20240600"), Contract("BUND", "20240900")
INSTRUMENTS = (
    Instrument("GOLD", "Gold", "USD", 100.0, "Metals", per_block=2.0, spread_cost=0.1, tick_size=0.1),
    Instrument("BUND", "Bund", "EUR", 1000.0, "Bond", per_block=1.5, per_trade=5.0, tick_size=0.01),
)
ROLLS = (RollParameters("GOLD", "GJMQVZ", "GJMQVZ", -30, 1, 26), RollParameters("BUND", "HMUZ", "HMUZ", -5, 1, 7))
STARTS = {GOLD_APR: 2100.0, GOLD_JUN: 2120.0, BUND_JUN: 131.0, BUND_SEP: 130.5}


def monday(hour: int, minute: int = 0) -> datetime:
    return MONDAY + timedelta(hours=hour, minutes=minute)


def tuesday(hour: int, minute: int = 0) -> datetime:
    return monday(24 + hour, minute)


def micros(moment: datetime) -> int:
    return round(moment.timestamp() * 1_000_000)


def _market() -> StoredMarket:
    days = [MONDAY + timedelta(days=n) for n in range(-28, 12) if (MONDAY + timedelta(days=n)).weekday() < 5]
    times = np.array([micros(day + timedelta(hours=h)) for day in days for h in (*range(8, 17), 23)], np.int64)
    close = np.arange(len(times)) % 10 == 9
    stored = {}
    for seed, (contract, start) in enumerate(STARTS.items()):
        walk = start * np.exp(np.random.default_rng(seed).normal(0, 0.0006, len(times)).cumsum())
        prices = np.round(walk, 2 if contract.instrument == "BUND" else 1)
        volume = np.linspace(900, 1000, int(close.sum())) * (1.0 if seed % 2 == 0 else 0.4)
        stored[contract] = StoredPrices(times[close], prices[close], volume, times[~close], prices[~close])
    rates = np.linspace(1.08, 1.12, len(days))
    fx = {"EUR": FxRows(np.array([micros(day - timedelta(hours=1)) for day in days], np.int64), rates)}
    known = {instrument.code: instrument for instrument in INSTRUMENTS}
    return StoredMarket(stored, known, {r.instrument: r for r in ROLLS}, fx, base_currency="USD", seed=5)


MARKET = _market()


class Unreachable:
    """A broker whose line is down."""

    name = "paper"

    def __getattr__(self, name: str):
        def fail(*_: object) -> None:
            raise BrokerUnavailable(f"no answer to {name}")

        return fail


@dataclass
class House:
    """The desk and the shortest way of letting things happen at it."""

    store: Store
    broker: PaperBroker
    clock: FrozenClock
    config: Config
    orders: int = field(default=0)

    @property
    def desk(self) -> Desk:
        return Desk(self.config, self.store, self.broker, self.clock)

    @property
    def cut_off(self) -> Desk:
        """The same desk without a line to its broker."""
        return Desk(self.config, self.store, Unreachable(), self.clock)  # type: ignore[arg-type]

    def at(self, moment: datetime) -> "House":
        self.clock.sleep_until(moment)
        return self

    def poll(self) -> "House":
        assert not update_total_capital(self.desk).refused_because
        return self

    def trade(self, strategy: str, *legs: tuple[Contract, int]) -> str:
        """An order from decision to fill, five minutes later; its reference."""
        self.orders += 1
        ref, now, code = f"order-{self.orders}", self.clock.now(), legs[0][0].instrument
        roll = strategy == ROLL_PSEUDO_STRATEGY
        kind = InstrumentOrderType.ZERO_ROLL if roll else InstrumentOrderType.BEST
        quotes = [self.broker.quote(contract) for contract, _ in legs]
        quantities = tuple(quantity for _, quantity in legs)
        sides = tuple(q.ask if n > 0 else q.bid for q, n in zip(quotes, quantities, strict=True))
        mid = spread_price(quantities, tuple(q.mid for q in quotes))
        stored = tuple(OrderLeg(contract, quantity) for contract, quantity in legs)
        with self.store.write() as unit:
            trade = 0 if roll else quantities[0]
            generated = now - timedelta(hours=10)
            family = unit.orders.place_instrument_order(
                InstrumentOrder(strategy, code, trade, kind, generated, roll_order=roll)
            )
            reference = None if roll else mid - 0.5
            parent = unit.orders.place_contract_order(
                family, ContractOrder(strategy, code, stored, kind, now, reference_price=reference, roll_order=roll)
            )
            written = unit.orders.write_broker_order(
                BrokerOrder(
                    ref,
                    parent,
                    strategy,
                    code,
                    stored,
                    "market",
                    "market",
                    "paper",
                    now,
                    side_price=spread_price(quantities, sides),
                    mid_price=mid,
                    roll_order=roll,
                )
            )
            unit.orders.update_broker_order(written.id, submitted_at=now)
            unit.commit()
        self.broker.submit(OrderTicket(ref, tuple(Leg(*leg) for leg in legs), OrderType.MARKET))
        self.clock.advance(minutes=5)
        return self.book(ref)

    def book(self, ref: str = "") -> str:
        record_fills(self.store, self.broker.fills_since(None), self.clock.now())
        return ref

    def prices(self) -> "House":
        """Collect every price and rate there is by now."""
        now = self.clock.now()
        with self.store.write() as unit:
            for contract in STARTS:
                for daily, ask in ((True, self.broker.daily_bars), (False, self.broker.intraday_bars)):
                    b = ask(contract, None)
                    bars = ContractBars(b.times, b.open, b.high, b.low, b.final, b.volume)
                    unit.prices.replace(contract_key(contract, daily=daily), bars)
            for near, far in ((GOLD_APR, GOLD_JUN), (BUND_JUN, BUND_SEP)):
                bars = unit.prices.contract_bars(near, daily=False)
                other = unit.prices.contract_bars(far, daily=False)
                ones = np.ones(len(bars), np.int64)
                rows = (bars.final, ones * int(near.date), *[other.final, ones * int(far.date)] * 2)
                unit.prices.replace(SeriesKey(SeriesKind.MULTIPLE, near.instrument), MultipleRows(bars.times, *rows))
                adjusted = PriceRows(bars.times, bars.final)
                unit.prices.replace(SeriesKey(SeriesKind.ADJUSTED, near.instrument), adjusted)
            rates = MARKET.fx_rates("EUR", None, now)
            unit.prices.replace(SeriesKey(SeriesKind.FX, "EUR"), PriceRows(rates.times, rates.rates))
            unit.commit()
        return self

    def targets(self, **buffers: tuple[float, float]) -> "House":
        """A backtest that wants each instrument within its buffer."""
        now = self.clock.now()
        with self.store.write() as unit:
            run = BacktestRun("trend", now, 1e6, tuple(buffers), "hash", "folder")
            wanted = [
                BufferedTarget("trend", code, now, (low + high) / 2, low, high, None, None, None)
                for code, (low, high) in buffers.items()
            ]
            unit.targets.add_backtest(run, wanted)
            unit.commit()
        return self


def open_house(store: Store, folder: Path, now: datetime) -> House:
    """A desk at a moment, its exchange in that folder."""
    clock = FrozenClock(now)
    broker = PaperBroker(folder / "exchange.db", MARKET, clock, base_currency="USD", starting_cash=1e6, seed=5)
    return House(store, broker, clock, Config())


def two_days(house: House) -> House:
    """Until Tuesday evening: two days of trading in two markets and a roll, everything collected."""
    with house.store.write() as unit:
        for instrument, roll in zip(INSTRUMENTS, ROLLS, strict=True):
            unit.markets.put_instrument(instrument)
            unit.markets.put_roll_parameters(roll)
        for contract in STARTS:
            expiry = next(r for r in ROLLS if r.instrument == contract.instrument).expiry(contract)
            unit.markets.put_contract(ListedContract(contract, expiry, sampling=True))
        unit.commit()
    house.poll().at(monday(12, 1)).trade("trend", (GOLD_APR, 3))
    house.trade("trend", (BUND_JUN, -2))
    house.at(monday(19)).poll()
    house.at(tuesday(12)).poll().at(tuesday(12, 1))
    house.trade(ROLL_PSEUDO_STRATEGY, (GOLD_APR, -3), (GOLD_JUN, 3))
    house.trade("carry", (BUND_JUN, 1))
    house.at(tuesday(18)).prices().poll().targets(GOLD=(2.6, 3.4), BUND=(-2.4, -1.2))
    return house.at(tuesday(20, 25))
