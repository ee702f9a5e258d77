"""Prices and markets in the database: what goes in comes out, once, on both databases."""

from dataclasses import replace
from datetime import UTC, date, datetime, time

import numpy as np
import pytest

from pysys.domain.contracts import Contract
from pysys.domain.errors import DataError
from pysys.domain.instruments import Instrument, RollParameters, TradingHours
from pysys.domain.prices import ContractBars, MultipleRows, PriceRows, to_microseconds, to_moment
from pysys.domain.roll_calendars import RollCalendarRow
from pysys.domain.roll_states import RollState, RollStatus
from pysys.store.bulk import bulk_reader
from pysys.store.markets import AdjustedRoll, ListedContract, UnknownInstrument
from pysys.store.prices import (
    DuplicateRows,
    OutcomeRow,
    PriceOutcome,
    QuarantinedRow,
    Resolution,
    SeriesKey,
    SeriesKind,
    contract_key,
)
from pysys.store.unit import Store

NOON = datetime(2024, 3, 1, 12, tzinfo=UTC)
DAY = 86_400_000_000
GOLD = Instrument(
    "GOLD", "Gold", "USD", 100.0, "Metals", tick_size=0.1, hours=TradingHours("America/New_York", time(18), time(17))
)
JUN = Contract("GOLD", "20240600")


def stamps(count: int, start: datetime = NOON) -> np.ndarray:
    return to_microseconds(start) + np.arange(count) * DAY


def bars(prices: list[float], start: datetime = NOON) -> ContractBars:
    final = np.array(prices)
    return ContractBars(stamps(len(prices), start), final, final + 1, final - 1, final, np.full(len(prices), np.nan))


@pytest.fixture
def gold(store: Store) -> Store:
    with store.write() as unit:
        unit.markets.put_instrument(GOLD)
        unit.commit()
    return store


def test_bars_come_back_as_they_went_in_with_missing_prices_missing(gold: Store) -> None:
    written = bars([np.nan, np.nan, 2000.1, 2003.30000000000018])
    with gold.write() as unit:
        unit.prices.append(contract_key(JUN, daily=True), written)
        unit.prices.append(contract_key(JUN, daily=False), bars([1.0]))
        unit.commit()
    with gold.read() as unit:
        read = unit.prices.contract_bars(JUN, daily=True)
        later = unit.prices.contract_bars(JUN, daily=True, since=int(written.times[2]))
    with bulk_reader(gold.url) as reader:
        bulk = reader.contract_bars("GOLD", daily=True)[JUN]
    for column in ("times", "open", "high", "low", "final", "volume"):
        np.testing.assert_array_equal(getattr(read, column), getattr(written, column))
        np.testing.assert_array_equal(getattr(bulk, column), getattr(written, column))
    assert later.final.tolist() == [2003.30000000000018]


def test_multiple_rows_survive_a_column_that_starts_empty(gold: Store) -> None:
    count = 70_000  # more than one batch of the reader
    price = np.arange(count, dtype=float)
    carry = np.where(np.arange(count) < 66_000, np.nan, 5.5)
    contract = np.full(count, 20240600)
    written = MultipleRows(
        np.arange(count), price, contract, carry, contract + 200, np.full(count, np.nan), contract + 200
    )
    with gold.write() as unit:
        unit.prices.append(SeriesKey(SeriesKind.MULTIPLE, "GOLD"), written)
        unit.prices.append(SeriesKey(SeriesKind.ADJUSTED, "GOLD"), PriceRows(np.arange(count), price))
        unit.commit()
    with bulk_reader(gold.url) as reader:
        read = reader.multiple(["GOLD", "ABSENT"])
        assert reader.adjusted(["GOLD"])["GOLD"].price[-1] == count - 1
    assert list(read) == ["GOLD"]
    for column in MultipleRows.__slots__:
        np.testing.assert_array_equal(getattr(read["GOLD"], column), getattr(written, column))
    assert read["GOLD"].price_contract.dtype == np.int64


def test_what_is_committed_after_a_bulk_read_is_there_for_everybody(gold: Store) -> None:
    for count in (1, 2, 3):
        with gold.write() as unit:
            unit.prices.replace(SeriesKey(SeriesKind.FX, "EUR"), PriceRows(stamps(count), np.ones(count)))
            unit.commit()
        with bulk_reader(gold.url) as reader:
            assert len(reader.fx()["EUR"]) == count
    somebody_else = Store(gold.url)
    with somebody_else.read() as unit:
        assert len(unit.prices.fx("EUR")) == 3
    somebody_else.close()


