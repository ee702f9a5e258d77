"""From native prices to the daily series that rules and positions read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from pysys.domain.errors import DataError
from pysys.systems.asset_classes import median_of_class, median_of_present, members_of_classes
from pysys.systems.columns import by_columns
from pysys.systems.daily import DailyGrid, business_days
from pysys.systems.factors import demeaned, factor
from pysys.systems.market_data import BoolArray, FloatArray, InstrumentSeries, MultiplePrices
from pysys.systems.smoothing import decay_of_com, divide, ew_mean, forward_fill, lag
from pysys.systems.volatility import Volatility

ROOT_OF_YEAR = 16.0  # square root of 256 business days
SHORTEST_CARRY_YEARS = 1 / 365.25
CARRY_SMOOTHING_DAYS = 90  # centre of mass, of the carry that is compared with its asset class


@dataclass(frozen=True, slots=True, eq=False)
class Panel:
    """A daily series of every instrument: (date x instrument), NaN for missing.

    `index` is True from the first to the last day of each instrument's own series; outside it nothing is defined.
    """

    values: FloatArray
    index: BoolArray

    def of(self, columns: slice) -> Panel:
        """The same of some instruments."""
        return Panel(np.ascontiguousarray(self.values[:, columns]), np.ascontiguousarray(self.index[:, columns]))


@dataclass(frozen=True, slots=True, eq=False)
class RawData:
    """Daily series by name; columns are `codes`, rows are the days of `grid`."""

    codes: tuple[str, ...]
    classes: tuple[str, ...]  # asset class of each instrument
    grid: DailyGrid
    price: Panel  # back-adjusted, price units
    denominator_price: Panel  # of the priced contract, price units
    daily_returns: Panel  # price units per day
    daily_returns_vol: Panel  # price units per day
    annualised_roll: Panel  # price units per year, positive is a gain from holding long
    raw_carry: Panel  # annualised roll in annual standard deviations
    norm_return: Panel  # return in yesterday's standard deviations
    cum_norm_return: Panel
    asset_class_norm_price: Panel  # cumulated median norm_return of the asset class

    @property
    def daily_percentage_returns(self) -> Panel:
        """Change of price as a share of the priced contract's price the day before, sign of the change."""
        base = np.abs(lag(forward_fill(self.denominator_price.values)))
        return Panel(divide(self.daily_returns.values, base), self.price.index)

    @property
    def smoothed_carry(self) -> Panel:
        """`raw_carry`, exponentially averaged; it repeats on days without one."""
        index = self.raw_carry.index
        smoothed = ew_mean(self.raw_carry.values, decay_of_com(CARRY_SMOOTHING_DAYS))
        return Panel(np.where(index, smoothed, np.nan), index)

    @property
    def median_carry_for_asset_class(self) -> Panel:
        """Median `smoothed_carry` of the class of each instrument, itself included."""
        smoothed = self.smoothed_carry
        return Panel(median_of_class(smoothed.values, self.classes, smoothed.index), smoothed.index)

    def demeaned_factor(
        self,
        factor_name: str = "skew",
        demean_method: str = "historic_average_factor_value_all_assets",
        lookback_days: float = 365,
    ) -> Panel:
        """A factor of each instrument less an average of it; `factors` has the names. lookback_days: calendar days."""
        returns = self.daily_percentage_returns
        measured = np.where(returns.index, factor(factor_name, returns.values, lookback_days), np.nan)
        return Panel(np.where(returns.index, demeaned(measured, self.classes, demean_method), np.nan), returns.index)


