"""Rolls: calendars, stitching, states, splits and when to move. Tables of cases, and the reference numbers."""

import csv
from datetime import date
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pysys.domain.contracts import Contract
from pysys.domain.errors import DataError
from pysys.domain.instruments import RollParameters
from pysys.domain.prices import MultipleRows, PriceRows, from_datetime64
from pysys.domain.roll_calendars import (
    RollCalendarRow,
    approximate_calendar,
    calendar_from_multiple,
    final_calendar,
    multiple_from_calendar,
    past_rolls,
)
from pysys.domain.roll_decisions import RollSituation, deadline, is_liquid, recent_volume, relative_volume, suggest
from pysys.domain.roll_rows import roll_rows
from pysys.domain.roll_split import passive_roll_split, roll_state_split
from pysys.domain.roll_states import ALLOWED_NEXT, RollMoveRefused, RollState, allowed_next, require_allowed
from pysys.domain.stitching import panama_stitch, rolls_of

NAN = float("nan")
DAY = 86_400_000_000


def table(path: Path) -> list[dict[str, str]]:
    with path.open() as file:
        return list(csv.DictReader(file))


def numbers(rows: list[dict[str, str]], column: str) -> np.ndarray:
    return np.array([float(row[column]) if row[column] else NAN for row in rows])


def whole(rows: list[dict[str, str]], column: str) -> np.ndarray:
    return np.array([int(row[column]) for row in rows], dtype=np.int64)


def stamps(rows: list[dict[str, str]], column: str) -> np.ndarray:
    return from_datetime64(np.array([row[column] for row in rows], dtype="datetime64[us]"))


def multiple(rows: list[dict[str, str]], time: str = "DATETIME") -> MultipleRows:
    return MultipleRows(
        stamps(rows, time),
        numbers(rows, "PRICE"),
        whole(rows, "PRICE_CONTRACT"),
        numbers(rows, "CARRY"),
        whole(rows, "CARRY_CONTRACT"),
        numbers(rows, "FORWARD"),
        whole(rows, "FORWARD_CONTRACT"),
    )


def small(price: list[float], forward: list[float], priced: list[int], forwards: list[int]) -> MultipleRows:
    count = len(price)
    return MultipleRows(
        np.arange(count) * DAY,
        np.array(price),
        np.array(priced),
        np.full(count, NAN),
        np.array(forwards),
        np.array(forward),
        np.array(forwards),
    )


# --- stitching ---


def test_history_shifts_by_the_gap_and_the_present_does_not() -> None:
    rows = small([100, 101, 105, 106], [103, 104.5, 108, 109], [1, 1, 2, 2], [2, 2, 3, 3])
    assert panama_stitch(rows).price.tolist() == [103.5, 104.5, 105, 106]


def test_a_roll_that_cannot_be_stitched_is_refused() -> None:
    with pytest.raises(DataError, match="no price of both"):
        panama_stitch(small([1, 2, 3], [2, NAN, 4], [1, 1, 2], [2, 2, 3]))
    with pytest.raises(DataError, match="goes to 2, but the forward contract before it was 7"):
        panama_stitch(small([1, 2, 3], [2, 3, 4], [1, 1, 2], [7, 7, 3]))


@given(
    st.lists(st.tuples(st.floats(-1e4, 1e4), st.floats(-1e4, 1e4)), min_size=2, max_size=30),
    st.sets(st.integers(1, 29)),
)
def test_stitching_keeps_the_returns_of_the_contract_held(prices: list[tuple[float, float]], cuts: set[int]) -> None:
    count = len(prices)
    contract = np.cumsum([1 if row in cuts else 0 for row in range(count)])
    price, forward = np.array(prices).T
    rows = small(list(price), list(forward), list(contract), list(contract + 1))
    moves = np.diff(panama_stitch(rows).price)
    bought = np.where(np.diff(contract) == 1, forward[:-1], price[:-1])
    np.testing.assert_allclose(moves, price[1:] - bought, atol=1e-6)


@pytest.mark.parametrize("code", ["CORN", "CRUDE_W_mini", "GOLD_micro", "SP500_micro", "US10", "V2X"])
def test_stitched_prices_agree_with_the_reference(shared: Path, code: str) -> None:
    rows = multiple(table(shared / "data" / "futures" / "multiple_prices_csv" / f"{code}.csv"))
    reference = table(shared / "reference" / f"adjusted_{code}.csv")
    here = np.searchsorted(rows.times, stamps(reference, "datetime"))
    for column, fill in (("adjusted_no_fill", False), ("adjusted_forward_fill", True)):
        ours = panama_stitch(rows, forward_fill=fill).price[here]
        np.testing.assert_allclose(ours, numbers(reference, column), rtol=1e-11, atol=1e-11)
    rolled = {roll.time for roll in rolls_of(rows)}
    assert rolled == set(stamps([row for row in reference if row["first_row_after_roll"] == "1"], "datetime").tolist())


