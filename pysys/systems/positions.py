"""From forecasts to contracts: volatility targeting, instrument weights, buffers, and trading into them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pysys.systems.market_data import BoolArray, FloatArray
from pysys.systems.raw_data import ROOT_OF_YEAR, Panel, forward_fill_within
from pysys.systems.smoothing import decay_of_span, divide, ew_mean, ew_sum, forward_fill


@dataclass(frozen=True, slots=True, eq=False)
class VolatilityOfContract:
    """What one contract risks; (date x instrument), worked out when asked for.

    Risk has no sign: a raw price below 0 (crude oil in April 2020) has a negative block value, and positions keep the
    sign of their forecast.
    """

    vol: Panel  # price units a day
    denominator_price: Panel
    point_size: FloatArray  # by instrument
    rates: FloatArray  # base currency for one unit of instrument currency, of every day of the grid
    daily_cash_target: float  # base currency a day

    def of(self, columns: slice) -> VolatilityOfContract:
        """The same of some instruments."""
        return VolatilityOfContract(
            self.vol.of(columns),
            self.denominator_price.of(columns),
            self.point_size[columns],
            self.rates[:, columns],
            self.daily_cash_target,
        )

    @property
    def index(self) -> BoolArray:
        """The days with both a volatility and a raw price, or between such days."""
        return self.vol.index & self.denominator_price.index

    @property
    def fx_rate(self) -> FloatArray:
        """Base currency for one unit of instrument currency."""
        return np.where(self.vol.index, self.rates, np.nan)

    @property
    def block_value(self) -> FloatArray:
        """Instrument currency, 1% of the raw price; negative where that is."""
        price = self.denominator_price
        return forward_fill_within(price.values, price.index) * self.point_size * 0.01

    @property
    def daily_pct_vol(self) -> FloatArray:
        """% a day of the raw price."""
        return daily_percentage_volatility(self.vol, self.denominator_price)

    @property
    def instr_ccy_vol(self) -> FloatArray:
        """Instrument currency a day, never negative."""
        return np.where(self.index, np.abs(self.block_value) * self.daily_pct_vol, np.nan)

    @property
    def instr_value_vol(self) -> FloatArray:
        """Base currency a day, never negative."""
        return forward_fill_within(self.instr_ccy_vol, self.index) * self.fx_rate

    @property
    def vol_scalar(self) -> FloatArray:
        """Contracts at the average forecast, with all capital: those that risk `daily_cash_target`."""
        of_contract = self.instr_value_vol
        return divide(np.full_like(of_contract, self.daily_cash_target), of_contract)


@dataclass(frozen=True, slots=True, eq=False)
class Buffer:
    """Edges between which a position is left alone; contracts, unrounded, (date x instrument)."""

    lower: FloatArray
    upper: FloatArray


def daily_percentage_volatility(vol: Panel, denominator_price: Panel) -> FloatArray:
    """Volatility in % a day of the priced contract's price, carried forward; NaN where that is 0 or not yet known."""
    price_on_vol_days = np.where(vol.index, denominator_price.values, np.nan)
    base_price = np.where(vol.index, forward_fill(price_on_vol_days), np.nan)
    return 100.0 * divide(vol.values, np.abs(base_price))


def daily_cash_target(capital: float, percentage_vol_target: float) -> float:
    """Base currency a day, from a yearly target in % of capital."""
    return capital * percentage_vol_target / 100.0 / ROOT_OF_YEAR


def as_of_last_row(values: FloatArray, index: BoolArray) -> FloatArray:
    """Values within their index; after its end those of its last row. Missing values inside stay missing."""
    rows = np.arange(len(values))[:, None]
    last = np.maximum.accumulate(np.where(index, rows, -1), axis=0)
    return np.where(last >= 0, np.take_along_axis(values, np.maximum(last, 0), axis=0), np.nan)


def subsystem_position(
    vol_scalar: FloatArray, combined_forecast: FloatArray, average_absolute_forecast: float
) -> FloatArray:
    """Contracts if all capital were in this instrument; `vol_scalar` as of each day."""
    return vol_scalar * combined_forecast / average_absolute_forecast


def smoothed_instrument_weights(fixed: FloatArray, subsystem: FloatArray, index: BoolArray, span: float) -> FloatArray:
    """Share of capital of each instrument (date x instrument), adding up to 1 over instruments on every day.

    fixed: one weight per instrument, or (date x instrument). An instrument has no weight until it has a position,
    and then fades in; while none has a position all keep theirs. Days on which those have no weight (NaN) leave
    their smoothed ones where they were. Given on each instrument's `index`.
    """
    present = ~np.isnan(forward_fill(subsystem))
    nobody = ~present.any(axis=1, keepdims=True)
    used = np.where(present | nobody, fixed, 0.0)
    if np.isnan(used).any():
        sums = np.nan_to_num(ew_mean(used, decay_of_span(span)), nan=0.0)
    else:
        sums = ew_sum(used, decay_of_span(span))
    total = sums.sum(axis=1, keepdims=True)
    return np.where(index, divide(sums, np.broadcast_to(total, sums.shape)), np.nan)


def buffer_around(
    notional: FloatArray, average_position: FloatArray, index: BoolArray, method: str, size: float
) -> Buffer:
    """Edges `size` times the width base on either side of the forward-filled notional position.

    method: `position` measures the width by the position itself, `forecast` by `average_position` (contracts at an
    average forecast), `none` has no width.
    """
    if method == "position":
        half_width = size * np.abs(notional)
    elif method == "forecast":
        half_width = size * np.abs(average_position)
    else:
        half_width = np.where(index, 0.0, np.nan)
    middle, half_width = forward_fill(notional), forward_fill(half_width)
    return Buffer(
        lower=np.where(index, middle - half_width, np.nan), upper=np.where(index, middle + half_width, np.nan)
    )


def buffered_position(notional: FloatArray, buffer: Buffer, index: BoolArray, trade_to_edge: bool = True) -> FloatArray:
    """Whole contracts held at each close by trading into the buffer, before any fill delay.

    Position and edges are forward filled and rounded half to even. It starts at the rounded position of the first
    day, 0 if missing. Outside the buffer it trades to the nearer edge, or to the position itself.
    """
    target, lower, upper = (np.rint(forward_fill(one)) for one in (notional, buffer.lower, buffer.upper))
    unknown = np.isnan(target) | np.isnan(lower) | np.isnan(upper) | ~index
    lower[unknown], upper[unknown] = -np.inf, np.inf
    columns = np.flatnonzero(index.any(axis=0))
    first = index.argmax(axis=0)[columns]
    start = np.nan_to_num(target[first, columns], nan=0.0)
    lower[first, columns] = upper[first, columns] = target[first, columns] = start
    held = np.zeros(index.shape[1])
    positions = np.empty(index.shape)
    if trade_to_edge:
        for row, (low, high) in enumerate(zip(lower, upper, strict=True)):
            np.minimum(np.maximum(held, low, out=held), high, out=held)
            positions[row] = held
    else:
        for row, (low, high) in enumerate(zip(lower, upper, strict=True)):
            held = np.where((held < low) | (held > high), target[row], held)
            positions[row] = held
    return np.where(index, positions, np.nan)
