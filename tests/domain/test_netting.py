"""Crossing orders inside the house."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pysys.domain.netting import crosses, limit_allows
from pysys.domain.orders import InstrumentOrder, InstrumentOrderType

NOW = datetime(2024, 3, 4, tzinfo=UTC)


def orders(*trades: int) -> list[InstrumentOrder]:
    return [
        InstrumentOrder(f"s{n}", "GOLD", trade, InstrumentOrderType.BEST, NOW, id=n)
        for n, trade in enumerate(trades, 1)
    ]


@pytest.mark.parametrize(
    ("trades", "found"),
    [
        ((5, -3), [(1, 2, 3)]),
        ((5, 2), []),
        ((3, -1, -4, 2), [(1, 2, 1), (1, 3, 2), (4, 3, 2)]),
        ((-2, 2), [(2, 1, 2)]),
        ((), []),
    ],
)
def test_the_oldest_cross_first(trades, found):
    assert [(cross.buyer, cross.seller, cross.quantity) for cross in crosses(orders(*trades))] == found


@given(st.lists(st.integers(-20, 20).filter(bool), max_size=8))
def test_what_is_left_is_one_sided_and_nets_to_the_same(trades):
    left = dict(enumerate(trades, 1))
    for cross in crosses(orders(*trades)):
        left[cross.buyer] -= cross.quantity
        left[cross.seller] += cross.quantity

    assert sum(left.values()) == sum(trades)
    assert all(0 <= left[n] <= trade or trade <= left[n] <= 0 for n, trade in enumerate(trades, 1))
    assert not (any(n > 0 for n in left.values()) and any(n < 0 for n in left.values()))
    assert crosses(orders(*left.values())) == []


@pytest.mark.parametrize(
    ("trade", "limit", "allowed"), [(1, 100.0, True), (1, 99.9, False), (-1, 100.0, True), (-1, 100.1, False)]
)
def test_a_limit_is_kept_when_crossing_at_100(trade, limit, allowed):
    assert limit_allows(trade, limit, 100.0) is allowed
