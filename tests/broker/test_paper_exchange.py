"""The paper exchange as the desk meets it: orders worked while nobody looks, books that always add up."""

import os
import signal
import sqlite3
import subprocess
import sys
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pysys.broker.paper.clock import ExchangeClock
from pysys.broker.paper.exchange import PaperBroker
from pysys.broker.port import BrokerUnavailable, OrderTicket, WorkingStatus
from pysys.clock import FrozenClock
from pysys.domain.contracts import Contract
from pysys.domain.errors import ConfigError, DataError, NeedsOperator, OrderRejected
from tests.broker.paper_world import (
    BUND_JUN,
    BUND_MAR,
    CASH,
    CONTRACTS,
    GOLD_APR,
    GOLD_JUN,
    INSTRUMENTS,
    MINUTE,
    MONDAY,
    NIKKEI_JUN,
    NOON,
    broker,
    buy,
    desk_minute,
    market,
)

WORLD = market()
SESSION_END = MONDAY + timedelta(hours=17)
HOUR = timedelta(hours=1)


@pytest.fixture
def exchange(tmp_path):
    opened, clock = broker(tmp_path / "paper.db", on=WORLD)
    opened.clock = clock
    yield opened
    opened.close()
    clock.close()


def state(exchange: PaperBroker, ref: str):
    return exchange.order_states([ref])[ref]


def displayed(contract: Contract, moment: datetime, quantity: int) -> int:
    quote = WORLD.quote(contract, moment)
    return quote.ask_size if quantity > 0 else quote.bid_size


# orders


def test_a_market_order_takes_what_is_shown_minute_by_minute_and_is_done(exchange):
    exchange.submit(buy("G", (GOLD_APR, -20)))
    assert [(f.quantity, f.price) for f in exchange.fills_since(None)] == [(-1, 2100.2)]
    assert state(exchange, "G").status is WorkingStatus.WORKING

    exchange.clock.sleep_until(NOON + 10 * MINUTE)

    fills = exchange.fills_since(None)
    assert sum(f.quantity for f in fills) == -20
    for fill in fills[:-1]:
        assert fill.quantity == -displayed(GOLD_APR, fill.filled_at, -20)
    assert [f.filled_at for f in fills] == [NOON + n * MINUTE for n in range(len(fills))]
    assert [f.execution_id for f in fills] == [f"G#{n}" for n in range(1, len(fills) + 1)]
    assert state(exchange, "G").status is WorkingStatus.FILLED
    assert state(exchange, "G").filled == (-20,)
    assert exchange.positions() == {GOLD_APR: -20}


def test_the_quote_shows_what_is_left_this_minute(exchange):
    before = exchange.quote(GOLD_APR)
    exchange.submit(buy("G", (GOLD_APR, 5)))
    after = exchange.quote(GOLD_APR)
    assert (after.ask_size, after.bid_size) == (before.ask_size - 5, before.bid_size)
    exchange.clock.sleep_until(NOON + MINUTE)
    assert exchange.quote(GOLD_APR) == WORLD.quote(GOLD_APR, NOON + MINUTE)


def test_the_earlier_order_is_served_first_and_both_share_what_is_shown(exchange):
    exchange.submit(buy("first", (GOLD_APR, 25)))
    exchange.submit(buy("second", (GOLD_APR, 25)))
    assert (state(exchange, "first").filled, state(exchange, "second").filled) == ((19,), (0,))
    exchange.clock.sleep_until(NOON + 2 * MINUTE)
    exchange.order_states([])
    shown = [displayed(GOLD_APR, NOON + n * MINUTE, 1) for n in range(3)]
    assert state(exchange, "first").filled == (25,)
    assert state(exchange, "second").filled == (sum(shown) - 25,)


def test_a_limit_order_rests_until_its_price_comes_and_gets_the_better_one(exchange):
    shown = exchange.quote(GOLD_APR)
    exchange.submit(buy("rests", (GOLD_APR, 2), limit=str(shown.bid)))
    exchange.submit(buy("crosses", (GOLD_APR, 2), limit="2500"))
    assert state(exchange, "rests").filled == (0,)
    assert exchange.fills_since(None)[0].price == shown.ask
    exchange.clock.sleep_until(SESSION_END - MINUTE)
    for fill in exchange.fills_since(NOON + MINUTE):
        assert fill.price <= shown.bid


