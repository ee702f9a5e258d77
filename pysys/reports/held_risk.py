"""Prices and volatility of instruments that are held though no backtest knows them any more."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from pysys.data.market_data import load_market_data
from pysys.data.spread_market_data import with_spreads
from pysys.desk import Desk
from pysys.domain.errors import PysysError
from pysys.systems.fx import FxRate
from pysys.systems.market_data import MarketData
from pysys.systems.raw_data import Panel, raw_data
from pysys.systems.smoothing import forward_fill
from pysys.systems.volatility import MixedVolatility

COLUMNS = ("date", "price", "denominator_price", "daily_returns_vol", "fx_rate")


def measured_now(desk: Desk, codes: Sequence[str], base_currency: str) -> tuple[pd.DataFrame, pd.DataFrame]:
    """What a backtest would know of each instrument on the last day of its stored prices, and its daily prices.

    The first has a row for each instrument and `COLUMNS`, all missing where there are no prices or rates; the second
    is date by instrument, back-adjusted. Volatility is the default one of a backtest. Prices are in points, fx_rate is
    base currency for one unit of the instrument's.
    """
    measured: dict[str, dict[str, Any]] = {code: dict.fromkeys(COLUMNS) for code in codes}
    histories = {}
    for code in codes:
        try:
            market = _market(desk, code)
            rate = FxRate.between(market.instrument(code).meta.currency, base_currency, market)
        except PysysError:
            continue  # the row stays empty, and the report says of whom
        raw = raw_data([market.instrument(code)], MixedVolatility())
        dates, fx_rate = raw.grid.dates, rate.at(raw.grid.dates)
        panels: list[Panel] = [raw.price, raw.denominator_price, raw.daily_returns_vol]
        numbers = [*(_last(each.values[:, 0]) for each in panels), _last(fx_rate)]
        measured[code] = dict(zip(COLUMNS, [pd.Timestamp(dates[-1]), *numbers], strict=True))
        histories[code] = pd.Series(raw.price.values[:, 0], index=pd.DatetimeIndex(dates))
    rows = pd.DataFrame.from_dict(measured, orient="index").rename_axis("instrument")
    kinds = {"date": "datetime64[ns]", **dict.fromkeys(COLUMNS[1:], "float64")}
    return rows.astype(kinds), pd.DataFrame(histories)


def _market(desk: Desk, code: str) -> MarketData:
    spread = desk.config.spreads.get(code)
    if spread is None:
        return load_market_data(desk.store, [code])
    return with_spreads(load_market_data(desk.store, []), desk.store, [spread])


def _last(values: np.ndarray) -> float:
    return float(forward_fill(values[:, None])[-1, 0])
