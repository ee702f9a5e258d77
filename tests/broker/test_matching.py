"""Matching rules: cases, and what must hold for any book and any queue of orders."""

from collections import Counter
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pysys.broker.paper.matching import (
    Touch,
    Working,
    commission_due,
    inside_limit,
    limit_on_tick,
    match_in_turn,
    match_one,
    unit_price,
)
from pysys.domain.contracts import Contract
from pysys.domain.instruments import on_tick
from pysys.domain.orders import Leg

NEAR, FAR, LATE = (Contract("X", date) for date in ("20240300", "20240600", "20240900"))


def touch(bid: str, ask: str, bid_size: int = 10, ask_size: int = 10) -> Touch:
    return Touch(Decimal(bid), Decimal(ask), bid_size, ask_size)


def order(*legs: tuple[Contract, int], limit: str | None = None, done: int = 0, ref: str = "A") -> Working:
    return Working(ref, tuple(Leg(*leg) for leg in legs), done, None if limit is None else Decimal(limit))


BOOK = {NEAR: touch("99.9", "100.1", 3, 7), FAR: touch("101.9", "102.3", 5, 4), LATE: None}

CASES = [
    ("a buyer pays the ask, up to what is shown", order((NEAR, 10)), [(7, "100.1")]),
    ("a seller gets the bid, up to what is shown", order((NEAR, -10)), [(-3, "99.9")]),
    ("only the rest of a part-filled order trades", order((NEAR, 10), done=8), [(2, "100.1")]),
    ("a limit at the touch trades", order((NEAR, 1), limit="100.1"), [(1, "100.1")]),
    ("a better limit is given the touch", order((NEAR, -1), limit="90"), [(-1, "99.9")]),
    ("a limit inside the spread rests", order((NEAR, 1), limit="100.0"), None),
    ("a seller above the bid rests", order((NEAR, -1), limit="100.0"), None),
    ("nothing quoted, nothing traded", order((LATE, 1)), None),
    ("one leg not quoted holds the other", order((NEAR, 1), (LATE, -1)), None),
    ("the thinnest leg decides", order((NEAR, -9), (FAR, 9)), [(-3, "99.9"), (3, "102.3")]),
    ("whole units of the ratio only", order((NEAR, -4), (FAR, 8)), [(-2, "99.9"), (4, "102.3")]),
    ("a butterfly too thin in one leg waits", order((FAR, 5), (NEAR, -10)), [(1, "102.3"), (-2, "99.9")]),
    ("a spread sells at its limit", order((NEAR, -1), (FAR, 1), limit="-2.4"), [(-1, "99.9"), (1, "102.3")]),
    ("a spread does not sell below its limit", order((NEAR, -1), (FAR, 1), limit="-2.3"), None),
    ("a spread buys at its limit", order((NEAR, 1), (FAR, -1), limit="-1.8"), [(1, "100.1"), (-1, "101.9")]),
    ("a spread does not buy above its limit", order((NEAR, 1), (FAR, -1), limit="-1.9"), None),
]


@pytest.mark.parametrize(("fact", "working", "expected"), CASES, ids=[case[0] for case in CASES])
def test_one_order_against_one_book(fact, working, expected):
    match = match_one(working, BOOK)
    assert (None if match is None else [(t.quantity, str(t.price)) for t in match.trades]) == expected


def test_a_spread_is_priced_in_lowest_terms_with_its_first_leg_positive():
    near, far = Decimal("27.45"), Decimal("27.675")
    assert unit_price([4, -4], [near, far]) == Decimal("-0.225")
    assert unit_price([-4, 4], [near, far]) == Decimal("-0.225")
    assert unit_price([-2, 4, -2], [Decimal(10), Decimal(11), Decimal(13)]) == Decimal(1)
    assert inside_limit([4, -4], Decimal("-0.225"), Decimal("-0.2"))
    assert not inside_limit([-4, 4], Decimal("-0.225"), Decimal("-0.2"))


quantities = st.integers(-8, 8).filter(bool)
sizes = st.integers(0, 12)
touches = st.builds(
    lambda ticks, width, bid, ask: Touch(Decimal(ticks) / 4, Decimal(ticks + width) / 4, bid, ask),
    st.integers(-40, 40),
    st.integers(1, 4),
    sizes,
    sizes,
)
books = st.fixed_dictionaries({c: st.none() | touches for c in (NEAR, FAR, LATE)})
limits = st.none() | st.integers(-60, 60).map(lambda ticks: Decimal(ticks) / 4)


@st.composite
def queues(draw):
    queue = []
    for number in range(draw(st.integers(1, 6))):
        contracts = draw(st.lists(st.sampled_from([NEAR, FAR, LATE]), min_size=1, max_size=3, unique=True))
        legs = tuple(Leg(contract, draw(quantities)) for contract in contracts)
        queue.append(Working(f"o{number}", legs, 0, draw(limits)))
    return queue


@given(queue=queues(), book=books)
def test_all_orders_together_never_take_more_than_is_displayed(queue, book):
    bought, sold = Counter(), Counter()
    for match in match_in_turn(queue, book):
        for trade in match.trades:
            (bought if trade.quantity > 0 else sold)[trade.contract] += abs(trade.quantity)
    assert all(bought[c] <= book[c].ask_size for c in bought)
    assert all(sold[c] <= book[c].bid_size for c in sold)


@given(queue=queues(), book=books)
def test_a_later_order_changes_nothing_for_an_earlier_one(queue, book):
    before = match_in_turn(queue[:-1], book)
    assert match_in_turn(queue, book)[: len(before)] == before


@given(queue=queues(), book=books)
def test_every_match_keeps_the_ratio_its_limit_and_its_size(queue, book):
    by_ref = {working.order_ref: working for working in queue}
    for match in match_in_turn(queue, book):
        working = by_ref[match.order_ref]
        ordered = [leg.quantity for leg in working.legs]
        traded = [trade.quantity for trade in match.trades]
        assert all(t * ordered[0] == traded[0] * o for t, o in zip(traded, ordered, strict=True))
        assert all(0 < t / o <= 1 for t, o in zip(traded, ordered, strict=True))
        assert inside_limit(ordered, unit_price(traded, [t.price for t in match.trades]), working.limit_price)


@given(ticks=st.integers(-(10**6), 10**6), tick=st.sampled_from([0.00005, 0.0000005, 0.015625, 0.1, 0.25, 5.0]))
def test_a_price_snapped_to_the_tick_is_on_it_and_its_float_noise_is_not(ticks, tick):
    price = on_tick(ticks * tick, tick)
    assert limit_on_tick(price, tick)
    assert not limit_on_tick(price + Decimal("1e-17"), tick)


def test_commission_adds_up_to_the_total_and_is_never_handed_back():
    assert commission_due(0.0, 5.0) == 5.0
    assert commission_due(5.0, 5.0) == 0.0
    assert commission_due(5.0, 4.0) == 0.0
