"""What a person may do: allowed, refused, overridden with a reason, carried out once, and kept."""

import re
import threading
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import pytest

from pysys.domain.contracts import Contract
from pysys.domain.errors import ConfigError
from pysys.domain.roll_states import RollState
from pysys.execution.commands import ask, request
from pysys.execution.fates import CROSSING_WAIT
from pysys.execution.fills import record_fills
from pysys.execution.interventions import ACTIONS
from pysys.execution.lease import LeaseLost, claim_trading
from pysys.execution.stack_methods import StackHandler
from pysys.execution.wire import TradingStopped, wired
from pysys.store.commands import CommandStatus
from pysys.store.markets import ListedContract
from pysys.store.restrictions import FAULT, IDENTITY, PERSON, RECONCILIATION
from tests.broker import paper_world as world
from tests.execution import stack
from tests.execution.test_spread_instruments import hold_one_leg, with_spreads

DONE, REFUSED, FAILED = CommandStatus.DONE, CommandStatus.REFUSED, CommandStatus.FAILED


class Person:
    """Somebody at the desk, with a new token for every request."""

    def __init__(self, trading) -> None:
        self.trading = trading
        self.count = 0

    def asks(self, name, token=None, **arguments):
        self.count += 1
        once = f"token-{self.count}" if token is None else token
        wait = timedelta(seconds=5)
        return request(self.trading.desk, name, arguments, who="rob", why="a story", token=once, wait=wait)

    def gets(self, name, **arguments):
        """Asks for something that is done; the answer."""
        command = self.asks(name, **arguments)
        assert command.status is DONE, command.answer
        return command.answer

    def is_refused(self, name, **arguments):
        command = self.asks(name, **arguments)
        assert command.status is REFUSED, command.answer
        return command.answer


@pytest.fixture
def desk(trading_on_sqlite):
    return trading_on_sqlite


@pytest.fixture
def person(desk):
    return Person(desk)


def passes(desk, count=1):
    """Passes of the stack handler at this moment, without taking the stacks down; orders are left working."""
    handler = StackHandler(desk.desk, desk.desk.clock.now() + timedelta(hours=4))
    for _ in range(count):
        handler.one_pass()


def its_fate_is_known(desk):
    """A cancel is asked, heard, and no fill has crossed it for a while."""
    passes(desk)
    desk.desk.clock.sleep_until(desk.desk.clock.now() + CROSSING_WAIT)
    passes(desk)


def working_at_broker(desk):
    return {ticket.order_ref for ticket, _ in desk.desk.broker.working_orders()}


def read(desk, what):
    with desk.desk.store.read() as unit:
        return what(unit)


def a_working_order(desk, trade=500):
    """Instrument order 1, contract order 1, and a passive broker order 1-1 that waits in the book."""
    desk.order("GOLD", trade)
    passes(desk)
    (ref,) = working_at_broker(desk)
    return ref


# --- commands ---


def test_two_clicks_are_one_request(person, desk):
    first = person.asks("manual_order", token="button-7", strategy="trend", instrument="GOLD", trade=2)
    second = person.asks("manual_order", token="button-7", strategy="trend", instrument="GOLD", trade=2)

    assert first == second
    assert len(read(desk, lambda unit: unit.orders.active_instrument_orders())) == 1
    with pytest.raises(ConfigError, match="was used for manual_order already"):
        person.asks("manual_order", token="button-7", strategy="trend", instrument="GOLD", trade=3)


def test_many_clicks_at_once_are_one_request(person, desk):
    arguments = {"strategy": "trend", "instrument": "GOLD", "quantity": 1}
    clicks = [
        threading.Thread(target=person.asks, args=("balance_instrument_trade", "once"), kwargs=arguments)
        for _ in range(12)
    ]
    desk.desk.broker.submit(world.buy("elsewhere", (world.GOLD_APR, 1)))
    passes(desk)
    for click in clicks:
        click.start()
    for click in clicks:
        click.join()

    assert desk.strategy_positions() == {("trend", "GOLD"): 1}


