"""Any intermediate of a backtest, fresh or saved, by stage, method and arguments.

A method is a daily series such as `combined_forecast`, or one of each rule such as `fc` (`fc_carry30`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

from pysys.domain.errors import ConfigError

if TYPE_CHECKING:
    import pandas as pd

RULE = "<rule>"

# What belongs to which stage, in the order the stages run, and its unit.
STAGES: dict[str, dict[str, str]] = {
    "raw data": {
        "price": "price points, back-adjusted",
        "denominator_price": "price points",
        "daily_returns": "price points a day",
        "daily_returns_vol": "price points a day",
        "robust_vol": "price points a day",
        "annualised_roll": "price points a year",
        "raw_carry": "Sharpe ratio units",
        "norm_return": "standard deviations",
        "cum_norm_return": "standard deviations",
        "asset_class_norm_price": "standard deviations",
        "vol_attenuation": "factor",
    },
    "rules": {f"raw_{RULE}": "unscaled forecast"},
    "forecast scaling and capping": {f"scalar_{RULE}": "factor", f"fc_{RULE}": "forecast, 10 is average"},
    "combining forecasts": {
        f"fw_{RULE}": "share",
        "forecast_div_multiplier": "factor",
        "unmapped_forecast": "forecast, 10 is average",
        "combined_forecast": "forecast, 10 is average",
    },
    "position sizing": {
        "fx_rate": "base currency for one unit",
        "block_value": "instrument currency, for 1%",
        "daily_pct_vol": "% a day",
        "instr_ccy_vol": "instrument currency a day",
        "instr_value_vol": "base currency a day",
        "vol_scalar": "contracts",
        "subsystem_position": "contracts",
    },
    "portfolio": {
        "instrument_weight": "share",
        "instrument_div_multiplier": "factor",
        "portfolio_normal_risk": "annual risk, share of capital",
        "portfolio_stdev_risk": "annual risk, share of capital",
        "portfolio_sum_abs_risk": "annual risk, share of capital",
        "portfolio_leverage": "multiples of capital",
        "risk_overlay_multiplier": "factor",
        "average_position": "contracts",
        "notional_position": "contracts",
        "buffer_lower": "contracts",
        "buffer_upper": "contracts",
    },
    "positions": {
        "buffered_position": "whole contracts",
        "optimised_position": "whole contracts",
        "actual_position": "contracts, with the capital of the day",
    },
    "account": {"gross": "base currency a day", "costs": "base currency a day"},
}
OTHER = "other"


class Backtest(Protocol):
    """What a fresh result and a saved state have in common."""

    @property
    def instruments(self) -> tuple[str, ...]: ...

    @property
    def names(self) -> tuple[str, ...]:
        """Every daily series there is."""
        ...

    def series_of(self, name: str, instrument: str) -> pd.Series:
        """A daily series of one instrument, by date. Raises ConfigError for a name or instrument there is not."""
        ...


def rules_of(backtest: Backtest) -> tuple[str, ...]:
    """The rules with a forecast."""
    return tuple(name.removeprefix("fc_") for name in backtest.names if name.startswith("fc_"))


def names_by_stage(backtest: Backtest) -> dict[str, tuple[str, ...]]:
    """The daily series of each stage, in the order the stages run."""
    rules, left = rules_of(backtest), list(backtest.names)
    found = {}
    for stage, methods in STAGES.items():
        wanted = [name for method in methods for name in _names(method, rules)]
        found[stage] = tuple(name for name in wanted if name in left)
        left = [name for name in left if name not in found[stage]]
    return {stage: names for stage, names in {**found, OTHER: tuple(left)}.items() if names}


def menu(backtest: Backtest) -> pd.DataFrame:
    """What can be looked at: a row for each method, with its stage, the arguments it takes and its unit."""
    import pandas as pd

    known, rules = set(backtest.names), rules_of(backtest)
    rows = [
        {
            "stage": stage,
            "method": _method(method),
            "arguments": "instrument, rule" if RULE in method else "instrument",
            "unit": unit,
        }
        for stage, methods in STAGES.items()
        for method, unit in methods.items()
        if known.intersection(_names(method, rules))
    ]
    others = names_by_stage(backtest).get(OTHER, ())
    rows += [{"stage": OTHER, "method": name, "arguments": "instrument", "unit": ""} for name in others]
    return pd.DataFrame(rows)


def intermediate(backtest: Backtest, method: str, instrument: str = "", rule: str = "") -> pd.DataFrame:
    """A daily series, by date: a column for the instrument, or for every one when none is named.

    method: as `menu` lists it, or the full name of a series, which the columns are named by; `unit` in their `attrs`.
    Raises ConfigError for what there is not, and for a method of each rule without a rule.
    """
    import pandas as pd

    name = _full_name(backtest, method, rule)
    codes: Sequence[str] = [instrument] if instrument else backtest.instruments
    columns = {code: backtest.series_of(name, code) for code in codes}
    table = pd.DataFrame(columns).rename_axis(index="date", columns=name)
    table.attrs["unit"] = unit_of(backtest, name)
    return table


def unit_of(backtest: Backtest, name: str) -> str:
    """The unit of a daily series; empty for one that is not known here."""
    rules = rules_of(backtest)
    for methods in STAGES.values():
        for method, unit in methods.items():
            if name in _names(method, rules):
                return unit
    return ""


def _full_name(backtest: Backtest, method: str, rule: str) -> str:
    """The series behind a method."""
    known = backtest.names
    of_rule = f"{method}_{rule}"
    if method in known:
        return method
    rules = rules_of(backtest)
    takes_a_rule = any(f"{method}_{one}" in known for one in rules)
    if takes_a_rule and of_rule not in known:
        raise ConfigError(f"{method} takes a rule, and {rule!r} is none of them; choose among {', '.join(rules)}")
    if not takes_a_rule:
        methods = ", ".join(menu(backtest)["method"])
        raise ConfigError(f"nothing is called {method} in this backtest; choose among {methods}")
    return of_rule


def _names(method: str, rules: Sequence[str]) -> list[str]:
    return [method.replace(RULE, rule) for rule in rules] if RULE in method else [method]


def _method(entry: str) -> str:
    return entry.removesuffix(f"_{RULE}")