def test_a_row_is_stored_once_and_a_duplicate_refuses_the_whole_batch(gold: Store) -> None:
    key = contract_key(JUN, daily=True)
    with gold.write() as unit:
        unit.prices.append(key, bars([1.0, 2.0]))
        unit.commit()
    with gold.write() as unit, pytest.raises(DuplicateRows, match="GOLD/20240600"):
        unit.prices.append(key, bars([9.0, 9.0, 3.0]))
    with gold.read() as unit:
        assert unit.prices.contract_bars(JUN, daily=True).final.tolist() == [1.0, 2.0]


def test_what_is_not_committed_is_not_kept(gold: Store) -> None:
    with gold.write() as unit:
        unit.prices.append(SeriesKey(SeriesKind.FX, "EUR"), PriceRows(stamps(2), np.array([1.1, 1.2])))
    with gold.read() as unit:
        assert len(unit.prices.fx("EUR")) == 0
        assert unit.prices.series(SeriesKind.FX) == []


def test_prices_refuse_infinity_and_times_that_do_not_increase(gold: Store) -> None:
    with gold.write() as unit, pytest.raises(DataError, match="infinite"):
        unit.prices.append(SeriesKey(SeriesKind.FX, "EUR"), PriceRows(stamps(1), np.array([np.inf])))
    with pytest.raises(ValueError, match="must increase"):
        PriceRows(np.array([2, 1]), np.array([1.0, 1.0]))


def test_latest_times_are_per_series(gold: Store) -> None:
    september = Contract("GOLD", "20240900")
    with gold.write() as unit:
        unit.prices.append(contract_key(JUN, daily=True), bars([1.0, 2.0]))
        unit.prices.append(contract_key(september, daily=True), bars([1.0, 2.0, np.nan]))
        unit.commit()
    with gold.read() as unit:
        latest = unit.prices.last_times(SeriesKind.CONTRACT_DAILY, "GOLD")
        assert {key.contract: (time - stamps(1)[0]) // DAY for key, time in latest.items()} == {
            "20240600": 1,
            "20240900": 2,
        }
        assert unit.prices.last_time(contract_key(JUN, daily=False)) is None


def test_correcting_a_final_price_moves_the_bar_with_it(gold: Store) -> None:
    key = contract_key(JUN, daily=True)
    with gold.write() as unit:
        unit.prices.append(key, bars([100.0, 10_100.0]))
        unit.prices.correct_final(key, int(stamps(2)[1]), 101.0)
        unit.commit()
    with gold.read() as unit:
        read = unit.prices.contract_bars(JUN, daily=True)
        assert (read.open[1], read.high[1], read.low[1], read.final[1]) == (101.0, 102.0, 100.0, 101.0)


def test_the_adjusted_price_shifts_as_a_whole_and_missing_stays_missing(gold: Store) -> None:
    with gold.write() as unit:
        unit.prices.append(SeriesKey(SeriesKind.ADJUSTED, "GOLD"), PriceRows(stamps(3), np.array([1.0, np.nan, 3.0])))
        unit.prices.shift_adjusted("GOLD", 0.5)
        unit.commit()
    with gold.read() as unit:
        np.testing.assert_array_equal(unit.prices.adjusted("GOLD").price, [1.5, np.nan, 3.5])


def test_contract_series_are_replaced_together(gold: Store) -> None:
    gone, kept = contract_key(Contract("GOLD", "20240400"), daily=True), contract_key(JUN, daily=True)
    hourly = contract_key(JUN, daily=False)
    with gold.write() as unit:
        unit.prices.replace_contracts("GOLD", {gone: bars([1.0]), kept: bars([1.0, 2.0])})
        assert unit.prices.replace_contracts("GOLD", {kept: bars([5.0]), hourly: bars([6.0, 7.0])}) == 3
        assert [unit.prices.row_count(key) for key in (gone, kept, hourly)] == [0, 1, 2]
        assert unit.prices.contract_bars(JUN, daily=False).final.tolist() == [6.0, 7.0]
        with pytest.raises(ValueError, match="not a contract series of GOLD"):
            unit.prices.replace_contracts("GOLD", {SeriesKey(SeriesKind.FX, "EUR"): bars([1.0])})