@pytest.mark.parametrize(
    ("name", "arguments", "sentence"),
    [
        ("sell_everything", {}, "There is no intervention sell_everything"),
        ("manual_order", {"strategy": "trend"}, "manual_order needs instrument"),
        ("manual_order", {"strategy": "trend", "instrument": "GOLD", "size": 2}, "no argument size"),
        ("manual_order", {"strategy": "trend", "instrument": "GOLD", "trade": "two"}, "argument trade: .*'two'"),
        ("set_override", {"kind": "sometimes"}, "argument kind"),
        ("empty_stack", {"level": "top"}, "argument level"),
    ],
)
def test_what_cannot_be_meant_is_not_even_written_down(person, desk, name, arguments, sentence):
    with pytest.raises(ConfigError, match=sentence):
        person.asks(name, **arguments)
    assert read(desk, lambda unit: unit.commands.latest(10)) == []


def test_a_request_without_a_reason_is_not_taken(desk):
    with pytest.raises(ConfigError, match="say why"):
        ask(desk.desk.store, desk.desk.clock, "unlock_all", {}, who="rob", why=" ", token="x")


def test_while_an_engine_runs_it_carries_requests_out_and_nobody_else(person, desk):
    lease = claim_trading(desk.desk.store, "PAPER-1")
    quick = request(desk.desk, "unlock_all", {}, who="rob", why="story", token="a", wait=timedelta(seconds=0.3))
    assert quick.status is CommandStatus.ASKED
    lease.release()

    desk.work(minutes=5)

    assert read(desk, lambda unit: unit.commands.by_token("a")).status is DONE


def test_a_request_nobody_carried_out_in_time_is_refused_rather_than_done_late(desk):
    arguments = {"strategy": "trend", "instrument": "GOLD", "trade": 1}
    ask(desk.desk.store, desk.desk.clock, "manual_order", arguments, who="rob", why="story", token="a")
    desk.desk.clock.sleep_until(desk.desk.clock.now() + timedelta(hours=1))

    desk.work(minutes=30)

    late = read(desk, lambda unit: unit.commands.by_token("a"))
    assert (late.status, "Ask again" in late.answer) == (REFUSED, True)
    assert desk.positions() == {}


def test_every_request_is_kept_with_who_why_and_what_came_of_it(person, desk):
    person.is_refused("manual_order", strategy="trend", instrument="GOLD", trade=0)
    person.gets("lock_instrument", instrument="GOLD")

    kept = read(desk, lambda unit: unit.commands.latest(10))

    assert [(c.name, c.who, c.why, c.status) for c in kept] == [
        ("lock_instrument", "rob", "a story", DONE),
        ("manual_order", "rob", "a story", REFUSED),
    ]
    assert all(c.answered_at == desk.desk.clock.now() for c in kept)


# --- trades ---


def test_a_manual_order_is_executed_for_its_strategy(person, desk):
    person.gets("manual_order", strategy="trend", instrument="GOLD", trade=2, order_type="market")

    desk.work(hours=1)

    assert desk.positions() == {"GOLD/20240400": 2}
    desk.assert_in_balance()


def test_a_manual_order_in_one_contract_trades_that_contract(person, desk):
    person.gets("manual_order", strategy="trend", instrument="GOLD", legs={"20240600": -2}, order_type="market")

    desk.work(hours=1)

    assert desk.positions() == {"GOLD/20240600": -2}
    assert desk.strategy_positions() == {("trend", "GOLD"): -2}


def test_a_manual_spread_moves_contracts_and_not_the_strategy(person, desk):
    desk.order("GOLD", 2)
    desk.work(hours=1)

    person.gets("manual_order", strategy="trend", instrument="GOLD", legs={"20240400": -2, "20240600": 2})
    desk.work(hours=2)

    assert desk.positions() == {"GOLD/20240600": 2}
    assert desk.strategy_positions() == {("trend", "GOLD"): 2}
    desk.assert_in_balance()
    assert read(desk, lambda unit: unit.orders.active_instrument_orders()) == []


