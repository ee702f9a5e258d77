"""Reconcile report: do targets, our records and the broker agree on what is held and what was traded?"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import pandas as pd

from pysys.broker.port import BrokerUnavailable
from pysys.desk import Desk
from pysys.domain.contracts import Contract
from pysys.domain.instruments import RollParameters
from pysys.domain.orders import Fill
from pysys.domain.reconciliation import PositionBreak, Target, TradeBreak, is_break, position_breaks, trade_breaks
from pysys.domain.spread_breaks import SpreadBreak, spread_break
from pysys.domain.spreads import Spread
from pysys.reports.compose import compose
from pysys.reports.inputs import read_inputs
from pysys.reports.period import DAY
from pysys.reports.report import Report, Section

_UNKNOWN = "Unknown: the broker could not be asked ({}). This is not the same as flat."


@dataclass(frozen=True)
class Breaks:
    """Everything that does not agree. None where the broker could not be asked: unknown, not clean."""

    optimal: tuple[tuple[str, str], ...]  # (strategy, instrument) outside its target
    instrument_vs_contract: tuple[
        PositionBreak[str], ...
    ]  # ours is the strategies' sum, theirs the contracts' less legs
    broker_vs_contract: tuple[PositionBreak[Contract], ...] | None  # ours is the database, theirs the broker
    trades: tuple[TradeBreak, ...] | None
    spreads: tuple[SpreadBreak, ...] = ()

    @property
    def any(self) -> bool:
        """Is something known to disagree?"""
        ours = self.optimal or self.instrument_vs_contract or self.spreads
        return bool(ours or self.broker_vs_contract or self.trades)

    @property
    def unknown(self) -> bool:
        """Could the broker not be asked for something?"""
        return self.broker_vs_contract is None or self.trades is None

    def __iter__(self) -> Iterator[str]:
        """One sentence for each break, and for each side that is unknown."""
        yield from (f"optimal vs actual: {strategy}/{code}" for strategy, code in self.optimal)
        yield from (f"instrument vs contract: {_told(each)}" for each in self.instrument_vs_contract)
        yield from (f"spread vs legs: {each}" for each in self.spreads)
        for what, found in (("broker vs contract", self.broker_vs_contract), ("trades", self.trades)):
            if found is None:
                yield f"{what}: unknown"
        yield from (f"broker vs contract: {_told(each)}" for each in self.broker_vs_contract or ())
        yield from (f"trades: {each.execution_id} {each.what}" for each in self.trades or ())


@dataclass(frozen=True)
class ReconcileReport(Report):
    """The report, and the breaks themselves for whoever acts on them."""

    breaks: Breaks = Breaks((), (), None, None)


@dataclass(frozen=True)
class _Books:
    """What our records say, read in one transaction."""

    targets: Mapping[tuple[str, str], tuple[datetime, Target]]
    strategies: Mapping[tuple[str, str], int]
    contracts: Mapping[Contract, int]
    fills: Sequence[Fill]
    legs: Mapping[tuple[str, Contract], int]  # of the contracts, those held for a spread: by (spread, contract)
    spreads: Mapping[str, Spread]  # declared now
    rolls: Mapping[str, RollParameters]

    def by_strategy(self) -> dict[str, int]:
        """What strategies own of each instrument."""
        found: dict[str, int] = {}
        for (_, code), quantity in self.strategies.items():
            found[code] = found.get(code, 0) + quantity
        return found

    def outright(self) -> dict[str, int]:
        """Contracts of each market held for the market itself."""
        found: dict[str, int] = {}
        for contract, quantity in self.contracts.items():
            found[contract.instrument] = found.get(contract.instrument, 0) + quantity
        for (_, contract), quantity in self.legs.items():
            found[contract.instrument] = found.get(contract.instrument, 0) - quantity
        return found

    def legs_of(self) -> dict[str, dict[Contract, int]]:
        """Legs of every spread that is declared or still has some."""
        found: dict[str, dict[Contract, int]] = {code: {} for code in self.spreads}
        for (code, contract), quantity in self.legs.items():
            found.setdefault(code, {})[contract] = quantity
        return found


@dataclass(frozen=True)
class _Broker:
    """What the broker says; None where it could not be asked, and why."""

    positions: Mapping[Contract, int] | None
    fills: Sequence[Fill] | None
    trouble: str


def reconcile_report(desk: Desk) -> ReconcileReport:
    """Optimal against actual, our contract positions against the broker's, and the trades of the last 24 hours."""
    now = desk.clock.now()
    broker = _ask_broker(desk, now - DAY, now)  # first, so that what it tells is not newer than our records
    with desk.store.read() as unit:
        books = _Books(
            targets=unit.reporting.latest_targets(),
            strategies=unit.positions.strategy_positions(),
            contracts=unit.positions.contract_positions(),
            fills=unit.reporting.fills_between(now - DAY, now),
            legs=unit.orders.legs_held_for_others(),
            spreads=desk.config.spreads,
            rolls=unit.markets.all_roll_parameters(),
        )
    optimal = _optimal_table(books)
    breaks = _breaks(books, broker, optimal)
    report = compose(
        "Reconcile report",
        now,
        read_inputs(desk, now),
        headline=[_headline(breaks)],
        sections=_sections(books, broker, optimal, breaks),
        data={
            "breaks_optimal": [f"{strategy}/{code}" for strategy, code in breaks.optimal],
            "breaks_instrument_vs_contract": [each.key for each in breaks.instrument_vs_contract],
            "breaks_spread_vs_legs": [each.spread for each in breaks.spreads],
            "breaks_broker_vs_contract": _keys(breaks.broker_vs_contract),
            "trades_in_database": len(books.fills),
            "trades_at_broker": None if broker.fills is None else len(broker.fills),
            "breaks_trades": None if breaks.trades is None else [each.execution_id for each in breaks.trades],
            "broker_unavailable": broker.trouble,
        },
    )
    return ReconcileReport(**vars(report), breaks=breaks)


