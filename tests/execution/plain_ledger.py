"""A plain model of the order ledger: executions added up anew, by whose they are, against every total that is kept.

What is told from the broker is a fact; so is what a person booked. Whose an execution is, its order reference says.
"""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from math import ceil, gcd
from typing import Any

import pytest
from sqlalchemy import Table, select

from pysys.config import Config
from pysys.domain.contracts import Contract
from pysys.domain.limits import TradeLimit
from pysys.domain.netting import NETTED
from pysys.domain.orders import Fill
from pysys.execution.roll_debts import MADE_GOOD_OTHERWISE
from pysys.store import schema
from pysys.store.unit import Store

LIVE = ("intended", "working")
Legs = dict[Contract, tuple[int, float]]  # contracts, and the sum of contracts x price


def standing(facts: Sequence[Fill]) -> list[Fill]:
    """The executions that count: not taken back, and not replaced."""
    gone = {name for fact in facts for name in (fact.corrects, fact.reverses) if name is not None}
    return [fact for fact in facts if fact.reverses is None and fact.execution_id not in gone]


def added_up(facts: Sequence[Fill]) -> Legs:
    legs: Legs = {}
    for fact in facts:
        contracts, value = legs.get(fact.contract, (0, 0.0))
        legs[fact.contract] = contracts + fact.quantity, value + fact.quantity * fact.price
    return legs


