"""Stored prices to replay: three synthetic markets with two years behind them and two weeks ahead."""

from datetime import timedelta
from pathlib import Path

import pytest

from pysys.config import Settings, load_settings
from pysys.control.opening import open_desk
from pysys.data.fx import update_fx_prices
from pysys.rehearsal.days import rehearsal_settings
from pysys.rehearsal.demo import FIRST_DAY, fill_history
from pysys.store.repository import Author

PROJECT = Path(__file__).resolve().parents[2]
MARKETS = ("AUD", "V2X", "EUROSTX")


def quiet(*_: object) -> None:
    """Progress nobody watches."""


@pytest.fixture(scope="session")
def archive(tmp_path_factory: pytest.TempPathFactory) -> str:
    """URL of a database with prices up to two weeks after FIRST_DAY."""
    folder = tmp_path_factory.mktemp("archive")
    settings = load_settings(PROJECT, {"PYSYS_OUTPUTS_DIRECTORY": str(folder)})
    own = rehearsal_settings(settings, "source", {"paper_market": "synthetic"})
    fill_history(own, FIRST_DAY + timedelta(days=14), quiet, MARKETS)
    update_fx_prices(open_desk(own, Author("tests")))
    return own.database_url


@pytest.fixture
def settings(archive: str, tmp_path: Path) -> Settings:
    """Settings of this project, over those prices, with outputs of their own."""
    return load_settings(PROJECT, environment(archive, tmp_path))


def environment(archive: str, outputs: Path) -> dict[str, str]:
    return {"PYSYS_DATABASE_URL": archive, "PYSYS_OUTPUTS_DIRECTORY": str(outputs), "PYSYS_HOME": str(PROJECT)}
