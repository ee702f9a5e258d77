"""The synthetic market: repeatable, without foresight, and like a market where the desk would notice."""

from collections.abc import Mapping
from dataclasses import fields, replace
from datetime import UTC, date, datetime, time, timedelta
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pysys.broker.paper.market import Market
from pysys.broker.paper.synthetic import DEMO_INSTRUMENTS, SyntheticMarket
from pysys.broker.port import Bars, FxRows, UnknownContract
from pysys.data.parameter_tables import read_instruments_and_rolls
from pysys.domain.contracts import Contract, parse_contract
from pysys.domain.errors import ConfigError, DataError
from pysys.domain.instruments import Instrument, TradingHours, on_tick

PARAMETERS = Path(__file__).resolve().parents[2] / "parameters"
INSTRUMENTS, ROLLS = read_instruments_and_rolls(PARAMETERS / "instruments.csv", PARAMETERS / "rolls.csv")
FIRST, LAST = date(2022, 1, 3), date(2025, 6, 30)
AFTER = datetime(2025, 7, 1, tzinfo=UTC)
NOON = datetime(2024, 3, 13, 15, 0, tzinfo=UTC)  # a Wednesday; New York, Chicago, London and Frankfurt trade


def market(
    seed: int = 11,
    instruments: Mapping[str, Instrument] = INSTRUMENTS,
    base: str = "USD",
    first: date = FIRST,
    last: date = LAST,
) -> SyntheticMarket:
    return SyntheticMarket(seed, instruments, ROLLS, base, first_day=first, last_day=last)


MARKET: Market = market()
moments = st.datetimes(datetime(2022, 2, 1), datetime(2025, 6, 20)).map(lambda moment: moment.replace(tzinfo=UTC))
codes = st.sampled_from(DEMO_INSTRUMENTS)


def at(stamp: int) -> datetime:
    return datetime.fromtimestamp(stamp / 1e6, UTC)


def same(one: Bars | FxRows, other: Bars | FxRows) -> bool:
    return all(np.array_equal(getattr(one, f.name), getattr(other, f.name)) for f in fields(one))


def nearest(code: str, moment: datetime = NOON) -> Contract:
    return MARKET.chain(code, moment)[0].contract


def assert_same_answers(one: Market, other: Market, code: str, moment: datetime) -> None:
    """Everything the two markets say of an instrument at `moment`, and of the time before it."""
    since = moment - timedelta(days=40)
    assert one.chain(code, moment) == other.chain(code, moment)
    earlier = moment - timedelta(hours=1)
    assert one.sessions(code, since, earlier) == other.sessions(code, since, earlier)
    for details in one.chain(code, moment):
        contract = details.contract
        assert one.quote(contract, moment) == other.quote(contract, moment)
        assert one.mark(contract, moment) == other.mark(contract, moment)
        assert same(one.daily_bars(contract, None, moment), other.daily_bars(contract, None, moment))
        assert same(one.intraday_bars(contract, since, moment), other.intraday_bars(contract, since, moment))
    currency = INSTRUMENTS[code].currency
    assert same(one.fx_rates(currency, None, moment), other.fx_rates(currency, None, moment))


def test_the_demo_trades_several_classes_currencies_cycles_and_time_zones() -> None:
    traded = [INSTRUMENTS[code] for code in MARKET.instruments()]
    assert len(traded) == 12
    assert {one.currency for one in traded} == {"USD", "EUR", "GBP", "JPY"} == set(MARKET.currencies())
    assert len({one.asset_class for one in traded}) >= 6
    assert len({one.hours.timezone for one in traded if one.hours}) == 5
    assert {len(ROLLS[one.code].hold_cycle) for one in traded} == {1, 4, 6, 12}


