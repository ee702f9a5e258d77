"""Rolling: the adjusted price keeps its returns, nothing rolls under a position, and nobody misses an expiry."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest

from pysys.data.historical import update_historical_prices
from pysys.data.multiple import update_multiple_adjusted_prices
from pysys.data.rolling import roll_instrument, set_roll_state, update_roll_status
from pysys.data.sampling import update_sampled_contracts
from pysys.data.update_result import UpdateIncomplete
from pysys.desk import Desk
from pysys.domain.errors import DataError
from pysys.domain.orders import ContractOrder, InstrumentOrder, InstrumentOrderType, OrderLeg
from pysys.domain.roll_calendars import RollCalendarRow
from pysys.domain.roll_states import RollMoveRefused, RollState
from pysys.domain.stitching import panama_stitch
from pysys.store.prices import SeriesKey, SeriesKind
from pysys.store.unit import Store
from tests.data.price_world import BUND_JUN, GOLD_JUN, GOLD_MAR, hold, open_desk, with_history

MULTIPLE = SeriesKey(SeriesKind.MULTIPLE, "GOLD")


@pytest.fixture
def desk(store: Store, tmp_path: Path) -> Iterator[Desk]:
    with open_desk(store, tmp_path) as opened:
        desk = with_history(opened)
        update_sampled_contracts(desk)
        yield desk


def at(desk: Desk, day: str) -> None:
    """The evening of a day, prices up to date."""
    desk.clock.moment = datetime.fromisoformat(f"{day}T23:30+00:00")  # type: ignore[attr-defined]
    update_historical_prices(desk)
    update_multiple_adjusted_prices(desk)


def states(desk: Desk, **how: str) -> dict[str, str]:
    table = update_roll_status(desk, **how).table()  # type: ignore[arg-type]
    return dict(zip(table.instrument, table.suggested, strict=True))


def test_a_roll_keeps_every_return_and_goes_on_in_the_new_contract(desk: Desk) -> None:
    with desk.store.read() as unit:
        before = unit.prices.adjusted("GOLD")
        multiple = unit.prices.multiple("GOLD")
    roll = roll_instrument(desk, "GOLD", who="anna", why="volume has moved")
    assert roll.gap == pytest.approx(multiple.forward[-1] - multiple.price[-1])
    with desk.store.read() as unit:
        after, rolled = unit.prices.adjusted("GOLD"), unit.prices.multiple("GOLD")
        assert unit.markets.rolls("GOLD") == [roll]
        status = unit.markets.roll_status("GOLD")
        assert unit.markets.roll_calendar("GOLD", "prices")[-1].next == GOLD_JUN
    np.testing.assert_allclose(np.diff(after.price[:-1]), np.diff(before.price), atol=1e-9)
    np.testing.assert_allclose(after.price[-1], after.price[-2], atol=1e-9)
    np.testing.assert_allclose(panama_stitch(rolled).price, after.price, atol=1e-8)
    assert after.times[-1] - before.times[-1] == 1_000_000
    assert (rolled.price_contract[-1], rolled.forward_contract[-1], rolled.carry_contract[-1]) == (
        20240600,
        20240900,
        20240900,
    )
    assert rolled.price[-1] == multiple.forward[-1] and not np.isnan(rolled.forward[-1])
    assert (status.state, status.priced_contract, status.who) == (RollState.NO_ROLL, "20240600", "anna")

    at(desk, "2024-02-21")
    with desk.store.read() as unit:
        assert unit.prices.last_multiple("GOLD").price_contract[0] == 20240600
        assert len(unit.prices.adjusted("GOLD")) == len(after) + 10


def test_a_missing_price_of_the_new_contract_is_inferred_from_their_usual_gap(desk: Desk) -> None:
    with desk.store.write() as unit:
        rows = unit.prices.multiple("GOLD")
        forward = rows.forward.copy()
        forward[-3:] = np.nan
        holed = type(rows)(*(forward if name == "forward" else getattr(rows, name) for name in rows.__slots__))
        unit.prices.replace(MULTIPLE, holed)
        unit.commit()
    roll = roll_instrument(desk, "GOLD", who="anna", why="")
    gaps = rows.forward - rows.price
    assert roll.gap == pytest.approx(np.median(gaps[-8:-3]))
    with desk.store.read() as unit:
        rolled, adjusted = unit.prices.multiple("GOLD"), unit.prices.adjusted("GOLD")
    assert (np.diff(rolled.times[-3:]) == 1_000_000).all()
    assert rolled.price_contract[-3:].tolist() == [20240300, 20240300, 20240600]
    np.testing.assert_allclose(panama_stitch(rolled).price, adjusted.price, atol=1e-8)


def test_a_roll_without_a_common_price_for_weeks_is_refused_and_changes_nothing(desk: Desk) -> None:
    with desk.store.write() as unit:
        rows = unit.prices.multiple("GOLD")
        forward = np.where(rows.times > rows.times[-1] - 20 * 86_400_000_000, np.nan, rows.forward)
        holed = type(rows)(*(forward if name == "forward" else getattr(rows, name) for name in rows.__slots__))
        unit.prices.replace(MULTIPLE, holed)
        unit.commit()
    with pytest.raises(DataError, match="days before the latest price; more than 14"):
        roll_instrument(desk, "GOLD", who="anna", why="")
    with desk.store.read() as unit:
        assert len(unit.prices.multiple("GOLD")) == len(rows)
        assert unit.markets.rolls("GOLD") == []


def test_nothing_rolls_under_a_position_or_a_working_order(desk: Desk) -> None:
    hold(desk, GOLD_MAR, -2)
    with pytest.raises(RollMoveRefused, match="-2 of 20240300 is held"):
        roll_instrument(desk, "GOLD", who="anna", why="")
    hold(desk, GOLD_MAR, 2)
    with desk.store.write() as unit:
        now = desk.clock.now()
        parent = unit.orders.place_instrument_order(
            InstrumentOrder("s", "GOLD", 1, InstrumentOrderType.BEST, generated_at=now)
        )
        legs = (OrderLeg(GOLD_MAR, 1),)
        unit.orders.place_contract_order(
            parent, ContractOrder("s", "GOLD", legs, InstrumentOrderType.BEST, generated_at=now)
        )
        unit.commit()
    with pytest.raises(RollMoveRefused, match="still trades 20240300"):
        roll_instrument(desk, "GOLD", who="anna", why="")


def test_only_allowed_moves_are_made_and_each_is_kept_with_who_and_why(desk: Desk) -> None:
    with pytest.raises(RollMoveRefused, match="No_Roll to Force while the priced contract is flat"):
        set_roll_state(desk, "GOLD", RollState.FORCE, who="anna", why="")
    hold(desk, GOLD_MAR, 1)
    set_roll_state(desk, "GOLD", RollState.PASSIVE, who="anna", why="early")
    set_roll_state(desk, "GOLD", RollState.PASSIVE, who="anna", why="again")
    set_roll_state(desk, "GOLD", RollState.FORCE, who="ben", why="late")
    with desk.store.read() as unit:
        history = [(one.state.value, one.who, one.why) for one in unit.markets.roll_status_history("GOLD")]
    assert history == [("Passive", "anna", "early"), ("Force", "ben", "late")]


def test_suggesting_changes_nothing_and_acting_follows_the_calendar_to_the_roll(desk: Desk) -> None:
    hold(desk, GOLD_MAR, 3)
    assert states(desk)["GOLD"] == "No_Roll"
    at(desk, "2024-03-01")  # five business days before March 8
    assert states(desk) == {"GOLD": "Passive", "BUND": "No_Roll"}
    with desk.store.read() as unit:
        assert unit.markets.roll_statuses() == {}
    table = update_roll_status(desk, mode="auto").table().set_index("instrument")
    assert (table.done["GOLD"], table.done["BUND"]) == ("Passive", "")
    at(desk, "2024-03-08")
    table = update_roll_status(desk, mode="auto").table().set_index("instrument")
    assert (table.done["GOLD"], table.done["BUND"]) == ("Force", "rolled")
    at(desk, "2024-03-11")
    result = update_roll_status(desk, mode="auto")
    assert result.table().deadline.tolist()[0] == "notice"
    hold(desk, GOLD_MAR, -3)
    hold(desk, GOLD_JUN, 3)
    table = update_roll_status(desk, mode="auto").table().set_index("instrument")
    assert table.done["GOLD"] == "rolled"
    table = update_roll_status(desk, mode="auto").table().set_index("instrument")
    assert table.priced.to_dict() == {"GOLD": "20240600", "BUND": "20240600"} and not table.done.any()


@pytest.mark.incident("R5")
def test_a_stuck_roll_gets_louder_and_goes_outright_before_expiry(desk: Desk) -> None:
    hold(desk, GOLD_MAR, 3)
    levels = {}
    for day in ("2024-03-08", "2024-03-11", "2024-03-12", "2024-03-13", "2024-03-14"):
        at(desk, day)
        result = update_roll_status(desk, mode="auto")
        levels[day] = result.table().set_index("instrument").loc["GOLD", ["suggested", "deadline"]].tolist()
    assert list(levels.values()) == [
        ["Force", ""],
        ["Force", "notice"],
        ["Force", "warning"],
        ["Force_Outright", "warning"],
        ["Force_Outright", "critical"],
    ]
    with pytest.raises(UpdateIncomplete, match=r"\+3 still held in the priced contract, which expires in 1 days"):
        result.raise_if_incomplete()


@pytest.mark.incident("R5")
def test_a_trade_limit_without_room_for_a_roll_is_told_the_day_before(desk: Desk) -> None:
    hold(desk, GOLD_MAR, 3)
    with desk.store.write() as unit:
        unit.trade_limits.set("", "GOLD", 1, 5, at=desk.clock.now())
        unit.commit()
    at(desk, "2024-03-06")  # two business days before it is due
    update_roll_status(desk).raise_if_incomplete()
    at(desk, "2024-03-07")
    result = update_roll_status(desk)
    assert "trades 6 contracts, and the trade limit is 5" in result.table().set_index("instrument").detail["GOLD"]
    with pytest.raises(UpdateIncomplete, match="GOLD: the roll due on 2024-03-08 trades 6"):
        result.raise_if_incomplete()
    with desk.store.write() as unit:
        unit.trade_limits.set("", "GOLD", 1, 6, at=desk.clock.now())
        unit.commit()
    update_roll_status(desk).raise_if_incomplete()


def test_a_planned_date_comes_before_the_roll_parameters(desk: Desk) -> None:
    planned = datetime(2024, 2, 20, 20, tzinfo=UTC)
    with desk.store.write() as unit:
        unit.markets.put_roll_calendar("GOLD", "plan", [RollCalendarRow(planned, GOLD_MAR, GOLD_JUN, GOLD_JUN)])
        unit.commit()
    table = update_roll_status(desk, mode="auto").table().set_index("instrument")
    assert (table.due["GOLD"], table.done["GOLD"]) == (planned.date(), "rolled")
    assert table.due["BUND"] - planned.date() > timedelta(days=10)


def test_an_instrument_that_cannot_roll_does_not_stop_the_next(desk: Desk) -> None:
    at(desk, "2024-03-08")
    with desk.store.write() as unit:
        rows = unit.prices.multiple("GOLD")
        empty = np.full(len(rows), np.nan)
        holed = type(rows)(*(empty if name == "forward" else getattr(rows, name) for name in rows.__slots__))
        unit.prices.replace(MULTIPLE, holed)
        unit.commit()
    result = update_roll_status(desk, mode="auto")
    assert result.table().set_index("instrument").done.to_dict() == {"GOLD": "", "BUND": "rolled"}
    with pytest.raises(UpdateIncomplete, match="never had a price at the same time"):
        result.raise_if_incomplete()
    with desk.store.read() as unit:
        assert unit.prices.last_multiple("BUND").price_contract[0] == int(BUND_JUN.date)