@pytest.mark.parametrize(
    ("what", "sentence"),
    [
        ({"strategy": "trnd", "trade": 1}, "No strategy trnd is configured or holds a position. .*: carry, trend"),
        ({"strategy": "trend", "legs": {"20240500": 1}}, "no contract 20240500 .*: 20240400, 20240600"),
        ({"strategy": "trend", "legs": {"20240400": 1, "20240700": -1}}, "no contract 20240700"),
        ({"strategy": "trend", "legs": {"20240200": 1}}, "no contract 20240200"),  # it has expired
        ({"strategy": "trend", "legs": {"20240800": 1}}, ""),
    ],
)
def test_a_manual_order_names_a_strategy_and_contracts_there_are(person, desk, what, sentence):
    with desk.desk.store.write() as unit:
        unit.markets.put_contract(ListedContract(Contract("GOLD", "20240200"), date(2024, 2, 27)))
        unit.markets.put_contract(ListedContract(Contract("GOLD", "20240800"), date(2024, 8, 28)))
        unit.commit()
    command = person.asks("manual_order", instrument="GOLD", **what)

    assert command.status is (REFUSED if sentence else DONE)
    assert re.search(sentence, command.answer)
    assert len(read(desk, lambda unit: unit.orders.active_instrument_orders())) == (not sentence)


def test_a_contract_nobody_orders_any_more_locks_its_instrument_no_longer(person, desk):
    with desk.desk.store.write() as unit:
        unit.markets.put_contract(ListedContract(Contract("GOLD", "20240500")))  # the broker has none
        unit.commit()
    person.gets("manual_order", strategy="trend", instrument="GOLD", legs={"20240500": 1}, order_type="market")
    handler = StackHandler(desk.desk, desk.desk.clock.now() + timedelta(hours=4))
    for _ in range(3):
        handler.one_pass()
        desk.desk.clock.sleep_until(desk.desk.clock.now() + timedelta(minutes=1))
    assert [lock.owner for lock in read(desk, lambda unit: unit.restrictions.locks())] == [IDENTITY]

    person.gets("delete_order", level="contract", order_id=1)
    handler.one_pass()

    assert read(desk, lambda unit: unit.restrictions.locks()) == []


def test_a_manual_order_is_refused_behind_a_lock_or_beyond_a_limit_unless_somebody_says_why(person, desk):
    trade = {"strategy": "trend", "instrument": "GOLD", "trade": 3}
    person.gets("set_position_limit", instrument="GOLD", limit=2)
    assert "beyond the limit of 2" in person.is_refused("manual_order", **trade)
    person.gets("set_position_limit", instrument="GOLD", limit=5)
    person.gets("lock_instrument", instrument="GOLD")
    assert "GOLD is locked" in person.is_refused("manual_order", **trade)

    answer = person.gets("manual_order", **trade, override="the lock goes in a minute")

    assert "guards overridden: the lock goes in a minute" in answer
    (order,) = read(desk, lambda unit: unit.orders.active_instrument_orders())
    assert (order.trade, order.manual_trade) == (3, True)
    assert "rob" in order.note
    assert "the lock goes in a minute" in order.note


def test_a_balance_trade_clears_the_break_it_was_missing_for_and_is_never_sent(person, desk):
    desk.desk.broker.submit(world.buy("expired", (world.GOLD_APR, 0 + 1)))
    fills = desk.desk.broker.fills_since(None)
    desk.desk = replace(desk.desk, broker=Without(desk.desk.broker, {f.execution_id for f in fills}))
    desk.work(minutes=5)
    locked = read(desk, lambda unit: unit.restrictions.locks())
    assert [(lock.instrument, lock.owner) for lock in locked] == [("GOLD", RECONCILIATION)]

    answer = person.gets(
        "balance_trade", strategy="trend", instrument="GOLD", contract="20240400", quantity=1, price=fills[0].price
    )
    desk.work(minutes=5)

    assert "Nothing was sent" in answer
    assert desk.positions() == desk.broker_positions() == {"GOLD/20240400": 1}
    assert desk.strategy_positions() == {("trend", "GOLD"): 1}
    assert read(desk, lambda unit: unit.restrictions.locks()) == []
    assert read(desk, lambda unit: unit.orders.active_instrument_orders()) == []
    assert len(desk.desk.broker.real.fills_since(None)) == 1


class Without:
    """A broker that has forgotten some executions, as they do after a week."""

    def __init__(self, real, forgotten) -> None:
        self.real, self.forgotten = real, forgotten

    def __getattr__(self, name):
        return getattr(self.real, name)

    def fills_since(self, moment):
        return [fill for fill in self.real.fills_since(moment) if fill.execution_id not in self.forgotten]


