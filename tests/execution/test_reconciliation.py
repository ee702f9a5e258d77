"""What agrees with the broker, what differs, what is not known, and what is not ours."""

from dataclasses import replace
from datetime import timedelta
from itertools import pairwise

import pytest

from pysys.broker.port import BrokerUnavailable, OpenOrder
from pysys.domain.contracts import Contract
from pysys.domain.errors import ConfigError
from pysys.domain.orders import Leg
from pysys.execution.identity import WrongAccount, contract_mismatch
from pysys.execution.reconciliation import judge, strangers
from pysys.execution.stack_handler import run_stack_handler
from pysys.execution.stack_methods import method_rules
from pysys.store.restrictions import FAULT, IDENTITY, PERSON, RECONCILIATION
from pysys.store.runs import Environment
from tests.broker import paper_world as world

GOLD, CORN = Contract("GOLD", "20240400"), Contract("CORN", "20240700")
ONE_SHORT = "20240400: database +3, broker +2"
EMPTY = "20240400: database +3, broker +0"


@pytest.mark.parametrize(
    ("ours", "brokers", "in_flight", "suspected", "believed", "doubted"),
    [
        ({GOLD: 3}, {GOLD: 3}, set(), {}, {}, {}),
        ({GOLD: 3}, {GOLD: 2}, set(), {}, {"GOLD": ONE_SHORT}, {}),
        ({GOLD: 3}, {GOLD: 2}, {"CORN"}, {}, {"GOLD": ONE_SHORT}, {}),
        ({GOLD: 3}, {GOLD: 2}, {"GOLD"}, {}, {}, {"GOLD": ONE_SHORT}),
        ({GOLD: 3}, {GOLD: 2}, {"GOLD"}, {"GOLD": ONE_SHORT}, {"GOLD": ONE_SHORT}, {}),
        ({GOLD: 3}, {GOLD: 2}, {"GOLD"}, {"GOLD": "another difference"}, {}, {"GOLD": ONE_SHORT}),
        ({GOLD: 3}, {}, set(), {}, {}, {"GOLD": EMPTY}),  # an empty answer is not a flat account until it is repeated
        ({GOLD: 3}, {}, set(), {"GOLD": EMPTY}, {"GOLD": EMPTY}, {}),
        ({}, {CORN: -1}, set(), {}, {"CORN": "20240700: database +0, broker -1"}, {}),
    ],
)
@pytest.mark.incident("E7")
@pytest.mark.incident("E8")
def test_a_difference_is_believed_at_once_unless_a_fill_on_its_way_may_explain_it(
    ours, brokers, in_flight, suspected, believed, doubted
):
    findings = judge(ours, brokers, in_flight, suspected)

    assert (findings.breaks, findings.suspected) == (believed, doubted)


def test_an_order_at_the_broker_that_is_not_in_the_books_is_a_stranger():
    orders = [OpenOrder("4-1", "1", (Leg(GOLD, 1),)), OpenOrder("tws:9", "9", (Leg(GOLD, -2), Leg(CORN, 2)))]

    assert strangers(orders, ["4-1"]) == {"tws:9": "-2 GOLD/20240400, +2 CORN/20240700"}


class Contrary:
    """The real broker, but for what a test makes it say."""

    def __init__(self, real, **answers) -> None:
        self.real, self.answers = real, answers

    def __getattr__(self, name):
        return self.answers[name] if name in self.answers else getattr(self.real, name)


def broker_says(trading, **answers):
    trading.desk = replace(trading.desk, broker=Contrary(trading.desk.broker, **answers))


def silence(*_arguments):
    raise BrokerUnavailable("no answer within 10 s")


def locks(trading):
    with trading.desk.store.read() as unit:
        return {(lock.instrument, lock.owner): lock.why for lock in unit.restrictions.locks()}


def lock(trading, instrument, owner=PERSON):
    with trading.desk.store.write() as unit:
        unit.restrictions.lock(instrument, owner, at=trading.desk.clock.now(), who="tester", why="stay out")
        unit.commit()


def hold(trading, contract, change):
    with trading.desk.store.write() as unit:
        unit.positions.move_contract(contract, change, at=trading.desk.clock.now(), fill_id=None, reason="a mistake")
        unit.commit()