def test_refused_rows_wait_for_one_decision(gold: Store) -> None:
    refused = QuarantinedRow(contract_key(JUN, daily=True), NOON, 200.0, "spike of 30", NOON)
    with gold.write() as unit:
        assert unit.prices.quarantine([refused]) == 1
        assert unit.prices.quarantine([replace(refused, value=201.0)]) == 0
        (waiting,) = unit.prices.quarantined(code="GOLD")
        assert waiting.value == 201.0 and waiting.id is not None
        unit.prices.resolve(waiting.id, Resolution.TYPED, NOON)
        with pytest.raises(DataError, match="decided already"):
            unit.prices.resolve(waiting.id, Resolution.ACCEPTED, NOON)
        assert unit.prices.quarantined() == []
        assert unit.prices.quarantined(unresolved=False)[0].resolution is Resolution.TYPED
        unit.commit()


def test_only_the_latest_outcome_of_a_series_is_kept(gold: Store) -> None:
    key = contract_key(JUN, daily=True)
    with gold.write() as unit:
        unit.prices.record_outcomes([OutcomeRow(key, NOON, PriceOutcome.ERROR, 0, "no answer")])
        unit.prices.record_outcomes([OutcomeRow(key, NOON, PriceOutcome.NEW_ROWS, 3)])
        assert unit.prices.outcomes(code="GOLD") == [OutcomeRow(key, NOON, PriceOutcome.NEW_ROWS, 3, "")]


def test_an_instrument_is_written_only_when_it_differs(store: Store) -> None:
    with store.write() as unit:
        assert unit.markets.put_instrument(GOLD)
        assert not unit.markets.put_instrument(GOLD)
        assert unit.markets.put_instrument(replace(GOLD, spread_cost=0.0)) is False
        assert unit.markets.put_instrument(replace(GOLD, spread_cost=0.2))
        assert unit.markets.instrument("GOLD") == replace(GOLD, spread_cost=0.2)
        with pytest.raises(UnknownInstrument, match="SILVER"):
            unit.markets.instrument("SILVER")
        with pytest.raises(UnknownInstrument, match="roll parameters"):
            unit.markets.roll_parameters("GOLD")
        parameters = RollParameters("GOLD", "GJMQVZ", "GJMQVZ", -30, 1, 26)
        assert unit.markets.put_roll_parameters(parameters)
        assert unit.markets.roll_parameters("GOLD") == parameters
        unit.markets.set_status("GOLD", "retired")
        assert unit.markets.instruments() == []
        assert [one.code for one in unit.markets.instruments(None)] == ["GOLD"]


def test_contracts_keep_what_the_broker_said(gold: Store) -> None:
    known = ListedContract(JUN, date(2024, 6, 26), "broker", sampling=True)
    with gold.write() as unit:
        assert unit.markets.put_contract(known)
        assert unit.markets.add_contracts([ListedContract(JUN), ListedContract(Contract("GOLD", "20240800"))]) == 1
        assert unit.markets.contract(JUN) == known
        assert unit.markets.contracts("GOLD", sampling=True) == [known]
        assert unit.markets.contract(Contract("GOLD", "20991200")) is None


def test_roll_history_is_kept_and_the_latest_state_counts(gold: Store) -> None:
    row = RollCalendarRow(NOON, JUN, Contract("GOLD", "20240800"), Contract("GOLD", "20240800"))
    with gold.write() as unit:
        assert unit.markets.put_roll_calendar("GOLD", "file", [row])
        assert not unit.markets.put_roll_calendar("GOLD", "file", [row])
        assert unit.markets.roll_calendar("GOLD", "prices") == []
        assert unit.markets.roll_status("GOLD").state is RollState.NO_ROLL
        for state in (RollState.PASSIVE, RollState.FORCE):
            unit.markets.record_roll_status(RollStatus("GOLD", state, "20240600", NOON, "anna", "volume moved"))
        assert unit.markets.roll_statuses()["GOLD"].state is RollState.FORCE
        assert [one.state for one in unit.markets.roll_status_history("GOLD")] == [RollState.PASSIVE, RollState.FORCE]
        roll = AdjustedRoll("GOLD", to_moment(stamps(1)[0]), row.current, row.next, 12.5)
        unit.markets.record_roll(roll)
        assert unit.markets.rolls("GOLD") == [roll]