# --- calendars ---

QUARTERLY = RollParameters("X", "HMUZ", "HMUZ", -5, 1, 18)


def daily(first: date, last: date) -> PriceRows:
    days = np.arange(np.datetime64(first), np.datetime64(last) + 1)
    days = days[np.is_busday(days)]
    times = from_datetime64(days.astype("datetime64[us]")) + 23 * 3_600_000_000
    return PriceRows(times, np.linspace(100, 110, len(times)))


def test_a_roll_goes_to_the_nearest_day_on_which_both_contracts_trade() -> None:
    march, june, september, december = (Contract("X", f"2024{month}00") for month in ("03", "06", "09", "12"))
    prices = {
        march: daily(date(2024, 1, 2), date(2024, 3, 19)),
        june: daily(date(2024, 1, 2), date(2024, 6, 3)),  # stops before its roll is due on June 14
        september: daily(date(2024, 5, 1), date(2024, 9, 18)),
        december: daily(date(2024, 8, 1), date(2024, 12, 18)),
    }
    calendar = final_calendar(approximate_calendar(QUARTERLY, list(prices)), prices)
    assert [(f"{row.roll_time:%m-%d %H}", row.current, row.next) for row in calendar] == [
        ("03-14 23", march, june),  # due at midnight: 23:00 of the same day is nearer than of the day before
        ("06-03 23", june, september),
    ]
    rows = multiple_from_calendar(calendar, prices)
    assert set(rows.price_contract.tolist()) == {20240600}
    assert rows.times[0] > from_datetime64(np.datetime64("2024-03-14"))


def test_a_missing_contract_is_stepped_over_and_a_gap_ends_the_calendar() -> None:
    march, september, december = (Contract("X", f"2024{month}00") for month in ("03", "09", "12"))
    apart = {
        march: daily(date(2024, 1, 2), date(2024, 3, 19)),
        september: daily(date(2024, 4, 1), date(2024, 9, 18)),
        december: daily(date(2024, 4, 1), date(2024, 12, 18)),
    }
    planned = approximate_calendar(QUARTERLY, list(apart))
    assert [(row.current, row.next) for row in planned] == [(march, september), (september, december)]
    assert final_calendar(planned, apart) == []
    with pytest.raises(DataError, match="at least two rolls"):
        multiple_from_calendar([], apart)
    assert approximate_calendar(QUARTERLY, [march]) == []


@pytest.mark.parametrize("name", ["SYNQ", "SYNM", "SYNA"])
def test_calendars_and_multiple_prices_agree_with_the_reference(shared: Path, name: str) -> None:
    folder = shared / "reference"
    (row,) = [row for row in table(folder / "rollcal_parameters.csv") if row["name"] == name]
    days = (int(row[column]) for column in ("roll_offset_days", "carry_offset", "expiry_offset"))
    parameters = RollParameters(name, row["hold_cycle"], row["priced_cycle"], *days)
    quoted: dict[Contract, list[dict[str, str]]] = {}
    for one in table(folder / f"rollcal_{name}_contract_prices.csv"):
        quoted.setdefault(Contract(name, one["contract"]), []).append(one)
    prices = {
        contract: PriceRows(stamps(rows, "datetime"), numbers(rows, "price")) for contract, rows in quoted.items()
    }
    planned = approximate_calendar(parameters, list(prices))
    final = final_calendar(planned, prices)
    reference = table(folder / f"rollcal_{name}_calendar.csv")
    for stage, calendar in (("approximate", planned), ("final", final)):
        assert [as_text(row) for row in calendar] == [
            tuple(one.values())[1:] for one in reference if one["stage"] == stage
        ]
    built, expected = multiple_from_calendar(final, prices), table(folder / f"rollcal_{name}_multiple.csv")
    wanted = multiple(expected, "datetime")
    for column in MultipleRows.__slots__:
        np.testing.assert_array_equal(getattr(built, column), getattr(wanted, column))
    np.testing.assert_allclose(panama_stitch(built).price, numbers(expected, "adjusted_no_fill"), rtol=1e-12)


def as_text(row: RollCalendarRow) -> tuple[str, ...]:
    return f"{row.roll_time:%Y-%m-%d %H:%M:%S}", row.current.date, row.next.date, row.carry.date


