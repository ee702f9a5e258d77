"""A backtest from the database is the backtest from the files it was imported from, and imports as little."""

import os
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import yaml

from pysys.cli import run
from pysys.config import Settings, load_settings
from pysys.data.importing import import_prices
from pysys.data.market_data import market_data_at
from pysys.data.research import research_backtest, research_config, research_data, traded_instruments
from pysys.domain.errors import ConfigError
from pysys.store.database import migrate, sqlite_url
from pysys.store.markets import RETIRED, UnknownInstrument
from pysys.store.unit import Store
from pysys.systems.backtest_yaml import read_backtest_config
from tests.conftest import PROJECT
from tests.data.csv_world import write_layout
from tests.systems.markets import configuration

TREND = {"forecast_weights": {"ewmac4_16": 0.5, "carry10": 0.5}}  # rules that need no other market of their class

PROGRAM = """
import sys
from pysys.cli import run
code = run(sys.argv[1:])
slow = [name for name in ("pandas", "scipy", "sqlalchemy", "psycopg", "alembic", "dask") if name in sys.modules]
sys.exit(code or ", ".join(slow) or 0)
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_layout(tmp_path_factory.mktemp("layout") / "futures")


@pytest.fixture(scope="module")
def url(folder: Path) -> str:
    store = Store(sqlite_url(folder.parent / "pysys.db"))
    migrate(store.engine)
    import_prices(store, folder).raise_if_incomplete()
    store.close()
    return store.url


def test_files_and_database_give_one_backtest_without_importing_what_is_slow(folder, url, tmp_path):
    config = tmp_path / "config.yaml"
    config.write_text(yaml.safe_dump(configuration(["GOLD", "BUND"], **TREND).as_yaml_keys(), sort_keys=False))
    for name, source in (("files", ["--data", str(folder)]), ("database", [])):
        arguments = ["backtest", str(config), "--out", str(tmp_path / name), "--timing", *source]
        done = subprocess.run(
            [sys.executable, "-c", PROGRAM, *arguments],
            env={**os.environ, "PYSYS_DATABASE_URL": url},
            capture_output=True,
            text=True,
        )
        assert (done.returncode, done.stderr) == (0, "")
        for lap in ("import", "read", "compute", "write", "total", "  rule carry10", "  account"):
            assert f"\n{lap}" in done.stdout
    for file in ("positions.parquet", "portfolio.parquet"):
        assert pq.read_table(tmp_path / "files" / file).equals(pq.read_table(tmp_path / "database" / file))


def test_a_database_that_is_not_there_or_knows_no_such_instrument_says_so(url, tmp_path):
    with pytest.raises(ConfigError, match="pysys init"):
        market_data_at(sqlite_url(tmp_path / "none.db"), ["GOLD"])
    with pytest.raises(UnknownInstrument, match="TIN is not an instrument"):
        market_data_at(url, ["GOLD", "TIN"])


@pytest.mark.parametrize("source", ["files", "database"])
def test_a_strategy_file_is_complete_with_its_rules_its_currency_and_its_choice_of_markets(
    folder, url, tmp_path, monkeypatch, source
):
    monkeypatch.setenv("PYSYS_DATABASE_URL", url)
    keys = configuration(["GOLD", "BUND"]).as_yaml_keys() | {"base_currency": "EUR"}
    keys["trading_rules"]["up"] = {
        "function": "ourrules.up",
        "data": ["rawdata.get_daily_prices"],
        "forecast_scalar": 1.0,
    }
    keys["forecast_weights"] = {"up": 1.0}
    (tmp_path / "ourrules.py").write_text("def up(price):\n    return price * 0 + 10\n")
    chosen = ["--data", str(folder)] if source == "files" else []

    def instruments_of(name: str, keys: dict, *options: str) -> list[str]:
        path = tmp_path / f"{name}.yaml"
        path.write_text(yaml.safe_dump(keys))
        assert run(["backtest", str(path), "--out", str(tmp_path / name), *chosen, *options]) == 0
        positions = pq.read_table(tmp_path / name / "positions.parquet").to_pandas()
        assert (positions.combined_forecast.dropna() > 0).any()
        return sorted(set(positions.instrument))

    assert instruments_of("both", keys) == ["BUND", "GOLD"]
    assert instruments_of("one", keys, "--instruments", "GOLD") == ["GOLD"]
    del keys["instrument_weights"]
    assert instruments_of("all", keys) == ["BUND", "GOLD"]
    assert instruments_of("some", keys, "--instruments", "GOLD") == ["GOLD"]


def test_what_a_strategy_file_leaves_out_is_the_projects_unless_its_prices_are_of_none(
    folder, url, settings, tmp_path, monkeypatch
):
    keys = configuration(["GOLD"], **TREND).as_yaml_keys()
    del keys["percentage_vol_target"], keys["base_currency"]
    path = tmp_path / "strategy.yaml"
    path.write_text(yaml.safe_dump(keys))
    monkeypatch.setenv("PYSYS_DATABASE_URL", url)
    monkeypatch.setenv("PYSYS_PERCENTAGE_VOL_TARGET", "10")
    monkeypatch.setenv("PYSYS_BASE_CURRENCY", "EUR")

    used = [research_config(settings, path)]
    for name, source in (("database", []), ("files", ["--data", str(folder)])):
        assert run(["backtest", str(path), "--out", str(tmp_path / name), *source]) == 0
        used.append(read_backtest_config(tmp_path / name / "config.yaml"))

    assert [one.percentage_vol_target for one in used] == [10.0, 10.0, 16.0]
    assert [one.base_currency for one in used] == ["EUR", "EUR", "USD"]


@pytest.fixture
def settings(folder, url, tmp_path) -> Settings:
    own = {"PYSYS_DATABASE_URL": url, "PYSYS_OUTPUTS_DIRECTORY": str(tmp_path)}
    return load_settings(PROJECT, {**own, "PYSYS_PERCENTAGE_VOL_TARGET": "10", "PYSYS_BASE_CURRENCY": "EUR"})


def test_research_is_on_what_production_would_trade_or_what_a_configuration_names(
    folder, settings, sqlite_store, tmp_path
):
    import_prices(sqlite_store, folder).raise_if_incomplete()
    with sqlite_store.write() as unit:
        unit.markets.set_status("GOLD", RETIRED)
        unit.commit()
    keys = configuration(["GOLD"], allocate_zero_instrument_weights_to_these_instruments=["BUND"]).as_yaml_keys()
    weighted, open_to_all = tmp_path / "weighted.yaml", tmp_path / "open.yaml"
    weighted.write_text(yaml.safe_dump({**keys, "instrument_weights": {"GOLD": 0.5, "BUND": 0.5}}))
    del keys["instrument_weights"], keys["allocate_zero_instrument_weights_to_these_instruments"]
    open_to_all.write_text(yaml.safe_dump(keys))

    def read(prices: str, *configs: Path) -> list[str]:
        return sorted(research_data(settings, prices, configs=configs)[0].instruments)

    assert read(sqlite_store.url) == read(sqlite_store.url, open_to_all) == ["BUND"]
    assert read(sqlite_store.url, weighted) == read(str(folder), open_to_all) == ["BUND", "GOLD"]
    of = {path: research_config(settings, path) for path in (weighted, open_to_all)}
    assert traded_instruments(settings, of[weighted], sqlite_store.url) == ["GOLD"]
    assert traded_instruments(settings, of[open_to_all], sqlite_store.url) == ["BUND"]
    assert traded_instruments(settings, of[open_to_all], str(folder)) == ["BUND", "GOLD"]


def test_research_on_files_counts_in_any_currency_they_have_the_rates_of(folder, settings, tmp_path):
    path = tmp_path / "strategy.yaml"
    path.write_text(yaml.safe_dump(configuration(["GOLD"], **TREND).as_yaml_keys() | {"base_currency": "EUR"}))
    market, _ = research_data(settings, str(folder), ["GOLD"])
    assert market.instrument("GOLD").meta.currency == "USD"
    assert research_backtest(settings, path, market).config.base_currency == "EUR"