def raw_data(series: Sequence[InstrumentSeries], volatility: Volatility) -> RawData:
    """Every daily series of the instruments, on one grid of business days.

    Raises DataError for an instrument without a single price row.
    """
    adjusted_days = [business_days(one.adjusted.times) for one in series]
    multiple_days = [business_days(one.multiple.times) for one in series]
    for one, adjusted, multiple in zip(series, adjusted_days, multiple_days, strict=True):
        if not len(adjusted) or not len(multiple):
            raise DataError(f"{one.code}: has no price rows; import its prices or leave it out")
    grid = DailyGrid.covering([(days[0], days[-1]) for days in (*adjusted_days, *multiple_days)])
    folded = zip(series, adjusted_days, multiple_days, strict=True)
    price, raw_price, roll, price_index, raw_index = _side_by_side(
        [
            (
                grid.last_of_day(adjusted, one.adjusted.price),
                grid.last_of_day(multiple, one.multiple.price),
                grid.mean_of_day(multiple, annualised_roll_of_rows(one.multiple)),
                grid.index_of(adjusted),
                grid.index_of(multiple),
            )
            for one, adjusted, multiple in folded
        ]
    )

    def of_price(columns: slice) -> tuple[FloatArray, ...]:
        some = Panel(price, price_index).of(columns)
        returns = some.values - lag(some.values)
        vol = volatility.estimate(returns, some.index)
        norm_return = returns / lag(vol)
        return returns, vol, norm_return, cumulate_present(norm_return), roll[:, columns] / (ROOT_OF_YEAR * vol)

    returns, vol, norm_return, cumulated, carry = by_columns(len(series), of_price)
    classes = [one.meta.asset_class for one in series]
    return RawData(
        codes=tuple(one.code for one in series),
        classes=tuple(classes),
        grid=grid,
        price=Panel(price, price_index),
        denominator_price=Panel(raw_price, raw_index),
        daily_returns=Panel(returns, price_index),
        daily_returns_vol=Panel(vol, price_index),
        annualised_roll=Panel(roll, raw_index),
        raw_carry=Panel(carry, price_index | raw_index),
        norm_return=Panel(norm_return, price_index),
        cum_norm_return=Panel(cumulated, price_index),
        asset_class_norm_price=Panel(asset_class_price(norm_return, classes, price_index), price_index),
    )


def _side_by_side(rows: Sequence[Sequence[NDArray]]) -> list[NDArray]:
    """From daily series by instrument to (date x instrument) arrays; faster than filling them column by column."""
    return [np.ascontiguousarray(np.array(each).T) for each in zip(*rows, strict=True)]


def annualised_roll_of_rows(prices: MultiplePrices) -> FloatArray:
    """Roll in price units per year, on native rows; positive earns from holding long.

    Missing without both prices, and where they are equal. Contracts less than a day apart count as a day apart.
    """
    roll = prices.price - prices.carry
    roll[roll == 0.0] = np.nan
    years = _contract_years(prices.carry_contract) - _contract_years(prices.price_contract)
    close = (years != 0.0) & (np.abs(years) < SHORTEST_CARRY_YEARS)
    years[close] = np.copysign(SHORTEST_CARRY_YEARS, years[close])
    return divide(roll, years)


def cumulate_present(values: FloatArray) -> FloatArray:
    """Running sum of the present values; missing where a value is missing."""
    missing = np.isnan(values)
    total = np.cumsum(np.where(missing, 0.0, values), axis=0)
    total[missing] = np.nan
    return total


def asset_class_price(norm_return: FloatArray, classes: Sequence[str], index: BoolArray) -> FloatArray:
    """Cumulated median normalised return of the class of each instrument, on that instrument's index."""
    out = np.full_like(norm_return, np.nan)
    for members in members_of_classes(classes):
        total = cumulate_present(median_of_present(norm_return[:, members])[:, None])
        out[:, members] = np.where(index[:, members], total, np.nan)
    return forward_fill_within(out, index)


def forward_fill_within(values: FloatArray, index: BoolArray) -> FloatArray:
    """Missing values of each series filled with its last present one; nothing outside its index."""
    return np.where(index, forward_fill(values), np.nan)


def _contract_years(contract: np.ndarray) -> FloatArray:
    year, month_and_day = np.divmod(contract, 10_000)
    return year + month_and_day / 100 / 12


# Names under which a configured rule asks for its data. A method takes the rule's arguments that start with `_`.
RULE_DATA = {
    "data.daily_prices": "price",
    "rawdata.get_daily_prices": "price",
    "rawdata.daily_denominator_price": "denominator_price",
    "rawdata.daily_returns": "daily_returns",
    "rawdata.get_daily_percentage_returns": "daily_percentage_returns",
    "rawdata.daily_returns_volatility": "daily_returns_vol",
    "rawdata.daily_annualised_roll": "annualised_roll",
    "rawdata.raw_carry": "raw_carry",
    "rawdata.smoothed_carry": "smoothed_carry",
    "rawdata.median_carry_for_asset_class": "median_carry_for_asset_class",
    "rawdata.get_demeanded_factor_value": "demeaned_factor",  # as it has always been spelt
    "rawdata.get_daily_vol_normalised_returns": "norm_return",
    "rawdata.get_cumulative_daily_vol_normalised_returns": "cum_norm_return",
    "rawdata.normalised_price_for_asset_class": "asset_class_norm_price",
}
DEFAULT_RULE_DATA = "data.daily_prices"

RAW_COLUMNS = tuple(one.name for one in fields(RawData) if one.name not in ("codes", "classes", "grid"))
