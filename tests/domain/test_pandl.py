"""The account's change of value, split so that nothing is lost and nothing is invented."""

from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pysys.domain.contracts import Contract
from pysys.domain.orders import ROLL_PSEUDO_STRATEGY
from pysys.domain.pandl import (
    Balance,
    BookedFill,
    PointValue,
    Poll,
    Records,
    SpreadLegs,
    StrategyMove,
    account_change,
    timing_difference,
)

START = datetime(2026, 3, 2, 12, tzinfo=UTC)
CORN = Contract("CORN", "20261200")
CORN_NEXT = Contract("CORN", "20271200")
BUND = Contract("BUND", "20260600")
MARKETS = {"CORN": PointValue("USD", 50.0), "BUND": PointValue("EUR", 1000.0)}
CENT = 0.005


def at(minutes: float) -> datetime:
    return START + timedelta(minutes=minutes)


def fill(contract, quantity, price, minutes, strategy="trend", commission=0.0, spread=None):
    """spread: CORN_CALENDAR, within one market, or CORN_BUND, between two."""
    between = spread == "CORN_BUND"
    return BookedFill(
        contract, strategy, quantity, price, at(minutes), commission, spread=spread, between_markets=between
    )


def records_of(fills, units=()):
    """Records as the store reads them: what was there at the first poll, and what came after.

    units: (minutes, strategy, spread, change) of positions in spreads.
    """
    opening, owners, within, between = Counter(), Counter(), Counter(), Counter()
    for f in fills:
        if f.filled_at <= START:
            opening[f.contract] += f.quantity
            if f.between_markets:
                between[f.spread, f.contract.instrument] += f.quantity
            elif f.spread is not None:
                within[f.spread, f.contract] += f.quantity
            elif f.strategy != ROLL_PSEUDO_STRATEGY:
                owners[f.strategy, f.contract.instrument] += f.quantity
    owners.update({(strategy, code): change for minutes, strategy, code, change in units if minutes <= 0})
    later = [f for f in fills if f.filled_at > START]
    moves = [
        StrategyMove(f.strategy, f.contract.instrument, f.filled_at, f.quantity)
        for f in later
        if f.strategy != ROLL_PSEUDO_STRATEGY and f.spread is None
    ]
    moves += [StrategyMove(strategy, code, at(when), change) for when, strategy, code, change in units if when > 0]
    return Records(opening, later, owners, moves, MARKETS, SpreadLegs(within, between))


def broker_poll(minutes, fills, marks, rates, transfers=()):
    """The account as a broker keeps it: cash, profit at the marks, commission, and money paid in."""
    balances = {}
    for currency, rate in rates.items():
        amount = 100_000.0 + sum(a for when, c, a in transfers if c == currency and when <= minutes)
        for f in fills:
            market = MARKETS[f.contract.instrument]
            if market.currency == currency and f.filled_at <= at(minutes):
                amount += f.quantity * (marks[f.contract] - f.price) * market.point_size - f.commission
        balances[currency] = Balance(amount, rate)
    held = Counter()
    for f in fills:
        if f.filled_at <= at(minutes):
            held[f.contract] += f.quantity
    shown = {contract: marks[contract] for contract, quantity in held.items() if quantity != 0}
    return Poll(at(minutes), sum(b.amount * b.fx_rate for b in balances.values()), balances, shown)


