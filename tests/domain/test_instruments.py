"""Instruments, ticks, sessions, and the walk along roll cycles."""

import csv
from datetime import UTC, date, datetime, time
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pysys.domain.contracts import MONTH_LETTERS, Contract, parse_contract
from pysys.domain.instruments import (
    Instrument,
    RollParameters,
    TradingHours,
    next_in_cycle,
    on_tick,
    previous_in_cycle,
)

CORN = RollParameters("CORN", "Z", "HKNUZ", roll_offset=-60, carry_offset=-1, expiry_offset=14)
SP500 = RollParameters("SP500_micro", "HMUZ", "HMUZ", roll_offset=-5, carry_offset=1, expiry_offset=14)
SUGAR = RollParameters("SUGAR11", "HKNV", "HKNV", roll_offset=-60, carry_offset=-1, expiry_offset=-2)

cycles = st.sets(st.sampled_from(MONTH_LETTERS), min_size=1).map(lambda s: "".join(sorted(s)))
contracts = st.builds(
    lambda year, month, day: Contract("CORN", f"{year:04d}{month:02d}{day:02d}"),
    st.integers(1990, 2090),
    st.integers(1, 12),
    st.integers(0, 28),
)


def future(**changes: object) -> Instrument:
    known = {"code": "GOLD", "description": "Gold", "currency": "USD", "point_size": 100.0, "asset_class": "Metals"}
    return Instrument(**(known | changes))


