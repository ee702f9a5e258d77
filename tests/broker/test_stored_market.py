"""The market over stored prices: its hours, its quotes, and that it never looks ahead."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pysys.broker.paper.stored import StoredMarket, StoredPrices
from pysys.broker.port import UnknownContract
from pysys.domain.contracts import Contract
from pysys.domain.errors import DataError
from tests.broker.paper_world import (
    BUND_JUN,
    BUND_MAR,
    CONTRACTS,
    GOLD_APR,
    GOLD_JUN,
    INSTRUMENTS,
    MINUTE,
    MONDAY,
    NOON,
    ROLLS,
    fx,
    market,
    micros,
    prices,
)

WORLD = market()
NONE = np.empty(0)


def gold_market(daily: dict[datetime, float], intraday: dict[datetime, float]) -> StoredMarket:
    stored = StoredPrices(
        np.array([micros(t) for t in daily], np.int64),
        np.array(list(daily.values()), float),
        np.full(len(daily), np.nan),
        np.array([micros(t) for t in intraday], np.int64),
        np.array(list(intraday.values()), float),
    )
    return StoredMarket({GOLD_APR: stored}, INSTRUMENTS, ROLLS, {}, base_currency="USD", seed=1)


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def hours_of(world: StoredMarket) -> list[str]:
    found = world.sessions("GOLD", at("2024-02-01"), at("2024-05-01"))
    return [f"{s.opens:%a %H:%M}-{s.closes:%H:%M}" for s in found]


def test_a_session_runs_from_the_first_row_of_the_day_until_an_hour_after_the_last():
    rows = {at("2024-03-04 08:15:20"): 2100.0, at("2024-03-04 15:30:00"): 2101.0}
    world = gold_market({at("2024-03-04 23:00"): 2102.0}, rows)
    assert hours_of(world) == ["Mon 08:16-16:30"]


def test_a_day_with_a_daily_row_alone_trades_at_that_price_for_half_an_hour_at_the_end():
    world = gold_market({at("2024-03-04 23:00"): 2102.0}, {})
    assert hours_of(world) == ["Mon 23:00-23:30"]
    assert world.quote(GOLD_APR, at("2024-03-04 22:59")) is None
    assert world.quote(GOLD_APR, at("2024-03-04 23:00")).mid == pytest.approx(2102.0)
    assert world.quote(GOLD_APR, at("2024-03-04 23:30")) is None


def test_weekend_rows_move_the_mark_but_open_no_session():
    world = gold_market({at("2024-03-08 23:00"): 2102.0}, {at("2024-03-10 23:00:01"): 2110.0})
    assert hours_of(world) == ["Fri 23:00-23:30"]
    assert world.mark(GOLD_APR, at("2024-03-11 07:00")) == 2110.0


def test_a_session_ends_by_midnight_and_the_next_begins_at_its_own_first_row():
    rows = {at("2024-03-04 22:00"): 1.0, at("2024-03-04 23:40"): 2.0, at("2024-03-05 00:00"): 3.0}
    assert hours_of(gold_market({}, rows)) == ["Mon 22:00-00:00", "Tue 00:00-01:00"]


def test_only_sessions_that_overlap_the_stretch_asked_about_are_given():
    noon, evening = NOON, MONDAY + timedelta(hours=17)
    assert [s.opens for s in WORLD.sessions("GOLD", noon, noon + MINUTE)] == [MONDAY + timedelta(hours=8)]
    assert list(WORLD.sessions("GOLD", evening, evening + timedelta(hours=15))) == []
    assert len(WORLD.sessions("GOLD", evening, evening + timedelta(hours=15, minutes=1))) == 1


def test_a_contract_is_quoted_only_when_it_was_priced_since_the_session_before():
    near, far = prices()[GOLD_APR], prices()[GOLD_JUN]
    until = micros(MONDAY + timedelta(hours=10))
    stale = replace(
        far,
        daily_times=NONE.astype(np.int64),
        daily_prices=NONE,
        daily_volume=NONE,
        intraday_times=far.intraday_times[far.intraday_times <= until],
        intraday_prices=far.intraday_prices[far.intraday_times <= until],
    )
    world = StoredMarket({GOLD_APR: near, GOLD_JUN: stale}, INSTRUMENTS, ROLLS, {}, base_currency="USD", seed=1)
    assert world.quote(GOLD_JUN, NOON) is not None
    assert world.quote(GOLD_JUN, NOON + timedelta(days=1)) is not None
    assert world.quote(GOLD_JUN, NOON + timedelta(days=2)) is None
    assert world.quote(GOLD_APR, NOON + timedelta(days=2)) is not None
    assert world.mark(GOLD_JUN, NOON + timedelta(days=2)) == stale.intraday_prices[-1]


def test_the_chain_is_what_was_priced_lately_and_lives():
    listed = [details.contract for details in WORLD.chain("BUND", NOON)]
    assert listed == [BUND_MAR, BUND_JUN]
    assert [d.contract for d in WORLD.chain("BUND", at("2024-03-08 23:30"))] == [BUND_MAR, BUND_JUN]
    assert [d.contract for d in WORLD.chain("BUND", at("2024-03-09"))] == [BUND_JUN]
    assert WORLD.chain("BUND", MONDAY) == []
    assert WORLD.chain("BUND", at("2024-03-30")) == []
    assert WORLD.details(BUND_MAR).expiry.isoformat() == "2024-03-08"


moments = st.integers(0, 12 * 24 * 60 * 60).map(lambda seconds: MONDAY + timedelta(seconds=seconds))


@given(moment=moments)
def test_nothing_asked_about_a_moment_depends_on_later_prices(moment):
    spoiled = {}
    for contract, stored in prices().items():
        daily, intraday = stored.daily_times > micros(moment), stored.intraday_times > micros(moment)
        spoiled[contract] = replace(
            stored,
            daily_prices=np.where(daily, 777.0, stored.daily_prices),
            daily_volume=np.where(daily, 777.0, stored.daily_volume),
            intraday_prices=np.where(intraday, 777.0, stored.intraday_prices),
        )
    other = StoredMarket(spoiled, INSTRUMENTS, ROLLS, fx(), base_currency="USD", seed=5)
    for contract in CONTRACTS:
        assert other.quote(contract, moment) == WORLD.quote(contract, moment)
        assert other.mark(contract, moment) == WORLD.mark(contract, moment)
        for bars in ("daily_bars", "intraday_bars"):
            ours, theirs = (getattr(w, bars)(contract, None, moment) for w in (WORLD, other))
            assert np.array_equal(ours.final, theirs.final)
            assert np.all(ours.times <= micros(moment))


def test_a_contract_that_gets_its_first_price_later_is_in_no_chain():
    stored = prices()
    late = stored[GOLD_JUN]
    later = late.intraday_times > micros(NOON)
    stored[GOLD_JUN] = replace(
        late,
        daily_prices=np.full(len(late.daily_prices), np.nan),
        intraday_prices=np.where(later, late.intraday_prices, np.nan),
    )
    world = StoredMarket(stored, INSTRUMENTS, ROLLS, fx(), base_currency="USD", seed=5)
    assert [d.contract for d in world.chain("GOLD", NOON)] == [GOLD_APR]
    assert [d.contract for d in world.chain("GOLD", NOON + timedelta(hours=1))] == [GOLD_APR, GOLD_JUN]
    assert world.quote(GOLD_JUN, NOON) is None


@given(
    price=st.floats(1.0, 5000.0).map(lambda x: round(x, 4)),
    tick=st.sampled_from([0.0005, 0.015625, 0.1, 0.25, 5.0]),
    half_spread=st.floats(0.0, 20.0).map(lambda x: round(x, 5)),
)
def test_a_quote_is_on_the_tick_and_as_wide_as_the_spread_or_one_tick(price, tick, half_spread):
    gold = replace(INSTRUMENTS["GOLD"], tick_size=tick, spread_cost=half_spread)
    stored = StoredPrices(NONE.astype(np.int64), NONE, NONE, np.array([micros(NOON)]), np.array([price]))
    world = StoredMarket({GOLD_APR: stored}, {"GOLD": gold}, ROLLS, {}, base_currency="USD", seed=1)
    quote = world.quote(GOLD_APR, NOON)
    bid, ask, exact = (Decimal(str(x)) for x in (quote.bid, quote.ask, price))
    half = max(Decimal(str(half_spread)), Decimal(str(tick)) / 2)
    assert bid % Decimal(str(tick)) == 0 == ask % Decimal(str(tick))
    assert 0 <= exact - half - bid < Decimal(str(tick))
    assert 0 <= ask - exact - half < Decimal(str(tick))


def test_displayed_sizes_come_from_the_seed_and_are_smaller_further_out():
    def sizes(world: StoredMarket, contract: Contract) -> list[int]:
        tuesday = NOON + timedelta(days=1)
        quotes = [world.quote(contract, tuesday + n * MINUTE) for n in range(240)]
        return [size for q in quotes for size in (q.bid_size, q.ask_size)]

    near, far = sizes(WORLD, GOLD_APR), sizes(WORLD, GOLD_JUN)
    assert near == sizes(market(seed=5), GOLD_APR) != sizes(market(seed=6), GOLD_APR)
    assert near[:8] == [15, 4, 20, 17, 12, 12, 5, 16], "not the same in every process"
    assert 1 <= min(near) <= 2 < 15 < max(near) <= 20
    assert sum(far) < sum(near)


def test_rows_of_one_moment_end_with_the_daily_close_and_rows_without_a_price_are_no_rows():
    rows = {NOON: 2000.0, NOON + MINUTE: np.nan}
    world = gold_market({NOON: 2010.0}, rows)
    assert world.mark(GOLD_APR, NOON + timedelta(hours=1)) == 2010.0
    assert len(world.intraday_bars(GOLD_APR, None, NOON + timedelta(hours=1))) == 1


def test_a_quote_is_that_of_its_minute_and_a_mark_that_of_its_second():
    world = gold_market({}, {NOON: 2000.0, NOON + timedelta(seconds=30): 2010.0})
    later = NOON + timedelta(seconds=45)
    assert world.quote(GOLD_APR, later) == world.quote(GOLD_APR, NOON)
    assert world.quote(GOLD_APR, later).mid == pytest.approx(2000.0)
    assert (world.mark(GOLD_APR, NOON), world.mark(GOLD_APR, later)) == (2000.0, 2010.0)
    assert world.quote(GOLD_APR, NOON + MINUTE).mid == pytest.approx(2010.0)


def test_rates_are_the_last_known_and_the_base_currency_is_one():
    assert WORLD.fx_rate("USD", MONDAY) == 1.0
    assert WORLD.fx_rate("EUR", MONDAY) == 1.08
    assert WORLD.currencies() == ["EUR", "JPY", "USD"]
    assert len(WORLD.fx_rates("EUR", MONDAY, NOON + timedelta(days=2)).rates) == 2
    with pytest.raises(DataError, match="no rate of EUR in USD up to 2024-03-03"):
        WORLD.fx_rate("EUR", MONDAY - timedelta(hours=2))


def test_what_cannot_be_used_is_refused_with_its_name():
    with pytest.raises(UnknownContract, match="GOLD/20300400"):
        WORLD.details(Contract("GOLD", "20300400"))
    with pytest.raises(DataError, match="roll parameters: BUND, GOLD, NIKKEI"):
        StoredMarket(prices(), INSTRUMENTS, {}, fx(), base_currency="USD", seed=1)
    with pytest.raises(DataError, match="NIKKEI: no rates of JPY in USD"):
        StoredMarket(prices(), INSTRUMENTS, ROLLS, {"EUR": fx()["EUR"]}, base_currency="USD", seed=1)
    with pytest.raises(DataError, match="times must increase"):
        StoredPrices(NONE.astype(np.int64), NONE, NONE, np.array([5, 5]), np.array([1.0, 2.0]))
