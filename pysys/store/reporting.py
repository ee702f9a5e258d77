"""Read-only questions the reports ask. Tables come back as data frames, times as aware UTC."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

import pandas as pd
from sqlalchemy import ColumnElement, FromClause, Select, Table, and_, case, func, select

from pysys.domain.contracts import Contract
from pysys.domain.orders import ROLL_PSEUDO_STRATEGY, Fill
from pysys.domain.pandl import Balance, BookedFill, PointValue, Poll, Records, SpreadLegs, StrategyMove
from pysys.domain.prices import to_microseconds, to_moment
from pysys.domain.reconciliation import Target
from pysys.store.repository import Repository
from pysys.store.schema import (
    account_balances,
    account_marks,
    account_polls,
    adjusted_prices,
    broker_order_legs,
    broker_orders,
    capital,
    contract_orders,
    contract_prices,
    fills,
    fx_prices,
    instrument_locks,
    instrument_orders,
    instruments,
    kill_switch,
    optimal_positions,
    overrides,
    position_limits,
    price_outcomes,
    price_series,
    processes,
    quarantine,
    runs,
    strategy_position_history,
)
from pysys.store.trade_limits import TradeLimits


class Reporting(Repository):
    """What the reports read. `until` leaves out whatever is later, so that the past can be reported on."""

    def _frame(self, query: Select[Any]) -> pd.DataFrame:
        result = self.connection.execute(query)
        return pd.DataFrame([tuple(row) for row in result], columns=list(result.keys()))

    # --- markets ---

    def instruments(self) -> pd.DataFrame:
        """code, currency, point_size, asset_class, status of every instrument."""
        c = instruments.c
        return self._frame(select(c.code, c.currency, c.point_size, c.asset_class, c.status).order_by(c.code))

    def point_values(self) -> dict[str, PointValue]:
        query = select(instruments.c.code, instruments.c.currency, instruments.c.point_size)
        return {code: PointValue(currency, size) for code, currency, size in self.connection.execute(query)}

    # --- age of inputs ---

    def last_price_times(self, kind: str, until: datetime) -> dict[str, datetime | None]:
        """Time of the last price of every series of `kind` (adjusted, fx); None for a series without one."""
        table = {"adjusted": adjusted_prices, "fx": fx_prices}[kind]
        last = _last_time(table, until).scalar_subquery()
        query = select(price_series.c.code, last).where(price_series.c.kind == kind).order_by(price_series.c.code)
        return {code: None if time is None else to_moment(time) for code, time in self.connection.execute(query)}

    def last_poll(self, until: datetime) -> tuple[datetime, bool] | None:
        """Time of the last poll of the account, and whether it was accepted."""
        query = select(account_polls.c.time, account_polls.c.accepted).where(account_polls.c.time <= until)
        row = self.connection.execute(query.order_by(account_polls.c.time.desc()).limit(1)).one_or_none()
        return None if row is None else (row.time, row.accepted)

    def last_accepted_poll(self, until: datetime) -> datetime | None:
        c = account_polls.c
        query = select(func.max(c.time)).where(c.time <= until, c.accepted)
        found: datetime | None = self.connection.execute(query).scalar_one()
        return found

    def last_optimal(self, until: datetime) -> pd.DataFrame:
        """strategy, instrument, time of the last optimal position; oldest first."""
        c = optimal_positions.c
        last = func.max(c.time).label("time")
        query = select(c.strategy, c.instrument, last).where(c.time <= until).group_by(c.strategy, c.instrument)
        return self._frame(query.order_by(last, c.strategy, c.instrument))

    # --- status ---

    def active_instrument_orders(self) -> pd.DataFrame:
        """id, strategy, instrument, trade, fill, generated_at of the orders on the instrument stack, oldest first."""
        c = instrument_orders.c
        query = select(c.id, c.strategy, c.instrument, c.trade, c.fill, c.generated_at)
        return self._frame(query.where(c.active).order_by(c.id))

    def processes(self) -> pd.DataFrame:
        """name, status, last_start, last_end of every process that ever ran or was controlled."""
        c = processes.c
        return self._frame(select(c.name, c.status, c.last_start, c.last_end).order_by(c.name))

    def last_runs(self, until: datetime) -> pd.DataFrame:
        """process, method, started_at, ended_at, status, error of the last run of each method; oldest first."""
        c = runs.c
        place = func.row_number().over(partition_by=(c.process, c.method), order_by=(c.started_at.desc(), c.id.desc()))
        newest = select(runs, place.label("place")).where(c.started_at <= until).subquery().c
        query = select(newest.process, newest.method, newest.started_at, newest.ended_at, newest.status, newest.error)
        return self._frame(query.where(newest.place == 1).order_by(newest.started_at, newest.method))

    def unsuccessful_runs(self, since: datetime, until: datetime) -> pd.DataFrame:
        """process, method, started_at, status, error of runs that failed, died or did not complete."""
        c = runs.c
        query = select(c.process, c.method, c.started_at, c.status, c.error).where(
            c.started_at > since, c.started_at <= until, c.status.in_(("failed", "incomplete", "dead"))
        )
        return self._frame(query.order_by(c.started_at))

    def trade_limits(self, now: datetime) -> pd.DataFrame:
        """strategy, instrument, period_days, trade_limit, used, reset_at, in the period that `now` is in."""
        columns = ["strategy", "instrument", "period_days", "trade_limit", "used", "reset_at"]
        limits = TradeLimits(self.connection, self.author).all(now)
        return pd.DataFrame(
            [(x.strategy, x.instrument, x.period_days, x.limit, x.used, x.reset_at) for x in limits], columns=columns
        )

    def position_limits(self) -> dict[tuple[str, str], int]:
        """Limits by (strategy, instrument); a blank strategy is the whole desk."""
        c = position_limits.c
        query = select(c.strategy, c.instrument, c.position_limit).order_by(c.strategy, c.instrument)
        return {(strategy, code): limit for strategy, code, limit in self.connection.execute(query)}

    def overrides(self) -> pd.DataFrame:
        """strategy, instrument, kind, factor, set_at, who, why."""
        c = overrides.c
        query = select(c.strategy, c.instrument, c.kind, c.factor, c.set_at, c.who, c.why)
        return self._frame(query.order_by(c.strategy, c.instrument))

    def locks(self) -> pd.DataFrame:
        """instrument, owner, locked_at, who, why."""
        c = instrument_locks.c
        query = select(c.instrument, c.owner, c.locked_at, c.who, c.why)
        return self._frame(query.order_by(c.instrument, c.owner))

    def kill_switch(self) -> tuple[bool, datetime, str, str] | None:
        """(engaged, time, who, why) as last set; None when it was never touched."""
        c = kill_switch.c
        query = select(c.engaged, c.time, c.who, c.why).order_by(c.id.desc()).limit(1)
        row = self.connection.execute(query).one_or_none()
        return None if row is None else (row.engaged, row.time, row.who, row.why)

    def quarantined(self) -> pd.DataFrame:
        """kind, code, contract, rows, first, last of price rows that wait for a person."""
        c = quarantine.c
        first = func.min(c.time).label("first")
        last = func.max(c.time).label("last")
        query = select(c.kind, c.code, c.contract, func.count().label("rows"), first, last)
        query = query.where(c.resolved_at.is_(None)).group_by(c.kind, c.code, c.contract)
        return self._frame(query.order_by(c.kind, c.code, c.contract))

    def price_outcomes(self) -> pd.DataFrame:
        """kind, outcome, series: how many series the last update of each kind left in which state."""
        c = price_outcomes.c
        query = select(c.kind, c.outcome, func.count().label("series")).group_by(c.kind, c.outcome)
        return self._frame(query.order_by(c.kind, c.outcome))

    # --- rolls ---

    def daily_volumes(self, instrument: str, since: datetime, until: datetime) -> pd.DataFrame:
        """contract, time, volume of daily bars stamped in (since, until], oldest first."""
        p, s = contract_prices.c, price_series.c
        query = select(s.contract, p.time, p.volume).join(price_series, s.id == p.series_id)
        query = query.where(s.kind == "contract_daily", s.code == instrument)
        query = query.where(p.time > to_microseconds(since), p.time <= to_microseconds(until))
        frame = self._frame(query.order_by(s.contract, p.time))
        frame["time"] = pd.to_datetime(frame["time"], unit="us", utc=True)
        frame["volume"] = frame["volume"].astype(float)
        return frame

    # --- trades ---

    def filled_broker_orders(self, since: datetime, until: datetime) -> pd.DataFrame:
        """Broker orders last filled in (since, until] with what their parents wanted, oldest first.

        id, instrument, strategy, filled_at, submitted_at, limit_price, side_price, mid_price, commission,
        commission_currency, roll_order, algo_used, reference_price, parent_limit_price, generated_at.
        """
        b, c, i = broker_orders.c, contract_orders.c, instrument_orders.c
        last_fill = func.max(fills.c.filled_at)
        filled = (
            select(fills.c.broker_order_id, last_fill.label("filled_at"))
            .where(fills.c.broker_order_id.is_not(None))
            .group_by(fills.c.broker_order_id)
            .subquery()
        )
        query = select(
            b.id, b.instrument, b.strategy, filled.c.filled_at, b.submitted_at, b.limit_price, b.side_price,
            b.mid_price, b.commission, b.commission_currency, b.roll_order, b.algo_used, c.reference_price,
            c.limit_price.label("parent_limit_price"), i.generated_at,
        )  # fmt: skip
        query = query.join(filled, filled.c.broker_order_id == b.id)
        query = query.join(contract_orders, c.id == b.parent_id).join(instrument_orders, i.id == c.parent_id)
        query = query.where(filled.c.filled_at > since, filled.c.filled_at <= until)
        return self._frame(query.order_by(filled.c.filled_at, b.id))

    def order_legs(self, order_ids: Iterable[int]) -> pd.DataFrame:
        """order_id, leg, contract, trade, and the fills booked: fill (signed contracts), filled_price (weighted)."""
        wanted, found = list(order_ids), []
        for chunk in (wanted[n : n + 500] for n in range(0, len(wanted), 500)):
            leg, fill = broker_order_legs.c, fills.c
            booked = and_(
                fill.broker_order_id == leg.order_id,
                fill.contract == leg.contract,
                fill.instrument == leg.instrument,
            )
            query = select(
                leg.order_id, leg.leg, leg.instrument, leg.contract, leg.trade,
                func.coalesce(func.sum(fill.quantity), 0).label("fill"),
                (func.sum(fill.quantity * fill.price) / func.sum(fill.quantity)).label("filled_price"),
            )  # fmt: skip
            query = query.join(fills, booked, isouter=True).where(leg.order_id.in_(chunk))
            query = query.group_by(leg.order_id, leg.leg, leg.instrument, leg.contract, leg.trade)
            found.append(self._frame(query.order_by(leg.order_id, leg.leg)))
        columns = ["order_id", "leg", "instrument", "contract", "trade", "fill", "filled_price"]
        return pd.concat(found, ignore_index=True) if found else pd.DataFrame(columns=columns)

    def fills_between(self, since: datetime, until: datetime) -> list[Fill]:
        """Executions booked with filled_at in (since, until], oldest first."""
        c = fills.c
        query = select(fills).where(c.filled_at > since, c.filled_at <= until).order_by(c.filled_at, c.id)
        return [
            Fill(
                row.broker,
                row.execution_id,
                row.order_ref,
                Contract(row.instrument, row.contract),
                row.quantity,
                row.price,
                row.filled_at,
                row.commission,
                row.commission_currency,
            )
            for row in self.connection.execute(query)
        ]

    def last_dollar_rates(self, until: datetime) -> dict[str, float]:
        """Last stored rate of each currency: USD for one unit."""
        newest = fx_prices.alias()
        at = select(func.max(newest.c.time)).where(
            newest.c.series_id == price_series.c.id,
            newest.c.time <= to_microseconds(until),
            newest.c.price.is_not(None),
        )
        query = select(price_series.c.code, fx_prices.c.price).join(
            fx_prices, fx_prices.c.series_id == price_series.c.id
        )
        query = query.where(price_series.c.kind == "fx", fx_prices.c.time == at.scalar_subquery())
        return {row.code: row.price for row in self.connection.execute(query)}

    # --- profit and loss ---

    def capital(self, until: datetime) -> float | None:
        """Total capital as last written, base currency."""
        query = select(capital.c.total).where(capital.c.time <= until).order_by(capital.c.time.desc()).limit(1)
        found: float | None = self.connection.execute(query).scalar_one_or_none()
        return found

    def polls(self, start: datetime, end: datetime) -> list[Poll]:
        """Accepted polls up to `end`, beginning with the last at or before `start`, else with the first there is."""
        c = account_polls.c
        before = self.connection.execute(select(func.max(c.time)).where(c.time <= start, c.accepted)).scalar_one()
        first = start if before is None else before
        chosen = and_(c.time >= first, c.time <= end, c.accepted)
        rows = self.connection.execute(select(c.id, c.time, c.total).where(chosen).order_by(c.time)).all()
        balances = self._by_poll(account_balances, chosen)
        marks = self._by_poll(account_marks, chosen)
        return [
            Poll(
                time=row.time,
                total=row.total,
                balances={b.currency: Balance(b.balance, b.fx_rate) for b in balances[row.id]},
                marks={Contract(m.instrument, m.contract): m.price for m in marks[row.id]},
            )
            for row in rows
        ]

    def _by_poll(self, table: Table, chosen: ColumnElement[bool]) -> Mapping[int, Sequence[Any]]:
        query = select(table).join(account_polls, account_polls.c.id == table.c.poll_id).where(chosen)
        found: dict[int, list[Any]] = defaultdict(list)
        for row in self.connection.execute(query):
            found[row.poll_id].append(row)
        return found

    def refused_polls(self, start: datetime, end: datetime) -> int:
        """Polls in (start, end] whose change was too large to be believed unseen."""
        c = account_polls.c
        query = select(func.count()).where(c.time > start, c.time <= end, ~c.accepted)
        return int(self.connection.execute(query).scalar_one())

    def records(self, start: datetime, end: datetime) -> Records:
        """Our own records of the time between two polls: fills, positions at its start, and their changes."""
        return Records(
            opening=self.positions_at(start),
            fills=self._booked_fills(start, end),
            opening_strategies=self._strategies_at(start),
            moves=self._strategy_moves(start, end),
            markets=self.point_values(),
            opening_legs=self.spread_legs_at(start),
        )

    def positions_at(self, moment: datetime) -> dict[Contract, int]:
        """Contracts held at a moment: the sum of the fills until then. Flat contracts are absent."""
        c = fills.c
        held = func.sum(c.quantity)
        query = select(c.instrument, c.contract, held).where(c.filled_at <= moment)
        query = query.group_by(c.instrument, c.contract).having(held != 0)
        return {Contract(code, date): int(n) for code, date, n in self.connection.execute(query)}

    def spread_legs_at(self, moment: datetime) -> SpreadLegs:
        """What was held at a moment as legs of spread instruments: the sum of their fills until then."""
        c, held = fills.c, func.sum(fills.c.quantity)
        spread, between = instrument_orders.c.instrument, contract_orders.c.inter_spread_order
        query = select(spread, between, c.instrument, c.contract, held).select_from(_families_of_fills())
        query = query.where(c.filled_at <= moment, spread != c.instrument)
        query = query.group_by(spread, between, c.instrument, c.contract)
        legs, pooled = {}, Counter[tuple[str, str]]()
        for code, is_between, market, date, quantity in self.connection.execute(query):
            if is_between:
                pooled[code, market] += int(quantity)
            elif quantity:
                legs[code, Contract(market, date)] = int(quantity)
        return SpreadLegs(legs, {key: quantity for key, quantity in pooled.items() if quantity})

    def _booked_fills(self, start: datetime, end: datetime) -> list[BookedFill]:
        c, spread = fills.c, instrument_orders.c.instrument.label("family")
        query = select(fills, spread, contract_orders.c.inter_spread_order).select_from(_families_of_fills())
        query = query.where(c.filled_at > start, c.filled_at <= end).order_by(c.filled_at, c.id)
        return [
            BookedFill(
                contract=Contract(row.instrument, row.contract),
                strategy=row.strategy,
                quantity=row.quantity,
                price=row.price,
                filled_at=row.filled_at,
                commission=row.commission,
                commission_currency=row.commission_currency,
                spread=None if row.family in (None, row.instrument) else row.family,
                between_markets=bool(row.inter_spread_order),
            )
            for row in self.connection.execute(query)
        ]

    def _strategies_at(self, moment: datetime) -> dict[tuple[str, str], int]:
        h = strategy_position_history.c
        held = func.sum(h.change)
        query = select(h.strategy, h.instrument, held).join(fills, fills.c.id == h.fill_id, isouter=True)
        query = query.where(_effective() <= moment, h.strategy != ROLL_PSEUDO_STRATEGY)
        query = query.group_by(h.strategy, h.instrument).having(held != 0)
        return {(strategy, code): int(n) for strategy, code, n in self.connection.execute(query)}

    def _strategy_moves(self, start: datetime, end: datetime) -> list[StrategyMove]:
        h = strategy_position_history.c
        query = select(h.strategy, h.instrument, _effective().label("effective"), h.change)
        query = query.join(fills, fills.c.id == h.fill_id, isouter=True).where(
            _effective() > start, _effective() <= end, h.strategy != ROLL_PSEUDO_STRATEGY
        )
        rows = self.connection.execute(query.order_by("effective", h.id))
        return [StrategyMove(*row) for row in rows]

    def last_contract_prices(self, wanted: Iterable[Contract], until: datetime) -> dict[Contract, float]:
        """Our own last final price of each contract, daily or intraday; contracts without one are absent."""
        found = {}
        p, s = contract_prices.c, price_series.c
        for contract in wanted:
            query = select(p.final).join(price_series, s.id == p.series_id)
            query = query.where(
                s.kind.in_(("contract_daily", "contract_intraday")),
                s.code == contract.instrument,
                s.contract == contract.date,
                p.time <= to_microseconds(until),
                p.final.is_not(None),
            )
            # of two bars with one stamp, the daily one
            last = self.connection.execute(query.order_by(p.time.desc(), s.kind).limit(1)).scalar_one_or_none()
            if last is not None:
                found[contract] = float(last)
        return found

    # --- reconciliation ---

    def latest_targets(self) -> dict[tuple[str, str], tuple[datetime, Target]]:
        """Latest optimal position of each (strategy, instrument), and when it was computed."""
        c = optimal_positions.c
        place = func.row_number().over(partition_by=(c.strategy, c.instrument), order_by=c.time.desc())
        newest = select(optimal_positions, place.label("place")).subquery().c
        query = select(
            newest.strategy, newest.instrument, newest.time, newest.kind, newest.position, newest.lower, newest.upper
        )
        rows = self.connection.execute(query.where(newest.place == 1).order_by(newest.strategy, newest.instrument))
        return {
            (row.strategy, row.instrument): (row.time, Target(row.kind, row.position, row.lower, row.upper))
            for row in rows
        }

    def unowned_fills(self, since: datetime, until: datetime) -> int:
        """Fills in (since, until] that belong to no broker order of ours."""
        c = fills.c
        query = select(func.count()).where(c.filled_at > since, c.filled_at <= until, c.broker_order_id.is_(None))
        return int(self.connection.execute(query).scalar_one())


def _last_time(table: Table, until: datetime) -> Select[Any]:
    return select(func.max(table.c.time)).where(
        table.c.series_id == price_series.c.id, table.c.time <= to_microseconds(until), table.c.price.is_not(None)
    )


def _families_of_fills() -> FromClause:
    """Fills with the contract and instrument orders above them, where they belong to orders of ours."""
    parents = fills.outerjoin(broker_orders, broker_orders.c.id == fills.c.broker_order_id)
    parents = parents.outerjoin(contract_orders, contract_orders.c.id == broker_orders.c.parent_id)
    return parents.outerjoin(instrument_orders, instrument_orders.c.id == contract_orders.c.parent_id)


def _effective() -> ColumnElement[datetime]:
    """When a strategy's position changed: when its fill happened, or when it was changed by hand."""
    h = strategy_position_history.c
    return case((fills.c.filled_at.is_not(None), fills.c.filled_at), else_=h.time)
