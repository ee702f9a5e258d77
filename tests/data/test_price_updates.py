"""The daily price pipeline: new rows once, spikes held back, no failure in the way of others."""

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from pysys.data.fx import update_fx_prices
from pysys.data.historical import update_historical_prices
from pysys.data.market_data import load_market_data
from pysys.data.multiple import initialise_prices, update_multiple_adjusted_prices
from pysys.data.sampling import contract_chain, update_sampled_contracts
from pysys.data.spike_gate import decide_spike, waiting_spikes
from pysys.data.update_result import UpdateIncomplete
from pysys.desk import Desk
from pysys.domain.contracts import Contract
from pysys.domain.errors import DataError
from pysys.domain.instruments import Instrument, RollParameters
from pysys.domain.prices import to_microseconds
from pysys.domain.stitching import panama_stitch
from pysys.store.markets import ListedContract
from pysys.store.prices import PriceOutcome, Resolution, SeriesKind, contract_key
from pysys.store.unit import Store
from tests.data.price_world import GOLD_JUN, GOLD_MAR, INSTRUMENTS, TONIGHT, open_desk, with_history

TODAY = to_microseconds(TONIGHT)


def hundredfold_after_tonight(contract: Contract, times: np.ndarray, prices: np.ndarray) -> np.ndarray:
    """The decimal point of GOLD June slips at noon and at the close of the day after tonight."""
    slipped = [to_microseconds(datetime(2024, 2, 21, hour, tzinfo=UTC)) for hour in (12, 23)]
    return np.where((contract == GOLD_JUN) & np.isin(times, slipped), prices * 100, prices)


@pytest.fixture
def desk(store: Store, tmp_path: Path) -> Iterator[Desk]:
    with open_desk(store, tmp_path) as opened:
        yield with_history(opened)


@pytest.fixture
def spiky(sqlite_store: Store, tmp_path: Path) -> Iterator[Desk]:
    with open_desk(sqlite_store, tmp_path, hundredfold_after_tonight) as opened:
        desk = with_history(opened)
        update_sampled_contracts(desk)
        desk.clock.advance(days=1)  # type: ignore[attr-defined]
        yield desk


def update_all(desk: Desk) -> list[int]:
    results = [update_fx_prices(desk)]
    update_sampled_contracts(desk).raise_if_incomplete()
    results += [update_historical_prices(desk), update_multiple_adjusted_prices(desk)]
    for result in results:
        result.raise_if_incomplete()
    return [result.rows_added for result in results]


def outcomes(desk: Desk, kind: SeriesKind) -> dict[str, PriceOutcome]:
    with desk.store.read() as unit:
        return {f"{one.series.code}/{one.series.contract}": one.outcome for one in unit.prices.outcomes(kind)}


def test_a_day_adds_its_rows_and_a_second_run_adds_none(desk: Desk) -> None:
    update_all(desk)
    desk.clock.advance(days=1)
    assert update_all(desk) == [1, 2 * 4 * 10, 2 * 2 * 10]  # a rate; 4 contracts; multiple and adjusted
    assert update_all(desk) == [0, 0, 0]
    assert outcomes(desk, SeriesKind.CONTRACT_DAILY)["GOLD/20240300"] is PriceOutcome.NONE_EXPECTED
    with desk.store.read() as unit:
        multiple, adjusted = unit.prices.multiple("GOLD"), unit.prices.adjusted("GOLD")
        daily = unit.prices.contract_bars(GOLD_MAR, daily=True)
    assert multiple.times[-1] == adjusted.times[-1] == daily.times[-1] == TODAY - 1_800_000_000 + 86_400_000_000
    assert multiple.price[-1] == adjusted.price[-1] == daily.final[-1]
    np.testing.assert_allclose(panama_stitch(multiple).price, adjusted.price, rtol=1e-12)


def test_a_spike_holds_back_one_contract_and_no_other(spiky: Desk) -> None:
    result = update_historical_prices(spiky)
    held = result.table().query("outcome == 'held_back'")
    assert set(zip(held.code, held.contract, strict=True)) == {("GOLD", "20240600")}
    assert (result.table().query("outcome == 'new_rows'").rows_added > 0).all()
    with pytest.raises(UpdateIncomplete, match=r"GOLD/20240600.*times the average change"):
        result.raise_if_incomplete()
    with spiky.store.read() as unit:
        assert unit.prices.last_time(contract_key(GOLD_JUN, daily=True)) < TODAY
        assert unit.prices.last_time(contract_key(GOLD_JUN, daily=False)) < TODAY
        assert unit.prices.last_time(contract_key(GOLD_MAR, daily=True)) > TODAY
    assert waiting_spikes(spiky.store)


