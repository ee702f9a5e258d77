"""Pure rules against the reference tables; where a decision of ours differs, the case says so."""

import csv
from pathlib import Path

import pytest

from pysys.domain.capital import CapitalState, change_fraction, initial_capital, update_capital
from pysys.domain.limits import within_position_limit
from pysys.domain.overrides import NO_OVERRIDE, Override, apply_override, combine
from pysys.domain.targets import trade_into_buffer


def rows(shared: Path, name: str) -> list[dict[str, str]]:
    with (shared / "reference" / name).open() as lines:
        return list(csv.DictReader(lines))


def override_from(text: str) -> Override:
    if text == "none":
        return NO_OVERRIDE
    return Override(text) if text in ("close", "no_trading", "reduce_only") else Override("factor", float(text))


def test_buffered_orders(shared):
    for row in rows(shared, "buffered_orders.csv"):
        trade = trade_into_buffer(int(row["current_position"]), float(row["lower"]), float(row["upper"]))
        assert trade == int(row["trade"]), row


def test_overrides(shared):
    differing = 0
    for row in rows(shared, "overrides.csv"):
        override, position = override_from(row["override"]), int(row["current_position"])
        wanted = position + int(row["desired_trade"])
        trade = apply_override(override, position, int(row["desired_trade"]))
        if trade != int(row["resulting_trade"]):
            differing += 1
            # The reference rounds a scaled short down and so makes it larger; we round toward zero.
            assert override.kind == "factor" and wanted < 0, row
            assert abs(position + trade) < abs(position + int(row["resulting_trade"])), row
    assert differing > 0


def test_combined_overrides(shared):
    for row in rows(shared, "override_product.csv"):
        combined = combine([override_from(row["override_a"]), override_from(row["override_b"])])
        expected = override_from(row["combined"])
        assert combined.kind == expected.kind and combined.factor == pytest.approx(expected.factor), row


def test_position_limits(shared):
    for row in rows(shared, "position_limits.csv"):
        trade = within_position_limit(int(row["position"]), int(row["proposed_trade"]), int(row["position_limit"]))
        assert trade == int(row["possible_trade"]), row


def test_capital_methods(shared):
    states: dict[tuple[str, str], CapitalState] = {}
    for row in rows(shared, "capital_methods.csv"):
        key, value = (row["path"], row["method"]), float(row["broker_account_value"])
        before = states.get(key)
        expected = [float(row[name]) for name in ("total_capital", "maximum_capital", "accumulated_pandl")]
        if before is None:
            states[key] = initial_capital(value, *expected)
        else:
            states[key] = update_capital(before, value, row["method"])
        got = states[key]
        assert [got.total, got.maximum, got.accumulated] == pytest.approx(expected, abs=1e-6), row


def test_large_changes_of_capital(shared):
    for row in rows(shared, "capital_large_change.csv"):
        previous = float(row["prev_broker_account_value"])
        state = CapitalState(previous, previous, previous, 0)
        rejected = change_fraction(state, float(row["new_broker_account_value"])) > float(row["limit"])
        assert rejected == bool(int(row["rejected"])), row


@pytest.mark.parametrize(
    ("held", "lower", "upper", "trade"),
    [
        (14, 10.87, 13.32, -1),
        (9, 10.87, 13.32, 2),
        (12, 10.87, 13.32, 0),
        (1, 1.03, 1.30, 0),  # below the buffer, but already at its rounded edge
        (0, 2.5, 3.5, 2),  # half to even
        (-5, -3.5, -2.5, 1),
    ],
)
def test_trading_into_the_buffer(held, lower, upper, trade):
    assert trade_into_buffer(held, lower, upper) == trade


@pytest.mark.parametrize(
    ("override", "position", "trade", "allowed"),
    [
        (Override("factor", 0.5), 5, 2, -2),  # 7 x 0.5 = 3.5, toward zero 3
        (Override("factor", 0.5), 0, -3, -1),  # -1.5, toward zero: the reference's floor makes the short larger
        (Override("reduce_only"), 5, -8, -5),
        (Override("reduce_only"), 5, 2, 0),
        (Override("no_trading"), 5, -5, 0),
        (Override("close"), -4, 0, 4),
    ],
)
def test_what_an_override_leaves_of_a_trade(override, position, trade, allowed):
    assert apply_override(override, position, trade) == allowed


@pytest.mark.parametrize(
    ("position", "trade", "limit", "allowed"), [(5, 0, 3, -2), (2, 2, 3, 1), (5, -9, 3, -8), (0, 2, 0, 0)]
)
def test_a_position_limit_cuts_the_trade(position, trade, limit, allowed):
    assert within_position_limit(position, trade, limit) == allowed


@pytest.mark.parametrize(("method", "total"), [("full", 103), ("half", 100), ("fixed", 98)])
def test_a_profit_of_five_on_capital_of_98_below_a_maximum_of_100(method, total):
    assert update_capital(CapitalState(100, 98, 100, 0), 105, method).total == total


def test_a_change_of_exactly_the_limit_is_believed():
    assert change_fraction(CapitalState(100, 100, 100, 0), 110) == pytest.approx(0.1)
