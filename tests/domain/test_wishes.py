"""From a target of every kind to the trade it asks for, and what restraints leave of it."""

from datetime import UTC, datetime
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pysys.domain.conditions import Condition
from pysys.domain.overrides import Override
from pysys.domain.restraints import Restraints, reductions, restrain
from pysys.domain.targets import (
    Branch,
    BufferedTarget,
    ConditionalTarget,
    LimitTarget,
    SimpleTarget,
    SpreadTarget,
    wishes,
)

NOW = datetime(2024, 3, 4, tzinfo=UTC)
WHOSE = ("trend", "GOLD", NOW)
ENTER = Branch(Condition("below", 95.0, "20240400"), 2)
TAKE_PROFIT = Branch(Condition("above", 105.0, "20240400"), 0)
STOP = Branch(Condition("below", 90.0, "20240400"), 0)
MEAN_REVERSION = ConditionalTarget(*WHOSE, (ENTER, TAKE_PROFIT, STOP))


@pytest.mark.parametrize(
    ("target", "held", "trades"),
    [
        (SimpleTarget(*WHOSE, 5.0), 8, [-3]),
        (SimpleTarget(*WHOSE, 2.5), 0, [2]),  # half to even
        (BufferedTarget(*WHOSE, 12, 10.87, 13.32, None, None, None), 14, [-1]),
        (BufferedTarget(*WHOSE, 12, 10.87, 13.32, None, None, None), 12, [0]),
        (SpreadTarget(*WHOSE, 1.6, 2.4), 0, [2]),
        (LimitTarget(*WHOSE, -3.0, Decimal("101.5"), "20240400"), 1, [-4]),
        (MEAN_REVERSION, 0, [2]),  # flat: only the entry
        (MEAN_REVERSION, 2, [-2, -2]),  # long: both ways out, alternatives
        (MEAN_REVERSION, 1, [-1, -1]),  # filled in part: out of what there is, not after the rest
        (ConditionalTarget(*WHOSE, (ENTER,)), 2, [0]),
    ],
)
def test_what_a_target_asks_for(target, held, trades):
    assert [wish.trade for wish in wishes(target, held)] == trades


def test_a_limit_and_a_condition_travel_with_the_wish():
    (limited,) = wishes(LimitTarget(*WHOSE, 1.0, Decimal("101.5"), "20240400"), 0)
    (entry,) = wishes(MEAN_REVERSION, 0)

    assert (limited.order_type, limited.limit_price, limited.limit_contract) == ("limit", Decimal("101.5"), "20240400")
    assert entry.condition == ENTER.condition
    assert (limited.terms, entry.terms) == ("limit 101.5 in 20240400", "below 95 in 20240400")


@pytest.mark.parametrize(
    ("when", "price", "met"), [("below", 95.0, True), ("below", 95.1, False), ("above", 95.0, True)]
)
def test_a_condition_is_met_at_its_level(when, price, met):
    assert Condition(when, 95.0, "20240400").is_met(price) is met


@pytest.mark.parametrize(
    ("wanted", "position", "others", "restraints", "trade"),
    [
        (6, 0, 0, Restraints(), 6),
        (6, 0, 0, Restraints(strategy_limits=(4,), instrument_limits=(5,)), 4),
        (-12, 5, 0, Restraints(strategy_limits=(3, 2)), -7),  # the tightest wins
        (5, 0, 4, Restraints(instrument_limits=(6,)), 2),  # others hold 4
        (1, 0, 9, Restraints(instrument_limits=(6,)), 0),  # nothing more, and nothing turned round
        (-1, 0, 9, Restraints(instrument_limits=(6,)), -1),
        (6, 0, 0, Restraints(override=Override("factor", 0.5), strategy_limits=(2,)), 2),
        (2, 3, 0, Restraints(stale="old"), 0),
        (-2, 3, 0, Restraints(stale="old"), -2),
    ],
)
def test_what_restraints_leave_of_a_trade(wanted, position, others, restraints, trade):
    left, note = restrain(wanted, position, others, restraints)
    assert left == trade
    assert bool(note) == (left != wanted)


@pytest.mark.parametrize(
    ("positions", "own", "everybody", "trades"),
    [
        ({("a", "X"): 5}, {}, {}, {}),
        ({("a", "X"): 5}, {("a", "X"): 0}, {}, {("a", "X"): -5}),
        ({("a", "X"): -5}, {}, {"X": 3}, {("a", "X"): 2}),
        ({("a", "X"): 10, ("b", "X"): -2}, {}, {"X": 6}, {("a", "X"): -2}),  # not the one that leans against it
        ({("a", "X"): 5, ("b", "X"): 4}, {}, {"X": 2}, {("a", "X"): -5, ("b", "X"): -2}),
        ({("a", "X"): 5, ("b", "X"): 4}, {("a", "X"): 1}, {"X": 5}, {("a", "X"): -4}),
        ({("a", "X"): 5}, {("a", "Y"): 0}, {"Y": 0}, {}),
    ],
)
def test_positions_beyond_a_limit_are_brought_back(positions, own, everybody, trades):
    assert reductions(positions, own, everybody) == trades


HOLDINGS = st.dictionaries(st.sampled_from([("a", "X"), ("b", "X"), ("c", "X")]), st.integers(-30, 30))
LIMITS = st.dictionaries(st.sampled_from([("a", "X"), ("b", "X"), ("c", "X")]), st.integers(0, 20))


@given(HOLDINGS, LIMITS, st.integers(0, 20))
def test_after_the_reductions_every_limit_holds_and_nothing_has_grown(positions, own, limit):
    trades = reductions(positions, own, {"X": limit})
    after = {key: held + trades.get(key, 0) for key, held in positions.items()}

    assert all(abs(after[key]) <= most for key, most in own.items() if key in after)
    assert abs(sum(after.values())) <= limit
    assert all(abs(after[key]) <= abs(held) and after[key] * held >= 0 for key, held in positions.items())
    assert reductions(after, own, {"X": limit}) == {}


@given(
    st.integers(-30, 30),
    st.integers(-30, 30),
    st.integers(-30, 30),
    st.lists(st.integers(0, 20), max_size=2),
    st.lists(st.integers(0, 20), max_size=2),
)
def test_a_restrained_trade_never_breaks_a_limit_it_did_not_find_broken(wanted, position, others, own, everybody):
    trade, _ = restrain(wanted, position, others, Restraints(Override("factor"), tuple(own), tuple(everybody)))

    assert all(abs(position + trade) <= limit for limit in own) or abs(position) > min(own)
    total = position + others
    assert all(abs(total + trade) <= max(limit, abs(total)) for limit in everybody)
