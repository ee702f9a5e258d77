"""What is sent for a contract order: how much, by which algo, at what price. Tables of the established cases."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as some

from pysys.broker.port import OrderType, Quote
from pysys.config import Config, algo_choices
from pysys.domain.contracts import Contract
from pysys.domain.orders import BrokerOrder, ContractOrder, InstrumentOrderType, OrderLeg
from pysys.execution.algo_base import Cancel, Decline, Modify, OrderMarket, Send, Wait, Wanted, within_parent_limit
from pysys.execution.algo_choice import algo_for
from pysys.execution.algos import ALGOS
from pysys.execution.algos.best import AGGRESSIVE, imbalanced
from pysys.execution.sizing import cut_to_liquidity, exceeds_parent, one_lot, passive_depths

NOW = datetime(2024, 3, 4, 12, tzinfo=UTC)
APR, JUN = Contract("GOLD", "20240400"), Contract("GOLD", "20240600")
BID, ASK = Decimal("2100.0"), Decimal("2100.4")


# --- size ---


@pytest.mark.parametrize(
    ("trades", "depths", "cut", "lot"),
    [
        ((10,), (3,), (3,), (1,)),
        ((2, -2), (1, 1), (1, -1), (1, -1)),
        ((2, -4), (1, 1), (0, 0), None),
        ((-2, 2), (9, 9), (-2, 2), (-1, 1)),
        ((-3, 4, -3), (9, 9, 9), (-3, 4, -3), (-3, 4, -3)),  # cannot be divided, so it goes whole
        ((-6, 8, -6), (4, 9, 9), (-3, 4, -3), (-3, 4, -3)),
        ((-10,), (0,), (0,), None),
    ],
)
def test_size_is_cut_to_what_is_displayed_and_then_to_one_lot(trades, depths, cut, lot):
    assert cut_to_liquidity(trades, depths) == cut
    if lot is not None:
        assert one_lot(cut) == lot


def test_depth_is_what_is_displayed_on_the_side_each_leg_joins():
    quotes = [Quote(1.0, 2.0, 7, 8, NOW), Quote(1.0, 2.0, 5, 6, NOW)]

    assert passive_depths((1, -1), quotes) == (7, 6)


@given(some.integers(1, 20), some.lists(some.integers(0, 25), max_size=8), some.integers(1, 25))
def test_filled_and_possibly_working_never_exceed_the_parent(asked, others, new):
    parent = ContractOrder("trend", "GOLD", (OrderLeg(APR, -asked),), InstrumentOrderType.BEST, NOW)

    assert exceeds_parent(parent, [-sum(others)], (-new,)) == (sum(others) + new > asked)


# --- which algo ---


@pytest.mark.parametrize(
    ("order_type", "settings", "preset", "algo"),
    [
        ("best", {}, "", "best"),
        ("Zero-roll-order", {}, "", "best"),
        ("balance trade", {}, "", "best"),
        ("market", {}, "", "market"),
        ("limit", {}, "", "limit"),
        ("best", {"default_algo": "snap_mid"}, "", "snap_mid"),
        ("Zero-roll-order", {"default_algo": "snap_mid"}, "", "snap_mid"),
        ("market", {"default_algo": "snap_mid"}, "", "market"),
        ("limit", {"default_algo": "snap_mid"}, "", "limit"),
        ("best", {"algo_overrides": {"GOLD": "adaptive"}}, "", "adaptive"),
        ("Zero-roll-order", {"algo_overrides": {"GOLD": "adaptive"}, "default_algo": "snap_mid"}, "", "adaptive"),
        ("market", {"algo_overrides": {"GOLD": "adaptive"}}, "", "adaptive"),
        ("best", {"algo_overrides": {"NIKKEI": "adaptive"}}, "", "best"),
        ("best", {"algo_overrides": {"GOLD": "adaptive"}}, "snap_mid", "snap_mid"),
        ("panic", {"algo_overrides": {"GOLD": "adaptive"}, "default_algo": "snap_mid"}, "", "panic"),
        ("panic", {}, "best", "panic"),
    ],
)
def test_the_algo_is_the_preset_the_instruments_that_of_the_type_or_the_default(order_type, settings, preset, algo):
    """E9: a panic order, whatever is set, is worked by an algo that never declines."""
    config = Config.model_validate(settings)

    assert algo_for(config, InstrumentOrderType(order_type), "GOLD", preset) == algo


def test_every_algo_that_can_be_configured_exists():
    assert set(algo_choices()) == set(ALGOS) - {"limit", "panic"}


# --- what the algos do ---


def market(bid=BID, ask=ASK, bid_size=10, ask_size=10, buys=True, short_of_time=False) -> OrderMarket:
    side, offside = (ask, bid) if buys else (bid, ask)
    sizes = (ask_size, bid_size) if buys else (bid_size, ask_size)
    return OrderMarket(side, offside, *sizes, 1 if buys else -1, short_of_time, 0.1)


def order(order_type="limit", limit: Decimal | None = BID, algo="best", **state) -> BrokerOrder:
    legs = (OrderLeg(APR, 1),)
    return BrokerOrder(
        "1-1", 1, "trend", "GOLD", legs, order_type, algo, "paper", NOW, limit_price=limit, algo_state=state
    )


@pytest.mark.parametrize(
    ("passive", "aggressive", "quantity", "is_imbalanced"),
    [(10, 1, 1, True), (5, 1, 1, False), (6, 1, 1, True), (60, 3, 1, False), (60, 2, 1, True), (60, 3, 2, True)],
)
def test_a_book_is_imbalanced_beyond_five_to_one_with_less_than_three_times_the_order(
    passive, aggressive, quantity, is_imbalanced
):
    assert imbalanced(quantity, market(bid_size=passive, ask_size=aggressive)) is is_imbalanced


@pytest.mark.parametrize(
    ("algo", "book", "wanted_limit", "sent"),
    [
        ("best", market(), None, Send(OrderType.LIMIT, BID)),
        ("best", market(buys=False), None, Send(OrderType.LIMIT, ASK)),
        ("best", market(bid_size=60, ask_size=2), None, Send()),
        ("best", market(short_of_time=True), None, Send()),
        ("best", None, None, Decline("no bid and offer to choose a price from")),
        ("market", market(), None, Send()),
        ("panic", None, None, Send()),
        ("limit", market(), Decimal("2099"), Send(OrderType.LIMIT, Decimal("2099"))),
        ("limit", market(), None, Decline("the order has no limit price to work")),
        ("snap_mid", market(), None, Send(OrderType.SNAP_MID)),
        ("snap_market", market(), None, Send(OrderType.SNAP_MARKET)),
        ("snap_primary", market(), None, Send(OrderType.SNAP_PRIMARY)),
        ("snap_primary", market(short_of_time=True), None, Send()),
        ("adaptive", market(), None, Send(OrderType.ADAPTIVE)),
        ("adaptive", market(short_of_time=True), None, Send()),
    ],
)
def test_what_each_algo_sends_first(algo, book, wanted_limit, sent):
    assert ALGOS[algo].first(Wanted(1, wanted_limit), book) == sent


def test_algos_trade_one_lot_at_a_time_but_for_those_that_say_otherwise():
    assert {name for name, algo in ALGOS.items() if algo.whole_order} == {"limit", "panic"}
    assert {name for name, algo in ALGOS.items() if algo.unrestricted} == {"panic"}


@pytest.mark.parametrize(
    ("held", "book", "seconds", "action"),
    [
        (order(), market(), 299, Wait()),
        (order(), market(), 300, Modify(ASK, "passive for long enough", AGGRESSIVE)),
        (order(), market(short_of_time=True), 10, Modify(ASK, "short of time", AGGRESSIVE)),
        (order(), market(bid=Decimal("2100.1")), 10, Modify(ASK, "the market moved away", AGGRESSIVE)),
        (order(), market(bid=Decimal("2099.9")), 10, Wait()),
        (order(), market(bid_size=60, ask_size=2), 10, Modify(ASK, "the book is one-sided", AGGRESSIVE)),
        (order(), None, 10, Wait("no bid and offer", AGGRESSIVE)),
        (order(aggressive=True, limit="2100.4"), market(), 20, Wait()),
        (order(aggressive=True, limit="2100.2"), market(), 20, Modify(ASK, "following the far touch")),
        (order(aggressive=True, limit="2100.4"), None, 20, Wait("no bid and offer")),
        (order(), market(), 600, Cancel("not filled in time")),
        (order("market", None), market(), 599, Wait()),
        (order("market", None), market(), 600, Cancel("not filled in time")),
    ],
)
def test_best_goes_aggressive_one_way_and_gives_up_after_ten_minutes(held, book, seconds, action):
    assert ALGOS["best"].next(held, book, NOW + timedelta(seconds=seconds)) == action


@pytest.mark.parametrize(
    ("algo", "held", "book", "seconds", "action"),
    [
        ("market", order("market", None), None, 599, Wait()),
        ("market", order("market", None), None, 600, Cancel("not filled in time")),
        ("limit", order(), None, 50_000, Wait()),
        ("snap_mid", order("snap_mid", None), market(), 10, Wait()),
        ("snap_mid", order("snap_mid", None), market(short_of_time=True), 10, Cancel("short of time")),
        ("snap_mid", order("snap_mid", None), market(), 600, Cancel("not filled in time")),
        ("snap_mid", order(), market(), 10, Modify(Decimal("2100.2"), "following the book")),
        ("snap_primary", order(), market(), 10, Wait()),
        ("adaptive", order("adaptive", None), market(), 10, Wait()),
        ("adaptive", order("adaptive", None), market(), 600, Cancel("not filled in time")),
    ],
)
def test_what_the_other_algos_do_next(algo, held, book, seconds, action):
    assert ALGOS[algo].next(held, book, NOW + timedelta(seconds=seconds)) == action


prices = some.integers(20_900, 21_100).map(lambda ticks: Decimal(ticks) / 10)


@given(some.sampled_from(sorted(ALGOS)), prices, some.integers(1, 9), some.booleans(), some.booleans(), prices)
def test_no_algo_sends_anything_beyond_the_limit_of_its_parent(algo, bid, width, buys, short, limit):
    book = replace(market(bid, bid + Decimal(width) / 10, buys=buys), short_of_time=short)
    decision = ALGOS[algo].first(Wanted(1, limit), book)
    assert isinstance(decision, Send)

    sent = within_parent_limit(decision, book, limit, book.direction)

    assert sent.order_type is OrderType.LIMIT
    assert (limit - sent.limit_price) * book.direction >= 0
