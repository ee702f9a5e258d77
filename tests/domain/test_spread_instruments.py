"""Spreads in units and in legs."""

from datetime import UTC, datetime

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pysys.domain.contracts import Contract
from pysys.domain.instruments import Instrument, RollParameters
from pysys.domain.orders import ContractOrder, InstrumentOrderType, OrderLeg
from pysys.domain.prices import MultipleRows, PriceRows
from pysys.domain.spread_breaks import spread_break
from pysys.domain.spread_instruments import spread_instrument
from pysys.domain.spread_series import between_markets, between_markets_raw, contracts_of, within_market
from pysys.domain.spreads import Spread, SpreadLeg, combined, legs_from, unit_price, units_filled, units_held

ROLLS = RollParameters("GOLD", "GJMQVZ", "GJMQVZ", -30, 1, 26)
APR, JUN, AUG, OCT = (Contract("GOLD", f"2024{month}00") for month in ("04", "06", "08", "10"))
CALENDAR = Spread("GOLD_CAL", (SpreadLeg("GOLD", 1), SpreadLeg("GOLD", -1, 1)))
FLY = Spread("GOLD_FLY", (SpreadLeg("GOLD", 1, 1), SpreadLeg("GOLD", -2, 2), SpreadLeg("GOLD", 1, 3)))
METALS = Spread("METALS", (SpreadLeg("GOLD", 2), SpreadLeg("SILVER", -1)))
NOTES = {"US2": 2000.0, "US5": 1000.0}  # point sizes: a point of the five-year note counts for half
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
    assert unit_price([old, new], {"GOLD": 100.0}) == pytest.approx((2 * -3.0 + 3 * -4.0) / 5)


def test_orders_count_in_the_price_with_what_they_have_filled():
    old = order("GOLD", OrderLeg(APR, -2, -2, 100.0), OrderLeg(JUN, 2, 2, 103.0))
    new = order("GOLD", OrderLeg(JUN, -3), OrderLeg(AUG, 3), number=2)
    assert unit_price([old, new], {"GOLD": 100.0}) == -3.0
    begun = order("GOLD", OrderLeg(JUN, -3, -1, 103.0), OrderLeg(AUG, 3, 1, 107.0), number=2)
    assert unit_price([old, begun], {"GOLD": 100.0}) == pytest.approx((2 * -3.0 + 1 * -4.0) / 3)


def test_between_markets_each_market_is_a_leg_whatever_its_contracts():
    us2 = [order("US2", OrderLeg(Contract("US2", f"2024{month}00"), 4, fill, 102.0), number=n, inter=True)
           for n, (month, fill) in enumerate((("03", 4), ("06", 2)), 1)]  # fmt: skip
    us5 = order("US5", OrderLeg(Contract("US5", "20240600"), -2, -2, 107.0), number=3, inter=True)

    assert units_filled([us5, *us2]) == 1  # 6 of 8 is one and a half of two units of four
    assert unit_price([us5, *us2], NOTES) == pytest.approx(4 * 102.0 - 107.0 / 2)


def rows(*points: tuple[int, float]) -> PriceRows:
    return PriceRows(np.array([t for t, _ in points], np.int64), np.array([p for _, p in points]))


def test_the_price_between_markets_is_the_spread_of_adjusted_prices_where_all_have_one():
    spread = Spread("X", (SpreadLeg("US2", 4), SpreadLeg("US5", -1)))
    adjusted = {"US2": rows((1, 100.0), (2, 101.0)), "US5": rows((2, 107.0), (3, 108.0))}
    series = between_markets(spread, adjusted, NOTES)
    assert (series.times.tolist(), series.price.tolist()) == ([2], [4 * 101.0 - 107.0 / 2])


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


def test_history_before_a_roll_that_cannot_be_bridged_is_left_out():
    finals = {APR: rows((1, 100.0), (2, 101.0)), JUN: rows((1, 104.0), (2, 106.0), (3, 107.0)), AUG: rows((3, 114.0))}
    priced, forward = np.array([20240400, 20240400, 20240600]), np.array([20240600, 20240600, 20240800])
    blank = np.full(3, np.nan)
    market = MultipleRows(np.array([1, 2, 3]), blank, priced, blank, forward, blank, forward)

    series = within_market(CALENDAR, market, finals, ROLLS)  # June-August had no price while April was the priced one

    assert (series.times.tolist(), series.price.tolist()) == ([3], [-7.0])


def test_the_raw_price_between_markets_names_the_first_legs_contracts():
    def market(price: float, contract: int, times: list[int]) -> MultipleRows:
        ones = np.ones(len(times), np.int64)
        return MultipleRows(np.array(times), price * ones, contract * ones, price * ones, ones, price * ones, ones)

    spread = Spread("NOTES", (SpreadLeg("US2", 4), SpreadLeg("US5", -1)))
    both = {"US2": market(100.0, 20240300, [1, 2]), "US5": market(107.0, 20240600, [2, 3])}
    raw = between_markets_raw(spread, both, NOTES)

    assert (raw.times.tolist(), raw.price.tolist(), raw.price_contract.tolist()) == ([2], [346.5], [20240300])
    assert np.isnan(raw.carry).all()


US2 = Instrument("US2", "", "USD", 2000.0, "Bond", per_block=1.0, per_trade=2.0, spread_cost=0.01, tick_size=1 / 256)
US5 = Instrument("US5", "", "USD", 1000.0, "Bond", per_block=1.5, spread_cost=0.02, tick_size=1 / 128)


def test_a_unit_is_worth_a_point_of_its_first_leg_and_costs_what_its_legs_cost():
    notes = spread_instrument(Spread("NOTES", (SpreadLeg("US2", 4), SpreadLeg("US5", -1))), {"US2": US2, "US5": US5})
    flat = spread_instrument(Spread("US2_FLAT", (SpreadLeg("US2", 1), SpreadLeg("US2", -1, 1))), {"US2": US2})

    assert (notes.point_size, notes.currency, notes.asset_class, notes.tick_size) == (2000.0, "USD", "Bond", None)
    assert (notes.per_block, notes.per_trade) == (4 * 1.0 + 1.5, 2.0)
    assert notes.spread_cost == pytest.approx(4 * 0.01 + 0.02 / 2)
    assert (flat.point_size, flat.per_block, flat.per_trade, flat.tick_size) == (2000.0, 2.0, 2.0, 1 / 256)
    assert flat.description == "Spread of +1 US2 priced contract, -1 US2 next contract"


@pytest.mark.parametrize(
    ("spread", "units", "held", "why"),
    [
        (CALENDAR, 2, {APR: 2, JUN: -2}, None),
        (CALENDAR, 3, {APR: 2, JUN: -1, AUG: -1}, None),  # one of them has rolled
        (CALENDAR, 0, {}, None),
        (CALENDAR, 1, {APR: 2, JUN: -2}, "+1 units against +2 in legs"),
        (CALENDAR, 2, {}, "+2 units against +0 in legs"),
        (CALENDAR, 2, {APR: 2, JUN: -1}, "no whole number of spreads"),
        (None, 0, {}, None),
        (None, 0, {APR: 1}, "declares it no more"),
        (METALS, -1, {APR: -1, JUN: -1, Contract("SILVER", "20240700"): 1}, None),  # gold rolled in between
        (METALS, -1, {APR: -2}, "no whole number of spreads"),
    ],
)  # fmt: skip
def test_legs_that_are_not_what_the_strategies_own_are_a_break(spread, units, held, why):
    found = spread_break("X", spread, units, held, {"GOLD": ROLLS})
    assert (found is None) if why is None else (why in str(found))
