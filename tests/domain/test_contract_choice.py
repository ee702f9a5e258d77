"""Which contracts a trade is done in: the splits of every roll state, never through zero in one order."""

import csv
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pysys.domain.contract_choice import OPENS, REDUCES, Standing, choose_contracts
from pysys.domain.contracts import Contract
from pysys.domain.roll_split import roll_state_split
from pysys.domain.roll_states import RollState

OLD, PRICED, FORWARD = (Contract("GOLD", date) for date in ("20240200", "20240400", "20240600"))
SHORT = {OLD: "old", PRICED: "priced", FORWARD: "forward"}


def standing(state: str, old: int = 0, priced: int = 0, forward: int = 0) -> Standing:
    held = {OLD: old, PRICED: priced, FORWARD: forward}
    return Standing(RollState(state), PRICED, FORWARD, {contract: n for contract, n in held.items() if n})


def chosen(where: Standing, trade: int) -> list[tuple[str, int, int]]:
    return [(SHORT[part.contract], part.trade, part.sequence) for part in choose_contracts(where, trade)]


@pytest.mark.parametrize(
    ("where", "trade", "parts"),
    [
        (standing("No_Roll"), 3, [("priced", 3, REDUCES)]),
        (standing("No_Roll", priced=3), 2, [("priced", 2, REDUCES)]),
        (standing("No_Roll", priced=1), -2, [("priced", -1, REDUCES), ("priced", -1, OPENS)]),  # R2: split at zero
        (standing("No_Roll", priced=1, forward=2), -3, [("priced", -1, REDUCES), ("forward", -2, REDUCES)]),  # R3
        (standing("No_Roll", old=2, priced=1), -2, [("old", -2, REDUCES)]),  # the nearest goes first
        (standing("No_Roll", priced=3, forward=-2), -1, [("priced", -3, REDUCES), ("forward", 2, REDUCES)]),  # R3
        (standing("No_Open", priced=3), -2, [("priced", -2, REDUCES)]),
        (standing("Passive", priced=-2), 5, [("priced", 2, REDUCES), ("forward", 3, OPENS)]),
        (standing("Passive", priced=2), 1, [("forward", 1, REDUCES)]),
        (standing("Passive", priced=-3, forward=-2), 6,
         [("priced", 3, REDUCES), ("forward", 2, REDUCES), ("forward", 1, OPENS)]),
        (standing("Passive"), -2, [("forward", -2, REDUCES)]),
        (standing("Force", priced=3), -2, [("priced", -2, REDUCES)]),  # a lone reduction goes ahead of the roll
        (standing("Force", priced=3), -5, [("priced", -3, REDUCES), ("forward", -2, OPENS)]),
        (standing("Force", priced=3), 1, []),
        (standing("Force_Outright", priced=3), 1, []),
        (standing("Close", priced=3), -3, []),
        (standing("Roll_Adjusted"), 1, []),
    ],
)  # fmt: skip
def test_a_trade_is_done_in_these_contracts(where, trade, parts):
    assert chosen(where, trade) == parts


@pytest.mark.parametrize("state", list(RollState))
def test_a_panic_closes_whatever_the_state(state):
    where = standing(state, old=1, priced=3)
    parts = choose_contracts(where, -4, panic=True)
    assert [(SHORT[part.contract], part.trade) for part in parts] == [("old", -1), ("priced", -3)]


@pytest.mark.parametrize("name", ["passive_roll_split.csv", "roll_state_split.csv"])
def test_by_contract_it_is_the_split_of_the_reference(shared: Path, name: str) -> None:
    with (shared / "reference" / name).open() as lines:
        rows = list(csv.DictReader(lines))
    for row in rows:
        where = standing(row.get("roll_state", "Passive"), priced=int(row["position_priced"]),
                         forward=int(row.get("position_forward", 0)))  # fmt: skip
        trade = int(row["instrument_trade"])
        if trade == -where.total and len(where.positions) > 1:
            continue  # ours closes both months (R3); the reference can leave one long and the other short
        by_contract = {"priced": 0, "forward": 0}
        for contract, quantity, _ in chosen(where, trade):
            by_contract[contract] += quantity
        assert by_contract == {"priced": int(row["trade_priced"]), "forward": int(row["trade_forward"])}, row


POSITION = st.integers(-6, 6)


@given(st.sampled_from(list(RollState)), POSITION, POSITION, POSITION, POSITION.filter(bool))
def test_parts_sum_to_the_trade_and_none_crosses_zero(state, old, priced, forward, trade):
    where = standing(state, old, priced, forward)
    parts = choose_contracts(where, trade)

    assert bool(parts) == (roll_state_split(state, priced, trade) != (0, 0))
    if not parts:
        return
    assert sum(part.trade for part in parts) == trade
    assert all(part.trade for part in parts)
    held = dict(where.positions)
    for part in sorted(parts, key=lambda part: part.sequence):
        before = held.get(part.contract, 0)
        held[part.contract] = before + part.trade
        assert before * held[part.contract] >= 0  # one order never turns a contract's position round
    if where.total + trade == 0:
        assert not any(held.values())
    opened = [part.contract for part in parts if where.positions.get(part.contract, 0) * part.trade >= 0]
    assert set(opened) <= {PRICED if state in ("No_Roll", "No_Open") else FORWARD}