@pytest.mark.incident("R4")
@pytest.mark.parametrize("held", [1, -1])
def test_a_balance_trade_against_a_position_leaves_no_row(person, desk, held):
    """The contract expired at the broker while it was held; the entry must meet the position under the same key."""
    desk.order("GOLD", held)
    desk.work(hours=1)
    assert desk.positions() == {"GOLD/20240400": held}

    person.gets("balance_trade", strategy="trend", instrument="GOLD", contract="20240400", quantity=-held, price=2100.0,
                override="settled by the broker")  # fmt: skip

    assert (desk.positions(), desk.strategy_positions()) == ({}, {})
    counts = "SELECT (SELECT count(*) FROM contract_positions), (SELECT count(*) FROM strategy_positions)"
    assert tuple(read(desk, lambda unit: unit.connection.exec_driver_sql(counts).one())) == (0, 0)


def test_a_balance_trade_of_tomorrow_is_refused(person, desk):
    trade = {"strategy": "trend", "instrument": "GOLD", "contract": "20240400", "quantity": 1, "price": 2100.0}
    tomorrow = (desk.desk.clock.now() + timedelta(days=1)).isoformat()

    assert "has happened" in person.is_refused("balance_trade", **trade, filled_at=tomorrow)
    assert "is not 0" in person.is_refused("balance_trade", **{**trade, "quantity": 0})
    assert desk.positions() == {}


def test_a_balance_instrument_trade_only_goes_toward_the_contracts_unless_somebody_says_why(person, desk):
    desk.desk.broker.submit(world.buy("elsewhere", (world.GOLD_APR, 2)))
    desk.work(minutes=5)
    trade = {"strategy": "trend", "instrument": "GOLD"}

    assert "would be -3" in person.is_refused("balance_instrument_trade", **trade, quantity=-1)
    assert "trend now holds +2 GOLD" in person.gets("balance_instrument_trade", **trade, quantity=2)
    assert "trend now holds +3 GOLD" in person.gets("balance_instrument_trade", **trade, quantity=1, override="test")
    assert desk.positions() == {"GOLD/20240400": 2}


@pytest.mark.parametrize("name", ["balance_trade", "balance_instrument_trade", "manual_order"])
def test_nobody_trades_for_the_rolls(person, name):
    what = {"trade": 1} if name == "manual_order" else {"quantity": 1}
    more = {"contract": "20240400", "price": 2100.0} if name == "balance_trade" else {}
    answer = person.is_refused(name, strategy="_ROLL_PSEUDO_STRATEGY", instrument="GOLD", **what, **more)
    assert "needs the strategy whose position it moves" in answer


@pytest.mark.parametrize("spread", ["GOLD_CAL", "BUND_GOLD"])
def test_a_spread_is_balanced_against_its_legs(person, desk, spread):
    with_spreads(desk)
    desk.order(spread, 2)
    desk.work(hours=4)
    trade = {"strategy": "trend", "instrument": spread}

    assert "is +0 in " in (answer := person.is_refused("balance_instrument_trade", **trade, quantity=-2))
    assert "would be -2" in answer
    assert f"trend now holds +3 {spread}" in person.gets(
        "balance_instrument_trade", **trade, quantity=1, override="a test"
    )
    assert f"trend now holds +2 {spread}" in person.gets("balance_instrument_trade", **trade, quantity=-1)


def test_a_spread_is_not_booked_or_ordered_as_contracts_of_its_own(person, desk):
    """What is said to do instead books it, and nothing is sent."""
    with_spreads(desk)
    spread = {"strategy": "trend", "instrument": "GOLD_CAL"}

    legs = {"20240400": 1, "20240600": -1}
    assert "give trade, in units" in person.is_refused("manual_order", **spread, legs=legs, override="insists")
    answer = person.is_refused("balance_trade", **spread, contract="20240400", quantity=1, price=-20.0)
    assert "book each leg with `fill_by_hand`" in answer

    person.gets("manual_order", **spread, trade=1)
    person.gets("spawn_children")
    for contract, quantity in legs.items():
        person.gets("fill_by_hand", contract_order=1, contract=contract, quantity=quantity, price=2100.0)
    assert desk.positions() == {"GOLD/20240400": 1, "GOLD/20240600": -1}
    assert desk.strategy_positions() == {("trend", "GOLD_CAL"): 1}
    assert working_at_broker(desk) == set()