def test_every_reference_contract_has_its_neighbours_expiry_and_roll_date(shared: Path) -> None:
    with (shared / "reference" / "roll_cycle.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) > 200
    for row in rows:
        roll = RollParameters(
            row["instrument"],
            row["hold_cycle"],
            row["priced_cycle"],
            int(row["roll_offset_days"]),
            int(row["carry_offset"]),
            int(row["expiry_offset"]),
        )
        contract = Contract(row["instrument"], row["contract"])
        found = {
            "in_priced_cycle": str(int(contract.letter in roll.priced_cycle)),
            "in_hold_cycle": str(int(contract.letter in roll.hold_cycle)),
            "next_priced": roll.next_priced(contract).date,
            "previous_priced": roll.previous_priced(contract).date,
            "next_held": roll.next_held(contract).date,
            "previous_held": previous_in_cycle(contract, roll.hold_cycle).date,
            "carry_contract": roll.carry_contract(contract).date,
            "approx_expiry": roll.expiry(contract).isoformat(),
            "desired_roll_date": roll.desired_roll_date(contract).isoformat(),
        }
        assert found == {column: row[column] for column in found}, str(contract)


@pytest.mark.parametrize(
    ("roll", "held", "next_held", "carry", "expiry", "roll_date"),
    [
        (CORN, "20251200", "20261200", "20250900", date(2025, 12, 15), date(2025, 10, 16)),
        (CORN, "20250700", "20251200", "20250500", date(2025, 7, 15), date(2025, 5, 16)),
        (SP500, "20251200", "20260300", "20260300", date(2025, 12, 15), date(2025, 12, 10)),
        (SUGAR, "20260300", "20260500", "20251000", date(2026, 2, 27), date(2025, 12, 29)),
        (SP500, "20260319", "20260619", "20260619", date(2026, 4, 2), date(2026, 3, 28)),
    ],
)
def test_a_contract_knows_what_comes_after_it_and_when(
    roll: RollParameters, held: str, next_held: str, carry: str, expiry: date, roll_date: date
) -> None:
    contract = Contract(roll.instrument, held)
    assert roll.next_held(contract).date == next_held
    assert roll.carry_contract(contract).date == carry
    assert roll.expiry(contract) == expiry
    assert roll.desired_roll_date(contract) == roll_date


@given(contract=contracts, cycle=cycles)
def test_a_step_along_a_cycle_lands_in_it_and_skips_no_month(contract: Contract, cycle: str) -> None:
    later = next_in_cycle(contract, cycle)
    assert later > contract
    assert later.letter in cycle
    assert later.day == contract.day
    months = (later.year - contract.year) * 12 + later.month - contract.month
    between = [contract.month + step for step in range(1, months)]
    assert not any(MONTH_LETTERS[(month - 1) % 12] in cycle for month in between)
    if contract.letter in cycle:
        assert previous_in_cycle(later, cycle) == contract


@given(contract=contracts)
def test_a_contract_reads_back_from_its_own_name(contract: Contract) -> None:
    assert parse_contract(str(contract)) == contract


@pytest.mark.parametrize("bad", ["202603", "20261300", "20260032", "2026-0300", ""])
def test_a_contract_date_that_cannot_be_is_refused(bad: str) -> None:
    with pytest.raises(ValueError, match="is not YYYYMM00 or YYYYMMDD"):
        Contract("GOLD", bad)


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"code": ""}, "without a code"),
        ({"point_size": 0.0}, "point size 0.0 is not positive"),
        ({"point_size": float("nan")}, "not positive"),
        ({"currency": "dollar"}, "three-letter"),
        ({"tick_size": 0.0}, "tick size 0.0 is not positive"),
    ],
)
def test_an_impossible_instrument_is_refused(changes: dict[str, object], complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        future(**changes)


@pytest.mark.parametrize(
    ("cycle", "priced", "carry"), [("HMUA", "HMUZ", 1), ("", "HMUZ", 1), ("H", "h", 1), ("H", "H", 0)]
)
def test_impossible_roll_parameters_are_refused(cycle: str, priced: str, carry: int) -> None:
    with pytest.raises(ValueError, match=r"must be"):
        RollParameters("GOLD", cycle, priced, -5, carry, 14)


@pytest.mark.parametrize(
    ("instrument", "quantity", "price", "commission"),
    [
        (future(per_block=2.5), -4, 2000.0, 10.0),
        (future(per_block=0.5, per_trade=3.0), 2, 2000.0, 3.0),
        (future(percentage=0.00004), 3, 2000.0, 24.0),
        (future(percentage=0.00004), 3, -37.63, 0.45156),
        (future(per_block=2.5, per_trade=3.0), 0, 2000.0, 0.0),
    ],
)
def test_commission_is_the_dearest_of_the_three_ways_to_charge(
    instrument: Instrument, quantity: int, price: float, commission: float
) -> None:
    assert instrument.commission(quantity, price) == pytest.approx(commission)


@pytest.mark.parametrize(
    ("price", "tick", "expected"),
    [
        (0.0010500000000000002, 0.00005, "0.00105"),
        (-0.0010500000000000002, 0.00005, "-0.00105"),
        (110.5078125, 0.015625, "110.5"),
        (110.5235, 0.015625, "110.53125"),
        (33022.4, 5.0, "33020"),
        (0.00689412, 0.0000005, "0.006894"),
        (1.00000000004, None, "1"),
    ],
)
def test_a_price_snaps_to_the_tick(price: float, tick: float | None, expected: str) -> None:
    assert on_tick(price, tick) == Decimal(expected)


@given(
    ticks=st.integers(-(10**7), 10**7),
    tick=st.sampled_from(["0.25", "0.01", "0.015625", "0.00390625", "0.0000005", "0.00005", "5", "0.025"]),
)
def test_float_noise_never_moves_a_price_off_its_tick(ticks: int, tick: str) -> None:
    assert on_tick(ticks * float(tick), float(tick)) == ticks * Decimal(tick)


CHICAGO_NIGHT = TradingHours("America/Chicago", time(17), time(16))
LONDON = TradingHours("Europe/London", time(8), time(18))
TOKYO = TradingHours("Asia/Tokyo", time(8, 45), time(15, 45))


@pytest.mark.parametrize(
    ("hours", "day", "opens", "closes"),
    [
        (CHICAGO_NIGHT, date(2026, 3, 6), datetime(2026, 3, 5, 23), datetime(2026, 3, 6, 22)),
        (CHICAGO_NIGHT, date(2026, 3, 9), datetime(2026, 3, 8, 22), datetime(2026, 3, 9, 21)),  # US clocks forward
        (LONDON, date(2026, 3, 27), datetime(2026, 3, 27, 8), datetime(2026, 3, 27, 18)),
        (LONDON, date(2026, 3, 30), datetime(2026, 3, 30, 7), datetime(2026, 3, 30, 17)),  # UK clocks forward
        (TOKYO, date(2026, 3, 9), datetime(2026, 3, 8, 23, 45), datetime(2026, 3, 9, 6, 45)),
    ],
)
def test_a_session_keeps_its_local_time_through_the_clock_change(
    hours: TradingHours, day: date, opens: datetime, closes: datetime
) -> None:
    assert hours.session(day) == (opens.replace(tzinfo=UTC), closes.replace(tzinfo=UTC))
