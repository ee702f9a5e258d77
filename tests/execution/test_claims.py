"""An algo that works a contract order says so on it, in a claim that ends with its work or runs out after a crash."""

import os
from datetime import UTC, datetime, timedelta

import pytest

from pysys.clock import SystemClock
from pysys.execution.claims import me
from pysys.execution.commands import request
from pysys.execution.lease import claim_trading
from pysys.execution.stack_methods import StackHandler
from pysys.execution.wire import wired
from pysys.store.machine import Holder, boot_id, host_name

LATER = datetime(2999, 1, 1, tzinfo=UTC)
LIVING = str(Holder(host_name(), os.getppid(), boot_id()))
ELSEWHERE = str(Holder("another-machine", 4711, "boot"))
DEAD = str(Holder(host_name(), 2**22 + 7, boot_id()))  # beyond what a pid can be


def handler(trading) -> StackHandler:
    return StackHandler(trading.desk, trading.desk.clock.now() + timedelta(hours=4))


def parent(trading, order_id: int = 1):
    with trading.desk.store.read() as unit:
        return unit.orders.contract_order(order_id)


def claim_of(trading, order_id: int = 1) -> tuple[str | None, ...]:
    order = parent(trading, order_id)
    return order.controlling_algo, order.claimed_by


def claim(trading, owner: str, until: datetime = LATER) -> None:
    with trading.desk.store.write() as unit:
        assert unit.claims.claim(1, owner, "best", now=SystemClock().now(), until=until)
        unit.commit()


def test_an_order_is_claimed_from_the_moment_its_order_is_written_until_that_is_settled(trading):
    trading.order("GOLD", 500)
    working = handler(trading)
    working.one_pass()

    assert claim_of(trading) == ("best", me())
    order = parent(trading)
    assert order.claim_heartbeat_at < SystemClock().now() < order.claim_until

    working.cancel_all()
    assert claim_of(trading) == ("best", me())  # until the broker says what became of it
    for _ in range(3):
        trading.desk.clock.sleep_until(trading.desk.clock.now() + timedelta(minutes=1))
        working.process_fills_stack()
    assert claim_of(trading) == (None, None)


def test_a_filled_order_is_claimed_by_nobody(trading):
    trading.order("GOLD", 1, order_type="market")
    trading.work(minutes=5)

    assert trading.positions() == {"GOLD/20240400": 1}
    assert claim_of(trading) == (None, None)


@pytest.mark.parametrize(
    ("owner", "until", "works"),
    [
        (LIVING, LATER, False),
        (ELSEWHERE, LATER, False),
        ("something else altogether", LATER, False),
        (DEAD, LATER, True),  # at once: this machine knows that it is gone
        (ELSEWHERE, datetime(2020, 1, 1, tzinfo=UTC), True),
        (me(), LATER, True),
    ],
)
def test_an_order_somebody_else_may_be_working_is_left_alone(trading_on_sqlite, owner, until, works):
    trading = trading_on_sqlite
    trading.order("GOLD", 1, order_type="market")
    working = handler(trading)
    working.spawn_children()
    claim(trading, owner, until)

    sent = working.send_new_orders()

    assert sent == works
    assert claim_of(trading) == (("market", me()) if works else ("best", owner))
    assert parent(trading).note.startswith("" if works else "claimed: by algo best of ")


def test_a_claim_is_released_by_hand_though_its_owner_lives(trading_on_sqlite):
    trading = trading_on_sqlite
    trading.order("GOLD", 1, order_type="market")
    handler(trading).spawn_children()
    claim(trading, LIVING)
    asked = {"who": "rob", "why": "it hangs", "wait": timedelta(seconds=5)}

    answer = request(trading.desk, "release_claim", {"contract_order": 1}, **asked, token="a").answer

    assert answer == (
        f"Contract order 1 is free; it was claimed by algo best of process {os.getppid()} on {host_name()}."
    )
    trading.work(minutes=5)
    assert trading.positions() == {"GOLD/20240400": 1}


def test_the_heartbeat_of_the_lease_keeps_claims_on_what_works_and_its_end_drops_them(trading_on_sqlite):
    trading = trading_on_sqlite
    lease = claim_trading(trading.desk.store, "PAPER-1")
    trading.desk = wired(trading.desk, lease)
    trading.order("GOLD", 500)
    handler(trading).one_pass()
    long_ago = SystemClock().now() - timedelta(hours=1)
    with trading.desk.store.write() as unit:
        unit.claims.keep(me(), now=long_ago, until=long_ago)
        unit.commit()

    lease._beaten = None
    lease.beat()

    assert parent(trading).claim_heartbeat_at > long_ago + timedelta(minutes=59)
    assert claim_of(trading) == ("best", me())
    lease.release()
    assert claim_of(trading) == (None, None)


def test_a_new_engine_takes_over_what_a_dead_one_left_working(trading_on_sqlite):
    trading = trading_on_sqlite
    trading.order("GOLD", 500)
    handler(trading).one_pass()
    with trading.desk.store.write() as unit:
        unit.claims.release(1)
        unit.commit()
    claim(trading, DEAD)

    handler(trading).take_over_claims()

    assert claim_of(trading) == ("best", me())