def test_a_worked_example_in_two_currencies():
    fills = [
        fill(CORN, 2, 400.0, -5),  # held from before the period
        fill(BUND, -1, 130.0, 5, commission=2.0),
        fill(CORN, -2, 410.0, 15, commission=5.0),  # closed between two polls: needs no mark
    ]
    polls = [
        broker_poll(0, fills, {CORN: 402.0, BUND: 131.0}, {"USD": 1.0, "EUR": 1.10}),
        broker_poll(10, fills, {CORN: 405.0, BUND: 129.0}, {"USD": 1.0, "EUR": 1.20}),
        broker_poll(20, fills, {CORN: 999.0, BUND: 128.0}, {"USD": 1.0, "EUR": 1.15}),
    ]
    change = account_change(polls, records_of(fills))

    assert change.by_instrument["CORN"] == pytest.approx(2 * (405 - 402) * 50 + 2 * (410 - 405) * 50)
    assert change.by_instrument["BUND"] == pytest.approx(1000 * 1.20 + 1000 * 1.15)
    assert change.commission == pytest.approx(-2 * 1.20 - 5)
    # 100,000 EUR were there at the first poll, 100,998 at the second
    assert change.fx == pytest.approx(100_000 * 0.10 - 100_998 * 0.05)
    assert change.unexplained == pytest.approx(0, abs=CENT)
    assert change.by_strategy == {"trend": pytest.approx(change.futures)}


@st.composite
def accounts(draw):
    prices = st.integers(50, 150).map(float)
    fills = draw(
        st.lists(
            st.builds(
                fill,
                st.sampled_from([CORN, CORN_NEXT, BUND]),
                st.integers(-5, 5).filter(bool),
                prices,
                st.integers(-10, 31),
                st.sampled_from(["trend", "carry", ROLL_PSEUDO_STRATEGY]),
                st.integers(0, 9).map(float),
                st.sampled_from([None, "CORN_CALENDAR", "CORN_BUND"]),
            ),
            max_size=12,
        )
    )
    transfers = draw(
        st.lists(
            st.tuples(st.integers(1, 30), st.sampled_from(["USD", "EUR"]), st.integers(-9999, 9999)),
            max_size=2,
        )
    )
    polls = [
        broker_poll(
            minutes,
            fills,
            {contract: draw(prices) for contract in (CORN, CORN_NEXT, BUND)},
            {"USD": 1.0, "EUR": draw(st.floats(0.8, 1.4))},
            transfers,
        )
        for minutes in (0, 10, 20, 30)
    ]
    return fills, transfers, polls


UNITS = st.tuples(
    st.integers(-10, 31),
    st.sampled_from(["trend", "carry"]),
    st.sampled_from(["CORN_CALENDAR", "CORN_BUND"]),
    st.integers(-3, 3),
)


@given(accounts(), st.lists(UNITS, max_size=4))
@settings(max_examples=200, deadline=None)
def test_the_parts_sum_to_the_total_and_only_transfers_are_unexplained(account, units):
    fills, transfers, polls = account
    change = account_change(polls, records_of(fills, units))

    assert change.total == pytest.approx(polls[-1].total - polls[0].total, abs=CENT)
    parts = change.futures + change.commission + change.fx + change.unexplained
    assert parts == pytest.approx(change.total, abs=CENT)
    assert sum(change.by_strategy.values()) + change.not_attributed == pytest.approx(change.futures, abs=CENT)
    rates = {poll.time: poll.balances for poll in polls}
    paid_in = 0.0
    for minutes, currency, amount in transfers:
        landed = min(time for time in rates if time >= at(minutes))
        paid_in += amount * rates[landed][currency].fx_rate
    assert change.unexplained == pytest.approx(paid_in, abs=CENT)


def test_a_fill_our_records_miss_is_unexplained_not_futures():
    known = [fill(CORN, 1, 400.0, -5)]
    missed = fill(CORN, 1, 403.0, 5)
    polls = [
        broker_poll(0, known, {CORN: 400.0}, {"USD": 1.0}),
        broker_poll(10, [*known, missed], {CORN: 410.0}, {"USD": 1.0}),
    ]
    change = account_change(polls, records_of(known))

    assert change.futures == pytest.approx(500)
    assert change.unexplained == pytest.approx(350)


