"""Making a system ready: folders, database, instruments and roll parameters."""

from pysys.clock import SystemClock
from pysys.config import Settings
from pysys.control.files import require_writable
from pysys.data.parameter_tables import read_instruments_and_rolls
from pysys.data.spread_instruments import put_spread_instruments
from pysys.domain.errors import ConfigError
from pysys.store.database import connect, migrate, sqlite_path
from pysys.store.repository import Author
from pysys.store.runs import Environment
from pysys.store.unit import Store


def initialise(settings: Settings, environment: str = "production") -> str:
    """Create or migrate the database and bring instruments, roll parameters and spreads to what the files say.

    Doing it again changes nothing. Returns a sentence on what was done. Raises ConfigError for parameter files that
    cannot be read, before anything is made, and for a database that is for something else.
    """
    instruments, rolls = read_instruments_and_rolls(
        settings.parameters / "instruments.csv", settings.parameters / "rolls.csv"
    )
    require_writable(settings.outputs)
    if sqlite_path(settings.database_url) is not None:
        settings.state.mkdir(parents=True, exist_ok=True)
    store = Store(settings.database_url, Author("init"), engine=connect(settings.database_url))
    try:
        made = migrate(store.engine)
        with store.write() as unit:
            _claim_environment(settings, unit.runs.environment(), environment)
            now = SystemClock().now()
            unit.runs.put_environment(
                Environment(environment, settings.config.broker, settings.config.base_currency, now)
            )
            changed = [unit.markets.put_instrument(instrument) for instrument in instruments.values()]
            changed += [unit.markets.put_roll_parameters(parameters) for parameters in rolls.values()]
            spread_rows = put_spread_instruments(unit, settings.config)
            unit.commit()
    finally:
        store.close()
    did = "created or migrated" if made else "is up to date"
    where = store.engine.url.render_as_string(hide_password=True)
    declared = len(instruments) + len(settings.config.spreads)
    return f"Database {where} {did}; {declared} instruments, {sum(changed) + spread_rows} rows new or changed."


def _claim_environment(settings: Settings, found: Environment | None, environment: str) -> None:
    if found is None:
        return
    if found.name != environment:
        raise ConfigError(
            f"This database is for {found.name}, not for {environment}. Set database_url to another one, or run "
            f"`pysys init --environment {found.name}`."
        )
    if found.base_currency != settings.config.base_currency:
        raise ConfigError(
            f"This database keeps its accounts in {found.base_currency}, but base_currency is "
            f"{settings.config.base_currency}. Change base_currency back, or set database_url to another database."
        )
