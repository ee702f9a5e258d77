"""Strategy report: what the newest backtest of a strategy saw, decided and risks, against what is held now."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from pysys.desk import Desk
from pysys.domain.risk import ROOT_DAYS_A_YEAR, portfolio_risk
from pysys.reports.compose import compose
from pysys.reports.figures import bars
from pysys.reports.inputs import read_inputs
from pysys.reports.report import Report, Section
from pysys.systems.saved_states import SavedState, saved_state

_WEEK = 5  # business days between two prices of the correlations
_FEWEST_WEEKS = 20


@dataclass(frozen=True)
class _View:
    """The newest saved backtest and today's positions."""

    saved: SavedState
    latest: pd.DataFrame  # by instrument
    prices: pd.DataFrame  # date by instrument, back-adjusted
    held: Mapping[str, int]
    point_size: Mapping[str, float]  # instrument currency per point
    capital: float  # base currency

    @property
    def rules(self) -> list[str]:
        return [name.removeprefix("fc_") for name in self.latest.columns if name.startswith("fc_")]


def strategy_report(desk: Desk, strategy: str = "", timestamp: str = "") -> Report:
    """Forecasts, weights, volatility, positions, buffers and risk of one saved backtest.

    strategy: the first configured one when blank. timestamp: YYYYmmdd_HHMMSS of the saved backtest, the newest when
    blank. Raises DataError when there is no such saved backtest.
    """
    name = strategy if strategy else next(iter(desk.config.process_configuration_methods["run_systems"]))
    view = _view(desk, name, timestamp)
    now = desk.clock.now()
    risk, correlation = _risk_table(view), _correlation(view)
    total = _total_risk(risk, correlation)
    target = float(view.saved.config["percentage_vol_target"])
    sections = [
        *_forecast_sections(view),
        _volatility_section(view),
        _position_section(view),
        Section(
            "Risk by instrument",
            "Of what is held now. Exposure and risk are in base currency and in % of the strategy's capital.",
            risk.reset_index(),
            dict.fromkeys(risk.columns, ",.4g"),
        ),
        Section(
            "Risk taken",
            "Annual standard deviation of each position on its own; together they offset.",
            bars(
                {str(code): abs(float(value)) for code, value in risk["annual risk, % of capital"].items()},
                title="Risk of positions held",
                xlabel="Annual standard deviation, % of capital",
                ylabel="Instrument",
            ),
        ),
        Section(
            "Correlations",
            "Of weekly price changes in the last two years.",
            correlation.round(2).reset_index(),
        ),
    ]
    return compose(
        f"Strategy report for {name}",
        now,
        read_inputs(desk, now),
        headline=[f"Expected risk of what is held {total:.1f}% a year, target {target:.1f}%."],
        sections=sections,
        data={
            "strategy": name,
            "backtest": view.saved.folder.name,
            "risk": total,
            "target": target,
            "capital": view.capital,
        },
    )


def _view(desk: Desk, strategy: str, timestamp: str) -> _View:
    saved = saved_state(desk.backtests, strategy, timestamp)
    stages = saved.stages()
    with desk.store.read() as unit:
        positions = unit.positions.strategy_positions()
        facts = {one.code: one.point_size for one in unit.markets.instruments(status=None)}
    return _View(
        saved=saved,
        latest=stages.groupby("instrument", observed=True).last(),
        prices=stages.pivot(index="date", columns="instrument", values="price"),
        held={code: position for (name, code), position in positions.items() if name == strategy},
        point_size=facts,
        capital=float(saved.details["capital"]),
    )