def test_currency_is_exchanged_once_and_a_pair_the_wrong_way_round_is_refused(person, desk):
    def balance(currency):
        value = desk.desk.broker.account_value()
        return next((b.balance for b in value.balances if b.currency == currency), 0.0)

    before = balance("USD"), desk.desk.broker.account_value().total
    assert "turn pair and sign round" in person.is_refused("cash_fx_trade", pair="USDEUR", amount=1000)
    assert "not a currency pair" in person.is_refused("cash_fx_trade", pair="EURO", amount=1000)
    assert "no rates" in person.is_refused("cash_fx_trade", pair="GBPUSD", amount=1000)

    answer = person.gets("cash_fx_trade", pair="EURUSD", amount=10_000)
    again = desk.desk.broker.trade_fx(f"fx-token-{person.count}", "EURUSD", 10_000)  # after a crash before the answer

    assert answer == f"Bought 10,000.00 EUR at {again.rate:.6g} USD."
    assert balance("EUR") == 10_000
    assert balance("USD") == pytest.approx(before[0] - 10_000 * again.rate)
    assert desk.desk.broker.account_value().total == pytest.approx(before[1])
    person.gets("cash_fx_trade", pair="EURJPY", amount=-4_000)
    assert balance("EUR") == 6_000
    assert balance("JPY") > 0


def test_a_fill_by_hand_fits_what_is_left_and_waits_for_the_broker_s_own_order(person, desk):
    ref = a_working_order(desk)
    fill = {"contract_order": 1, "contract": "20240400", "price": 2100.0}

    assert "count it twice: cancel it first" in person.is_refused("fill_by_hand", **fill, quantity=2)
    person.gets("cancel_broker_order", order_ref=ref)
    its_fate_is_known(desk)
    assert "+500 GOLD/20240400 are left" in person.is_refused("fill_by_hand", **fill, quantity=501)
    assert "are left" in person.is_refused("fill_by_hand", **fill, quantity=-1)
    person.gets("fill_by_hand", **fill, quantity=2)

    assert desk.positions() == {"GOLD/20240400": 2}
    assert desk.strategy_positions() == {("trend", "GOLD"): 2}
    order = read(desk, lambda unit: unit.orders.contract_order(1))
    assert (order.legs[0].fill, order.legs[0].filled_price) == (2, 2100.0)


# --- orders ---


def test_a_cancelled_order_is_not_replaced_until_its_contract_order_is_unlocked(person, desk):
    ref = a_working_order(desk)

    assert "Contract order 1 is locked" in person.gets("cancel_broker_order", order_ref=ref)
    for _ in range(3):
        desk.desk.clock.sleep_until(desk.desk.clock.now() + timedelta(minutes=20))
        passes(desk)
    assert working_at_broker(desk) == set()

    assert "nothing to cancel" in person.is_refused("cancel_broker_order", order_ref=ref)
    person.gets("unlock_order", level="contract", order_id=1)
    passes(desk)
    assert working_at_broker(desk) == {"1-2-t"}


def test_an_order_that_is_not_ours_is_cancelled_by_a_person_only(person, desk):
    desk.desk.broker.submit(world.buy("by-hand", (world.GOLD_APR, 1), limit="2000"))

    assert "Neither our books" in person.is_refused("cancel_broker_order", order_ref="nobody")
    assert "not ours" in person.gets("cancel_all").lower()
    assert working_at_broker(desk) == {"by-hand"}
    assert "not in our books" in person.gets("cancel_broker_order", order_ref="by-hand")
    assert working_at_broker(desk) == set()


def test_everything_of_ours_is_cancelled_after_a_restart_that_lost_the_stacks(person, desk):
    ref = a_working_order(desk)
    person.gets("delete_order", level="broker", order_id=1, override="as if an older session had sent it")
    assert working_at_broker(desk) == {ref}

    assert "cancel 1 orders" in person.gets("cancel_all")

    assert working_at_broker(desk) == set()


