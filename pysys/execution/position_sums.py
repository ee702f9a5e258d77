"""What strategies own of each market against the contracts held of it: the two must add up at any time."""

from collections.abc import Mapping

from pysys.config import Config
from pysys.domain.orders import InstrumentOrderType
from pysys.domain.roll_debts import roll_debt
from pysys.execution.roll_views import owing_families
from pysys.execution.spread_book import legs_by_market
from pysys.store.unit import UnitOfWork

STRATEGIES_OWN = "strategies own"  # how what is said of a difference begins


def less_contracts(unit: UnitOfWork, market: str) -> int:
    """What strategies own of one market less the contracts held for it, as `strategies_less_contracts` counts them."""
    own = sum(held for (_, code), held in unit.positions.strategy_positions().items() if code == market)
    held = sum(held for c, held in unit.positions.contract_positions().items() if c.instrument == market)
    return own - held + legs_by_market(unit).get(market, 0)


def strategies_less_contracts(unit: UnitOfWork, config: Config) -> dict[str, int]:
    """By market, what strategies own less the contracts held for the market itself; markets that agree are absent.

    Legs of spreads, of either kind, belong to the spread. A roll under way counts with what it has done so far: what
    has been left and not entered is missing here.
    """
    apart: dict[str, int] = {}
    for (_, code), held in unit.positions.strategy_positions().items():
        if code not in config.spreads:
            apart[code] = apart.get(code, 0) + held
    for contract, held in unit.positions.contract_positions().items():
        apart[contract.instrument] = apart.get(contract.instrument, 0) - held
    if config.spreads or any(apart.values()):
        for market, legs in legs_by_market(unit).items():
            apart[market] = apart.get(market, 0) + legs
    return {market: difference for market, difference in apart.items() if difference}


def owed_by_rolls(unit: UnitOfWork) -> dict[str, int]:
    """By market, what rolls on the stack have left and not yet entered, or the other way round; signed, net.

    Of rolls of a market itself: the legs of a spread are told apart from it whatever their roll has done. Nor does an
    order that closes what no strategy owns move a strategy, and until it ends its fills are taken for explained.
    """
    rolls = {order.id: order for order in unit.orders.active_instrument_orders() if order.roll_order}
    owed: dict[str, int] = {}
    for roll, children in unit.orders.children(list(rolls)).items() if rolls else ():
        market = rolls[roll].instrument
        if rolls[roll].order_type is InstrumentOrderType.ZERO_ROLL:
            left = roll_debt(children)
        else:
            left = {leg.contract: -leg.fill for child in children for leg in child.legs}
        owed[market] = owed.get(market, 0) + sum(n for contract, n in left.items() if contract.instrument == market)
    return {market: quantity for market, quantity in owed.items() if quantity}


def unexplained(unit: UnitOfWork, apart: Mapping[str, int]) -> dict[str, str]:
    """Markets in which strategies and contracts do not add up, and how, for people; what a roll owes is no break.

    apart: as `strategies_less_contracts` says.
    """
    owed = owed_by_rolls(unit)
    resting = {family.children[0].instrument for family in owing_families(unit)} if owed else set()
    found = {}
    for market in sorted({*apart, *owed}):
        missing, explained = apart.get(market, 0), owed.get(market, 0)
        if market in resting:  # nothing is traded for it now, and other trades may have made some of it good
            explained = min(max(missing, min(explained, 0)), max(explained, 0))
        difference = missing - explained
        if difference:
            found[market] = f"{STRATEGIES_OWN} {difference:+d} more than the contracts held"
    return found
