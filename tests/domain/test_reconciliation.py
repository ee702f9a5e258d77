"""Breaks between targets, our records and the broker."""

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from pysys.domain.contracts import Contract
from pysys.domain.orders import Fill
from pysys.domain.reconciliation import Target, is_break, position_breaks, trade_breaks

NAN = float("nan")


@pytest.mark.parametrize(
    ("held", "kind", "position", "lower", "upper", "expected"),
    [
        (0, "buffered", None, -0.029, 0.029, False),
        (1, "buffered", None, 1.030, 1.301, False),
        (3, "buffered", None, 2.211, 2.432, True),
        (1, "buffered", None, 1.953, 2.131, True),
        (8, "buffered", None, 8.655, 9.567, True),
        (0, "buffered", None, -0.616, -0.316, False),
        (2, "buffered", None, 2.5, 2.6, False),  # 2.5 rounds to 2, half to even
        (1, "buffered", None, NAN, 2.0, None),
        (0, "simple", 0.5, None, None, False),
        (1, "simple", 0.5, None, None, True),
        (2, "simple", 1.7, None, None, False),
        (-2, "spread", -1.2, None, None, True),
        (5, "limit", 1.0, None, None, None),  # waits for its price
        (5, "conditional", 1.0, None, None, None),
        (5, "simple", None, None, None, None),
    ],
)
def test_a_position_breaks_its_target(held, kind, position, lower, upper, expected):
    assert is_break(held, Target(kind, position, lower, upper)) is expected


def test_a_missing_position_is_flat():
    found = position_breaks({"A": 1, "B": 2, "C": 0}, {"B": 2, "D": -1})
    assert [(each.key, each.ours, each.theirs) for each in found] == [("A", 1, 0), ("D", 0, -1)]


def test_trades_are_matched_by_execution_and_told_apart():
    ours = Fill("paper", "1", "r", Contract("CORN", "20261200"), 1, 400.0, datetime(2026, 3, 2, tzinfo=UTC))
    here, there, both = ours, replace(ours, execution_id="2"), replace(ours, execution_id="3")
    found = trade_breaks(
        [here, both, replace(ours, execution_id="4")], [there, both, replace(ours, execution_id="4", price=401.0)]
    )
    assert [(each.execution_id, each.what) for each in found] == [
        ("1", "missing_at_broker"),
        ("2", "missing_here"),
        ("4", "differs"),
    ]
