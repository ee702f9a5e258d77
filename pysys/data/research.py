"""What research works with: prices, backtests of a configuration in a file, and saved backtests.

Prices are from this system, from the demo while this system has none, or from CSV files.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from pysys.config import CLASSIC_SYSTEM, Settings
from pysys.data.csv_layout import FX_FOLDER, fx_currencies_in, instruments_in, read_fx
from pysys.data.csv_layout import load_market_data as load_from_files
from pysys.data.market_data import load_market_data
from pysys.data.spread_market_data import with_spreads
from pysys.desk import Desk
from pysys.domain.errors import ConfigError, DataError
from pysys.store.bulk import bulk_reader
from pysys.store.database import connect, require_current
from pysys.store.prices import SeriesKind
from pysys.store.unit import Store
from pysys.systems.backtest import run_backtest
from pysys.systems.backtest_config import BacktestConfig
from pysys.systems.backtest_result import BacktestResult
from pysys.systems.backtest_yaml import read_backtest_config
from pysys.systems.candidate_rules import with_candidates
from pysys.systems.config_checks import warn
from pysys.systems.dotted_paths import named_object
from pysys.systems.intermediates import Backtest
from pysys.systems.market_data import MarketData
from pysys.systems.result_checks import doubts
from pysys.systems.saved_states import SavedBacktests

DEMO_DATABASE = Path("demo") / "state" / "pysys.db"
_SYSTEMS = {CLASSIC_SYSTEM: SavedBacktests}  # established paths of `load_backtests.object`
_VOLUME_DAYS = 28  # calendar days, back from the newest volume of any instrument


def research_data(
    settings: Settings, prices: str = "", instruments: Sequence[str] = (), configs: Sequence[str | Path] = ()
) -> tuple[MarketData, str]:
    """Market data, and a sentence on where it is from.

    prices: a folder of CSV files, or a database URL; empty is this system's database, or the demo's while this one
    has no prices. instruments: when empty those `configs` (relative to the project) name. Where nothing is named, all
    of the folder, or the active ones of the database that have prices and are no spreads. Raises DataError when there
    are no prices anywhere.
    """
    named = list(instruments) or _instruments_of(settings, configs)
    if _is_folder(prices):
        folder = Path(prices)
        return _with_all_rates(load_from_files(folder, named or None), folder), f"CSV files in {folder}"
    store, priced = _priced_store(settings, prices)
    chosen, spreads = named or priced, settings.config.spreads
    ordinary = load_market_data(store, [code for code in chosen if code not in spreads])
    data = with_spreads(ordinary, store, [spreads[code] for code in chosen if code in spreads])
    return data, f"{len(chosen)} instruments from {_shown(store.url)}"


def _instruments_of(settings: Settings, configs: Sequence[str | Path]) -> list[str]:
    """All that the configurations name; none when one of them trades whatever there is."""
    named = [research_config(settings, one).instruments for one in configs]
    return list(dict.fromkeys(code for each in named for code in each)) if all(named) else []


def _with_all_rates(data: MarketData, folder: Path) -> MarketData:
    """With every exchange rate of the folder, as a database has them: a configuration may count in any currency."""
    others = [currency for currency in fx_currencies_in(folder) if currency not in data.fx]
    return replace(data, fx={**data.fx, **{one: read_fx(folder / FX_FOLDER / f"{one}USD.csv") for one in others}})


def research_config(
    settings: Settings, config: str | Path, instruments: Sequence[str] = (), *, candidates: bool = False
) -> BacktestConfig:
    """The configuration in a file (relative to the project), on some of its instruments when any are named.

    What the file leaves out is what production would use. candidates: compute the rules without a weight too. Raises
    ConfigError for an instrument it gives no weight.
    """
    read = read_backtest_config(settings.home / config, settings.config.backtest_defaults)
    if instruments:
        read = read.restricted_to(instruments)
    return with_candidates(read) if candidates else read


def research_backtest(
    settings: Settings,
    config: str | Path,
    market: MarketData,
    instruments: Sequence[str] = (),
    *,
    candidates: bool = False,
) -> BacktestResult:
    """Backtest of `research_config`. Rules of the reader's own are found beside the file.

    Warns of what its numbers say is perhaps not meant.
    """
    chosen = research_config(settings, config, instruments, candidates=candidates)
    result = run_backtest(chosen, market, rules_folder=rules_folder(settings, config))
    warn(doubts(result))
    return result


def rules_folder(settings: Settings, config: str | Path) -> Path:
    """Where the rules of a configuration's own are: beside it."""
    return (settings.home / config).parent