def test_calendars_backed_out_of_multiple_prices_agree_with_the_reference(shared: Path) -> None:
    reference = table(shared / "reference" / "rollcal_backed_out.csv")
    for code in ("AUD", "NIKKEI", "SOFR", "V2X"):
        rows = multiple(table(shared / "data" / "futures" / "multiple_prices_csv" / f"{code}.csv"))
        expected = [tuple(row.values())[1:] for row in reference if row["instrument"] == code]
        calendar = calendar_from_multiple(code, rows)
        assert [as_text(row) for row in calendar] == expected
        assert past_rolls(code, rows) == calendar[:-1]


# --- the rows of one roll ---


def test_a_complete_last_row_needs_one_row_more() -> None:
    held = small([100, 101], [103, 104], [1, 1], [2, 2])
    made = roll_rows("X", held, 3, 3, {3: 107.0})
    assert (made.gap, made.inferred, len(made.rows)) == (3.0, "", 1)
    assert (made.rows.price[0], made.rows.price_contract[0], made.rows.forward[0]) == (104, 2, 107)
    assert made.rows.times[0] - held.times[-1] == 1_000_000


@pytest.mark.parametrize(
    ("price", "forward", "expected_price", "expected_forward"),
    [
        ([100, 101, 102], [103, 104, NAN], 102, 105),  # the new contract has no price
        ([100, 101, NAN], [103, 104, 105], 102, 105),  # nor the old
        ([100, 101, NAN], [103, 104, NAN], 101, 104),  # neither: the row before counts
    ],
)
def test_an_incomplete_last_row_is_written_again_complete(
    price: list[float], forward: list[float], expected_price: float, expected_forward: float
) -> None:
    made = roll_rows("X", small(price, forward, [1, 1, 1], [2, 2, 2]), 3, 1, {})
    assert made.rows.price.tolist() == [expected_price, expected_forward]
    assert made.rows.price_contract.tolist() == [1, 2]
    assert made.rows.forward[0] == expected_forward and made.rows.carry[1] == expected_price
    assert np.diff(made.rows.times).tolist() == [1_000_000]
    assert made.gap == 3


def test_prices_never_or_long_not_seen_together_are_not_made_up() -> None:
    with pytest.raises(DataError, match="never had a price at the same time"):
        roll_rows("X", small([100, 101], [NAN, NAN], [1, 1], [2, 2]), 3, 3, {})
    with pytest.raises(DataError, match="more than 14"):
        roll_rows("X", small([100.0] * 17, [103.0] + [NAN] * 16, [1] * 17, [2] * 17), 3, 3, {})


# --- states and splits ---


def test_every_state_has_its_moves_and_they_agree_with_the_reference(shared: Path) -> None:
    reference = {
        (RollState(row["roll_state"]), row["has_priced_position"] == "1"): tuple(
            RollState(word) for word in row["allowed_next_states_first_is_recommended"].split("|")
        )
        for row in table(shared / "reference" / "roll_state_transitions.csv")
    }
    assert reference == ALLOWED_NEXT


def test_a_refused_move_says_what_is_possible() -> None:
    assert set(ALLOWED_NEXT) == {(state, held) for state in RollState for held in (True, False)}
    assert allowed_next(RollState.ROLL_ADJUSTED, held=True) == (RollState.ROLL_ADJUSTED,)
    require_allowed("X", RollState.NO_ROLL, RollState.FORCE, held=True)
    with pytest.raises(RollMoveRefused, match=r"X: roll state cannot go from No_Roll to Roll_Adjusted.*held.*Passive"):
        require_allowed("X", RollState.NO_ROLL, RollState.ROLL_ADJUSTED, held=True)


@pytest.mark.parametrize(
    ("state", "priced", "trade", "split"),
    [
        ("No_Roll", 3, 2, (2, 0)),
        ("No_Open", 3, -2, (-2, 0)),
        ("Passive", 0, 2, (0, 2)),
        ("Passive", 3, 2, (0, 2)),
        ("Passive", 3, -2, (-2, 0)),
        ("Passive", -2, 5, (2, 3)),
        ("Force", 3, 2, (0, 0)),
        ("Force", 0, 2, (0, 0)),
        ("Force", 0, -2, (0, -2)),
        ("Force_Outright", 3, -5, (-3, -2)),
        ("Close", 3, -2, (0, 0)),
        ("Roll_Adjusted", 0, 2, (0, 0)),
    ],
)
def test_a_trade_divides_by_roll_state(state: str, priced: int, trade: int, split: tuple[int, int]) -> None:
    assert roll_state_split(RollState(state), priced, trade) == split


@given(st.integers(-50, 50), st.integers(-50, 50))
def test_a_passive_split_trades_all_and_never_adds_to_the_priced_contract(priced: int, trade: int) -> None:
    old, new = passive_roll_split(priced, trade)
    assert old + new == trade
    assert abs(priced + old) <= abs(priced)