def test_a_roll_is_nobodys_gain():
    """3 held by one strategy, -1 by another; rolled at a spread of 7 points, which moves no money."""
    fills = [
        fill(CORN, 3, 400.0, -5, "trend"),
        fill(CORN, -1, 400.0, -4, "carry"),
        fill(CORN, -2, 400.0, 5, ROLL_PSEUDO_STRATEGY),
        fill(CORN_NEXT, 2, 407.0, 5, ROLL_PSEUDO_STRATEGY),
    ]
    still = {CORN: 400.0, CORN_NEXT: 407.0}
    up = {CORN: 404.0, CORN_NEXT: 410.0}
    polls = [
        broker_poll(0, fills, still, {"USD": 1.0}),
        broker_poll(10, fills, still, {"USD": 1.0}),
        broker_poll(20, fills, up, {"USD": 1.0}),
    ]
    change = account_change(polls, records_of(fills))

    assert change.by_strategy == {"trend": pytest.approx(3 * 3 * 50), "carry": pytest.approx(-1 * 3 * 50)}
    assert ROLL_PSEUDO_STRATEGY not in change.by_strategy
    assert change.not_attributed == 0


def test_a_contract_without_a_mark_keeps_its_last_price_and_is_named():
    fills = [fill(CORN, 1, 400.0, -5)]
    marks = ({CORN: 400.0}, {}, {CORN: 410.0})
    polls = [Poll(at(10 * n), 0.0, {"USD": Balance(0.0, 1.0)}, mark) for n, mark in enumerate(marks)]
    change = account_change(polls, records_of(fills))

    assert [step.futures for step in change.steps] == [0, 0, 500]
    assert change.unmarked == (CORN,)
    assert change.unexplained == pytest.approx(-500)


def test_a_currency_without_any_rate_is_left_out_and_named():
    fills = [fill(BUND, 1, 130.0, 5)]
    polls = [Poll(at(n), 10.0, {"USD": Balance(10.0, 1.0)}, {BUND: 131.0}) for n in (0, 10)]
    change = account_change(polls, records_of(fills))

    assert change.by_instrument == {}
    assert change.unvalued == ("EUR",)
    assert change.total == change.unexplained == 0


def test_commission_that_is_not_known_yet_is_counted_not_assumed():
    unknown = BookedFill(CORN, "trend", 1, 400.0, at(5), None)
    polls = [Poll(at(n), 10.0, {"USD": Balance(10.0, 1.0)}, {CORN: 400.0}) for n in (0, 10)]
    change = account_change(polls, records_of([unknown]))

    assert change.commissions_unknown == 1
    assert change.commission == 0


def test_timing_is_our_price_less_the_brokers_mark():
    poll = Poll(START, 0.0, {"EUR": Balance(0.0, 1.1)}, {BUND: 131.0, CORN: 400.0})
    found = timing_difference(poll, {BUND: -2, CORN: 1}, {BUND: 131.5, CORN: 401.0}, MARKETS)

    assert found == {"BUND": pytest.approx(-2 * 0.5 * 1000 * 1.1)}  # no USD rate in this poll


def test_one_poll_is_not_a_change():
    with pytest.raises(ValueError, match="two polls"):
        account_change([Poll(START, 0.0, {}, {})], records_of([]))


# --- spreads -----------------------------------------------------------------------------------------------------

USD = {"USD": 1.0}