def _forecast_sections(view: _View) -> list[Section]:
    rules = view.rules
    unweighted = view.latest[[f"fc_{rule}" for rule in rules]].set_axis(rules, axis=1)
    weights = view.latest[[f"fw_{rule}" for rule in rules]].set_axis(rules, axis=1)
    weighted = (unweighted * weights).assign(combined=view.latest["combined_forecast"])
    return [
        Section(
            "Unweighted forecasts",
            "Scaled and capped; 10 is an average long.",
            unweighted.reset_index(),
            dict.fromkeys(rules, ",.2f"),
        ),
        Section(
            "Forecast weights",
            "Share of each rule in the combined forecast.",
            weights.reset_index(),
            dict.fromkeys(rules, ".3f"),
        ),
        Section(
            "Weighted forecasts",
            "Forecast times weight; combined is after the diversification multiplier and the cap.",
            weighted.reset_index(),
            dict.fromkeys(weighted.columns, ",.2f"),
        ),
    ]


def _volatility_section(view: _View) -> Section:
    columns = {
        "daily_returns_vol": "daily price stdev, points",
        "denominator_price": "price, points",
        "daily_pct_vol": "daily stdev, %",
        "block_value": "value of a 1% move, currency",
        "instr_ccy_vol": "daily stdev per contract, currency",
        "fx_rate": "FX rate",
        "instr_value_vol": "daily stdev per contract, base currency",
        "vol_scalar": "volatility scalar, contracts",
    }
    table = view.latest[list(columns)].rename(columns=columns)
    target = view.saved.config["percentage_vol_target"]
    return Section(
        "Volatility",
        f"Target {target}% a year on {view.capital:,.0f} of capital: the scalar is the position at a forecast of 10.",
        table.reset_index(),
        dict.fromkeys(table.columns, ",.5g"),
    )


def _position_section(view: _View) -> Section:
    latest = view.latest
    table = pd.DataFrame(
        {
            "subsystem position": latest["subsystem_position"],
            "instrument weight": latest["instrument_weight"],
            "optimal position": latest["notional_position"],
            "buffer lower": latest["buffer_lower"],
            "buffer upper": latest["buffer_upper"],
            "held now": pd.Series(view.held, dtype=float).reindex(latest.index).fillna(0.0),
        }
    )
    formats = {**dict.fromkeys(table.columns, ",.3f"), "held now": ",.0f"}
    explanation = "Contracts. A position outside its rounded buffer is traded back to the nearer edge."
    return Section("Positions and buffers", explanation, table.reset_index(), formats)


def _risk_table(view: _View) -> pd.DataFrame:
    """Risk of what is held, by instrument (semantics of the columns: per contract in base currency unless named)."""
    latest = view.latest
    point = pd.Series(view.point_size).reindex(latest.index) * latest["fx_rate"]
    held = pd.Series(view.held, dtype=float).reindex(latest.index).fillna(0.0)
    deviation, price = latest["daily_returns_vol"], latest["denominator_price"]
    exposure, daily_risk = point * price, point * deviation
    return pd.DataFrame(
        {
            "daily price stdev": deviation,
            "annual price stdev": deviation * ROOT_DAYS_A_YEAR,
            "price": price,
            "daily stdev, %": 100 * deviation / price,
            "annual stdev, %": 100 * deviation / price * ROOT_DAYS_A_YEAR,
            "point size, base": point,
            "exposure per contract": exposure,
            "daily risk per contract": daily_risk,
            "annual risk per contract": daily_risk * ROOT_DAYS_A_YEAR,
            "position": held,
            "exposure held, % of capital": 100 * held * exposure / view.capital,
            "annual risk, % of capital": 100 * held * daily_risk * ROOT_DAYS_A_YEAR / view.capital,
        }
    )


def _correlation(view: _View) -> pd.DataFrame:
    weekly = view.prices.ffill().iloc[::-_WEEK].iloc[::-1].diff()
    return weekly.corr(min_periods=_FEWEST_WEEKS)


def _total_risk(risk: pd.DataFrame, correlation: pd.DataFrame) -> float:
    weights = risk["exposure held, % of capital"].to_numpy() / 100
    ordered = correlation.reindex(index=risk.index, columns=risk.index).to_numpy(dtype=np.float64)
    return portfolio_risk(weights, risk["annual stdev, %"].to_numpy(), ordered.copy())
