"""Spreads traded as instruments of their own: one order within a market, one order a leg between markets."""

from decimal import Decimal

import numpy as np
import pytest

from pysys.data.rolling import roll_instrument
from pysys.data.spread_prices import update_spread_prices
from pysys.data.update_result import UpdateIncomplete
from pysys.domain.conditions import Condition
from pysys.domain.instruments import Instrument
from pysys.domain.prices import PriceRows
from pysys.domain.roll_states import RollMoveRefused, RollState
from pysys.domain.targets import SpreadTarget
from pysys.execution.generation import generate_orders
from pysys.execution.roll_views import roll_view
from pysys.execution.spread_book import outright_positions
from pysys.reports.reconcile import reconcile_report
from pysys.store.prices import SeriesKey, SeriesKind
from pysys.store.restrictions import PERSON
from pysys.store.stacks import Level
from tests.broker import paper_world as world
from tests.execution import stack

APR, JUN, AUG = "20240400", "20240600", "20240800"
SPREADS = {
    "GOLD_CAL": {"legs": [{"instrument": "GOLD", "ratio": 1}, {"instrument": "GOLD", "ratio": -1, "chain": 1}]},
    "BUND_GOLD": {"legs": [{"instrument": "BUND", "ratio": 3}, {"instrument": "GOLD", "ratio": -1}]},
}


def with_spreads(trading):
    """A desk that also trades a calendar spread of gold, and bund against gold."""
    stack.configure(trading, spread_instruments=SPREADS)
    with trading.desk.store.write() as unit:
        for code in SPREADS:
            unit.markets.put_instrument(Instrument(code, "", "USD", 100.0, "Spread", tick_size=0.1))
        unit.commit()
    return trading


@pytest.fixture
def spreads(trading_on_sqlite):
    return with_spreads(trading_on_sqlite)


def units(trading, instrument: str = "GOLD_CAL") -> dict[str, int]:
    with trading.desk.store.read() as unit:
        view = roll_view(unit, trading.desk.config, instrument)
    return {contract.date: held for contract, held in view.standing.positions.items()}


def test_a_calendar_spread_is_one_order_of_two_legs_filled_in_units(spreads):
    bought = spreads.order("GOLD_CAL", 2)

    spreads.work(hours=3)

    assert stack.traded(spreads, bought) == [((APR, 2), (JUN, -2))]
    assert spreads.positions() == spreads.broker_positions() == {"GOLD/20240400": 2, "GOLD/20240600": -2}
    assert spreads.strategy_positions() == {("trend", "GOLD_CAL"): 2}
    order = stack.order(spreads, bought)
    with spreads.desk.store.read() as unit:
        legs = [leg for child in unit.orders.children([bought])[bought] for leg in child.legs]
    assert order.fill == 2
    assert order.filled_price == pytest.approx(legs[0].filled_price - legs[1].filled_price)


def test_what_is_held_for_a_spread_is_no_position_of_its_market(spreads):
    spreads.order("GOLD_CAL", 2)
    spreads.order("GOLD", 1, strategy="carry")
    spreads.work(hours=3)

    with spreads.desk.store.read() as unit:
        assert outright_positions(unit, spreads.desk.config, "GOLD") == {world.GOLD_APR: 1}
    turned = spreads.order("GOLD", -2, strategy="carry")
    stack.spawn(spreads)
    assert stack.traded(spreads, turned) == [((APR, -1),), ((APR, -1),)]


def test_a_passive_roll_of_the_market_closes_the_old_spread_and_opens_the_next(spreads):
    spreads.order("GOLD_CAL", 1)
    spreads.work(hours=2)
    spreads.roll_state("GOLD", RollState.PASSIVE)

    turned = stack.place(spreads, "GOLD_CAL", -3)
    stack.spawn(spreads)

    assert stack.traded(spreads, turned) == [((APR, -1), (JUN, 1)), ((JUN, -2), (AUG, 2))]
    assert [child.sequence for child in stack.children(spreads, turned)] == [0, 1]


def test_a_forced_roll_moves_market_and_spread_each_in_its_own_order(spreads):
    spreads.order("GOLD_CAL", 1)
    spreads.order("GOLD", 2, strategy="carry")
    spreads.work(hours=3)
    spreads.roll_state("GOLD", RollState.FORCE)

    assert stack.roll(spreads) == 2
    rolls = {each.instrument: stack.traded(spreads, each.id) for each in stack.stack(spreads)}

    assert rolls == {"GOLD": [((APR, -2), (JUN, 2))], "GOLD_CAL": [((APR, -1), (JUN, 2), (AUG, -1))]}
    assert stack.roll(spreads) == 0