@pytest.mark.parametrize("code", ["SP500_micro", "NIKKEI", "GAS_US_mini"])
def test_the_same_seed_gives_the_same_market_whoever_asked_before(code: str) -> None:
    fresh = market()
    for day in range(0, 60, 7):
        fresh.quote(nearest("GOLD_micro"), NOON + timedelta(days=day))
        fresh.quote(nearest(code), NOON + timedelta(days=day))
    assert_same_answers(MARKET, fresh, code, NOON)


@pytest.mark.parametrize(
    ("contract", "price"),
    [
        ("SP500_micro/20240600", 4315.25),
        ("CRUDE_W_mini/20240500", 48.325),
        ("V2X/20240400", 16.5),
        ("BUND/20240900", 127.32),
        ("NIKKEI/20240400", 44910.0),
        ("AUD/20240600", 0.7505),
    ],
)
def test_the_market_is_the_same_in_every_process_and_on_every_machine(contract: str, price: float) -> None:
    assert MARKET.mark(parse_contract(contract), NOON) == price


def test_another_seed_gives_another_market() -> None:
    contract = nearest("SP500_micro")
    assert not same(MARKET.daily_bars(contract, None, NOON), market(seed=12).daily_bars(contract, None, NOON))


@pytest.mark.parametrize("code", DEMO_INSTRUMENTS)
def test_nothing_told_at_a_moment_depends_on_what_comes_after(code: str) -> None:
    """A market that ends on the day asked about says the same as one that goes on for a year."""
    assert_same_answers(MARKET, market(last=NOON.date()), code, NOON)


@pytest.mark.parametrize("code", ["EUROSTX", "CORN", "AUD"])
def test_an_instrument_less_changes_no_other(code: str) -> None:
    assert_same_answers(MARKET, market(instruments={code: INSTRUMENTS[code]}), code, NOON)


@settings(max_examples=60, deadline=None)
@given(code=codes, moment=moments)
def test_no_bar_is_told_before_its_time_nor_before_its_session_closed(code: str, moment: datetime) -> None:
    contract = nearest(code, moment)
    since = moment - timedelta(days=5)
    daily = MARKET.daily_bars(contract, since, moment)
    hourly = MARKET.intraday_bars(contract, since, moment)
    for bars in (daily, hourly):
        assert all(since < at(stamp) <= moment for stamp in bars.times)
        assert (np.diff(bars.times) > 0).all()
    closed = [
        session for session in MARKET.sessions(code, since - timedelta(days=1), moment) if session.closes <= moment
    ]
    assert {at(stamp).date() for stamp in daily.times} <= {session.closes.date() for session in closed}


def test_a_session_that_ends_after_the_notional_close_is_told_when_it_has_ended() -> None:
    late = replace(INSTRUMENTS["AUD"], hours=TradingHours("America/Chicago", time(20), time(19)))
    evening = market(instruments={"AUD": late})
    contract = evening.chain("AUD", NOON)[0].contract
    closes = datetime(2024, 3, 14, 0, 0, tzinfo=UTC)  # 19:00 in Chicago on the 13th
    (stamp,) = evening.daily_bars(contract, closes - timedelta(hours=20), closes).times
    assert at(stamp) == datetime(2024, 3, 13, 23, 0, tzinfo=UTC)
    assert len(evening.daily_bars(contract, closes - timedelta(hours=20), closes - timedelta(minutes=1))) == 0


@pytest.mark.parametrize("code", DEMO_INSTRUMENTS)
def test_the_hours_of_a_day_add_up_to_the_day(code: str) -> None:
    for details in MARKET.chain(code, NOON)[:4]:
        daily = MARKET.daily_bars(details.contract, None, AFTER)
        hourly = MARKET.intraday_bars(details.contract, None, AFTER + timedelta(days=1))
        days = {at(stamp).date() for stamp in daily.times}
        sessions = MARKET.sessions(code, at(daily.times[0]) - timedelta(days=2), AFTER)
        sessions = [session for session in sessions if session.closes.date() in days]
        assert len(sessions) == len(daily) > 200
        opens = [round(session.opens.timestamp() * 1e6) for session in sessions]
        starts = np.searchsorted(hourly.times, opens, side="right")
        assert np.array_equal(hourly.open[starts], daily.open)
        assert np.array_equal(np.maximum.reduceat(hourly.high, starts), daily.high)
        assert np.array_equal(np.minimum.reduceat(hourly.low, starts), daily.low)
        assert np.array_equal(hourly.final[[*(starts[1:] - 1), -1]], daily.final)
        assert np.array_equal(np.add.reduceat(hourly.volume, starts), daily.volume)


