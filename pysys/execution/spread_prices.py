"""Adjusted prices of the configured spread instruments, made anew from the prices of their legs."""

from dataclasses import dataclass
from typing import Any

import pandas as pd

from pysys.config import Config
from pysys.desk import Desk
from pysys.domain.errors import DataError, PysysError
from pysys.domain.prices import PriceRows
from pysys.domain.spread_series import between_markets, contracts_of, within_market
from pysys.execution.spread_book import spread_named
from pysys.store.prices import SeriesKey, SeriesKind, contract_key
from pysys.store.unit import UnitOfWork


@dataclass(frozen=True, slots=True)
class SpreadPricesResult:
    """Rows each spread has now, and what went wrong with the others."""

    rows: dict[str, int]
    errors: dict[str, str]

    def table(self) -> pd.DataFrame:
        return pd.DataFrame({"rows": self.rows}).rename_axis("spread")

    def summary(self) -> dict[str, Any]:
        return {"rows": self.rows, "errors": self.errors}

    def raise_if_incomplete(self) -> None:
        """Raises DataError naming the spreads without prices."""
        if self.errors:
            raise DataError(" ".join(f"{code}: {why}" for code, why in self.errors.items()))


def update_spread_prices(desk: Desk) -> SpreadPricesResult:
    """Replace the adjusted series of every spread instrument; one that fails keeps what it had."""
    rows: dict[str, int] = {}
    errors: dict[str, str] = {}
    for code in sorted(desk.config.spread_instruments):
        try:
            with desk.store.read() as unit:
                series = spread_series(unit, desk.config, code)
            with desk.store.write() as unit:
                rows[code] = unit.prices.replace(SeriesKey(SeriesKind.ADJUSTED, code), series)
                unit.commit()
        except PysysError as error:
            errors[code] = str(error)
    return SpreadPricesResult(rows, errors)


def spread_series(unit: UnitOfWork, config: Config, code: str) -> PriceRows:
    """Adjusted price of a spread from what is stored. Raises DataError when its legs have no price in common."""
    spread = spread_named(config, code)
    if spread is None:
        raise DataError(f"{code} is not among spread_instruments.")
    if spread.within_one_market:
        market = spread.markets[0]
        rows, rolls = unit.prices.multiple(market), unit.markets.roll_parameters(market)
        finals = {
            contract: unit.prices.final_prices(contract_key(contract, daily=True))
            for contract in contracts_of(spread, rows, rolls)
        }
        series = within_market(spread, rows, finals, rolls)
    else:
        series = between_markets(spread, {code: unit.prices.adjusted(code) for code in spread.markets})
    if not len(series):
        raise DataError(f"{code}: its legs never had a price at the same time.")
    return series