def traded_instruments(settings: Settings, config: BacktestConfig, prices: str = "") -> list[str]:
    """Instruments a configuration gives capital to; without weights, all that have prices and it may trade.

    prices: as for `research_data`.
    """
    weights = config.instrument_weights
    if not weights:
        priced = instruments_in(Path(prices)) if _is_folder(prices) else _priced_store(settings, prices)[1]
        weights = config.equal_instrument_weights(priced)
    return [code for code, weight in weights.items() if weight > 0]


def open_saved_state(desk: Desk, strategy: str = "", time: str = "") -> Backtest:
    """A saved backtest of a strategy, by the class and method its `load_backtests` names.

    strategy: the first configured one when blank. time: YYYYmmdd_HHMMSS, the newest when blank. A class of the
    reader's own, in a file in parameters/private or the project folder or importable, is called with the folder of the
    saved backtests and the strategy, its method with the time; it returns a `Backtest`. Raises DataError when there is
    no such saved backtest, ConfigError for a configuration that names nothing.
    """
    name = strategy if strategy else first_strategy(desk)
    entry = desk.config.strategy_list.get(name)
    how = None if entry is None else entry.load_backtests
    if how is None:
        return SavedBacktests(desk.backtests, name).system_method(time)
    where = f"strategy_list.{name}.load_backtests"
    opener = _SYSTEMS.get(how.object)
    if opener is None:
        opener = named_object(how.object, own_code_folders(desk), f"{where}.object")
    method = getattr(opener(desk.backtests, name), how.function, None)
    if not callable(method):
        raise ConfigError(f"{where}.function: {how.object} has no method called {how.function}")
    opened: Backtest = method(time)
    return opened


def first_strategy(desk: Desk) -> str:
    """The first strategy that run_systems runs. Raises ConfigError when there is none."""
    for name in desk.config.process_configuration_methods.get("run_systems", {}):
        return name
    raise ConfigError("process_configuration_methods.run_systems lists no strategy; add one in parameters/private.")


def own_code_folders(desk: Desk) -> tuple[Path, ...]:
    """Where files with the reader's own code are looked for."""
    return (desk.home / "parameters" / "private", desk.home)


def stored_volumes(settings: Settings, prices: str = "", instruments: Sequence[str] = ()) -> Mapping[str, float]:
    """Contracts a day of each instrument's busiest contract in the last stored weeks; instruments without are absent.

    prices, instruments: as for `research_data`. CSV files have no volumes.
    """
    if _is_folder(prices):
        return {}
    store, priced = _priced_store(settings, prices)
    found = {}
    with store.read() as unit:
        stamps = unit.prices.last_times(SeriesKind.CONTRACT_DAILY)
        if not stamps:
            return {}
        last = datetime.fromtimestamp(max(stamps.values()) / 1e6, UTC)
        for code in list(instruments) or priced:
            volumes = unit.reporting.daily_volumes(code, last - timedelta(days=_VOLUME_DAYS), last)
            busiest = volumes.groupby("contract")["volume"].mean().max()
            if not math.isnan(busiest):
                found[code] = float(busiest)
    return found


def _is_folder(prices: str) -> bool:
    return bool(prices) and "://" not in prices


def _priced_store(settings: Settings, prices: str) -> tuple[Store, list[str]]:
    """The first database with prices, and the active instruments that have any, spreads left out.

    Raises DataError when there is none.
    """
    candidates = [prices] if prices else [settings.database_url, f"sqlite:///{settings.outputs / DEMO_DATABASE}"]
    for url in candidates:
        if url.startswith("sqlite:///") and not Path(url.removeprefix("sqlite:///")).exists():
            continue
        engine = connect(url)
        require_current(engine)
        store = Store(url, engine=engine)
        with store.read() as unit:
            has_prices = bool(unit.prices.series(SeriesKind.ADJUSTED))
        if has_prices:
            with bulk_reader(url) as reader:
                return store, reader.priced()
    raise DataError(
        "There are no prices to research yet. Run `pysys demo`, or `pysys import-prices DIR`, or name a folder of CSV "
        "files in the parameter `prices`."
    )


def _shown(url: str) -> str:
    return connect(url).url.render_as_string(hide_password=True)