def test_close_takes_a_spread_off_as_a_spread(spreads):
    spreads.order("GOLD_CAL", 2)
    spreads.work(hours=3)
    spreads.roll_state("GOLD", RollState.CLOSE)

    spreads.work(hours=3)

    assert (spreads.positions(), spreads.strategy_positions()) == ({}, {})
    assert units(spreads) == {}


def test_between_markets_each_leg_is_an_order_and_the_family_completes_when_all_are_filled(spreads):
    bought = spreads.order("BUND_GOLD", 2)

    spreads.work(hours=4)

    assert stack.traded(spreads, bought) == [(("20240300", 6),), ((APR, -2),)]
    assert all(child.inter_spread_order for child in stack.children(spreads, bought))
    assert {child.instrument for child in stack.children(spreads, bought)} == {"BUND", "GOLD"}
    assert spreads.positions() == spreads.broker_positions() == {"BUND/20240300": 6, "GOLD/20240400": -2}
    assert spreads.strategy_positions() == {("trend", "BUND_GOLD"): 2}
    order = stack.order(spreads, bought)
    legs = {child.instrument: child.legs[0].filled_price for child in stack.children(spreads, bought)}
    assert order.fill == 2 and order.id not in [each.id for each in stack.stack(spreads)]
    assert order.filled_price == pytest.approx(
        3 * legs["BUND"] - legs["GOLD"] / 10
    )  # in points of a bund, ten of gold's


def test_legs_between_markets_roll_with_their_markets(spreads):
    spreads.order("BUND_GOLD", -1)
    spreads.work(hours=3)
    spreads.roll_state("GOLD", RollState.FORCE)

    spreads.work(hours=3)

    assert spreads.positions() == {"BUND/20240300": -3, "GOLD/20240600": 1}
    assert spreads.strategy_positions() == {("trend", "BUND_GOLD"): -1}


def test_a_spread_waits_while_a_market_of_its_legs_is_taken_and_says_so(spreads):
    stack.hold(spreads, {world.GOLD_APR: 2})
    spreads.roll_state("GOLD", RollState.FORCE_OUTRIGHT)
    stack.roll(spreads)
    (rolling,) = stack.stack(spreads)
    waiting = stack.place(spreads, "BUND_GOLD", -1)

    stack.spawn(spreads)

    assert stack.children(spreads, waiting) == []
    assert stack.order(spreads, waiting).waits_for == f"after roll order {rolling.id} in GOLD"


@pytest.mark.parametrize(("wanted", "locked", "waits"), [(1, False, True), (1, True, False), (-1, False, False)])
def test_a_forced_roll_waits_for_a_spread_that_can_trade_and_reduces_its_market(spreads, wanted, locked, waits):
    trading = spreads
    stack.hold(trading, {world.GOLD_APR: 4})
    if locked:
        with trading.desk.store.write() as unit:
            unit.restrictions.lock("BUND", PERSON, at=trading.desk.clock.now(), who="rob", why="a story")
            unit.commit()
    spread = stack.place(trading, "BUND_GOLD", wanted)
    if locked:
        stack.spawn(trading)  # it says why it waits
    trading.roll_state("GOLD", RollState.FORCE)

    stack.roll(trading)

    (rolling,) = [each for each in stack.stack(trading) if each.roll_order]
    assert rolling.waits_for == (f"after order {spread}, which reduces GOLD/20240400" if waits else "")
    assert stack.traded(trading, rolling.id) == ([] if waits else [((APR, -4), (JUN, 4))])


def test_a_spread_target_is_ordered_in_units_at_its_spread_price(spreads):
    now = spreads.desk.clock.now()
    stack.want(spreads, SpreadTarget("trend", "GOLD_CAL", now, 1.6, 2.4, (APR, JUN), -20.0, now))

    (decision,) = generate_orders(spreads.desk, ["trend"]).decisions
    stack.spawn(spreads)

    (order,) = stack.stack(spreads)
    assert (decision.trade, order.reference_price, order.reference_contract) == (2, -20.0, APR)
    assert stack.children(spreads, order.id)[0].reference_price == -20.0