def test_a_decided_spike_goes_in_as_decided_and_the_day_with_it(spiky: Desk) -> None:
    update_historical_prices(spiky)
    waiting = {row.time: row for row in waiting_spikes(spiky.store)}
    noon, one, close = sorted(waiting)
    assert (noon.hour, one.hour, close.hour) == (12, 13, 23)  # the way back is a spike as well
    now = spiky.clock.now()
    decide_spike(spiky.store, waiting[noon].id, Resolution.PREVIOUS, now)
    decide_spike(spiky.store, waiting[close].id, Resolution.TYPED, now, price=2048.0)
    with pytest.raises(DataError, match="decided already"):
        decide_spike(spiky.store, waiting[noon].id, Resolution.ACCEPTED, now)
    with pytest.raises(ValueError, match="typed price"):
        decide_spike(spiky.store, waiting[one].id, Resolution.TYPED, now)

    update_historical_prices(spiky).raise_if_incomplete()
    assert waiting_spikes(spiky.store) == []
    with spiky.store.read() as unit:
        hourly = unit.prices.contract_bars(GOLD_JUN, daily=False, since=TODAY)
        daily = unit.prices.contract_bars(GOLD_JUN, daily=True, since=TODAY)
    assert hourly.final[4] == hourly.final[3] and hourly.final.max() < 3000
    assert (daily.final[0], daily.high[0]) == (2048.0, 2048.0)


def test_a_spike_in_an_exchange_rate_is_held_back(sqlite_store: Store, tmp_path: Path) -> None:
    with open_desk(sqlite_store, tmp_path) as desk:
        update_fx_prices(desk)
        desk.clock.advance(days=1)
        with desk.store.write() as unit:  # as if yesterday's rates had been a hundredth
            rows = unit.prices.fx("EUR")
            unit.prices.replace(unit.prices.series(SeriesKind.FX)[0], type(rows)(rows.times, rows.price / 100))
            unit.commit()
        result = update_fx_prices(desk)
        assert result.table().outcome.tolist() == ["held_back"]
        with desk.store.read() as unit:
            assert len(unit.prices.fx("EUR")) == len(rows)


def test_a_dead_contract_in_the_middle_stops_nobody(desk: Desk) -> None:
    update_sampled_contracts(desk)
    with desk.store.write() as unit:
        unit.markets.put_contract(ListedContract(Contract("GOLD", "20240400"), sampling=True))
        unit.commit()
    desk.clock.advance(days=1)
    result = update_historical_prices(desk)
    assert result.table().groupby("outcome").size().to_dict() == {"error": 2, "new_rows": 16}
    assert outcomes(desk, SeriesKind.CONTRACT_DAILY)["GOLD/20240400"] is PriceOutcome.ERROR
    with pytest.raises(UpdateIncomplete, match="GOLD/20240400: no stored prices"):
        result.raise_if_incomplete()


def test_no_data_on_a_trading_day_is_missing_and_over_a_weekend_none_expected(
    sqlite_store: Store, tmp_path: Path
) -> None:
    def march_falls_silent(contract: Contract, times: np.ndarray, prices: np.ndarray) -> np.ndarray:
        return np.where((contract == GOLD_MAR) & (times > TODAY), np.nan, prices)

    with open_desk(sqlite_store, tmp_path, march_falls_silent) as opened:
        desk = with_history(opened)
        update_sampled_contracts(desk)
        desk.clock.moment = datetime(2024, 2, 23, 23, 30, tzinfo=UTC)  # a Friday
        result = update_historical_prices(desk)
        result.raise_if_incomplete()  # the market traded and March did not: told, but no failure
        assert set(result.table().query("outcome == 'missing'").contract) == {"20240300"}
        assert outcomes(desk, SeriesKind.CONTRACT_DAILY)["GOLD/20240600"] is PriceOutcome.NEW_ROWS
        desk.clock.moment = datetime(2024, 2, 26, 6, tzinfo=UTC)  # Monday, before the session
        update_historical_prices(desk)
        assert outcomes(desk, SeriesKind.CONTRACT_DAILY)["GOLD/20240600"] is PriceOutcome.NONE_EXPECTED