def test_a_changed_limit_trades_at_once_and_goes_to_the_back_of_the_queue(exchange):
    exchange.submit(buy("a", (GOLD_APR, 30), limit="2000"))
    exchange.submit(buy("b", (GOLD_APR, 30), limit="2000"))
    exchange.modify_limit("b", Decimal("2400"))
    exchange.modify_limit("a", Decimal("2400"))
    assert (state(exchange, "a").filled, state(exchange, "b").filled) == ((0,), (19,))
    exchange.clock.sleep_until(NOON + MINUTE)
    assert (state(exchange, "a").filled, state(exchange, "b").filled) == ((0,), (21,))
    assert [ticket.order_ref for ticket, _ in exchange.working_orders()] == ["b", "a"]
    assert exchange.working_orders()[0][0].limit_price == Decimal("2400")


def test_a_cancel_ends_the_rest_and_what_was_filled_stands(exchange):
    exchange.submit(buy("G", (GOLD_APR, -20)))
    exchange.clock.sleep_until(NOON + 2 * MINUTE)
    exchange.cancel("G")
    filled = sum(displayed(GOLD_APR, NOON + n * MINUTE, -1) for n in range(3))
    exchange.clock.sleep_until(NOON + HOUR)
    exchange.cancel("G")
    exchange.cancel("never sent")
    assert state(exchange, "G").status is WorkingStatus.CANCELLED
    assert state(exchange, "G").filled == (-filled,)
    assert exchange.positions() == {GOLD_APR: -filled}


def test_an_order_still_working_when_its_session_closes_expires(exchange):
    exchange.submit(buy("G", (GOLD_APR, 5), limit="1500"))
    exchange.clock.sleep_until(SESSION_END - MINUTE)
    assert state(exchange, "G").status is WorkingStatus.WORKING
    exchange.clock.sleep_until(SESSION_END)
    assert state(exchange, "G").status is WorkingStatus.CANCELLED
    assert state(exchange, "G").message == "day order expired"


def test_the_same_order_sent_again_is_one_order_even_after_its_limit_was_changed(exchange):
    ticket = buy("G", (GOLD_APR, 30), limit="2000")
    exchange.submit(ticket)
    exchange.modify_limit("G", Decimal("2400"))
    exchange.submit(ticket)
    assert state(exchange, "G").filled == (19,)
    with pytest.raises(OrderRejected, match="another order"):
        exchange.submit(buy("G", (GOLD_APR, 31), limit="2000"))
    assert state(exchange, "G").status is WorkingStatus.WORKING


REJECTED = [
    ("unknown contract", buy("R", (Contract("GOLD", "20300400"), 1)), NOON, "GOLD/20300400 is not listed"),
    ("before the open", buy("R", (GOLD_APR, 1)), MONDAY + 7 * HOUR, "closed at 2024-03-04 07:00"),
    ("at the close", buy("R", (GOLD_APR, 1)), SESSION_END, "is closed"),
    ("on the weekend", buy("R", (GOLD_APR, 1)), NOON + timedelta(days=5), "is closed"),
    ("expired", buy("R", (BUND_MAR, 1)), NOON + timedelta(days=7), "BUND/20240300 expired on 2024-03-08"),
    ("off the tick", buy("R", (GOLD_APR, 1), limit="2100.05"), NOON, "2100.05 is not a multiple of 0.1"),
    ("float noise", buy("R", (BUND_JUN, 1), limit="131.00000000000001"), NOON, "not a multiple of 0.01"),
    ("one contract twice", buy("R", (GOLD_APR, 1), (GOLD_APR, -2)), NOON, "another contract"),
]


@pytest.mark.parametrize(("why", "ticket", "moment", "sentence"), REJECTED, ids=[case[0] for case in REJECTED])
def test_a_rejected_order_is_recorded_and_stays_rejected(tmp_path, why, ticket, moment, sentence):
    exchange, clock = broker(tmp_path / "paper.db", start=moment, on=WORLD)
    for _ in range(2):
        with pytest.raises(OrderRejected, match=sentence):
            exchange.submit(ticket)
    found = state(exchange, "R")
    assert found.status is WorkingStatus.REJECTED
    assert sentence.split()[-1] in found.message
    assert exchange.order_states(["never sent"]) == {}
    exchange.close()
    clock.close()


