"""What a backtest found, by name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import TYPE_CHECKING

import numpy as np

from pysys.domain.errors import ConfigError
from pysys.systems.account import Account, sum_of_known, sum_of_present, turnover
from pysys.systems.backtest_config import BacktestConfig
from pysys.systems.capital_multiplier import CompoundedAccount, compounded
from pysys.systems.daily import DateArray
from pysys.systems.estimation.estimates import Estimates
from pysys.systems.market_data import BoolArray, FloatArray, InstrumentSeries
from pysys.systems.raw_data import Panel, RawData
from pysys.systems.rule_costs import sr_cost_per_trade, sr_costs
from pysys.systems.smoothing import divide
from pysys.systems.stage_run import StageTiming
from pysys.systems.stages import ForecastStage, PositionStage, days_with_anything, group_by_rules
from pysys.systems.statistics import return_statistics
from pysys.systems.volatility import RobustVolatility

if TYPE_CHECKING:
    import pandas as pd

RETURNS = ("gross", "costs", "net")
RISK_COLUMNS = (  # of a risk overlay, the same for every instrument
    "portfolio_normal_risk",
    "portfolio_stdev_risk",
    "portfolio_sum_abs_risk",
    "portfolio_leverage",
    "risk_overlay_multiplier",
)


@dataclass(frozen=True, slots=True)
class LatestPosition:
    """What the backtest wants to hold now, and the market it saw when it said so."""

    instrument: str
    notional_position: float  # contracts, unrounded; NaN while there is too little history
    buffer_lower: float  # contracts, unrounded
    buffer_upper: float  # contracts, unrounded
    reference_price: float  # last adjusted price
    reference_time: np.datetime64  # its native timestamp, in the zone of the prices
    reference_contract: int  # YYYYMMDD, the contract priced then
    daily_returns_vol: float  # price units a day


@dataclass(frozen=True, eq=False)
class BacktestResult:
    """Every daily series of a backtest and its account; columns of the arrays are `instruments`."""

    config: BacktestConfig
    series: tuple[InstrumentSeries, ...]
    raw: RawData
    forecasts: ForecastStage
    sizing: PositionStage
    account: Account
    estimates: Estimates = field(default_factory=Estimates)
    timings: tuple[StageTiming, ...] = ()  # of the stages, in the order they ran

    @property
    def instruments(self) -> tuple[str, ...]:
        return self.raw.codes

    @property
    def dates(self) -> DateArray:
        """Days of the rows of every array."""
        return self.raw.grid.dates

    @cached_property
    def index(self) -> BoolArray:
        """True on the days of each instrument's own history."""
        return days_with_anything(self.raw)

    @property
    def position_columns(self) -> tuple[str, ...]:
        """Names of the columns of `positions`, after instrument and date."""
        rules = tuple(self.forecasts.raw)
        return (
            "price",
            "daily_returns_vol",
            "denominator_price",
            "annualised_roll",
            "raw_carry",
            *(f"raw_{rule}" for rule in rules),
            *(f"fc_{rule}" for rule in rules),
            *(() if self.forecasts.attenuation is None else ("vol_attenuation",)),
            *(() if self.forecasts.unmapped is None else ("unmapped_forecast",)),
            "combined_forecast",
            "fx_rate",
            "block_value",
            "daily_pct_vol",
            "instr_ccy_vol",
            "instr_value_vol",
            "vol_scalar",
            "subsystem_position",
            "instrument_weight",
            *(() if self.sizing.overlay is None else RISK_COLUMNS),
            "notional_position",
            "buffer_lower",
            "buffer_upper",
            "buffered_position",
            *(() if self.sizing.optimised is None else ("optimised_position",)),
            *(() if self.config.capital_method == "fixed" else ("actual_position",)),
            "gross",
            "costs",
        )

    def _by_name(self) -> dict[str, Callable[[], FloatArray]]:
        raw, forecast, sizing = self.raw, self.forecasts, self.sizing
        named: dict[str, FloatArray] = {
            "price": raw.price.values,
            "denominator_price": raw.denominator_price.values,
            "daily_returns": raw.daily_returns.values,
            "daily_returns_vol": raw.daily_returns_vol.values,
            "annualised_roll": raw.annualised_roll.values,
            "raw_carry": raw.raw_carry.values,
            "norm_return": raw.norm_return.values,
            "cum_norm_return": raw.cum_norm_return.values,
            "asset_class_norm_price": raw.asset_class_norm_price.values,
            **{f"raw_{rule}": panel.values for rule, panel in forecast.raw.items()},
            "combined_forecast": forecast.combined.values,
            "subsystem_position": sizing.subsystem,
            "instrument_weight": sizing.instrument_weight,
            "average_position": sizing.average_position,
            "notional_position": sizing.notional,
            "buffer_lower": sizing.buffer.lower,
            "buffer_upper": sizing.buffer.upper,
            "buffered_position": sizing.buffered.values,
            "gross": self.account.gross,
            "costs": self.account.costs,
        }
        lookups: dict[str, Callable[[], FloatArray]] = {name: partial(_itself, each) for name, each in named.items()}
        for name in ("fx_rate", "block_value", "daily_pct_vol", "instr_ccy_vol", "instr_value_vol", "vol_scalar"):
            lookups[name] = partial(getattr, sizing.risk, name)
        for rule in forecast.raw:
            lookups[f"fc_{rule}"] = partial(forecast.scaled, rule)
            lookups[f"fw_{rule}"] = partial(self._forecast_weight, rule)
            lookups[f"scalar_{rule}"] = partial(
                self._on_every_day, forecast.parameters.scalars[rule], forecast.raw[rule].index
            )
        lookups["forecast_div_multiplier"] = partial(
            self._on_every_day, forecast.parameters.multiplier, forecast.combined.index
        )
        lookups["instrument_div_multiplier"] = partial(self._on_every_day, sizing.parameters.multiplier, self.index)
        if forecast.attenuation is not None:
            lookups["vol_attenuation"] = partial(_itself, forecast.attenuation.values)
        if forecast.unmapped is not None:
            lookups["unmapped_forecast"] = partial(_itself, forecast.unmapped.values)
        if sizing.overlay is not None:
            risk = sizing.overlay
            measures = (risk.normal, risk.stdev, risk.sum_abs, risk.leverage, risk.multiplier)
            for name, measure in zip(RISK_COLUMNS, measures, strict=True):
                lookups[name] = partial(self._on_every_day, measure[:, None], self.index)
        if sizing.optimised is not None:
            lookups["optimised_position"] = partial(_itself, sizing.optimised.values)
        lookups["actual_position"] = self._actual_position
        lookups["robust_vol"] = partial(RobustVolatility().estimate, raw.daily_returns.values, raw.price.index)
        return lookups

    @cached_property
    def _forecast_weights(self) -> dict[str, FloatArray]:
        return self.forecasts.weights()

    def _forecast_weight(self, rule: str) -> FloatArray:
        return self._forecast_weights[rule]

    def _actual_position(self) -> FloatArray:
        """Contracts decided on, scaled with the capital of the day: unrounded."""
        return self.sizing.decided.values * self.compounded.multiplier[:, None]

    @staticmethod
    def _on_every_day(values: FloatArray | float, index: BoolArray) -> FloatArray:
        return np.where(index, values, np.nan)

    @property
    def names(self) -> tuple[str, ...]:
        """Every daily series that `values` knows."""
        return tuple(self._by_name())

    def values(self, name: str) -> FloatArray:
        """A daily series of all instruments, (date x instrument), not to be written to.

        Raises ConfigError for an unknown name.
        """
        values = self._last_asked_for.get(name)
        if values is None:
            lookups = self._by_name()
            if name not in lookups:
                raise ConfigError(f"no daily series is called {name}; choose among {', '.join(lookups)}")
            values = lookups[name]().view()
            values.setflags(write=False)
            self._last_asked_for.clear()
            self._last_asked_for[name] = values
        return values

    @cached_property
    def _last_asked_for(self) -> dict[str, FloatArray]:
        """The last series, by name: whoever asks for one instrument's asks for the next one's."""
        return {}

    def series_of(self, name: str, instrument: str) -> pd.Series:
        """A daily series of one instrument, on the days of its history."""
        import pandas as pd

        column = self._column(instrument)
        days = self.index[:, column]
        return pd.Series(self.values(name)[days, column], index=pd.DatetimeIndex(self.dates[days]), name=name)

    @cached_property
    def positions(self) -> pd.DataFrame:
        """Long table: instrument, date, then `position_columns`; a row for each day of each instrument."""
        import pandas as pd

        column, row = np.nonzero(self.index.T)
        return pd.DataFrame(
            {
                "instrument": pd.Categorical.from_codes(column, categories=pd.Index(self.instruments)),
                "date": self.dates[row],
                **{name: self.values(name)[row, column] for name in self.position_columns},
            }
        )

    @cached_property
    def portfolio_returns(self) -> dict[str, FloatArray]:
        """Daily gross, costs and net of all instruments together, in base currency, on `dates`."""
        gross, costs = sum_of_present(self.account.gross), sum_of_present(self.account.costs)
        return {"gross": gross, "costs": costs, "net": sum_of_known(gross, costs)}

    @cached_property
    def compounded(self) -> CompoundedAccount:
        """The account with the configured `capital_multiplier`, on `dates`; all other results are on fixed capital."""
        returns, config = self.portfolio_returns, self.config
        return compounded(returns["gross"], returns["costs"], config.notional_trading_capital, config.capital_method)

    @property
    def portfolio(self) -> pd.DataFrame:
        """`portfolio_columns` by date."""
        import pandas as pd

        return pd.DataFrame(self.portfolio_columns, index=pd.DatetimeIndex(self.dates, name="date"))

    @property
    def portfolio_columns(self) -> dict[str, FloatArray]:
        """Daily gross, costs and net in base currency, on `dates`.

        Where profits change positions (`capital_multiplier`) also the capital at risk as of each close, and the same
        three with positions that follow it.
        """
        if self.config.capital_method == "fixed":
            return self.portfolio_returns
        account = self.compounded
        scaled = {f"compounded_{name}": getattr(account, name) for name in RETURNS}
        return {**self.portfolio_returns, "capital": account.capital, **scaled}

    @cached_property
    def stats(self) -> dict[str, dict[str, float]]:
        """Statistics of daily returns in % of capital: gross, costs and net."""
        scale = 100.0 / self.config.notional_trading_capital
        return {name: return_statistics(values * scale) for name, values in self.portfolio_returns.items()}

    @cached_property
    def compounded_stats(self) -> dict[str, dict[str, float]]:
        """Statistics of the `compounded` account: daily gross, costs and net in % of the capital of the close before.

        Days without any profit or cost on fixed capital, and days after capital is gone, are left out.
        """
        account, start = self.compounded, self.config.notional_trading_capital
        before = np.concatenate([[start], account.capital[:-1]])
        percent = {name: 100.0 * divide(getattr(account, name), before) for name in RETURNS}
        known = {name: ~np.isnan(values) for name, values in self.portfolio_returns.items()}
        return {name: return_statistics(values[known[name]]) for name, values in percent.items()}

    @cached_property
    def instrument_stats(self) -> dict[str, dict[str, float | str]]:
        """Totals in base currency, turnover a year, net statistics in % of total capital, rolls, SR costs by rule."""
        facts = [one.meta for one in self.series]
        rolls = np.array([len(one.hold_roll_cycle) for one in facts], dtype=np.float64)
        config = self.config
        per_trade = sr_cost_per_trade(self.raw.price, self.raw.daily_returns_vol, self.dates, facts)
        scaled = {rule: Panel(self.forecasts.scaled(rule), panel.index) for rule, panel in self.forecasts.raw.items()}
        groups = group_by_rules(config, self.instruments)
        costs = sr_costs(scaled, per_trade, rolls, config.average_absolute_forecast, groups)
        turnovers = turnover(self.sizing.decided.values, self.sizing.average_position)
        scale = 100.0 / config.notional_trading_capital
        out: dict[str, dict[str, float | str]] = {}
        for column, (code, fact) in enumerate(zip(self.instruments, facts, strict=True)):
            gross, cost = self.account.gross[:, column], self.account.costs[:, column]
            net = sum_of_known(gross, cost)
            net_stats = return_statistics(net[self.index[:, column]] * scale)
            out[code] = {
                "asset_class": fact.asset_class,
                "currency": fact.currency,
                "pointsize": fact.point_size,
                "rolls_per_year": float(rolls[column]),
                "gross_total": float(np.nansum(gross)),
                "costs_total": float(np.nansum(cost)),
                "net_total": float(np.nansum(net)),
                "turnover": float(turnovers[column]),
                **{f"net_{name}_pct": net_stats[name] for name in ("ann_mean", "ann_std")},
                **{f"net_{name}": net_stats[name] for name in ("sharpe", "skew")},
                **{f"sr_cost_{rule}": float(values[column]) for rule, values in costs.items()},
            }
        return out

    def latest_positions(self) -> dict[str, LatestPosition]:
        """By instrument, the last position and buffer with the price, contract and time they refer to."""
        return {code: self._latest(column) for column, code in enumerate(self.instruments)}

    def _latest(self, column: int) -> LatestPosition:
        series = self.series[column]
        present = np.flatnonzero(~np.isnan(series.adjusted.price))
        last = present[-1] if len(present) else len(series.adjusted) - 1
        time = series.adjusted.times[last]
        row = max(int(np.searchsorted(series.multiple.times, time, side="right")) - 1, 0)
        return LatestPosition(
            instrument=series.code,
            notional_position=_last_present(self.sizing.notional[:, column]),
            buffer_lower=_last_present(self.sizing.buffer.lower[:, column]),
            buffer_upper=_last_present(self.sizing.buffer.upper[:, column]),
            reference_price=float(series.adjusted.price[last]),
            reference_time=time,
            reference_contract=int(series.multiple.price_contract[row]),
            daily_returns_vol=_last_present(self.raw.daily_returns_vol.values[:, column]),
        )

    def _column(self, instrument: str) -> int:
        try:
            return self.instruments.index(instrument)
        except ValueError:
            raise ConfigError(f"{instrument} is not in this backtest; it has {', '.join(self.instruments)}") from None


def _itself(values: FloatArray) -> FloatArray:
    return values


def _last_present(values: FloatArray) -> float:
    present = values[~np.isnan(values)]
    return float(present[-1]) if len(present) else float("nan")