def test_an_hour_is_told_the_moment_it_ends() -> None:
    contract = nearest("GOLD_micro")
    (opens,) = (session.opens for session in MARKET.sessions("GOLD_micro", NOON, NOON + timedelta(minutes=1)))
    ends = opens + timedelta(hours=1)
    assert [at(stamp) for stamp in MARKET.intraday_bars(contract, opens, ends).times] == [ends]
    assert len(MARKET.intraday_bars(contract, opens, ends - timedelta(microseconds=1))) == 0


@pytest.mark.parametrize("code", ["SP500_micro", "AUD", "GOLD_micro", "US10"])
def test_a_market_that_hardly_closes_opens_near_its_last_close(code: str) -> None:
    bars = MARKET.daily_bars(nearest(code), None, AFTER)
    overnight = np.log(bars.open[1:] / bars.final[:-1])
    whole_day = np.log(bars.final[1:] / bars.final[:-1])
    assert overnight.std() < 0.5 * whole_day.std()


@settings(max_examples=200, deadline=None)
@given(code=codes, moment=moments, further=st.integers(0, 5))
def test_a_quote_is_on_the_tick_around_the_last_price_and_only_while_open(
    code: str, moment: datetime, further: int
) -> None:
    chain = MARKET.chain(code, moment)
    details = chain[min(further, len(chain) - 1)]
    quote, mark = MARKET.quote(details.contract, moment), MARKET.mark(details.contract, moment)
    is_open = any(moment in session for session in MARKET.sessions(code, moment, moment + timedelta(minutes=1)))
    assert quote == MARKET.quote(details.contract, moment)
    if mark is None:
        assert quote is None
        assert not len(MARKET.daily_bars(details.contract, None, moment).times)  # listed, and not traded yet
        return
    if quote is None:
        return
    assert is_open
    assert quote.bid <= mark <= quote.ask
    assert quote.bid < quote.ask
    assert min(quote.bid_size, quote.ask_size) >= 1
    for price in (quote.bid, quote.ask, mark):
        assert float(on_tick(price, details.tick_size)) == price


@pytest.mark.parametrize("code", DEMO_INSTRUMENTS)
def test_the_first_and_last_quotes_of_a_session_agree_with_its_bars(code: str) -> None:
    compared = 0
    for session in MARKET.sessions(code, NOON - timedelta(days=30), NOON):
        contract = max(
            (one.contract for one in MARKET.chain(code, session.opens)),
            key=lambda one: sum(MARKET.daily_bars(one, session.opens, session.closes + timedelta(days=1)).volume),
        )
        hourly = MARKET.intraday_bars(contract, session.opens, session.closes + timedelta(hours=1))
        first = MARKET.quote(contract, session.opens)
        last = MARKET.quote(contract, session.closes - timedelta(seconds=1))
        for quote, price in ((first, hourly.open[0]), (last, hourly.final[-1])):
            if quote is not None:
                compared += 1
                assert quote.bid <= price <= quote.ask
    assert compared > 20


