"""Trades report: what was traded, how fast, and what it cost in three units."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from math import isnan
from typing import Any

import numpy as np
import pandas as pd

from pysys.desk import Desk
from pysys.domain.orders import lowest_terms, spread_price
from pysys.domain.prices import PriceRows, to_microseconds
from pysys.domain.slippage import (
    KINDS,
    Slippage,
    TradePrices,
    per_annual_volatility,
    seconds_between,
    slippage,
    summarise,
)
from pysys.reports.compose import compose
from pysys.reports.figures import bars
from pysys.reports.inputs import read_inputs
from pysys.reports.period import period
from pysys.reports.report import Format, Report, Section, second_text
from pysys.store.unit import UnitOfWork
from pysys.systems.volatility import BUSINESS_DAYS_A_YEAR, RobustVolatility

_VOLATILITY_HISTORY = timedelta(days=3 * 365)


@dataclass(frozen=True)
class _Trade:
    """One broker order with fills, and its cost. Prices are quote points of one lot, spreads in lowest terms."""

    order_id: int
    instrument: str
    strategy: str
    contracts: tuple[str, ...]
    trade: tuple[int, ...]
    fill: tuple[int, ...]
    leg_prices: tuple[float | None, ...]
    generated_at: datetime | None
    submitted_at: datetime | None
    filled_at: datetime
    prices: TradePrices
    points: Slippage
    annual_sd: float | None  # quote points
    point_value: float | None  # base currency of one point of one lot
    lots: int
    commission: float | None
    commission_currency: str | None

    @property
    def vol(self) -> Slippage:
        """Basis points of a year's standard deviation of price."""
        return self.points.scaled(per_annual_volatility(self.annual_sd))

    @property
    def cash(self) -> Slippage:
        """Base currency per lot."""
        return self.points.scaled(self.point_value)

    @property
    def cost(self) -> float | None:
        """Base currency of the whole order, mid to fill; negative is a cost."""
        per_lot = self.cash.total_trading
        return None if per_lot is None else per_lot * self.lots


def trades_report(desk: Desk, start: datetime | None = None, end: datetime | None = None) -> Report:
    """Broker orders filled in (start, end], by default the last 24 hours, with delays and slippage."""
    now = desk.clock.now()
    since, until = period(now, start, end)
    with desk.store.read() as unit:
        trades = _trades(unit, desk.config.base_currency, since, until)
        unowned = unit.reporting.unowned_fills(since, until)
    costs = [trade.cost for trade in trades if trade.cost is not None]
    base = desk.config.base_currency
    return compose(
        "Trades report",
        now,
        read_inputs(desk, min(until, now)),
        period=(since, until),
        headline=[_headline(trades, costs, base)],
        sections=_sections(trades, base, unowned),
        data={
            "orders": len(trades),
            "lots": sum(trade.lots for trade in trades),
            "total_trading_cash": sum(costs),
            "orders_without_cost": len(trades) - len(costs),
            "fills_without_order": unowned,
        },
    )


def _headline(trades: Sequence[_Trade], costs: Sequence[float], base: str) -> str:
    if not trades:
        return "No order was filled."
    text = f"{len(trades)} orders filled; trading them {'cost' if sum(costs) <= 0 else 'earned'} "
    text += f"{abs(sum(costs)):,.2f} {base} against the mid price"
    unknown = len(trades) - len(costs)
    return f"{text}, {unknown} of unknown cost left out." if unknown else f"{text}."


def _trades(unit: UnitOfWork, base: str, since: datetime, until: datetime) -> list[_Trade]:
    orders = unit.reporting.filled_broker_orders(since, until)
    legs = unit.reporting.order_legs(orders["id"].tolist())
    codes = sorted(set(orders["instrument"]))
    sds = {code: _annual_sd(unit, code, until) for code in codes}
    rates = _base_rates(unit.reporting.last_dollar_rates(until), base)
    values = unit.reporting.point_values()
    trades = []
    for row in orders.astype(object).to_dict("records"):
        code = str(row["instrument"])
        rate = rates.get(values[code].currency)
        trade = _trade({str(k): v for k, v in row.items()}, legs[legs["order_id"] == row["id"]])
        point_value = None if rate is None else values[code].point_size * rate
        trades.append(replace(trade, annual_sd=sds[code], point_value=point_value))
    return trades


def _base_rates(dollars: Mapping[str, float], base: str) -> dict[str, float]:
    """Base currency for one unit of each currency, from USD for one; only the base while its own rate is missing."""
    known = {**dollars, "USD": 1.0}
    if base not in known:
        return {base: 1.0}
    return {currency: rate / known[base] for currency, rate in known.items()}