@pytest.mark.incident("E8")
def test_positions_that_cannot_be_asked_for_are_unknown_never_flat_and_block_new_orders(trading):
    trading.order("GOLD", 2)
    trading.work(hours=1)
    real = trading.desk.broker
    broker_says(trading, positions=silence)
    trading.order("GOLD", 1)
    trading.order("NIKKEI", 1)

    result = trading.work(hours=1)

    assert trading.positions() == {"GOLD/20240400": 2}
    assert result.breaks == {}
    assert set(locks(trading)) == {("GOLD", RECONCILIATION), ("NIKKEI", RECONCILIATION)}
    assert all(why.startswith("unknown: the broker did not say") for why in locks(trading).values())
    with pytest.raises(Exception, match="not known: no answer within 10 s"):
        result.raise_if_incomplete()

    trading.desk = replace(trading.desk, broker=real)
    trading.order("GOLD", 1)
    trading.work(hours=1)

    assert locks(trading) == {}
    assert trading.positions() == {"GOLD/20240400": 3}


def test_a_broker_that_does_not_answer_is_asked_ever_more_rarely_and_trading_goes_on_by_itself(trading_on_sqlite):
    trading = trading_on_sqlite
    asked = []
    healthy = trading.desk.broker.positions

    def positions():
        asked.append(trading.desk.clock.now())
        if len(asked) < 8:
            silence()
        return healthy()

    broker_says(trading, positions=positions)
    trading.order("GOLD", 1)

    result = trading.work(hours=2)

    gaps = [later - earlier for earlier, later in pairwise(asked[:8])]
    assert max(gaps) <= timedelta(minutes=2)
    assert result.counts["broker_unavailable"] == 7
    assert trading.positions() == {"GOLD/20240400": 1}
    result.raise_if_incomplete()


def test_a_person_s_lock_stays_when_the_break_beside_it_clears(trading):
    hold(trading, world.GOLD_APR, 1)
    lock(trading, "GOLD")
    trading.work(minutes=10)
    assert set(locks(trading)) == {("GOLD", PERSON), ("GOLD", RECONCILIATION)}

    hold(trading, world.GOLD_APR, -1)
    trading.order("GOLD", 1)
    trading.work(minutes=30)

    assert set(locks(trading)) == {("GOLD", PERSON)}
    assert trading.positions() == {}


def test_an_order_of_somebody_else_is_reported_and_left_alone(trading):
    low = world.buy("by-hand", (world.GOLD_APR, 1), limit="2000")
    trading.desk.broker.submit(low)
    trading.order("NIKKEI", 1)

    result = trading.work(hours=1)

    assert result.strangers == {"by-hand": "+1 GOLD/20240400"}
    assert [ticket.order_ref for ticket, _ in trading.desk.broker.working_orders()] == ["by-hand"]
    assert trading.positions() == {"NIKKEI/20240600": 1}
    with pytest.raises(Exception, match="not ours: by-hand"):
        result.raise_if_incomplete()


@pytest.mark.incident("E9")
def test_nothing_new_is_sent_before_what_was_intended_is_resolved(trading_on_sqlite, monkeypatch):
    trading = trading_on_sqlite
    trading.order("GOLD", 1)
    real = trading.desk.broker
    monkeypatch.setattr(type(real), "submit", _dies)
    with pytest.raises(KeyboardInterrupt):
        trading.work(minutes=30)
    monkeypatch.undo()
    broker_says(trading, order_states=silence)
    trading.order("NIKKEI", 1)

    trading.work(minutes=30)

    assert real.fills_since(None) == []
    assert real.working_orders() == []


def _dies(self, ticket):
    raise KeyboardInterrupt


# --- one instrument's trouble is its own ---


@pytest.mark.incident("R1")
def test_a_fault_in_one_instrument_locks_it_and_the_others_trade_on(trading):
    def quote(contract):
        if contract.instrument == "GOLD":
            raise ZeroDivisionError("a size of 0")
        return real.quote(contract)

    real = trading.desk.broker
    broker_says(trading, quote=quote)
    trading.order("GOLD", 1)
    trading.order("NIKKEI", 1)

    result = trading.work(hours=1)

    assert trading.positions() == {"NIKKEI/20240600": 1}
    assert locks(trading) == {("GOLD", FAULT): "working its orders failed: ZeroDivisionError: a size of 0"}
    with pytest.raises(Exception, match="locked until a person unlocks them: GOLD"):
        result.raise_if_incomplete()