@pytest.mark.parametrize("code", DEMO_INSTRUMENTS)
def test_the_chain_is_the_priced_cycle_ahead_and_all_of_it_has_prices(code: str) -> None:
    chain = MARKET.chain(code, NOON)
    assert len(chain) >= 4
    assert [one.expiry for one in chain] == sorted(one.expiry for one in chain)
    assert chain[0].expiry >= NOON.date()
    for nearer, further in pairwise(chain):
        assert further.contract == ROLLS[code].next_priced(nearer.contract)
    for one in chain:
        assert MARKET.mark(one.contract, NOON) is not None
        assert MARKET.details(one.contract) == one
        approximate = ROLLS[code].expiry(one.contract)
        assert approximate - timedelta(days=6) <= one.expiry <= approximate


def test_an_expired_contract_leaves_the_chain_and_keeps_its_last_price() -> None:
    contract = nearest("SP500_micro")
    expiry = MARKET.details(contract).expiry
    closes = MARKET.sessions("SP500_micro", NOON, AFTER)[2].closes
    assert expiry == closes.date() == date(2024, 3, 15)
    assert nearest("SP500_micro", closes - timedelta(minutes=1)) == contract
    assert nearest("SP500_micro", closes) != contract
    final = MARKET.daily_bars(contract, None, AFTER).final[-1]
    assert MARKET.mark(contract, AFTER) == final == MARKET.mark(contract, closes)
    assert MARKET.quote(contract, closes + timedelta(days=3)) is None


@pytest.mark.parametrize("code", ["SP500_micro", "GOLD_micro", "EUROSTX"])
def test_an_expiring_contract_ends_on_the_line_the_later_ones_draw_to_it(code: str) -> None:
    """Without season or pull the log curve is a line in maturity, and at expiry a future is spot."""
    expiring, second, third = MARKET.chain(code, NOON)[:3]
    day = at(MARKET.daily_bars(expiring.contract, None, AFTER).times[-1])
    prices = [
        MARKET.daily_bars(one.contract, day - timedelta(hours=1), day).final[0] for one in (expiring, second, third)
    ]
    slope = np.log(prices[2] / prices[1]) / (third.expiry - second.expiry).days
    spot = np.log(prices[1]) - slope * (second.expiry - expiring.expiry).days
    assert np.log(prices[0]) == pytest.approx(spot, abs=3 * expiring.tick_size / prices[0])


@pytest.mark.parametrize("code", ["SP500_micro", "EUROSTX", "NIKKEI", "GOLD_micro", "AUD", "US10", "BUND", "GILT"])
def test_no_calendar_spread_of_a_financial_pays_more_than_money_could_cost(code: str) -> None:
    for moment in (NOON + timedelta(days=30 * step) for step in range(-20, 12)):
        chain = MARKET.chain(code, moment)
        for nearer, further in pairwise(chain):
            prices = MARKET.mark(nearer.contract, moment), MARKET.mark(further.contract, moment)
            years = (further.expiry - nearer.expiry).days / 365
            assert abs(np.log(prices[1] / prices[0])) / years < 0.10


def test_winter_gas_is_dearer_than_summer_gas() -> None:
    for year in (2023, 2024):
        months = f"{year - 1}0700", f"{year}0100", f"{year}0700"
        moment = datetime(year - 1, 6, 15, tzinfo=UTC)
        summer, winter, next_summer = (MARKET.mark(Contract("GAS_US_mini", month), moment) for month in months)
        assert winter > 1.1 * (summer + next_summer) / 2


@pytest.mark.parametrize("code", ["SP500_micro", "NIKKEI", "US10", "GILT", "BUND", "GOLD_micro", "AUD"])
def test_volume_has_moved_on_when_the_desk_wants_to_roll_but_not_a_month_earlier(code: str) -> None:
    held = next(
        one.contract
        for one in MARKET.chain(code, NOON + timedelta(120))
        if one.contract.letter in ROLLS[code].hold_cycle
    )
    following = ROLLS[code].next_held(held)
    wanted = MARKET.details(held).expiry + timedelta(days=ROLLS[code].roll_offset)

    def traded(contract: Contract, days_before: int) -> float:
        until = datetime.combine(wanted, time(23), UTC) - timedelta(days=days_before)
        return float(MARKET.daily_bars(contract, until - timedelta(days=4), until).volume.mean())

    assert traded(following, days_before=0) > traded(held, days_before=0)
    assert traded(following, days_before=30) < traded(held, days_before=30)