def _keys(breaks: Sequence[PositionBreak[Contract]] | None) -> list[str] | None:
    return None if breaks is None else [str(each.key) for each in breaks]


def _ask_broker(desk: Desk, since: datetime, until: datetime) -> _Broker:
    trouble: list[str] = []
    positions: Mapping[Contract, int] | None = None
    fills: Sequence[Fill] | None = None
    try:
        positions = desk.broker.positions()
    except BrokerUnavailable as error:
        trouble.append(str(error))
    try:
        fills = [fill for fill in desk.broker.fills_since(since) if since < fill.filled_at <= until]
    except BrokerUnavailable as error:
        trouble.append(str(error))
    return _Broker(positions, fills, "; ".join(dict.fromkeys(trouble)))


def _optimal_table(books: _Books) -> pd.DataFrame:
    rows = []
    for strategy, code in sorted({*books.targets, *books.strategies}):
        held = books.strategies.get((strategy, code), 0)
        time, target = books.targets.get((strategy, code), (None, None))
        verdict = None if target is None else is_break(held, target)
        wanted = "no target" if target is None else _wanted(target)
        rows.append((strategy, code, held, wanted, "cannot be said" if verdict is None else verdict, time))
    columns = ["strategy", "instrument", "current, contracts", "optimal, contracts", "break", "computed (UTC)"]
    return pd.DataFrame(rows, columns=columns)


def _wanted(target: Target) -> str:
    """Lower and upper edge of a buffered target, otherwise the position and its kind."""
    if target.kind == "buffered":
        return f"{_contracts(target.lower)} / {_contracts(target.upper)}"
    return f"{_contracts(target.position)} ({target.kind})"


def _contracts(value: float | None) -> str:
    return "?" if value is None or pd.isna(value) else f"{value:.3f}"


def _breaks(books: _Books, broker: _Broker, optimal: pd.DataFrame) -> Breaks:
    by_strategy, legs = books.by_strategy(), books.legs_of()
    of_markets = {code: quantity for code, quantity in by_strategy.items() if code not in legs}
    apart = (
        spread_break(code, books.spreads.get(code), by_strategy.get(code, 0), held, books.rolls)
        for code, held in sorted(legs.items())
    )
    outside = optimal[optimal["break"].eq(True)]
    return Breaks(
        optimal=tuple(zip(outside["strategy"], outside["instrument"], strict=True)),
        instrument_vs_contract=tuple(position_breaks(of_markets, books.outright())),
        broker_vs_contract=(
            None if broker.positions is None else tuple(position_breaks(books.contracts, broker.positions))
        ),
        trades=None if broker.fills is None else tuple(trade_breaks(books.fills, broker.fills)),
        spreads=tuple(each for each in apart if each is not None),
    )