def test_a_change_that_cannot_be_made_leaves_the_order_working(exchange):
    exchange.submit(buy("limit", (GOLD_APR, 5), limit="2000"))
    exchange.submit(buy("market", (GOLD_APR, 50)))
    for ref, price in (("limit", "2000.05"), ("market", "2000"), ("never sent", "2000")):
        with pytest.raises(OrderRejected):
            exchange.modify_limit(ref, Decimal(price))
    assert [ticket.limit_price for ticket, _ in exchange.working_orders()] == [Decimal("2000"), None]


def test_a_spread_fills_leg_by_leg_in_its_ratio_as_far_as_the_thinnest_leg(exchange):
    exchange.submit(buy("roll", (GOLD_APR, -9), (GOLD_JUN, 9)))
    exchange.submit(buy("ratio", (BUND_MAR, -10), (BUND_JUN, 5)))
    exchange.clock.sleep_until(NOON + HOUR)
    fills = exchange.fills_since(None)
    sums = defaultdict(int)
    for near, far in zip(fills[::2], fills[1::2], strict=True):
        roll = near.order_ref == "roll"
        assert near.quantity == (-far.quantity if roll else -2 * far.quantity)
        assert -near.quantity <= displayed(near.contract, near.filled_at, -1)
        assert far.quantity <= displayed(far.contract, far.filled_at, 1)
        assert near.price == WORLD.quote(near.contract, near.filled_at).bid
        assert far.price == WORLD.quote(far.contract, far.filled_at).ask
        sums[near.contract] += near.quantity
        sums[far.contract] += far.quantity
    assert exchange.positions() == sums == {GOLD_APR: -9, GOLD_JUN: 9, BUND_MAR: -10, BUND_JUN: 5}
    assert len({f.execution_id for f in fills}) == len(fills)


def test_a_spread_limit_is_held_to_by_the_legs_together(exchange):
    exchange.submit(buy("roll", (GOLD_APR, -1), (GOLD_JUN, 1), limit="-21.2"))
    assert state(exchange, "roll").filled == (0, 0)
    exchange.modify_limit("roll", Decimal("-21.3"))
    assert state(exchange, "roll").filled == (-1, 1)
    assert [f.price for f in exchange.fills_since(None)] == [2100.2, 2121.5]


# the account


def test_commission_over_partial_fills_is_that_of_the_whole_order(exchange):
    exchange.submit(buy("GOLD", (GOLD_APR, -20)))  # 2.00 a contract
    exchange.submit(buy("BUND", (BUND_JUN, 30)))  # 1.50 a contract, at least 5.00 an order
    exchange.submit(buy("small", (BUND_MAR, -3)))
    exchange.submit(buy("NIKKEI", (NIKKEI_JUN, 20)))  # 0.004 % of value
    exchange.clock.sleep_until(NOON + HOUR)
    costs, value = defaultdict(float), defaultdict(float)
    for fill in exchange.fills_since(None):
        assert fill.commission_currency == INSTRUMENTS[fill.contract.instrument].currency
        costs[fill.order_ref] += fill.commission
        value[fill.order_ref] += fill.quantity * fill.price
    assert costs["GOLD"] == pytest.approx(40.0)
    assert costs["BUND"] == pytest.approx(45.0)
    assert costs["small"] == pytest.approx(5.0)
    assert costs["NIKKEI"] == pytest.approx(0.00004 * value["NIKKEI"] * 100)


def test_the_account_starts_with_its_cash_and_knows_deposits(exchange):
    assert exchange.account_value().total == CASH
    exchange.deposit(-100_000.0, "USD")
    exchange.deposit(50_000.0, "EUR")
    account = exchange.account_value()
    assert {b.currency: (b.balance, b.fx_rate) for b in account.balances} == {
        "USD": (900_000.0, 1.0),
        "EUR": (50_000.0, 1.08),
    }
    assert (account.account, account.environment, account.total) == ("PAPER-1", "paper", 954_000.0)
    with pytest.raises(DataError, match="CHF"):
        exchange.deposit(1.0, "CHF")
    with pytest.raises(ValueError, match="moves no money"):
        exchange.deposit(float("nan"), "USD")
    assert exchange.account_value().total == 954_000.0


def reckoned(exchange: PaperBroker, moment: datetime) -> dict[str, float]:
    """Balances the long way round: every fill against the mark of now."""
    balances = defaultdict(float, USD=CASH)
    for fill in exchange.fills_since(None):
        instrument = INSTRUMENTS[fill.contract.instrument]
        profit = fill.quantity * (WORLD.mark(fill.contract, moment) - fill.price) * instrument.point_size
        balances[instrument.currency] += profit - fill.commission
    return balances