def test_orders_that_hold_up_the_ledger_are_not_deleted_unless_somebody_says_why(person, desk):
    ref = a_working_order(desk)

    assert f"may still fill order {ref}" in person.is_refused("delete_order", level="broker", order_id=1)
    assert f"has order {ref} at the broker" in person.is_refused("delete_order", level="contract", order_id=1)
    assert "has contract order 1" in person.is_refused("delete_order", level="instrument", order_id=1)
    assert "cancel it first" in person.is_refused("empty_stack", level="broker")
    assert "There is no contract order 77" in person.is_refused("delete_order", level="contract", order_id=77)
    person.gets("cancel_broker_order", order_ref=ref)
    its_fate_is_known(desk)
    person.gets("delete_order", level="contract", order_id=1)  # and with it what it was all of
    assert "not on the stack any more" in person.is_refused("delete_order", level="instrument", order_id=1)

    assert "not on the stack any more" in person.is_refused("delete_order", level="contract", order_id=1)
    assert read(desk, lambda unit: unit.orders.active_contract_orders()) == []
    assert read(desk, lambda unit: unit.orders.contract_order(1)).note.startswith("by rob: a story")


def test_a_roll_that_owes_a_leg_is_not_deleted_unless_somebody_says_why(person, desk):
    stack.hold(desk, {world.GOLD_APR: 4})
    desk.roll_state("GOLD", RollState.FORCE_OUTRIGHT)
    person.gets("force_rolls")
    person.gets("fill_by_hand", contract_order=1, contract="20240400", quantity=-4, price=2100.0)
    person.gets("delete_order", level="contract", order_id=2)
    roll = {"level": "instrument", "order_id": 1}

    assert "Roll 1 owes +4 GOLD/20240600" in person.is_refused("delete_order", **roll)
    assert "Roll 1 owes +4 GOLD/20240600" in person.is_refused("empty_stack", level="instrument")
    assert "off the stack" in person.gets("delete_order", **roll, override="traded elsewhere")


def test_a_fill_still_lands_on_an_order_somebody_deleted(person, desk):
    a_working_order(desk)
    person.gets("empty_stack", level="broker", override="I want to see it")
    person.gets("empty_stack", level="instrument", override="I want to see it")
    order = read(desk, lambda unit: unit.orders.broker_order_by_ref("1-1-t"))
    desk.desk.clock.sleep_until(desk.desk.clock.now() + timedelta(hours=3))

    new = record_fills(desk.desk.store, desk.desk.broker.fills_since(None), desk.desk.clock.now())

    assert sum(fill.quantity for fill in new if fill.order_ref == order.order_ref) == desk.positions().get(
        "GOLD/20240400", 0
    )
    desk.assert_in_balance()


def test_a_locked_order_waits_and_an_unlocked_one_goes_on(person, desk):
    desk.order("GOLD", 1, order_type="market")
    person.gets("lock_order", level="instrument", order_id=1)
    passes(desk, 2)
    assert read(desk, lambda unit: unit.orders.active_contract_orders()) == []

    person.gets("unlock_order", level="instrument", order_id=1)
    person.gets("spawn_children", instrument_order=1)
    person.gets("lock_order", level="contract", order_id=1)
    assert person.gets("create_broker_orders") == "0 broker orders sent."
    person.gets("unlock_order", level="contract", order_id=1)
    assert person.gets("create_broker_orders", contract_order=1) == "1 broker orders sent."

    assert "a broker order cannot be locked" in person.is_refused("lock_order", level="broker", order_id=1)


def test_a_claim_is_released_by_a_person(person, desk):
    desk.order("GOLD", 1, order_type="market")
    person.gets("spawn_children")
    now = desk.desk.clock.now()
    with desk.desk.store.write() as unit:
        unit.claims.claim(1, "a process that died", "best", now=now, until=datetime(2999, 1, 1, tzinfo=UTC))
        unit.commit()
    assert person.gets("create_broker_orders") == "0 broker orders sent."

    assert "claimed by algo best of a process that died" in person.gets("release_claim", contract_order=1)

    assert person.gets("create_broker_orders") == "1 broker orders sent."


def test_rolls_are_forced_on_demand(person, desk):
    desk.order("GOLD", 1)
    desk.work(hours=1)
    desk.roll_state("GOLD", RollState.FORCE)

    assert person.gets("force_rolls") == "1 rolls made."
    assert person.gets("force_rolls") == "0 rolls made."