def _trade(row: Mapping[str, Any], legs: pd.DataFrame) -> _Trade:
    wanted = tuple(int(n) for n in legs["trade"])
    filled = tuple(int(n) for n in legs["fill"])
    leg_prices = tuple(_number(price) for price in legs["filled_price"])
    known = [price for price in leg_prices if price is not None]
    prices = TradePrices(
        sign=1 if wanted and wanted[0] > 0 else -1,
        reference=_number(row["reference_price"]),
        mid=_number(row["mid_price"]),
        side=_number(row["side_price"]),
        limit=_number(row["limit_price"]),
        parent_limit=_number(row["parent_limit_price"]),
        fill=spread_price(wanted, tuple(known)) if wanted and len(known) == len(wanted) else None,
    )
    return _Trade(
        order_id=int(row["id"]),
        instrument=str(row["instrument"]),
        strategy=str(row["strategy"]),
        contracts=tuple(legs["contract"]),
        trade=wanted,
        fill=filled,
        leg_prices=leg_prices,
        generated_at=_moment(row["generated_at"]),
        submitted_at=_moment(row["submitted_at"]),
        filled_at=pd.Timestamp(row["filled_at"]).to_pydatetime(),
        prices=prices,
        points=slippage(prices),
        annual_sd=None,
        point_value=None,
        lots=abs(filled[0] // lowest_terms(wanted)[0][0]) if wanted else 0,
        commission=_number(row["commission"]),
        commission_currency=row["commission_currency"],
    )


def _number(value: Any) -> float | None:
    return None if value is None or isnan(value) else float(value)


def _moment(value: Any) -> datetime | None:
    return None if value is None or pd.isna(value) else pd.Timestamp(value).to_pydatetime()


def _annual_sd(unit: UnitOfWork, instrument: str, until: datetime) -> float | None:
    since = to_microseconds(until - _VOLATILITY_HISTORY)
    return annual_price_sd(unit.prices.adjusted(instrument, since), until)


def annual_price_sd(adjusted: PriceRows, until: datetime) -> float | None:
    """Standard deviation of a year's price change, quote points, as the systems estimate it; None while too short."""
    kept = adjusted.rows(adjusted.times <= to_microseconds(until))
    daily = pd.Series(kept.price, index=pd.to_datetime(kept.times, unit="us")).dropna().resample("1B").last()
    changes = np.asarray(daily.ffill().diff(), dtype=np.float64)[:, np.newaxis]
    if len(changes) == 0:
        return None
    estimates = RobustVolatility().estimate(changes, np.ones(changes.shape, dtype=bool))[:, 0]
    return None if np.isnan(estimates[-1]) else float(estimates[-1] * np.sqrt(BUSINESS_DAYS_A_YEAR))


def _price(value: float) -> str:
    return f"{value:z,.8g}"


def _signed_tuple(quantities: Iterable[int]) -> str:
    return ", ".join(f"{quantity:+d}" for quantity in quantities)


def _sections(trades: Sequence[_Trade], base: str, unowned: int) -> list[Section]:
    points, vol, cash = "points", "bp of annual sd", f"{base} per lot"
    sections = [
        Section(
            "Broker orders",
            "Orders filled in the period; a spread shows each leg, and its price with the legs in lowest terms.",
            _order_table(trades),
            {"price, points": _price, "commission": ",.2f", "filled (UTC)": second_text},
        ),
        Section(
            "Delays",
            "From decision to submission to the last fill; a delay that would be negative is left blank.",
            _delay_table(trades),
            {
                **dict.fromkeys(("generated (UTC)", "submitted (UTC)", "filled (UTC)"), second_text),
                **dict.fromkeys(("generated to submitted, s", "submitted to filled, s"), ",.1f"),
            },
        ),
        Section(
            "Slippage in price",
            "Quote points per lot: negative is a cost; delay is from the reference to the mid at submission.",
            _slippage_table(trades, lambda t: t.points, points, _price_columns),
            {**_formats(points, _price), **dict.fromkeys(_PRICE_NAMES, _price)},
        ),
        Section(
            "Slippage against volatility",
            "The same in hundredths of a percent of one year's standard deviation of price.",
            _slippage_table(trades, lambda t: t.vol, vol, lambda t: {"annual sd, points": t.annual_sd}),
            {**_formats(vol, ",.2f"), "annual sd, points": _price},
        ),
        Section(
            "Slippage in money",
            "The same times the value of a point; the last column is for all lots of the order.",
            _slippage_table(trades, lambda t: t.cash, cash, lambda t: _cash_columns(t, base)),
            {**_formats(cash, ",.2f"), f"one point, {base}": ",.2f"},
        ),
        _statistics("instrument", trades, base),
        _statistics("strategy", trades, base),
        _figure(trades, base),
    ]
    if unowned:
        text = f"{unowned} fills in the period belong to no order of ours; the reconcile report lists them."
        sections.insert(0, Section("Fills without an order", "Executions nobody here asked for.", text))
    return sections


_PRICE_NAMES = ("reference", "parent limit", "mid", "side", "limit", "filled")


def _formats(unit: str, chosen: Format) -> dict[str, Format]:
    return {_name(kind, unit): chosen for kind in KINDS}


def _name(kind: str, unit: str) -> str:
    return f"{kind.replace('_', ' ')}, {unit}"


def _order_table(trades: Sequence[_Trade]) -> pd.DataFrame:
    columns = [
        "order",
        "instrument",
        "strategy",
        "contracts",
        "filled (UTC)",
        "fill, contracts",
        "leg prices, points",
        "price, points",
        "commission",
        "currency",
    ]
    rows = [
        (
            str(t.order_id),
            t.instrument,
            t.strategy,
            ", ".join(t.contracts),
            t.filled_at,
            _signed_tuple(t.fill),
            ", ".join("" if price is None else _price(price) for price in t.leg_prices),
            t.prices.fill,
            t.commission,
            t.commission_currency,
        )
        for t in trades
    ]
    return pd.DataFrame(rows, columns=columns)


def _delay_table(trades: Sequence[_Trade]) -> pd.DataFrame:
    columns = [
        "order",
        "instrument",
        "generated (UTC)",
        "submitted (UTC)",
        "filled (UTC)",
        "generated to submitted, s",
        "submitted to filled, s",
    ]
    rows = [
        (
            str(t.order_id),
            t.instrument,
            t.generated_at,
            t.submitted_at,
            t.filled_at,
            seconds_between(t.generated_at, t.submitted_at),
            seconds_between(t.submitted_at, t.filled_at),
        )
        for t in trades
    ]
    return pd.DataFrame(rows, columns=columns)


def _price_columns(trade: _Trade) -> dict[str, float | None]:
    p = trade.prices
    return dict(zip(_PRICE_NAMES, (p.reference, p.parent_limit, p.mid, p.side, p.limit, p.fill), strict=True))


def _cash_columns(trade: _Trade, base: str) -> dict[str, float | None]:
    return {f"one point, {base}": trade.point_value, f"total trading, {base}": trade.cost}


def _slippage_table(
    trades: Sequence[_Trade],
    in_unit: Callable[[_Trade], Slippage],
    unit: str,
    besides: Callable[[_Trade], Mapping[str, float | None]],
) -> pd.DataFrame:
    rows = []
    for trade in trades:
        costs = in_unit(trade)
        row: dict[str, Any] = {
            "order": str(trade.order_id),
            "instrument": trade.instrument,
            "strategy": trade.strategy,
            "trade, contracts": _signed_tuple(trade.trade),
        }
        extra = dict(besides(trade))
        last = {name: extra.pop(name) for name in [*extra] if name.startswith("total trading")}
        row |= extra
        row |= {_name(kind, unit): getattr(costs, kind) for kind in KINDS}
        rows.append(row | last)
    fixed = ["order", "instrument", "strategy", "trade, contracts", *(_name(kind, unit) for kind in KINDS)]
    frame = pd.DataFrame(rows, columns=None if rows else fixed)
    measured = [_name(kind, unit) for kind in KINDS]
    return frame.astype(dict.fromkeys(measured, float))


def _statistics(by: str, trades: Sequence[_Trade], base: str) -> Section:
    units: Mapping[str, Callable[[_Trade], Slippage]] = {
        "points": lambda trade: trade.points,
        "bp of annual sd": lambda trade: trade.vol,
        f"{base} per lot": lambda trade: trade.cash,
    }
    rows = []
    for owner in sorted({getattr(trade, by) for trade in trades}):
        of_owner = [trade for trade in trades if getattr(trade, by) == owner]
        for kind in KINDS:
            for unit, in_unit in units.items():
                s = summarise(getattr(in_unit(trade), kind) for trade in of_owner)
                if s.count:
                    rows.append((owner, kind.replace("_", " "), unit, s.total, s.count, s.mean, s.lower, s.upper))
    columns = [by, "slippage", "unit", "total", "orders", "mean", "mean - 2 sd", "mean + 2 sd"]
    return Section(
        f"Statistics by {by}",
        "Each kind of slippage over the orders in which it is known: negative is a cost.",
        pd.DataFrame(rows, columns=columns),
        dict.fromkeys(("total", "mean", "mean - 2 sd", "mean + 2 sd"), ",.4g"),
    )


def _figure(trades: Sequence[_Trade], base: str) -> Section:
    by_instrument: dict[str, float] = {}
    for trade in trades:
        if trade.cost is not None:
            by_instrument[trade.instrument] = by_instrument.get(trade.instrument, 0.0) + trade.cost
    figure = bars(
        by_instrument,
        title="Cost of trading by instrument (mid at submission to fill)",
        xlabel=f"{base}, negative is a cost",
        ylabel="Instrument",
    )
    return Section("Slippage by instrument", "All orders of the period, in money.", figure)
