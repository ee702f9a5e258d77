"""Accounts as tables: gross, costs and net of any sources of profit, with statistics, drawdowns and volatility.

Everything is measured on a source's own days; see `attribution` for the sources. % are of the fixed capital.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import numpy as np

from pysys.domain.errors import ConfigError
from pysys.systems.attribution import (
    Profit,
    portfolio_profit,
    profits_by_asset_class,
    profits_by_instrument,
    profits_by_rule,
)
from pysys.systems.backtest_result import RETURNS, BacktestResult
from pysys.systems.daily import DateArray
from pysys.systems.market_data import FloatArray
from pysys.systems.raw_data import ROOT_OF_YEAR
from pysys.systems.smoothing import rolling, rolling_count
from pysys.systems.statistics import return_statistics
from pysys.systems.volatility import BUSINESS_DAYS_A_YEAR

if TYPE_CHECKING:
    import pandas as pd

SOURCES: Mapping[str, Callable[[BacktestResult], Mapping[str, Profit]]] = {
    "portfolio": lambda result: {"portfolio": portfolio_profit(result)},
    "asset classes": profits_by_asset_class,
    "instruments": profits_by_instrument,
    "rules": profits_by_rule,
}


def accounts_of(result: BacktestResult, kind: str) -> Mapping[str, Profit]:
    """The accounts of one of `SOURCES`, by name. Raises ConfigError for another."""
    if kind not in SOURCES:
        raise ConfigError(f"there are no accounts of {kind}; choose among {', '.join(SOURCES)}")
    return SOURCES[kind](result)


def account_statistics(accounts: Mapping[str, Profit], capital: float) -> pd.DataFrame:
    """Rows (source, gross | costs | net): total in base currency, turnover a year, and every statistic of daily %."""
    import pandas as pd

    rows = {}
    for source, account in accounts.items():
        for name in RETURNS:
            values: FloatArray = getattr(account, name)
            total, stats = float(np.nansum(values)), return_statistics(values * 100.0 / capital)
            rows[source, name] = {"total": total, "turnover": account.turnover, **stats}
    table = pd.DataFrame.from_dict(rows, orient="index")
    return table.set_axis(pd.MultiIndex.from_tuples(rows, names=["source", "of"]), axis=0)


def drawdowns(accounts: Mapping[str, Profit], capital: float, dates: DateArray) -> pd.DataFrame:
    """Of the net profit of each source, by date: see `drawdown`."""
    return _by_date(accounts, dates, lambda net: drawdown(net, capital))


def rolling_volatilities(accounts: Mapping[str, Profit], capital: float, dates: DateArray) -> pd.DataFrame:
    """Of the net profit of each source, by date: see `rolling_volatility`."""
    return _by_date(accounts, dates, lambda net: rolling_volatility(net, capital))


def _by_date(
    accounts: Mapping[str, Profit], dates: DateArray, measure: Callable[[FloatArray], FloatArray]
) -> pd.DataFrame:
    import pandas as pd

    columns = {source: measure(account.net) for source, account in accounts.items()}
    return pd.DataFrame(columns, index=pd.DatetimeIndex(dates, name="date"))


def drawdown(net: FloatArray, capital: float) -> FloatArray:
    """% of capital by which each day's running total is below its highest so far, as the statistics measure it.

    Never positive; missing before the first day with a profit.
    """
    total = np.cumsum(np.nan_to_num(net)) * 100.0 / capital
    begun = np.logical_or.accumulate(~np.isnan(net))
    highest = np.maximum.accumulate(np.where(begun, total, -np.inf)) if len(total) else total
    return np.where(begun, total - highest, np.nan)


def rolling_volatility(net: FloatArray, capital: float, days: int = BUSINESS_DAYS_A_YEAR) -> FloatArray:
    """Annual standard deviation of the last `days` daily profits, % of capital; missing before there are as many."""
    present = ~np.isnan(net)
    values = np.where(present, net, 0.0) * 100.0 / capital
    count = np.where(rolling_count(present, days) >= days, float(days), np.nan)
    mean = rolling(values, days, np.add, 0.0) / count
    squares = rolling(values * values, days, np.add, 0.0)
    return np.sqrt(np.maximum(squares - count * mean * mean, 0.0) / (count - 1.0)) * ROOT_OF_YEAR
