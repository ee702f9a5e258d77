"""Prices for research: from this system, from the demo while this system has none, or from CSV files."""

from collections.abc import Sequence
from pathlib import Path

from pysys.config import Settings
from pysys.data.csv_layout import load_market_data as load_from_files
from pysys.data.market_data import load_market_data
from pysys.domain.errors import DataError
from pysys.store.database import connect, require_current
from pysys.store.prices import SeriesKind
from pysys.store.unit import Store
from pysys.systems.market_data import MarketData

DEMO_DATABASE = Path("demo") / "state" / "pysys.db"


def research_data(settings: Settings, prices: str = "", instruments: Sequence[str] = ()) -> tuple[MarketData, str]:
    """Market data, and a sentence on where it is from.

    prices: a folder of CSV files, or a database URL; empty is this system's database, or the demo's while this one
    has no prices. instruments: all that have prices when empty. Raises DataError when there are no prices anywhere.
    """
    if prices and "://" not in prices:
        folder = Path(prices)
        return load_from_files(folder, list(instruments) or None), f"CSV files in {folder}"
    candidates = [prices] if prices else [settings.database_url, f"sqlite:///{settings.outputs / DEMO_DATABASE}"]
    for url in candidates:
        if url.startswith("sqlite:///") and not Path(url.removeprefix("sqlite:///")).exists():
            continue
        engine = connect(url)
        require_current(engine)
        store = Store(url, engine=engine)
        with store.read() as unit:
            priced = sorted({key.code for key in unit.prices.series(SeriesKind.ADJUSTED)})
        if priced:
            chosen = list(instruments) or priced
            return load_market_data(store, chosen), f"{len(chosen)} instruments from {_shown(url)}"
    raise DataError(
        "There are no prices to research yet. Run `pysys demo`, or `pysys import-prices DIR`, or name a folder of CSV "
        "files in the parameter `prices`."
    )


def _shown(url: str) -> str:
    return connect(url).url.render_as_string(hide_password=True)