def test_opposite_orders_are_netted_on_demand(person, desk):
    desk.order("GOLD", 3)
    desk.order("GOLD", -2, strategy="carry")

    person.gets("engage_kill_switch")
    assert "kill switch is engaged" in person.is_refused("net_instrument_orders")
    person.gets("release_kill_switch")
    assert person.gets("net_instrument_orders") == "Netted in GOLD."

    assert desk.strategy_positions() == {("trend", "GOLD"): 2, ("carry", "GOLD"): -2}
    assert person.gets("net_instrument_orders") == "There was nothing to net."


def test_the_end_of_the_day_on_demand_leaves_nothing_behind_and_may_be_repeated(person, desk):
    a_working_order(desk)

    person.gets("end_of_day")
    person.gets("end_of_day")

    assert working_at_broker(desk) == set()
    assert read(desk, lambda unit: unit.orders.active_instrument_orders()) == []
    desk.assert_in_balance()


# --- control ---


def test_the_kill_switch_says_its_scope_and_holds_until_a_person_releases_it(person, desk):
    ref = a_working_order(desk)

    answer = person.gets("engage_kill_switch")
    assert "Positions stay as they are" in answer
    assert "pysys kill-switch off" in answer
    assert "was engaged already, by rob" in person.gets("engage_kill_switch")

    person.gets("cancel_broker_order", order_ref=ref, hold=False)
    desk.order("NIKKEI", 1)
    desk.work(hours=1)
    assert desk.broker_positions() == {}
    assert "kill switch is engaged" in person.is_refused("manual_order", strategy="t", instrument="GOLD", trade=1)
    assert "not sent" in person.is_refused("cash_fx_trade", pair="EURUSD", amount=1)

    assert "rob had engaged it" in person.gets("release_kill_switch")
    desk.order("NIKKEI", 1)
    desk.work(hours=1)
    assert desk.broker_positions() == {"NIKKEI/20240600": 1}


def test_the_last_call_before_the_wire_asks_for_the_lease_and_the_kill_switch(desk, person):
    ref = a_working_order(desk)
    lease = claim_trading(desk.desk.store, "PAPER-1")
    wire = wired(desk.desk, lease).broker
    person.gets("engage_kill_switch")

    with pytest.raises(TradingStopped, match="engaged by rob"):
        wire.modify_limit(ref, Decimal("2100"))
    with pytest.raises(TradingStopped):
        wire.submit(world.buy("new", (world.GOLD_APR, 1)))
    lease.release()
    for call in (lambda: wire.submit(world.buy("new", (world.GOLD_APR, 1))), lambda: wire.cancel(ref)):
        with pytest.raises(LeaseLost, match="Another process trades account PAPER-1"):
            call()

    assert working_at_broker(desk) == {ref}


def test_unlocking_all_leaves_what_persons_decided(person, desk):
    person.gets("lock_instrument", instrument="GOLD")
    with desk.desk.store.write() as unit:
        for owner in (RECONCILIATION, FAULT):
            unit.restrictions.lock("NIKKEI", owner, at=world.NOON, who="program", why="story")
        unit.commit()

    assert person.gets("unlock_all") == "2 locks lifted. Locked by a person and left so: GOLD."

    assert [lock.owner for lock in read(desk, lambda unit: unit.restrictions.locks())] == [PERSON]
    assert "locks lifted: person" in person.gets("unlock_instrument", instrument="GOLD")
    assert person.gets("unlock_instrument", instrument="GOLD") == "GOLD was not locked."


