"""Spreads of the configuration as rows among the instruments."""

from pysys.config import Config
from pysys.domain.errors import ConfigError
from pysys.domain.spread_instruments import spread_instrument
from pysys.store.markets import ACTIVE, RETIRED
from pysys.store.unit import UnitOfWork


def put_spread_instruments(unit: UnitOfWork, config: Config) -> int:
    """Bring the instruments to what `spread_instruments` declares; how many rows are new or changed.

    One that is declared no more is retired: it has no contracts of its own, so nothing else could be done with it.
    Raises ConfigError naming the spread, what is wrong with it and what to do.
    """
    markets = unit.markets.all_roll_parameters()
    known = {one.code: one for one in unit.markets.instruments(status=None)}
    changed = 0
    for code, spread in config.spreads.items():
        definition = config.spread_instruments[code]
        if code in markets:
            raise ConfigError(
                f"spread_instruments.{code}: {code} is a market with contracts of its own; give the spread "
                "another name."
            )
        for market in spread.markets:
            if market not in known or market not in markets:
                raise ConfigError(
                    f"spread_instruments.{code}: its leg {market} is no instrument of this database. Add it to "
                    "parameters/instruments.csv and rolls.csv, or import its prices, and run `pysys init` again."
                )
        try:
            row = spread_instrument(
                spread, known, description=definition.description, asset_class=definition.asset_class
            )
        except ValueError as error:
            raise ConfigError(f"spread_instruments.{code}: {error}.") from error
        changed += unit.markets.put_instrument(row)
        if unit.markets.status(code) != ACTIVE:
            unit.markets.set_status(code, ACTIVE)
            changed += 1
    for code in sorted(known.keys() - markets.keys() - config.spreads.keys()):
        if unit.markets.status(code) == ACTIVE:
            unit.markets.set_status(code, RETIRED)
            changed += 1
    return changed