def test_an_open_position_gains_and_loses_with_its_mark(exchange):
    exchange.submit(buy("G", (GOLD_APR, 10)))
    now = exchange.account_value()
    assert now.marks == {GOLD_APR: 2100.3}
    assert now.total == pytest.approx(CASH - 10 * 0.1 * 100 - 20.0, abs=0.005)
    exchange.clock.sleep_until(NOON + 3 * HOUR)
    later = exchange.account_value()
    gain = (WORLD.mark(GOLD_APR, NOON + 3 * HOUR) - 2100.4) * 100 * 10
    assert later.total == pytest.approx(CASH + gain - 20.0, abs=0.005)


orders_of_a_day = st.lists(
    st.tuples(
        st.integers(0, 150),  # minutes after noon
        st.lists(st.sampled_from(CONTRACTS), min_size=1, max_size=2, unique=True),
        st.lists(st.integers(-30, 30).filter(bool), min_size=2, max_size=2),
        st.sampled_from([None, -3, 0, 3]),  # limit, in ticks from the touch
    ),
    max_size=8,
)


def work_through(database: Path, plan, polls=frozenset(), reopen=frozenset()) -> tuple[PaperBroker, ExchangeClock]:
    """Send the plan's orders in their minutes; look in between, or die and come back, in the minutes given."""
    exchange, clock = broker(database, on=WORLD)
    minutes = sorted({at for at, *_ in plan} | polls | reopen)
    for minute in minutes:
        clock.sleep_until(NOON + minute * MINUTE)
        if minute in reopen:
            exchange.close()
            clock.close()
            exchange, clock = broker(database, on=WORLD)
        if minute in polls:
            exchange.positions()
        for number, (at, contracts, quantities, ticks) in enumerate(plan):
            if at == minute:
                exchange.submit(planned(number, contracts, quantities, ticks, NOON + minute * MINUTE))
    return exchange, clock


def planned(number: int, contracts, quantities, ticks, moment: datetime) -> OrderTicket:
    legs = list(zip(contracts, quantities, strict=False))
    if ticks is None or len(legs) > 1:
        return buy(f"o{number}", *legs)
    quote, tick = WORLD.quote(contracts[0], moment), INSTRUMENTS[contracts[0].instrument].tick_size
    touch = Decimal(str(quote.ask if quantities[0] > 0 else quote.bid))
    return buy(f"o{number}", *legs, limit=str(touch + ticks * Decimal(str(tick))))


slow = settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@slow
@given(plan=orders_of_a_day, after=st.integers(0, 9 * 24 * 60))
def test_the_account_is_its_fills_at_their_marks_to_the_cent(tmp_path_factory, plan, after):
    exchange, clock = work_through(tmp_path_factory.mktemp("paper") / "paper.db", plan)
    clock.sleep_until(NOON + after * MINUTE)
    account, now = exchange.account_value(), clock.now()
    expected = reckoned(exchange, now)
    for balance in account.balances:
        assert balance.balance == pytest.approx(expected.pop(balance.currency), abs=0.005)
        assert balance.fx_rate == WORLD.fx_rate(balance.currency, now)
    assert not expected
    held = defaultdict(int)
    for fill in exchange.fills_since(None):
        held[fill.contract] += fill.quantity
    assert exchange.positions() == {contract: n for contract, n in held.items() if n}
    assert set(account.marks) == set(exchange.positions())
    exchange.close()
    clock.close()


# catching up


def everything(database: Path) -> dict[str, list[tuple]]:
    """Every row but the exchange's own bookkeeping of how far it has looked."""
    with sqlite3.connect(database) as connection:
        tables = ("orders", "legs", "fills", "positions", "transfers")
        rows = {table: connection.execute(f"SELECT * FROM {table} ORDER BY 1, 2").fetchall() for table in tables}
    connection.close()
    return rows


@slow
@given(
    plan=orders_of_a_day,
    polls=st.sets(st.integers(0, 420), max_size=60) | st.just(set(range(421))),
    reopen=st.sets(st.integers(0, 420), max_size=5),
)
def test_one_catch_up_of_seven_hours_equals_any_number_of_smaller_ones(tmp_path_factory, plan, polls, reopen):
    outcomes = []
    for pattern in ((set(), set()), (polls, reopen)):
        database = tmp_path_factory.mktemp("paper") / "paper.db"
        exchange, clock = work_through(database, plan, *pattern)
        clock.sleep_until(NOON + 420 * MINUTE)
        exchange.positions()
        outcomes.append(everything(database))
        exchange.close()
        clock.close()
    assert outcomes[0] == outcomes[1]