@dataclass
class Books:
    """The tables of the ledger, read in one transaction and linked by hand."""

    config: Config
    rows: dict[str, list[Any]]

    @classmethod
    def read(cls, store: Store, config: Config) -> "Books":
        tables: tuple[Table, ...] = (
            schema.instrument_orders, schema.contract_orders, schema.contract_order_legs, schema.broker_orders,
            schema.broker_order_legs, schema.fills, schema.contract_positions, schema.strategy_positions,
            schema.contract_position_history, schema.strategy_position_history, schema.instruments,
        )  # fmt: skip
        with store.read() as unit:
            return cls(
                config, {t.name: list(unit.connection.execute(select(t).order_by(*t.primary_key))) for t in tables}
            )

    def __post_init__(self) -> None:
        self.families = {row.id: row for row in self.rows["instrument_orders"]}
        self.children = {row.id: row for row in self.rows["contract_orders"]}
        self.orders = {row.id: row for row in self.rows["broker_orders"]}
        self.by_ref = {row.order_ref: row for row in self.rows["broker_orders"]}
        self.point = {row.code: row.point_size for row in self.rows["instruments"]}
        self.child_legs: dict[int, list[Any]] = defaultdict(list)
        for leg in self.rows["contract_order_legs"]:
            self.child_legs[leg.order_id].append(leg)
        self.order_legs: dict[int, list[Any]] = defaultdict(list)
        for leg in self.rows["broker_order_legs"]:
            self.order_legs[leg.order_id].append(leg)
        self.of_family: dict[int, list[Any]] = defaultdict(list)
        for child in self.rows["contract_orders"]:
            self.of_family[child.parent_id].append(child)

    def compare(self, facts: Sequence[Fill], moved_by_hand: Mapping[tuple[str, str], int]) -> None:
        """Every fill, total, average and position of the ledger is what the facts come to. Raises AssertionError.

        moved_by_hand: what persons moved of strategies' positions alone, by (strategy, instrument).
        """
        self._each_fact_once(facts)
        counting = standing(facts)
        by_order: dict[int, list[Fill]] = defaultdict(list)
        for fact in counting:
            if fact.order_ref in self.by_ref:
                by_order[self.by_ref[fact.order_ref].id].append(fact)
        self._broker_orders(by_order)
        by_child: dict[int, list[Fill]] = defaultdict(list)
        for order_id, own in by_order.items():
            by_child[self.orders[order_id].parent_id] += own
        self._contract_orders(by_child)
        self._contracts(counting)
        self._families(by_child, moved_by_hand)
        self._nothing_active_without_a_reason()

    # --- fills, and the orders they are of ---

    def _each_fact_once(self, facts: Sequence[Fill]) -> None:
        booked = [row for row in self.rows["fills"] if "/by/" not in row.execution_id]  # ours, of corrections
        known = {(fact.broker, fact.execution_id): fact for fact in facts}
        assert sorted((row.broker, row.execution_id) for row in booked) == sorted(known)
        for row in booked:
            fact = known[row.broker, row.execution_id]
            assert (row.quantity, row.price) == (fact.quantity, fact.price), row
            assert (row.instrument, row.contract) == (fact.contract.instrument, fact.contract.date), row
            order = self.by_ref.get(fact.order_ref)
            assert row.broker_order_id == (None if order is None else order.id), row
            if order is not None:
                family = self.families[self.children[order.parent_id].parent_id]
                assert row.strategy == order.strategy == family.strategy, row

    def _broker_orders(self, by_order: Mapping[int, Sequence[Fill]]) -> None:
        for order_id, legs in self.order_legs.items():
            self._legs_are(legs, added_up(by_order.get(order_id, ())), f"broker order {order_id}")

    def _contract_orders(self, by_child: Mapping[int, Sequence[Fill]]) -> None:
        exposed: Counter[tuple[int, Contract]] = Counter()
        for order_id, legs in self.order_legs.items():
            order = self.orders[order_id]
            for leg in legs:
                alive = order.active and order.status in LIVE
                exposed[order.parent_id, contract_of(leg)] += abs(leg.trade) if alive else abs(leg.fill)
        for child_id, legs in self.child_legs.items():
            if self._is_handed_over(child_id):
                assert all(leg.fill == leg.trade for leg in legs)
                continue
            own = added_up(by_child.get(child_id, ()))
            self._legs_are(legs, own, f"contract order {child_id}")
            for leg in legs:
                assert abs(leg.fill) <= abs(leg.trade) and leg.fill * leg.trade >= 0, leg
                assert exposed[child_id, contract_of(leg)] <= abs(leg.trade), (leg, exposed)
            if len(legs) == 1:
                assert self.children[child_id].filled_price == near(legs[0].filled_price), child_id

    def _legs_are(self, legs: Sequence[Any], own: Legs, what: str) -> None:
        assert {contract_of(leg): leg.fill for leg in legs if leg.fill} == {c: n for c, (n, _) in own.items() if n}, (
            what
        )
        for leg in legs:
            contracts, value = own.get(contract_of(leg), (0, 0.0))
            assert leg.filled_price == near(value / contracts if contracts else None), (what, leg)

    def _is_handed_over(self, child_id: int) -> bool:
        """Contracts one order for a spread took over from another: nothing of it was ever traded."""
        return self.children[child_id].inter_spread_order and self.children[child_id].order_type == "balance trade"

    # --- positions ---

    def _contracts(self, counting: Sequence[Fill]) -> None:
        model = {contract: contracts for contract, (contracts, _) in added_up(counting).items() if contracts}
        held = {contract_of(row): row.position for row in self.rows["contract_positions"] if row.position}
        assert held == model
        history: Counter[Contract] = Counter()
        for row in self.rows["contract_position_history"]:
            history[contract_of(row)] += row.change
        assert {contract: n for contract, n in history.items() if n} == held

    def _families(self, by_child: Mapping[int, Sequence[Fill]], moved_by_hand: Mapping[tuple[str, str], int]) -> None:
        """What each strategy holds is what its own orders filled, and what it crossed with others or was given."""
        crossed = self._crossed()
        units: Counter[tuple[str, str]] = Counter()
        values: Counter[tuple[str, str]] = Counter()
        netted: Counter[tuple[str, str]] = Counter()
        by_hand: Counter[tuple[str, str]] = Counter()
        paid: Counter[tuple[str, str]] = Counter()
        by_legs: set[tuple[str, str]] = set()  # bought and sold in one order: no price of its own
        for family in self.families.values():
            key = family.strategy, family.instrument
            children = self.of_family[family.id]
            own = [fill for child in children for fill in by_child.get(child.id, ())]
            if family.roll_order:  # it moves contracts and no strategy; one that closes what nobody owns is no roll
                assert family.fill == 0, family
                if family.order_type == "Zero-roll-order":
                    self._rolls_whole_or_is_active(family, own)
                continue
            traded = self._units(family, children)
            if family.order_type == "balance trade" and not children:
                by_hand[key] += family.fill
                assert family.fill == family.trade
            else:
                netted[key] += family.fill - traded
                assert family.fill == traded or (family.fill - traded) * family.trade > 0, family
            ways = {leg.trade > 0 for child in children for leg in self.child_legs[child.id]}
            in_legs = len(ways) > 1  # bought and sold in one order
            if family.instrument in self.config.spreads or not in_legs:
                assert 0 <= family.fill * family.trade <= family.trade**2, family
            units[key] += family.fill
            if family.filled_price is not None:
                values[key] += family.fill * family.filled_price
            self._price_of_family(family, children, own, traded)
            if family.instrument not in self.config.spreads:
                paid[key] += sum(fill.quantity * fill.price for fill in own)
                by_legs |= {key} if in_legs else set()
        assert {key: n for key, n in netted.items() if n} == {key: n for key, n in crossed.items() if n}
        assert {key: n for key, n in by_hand.items() if n} == {key: n for key, n in moved_by_hand.items() if n}
        held = {(row.strategy, row.instrument): row.position for row in self.rows["strategy_positions"]}
        assert {key: n for key, n in held.items() if n} == {key: n for key, n in units.items() if n}
        self._strategy_history(held, {key: value for key, value in values.items() if key not in by_legs}, paid)

    def _crossed(self) -> Counter[tuple[str, str]]:
        """What strategies crossed among themselves: at one price, and to nothing over all of them."""
        crossed: Counter[tuple[str, str]] = Counter()
        pair: Any = None
        for row in self.rows["strategy_position_history"]:
            if row.reason != NETTED:
                continue
            crossed[row.strategy, row.instrument] += row.change
            if pair is None:
                pair = row
                continue
            assert (pair.instrument, pair.time, pair.change, pair.price) == (
                row.instrument, row.time, -row.change, row.price,
            )  # fmt: skip
            pair = None
        assert pair is None, pair
        return crossed

    def _strategy_history(
        self,
        held: Mapping[tuple[str, str], int],
        values: Mapping[tuple[str, str], float],
        paid: Mapping[tuple[str, str], float],
    ) -> None:
        """It leads to what is held, at what the orders say they traded for (values) and executions came to (paid)."""
        changes: Counter[tuple[str, str]] = Counter()
        booked: Counter[tuple[str, str]] = Counter()
        by_executions: Counter[tuple[str, str]] = Counter()
        for row in self.rows["strategy_position_history"]:
            key = row.strategy, row.instrument
            changes[key] += row.change
            booked[key] += row.change * row.price
            if row.fill_id is not None:
                by_executions[key] += row.change * row.price
            assert row.position == changes[key], row
        assert changes == Counter(held)
        for key, value in values.items():
            assert value == near(booked[key]), key
        for key, value in paid.items():
            assert value == near(by_executions[key]), key

    def _units(self, family: Any, children: Sequence[Any]) -> int:
        """Contracts, or units of a spread as far as its least filled leg, that contract orders have filled."""
        spread = self.config.spreads.get(family.instrument)
        if spread is None:
            return sum(leg.fill for child in children for leg in self.child_legs[child.id])
        if not spread.within_one_market:
            ratios = {leg.instrument: leg.ratio for leg in spread.legs}
            filled = Counter(dict.fromkeys(ratios, 0))
            for child in children:
                filled[child.instrument] += sum(leg.fill for leg in self.child_legs[child.id])
            return _whole([(filled[market], ratio) for market, ratio in ratios.items()], family.trade)
        total = 0
        for child in children:
            legs = self.child_legs[child.id]
            one = gcd(*(leg.trade for leg in legs))
            total += _whole(
                [(leg.fill, abs(family.trade) // family.trade * leg.trade // one) for leg in legs], family.trade
            )
        return total

    def _price_of_family(self, family: Any, children: Sequence[Any], own: Sequence[Fill], traded: int) -> None:
        """The average of a family that crossed nothing is that of its executions, in points of its first market."""
        legs = [(child, leg) for child in children for leg in self.child_legs[child.id]]
        spread = self.config.spreads.get(family.instrument)
        if family.fill != traded or traded == 0 or any(self._is_handed_over(child.id) for child in children):
            return
        if spread is not None and any(leg.fill * family.trade != leg.trade * family.fill for _, leg in legs):
            return  # one leg is ahead of another
        first = self.point[family.instrument if spread is None else spread.markets[0]]
        value = sum(fill.quantity * fill.price * self.point[fill.contract.instrument] / first for fill in own)
        assert family.filled_price == near(value / traded), family

    def _rolls_whole_or_is_active(self, family: Any, own: Sequence[Fill]) -> None:
        """A roll that is over has entered what it left, but where other trades made that good."""
        if family.active or family.note == MADE_GOOD_OTHERWISE:
            return
        left = sum(fill.quantity for fill in own)
        assert left == 0, f"roll {family.id} of {family.instrument} is over and has moved {left:+d} contracts"

    # --- what is on the stacks ---

    def _nothing_active_without_a_reason(self) -> None:
        for order in self.orders.values():
            if order.active:
                assert any(leg.fill != leg.trade for leg in self.order_legs[order.id]), order
                assert self.children[order.parent_id].active, order
        for child in self.children.values():
            if child.active:
                assert self.families[child.parent_id].active, child

    def everything_is_over(self) -> None:
        """No order of any level is on its stack."""
        for table in ("instrument_orders", "contract_orders", "broker_orders"):
            assert [row for row in self.rows[table] if row.active] == []

    # --- limits ---

    def used(self, limit: TradeLimit) -> int:
        """Contracts a trade limit counts: of live orders all, of those over what they filled in its period."""
        codes = {limit.instrument}
        total = 0
        for order in self.orders.values():
            family = self.families[self.children[order.parent_id].parent_id]
            if codes.isdisjoint({order.instrument, family.instrument}) or limit.strategy not in ("", order.strategy):
                continue
            if order.algo_used == "panic":
                continue
            for leg in self.order_legs[order.id]:
                if order.active and abs(leg.fill) < abs(leg.trade):
                    total += abs(leg.trade)
                elif order.active or (order.filled_at is not None and order.filled_at >= limit.reset_at):
                    total += abs(leg.fill)
        return total


def period_began(limit: TradeLimit, now: datetime) -> datetime:
    """When the period of a limit that `now` is in began."""
    period = timedelta(days=limit.period_days)
    return limit.reset_at + max(0, ceil((now - limit.reset_at) / period) - 1) * period


def contract_of(row: Any) -> Contract:
    return Contract(row.instrument, row.contract)


def near(price: float | None) -> Any:
    return None if price is None else pytest.approx(price, rel=1e-9, abs=1e-6)


def _whole(filled: Sequence[tuple[int, int]], trade: int) -> int:
    """Whole units of (contracts filled, contracts of one unit) that every leg covers, in the direction of the trade."""
    sign = 1 if trade > 0 else -1
    covered = [sign * fill // ratio if ratio > 0 else -sign * fill // -ratio for fill, ratio in filled]
    return sign * max(0, min(covered))
