"""Capital, and the positions strategies want with it."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import insert, select

from pysys.broker.port import AccountValue
from pysys.domain.capital import CapitalState
from pysys.domain.targets import Target
from pysys.store.repository import Repository, new_id
from pysys.store.schema import (
    account_balances,
    account_marks,
    account_polls,
    backtest_runs,
    capital,
    optimal_positions,
    strategy_capital,
)
from pysys.store.target_rows import target_from_row, target_to_row


@dataclass(frozen=True, slots=True)
class BacktestRun:
    """One production backtest: what it decided about, and where its saved state is."""

    strategy: str
    time: datetime  # UTC
    capital: float  # base currency
    universe: tuple[str, ...]  # every instrument the run decided about
    config_hash: str
    saved_state: str  # its time stamp, YYYYmmdd_HHMMSS
    id: int = 0


class Targets(Repository):
    """Account polls, capital, and optimal positions. Rows are added, never changed."""

    def add_poll(self, value: AccountValue, *, accepted: bool) -> int:
        """Keep the broker's valuation as it gave it: total, balances by currency, marks."""
        result = self.connection.execute(
            insert(account_polls).values(
                time=value.moment,
                account=value.account,
                base_currency=value.base_currency,
                total=value.total,
                accepted=accepted,
                **self.audit,
            )
        )
        poll_id = new_id(result)
        if value.balances:
            rows = [
                {"poll_id": poll_id, "currency": b.currency, "balance": b.balance, "fx_rate": b.fx_rate}
                for b in value.balances
            ]
            self.connection.execute(insert(account_balances), rows)
        if value.marks:
            marks = [
                {"poll_id": poll_id, "instrument": c.instrument, "contract": c.date, "price": price}
                for c, price in value.marks.items()
            ]
            self.connection.execute(insert(account_marks), marks)
        return poll_id

    def has_poll_at(self, moment: datetime) -> bool:
        query = select(account_polls.c.id).where(account_polls.c.time == moment)
        return self.connection.execute(query).first() is not None

    def latest_capital(self) -> tuple[datetime, CapitalState] | None:
        row = self.connection.execute(select(capital).order_by(capital.c.time.desc()).limit(1)).one_or_none()
        if row is None:
            return None
        return row.time, CapitalState(row.broker_value, row.total, row.maximum, row.accumulated)

    def add_capital(
        self, at: datetime, state: CapitalState, *, method: str, poll_id: int | None, who: str, why: str
    ) -> None:
        self.connection.execute(
            insert(capital).values(
                time=at,
                broker_value=state.broker_value,
                total=state.total,
                maximum=state.maximum,
                accumulated=state.accumulated,
                method=method,
                poll_id=poll_id,
                who=who,
                why=why,
                **self.audit,
            )
        )

    def latest_strategy_capital(self) -> dict[str, tuple[datetime, float]]:
        """Latest allocation of each strategy: (time, base currency)."""
        query = select(strategy_capital).order_by(strategy_capital.c.time)
        return {row.strategy: (row.time, row.capital) for row in self.connection.execute(query)}

    def add_strategy_capital(self, at: datetime, allocation: dict[str, float]) -> None:
        rows: list[dict[str, object]] = [
            {"strategy": strategy, "time": at, "capital": amount, **self.audit}
            for strategy, amount in allocation.items()
        ]
        self.connection.execute(insert(strategy_capital), rows)

    def add_backtest(self, run: BacktestRun, targets: Iterable[Target]) -> int:
        """Store a backtest and the positions it wants, together."""
        result = self.connection.execute(
            insert(backtest_runs).values(
                strategy=run.strategy,
                time=run.time,
                capital=run.capital,
                universe=list(run.universe),
                config_hash=run.config_hash,
                saved_state=run.saved_state,
                **self.audit,
            )
        )
        backtest_id = new_id(result)
        rows = [{**target_to_row(target), "backtest_id": backtest_id, **self.audit} for target in targets]
        if rows:
            self.connection.execute(insert(optimal_positions), rows)
        return backtest_id

    def latest_backtest(self, strategy: str) -> BacktestRun | None:
        query = select(backtest_runs).where(backtest_runs.c.strategy == strategy)
        row = self.connection.execute(query.order_by(backtest_runs.c.time.desc()).limit(1)).one_or_none()
        if row is None:
            return None
        return BacktestRun(
            row.strategy, row.time, row.capital, tuple(row.universe), row.config_hash, row.saved_state, row.id
        )

    def targets_of(self, backtest_id: int) -> Sequence[Target]:
        """What one backtest wanted, by instrument."""
        table = optimal_positions.c
        query = select(optimal_positions).where(table.backtest_id == backtest_id).order_by(table.instrument)
        return [target_from_row(row) for row in self.connection.execute(query).mappings()]