def test_two_processes_on_one_exchange_see_one_book(exchange, tmp_path):
    other, clock = broker(tmp_path / "paper.db", on=WORLD)
    exchange.submit(buy("G", (GOLD_APR, 5), limit="2100"))
    exchange.clock.sleep_until(NOON + MINUTE)
    assert exchange.positions() == {}  # looked, and nothing happened
    other.submit(buy("H", (GOLD_APR, 2)))
    assert exchange.positions() == {GOLD_APR: 2}
    clock.sleep_until(NOON + 2 * MINUTE)
    other.modify_limit("G", Decimal("2400"))
    assert state(exchange, "G").status is WorkingStatus.FILLED
    assert len(exchange.fills_since(NOON + 2 * MINUTE)) == 1
    other.close()
    clock.close()


def test_what_a_process_with_a_slow_clock_sends_is_worked_by_one_that_had_looked_ahead(tmp_path):
    opened = [
        PaperBroker(tmp_path / "paper.db", WORLD, FrozenClock(now), base_currency="USD", starting_cash=CASH, seed=5)
        for now in (NOON, NOON + 5 * MINUTE)
    ]
    slow_one, ahead = opened
    slow_one.submit(buy("rests", (GOLD_APR, 1), limit="1500"))
    ahead.positions()
    slow_one.submit(buy("G", (GOLD_APR, 35)))
    shown = [displayed(GOLD_APR, NOON + n * MINUTE, 1) for n in range(6)]
    assert ahead.positions() == {GOLD_APR: min(35, sum(shown))} != {GOLD_APR: shown[0]}
    for exchange in opened:
        exchange.close()


def test_many_at_once_neither_lock_each_other_out_nor_trade_more_than_is_shown(tmp_path):
    worlds = [broker(tmp_path / "paper.db", on=WORLD) for _ in range(3)]

    def send(number: int) -> None:
        exchange, clock = worlds[number % 3]
        for n in range(15):
            exchange.submit(buy(f"{number}-{n}", (GOLD_APR, 1 + n % 3)))
            clock.sleep_until(NOON + n * MINUTE)
            exchange.account_value()

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(send, range(6)))
    exchange, clock = worlds[0]
    clock.sleep_until(NOON + 2 * HOUR)
    taken = defaultdict(int)
    for fill in exchange.fills_since(None):
        taken[fill.filled_at] += fill.quantity
    assert sum(taken.values()) == 6 * 15 * 2
    assert all(quantity <= displayed(GOLD_APR, moment, 1) for moment, quantity in taken.items())
    for exchange, clock in worlds:
        exchange.close()
        clock.close()


def test_a_year_later_everything_is_settled(exchange):
    exchange.submit(buy("G", (GOLD_APR, 5)))
    exchange.clock.sleep_until(NOON + timedelta(days=365))
    assert exchange.positions() == {}
    assert [fill.order_ref for fill in exchange.fills_since(None)][-1].startswith("expiry:")


def test_an_expired_position_is_settled_at_the_last_mark_without_changing_the_account(exchange):
    exchange.submit(buy("B", (BUND_MAR, 7)))
    friday_night = MONDAY + timedelta(days=5)
    exchange.clock.sleep_until(friday_night - MINUTE)
    before = exchange.account_value()
    assert before.marks == {BUND_MAR: WORLD.mark(BUND_MAR, friday_night)}

    exchange.clock.sleep_until(friday_night + timedelta(days=3))

    assert exchange.positions() == {}
    (settled,) = exchange.fills_since(friday_night)
    assert (settled.order_ref, settled.execution_id) == ("expiry:BUND/20240300", "expiry:BUND/20240300#1")
    assert (settled.quantity, settled.price, settled.commission) == (-7, before.marks[BUND_MAR], 0.0)
    assert settled.filled_at == friday_night
    after = exchange.account_value()
    assert [b.balance for b in after.balances] == pytest.approx([b.balance for b in before.balances])
    assert after.marks == {}


