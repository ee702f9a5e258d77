"""Small made-up markets for the engine's tests."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from pysys.systems.backtest_config import BacktestConfig
from pysys.systems.backtest_yaml import parse_backtest_config
from pysys.systems.market_data import (
    AdjustedPrices,
    FxPrices,
    InstrumentMeta,
    InstrumentSeries,
    MarketData,
    MultiplePrices,
)

RULES = {
    "ewmac4_16": ("ewmac.ewmac", ["get_daily_prices", "daily_returns_volatility"], {"Lfast": 4, "Lslow": 16}),
    "carry10": ("carry.carry", ["raw_carry"], {"smooth_days": 10}),
    "breakout20": ("breakout.breakout", ["get_daily_prices"], {"lookback": 20}),
    "accel8": ("accel.accel", ["get_daily_prices", "daily_returns_volatility"], {"Lfast": 8}),
    "relmomentum10": (
        "rel_mom.relative_momentum",
        ["get_cumulative_daily_vol_normalised_returns", "normalised_price_for_asset_class"],
        {"horizon": 10},
    ),
}
SCALARS = {"ewmac4_16": 8.5, "carry10": 28.0, "breakout20": 0.7, "accel8": 5.6, "relmomentum10": 100.0}
FACTS = InstrumentMeta(
    point_size=50.0,
    currency="USD",
    asset_class="Ags",
    spread_cost=0.1,
    per_block=2.0,
    percentage=0.0,
    per_trade=0.0,
    hold_roll_cycle="HMUZ",
)


def configuration(instruments: Sequence[str], **keys: object) -> BacktestConfig:
    """Five rules, equal weights."""
    return parse_backtest_config(
        {
            "trading_rules": {
                name: {
                    "function": f"systems.provided.rules.{function}",
                    "data": [f"rawdata.{one}" for one in data],
                    "other_args": arguments,
                }
                for name, (function, data, arguments) in RULES.items()
            },
            "forecast_scalars": SCALARS,
            "forecast_weights": dict.fromkeys(RULES, 0.2),
            "forecast_div_multiplier": 1.3,
            "instrument_weights": {code: 1.0 / len(instruments) for code in instruments},
            "instrument_div_multiplier": 1.5,
            "percentage_vol_target": 20.0,
            "notional_trading_capital": 10_000_000,
            **keys,
        }
    )


def instrument(
    code: str, adjusted: np.ndarray, start: str = "2020-01-06", facts: InstrumentMeta = FACTS, level: float = 1000.0
) -> InstrumentSeries:
    """One row a calendar day of business, at 23:00; the raw price is the adjusted one on a positive level."""
    days = np.busday_offset(start, np.arange(len(adjusted)), roll="forward")
    times = days.astype("datetime64[us]") + np.timedelta64(23, "h")
    raw = level + adjusted
    rows = len(adjusted)
    quarter = np.arange(rows) // 60
    contract = (2020 + quarter // 4) * 10_000 + (quarter % 4 + 1) * 300
    later = (2020 + (quarter + 1) // 4) * 10_000 + ((quarter + 1) % 4 + 1) * 300
    carry = raw + 0.5 * np.sin(np.arange(rows) / 20.0)
    multiple = MultiplePrices(times, raw, carry, contract, later)
    return InstrumentSeries(code, multiple, AdjustedPrices(times, adjusted), facts)


def walk(seed: int, rows: int, gaps: float = 0.0) -> np.ndarray:
    """A random walk around 100, with a share of missing days."""
    random = np.random.default_rng(seed)
    prices = 100.0 + np.round(np.cumsum(random.normal(0.0, 1.0, rows)), 2)
    prices[random.random(rows) < gaps] = np.nan
    return prices


def market(*instruments: InstrumentSeries, fx: dict[str, FxPrices] | None = None) -> MarketData:
    return MarketData({one.code: one for one in instruments}, fx or {})


def first_rows(one: InstrumentSeries, rows: int) -> InstrumentSeries:
    """The same instrument as it was `rows` rows into its history."""
    many, adjusted = one.multiple, one.adjusted
    return replace(
        one,
        multiple=MultiplePrices(
            *(
                getattr(many, name)[:rows]
                for name in (
                    "times",
                    "price",
                    "carry",
                    "price_contract",
                    "carry_contract",
                )
            )
        ),
        adjusted=AdjustedPrices(adjusted.times[:rows], adjusted.price[:rows]),
    )