def test_overrides_limits_and_the_status_of_a_process_are_set_with_a_reason(person, desk):
    person.gets("set_override", kind="factor", factor=0.5, strategy="trend")
    person.gets("set_override", kind="no_trading", instrument="GOLD")
    person.gets("remove_override", strategy="trend")
    person.gets("set_trade_limit", instrument="GOLD", period_days=1, limit=4)
    person.gets("set_position_limit", instrument="GOLD", limit=4, strategy="trend")
    person.gets("change_process_status", process="run_systems", status="STOP")

    assert "outside 0 to 1" in person.is_refused("set_override", kind="factor", factor=1.5, strategy="trend")
    assert "There is no process run_system" in person.is_refused(
        "change_process_status", process="run_system", status="GO"
    )
    assert "-1" in person.is_refused("set_position_limit", instrument="GOLD", limit=-1)
    overrides = read(desk, lambda unit: unit.restrictions.overrides())
    assert {scope: str(override) for scope, override in overrides.items()} == {("", "GOLD"): "no trading"}
    assert [limit.limit for limit in read(desk, lambda unit: unit.trade_limits.all())] == [4]
    assert read(desk, lambda unit: unit.restrictions.position_limits()) == {("trend", "GOLD"): 4}
    assert read(desk, lambda unit: unit.runs.process("run_systems")).status == "STOP"
    person.gets("remove_trade_limit", instrument="GOLD", period_days=1)
    person.gets("remove_position_limit", instrument="GOLD", strategy="trend")
    assert read(desk, lambda unit: unit.trade_limits.all()) == []


def test_every_intervention_says_what_it_does():
    assert all(action.function.__name__ for action in ACTIONS.values())
    assert len({action.function for action in ACTIONS.values()}) == len(ACTIONS) == 30


BALANCE = {"strategy": "trend", "instrument": "GOLD", "contract": "20240400", "quantity": 1, "price": 2100.0}
NOBODY = "No strategy trnd is configured or holds a position"
NAMES = [
    ("balance_trade", BALANCE | {"strategy": "trnd"}, NOBODY),
    ("balance_trade", BALANCE | {"contract": "20230400"}, "GOLD has no contract 20230400 that we know of"),
    ("balance_trade", BALANCE | {"price": float("inf")}, "Prices and commissions are numbers"),
    ("balance_instrument_trade", {"strategy": "trnd", "instrument": "GOLD", "quantity": 1}, NOBODY),
    ("set_override", {"kind": "no_trading", "strategy": "trnd"}, NOBODY),
    ("set_position_limit", {"instrument": "GOLD", "limit": 1, "strategy": "trnd"}, NOBODY),
    ("set_trade_limit", {"instrument": "GOLD", "period_days": 1, "limit": 1, "strategy": "trnd"}, NOBODY),
    ("set_position_limit", {"instrument": "", "limit": 1}, " is not an instrument"),
    ("set_trade_limit", {"instrument": "", "period_days": 1, "limit": 1}, " is not an instrument"),
    ("remove_override", {"instrument": "GULD"}, "There is no override of every strategy in GULD"),
    ("remove_position_limit", {"instrument": "GOLD"}, "There is no position limit of every strategy in GOLD"),
    ("remove_trade_limit", {"instrument": "GOLD", "period_days": 1}, "There is no trade limit of every strategy"),
    ("reset_trade_limit", {"instrument": "GOLD", "period_days": 9}, "There is no trade limit of every strategy"),
]


@pytest.mark.parametrize(("name", "arguments", "sentence"), NAMES)
def test_a_name_that_nothing_has_is_refused(person, name, arguments, sentence):
    assert person.is_refused(name, **arguments).startswith(sentence)


def test_orders_are_not_netted_on_demand_where_they_may_not_trade(person, desk):
    desk.order("GOLD", 2)
    desk.order("GOLD", -2, "carry")
    person.gets("set_override", kind="no_trading", strategy="carry")
    assert person.gets("net_instrument_orders") == "There was nothing to net."
    assert desk.strategy_positions() == {}
    person.gets("remove_override", strategy="carry")
    person.gets("lock_instrument", instrument="GOLD")
    assert person.gets("net_instrument_orders") == "There was nothing to net."
    person.gets("unlock_instrument", instrument="GOLD")
    assert person.gets("net_instrument_orders") == "Netted in GOLD."
    assert desk.strategy_positions() == {("trend", "GOLD"): 2, ("carry", "GOLD"): -2}


def test_one_leg_of_a_spread_is_not_taken_off_while_the_other_is_filled(person, desk):
    held = hold_one_leg(with_spreads(desk), "BUND")
    passes(desk, 20)
    assert set(desk.positions()) == {"GOLD/20240400"}
    answer = person.is_refused("delete_order", level="contract", order_id=held)
    assert f"and {held} is the other leg of it" in answer