def test_near_books_are_deep_and_far_ones_thin_or_empty() -> None:
    minutes = [NOON + timedelta(minutes=step) for step in range(90)]
    chain = [one.contract for one in MARKET.chain("SP500_micro", NOON - timedelta(days=30))]
    quoted = [[MARKET.quote(one, moment - timedelta(days=30)) for moment in minutes] for one in chain]
    shown = [sum(quote is not None for quote in one) / len(minutes) for one in quoted]
    sizes = [np.mean([quote.bid_size for quote in one if quote]) for one in quoted]
    spreads = [np.mean([quote.ask - quote.bid for quote in one if quote]) for one in quoted]
    assert shown[0] > 0.9 > 0.7 > shown[-1] > 0
    assert sizes[0] > 10 * sizes[-1]
    assert spreads[-1] > 2 * spreads[0]
    assert len({quote.bid_size for quote in quoted[0] if quote}) > 10


@pytest.mark.parametrize("code", DEMO_INSTRUMENTS)
def test_markets_rest_at_weekends_and_on_a_few_holidays_of_their_exchange(code: str) -> None:
    hours = INSTRUMENTS[code].hours
    assert hours is not None
    year = (datetime(2024, 1, 1, tzinfo=UTC), datetime(2025, 1, 1, tzinfo=UTC))
    days = {session.closes.date() for session in MARKET.sessions(code, *year)}
    weekdays = {date(2024, 1, 1) + timedelta(days=n) for n in range(366)}
    weekdays = {day for day in weekdays if day.weekday() < 5}
    holidays = sorted(weekdays - days)
    assert days <= weekdays
    assert {date(2024, 1, 1), date(2024, 12, 25)} <= set(holidays)
    assert 2 <= len(holidays) <= 6
    opens, closes = hours.session(date(2024, 12, 25))
    middle = opens + (closes - opens) / 2
    chain = [one.contract for one in MARKET.chain(code, middle)]
    assert not any(MARKET.quote(contract, middle) for contract in chain)
    contract = chain[0]
    before = MARKET.daily_bars(contract, None, middle)
    assert len(MARKET.daily_bars(contract, opens, opens + timedelta(hours=24))) == 0
    assert MARKET.mark(contract, middle) == before.final[-1]


def test_exchanges_have_their_own_holidays() -> None:
    def days(code: str) -> set[date]:
        since, until = datetime(2022, 2, 1, tzinfo=UTC), datetime(2025, 6, 1, tzinfo=UTC)
        return {session.closes.date() for session in MARKET.sessions(code, since, until)}

    assert days("EUROSTX") == days("V2X")
    assert days("EUROSTX") != days("NIKKEI")


@pytest.mark.parametrize(
    ("code", "day", "opens", "closes"),
    [
        ("SP500_micro", date(2024, 3, 8), datetime(2024, 3, 7, 23), datetime(2024, 3, 8, 22)),
        ("SP500_micro", date(2024, 3, 12), datetime(2024, 3, 11, 22), datetime(2024, 3, 12, 21)),
        ("GILT", date(2024, 3, 12), datetime(2024, 3, 12, 8), datetime(2024, 3, 12, 18)),
        ("GILT", date(2024, 4, 2), datetime(2024, 4, 2, 7), datetime(2024, 4, 2, 17)),
    ],
)
def test_sessions_and_hours_follow_each_zone_through_its_own_clock_change(
    code: str, day: date, opens: datetime, closes: datetime
) -> None:
    opens, closes = opens.replace(tzinfo=UTC), closes.replace(tzinfo=UTC)
    (session,) = MARKET.sessions(code, closes - timedelta(minutes=1), closes)
    assert (session.opens, session.closes) == (opens, closes)
    contract = MARKET.chain(code, opens)[1].contract
    hourly = MARKET.intraday_bars(contract, opens, closes)
    assert (at(hourly.times[0]), at(hourly.times[-1])) == (opens + timedelta(hours=1), closes)
    assert len(hourly) == (closes - opens) // timedelta(hours=1)
    (stamp,) = MARKET.daily_bars(contract, closes - timedelta(hours=12), closes + timedelta(hours=12)).times
    assert at(stamp) == datetime.combine(day, time(23), UTC)