def test_a_quote_that_never_comes_holds_up_its_own_instrument_only(trading_on_sqlite):
    trading = trading_on_sqlite
    real = trading.desk.broker
    broker_says(trading, quote=lambda c: silence() if c.instrument == "GOLD" else real.quote(c))
    trading.order("GOLD", 1)
    trading.order("NIKKEI", 1)

    trading.work(hours=1)

    assert trading.positions() == {"NIKKEI/20240600": 1}
    assert locks(trading) == {}


# --- identity ---


@pytest.mark.parametrize(
    ("answers", "change", "remembered", "sentence"),
    [
        ({"environment": "live"}, {}, None, "PAPER-1 is live, but broker_environment is paper"),
        ({}, {"broker_environment": "live"}, None, "PAPER-1 is paper, but broker_environment is live"),
        ({}, {"broker_account": "DU7"}, None, "logged in to account PAPER-1, but broker_account is DU7"),
        ({}, {}, ("production", "DU7"), "keeps the books of account DU7"),
        ({"environment": "live"}, {"broker_environment": "live"}, ("demo", None), "for a demo, and account PAPER-1 is"),
    ],
)
@pytest.mark.incident("E12")
def test_the_wrong_account_is_refused_before_anything_is_sent(trading_on_sqlite, answers, change, remembered, sentence):
    trading = trading_on_sqlite
    broker_says(trading, **answers)
    trading.desk = replace(trading.desk, config=trading.desk.config.model_copy(update=change))
    if remembered is not None:
        with trading.desk.store.write() as unit:
            name, account = remembered
            unit.runs.put_environment(Environment(name, "paper", "USD", world.NOON, account))
            unit.commit()
    trading.order("GOLD", 1)

    with pytest.raises(WrongAccount, match=sentence) as refusal:
        trading.work(hours=1)

    assert refusal.value.exit_code == 2
    assert trading.desk.broker.real.fills_since(None) == []


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ({"multiplier": 1.0}, "multiplier 1 at the broker, 100 configured"),
        ({"currency": "EUR"}, "currency EUR at the broker, USD configured"),
        ({"tick_size": 0.25}, "tick 0.25 at the broker, 0.1 configured"),
        ({"tick_size": None}, None),
    ],
)
def test_a_contract_that_is_not_the_one_configured_is_not_traded(trading_on_sqlite, wrong, sentence):
    trading = trading_on_sqlite
    real = trading.desk.broker

    def details(contract):
        told = real.contract_details(contract)
        return replace(told, **wrong) if contract == world.GOLD_APR else told

    assert (sentence is None) == (contract_mismatch(world.INSTRUMENTS["GOLD"], details(world.GOLD_APR)) is None)
    broker_says(trading, contract_details=details)
    trading.order("GOLD", 1)
    trading.order("NIKKEI", 1)
    trading.work(hours=1)

    expected = {} if sentence is None else {("GOLD", IDENTITY): f"20240400: {sentence}"}
    assert locks(trading) == expected
    assert ("GOLD/20240400" in trading.positions()) == (sentence is None)
    assert trading.positions()["NIKKEI/20240600"] == 1

    trading.desk = replace(trading.desk, broker=real)
    trading.work(minutes=5)
    assert locks(trading) == {}


# --- methods as configured ---


def test_a_method_that_is_not_configured_is_not_run(trading_on_sqlite):
    trading = trading_on_sqlite
    methods = dict(trading.desk.config.process_configuration_methods)
    every_other = ("process_fills_stack", "spawn_children_from_new_instrument_orders", "safe_stack_removal")
    methods["run_stack_handler"] = {name: {} for name in every_other}
    config = type(trading.desk.config).model_validate(
        {**trading.desk.config.model_dump(), "process_configuration_methods": methods}
    )
    trading.desk = replace(trading.desk, config=config)
    order_id = trading.order("GOLD", 1)

    run_stack_handler(trading.desk, trading.desk.clock.now() + timedelta(minutes=30))

    with trading.desk.store.read() as unit:
        assert len(unit.orders.children([order_id])[order_id]) == 1
    assert trading.desk.broker.fills_since(None) == []


def test_an_unknown_method_is_an_error_of_configuration(trading_on_sqlite):
    config = type(trading_on_sqlite.desk.config).model_validate(
        {"process_configuration_methods": {"run_stack_handler": {"create_broker_order": {}}}}
    )

    with pytest.raises(ConfigError, match="has no method create_broker_order"):
        method_rules(config)