def test_the_legs_of_a_spread_gain_for_the_spread_and_a_roll_of_them_is_nobodys_gain():
    """Two calendar spreads of trend beside three outright contracts of carry; the spreads roll at the marks."""
    later = Contract("CORN", "20281200")
    spread = "CORN_CALENDAR"
    fills = [
        fill(CORN, 3, 400.0, -5, "carry"),
        fill(CORN, 2, 400.0, -4, spread=spread),
        fill(CORN_NEXT, -2, 410.0, -4, spread=spread),
        *(
            fill(contract, quantity, price, 15, ROLL_PSEUDO_STRATEGY, spread=spread)
            for contract, quantity, price in ((CORN, -2, 405.0), (CORN_NEXT, 4, 411.0), (later, -2, 420.0))
        ),
    ]
    polls = [
        broker_poll(0, fills, {CORN: 400.0, CORN_NEXT: 410.0}, USD),
        broker_poll(10, fills, {CORN: 405.0, CORN_NEXT: 411.0}, USD),
        broker_poll(20, fills, {CORN: 405.0, CORN_NEXT: 411.0, later: 420.0}, USD),
        broker_poll(30, fills, {CORN: 405.0, CORN_NEXT: 413.0, later: 421.0}, USD),
    ]
    change = account_change(polls, records_of(fills, [(-4, "trend", spread, 2)]))

    gained = 2 * ((405 - 400) - (411 - 410)) + 2 * ((413 - 411) - (421 - 420))
    assert change.by_instrument == {"CORN": pytest.approx(3 * 5 * 50), spread: pytest.approx(gained * 50)}
    assert change.by_strategy == {"carry": pytest.approx(3 * 5 * 50), "trend": pytest.approx(gained * 50)}
    assert (change.not_attributed, change.unexplained) == (pytest.approx(0), pytest.approx(0))


@pytest.mark.parametrize(("own", "unmarked"), [({}, (CORN,)), ({0: 400.0, 10: 405.0}, ())])
def test_a_leg_and_an_outright_position_against_it_gain_though_the_broker_marks_neither(own, unmarked):
    """Long a spread's near leg and short as much outright until minute 15."""
    fills = [
        fill(CORN, 1, 400.0, -5, spread="CORN_CALENDAR"),
        fill(CORN, -1, 400.0, -5 if own else 5, "carry"),
        fill(CORN, 1, 407.0, 15, "carry"),
    ]
    polls = [broker_poll(minutes, fills, {CORN: mark}, USD) for minutes, mark in ((0, 400.0), (10, 405.0), (20, 408.0))]
    records = records_of(fills, [(-5, "trend", "CORN_CALENDAR", 1)])
    change = account_change(
        polls, replace(records, own_prices={at(when): {CORN: price} for when, price in own.items()})
    )

    assert change.by_strategy == {"carry": pytest.approx(-7 * 50), "trend": pytest.approx(8 * 50)}
    assert change.futures == pytest.approx(1 * 50)
    assert change.unmarked == unmarked


def test_legs_between_markets_share_their_markets_gains_and_roll_with_them():
    """Two spreads of trend hold four of the six contracts; the market rolls all six in one order of its own."""
    fills = [
        fill(CORN, 2, 400.0, -5, "carry"),
        fill(CORN, 4, 400.0, -5, spread="CORN_BUND"),
        fill(BUND, -2, 130.0, -5, spread="CORN_BUND"),
        fill(CORN, -6, 401.0, 5, ROLL_PSEUDO_STRATEGY),
        fill(CORN_NEXT, 6, 411.0, 5, ROLL_PSEUDO_STRATEGY),
    ]
    rates = {"USD": 1.0, "EUR": 1.0}
    polls = [
        broker_poll(0, fills, {CORN: 400.0, BUND: 130.0}, rates),
        broker_poll(10, fills, {CORN: 401.0, CORN_NEXT: 411.0, BUND: 130.0}, rates),
        broker_poll(20, fills, {CORN: 401.0, CORN_NEXT: 414.0, BUND: 130.5}, rates),
    ]
    change = account_change(polls, records_of(fills, [(-5, "trend", "CORN_BUND", 2)]))

    assert change.by_instrument["CORN"] == change.by_strategy["carry"] == pytest.approx(2 * 4 * 50)
    gained = 4 * 4 * 50 - 2 * 0.5 * 1000
    assert change.by_instrument["CORN_BUND"] + change.by_instrument.get("BUND", 0.0) == pytest.approx(gained)
    assert change.by_strategy["trend"] == pytest.approx(gained)