def test_sampling_follows_the_contracts_in_use_until_they_expire(desk: Desk) -> None:
    first = update_sampled_contracts(desk)
    sampled = first.table().query("sampling and instrument == 'GOLD'").contract.tolist()
    assert sampled == ["20240300", "20240600", "20240900", "20241200"]
    assert first.table().expiry_source.eq("broker").all()
    desk.clock.advance(days=30)
    later = update_sampled_contracts(desk).table().query("contract == '20240300'")
    assert later.change.tolist() == ["stopped", "stopped"] and later.detail.tolist() == ["expired", "expired"]
    again = update_sampled_contracts(desk).table()
    assert (again.change == "").all()


def test_an_instrument_of_another_size_than_the_brokers_fails_alone(desk: Desk) -> None:
    with desk.store.write() as unit:
        unit.markets.put_instrument(Instrument("GOLD", "Gold", "USD", 1.0, "Metals"))
        unit.commit()
    result = update_sampled_contracts(desk)
    assert list(result.failures) == ["GOLD"] and "BUND" in set(result.table().instrument)
    with pytest.raises(UpdateIncomplete, match="multiplier of 100 at the broker and a point size of 1 here"):
        result.raise_if_incomplete()


def test_retired_markets_are_left_alone(desk: Desk) -> None:
    update_sampled_contracts(desk)
    with desk.store.write() as unit:
        unit.markets.set_status("GOLD", "retired")
        unit.commit()
    update_sampled_contracts(desk)
    desk.clock.advance(days=1)
    assert set(update_historical_prices(desk).table().code) == {"BUND"}
    assert set(update_multiple_adjusted_prices(desk).table().code) == {"BUND"}


def test_the_chain_reaches_what_is_needed_after_the_next_roll() -> None:
    corn = RollParameters("CORN", "Z", "HKNUZ", -60, -1, 14)
    used = [Contract("CORN", date) for date in ("20241200", "20240900", "20251200")]
    chain = [one.date for one in contract_chain(corn, *used)]
    assert chain[0] == "20240900" and chain[-1] == "20261200" and len(chain) == 12


def test_new_markets_get_series_that_end_in_the_contracts_in_use(desk: Desk) -> None:
    with desk.store.read() as unit:
        last = unit.prices.last_multiple("BUND")
        calendar = unit.markets.roll_calendar("BUND", "prices")
    assert (last.price_contract[0], last.forward_contract[0]) == (20240300, 20240600)
    assert [row.next.date for row in calendar] == ["20230900", "20231200", "20240300"]
    with pytest.raises(DataError, match="already"):
        initialise_prices(desk.store, "BUND")


def test_the_research_engine_reads_what_was_stored(desk: Desk) -> None:
    update_all(desk)
    data = load_market_data(desk.store, list(INSTRUMENTS))
    with desk.store.read() as unit:
        adjusted = unit.prices.adjusted("BUND")
    np.testing.assert_array_equal(data.instruments["BUND"].adjusted.price, adjusted.price)
    assert data.instruments["GOLD"].multiple.times[-1] == np.datetime64("2024-02-20T23:00:00")
    assert data.fx_against_usd("EUR").price[-1] == pytest.approx(1.08, abs=0.002)
    with pytest.raises(DataError, match="not an instrument"):
        load_market_data(desk.store, ["SILVER"])


def test_euro_is_the_base_and_dollars_are_still_stored_in_dollars(sqlite_store: Store, tmp_path: Path) -> None:
    with open_desk(sqlite_store, tmp_path) as opened:
        base = opened.config.model_copy(update={"base_currency": "EUR"})

        class EuroAccount:
            """Quotes the same market in euro."""

            def fx_rates(self, currency: str, since: object) -> object:
                rows = opened.broker.fx_rates("EUR", since)
                assert currency == "USD"
                return type(rows)(rows.times, 1 / rows.rates)

        desk = Desk(base, opened.store, EuroAccount(), opened.clock)
        assert update_fx_prices(desk).rows_added > 0
        with opened.store.read() as unit:
            assert unit.prices.fx("EUR").price[-1] == pytest.approx(1.08, abs=0.002)