def _headline(breaks: Breaks) -> str:
    counts = {
        "optimal vs actual": len(breaks.optimal),
        "instrument vs contract": len(breaks.instrument_vs_contract),
        "spread vs legs": len(breaks.spreads),
        "broker vs contract": len(breaks.broker_vs_contract or ()),
        "trades": len(breaks.trades or ()),
    }
    found = ", ".join(f"{what} {count}" for what, count in counts.items() if count)
    text = f"Breaks: {found}." if found else "No breaks."
    if breaks.unknown:
        return f"{text if found else 'No breaks in our own records.'} What the broker holds is unknown."
    return text


def _sections(books: _Books, broker: _Broker, optimal: pd.DataFrame, breaks: Breaks) -> list[Section]:
    unknown = _UNKNOWN.format(broker.trouble)
    return [
        Section("Breaks", "Where two sides disagree; an unknown side is not a clean one.", _break_table(breaks)),
        Section(
            "Optimal versus actual positions",
            "A break is a position outside its rounded buffer: the market has not traded yet, or something is wrong.",
            optimal,
        ),
        Section("Positions in database", "Contracts held according to our fills.", _positions(books.contracts)),
        *_legs_section(books),
        Section(
            "Positions at broker",
            "Contracts held according to the broker.",
            unknown if broker.positions is None else _positions(broker.positions),
        ),
        Section("Trades in database", "Executions of the last 24 hours.", _fill_table(books.fills), _FILL_FORMATS),
        Section(
            "Trades at broker",
            "Executions of the last 24 hours.",
            unknown if broker.fills is None else _fill_table(broker.fills),
            _FILL_FORMATS,
        ),
        Section(
            "Trades compared",
            "Executions that only one side knows, or that the two tell differently, matched by execution id.",
            unknown if breaks.trades is None else _trade_break_table(breaks.trades),
        ),
    ]


def _legs_section(books: _Books) -> list[Section]:
    """What part of the positions in the database is held for spreads; nothing where there are none."""
    rows = [
        (spread, contract.instrument, contract.date, quantity)
        for (spread, contract), quantity in sorted(books.legs.items())
    ]
    if not rows:
        return []
    frame = pd.DataFrame(rows, columns=["spread", "instrument", "contract", "legs, contracts"])
    note = "Part of the positions above, by the contracts traded; legs between markets have rolled with their markets."
    return [Section("Legs of spreads", note, frame)]


_FILL_FORMATS = {"price, points": ",.8g", "commission": ",.2f"}


def _break_table(breaks: Breaks) -> pd.DataFrame:
    broker = breaks.broker_vs_contract
    rows = [
        ("optimal vs actual", _listed([f"{strategy}/{code}" for strategy, code in breaks.optimal])),
        ("instrument vs contract", _listed([_told(each) for each in breaks.instrument_vs_contract])),
        ("spread vs legs", _listed([str(each) for each in breaks.spreads])),
        ("broker vs contract", "unknown" if broker is None else _listed([_told(each) for each in broker])),
        (
            "trades",
            "unknown" if breaks.trades is None else _listed([f"{t.execution_id} {t.what}" for t in breaks.trades]),
        ),
    ]
    return pd.DataFrame(rows, columns=["kind", "breaks"])


def _listed(items: Sequence[str]) -> str:
    return ", ".join(items) if items else "none"


def _told(each: PositionBreak[Any]) -> str:
    return f"{each.key} ({each.ours:+d} against {each.theirs:+d})"


def _positions(held: Mapping[Contract, int]) -> pd.DataFrame:
    rows = [(contract.instrument, contract.date, quantity) for contract, quantity in sorted(held.items())]
    return pd.DataFrame(rows, columns=["instrument", "contract", "position, contracts"])


def _fill_table(fills: Sequence[Fill]) -> pd.DataFrame:
    rows = [
        (
            fill.contract.instrument,
            fill.contract.date,
            fill.filled_at,
            fill.quantity,
            fill.price,
            fill.execution_id,
            fill.order_ref,
        )
        for fill in fills
    ]
    columns = [
        "instrument",
        "contract",
        "filled (UTC)",
        "fill, contracts",
        "price, points",
        "execution id",
        "order ref",
    ]
    return pd.DataFrame(rows, columns=columns)


def _trade_break_table(breaks: Sequence[TradeBreak]) -> pd.DataFrame:
    rows = [(each.execution_id, each.what.replace("_", " "), _fill(each.ours), _fill(each.theirs)) for each in breaks]
    return pd.DataFrame(rows, columns=["execution id", "what", "database", "broker"])


def _fill(fill: Fill | None) -> str:
    return "" if fill is None else f"{fill.quantity:+d} {fill.contract} at {fill.price:,.8g}"