def test_strategies_net_in_units_and_a_limit_on_a_spread_is_a_spread_price(spreads):
    now = spreads.desk.clock.now()
    terms = {"reference_price": -20.0, "reference_contract": APR, "reference_time": now}
    stack.place(spreads, "GOLD_CAL", 3, **terms)
    stack.place(spreads, "GOLD_CAL", -1, "carry")
    limited = stack.place(spreads, "GOLD_CAL", 1, order_type="limit", limit_price=Decimal("-19.95"), limit_contract=APR)

    stack.spawn(spreads)

    assert spreads.strategy_positions() == {("trend", "GOLD_CAL"): 1, ("carry", "GOLD_CAL"): -1}
    assert spreads.positions() == {}
    assert stack.children(spreads, limited)[0].limit_price == Decimal("-20")  # down to the tick, for a buyer


@pytest.mark.parametrize(("wanted", "units"), [(3, 1), (5, 3)])
def test_units_netted_between_strategies_have_no_legs_to_take_over(spreads, wanted, units):
    trading, now = spreads, spreads.desk.clock.now()
    buying = stack.place(trading, "BUND_GOLD", wanted, reference_price=180.0, reference_time=now)
    stack.place(trading, "BUND_GOLD", -2, strategy="carry", reference_price=180.0, reference_time=now)

    stack.spawn(trading)

    assert stack.order(trading, buying).fill == 2  # crossed
    assert stack.traded(trading, buying) == [(("20240300", 3 * units),), ((APR, -units),)]


def test_a_limit_between_markets_and_an_unknown_spread_price_wait(spreads):
    limited = stack.place(
        spreads, "BUND_GOLD", 1, order_type="limit", limit_price=Decimal("-1700"), limit_contract="20240300"
    )
    conditional = stack.place(spreads, "GOLD_CAL", 1, condition=Condition("below", -10.0, APR))

    spreads.work(minutes=5)

    assert (
        stack.order(spreads, limited).waits_for
        == "a limit on a spread between markets cannot be shared out among its legs"
    )
    assert stack.order(spreads, conditional).fill == 1  # the spread stands near -20


def test_spreads_get_a_price_series_of_their_own_and_one_that_cannot_is_named(spreads):
    times = np.array([world.micros(world.NOON)])
    with spreads.desk.store.write() as unit:
        for code, price in (("BUND", 131.0), ("GOLD", 2100.0)):
            unit.prices.replace(SeriesKey(SeriesKind.ADJUSTED, code), PriceRows(times, np.array([price])))
        unit.commit()

    result = update_spread_prices(spreads.desk)

    with spreads.desk.store.read() as unit:
        assert unit.prices.adjusted("BUND_GOLD").price.tolist() == [3 * 131.0 - 210.0]
    assert result.table().set_index("code")["rows_added"].to_dict() == {"BUND_GOLD": 1, "GOLD_CAL": 0}
    with pytest.raises(UpdateIncomplete, match=r"GOLD_CAL.*: its legs never had a price at the same time"):
        result.raise_if_incomplete()


def lock(trading, market: str) -> None:
    with trading.desk.store.write() as unit:
        unit.restrictions.lock(market, "tester", at=trading.desk.clock.now(), who="tester", why="as the story goes")
        unit.commit()


def unlock(trading, market: str) -> None:
    with trading.desk.store.write() as unit:
        unit.restrictions.unlock(market)
        unit.commit()


def hold_one_leg(trading, market: str) -> int:
    """An order for two of bund against gold, with the contract order of one leg held by a person; that order."""
    family = stack.place(trading, "BUND_GOLD", 2)
    stack.spawn(trading)
    (held,) = (each for each in stack.children(trading, family) if each.instrument == market)
    with trading.desk.store.write() as unit:
        unit.stacks.set_locked(Level.CONTRACT, held.id, True)
        unit.commit()
    return held.id


def test_a_spread_left_half_done_by_the_day_is_a_break_and_the_next_order_completes_it(spreads):
    stack.place(spreads, "BUND_GOLD", 2)
    stack.spawn(spreads)
    lock(spreads, "BUND")
    spreads.work(minutes=10)
    assert (spreads.positions(), spreads.strategy_positions()) == ({}, {})  # a leg does not go out alone

    unlock(spreads, "BUND")
    hold_one_leg(spreads, "BUND")
    spreads.work(hours=2)

    assert (spreads.positions(), spreads.strategy_positions()) == ({"GOLD/20240400": -2}, {})
    found = reconcile_report(spreads.desk).breaks
    assert [str(each) for each in found.spreads] == [
        "BUND_GOLD (+0 units; BUND_GOLD holds +0 BUND, -2 GOLD: no whole number of spreads; trade the odd leg by hand)"
    ]
    assert found.instrument_vs_contract == ()

    again = spreads.order("BUND_GOLD", 1)
    spreads.work(hours=2)
    assert spreads.positions() == {"BUND/20240300": 3, "GOLD/20240400": -2}  # one of gold's two was taken over
    assert stack.order(spreads, again).fill == 1

    spreads.order("BUND_GOLD", -1)  # the other way: the odd leg is left, for a person or an order that wants it
    spreads.work(hours=2)
    assert (spreads.positions(), spreads.strategy_positions()) == ({"GOLD/20240400": -1}, {})


