"""Strategy report: what the newest backtest of a strategy saw, decided and risks, against what is held now."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from pysys.data.research import first_strategy, open_saved_state, own_code_folders
from pysys.desk import Desk
from pysys.domain.errors import ConfigError
from pysys.domain.risk import ROOT_DAYS_A_YEAR, portfolio_risk
from pysys.reports.compose import compose
from pysys.reports.figures import bars
from pysys.reports.held_risk import measured_now
from pysys.reports.inputs import read_inputs
from pysys.reports.report import Report, Section
from pysys.systems.dotted_paths import named_object
from pysys.systems.intermediates import Backtest
from pysys.systems.saved_states import SavedState

CLASSIC_REPORT = "sysproduction.strategy_code.report_system_classic.report_system_classic"
_WEEK = 5  # business days between two prices of the correlations
_FEWEST_WEEKS = 20


@dataclass(frozen=True)
class _View:
    """A saved backtest, and the positions when it ran and now."""

    saved: SavedState
    latest: pd.DataFrame  # by instrument, the last day of each
    known: pd.DataFrame  # day, prices and volatility of every instrument of the backtest or held
    prices: pd.DataFrame  # date by instrument, back-adjusted
    held_then: Mapping[str, int]
    held: Mapping[str, int]
    point_size: Mapping[str, float]  # instrument currency per point
    capital: float  # base currency

    @property
    def rules(self) -> list[str]:
        return [name.removeprefix("fc_") for name in self.latest.columns if name.startswith("fc_")]

    @property
    def unmeasured(self) -> list[str]:
        """What is held and has no known risk."""
        risk = self.known[["denominator_price", "daily_returns_vol", "fx_rate"]]
        return [code for code in self.held if risk.loc[code].isna().any()]


def strategy_report(desk: Desk, strategy: str = "", timestamp: str = "") -> Report:
    """The report of a strategy on one of its saved backtests, by the function its `reporting_code` names.

    strategy: the first configured one when blank. timestamp: YYYYmmdd_HHMMSS of the saved backtest, the newest when
    blank. A function of the reader's own, in a file in parameters/private or the project folder or importable, is
    called with the desk, the strategy and the backtest `load_backtests` opens, and returns a Report. Raises DataError
    when there is no such saved backtest, ConfigError for a function there is not.
    """
    name = strategy if strategy else first_strategy(desk)
    entry = desk.config.strategy_list.get(name)
    path = CLASSIC_REPORT if entry is None or entry.reporting_code is None else entry.reporting_code.function
    where = f"strategy_list.{name}.reporting_code.function"
    function: Callable[[Desk, str, Backtest], Report] = (
        classic_report if path == CLASSIC_REPORT else named_object(path, own_code_folders(desk), where)
    )
    report = function(desk, name, open_saved_state(desk, name, timestamp))
    if not isinstance(report, Report):
        raise ConfigError(f"{where}: {path} must return a pysys.reports.report.Report, not {type(report).__name__}")
    return report


def classic_report(desk: Desk, strategy: str, backtest: Backtest) -> Report:
    """Forecasts, weights, volatility, positions, buffers and risk of one saved backtest.

    Raises ConfigError for a backtest that is not one of our saved states.
    """
    if not isinstance(backtest, SavedState):
        raise ConfigError(
            f"the report of {strategy} reads saved states, not a {type(backtest).__name__}; name a function that reads "
            f"it in strategy_list.{strategy}.reporting_code"
        )
    view = _view(desk, strategy, backtest)
    now = desk.clock.now()
    risk, correlation = _risk_table(view), _correlation(view)
    total = _total_risk(risk, correlation)
    target = float(view.saved.config["percentage_vol_target"])
    unmeasured = ""
    if view.unmeasured:
        unmeasured = f" Not counted, because nothing stored tells its risk: {', '.join(view.unmeasured)}."
    sections = [
        *_forecast_sections(view),
        _volatility_section(view),
        _position_section(view),
        Section(
            "Risk by instrument",
            "Of what is held now. Exposure and risk are in base currency and in % of the strategy's capital."
            + unmeasured,
            risk.reset_index(),
            dict.fromkeys(risk.columns.drop("day"), ",.4g"),
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
        f"Strategy report for {strategy}",
        now,
        read_inputs(desk, now),
        headline=[f"Expected risk of what is held {total:.1f}% a year, target {target:.1f}%.{unmeasured}"],
        sections=sections,
        data={
            "strategy": strategy,
            "backtest": view.saved.folder.name,
            "risk": total,
            "target": target,
            "capital": view.capital,
            "unmeasured": view.unmeasured,
        },
    )


def _view(desk: Desk, strategy: str, saved: SavedState) -> _View:
    latest = saved.latest()
    with desk.store.read() as unit:
        now = unit.positions.strategy_positions()
        then = unit.reporting.records(saved.time, saved.time).opening_strategies
        facts = {one.code: one.point_size for one in unit.markets.instruments(status=None)}
    held_then, held = ({code: n for (name, code), n in each.items() if name == strategy} for each in (then, now))
    others = sorted({*held, *held_then} - set(latest.index))
    columns = ["date", "denominator_price", "daily_returns_vol", "fx_rate"]
    known, prices = latest[columns], saved.values("price")
    if others:
        measured, histories = measured_now(desk, others, str(saved.config["base_currency"]))
        known, prices = pd.concat([known, measured[columns]]), prices.join(histories, how="left")
    return _View(
        saved=saved,
        latest=latest,
        known=known.rename_axis("instrument"),
        prices=prices,
        held_then=held_then,
        held=held,
        point_size=facts,
        capital=float(saved.details["capital"]),
    )


def _by_day(table: pd.DataFrame, dates: pd.Series) -> pd.DataFrame:
    """The same with the day it is of in front, so that a row that is old shows it."""
    days = pd.to_datetime(dates).dt.date.reindex(table.index)
    return pd.concat([days.rename("day"), table], axis=1).reset_index()


def _forecast_sections(view: _View) -> list[Section]:
    rules = view.rules
    unweighted = view.latest[[f"fc_{rule}" for rule in rules]].set_axis(rules, axis=1)
    weights = view.latest[[f"fw_{rule}" for rule in rules]].set_axis(rules, axis=1)
    weighted = (unweighted * weights).assign(combined=view.latest["combined_forecast"])
    return [
        Section(
            "Unweighted forecasts",
            "Scaled and capped; 10 is an average long.",
            _by_day(unweighted, view.latest["date"]),
            dict.fromkeys(rules, ",.2f"),
        ),
        Section(
            "Forecast weights",
            "Share of each rule in the combined forecast.",
            _by_day(weights, view.latest["date"]),
            dict.fromkeys(rules, ".3f"),
        ),
        Section(
            "Weighted forecasts",
            "Forecast times weight; combined is after the diversification multiplier and the cap.",
            _by_day(weighted, view.latest["date"]),
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
        _by_day(table, view.latest["date"]),
        dict.fromkeys(table.columns, ",.5g"),
    )


def _position_section(view: _View) -> Section:
    latest = view.latest.reindex(view.known.index)
    columns = {
        "subsystem_position": "subsystem position",
        "instrument_weight": "instrument weight",
        "instrument_div_multiplier": "diversification multiplier",
        "notional_position": "optimal position",
        "buffer_lower": "buffer lower",
        "buffer_upper": "buffer upper",
        "optimised_position": "optimised position",
    }
    small = "optimised_position" in latest
    if small:  # whole contracts are chosen together, and no buffer of a position has a say
        columns = {name: title for name, title in columns.items() if not name.startswith("buffer_")}
    table = latest[[name for name in columns if name in latest]].rename(columns=columns)
    table["held at backtest"] = _contracts(view.held_then, table.index)
    table["held now"] = _contracts(view.held, table.index)
    whole = ("optimised position", "held at backtest", "held now")
    formats = {**dict.fromkeys(table.columns, ",.3f"), **dict.fromkeys(whole, ",.0f")}
    explanation = "Contracts, when the backtest ran and now. " + (
        "Optimised positions are those of the simulated account; production optimises from what it really holds."
        if small
        else "A position outside its rounded buffer is traded back to the nearer edge."
    )
    gone = [str(code) for code in table.index.difference(view.latest.index)]
    if gone:
        explanation += f" The backtest no longer has {', '.join(gone)}."
    return Section("Positions and buffers", explanation, _by_day(table, view.known["date"]), formats)


def _contracts(held: Mapping[str, int], codes: pd.Index) -> pd.Series:
    return pd.Series(held, dtype=float).reindex(codes).fillna(0.0)


def _risk_table(view: _View) -> pd.DataFrame:
    """Risk of what is held, by instrument (semantics of the columns: per contract in base currency unless named).

    Instruments of the backtest, and whatever else is held.
    """
    known = view.known
    point = pd.Series(view.point_size, dtype=float).reindex(known.index) * known["fx_rate"]
    held = _contracts(view.held, known.index)
    deviation, price = known["daily_returns_vol"], known["denominator_price"]
    exposure, daily_risk = point * price, point * deviation
    return pd.DataFrame(
        {
            "day": pd.to_datetime(known["date"]).dt.date,
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
