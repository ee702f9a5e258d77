"""Spreads in units and in legs."""

from datetime import UTC, datetime

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pysys.domain.contracts import Contract
from pysys.domain.instruments import RollParameters
from pysys.domain.orders import ContractOrder, InstrumentOrderType, OrderLeg
from pysys.domain.prices import MultipleRows, PriceRows
from pysys.domain.spread_series import between_markets, contracts_of, within_market
from pysys.domain.spreads import Spread, SpreadLeg, combined, legs_from, unit_price, units_filled, units_held

ROLLS = RollParameters("GOLD", "GJMQVZ", "GJMQVZ", -30, 1, 26)
APR, JUN, AUG, OCT = (Contract("GOLD", f"2024{month}00") for month in ("04", "06", "08", "10"))
CALENDAR = Spread("GOLD_CAL", (SpreadLeg("GOLD", 1), SpreadLeg("GOLD", -1, 1)))
FLY = Spread("GOLD_FLY", (SpreadLeg("GOLD", 1, 1), SpreadLeg("GOLD", -2, 2), SpreadLeg("GOLD", 1, 3)))
NOW = datetime(2024, 3, 4, tzinfo=UTC)


def order(market: str, *legs: OrderLeg, number: int = 1, inter: bool = False) -> ContractOrder:
    return ContractOrder(
        "s", market, legs, InstrumentOrderType.BEST, NOW, sequence=number, id=number, inter_spread_order=inter
    )


@pytest.mark.parametrize(
    ("legs", "wrong"),
    [
        ((SpreadLeg("GOLD", 1),), "two or three"),
        ((SpreadLeg("GOLD", 1), SpreadLeg("GOLD", -1)), "nearest first"),
        ((SpreadLeg("GOLD", -1), SpreadLeg("GOLD", 1, 1)), "first positive"),
        ((SpreadLeg("GOLD", 2), SpreadLeg("GOLD", -2, 1)), "lowest terms"),
        ((SpreadLeg("GOLD", 1), SpreadLeg("GOLD", 0, 1)), "ratio 0"),
        ((SpreadLeg("US2", 4), SpreadLeg("US5", -1, 1)), "leave chain out"),
        ((SpreadLeg("US2", 4), SpreadLeg("US5", -1), SpreadLeg("US2", 1)), "market of its own"),
    ],
)
def test_legs_that_are_no_spread_are_refused(legs, wrong):
    with pytest.raises(ValueError, match=wrong):
        Spread("X", legs)


def test_legs_lie_along_the_chain():
    assert legs_from(CALENDAR, APR, ROLLS) == {APR: 1, JUN: -1}
    assert legs_from(FLY, APR, ROLLS) == {JUN: 1, AUG: -2, OCT: 1}


def test_rolling_a_calendar_spread_is_a_butterfly():
    roll = combined((legs_from(CALENDAR, APR, ROLLS), -2), (legs_from(CALENDAR, JUN, ROLLS), 2))
    assert [(leg.contract, leg.trade) for leg in roll] == [(APR, -2), (JUN, 4), (AUG, -2)]


@given(st.sampled_from([CALENDAR, FLY]), st.integers(-5, 5), st.integers(-5, 5))
def test_units_are_found_again_from_the_contracts_held(spread, here, ahead):
    legs = combined((legs_from(spread, APR, ROLLS), here), (legs_from(spread, JUN, ROLLS), ahead))
    held = {leg.contract: leg.trade for leg in legs}

    assert units_held(spread, held, ROLLS) == {c: n for c, n in ((APR, here), (JUN, ahead)) if n}


def test_a_missing_leg_is_for_a_person():
    with pytest.raises(ValueError, match=r"GOLD_FLY holds \+1 20240600: no whole number of spreads"):
        units_held(FLY, {JUN: 1}, ROLLS)


@pytest.mark.parametrize(
    ("fills", "units"), [((0, 0), 0), ((-1, 1), -1), ((-3, 1), -1), ((-3, 3), -3), ((-3, 0), 0), ((1, -1), 0)]
)
def test_a_spread_is_filled_as_far_as_its_slowest_leg(fills, units):
    legs = tuple(OrderLeg(c, trade, fill) for c, trade, fill in zip((APR, JUN), (-3, 3), fills, strict=True))
    assert units_filled([order("GOLD", *legs)]) == units


def test_orders_for_the_old_and_the_new_months_add_up():
    old = order("GOLD", OrderLeg(APR, -2, -2, 100.0), OrderLeg(JUN, 2, 2, 103.0))
    new = order("GOLD", OrderLeg(JUN, -3, -3, 103.0), OrderLeg(AUG, 3, 3, 107.0), number=2)
    assert units_filled([old, new]) == -5
    assert unit_price([old, new]) == pytest.approx((2 * -3.0 + 3 * -4.0) / 5)


def test_between_markets_each_market_is_a_leg_whatever_its_contracts():
    us2 = [order("US2", OrderLeg(Contract("US2", f"2024{month}00"), 4, fill, 102.0), number=n, inter=True)
           for n, (month, fill) in enumerate((("03", 4), ("06", 2)), 1)]  # fmt: skip
    us5 = order("US5", OrderLeg(Contract("US5", "20240600"), -2, -2, 107.0), number=3, inter=True)

    assert units_filled([us5, *us2]) == 1  # 6 of 8 is one and a half of two units of four
    assert unit_price([us5, *us2]) == pytest.approx(4 * 102.0 - 107.0)


def rows(*points: tuple[int, float]) -> PriceRows:
    return PriceRows(np.array([t for t, _ in points], np.int64), np.array([p for _, p in points]))


def test_the_price_between_markets_is_the_spread_of_adjusted_prices_where_all_have_one():
    spread = Spread("X", (SpreadLeg("US2", 4), SpreadLeg("US5", -1)))
    series = between_markets(spread, {"US2": rows((1, 100.0), (2, 101.0)), "US5": rows((2, 107.0), (3, 108.0))})
    assert (series.times.tolist(), series.price.tolist()) == ([2], [4 * 101.0 - 107.0])


def test_a_roll_of_the_market_is_no_jump_of_the_spread():
    finals = {
        APR: rows((1, 100.0), (2, 101.0)),
        JUN: rows((1, 104.0), (2, 106.0), (3, 107.0)),
        AUG: rows((1, 109.0), (2, 112.0), (3, 114.0)),
    }
    priced, forward = np.array([20240400, 20240400, 20240600]), np.array([20240600, 20240600, 20240800])
    blank = np.full(3, np.nan)
    market = MultipleRows(np.array([1, 2, 3]), blank, priced, blank, forward, blank, forward)

    series = within_market(CALENDAR, market, finals, ROLLS)

    # April-June was -4 and -5; June-August -6 at the roll and -7 after it: the history moves down by the gap of 1.
    assert series.price.tolist() == [-5.0, -6.0, -7.0]
    assert contracts_of(CALENDAR, market, ROLLS) == {APR, JUN, AUG, OCT}