def test_splits_agree_with_the_reference(shared: Path) -> None:
    for row in table(shared / "reference" / "passive_roll_split.csv"):
        split = passive_roll_split(int(row["position_priced"]), int(row["instrument_trade"]))
        assert split == (int(row["trade_priced"]), int(row["trade_forward"]))
    for row in table(shared / "reference" / "roll_state_split.csv"):
        state = RollState(row["roll_state"])
        split = roll_state_split(state, int(row["position_priced"]), int(row["instrument_trade"]))
        assert split == (int(row["trade_priced"]), int(row["trade_forward"])), row


# --- when to move ---


def situation(state: str, position: int, due: int, expiry: int, volume: float, relative: float) -> RollSituation:
    today = np.datetime64("2024-03-04")  # a Monday

    def business(days: int) -> int:
        return int(np.busday_count(today, today + days))

    return RollSituation(RollState(state), position, due, business(due), expiry, business(expiry), volume, relative)


@pytest.mark.parametrize(
    ("state", "position", "due", "expiry", "volume", "relative", "suggested", "act"),
    [
        ("No_Roll", 2, 30, 40, 0.0, 0.0, "No_Roll", False),
        ("No_Roll", 2, 30, 40, 500.0, 0.5, "Passive", False),  # liquid: may start, nobody has to
        ("No_Roll", 2, 9, 20, 10.0, 0.1, "No_Open", False),  # near, and too thin to roll into
        ("No_Roll", 2, 9, 20, NAN, NAN, "No_Roll", False),  # volume not known
        ("No_Roll", 2, 7, 20, 0.0, 0.0, "Passive", True),
        ("Force", 2, 7, 20, 0.0, 0.0, "Force", True),
        ("Passive", 2, 0, 10, 0.0, 0.0, "Force", True),
        ("No_Open", 2, -1, 10, 0.0, 0.0, "Force", True),
        ("Force", 2, -3, 2, 0.0, 0.0, "Force_Outright", True),
        ("Force_Outright", 2, -3, 5, 0.0, 0.0, "Force_Outright", True),
        ("Close", 2, -3, 1, 0.0, 0.0, "Close", False),
        ("No_Roll", 0, 3, 10, 0.0, 0.0, "No_Roll", False),
        ("No_Roll", 0, 3, 10, 0.0, 1.5, "Roll_Adjusted", False),
        ("Passive", 0, 0, 10, 0.0, 0.0, "Roll_Adjusted", True),
        ("Force", 0, 3, 10, 0.0, 0.0, "Passive", True),  # the forced roll is done before its day
        ("Close", 0, 3, 10, 0.0, 0.0, "Passive", True),
        ("No_Roll", 0, 30, -1, 0.0, 0.0, "Roll_Adjusted", True),
    ],
)
def test_what_is_suggested(
    state: str, position: int, due: int, expiry: int, volume: float, relative: float, suggested: str, act: bool
) -> None:
    found = suggest(situation(state, position, due, expiry, volume, relative))
    assert (found.state.value, found.act) == (suggested, act)


@given(
    st.sampled_from([state for state in RollState if state is not RollState.ROLL_ADJUSTED]),
    st.integers(-3, 3),
    st.integers(-20, 40),
    st.integers(-20, 60),
    st.floats(0, 1000),
    st.floats(0, 3),
)
def test_only_allowed_moves_are_suggested(
    state: RollState, position: int, due: int, expiry: int, volume: float, relative: float
) -> None:
    found = suggest(situation(state.value, position, due, expiry, volume, relative))
    assert found.state is state or found.state in allowed_next(state, held=position != 0)


def test_expiry_gets_louder_every_day() -> None:
    order = ["", "notice", "warning", "critical"]
    levels = [deadline(situation("Force", 1, -30, days, 0.0, 0.0))[0] for days in range(14, -3, -1)]
    assert all(order.index(a) <= order.index(b) for a, b in pairwise(levels))
    assert levels[0] == "notice" and levels[-3] == "critical"
    assert "expired 2 days ago" in deadline(situation("Force", 1, -30, -2, 0.0, 0.0))[1]
    assert deadline(situation("Force", 0, -30, -2, 0.0, 0.0)) == ("", "")


def test_volume_is_a_short_average_and_liquidity_relative_to_the_priced_contract() -> None:
    assert recent_volume(np.array([NAN, 100.0, 200.0])) == pytest.approx((100 * 0.5 + 200) / 1.5)
    assert np.isnan(recent_volume(np.array([NAN])))
    assert relative_volume(0.0, 1.0) == pytest.approx(10_000)
    assert is_liquid(1.0, 1.01) and is_liquid(101.0, 0.011)
    assert not is_liquid(100.0, 0.5) and not is_liquid(101.0, 0.01) and not is_liquid(NAN, NAN)
