"""How old a report's inputs are, and which of them are too old to put a number on top of."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

import pandas as pd

from pysys.broker.port import BrokerUnavailable
from pysys.desk import Desk
from pysys.domain.errors import DataError
from pysys.reports.report import Section, moment_text

SESSION = timedelta(hours=24)  # of what has no market hours of its own; weekends do not count
_LONGEST_SEARCH = timedelta(days=10)


@dataclass(frozen=True, slots=True)
class InputAge:
    """When one input was last written, and whether it is older than one session."""

    name: str
    last: datetime | None  # UTC; None when there is none at all
    stale: bool
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Inputs:
    """Every input a report stands on, as of one moment."""

    as_of: datetime
    ages: tuple[InputAge, ...]

    @property
    def banner(self) -> tuple[str, ...]:
        """A sentence for each stale input; empty when all are fresh."""
        return tuple(_sentence(age) for age in self.ages if age.stale)

    def section(self) -> Section:
        rows = [
            (age.name, age.last, _hours(self.as_of, age.last), "stale" if age.stale else "fresh", age.detail)
            for age in self.ages
        ]
        columns = ["input", "last (UTC)", "age, hours", "state", "detail"]
        return Section(
            "Age of inputs",
            "When each input was last written; stale is older than one session.",
            pd.DataFrame(rows, columns=columns),
            {"age, hours": ",.1f"},
        )


def _sentence(age: InputAge) -> str:
    since = "there is none" if age.last is None else f"last from {moment_text(age.last)} UTC"
    detail = f" ({age.detail})" if age.detail else ""
    return f"Stale {age.name}: {since}{detail}. No headline number is given."


def _hours(now: datetime, last: datetime | None) -> float | None:
    return None if last is None else (now - last).total_seconds() / 3600


def weekday_time(earlier: datetime, later: datetime) -> timedelta:
    """Time from one moment to the next with Saturdays and Sundays (UTC) left out."""
    counted, day = timedelta(), earlier
    while day < later:
        midnight = (day + timedelta(days=1)).replace(hour=0, minute=0, second=0, microsecond=0)
        if day.weekday() < 5:
            counted += min(midnight, later) - day
        day = midnight
    return counted


def older_than_a_session(last: datetime | None, now: datetime) -> bool:
    """For what has no market hours: more than 24 hours of weekdays. Nothing at all is stale."""
    if last is None or now - last > _LONGEST_SEARCH:
        return True
    return weekday_time(last, now) > SESSION


def price_is_stale(desk: Desk, instrument: str, last: datetime | None, now: datetime) -> bool:
    """Have two sessions of this market closed since its last price?

    The broker knows the sessions, holidays included; while it cannot be asked, 48 hours of weekdays stand in.
    """
    if last is None or now - last > _LONGEST_SEARCH:
        return True
    try:
        sessions = desk.broker.sessions(instrument, last, now)
    except (BrokerUnavailable, DataError):
        return weekday_time(last, now) > 2 * SESSION
    return sum(last < session.closes <= now for session in sessions) > 1


def read_inputs(desk: Desk, as_of: datetime) -> Inputs:
    """Age of prices, exchange rates, the capital poll and optimal positions as of a moment.

    Prices count for the markets that are held then; with none held, for all with an adjusted price. Optimal
    positions count for the configured strategies, the oldest of them.
    """
    with desk.store.read() as unit:
        reporting = unit.reporting
        prices = reporting.last_price_times("adjusted", as_of)
        rates = reporting.last_price_times("fx", as_of)
        held = {contract.instrument for contract in reporting.positions_at(as_of)}
        optimal = reporting.last_optimal(as_of)
        polled = reporting.last_accepted_poll(as_of)
        last_poll = reporting.last_poll(as_of)
    refused = last_poll is not None and not last_poll[1]
    counted = {code: prices.get(code) for code in (held if held else prices)}
    return Inputs(
        as_of,
        (
            _price_age(desk, counted, as_of),
            _fx_age(rates, as_of),
            InputAge(
                "capital poll",
                polled,
                older_than_a_session(polled, as_of),
                "later polls were not accepted: the change was too large to believe unseen" if refused else "",
            ),
            _optimal_age(desk, optimal, as_of),
        ),
    )


def _optimal_age(desk: Desk, optimal: pd.DataFrame, now: datetime) -> InputAge:
    by_strategy = {str(name): rows["time"].max().to_pydatetime() for name, rows in optimal.groupby("strategy")}
    configured = [*desk.config.strategy_list] if desk.config.strategy_list else [*by_strategy]
    times = [by_strategy.get(name) for name in configured]
    known = [time for time in times if time is not None]
    late = [name for name, time in zip(configured, times, strict=True) if older_than_a_session(time, now)]
    detail = f"late or missing: {_some(late)}" if late else ""
    return InputAge("optimal positions", min(known, default=None), bool(late) or not known, detail)


def _price_age(desk: Desk, prices: Mapping[str, datetime | None], now: datetime) -> InputAge:
    known = [time for time in prices.values() if time is not None]
    stale = [code for code, time in sorted(prices.items()) if price_is_stale(desk, code, time, now)]
    detail = f"two sessions have closed without a price: {_some(stale)}" if stale else ""
    return InputAge("last price", max(known, default=None), bool(stale) or not known, detail)


def _fx_age(rates: Mapping[str, datetime | None], now: datetime) -> InputAge:
    """Exchange rates are daily, so a rate may be a session older than a price; none are needed in one currency."""
    known = [time for time in rates.values() if time is not None]
    oldest = min(known, default=None)
    late = oldest is not None and weekday_time(oldest, now) > 2 * SESSION
    return InputAge("exchange rates", oldest, late, "the oldest of all currencies" if known else "none stored")


def _some(names: list[str], most: int = 8) -> str:
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")
