"""What overrides, position limits and trade limits leave to a broker order, as one transaction finds them.

A spread counts in the markets of its legs and under its own code. Its legs go together: where anything is against one
of them, or against what is left of the family, none of it is sent.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime

from pysys.config import Config
from pysys.domain.limits import TradeLimit, not_beyond
from pysys.domain.orders import ContractOrder, InstrumentOrder
from pysys.domain.overrides import Override, combine
from pysys.domain.roll_states import RollState
from pysys.execution.algos import algo_named
from pysys.execution.not_sent import Declined, NotSent
from pysys.execution.restraining import applying
from pysys.execution.roll_debts import roll_allowance
from pysys.execution.rolling import CLOSING
from pysys.execution.sizing import Allowance
from pysys.execution.spread_book import legs_by_market
from pysys.store.unit import UnitOfWork

Caps = Mapping[tuple[str, str], int]  # position limits, by (strategy or blank, instrument)

UNRESTRICTED = "panic: exempt from trade and position limits, and from overrides"


def allowance(unit: UnitOfWork, config: Config, order: ContractOrder, now: datetime) -> Allowance:
    """What is left to a new broker order of this contract order.

    A panic order is held to nothing. What a person ordered against an override or a position limit, knowing it, is
    held to trade limits, to overrides set after it, and to position limits with what is waived of them. A roll moves no
    strategy's position, so only "no trading" and trade limits hold it; so do they what closes a market, for every
    holder on the books of one, as long as it reduces every contract.
    """
    if algo_named(order.algo_to_use).unrestricted:
        return Allowance(now, exempt=UNRESTRICTED)
    family = unit.orders.instrument_order(order.parent_id)
    own = {family.instrument, *(leg.contract.instrument for leg in order.legs)}
    spread = config.spreads.get(family.instrument)
    codes = tuple(own) if spread is None else (family.instrument, *spread.markets)
    every_limit = unit.trade_limits.applying_to(order.strategy, codes, now)
    limits = [limit for limit in every_limit if limit.instrument in own]
    apart = order.inter_spread_order
    siblings = unit.orders.children([family.id])[family.id] if apart else [order]
    refused = _too_much_traded(unit, family, siblings, every_limit, now) if apart and every_limit else None
    exempt, caps = "", unit.restrictions.position_limits()
    if family.guard_overridden:
        exempt = f"exempt from overrides and position limits, {family.guard_overridden}"
        waived = unit.restrictions.waived_limits()
        caps = {scope: limit + waived.get(scope, 0) for scope, limit in caps.items()}
    since = family.generated_at if family.guard_overridden else None
    found = applying(unit.restrictions.overrides(set_after=since), order.strategy, codes)
    override = combine(found.values())
    if override.kind == "no_trading":
        refused = Declined(NotSent.OVERRIDE, _scopes(found))
    if refused is not None:
        return Allowance(now, limits, refused=refused)
    if order.roll_order:
        return roll_allowance(unit, order, now, limits)
    if not override.only_reduces and not caps:
        return Allowance(now, limits, exempt=exempt)
    positions = _Positions(unit, config, family, siblings)
    if override.only_reduces and not positions.reduces(order):
        refused = Declined(NotSent.OVERRIDE, f"{_scopes(found)}; this does not reduce what is held")
    if family.note == CLOSING and positions.closes_by_contract(order) and positions.reduces(order):
        return Allowance(now, limits)
    refused = refused or positions.beyond(caps)
    if positions.go_together:
        return Allowance(now, limits, refused=refused, exempt=exempt)
    shrinking = override.only_reduces and not positions.closes_by_contract(order)
    may_shrink = positions.own if shrinking else None
    return Allowance(now, limits, positions.limited(caps), refused, may_shrink, exempt)


def _scopes(found: Mapping[tuple[str, str], Override]) -> str:
    return ", ".join(
        f"{override} of {strategy if strategy else 'every strategy'} in {code if code else 'every instrument'}"
        for (strategy, code), override in found.items()
        if override.kind == "no_trading" or override.only_reduces
    )


def _too_much_traded(
    unit: UnitOfWork,
    family: InstrumentOrder,
    children: Iterable[ContractOrder],
    limits: Iterable[TradeLimit],
    now: datetime,
) -> Declined | None:
    """Why the trade limits do not leave room for all that is left of a spread between markets; None when they do."""
    left: dict[str, int] = {}
    for child in children:
        asked = unit.orders.possibly_traded(child.id)
        for leg in child.legs:
            done = asked.get(leg.contract, leg.fill)  # of one taken over no order was sent
            contracts = abs(leg.trade - done)
            for code in (child.instrument, family.instrument):
                left[code] = left.get(code, 0) + contracts
    for limit in limits:
        if left.get(limit.instrument, 0) > limit.headroom(now):
            return Declined(
                NotSent.TRADE_LIMIT,
                f"{limit.used} of {limit.limit} contracts of {limit.instrument} in {limit.period_days} days used, and "
                f"the spread still needs {left[limit.instrument]}",
            )
    return None


class _Positions:
    """What is held of whatever a contract order trades, in the terms limits are in."""

    def __init__(
        self, unit: UnitOfWork, config: Config, family: InstrumentOrder, children: Sequence[ContractOrder]
    ) -> None:
        self._unit, self._family, self._children = unit, family, children
        self._held = unit.positions.strategy_positions()
        self._is_spread = family.instrument in config.spreads
        self.own = self._held.get((family.strategy, family.instrument), 0)
        self.go_together = self._is_spread or len(children[0].legs) > 1

    def reduces(self, order: ContractOrder) -> bool:
        """Whether an order only makes a position smaller; one of a single contract may be cut until it does."""
        if self.closes_by_contract(order) or (self.go_together and not self._is_spread):
            held = self._unit.positions.contract_positions()
            return all(not_beyond(held.get(leg.contract, 0), leg.remaining, 0) == leg.remaining for leg in order.legs)
        return not self._is_spread or not_beyond(self.own, self._family.unfilled, 0) == self._family.unfilled

    def closes_by_contract(self, order: ContractOrder) -> bool:
        """Whether the market is being closed: by contract, on the books of one strategy, whoever holds it."""
        return self._unit.markets.roll_status(order.instrument).state is RollState.CLOSE

    def limited(self, caps: Caps) -> list[tuple[int, int]]:
        """(held, limit) of the strategy and of the instrument, where they have one."""
        return self._limited_in(self._family.instrument, caps)

    def beyond(self, caps: Caps) -> Declined | None:
        """Which limit what is left of a family that goes together would break, as a whole; None when none."""
        if not self.go_together:
            return None
        left: dict[str, int] = {}
        for leg in (leg for child in self._children for leg in child.legs):
            left[leg.contract.instrument] = left.get(leg.contract.instrument, 0) + leg.remaining
        if self._is_spread:
            left[self._family.instrument] = self._family.unfilled
        for code, trade in left.items():
            for held, limit in self._limited_in(code, caps):
                if not_beyond(held, trade, limit) != trade:
                    return Declined(NotSent.POSITION_LIMIT, f"held {held:+d} {code}, this {trade:+d}, limit {limit}")
        return None

    def _limited_in(self, code: str, caps: Caps) -> list[tuple[int, int]]:
        """The same of one of the instruments traded. A strategy's own limit is of its instrument, not of its legs."""
        own = (self._family.strategy, code)
        found = [(self.own, caps[own])] if own in caps and code == self._family.instrument else []
        return [*found, (self._in_market(code), caps["", code])] if ("", code) in caps else found

    def _in_market(self, code: str) -> int:
        """Over all strategies, the legs of spreads in it included."""
        own = sum(held for (_, each), held in self._held.items() if each == code)
        return own + legs_by_market(self._unit).get(code, 0)