def test_spikes_are_rare_but_occur() -> None:
    long = market(first=date(2019, 1, 1), last=date(2025, 12, 31))
    spikes = changes = 0
    for code in DEMO_INSTRUMENTS:
        for year in range(2020, 2026):
            bars = long.daily_bars(Contract(code, f"{year}1200"), None, datetime(2026, 1, 1, tzinfo=UTC))
            moves = np.abs(np.diff(bars.final))
            spikes += int((moves > 8 * moves.mean()).sum())
            changes += len(moves)
    assert 1 <= spikes < changes / 500


def test_rates_are_daily_known_on_the_first_day_and_cross_over_the_base() -> None:
    saturday = datetime(2024, 3, 16, 12, tzinfo=UTC)
    rows = MARKET.fx_rates("EUR", saturday - timedelta(days=7), saturday)
    assert [at(stamp).weekday() for stamp in rows.times] == [0, 1, 2, 3, 4]
    assert {at(stamp).time() for stamp in rows.times} == {time(23)}
    assert MARKET.fx_rate("EUR", saturday) == rows.rates[-1]
    assert MARKET.fx_rate("USD", saturday) == 1.0
    assert MARKET.fx_rate("JPY", datetime.combine(FIRST, time(1), UTC)) > 0
    pounds = market(base="GBP")
    assert pounds.fx_rate("EUR", NOON) == pytest.approx(MARKET.fx_rate("EUR", NOON) / MARKET.fx_rate("GBP", NOON))


def test_commission_is_the_instruments_own() -> None:
    assert MARKET.commission(nearest("GOLD_micro"), -3, 2000.0) == INSTRUMENTS["GOLD_micro"].commission(3, 2000.0)


@pytest.mark.parametrize("unknown", ["PORK/20240600", "SP500_micro/20240400", "GOLD_micro/20240615", "AUD/20400300"])
def test_a_contract_that_is_not_listed_is_refused(unknown: str) -> None:
    code, _, month = unknown.partition("/")
    for ask in (MARKET.details, lambda one: MARKET.quote(one, NOON), lambda one: MARKET.daily_bars(one, None, NOON)):
        with pytest.raises(UnknownContract, match=code):
            ask(Contract(code, month))


def test_rates_nobody_knows_are_refused() -> None:
    with pytest.raises(DataError, match="no rate for currency 'CHF'"):
        MARKET.fx_rate("CHF", NOON)
    with pytest.raises(DataError, match="EUR: no rate at 2001-01-01"):
        MARKET.fx_rate("EUR", datetime(2001, 1, 1, tzinfo=UTC))


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ({"seed": -1}, "seed is -1"),
        ({"last": FIRST}, "14 days or more"),
        ({"instruments": {"VIX": INSTRUMENTS["VIX"]}}, "none of the synthetic market's instruments"),
        ({"instruments": {"AUD": replace(INSTRUMENTS["AUD"], tick_size=None)}}, "AUD needs trading hours and a tick"),
        ({"base": "XAU"}, "no rate for currency XAU"),
    ],
)
def test_a_market_that_cannot_be_made_says_why(arguments: dict[str, object], complaint: str) -> None:
    with pytest.raises(ConfigError, match=complaint):
        market(**arguments)
