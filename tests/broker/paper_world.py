"""A small world of stored prices for the paper exchange: two weeks of March 2024, four currencies, five contracts.

Every market has a row on the hour from 08:00 to 16:00 UTC on business days, so it trades from 08:00 to 17:00, and a
daily close at 23:00.
"""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import numpy as np

from pysys.broker.paper.clock import ExchangeClock
from pysys.broker.paper.exchange import PaperBroker
from pysys.broker.paper.stored import StoredMarket, StoredPrices
from pysys.broker.port import FxRows, OrderTicket, OrderType
from pysys.domain.contracts import Contract
from pysys.domain.instruments import Instrument, RollParameters
from pysys.domain.orders import Leg

MONDAY = datetime(2024, 3, 4, tzinfo=UTC)
NOON = MONDAY + timedelta(hours=12)
CASH = 1_000_000.0
MINUTE = timedelta(minutes=1)

GOLD_APR = Contract("GOLD", "20240400")
GOLD_JUN = Contract("GOLD", "20240600")
GOLD_AUG = Contract("GOLD", "20240800")  # only where a test lists it
BUND_MAR = Contract("BUND", "20240300")  # expires on Friday 2024-03-08
BUND_JUN = Contract("BUND", "20240600")
NIKKEI_JUN = Contract("NIKKEI", "20240600")
CONTRACTS = (GOLD_APR, GOLD_JUN, BUND_MAR, BUND_JUN, NIKKEI_JUN)

INSTRUMENTS = {
    "GOLD": Instrument("GOLD", "", "USD", 100.0, "Metals", per_block=2.0, spread_cost=0.1, tick_size=0.1),
    "BUND": Instrument("BUND", "", "EUR", 1000.0, "Bond", per_block=1.5, per_trade=5.0, tick_size=0.01),
    "NIKKEI": Instrument("NIKKEI", "", "JPY", 100.0, "Equity", percentage=0.00004, spread_cost=5.0, tick_size=5.0),
}
ROLLS = {
    "GOLD": RollParameters("GOLD", "GJMQVZ", "GJMQVZ", -30, 1, 26),
    "BUND": RollParameters("BUND", "HMUZ", "HMUZ", -5, 1, 7),
    "NIKKEI": RollParameters("NIKKEI", "HMUZ", "HMUZ", -5, 1, 13),
}
STARTS = {GOLD_APR: 2100.0, GOLD_JUN: 2120.0, BUND_MAR: 132.0, BUND_JUN: 131.0, NIKKEI_JUN: 39_000.0}
LONGER = {**STARTS, GOLD_AUG: 2140.0}  # what a calendar spread of gold rolls into


def micros(moment: datetime) -> int:
    return round(moment.timestamp() * 1_000_000)


def business_days(count: int = 10) -> list[datetime]:
    days = (MONDAY + timedelta(days=n) for n in range(2 * count))
    return [day for day in days if day.weekday() < 5][:count]


def walk(seed: int, start: float, tick: float, rows: int) -> np.ndarray:
    steps = np.random.default_rng(seed).normal(0, 0.0006, rows).cumsum()
    return np.round(start * np.exp(steps) / tick) * tick


def prices(starts: Mapping[Contract, float] = STARTS) -> dict[Contract, StoredPrices]:
    hours = [micros(day + timedelta(hours=h)) for day in business_days() for h in (*range(8, 17), 23)]
    times = np.array(hours, np.int64)
    close = np.arange(len(times)) % 10 == 9
    stored = {}
    for seed, (contract, start) in enumerate(starts.items()):
        values = walk(seed, start, INSTRUMENTS[contract.instrument].tick_size or 0.01, len(times))
        volume = np.full(int(close.sum()), 1000.0)
        stored[contract] = StoredPrices(times[close], values[close], volume, times[~close], values[~close])
    return stored


def fx() -> dict[str, FxRows]:
    times = np.array([micros(day - timedelta(hours=1)) for day in business_days()], np.int64)
    return {
        "EUR": FxRows(times, np.linspace(1.08, 1.10, len(times))),
        "JPY": FxRows(times, np.linspace(0.0067, 0.0066, len(times))),
    }


def market(seed: int = 5, starts: Mapping[Contract, float] = STARTS) -> StoredMarket:
    return StoredMarket(prices(starts), INSTRUMENTS, ROLLS, fx(), base_currency="USD", seed=seed)


def broker(database: Path, start: datetime = NOON, on: StoredMarket | None = None) -> tuple[PaperBroker, ExchangeClock]:
    clock = ExchangeClock(database)
    clock.set_start(start)
    exchange = PaperBroker(database, on or market(), clock, base_currency="USD", starting_cash=CASH, seed=5)
    return exchange, clock


def buy(ref: str, *legs: tuple[Contract, int], limit: str | None = None) -> OrderTicket:
    kind = OrderType.MARKET if limit is None else OrderType.LIMIT
    price = None if limit is None else Decimal(limit)
    return OrderTicket(ref, tuple(Leg(*leg) for leg in legs), kind, price)


def desk_minute(exchange: PaperBroker, minute: int) -> None:
    """What a desk does in one minute of its day: the same again when it died in the middle."""
    contract = CONTRACTS[minute % len(CONTRACTS)]
    exchange.submit(buy(f"m{minute}", (contract, 12 if minute % 3 else -25)))
    if minute % 4 == 0:
        exchange.submit(buy(f"s{minute}", (GOLD_APR, -4), (GOLD_JUN, 8)))
    exchange.cancel(f"m{minute - 1}")
    exchange.fills_since(None)
