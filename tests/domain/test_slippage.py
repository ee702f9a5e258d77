"""What trades cost, by cause and unit."""

from datetime import UTC, datetime, timedelta
from math import isclose

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pysys.domain.slippage import (
    TradePrices,
    per_annual_volatility,
    seconds_between,
    slippage,
    summarise,
)

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)
V2X_SALE = TradePrices(-1, reference=27.45, mid=27.675, side=27.65, limit=27.7, parent_limit=None, fill=27.7)


def test_the_sale_everybody_knows_in_three_units():
    points = slippage(V2X_SALE)
    assert (points.delay, points.bid_ask, points.execution, points.total_trading) == pytest.approx(
        (0.225, -0.025, 0.05, 0.025)
    )
    assert points.versus_limit == 0
    assert points.versus_parent_limit is None

    vol = points.scaled(per_annual_volatility(11.5805))
    assert (vol.delay, vol.bid_ask, vol.total_trading) == pytest.approx((194.292, -21.588, 21.588), abs=1e-3)

    cash = points.scaled(90.8755)
    assert (cash.delay, cash.bid_ask, cash.total_trading) == pytest.approx((20.447, -2.272, 2.272), abs=1e-3)


@pytest.mark.parametrize("missing", ["reference", "mid", "side", "fill"])
def test_a_cost_that_needs_a_missing_price_is_blank_not_zero(missing):
    known = {"reference": 1.0, "mid": 2.0, "side": 3.0, "limit": 4.0, "parent_limit": 5.0, "fill": 6.0}
    for absent in (None, float("nan")):
        cost = slippage(TradePrices(sign=1, **{**known, missing: absent}))
        blank = {"reference": cost.delay, "mid": cost.bid_ask, "side": cost.execution, "fill": cost.total_trading}
        assert blank[missing] is None


prices = st.floats(-1e4, 1e4)


@given(prices, prices, prices, prices, prices)
def test_causes_add_up_and_the_other_side_sees_the_opposite(reference, mid, side, limit, fill):
    bought = slippage(TradePrices(1, reference, mid, side, limit, None, fill))
    sold = slippage(TradePrices(-1, reference, mid, side, limit, None, fill))
    assert isclose(bought.bid_ask + bought.execution, bought.total_trading, abs_tol=1e-9)
    assert bought.delay == -sold.delay
    assert bought.total_trading == -sold.total_trading


def test_negative_delays_and_missing_times_are_blank():
    assert seconds_between(NOON, NOON + timedelta(seconds=90)) == 90
    assert seconds_between(NOON, NOON) == 0
    assert seconds_between(NOON, NOON - timedelta(seconds=1)) is None
    assert seconds_between(None, NOON) is None


def test_statistics_leave_out_what_is_not_known():
    summary = summarise([1.0, None, 3.0, float("nan")])
    assert (summary.total, summary.count, summary.mean) == (4.0, 2, 2.0)
    assert (summary.lower, summary.upper) == pytest.approx((2 - 2 * 2**0.5, 2 + 2 * 2**0.5))
    assert summarise([1.0]).lower is None
    assert summarise([None]).mean is None


def test_volatility_that_is_not_positive_scales_nothing():
    for dead in (None, 0.0, float("nan")):
        assert slippage(V2X_SALE).scaled(per_annual_volatility(dead)).delay is None
