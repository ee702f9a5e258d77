"""Opening a desk: database, broker and clock as the configuration says."""

from datetime import UTC, date, datetime, timedelta
from pathlib import Path

from pysys.broker.paper.clock import ExchangeClock
from pysys.broker.paper.exchange import PaperBroker
from pysys.broker.paper.market import Market
from pysys.clock import Clock, SystemClock
from pysys.config import Config, Settings
from pysys.desk import Desk
from pysys.domain.errors import ConfigError
from pysys.store.database import connect, require_current
from pysys.store.repository import Author
from pysys.store.unit import Store

SYNTHETIC_FIRST_DAY = date(2018, 1, 2)
SYNTHETIC_AHEAD = timedelta(days=40)  # sessions made beyond today
PRODUCTION = "production"
STORED_BEHIND = timedelta(days=120)  # of stored prices a paper exchange keeps at hand


def exchange_database(settings: Settings) -> Path:
    """The paper exchange's own file."""
    return settings.state / "exchange.db"


def open_desk(settings: Settings, author: Author) -> Desk:
    """The desk of one process, signed by `author`.

    Raises ConfigError when the database is missing, old or newer, or the broker cannot be what is configured.
    """
    engine = connect(settings.database_url)
    require_current(engine)
    store = Store(settings.database_url, author, engine=engine)
    _check_environment(settings, store)
    settings.state.mkdir(parents=True, exist_ok=True)
    clock = open_clock(settings)
    config = settings.config
    broker = PaperBroker(
        exchange_database(settings),
        _market(settings, clock.now()),
        clock,
        base_currency=config.base_currency,
        starting_cash=config.paper_starting_cash,
        seed=config.paper_seed,
        **({"account": config.broker_account} if config.broker_account else {}),
    )
    return Desk(config, store, broker, clock, settings.home)


def _check_environment(settings: Settings, store: Store) -> None:
    """Refuse a database that was made for another broker, base currency or kind of time."""
    with store.read() as unit:
        found = unit.runs.environment()
    config = settings.config
    simulated = config.clock == "exchange"
    if found is None:
        return
    if (found.broker, found.base_currency) != (config.broker, config.base_currency):
        raise ConfigError(
            f"The database belongs to broker {found.broker} and base currency {found.base_currency}; the configuration "
            f"says {config.broker} and {config.base_currency}. Correct it, or set database_url to another."
        )
    if simulated is (found.name == PRODUCTION):
        kind = "simulated" if simulated else "the machine's"
        raise ConfigError(
            f"The database is for {found.name}, but the clock is {kind}. Correct clock, or set database_url to another."
        )


def open_clock(settings: Settings) -> Clock:
    """The machine's clock, or the simulated one of a replay or demo."""
    if settings.config.clock == "exchange":
        return ExchangeClock(exchange_database(settings))
    return SystemClock()


def _market(settings: Settings, now: datetime) -> Market:
    config = settings.config
    if config.paper_market == "synthetic":
        from pysys.broker.paper.synthetic import SyntheticMarket  # slow to import, and not every system has one
        from pysys.data.parameter_tables import read_instruments, read_rolls

        instruments = read_instruments(settings.parameters / "instruments.csv")
        rolls = read_rolls(settings.parameters / "rolls.csv")
        return SyntheticMarket(
            config.paper_seed,
            instruments,
            rolls,
            config.base_currency,
            first_day=SYNTHETIC_FIRST_DAY,
            last_day=(now + SYNTHETIC_AHEAD).astimezone(UTC).date(),
        )
    from pysys.data.archive import stored_market

    return stored_market(_prices_url(config), config.base_currency, config.paper_seed, now - STORED_BEHIND)


def _prices_url(config: Config) -> str:
    if not config.paper_prices_url:
        raise ConfigError(
            "paper_market is stored, but paper_prices_url does not say where. Name the database with the prices, "
            "for example sqlite:///outputs/state/pysys.db."
        )
    return config.paper_prices_url
