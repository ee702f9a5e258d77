"""P&L report: by how much the account changed, and which market, strategy, cost or exchange rate it came from."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from math import fsum
from typing import Any

import pandas as pd

from pysys.desk import Desk
from pysys.domain.pandl import AccountChange, Poll, Records, account_change, timing_difference
from pysys.reports.compose import compose
from pysys.reports.figures import bars, lines
from pysys.reports.inputs import read_inputs
from pysys.reports.period import period
from pysys.reports.report import Report, Section, moment_text
from pysys.store.reporting import Reporting

_NO_CLASS = "unknown"


@dataclass(frozen=True)
class _Result:
    """A change of account value with what is needed to show it."""

    change: AccountChange
    account_start: float  # value at the first poll, base currency
    timing: Mapping[str, float]  # by instrument, base currency
    asset_classes: Mapping[str, str]
    capital: float | None  # base currency
    base: str

    def percent(self, amount: float) -> float | None:
        """Percent of capital; None while there is no capital."""
        return None if self.capital is None or self.capital == 0 else 100 * amount / self.capital

    @property
    def residual(self) -> float:
        return self.change.total - self.change.futures

    @property
    def by_asset_class(self) -> dict[str, float]:
        parts: dict[str, list[float]] = {}
        for code, gain in self.change.by_instrument.items():
            parts.setdefault(self.asset_classes.get(code, _NO_CLASS), []).append(gain)
        return {name: fsum(gains) for name, gains in parts.items()}


def pandl_report(desk: Desk, start: datetime | None = None, end: datetime | None = None) -> Report:
    """Change of account value between the polls nearest before `start` and `end`, by default the last 24 hours.

    `data` has, in base currency, total = instruments + commission + fx + unexplained, timing, account_start and
    account_end (None with fewer than two polls), by_instrument, by_strategy and by_asset_class; under `percent` the
    same in percent of capital.
    """
    now = desk.clock.now()
    since, until = period(now, start, end)
    result, polls, refused = _read(desk, since, until)
    inputs = read_inputs(desk, min(until, now))
    if result is None:
        text = (
            f"{'One poll' if polls == 1 else 'No poll'} of the account up to the end of the period: nothing to compare."
        )
        return compose(
            "P&L report",
            now,
            inputs,
            period=(since, until),
            headline=["No P&L: the account has not been polled twice yet."],
            sections=[Section("Change of account value", "Needs two polls of the account.", text)],
            data={
                **dict.fromkeys((*_PARTS, "timing", "account_start", "account_end")),
                "polls": polls,
                "polls_refused": refused,
            },
        )
    return compose(
        "P&L report",
        now,
        inputs,
        period=(since, until),
        headline=_headline(result),
        sections=_sections(result, refused),
        data=_data(result, polls, refused),
    )


def _read(desk: Desk, since: datetime, until: datetime) -> tuple[_Result | None, int, int]:
    """The result, how many polls it stands on, and how many were refused."""
    with desk.store.read() as unit:
        reporting = unit.reporting
        polls = reporting.polls(since, until)
        refused = reporting.refused_polls(since, until)
        if len(polls) < 2:
            return None, len(polls), refused
        last = polls[-1]
        held = reporting.positions_at(last.time)
        own = reporting.last_contract_prices(held, last.time)
        instruments = reporting.instruments()
        result = _Result(
            change=account_change(polls, _records(reporting, polls)),
            account_start=polls[0].total,
            timing=timing_difference(last, held, own, reporting.point_values()),
            asset_classes=dict(zip(instruments["code"], instruments["asset_class"], strict=True)),
            capital=reporting.capital(until),
            base=desk.config.base_currency,
        )
    return result, len(polls), refused


def _records(reporting: Reporting, polls: Sequence[Poll]) -> Records:
    """Our records between the polls, with our own prices of spread legs the broker did not mark."""
    records = reporting.records(polls[0].time, polls[-1].time)
    legs = records.contracts_in_spreads
    prices = {poll.time: reporting.last_contract_prices(legs - poll.marks.keys(), poll.time) for poll in polls if legs}
    return replace(records, own_prices=prices)


_PARTS = ("total", "instruments", "commission", "fx", "unexplained")


def _data(result: _Result, polls: int, refused: int) -> dict[str, Any]:
    change = result.change
    parts = (change.total, change.futures, change.commission, change.fx, change.unexplained)
    amounts: dict[str, Any] = dict(zip(_PARTS, parts, strict=True))
    tables = {
        "by_instrument": dict(change.by_instrument),
        "by_strategy": dict(change.by_strategy),
        "by_asset_class": result.by_asset_class,
    }
    percent: dict[str, Any] = {name: result.percent(amount) for name, amount in amounts.items()}
    percent |= {name: {k: result.percent(v) for k, v in table.items()} for name, table in tables.items()}
    return {
        **amounts,
        "timing": fsum(result.timing.values()),
        "not_attributed": change.not_attributed,
        **tables,
        "percent": percent,
        "capital": result.capital,
        "account_start": result.account_start,
        "account_end": result.account_start + change.total,
        "polls": polls,
        "polls_refused": refused,
        "from": change.start,
        "to": change.end,
    }


def _headline(result: _Result) -> list[str]:
    change = result.change
    return [
        f"Total P&L {_amount(result, change.total)}.",
        f"Futures {_amount(result, change.futures)}, residual {_amount(result, result.residual)}.",
    ]


def _amount(result: _Result, amount: float) -> str:
    percent = result.percent(amount)
    text = f"{amount:+z,.2f} {result.base}"
    return text if percent is None else f"{text} ({percent:+.3f}% of capital)"


def _sections(result: _Result, refused: int) -> list[Section]:
    change, base = result.change, result.base
    money = {base: ",.2f", "% of capital": ",.3f", f"timing, {base}": ",.2f"}
    gains = {**dict.fromkeys(result.timing, 0.0), **change.by_instrument}  # a market may be held as legs only
    instruments = sorted(gains.items(), key=lambda item: item[1])
    classes = sorted(result.by_asset_class.items(), key=lambda item: item[1])
    return [
        Section(
            "Change of account value",
            f"From the poll of {moment_text(change.start)} to that of {moment_text(change.end)} UTC; the parts sum to "
            "the total.",
            _table(result, "part", _parts(change)),
            money,
        ),
        Section("What to know", "Whether every part could be measured.", _notes(result, refused)),
        Section(
            "P&L by instrument",
            "Positions and fills at the broker's marks, before commission, worst first; the legs of a spread are the "
            "spread's. Timing is what our own last prices would add in each market, and is part of no sum.",
            _table(result, "instrument", instruments, result.timing),
            money,
        ),
        Section(
            "P&L by strategy",
            "Each strategy's share of its contracts' own price changes, so a roll is nobody's gain; sums to the total.",
            _table(result, "strategy", _strategies(change)),
            money,
        ),
        Section("P&L by asset class", "Worst first.", _table(result, "asset class", classes), money),
        Section("Cumulative P&L", "Change of account value since the first poll.", _cumulative(result)),
        Section(
            "Chart of P&L by instrument",
            "Before commission.",
            bars(
                change.by_instrument,
                title="P&L by instrument",
                xlabel=f"P&L, {base}",
                ylabel="Instrument",
            ),
        ),
    ]


def _parts(change: AccountChange) -> list[tuple[str, float]]:
    return [
        ("futures", change.futures),
        ("commission", change.commission),
        ("FX", change.fx),
        ("unexplained", change.unexplained),
        ("total", change.total),
    ]


def _strategies(change: AccountChange) -> list[tuple[str, float]]:
    shares = sorted(change.by_strategy.items(), key=lambda item: item[1])
    return [*shares, ("residual: held by no strategy", change.not_attributed)] + [
        (f"residual: {part}" if part != "total" else part, amount) for part, amount in _parts(change)[1:]
    ]


def _table(
    result: _Result,
    what: str,
    rows: Sequence[tuple[str, float]],
    timing: Mapping[str, float] | None = None,
) -> pd.DataFrame:
    frame = pd.DataFrame(
        [(name, amount, result.percent(amount)) for name, amount in rows],
        columns=[what, result.base, "% of capital"],
    )
    frame["% of capital"] = frame["% of capital"].astype(float)
    if timing is not None:
        frame[f"timing, {result.base}"] = [timing.get(name) for name, _ in rows]
    return frame


def _notes(result: _Result, refused: int) -> str:
    change = result.change
    timing = fsum(result.timing.values())
    notes = [
        f"Timing: our own last prices would value the open positions {timing:+z,.2f} {result.base} from the broker's."
    ]
    if result.capital is None:
        notes.append("No capital is stored, so nothing is given in percent.")
    if refused:
        notes.append(f"{refused} polls were not accepted and are left out.")
    if change.commissions_unknown:
        notes.append(f"The commission of {change.commissions_unknown} fills is not known yet; it is in unexplained.")
    if change.unmarked:
        contracts = ", ".join(map(str, change.unmarked))
        notes.append(f"Held but not marked by the broker in some poll, valued at the last known price: {contracts}.")
    if change.unvalued:
        notes.append(f"Without an exchange rate, left out of futures: {', '.join(change.unvalued)}.")
    return " ".join(notes)


def _cumulative(result: _Result) -> Any:
    steps = result.change.steps
    return lines(
        [step.time for step in steps],
        {
            "account value": [step.total for step in steps],
            "futures": [step.futures for step in steps],
            "FX": [step.fx for step in steps],
        },
        title="Cumulative P&L",
        ylabel=f"Change since the first poll, {result.base}",
    )
