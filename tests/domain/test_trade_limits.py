"""How much of a trade the trade limits allow: the established numbers, and what must hold for any."""

import csv
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as some

from pysys.domain.limits import TradeLimit, allowed_legs, allowed_trade, not_beyond, tightest_headroom

NOW = datetime(2024, 3, 4, 12, tzinfo=UTC)


def limit(size: int, used: int, days: int = 1, reset_at: datetime = NOW) -> TradeLimit:
    return TradeLimit("", "GOLD", days, size, used, reset_at)


def test_the_reference_agrees_wherever_its_headroom_is_not_negative(shared):
    with (shared / "reference" / "trade_limits.csv").open() as file:
        rows = list(csv.DictReader(file))
    negative = 0
    for row in rows:
        sizes, days, used = ([int(x) for x in row[name].split("|") if x] for name in list(row)[:3])
        limits = [limit(*each) for each in zip(sizes, used, days, strict=True)]
        allowed = allowed_trade(int(row["proposed_trade"]), tightest_headroom(limits, NOW))
        if any(u > size for size, u in zip(sizes, used, strict=True)):
            negative += 1
            assert allowed == 0  # the reference trades the other way
        else:
            assert allowed == int(row["possible_trade"]), row
    assert (len(rows) > 100, negative) == (True, 8)


@pytest.mark.parametrize(
    ("trade", "limits", "allowed"),
    [
        (5, [(4, 1, 1), (12, 2, 30)], 3),  # the instrument has 3 left today, the strategy 10 this month
        (-60, [(31, 0, 1)], -31),
        (-55, [(15, 0, 1)], -15),
        (2, [(3, 5, 1)], 0),  # used more than the limit, since it was lowered
        (7, [], 7),
    ],
)
def test_cases(trade, limits, allowed):
    assert allowed_trade(trade, tightest_headroom([limit(*each) for each in limits], NOW)) == allowed


def test_a_period_is_over_only_when_more_than_its_days_have_passed():
    used_up = limit(5, 5, days=1, reset_at=NOW - timedelta(days=1))

    assert used_up.headroom(NOW) == 0
    assert used_up.headroom(NOW + timedelta(microseconds=1)) == 5


ratios = some.lists(some.integers(-4, 4).filter(bool), min_size=1, max_size=3)


@given(ratios, some.integers(1, 50), some.one_of(some.none(), some.integers(0, 200)))
def test_legs_are_cut_in_proportion_towards_zero_and_never_beyond_the_headroom(ratio, units, headroom):
    trades = tuple(r * units for r in ratio)

    kept = allowed_legs(trades, headroom)

    assert headroom is None or sum(map(abs, kept)) <= headroom
    assert all(0 <= k * (1 if t > 0 else -1) <= abs(t) for k, t in zip(kept, trades, strict=True))
    assert all(k * trades[0] == kept[0] * t for k, t in zip(kept, trades, strict=True))


@given(some.integers(-50, 50), some.integers(-50, 50), some.integers(0, 30))
def test_the_last_check_lets_no_position_grow_beyond_its_limit_and_never_asks_for_a_trade(held, trade, size):
    kept = not_beyond(held, trade, size)

    assert abs(held + kept) <= max(abs(held), size)
    assert kept * trade >= 0 and abs(kept) <= abs(trade)
