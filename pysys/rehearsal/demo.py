"""The demo: a synthetic market with a history, and whole trading days on it."""

from collections.abc import Sequence
from datetime import date, timedelta

from pysys.broker.paper.synthetic import DEMO_INSTRUMENTS
from pysys.config import Settings
from pysys.control.opening import open_desk
from pysys.data.historical import download_history
from pysys.data.multiple import initialise_prices
from pysys.data.parameter_tables import read_instruments_and_rolls
from pysys.domain.errors import ConfigError
from pysys.rehearsal.days import Plan, Progress, Summary, name_environment, rehearsal_settings, rehearse, start_clock
from pysys.store.database import connect, migrate
from pysys.store.repository import Author
from pysys.store.unit import Store

FIRST_DAY = date(2024, 3, 4)  # a Monday, with rolls due in several markets in the days after it
INTRADAY_HISTORY = timedelta(days=60)


def run_demo(settings: Settings, *, days: int, notebooks: bool, fresh: bool, progress: Progress) -> Summary:
    """Run `days` trading days on the synthetic market.

    Started again after a kill it goes on; `fresh` begins anew.
    """
    if days < 1:
        raise ConfigError(f"A demo of {days} days has nothing to show; ask for 1 or more.")
    own = rehearsal_settings(settings, "demo", {"paper_market": "synthetic"})
    weekdays = [day for day in (FIRST_DAY + timedelta(days=n) for n in range(2 * days + 7)) if day.weekday() < 5]

    def prepare(fresh_settings: Settings) -> None:
        fill_history(fresh_settings, weekdays[0], progress)

    return rehearse(Plan("demo", own, weekdays[:days], prepare, notebooks), fresh=fresh, progress=progress)


def fill_history(
    settings: Settings, first: date, progress: Progress, instruments: Sequence[str] = DEMO_INSTRUMENTS
) -> None:
    """A database with the synthetic market's history up to the first day."""
    start_clock(settings, first)
    engine = connect(settings.database_url)
    migrate(engine)
    store = Store(settings.database_url, Author("demo"), engine=engine)
    name_environment(settings, store, "demo")
    known, rolls = read_instruments_and_rolls(
        settings.parameters / "instruments.csv", settings.parameters / "rolls.csv"
    )
    with store.write() as unit:
        for code in instruments:
            unit.markets.put_instrument(known[code])
            unit.markets.put_roll_parameters(rolls[code])
        unit.commit()
    store.close()
    desk = open_desk(settings, Author("demo"))
    for number, code in enumerate(instruments):
        progress(number, len(instruments), f"history of {code}")
        download_history(desk, code, intraday_since=desk.clock.now() - INTRADAY_HISTORY)
        initialise_prices(desk.store, code)
    desk.store.close()