def test_a_desk_with_spreads_reconciles_and_a_true_break_shows_where_it_is(spreads):
    spreads.order("GOLD_CAL", 2)
    spreads.order("GOLD", -2, strategy="carry")  # takes up the near legs to the contract
    spreads.order("BUND_GOLD", 1, strategy="relative")
    spreads.work(hours=4)

    report = reconcile_report(spreads.desk)
    assert list(report.breaks) == []
    assert (
        spreads.positions()
        == spreads.broker_positions()
        == {"BUND/20240300": 3, "GOLD/20240400": -1, "GOLD/20240600": -2}
    )
    legs = report.table("Legs of spreads").set_index(["spread", "contract"])["legs, contracts"]
    assert legs.to_dict() == {
        ("BUND_GOLD", "20240300"): 3, ("BUND_GOLD", APR): -1, ("GOLD_CAL", APR): 2, ("GOLD_CAL", JUN): -2,
    }  # fmt: skip

    with spreads.desk.store.write() as unit:
        at = {"at": spreads.desk.clock.now(), "fill_id": None, "reason": "by mistake"}
        unit.positions.move_strategy("trend", "GOLD_CAL", -1, price=None, **at)
        unit.positions.move_contract(world.BUND_MAR, 1, **at)
        unit.commit()
    assert list(reconcile_report(spreads.desk).breaks) == [
        "instrument vs contract: BUND (+0 against +1)",
        "spread vs legs: GOLD_CAL (+1 units against +2 in legs)",
        "broker vs contract: BUND/20240300 (+4 against +3)",
    ]


def test_a_spread_that_is_declared_no_more_is_a_break_while_something_is_left_of_it(spreads):
    spreads.order("GOLD_CAL", 1)
    spreads.work(hours=2)
    stack.configure(spreads, spread_instruments={})

    assert list(reconcile_report(spreads.desk).breaks) == [
        "spread vs legs: GOLD_CAL (+1 units and 2 legs are left, and spread_instruments declares it no more)"
    ]


def test_a_leg_and_an_outright_position_that_cancel_in_the_priced_contract_are_both_rolled(spreads):
    spreads.order("GOLD_CAL", -2)
    spreads.order("GOLD", 2, strategy="carry")
    spreads.work(hours=3)
    assert spreads.positions() == {"GOLD/20240600": 2}
    with pytest.raises(RollMoveRefused, match=r"while \+2, -2 GOLD_CAL of 20240400 is held"):
        roll_instrument(spreads.desk, "GOLD", who="tester", why="as the story goes")

    spreads.roll_state("GOLD", RollState.FORCE)

    assert stack.roll(spreads) == 2
    rolls = {each.instrument: stack.traded(spreads, each.id) for each in stack.stack(spreads)}
    assert rolls == {"GOLD": [((APR, -2), (JUN, 2))], "GOLD_CAL": [((APR, 2), (JUN, -4), (AUG, 2))]}


def test_the_records_of_a_period_tell_legs_from_outright_fills(trading):
    """On both databases: what was held for which spread when the period began, and what each fill was for."""
    spreads = with_spreads(trading)
    spreads.order("GOLD_CAL", 1)
    spreads.order("BUND_GOLD", 1)
    spreads.work(hours=2)
    noon = spreads.desk.clock.now()
    spreads.order("GOLD", 1, strategy="carry")
    spreads.work(minutes=70)
    spreads.order("GOLD_CAL", 1)
    spreads.work(minutes=80)

    with spreads.desk.store.read() as unit:
        records = unit.reporting.records(noon, spreads.desk.clock.now())

    assert records.opening_legs.within == {("GOLD_CAL", world.GOLD_APR): 1, ("GOLD_CAL", world.GOLD_JUN): -1}
    assert records.opening_legs.between == {("BUND_GOLD", "BUND"): 3, ("BUND_GOLD", "GOLD"): -1}
    assert {(f.strategy, f.spread, f.contract.date, f.quantity) for f in records.fills} == {
        ("carry", None, APR, 1), ("trend", "GOLD_CAL", APR, 1), ("trend", "GOLD_CAL", JUN, -1),
    }  # fmt: skip
    assert records.contracts_in_spreads == {world.GOLD_APR, world.GOLD_JUN}
