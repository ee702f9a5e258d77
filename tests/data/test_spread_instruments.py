"""Spreads declared in the configuration: their rows, the contracts sampled for them, their prices."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pysys.config import Config, Settings
from pysys.data.market_data import load_market_data, market_data_at
from pysys.data.multiple import merged_finals
from pysys.data.research import research_data
from pysys.data.rolling import roll_instrument
from pysys.data.sampling import update_sampled_contracts
from pysys.data.spread_instruments import put_spread_instruments
from pysys.data.spread_market_data import with_spreads
from pysys.data.spread_prices import update_spread_prices
from pysys.desk import Desk
from pysys.domain.errors import ConfigError, DataError
from pysys.domain.instruments import Instrument
from pysys.store.markets import RETIRED, UnknownInstrument
from pysys.store.unit import Store
from tests.data.price_world import GOLD_JUN, GOLD_MAR, GOLD_SEP, ROLLS, open_desk, with_history

NEAR = [{"instrument": "GOLD", "ratio": 1}, {"instrument": "GOLD", "ratio": -1, "chain": 1}]
FAR = [{"instrument": "GOLD", "ratio": 1, "chain": 1}, {"instrument": "GOLD", "ratio": -1, "chain": 2}]
BETWEEN = [{"instrument": "GOLD", "ratio": 1}, {"instrument": "SILVER", "ratio": -2}]


def declared(**legs: list[dict[str, Any]]) -> Config:
    return Config.model_validate({"spread_instruments": {code: {"legs": each} for code, each in legs.items()}})


def put(store: Store, config: Config) -> int:
    with store.write() as unit:
        changed = put_spread_instruments(unit, config)
        unit.commit()
    return changed


@pytest.fixture
def desk(sqlite_store: Store, tmp_path: Path) -> Iterator[Desk]:
    """On the evening GOLD is priced in March, with two calendar spreads of it declared."""
    with open_desk(sqlite_store, tmp_path) as opened:
        spreading = replace(with_history(opened), config=declared(FAR=FAR, NEAR=NEAR))
        put(sqlite_store, spreading.config)
        yield spreading


def test_a_spread_is_an_instrument_once_declared_and_retired_when_it_is_no_more(desk: Desk) -> None:
    assert put(desk.store, desk.config) == 0
    with desk.store.read() as unit:
        row = unit.markets.instrument("NEAR")
    assert (row.point_size, row.currency, row.asset_class, row.tick_size) == (100.0, "USD", "Metals", 0.1)

    assert put(desk.store, declared(NEAR=NEAR)) == 1
    with desk.store.read() as unit:
        assert [one.code for one in unit.markets.instruments()] == ["BUND", "GOLD", "NEAR"]
        assert unit.markets.status("FAR") == RETIRED
    assert put(desk.store, desk.config) == 1


@pytest.mark.parametrize(
    ("legs", "wrong"),
    [
        ({"X": BETWEEN}, "spread_instruments.X: its leg SILVER is no instrument of this database. Add it to"),
        ({"GOLD": [{**leg, "instrument": "BUND"} for leg in NEAR]}, "GOLD is a market with contracts of its own"),
        (
            {"X": [{"instrument": "GOLD", "ratio": 1}, {"instrument": "BUND", "ratio": -1}]},
            "spread_instruments.X: its legs are quoted in USD and EUR",
        ),
    ],
)
def test_a_spread_that_cannot_be_an_instrument_is_refused_by_name(desk: Desk, legs: Any, wrong: str) -> None:
    with pytest.raises(ConfigError, match=wrong):
        put(desk.store, declared(**legs))


def test_between_markets_a_point_of_the_spread_is_a_point_of_its_first_leg(desk: Desk) -> None:
    with desk.store.write() as unit:
        unit.markets.put_instrument(Instrument("SILVER", "", "USD", 5000.0, "Metals", per_block=1.0))
        unit.markets.put_roll_parameters(replace(ROLLS["GOLD"], instrument="SILVER"))
        put_spread_instruments(unit, declared(RATIO=BETWEEN))
        row = unit.markets.instrument("RATIO")
    assert (row.point_size, row.per_block) == (100.0, 2.0)


def test_the_legs_of_a_spread_are_sampled_before_and_after_the_roll_and_the_spread_itself_is_not(desk: Desk) -> None:
    with desk.store.write() as unit:
        for listed in unit.markets.contracts("GOLD"):
            unit.markets.put_contract(replace(listed, sampling=False))
        unit.commit()

    def sampled(config: Config) -> list[str]:
        table = update_sampled_contracts(replace(desk, config=config), ["GOLD"]).table()
        return list(table.query("sampling").contract)

    assert sampled(Config()) == ["20240300", "20240600", "20240900"]
    assert sampled(desk.config) == ["20240300", "20240600", "20240900", "20241200"]  # FAR, when GOLD is in June

    assert set(update_sampled_contracts(desk).table().instrument) == {"GOLD", "BUND"}
    failed = update_sampled_contracts(desk, ["NEAR"]).failures
    assert failed == {"NEAR": "it is a spread and has no contracts of its own; they are sampled with GOLD"}


def test_a_spread_has_prices_every_day_and_a_roll_of_its_market_is_no_jump(desk: Desk) -> None:
    first = update_spread_prices(desk)
    first.raise_if_incomplete()
    assert update_spread_prices(desk).rows_added == 0
    with desk.store.read() as unit:
        before = unit.prices.adjusted("NEAR")
        finals = {c: float(merged_finals(unit, c).price[-1]) for c in (GOLD_MAR, GOLD_JUN, GOLD_SEP)}
    assert before.price[-1] == pytest.approx(finals[GOLD_MAR] - finals[GOLD_JUN])

    roll_instrument(desk, "GOLD", who="tester", why="as the story goes")
    update_spread_prices(desk).raise_if_incomplete()

    with desk.store.read() as unit:
        after = unit.prices.adjusted("NEAR")
    assert after.price[-1] == pytest.approx(finals[GOLD_JUN] - finals[GOLD_SEP])
    assert np.abs(np.diff(after.price)).max() < 2.0  # a point or two of noise; the roll itself is nothing


def test_without_spreads_there_is_nothing_to_do(desk: Desk) -> None:
    result = update_spread_prices(replace(desk, config=Config()))
    result.raise_if_incomplete()
    assert (len(result.table()), result.rows_added) == (0, 0)
    with pytest.raises(ConfigError, match="GOLD is not among spread_instruments, which are: FAR, NEAR"):
        update_spread_prices(desk, ["GOLD"])


def test_the_research_engine_reads_a_spread_as_one_more_instrument(desk: Desk) -> None:
    ordinary, spreads = load_market_data(desk.store, ["GOLD"]), desk.config.spreads
    with pytest.raises(DataError, match="NEAR has no prices yet; run `pysys run update_spread_prices`"):
        with_spreads(ordinary, desk.store, [spreads["NEAR"]])
    update_spread_prices(desk)

    data = with_spreads(ordinary, desk.store, list(spreads.values()))

    near, far = data.instrument("NEAR"), data.instrument("FAR")
    assert set(data.instruments) == {"GOLD", "NEAR", "FAR"}
    assert (near.meta.hold_roll_cycle, near.meta.point_size) == ("HMUZ", 100.0)
    assert near.multiple.price_contract[-1] == int(GOLD_MAR.date)
    assert far.multiple.price_contract[-1] == int(GOLD_JUN.date)  # of its first leg, a contract on
    assert near.adjusted.price[-1] == pytest.approx(near.multiple.price[-1])
    assert near.multiple.carry[-1] == pytest.approx(far.multiple.price[-1])  # what it rolls to
    with pytest.raises(UnknownInstrument):
        with_spreads(ordinary, desk.store, list(declared(OTHER=NEAR).spreads.values()))


def test_research_trades_a_spread_where_it_is_named_only(desk: Desk, tmp_path: Path) -> None:
    update_spread_prices(desk)
    with desk.store.write() as unit:
        unit.markets.set_status("BUND", RETIRED)
        unit.commit()
    settings, url = Settings(tmp_path, desk.config, {}), desk.store.url
    assert list(research_data(settings, url)[0].instruments) == ["GOLD"] == list(market_data_at(url, []).instruments)
    assert set(research_data(settings, url, ["NEAR", "GOLD"])[0].instruments) == {"GOLD", "NEAR"}