def test_a_clock_that_goes_back_works_nothing_twice(tmp_path):
    clock = FrozenClock(NOON)
    exchange = PaperBroker(tmp_path / "paper.db", WORLD, clock, base_currency="USD", starting_cash=CASH, seed=5)
    exchange.submit(buy("G", (GOLD_APR, -20)))
    clock.advance(minutes=2)
    fills = exchange.fills_since(None)
    clock.advance(minutes=-2)
    assert exchange.fills_since(None) == fills
    exchange.submit(buy("H", (GOLD_APR, 1)))
    assert exchange.fills_since(None)[-1].filled_at == NOON + 2 * MINUTE
    exchange.close()


# dying


DESK = """
import sys
from pathlib import Path
from datetime import timedelta
sys.path.insert(0, sys.argv[2])
from paper_world import *
exchange, clock = broker(Path(sys.argv[1]))
print("up", flush=True)
while clock.now() < NOON + 240 * MINUTE:
    desk_minute(exchange, int((clock.now() - NOON) / MINUTE))
    clock.sleep_until(clock.now() + MINUTE)
"""


def test_a_desk_killed_again_and_again_ends_where_an_undisturbed_one_does(tmp_path):
    calm, clock = broker(tmp_path / "calm.db", on=WORLD)
    for minute in range(240):
        desk_minute(calm, minute)
        clock.sleep_until(clock.now() + MINUTE)
    calm.positions()
    calm.close()
    clock.close()

    database, killed = tmp_path / "killed.db", 0
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}
    for patience in (0.03, 0.07, 0.12, 60.0):
        command = [sys.executable, "-c", DESK, str(database), str(Path(__file__).parent)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, env=environment) as desk:
            assert desk.stdout.readline() == b"up\n"
            try:
                desk.wait(patience)
            except subprocess.TimeoutExpired:
                desk.send_signal(signal.SIGKILL)
                killed += 1
    again, clock = broker(database, on=WORLD)
    again.positions()
    again.close()
    clock.close()
    assert killed >= 2
    assert everything(database) == everything(tmp_path / "calm.db")


def test_an_exchange_remembers_whose_it_is(exchange, tmp_path):
    for wrong in ({"account": "PAPER-2"}, {"base_currency": "EUR"}, {"seed": 6}):
        given_ = {"base_currency": "USD", "seed": 5} | wrong
        with pytest.raises(ConfigError, match="holds the paper account PAPER-1 in USD with seed 5"):
            PaperBroker(tmp_path / "paper.db", WORLD, exchange.clock, starting_cash=CASH, **given_)
    again = PaperBroker(tmp_path / "paper.db", WORLD, exchange.clock, base_currency="USD", starting_cash=7.0, seed=5)
    assert again.account_value().total == CASH
    again.close()


def test_a_database_that_does_not_answer_is_an_unavailable_broker_and_no_flat_one(tmp_path, monkeypatch):
    monkeypatch.setattr("pysys.broker.paper.database.BUSY_SECONDS", 0.05)
    exchange, clock = broker(tmp_path / "paper.db", on=WORLD)
    other = sqlite3.connect(tmp_path / "paper.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(BrokerUnavailable, match="database is locked"):
        exchange.submit(buy("G", (GOLD_APR, 5)))
    other.execute("ROLLBACK")
    other.close()
    assert exchange.order_states(["G"]) == {}
    exchange.submit(buy("G", (GOLD_APR, 5)))
    assert exchange.positions() == {GOLD_APR: 5}
    exchange.close()
    clock.close()


# the clock


def test_the_simulated_time_is_one_for_all_and_only_moves_forward(tmp_path):
    one, other = ExchangeClock(tmp_path / "paper.db"), ExchangeClock(tmp_path / "paper.db")
    with pytest.raises(NeedsOperator, match=r"paper\.db was never set"):
        one.now()
    one.set_start(NOON)
    other.set_start(MONDAY)
    assert other.now() == NOON
    other.sleep_until(NOON + timedelta(microseconds=1))
    one.sleep_until(NOON)
    one.close()
    other.close()
    resumed = ExchangeClock(tmp_path / "paper.db")
    assert resumed.now() == NOON + timedelta(microseconds=1)
    resumed.close()


def test_a_file_of_another_version_is_refused(tmp_path):
    with sqlite3.connect(tmp_path / "paper.db") as connection:
        connection.execute("PRAGMA user_version = 99")
    connection.close()
    with pytest.raises(ConfigError, match="schema 99"):
        ExchangeClock(tmp_path / "paper.db")
