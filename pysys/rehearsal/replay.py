"""Replay: production days run again over stored prices, with a database and paper exchange of their own."""

from datetime import UTC, date, datetime, time

from pysys.config import Settings
from pysys.data.archive import copy_past, priced_days
from pysys.domain.errors import ConfigError
from pysys.rehearsal.days import Plan, Progress, Summary, name_environment, rehearsal_settings, rehearse, start_clock
from pysys.store.database import connect, migrate, require_current
from pysys.store.repository import Author
from pysys.store.unit import Store

ALREADY_CHECKED = 1e9  # stored prices passed the spike gate when they were stored, and nobody is here to decide again


def run_replay(
    settings: Settings, first: date, last: date, *, notebooks: bool, fresh: bool, progress: Progress
) -> Summary:
    """Run the trading days from `first` to `last` over the prices of the configured database.

    Started again after a kill it goes on; `fresh` begins anew. Raises ConfigError for dates without stored prices.
    """
    if last < first:
        raise ConfigError(f"The replay would end on {last}, before it begins on {first}.")
    archive = settings.database_url
    require_current(connect(archive))
    days = priced_days(archive, first, last)
    if not days:
        raise ConfigError(
            f"There are no stored prices from {first} to {last}. Import prices that cover these days with "
            "`pysys import-prices DIR`, or choose other days."
        )
    name = f"replay-{first}-{last}"
    stored = {"paper_market": "stored", "paper_prices_url": archive, "max_price_spike": ALREADY_CHECKED}
    own = rehearsal_settings(settings, name, stored)

    def prepare(fresh_settings: Settings) -> None:
        start_clock(fresh_settings, days[0])
        engine = connect(fresh_settings.database_url)
        migrate(engine)
        store = Store(fresh_settings.database_url, Author("replay"), engine=engine)
        name_environment(fresh_settings, store, "replay")
        midnight = datetime.combine(days[0], time(), UTC)
        copy_past(archive, store, midnight, lambda code: progress(0, 1, f"copying prices of {code}"))
        store.close()

    return rehearse(Plan(name, own, days, prepare, notebooks), fresh=fresh, progress=progress)
