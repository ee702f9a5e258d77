"""One at a time, on either database; and a log that never hurts the one who logs."""

import logging
import os
import threading
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from pysys.clock import FrozenClock
from pysys.domain.process_rules import ProcessStatus
from pysys.store.log import LogHandler
from pysys.store.machine import Holder, is_gone, this_process
from pysys.store.repository import Author
from pysys.store.runs import LeaseHeld
from pysys.store.unit import Store

NOW = datetime(2024, 3, 5, 21, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
ELSEWHERE = Holder("other-host", 7, "boot", "run1")


def claim(store: Store, holder: Holder, now: datetime = NOW) -> Holder | None:
    """Take the lease; returns whose dead lease it replaced."""
    with store.write() as unit:
        replaced = unit.runs.claim("notebook:x", holder, now, MINUTE)
        unit.commit()
    return None if replaced is None else replaced.holder


def test_a_living_holder_keeps_its_lease_until_it_falls_silent(store: Store) -> None:
    assert claim(store, ELSEWHERE) is None
    with pytest.raises(LeaseHeld, match="x is already being run by process 7 on other-host since 2024-03-05 21:00:00"):
        claim(store, this_process(), NOW + timedelta(seconds=59))
    with store.write() as unit:
        assert unit.runs.heartbeat("notebook:x", ELSEWHERE, NOW + timedelta(seconds=50), MINUTE)
        unit.commit()
    with pytest.raises(LeaseHeld):
        claim(store, this_process(), NOW + timedelta(seconds=61))
    assert claim(store, this_process(), NOW + timedelta(seconds=110)) == ELSEWHERE
    with store.write() as unit:
        assert not unit.runs.heartbeat("notebook:x", ELSEWHERE, NOW + timedelta(seconds=111), MINUTE)
        assert not unit.runs.release("notebook:x", ELSEWHERE)
        assert unit.runs.release("notebook:x", this_process())


def test_a_holder_on_this_machine_that_is_gone_loses_its_lease_at_once(store: Store) -> None:
    me = this_process("run2")
    rebooted = replace(me, boot_id="an earlier start of this machine")
    no_such_process = replace(me, pid=2**22 + 1)
    assert claim(store, rebooted) is None
    assert claim(store, no_such_process) == rebooted
    assert claim(store, me) == no_such_process
    with pytest.raises(LeaseHeld):
        claim(store, this_process("run3"))


def test_a_process_that_ended_but_was_not_asked_for_is_gone() -> None:
    pid = os.fork()
    if pid == 0:
        os._exit(0)
    os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)  # a zombie now
    assert is_gone(replace(this_process(), pid=pid))
    os.waitpid(pid, 0)


def test_of_ten_that_start_at_once_one_gets_the_lease(store: Store) -> None:
    won, refused, ready = [], [], threading.Barrier(10)

    def launch(number: int) -> None:
        ready.wait()
        try:
            claim(store, this_process(f"run{number}"))
            won.append(number)
        except LeaseHeld:
            refused.append(number)

    threads = [threading.Thread(target=launch, args=(number,)) for number in range(10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (len(won), len(refused)) == (1, 9)


def test_a_process_remembers_its_status_and_when_it_last_ran(store: Store) -> None:
    with store.write() as unit:
        assert unit.runs.process("run_systems").status is ProcessStatus.GO
        unit.runs.process_started("run_systems", NOW)
        unit.runs.set_process_status("run_systems", ProcessStatus.NO_RUN, "trader@desk", NOW)
        unit.runs.process_ended("run_systems", NOW + MINUTE)
        unit.commit()
    with store.read() as unit:
        state = unit.runs.processes()["run_systems"]
    assert (state.status, state.last_start, state.last_end) == (ProcessStatus.NO_RUN, NOW, NOW + MINUTE)
    assert state.changed_by == "trader@desk"


@pytest.fixture
def logger(store: Store) -> Iterator[logging.Logger]:
    handler = LogHandler(store.signed(Author("run_stack_handler", "run1")), FrozenClock(NOW))
    found = logging.getLogger("tests.log")
    found.setLevel(logging.INFO)
    found.addHandler(handler)
    yield found
    found.removeHandler(handler)
    handler.close()


def test_a_line_logged_inside_a_transaction_lands_after_it_whether_or_not_it_is_kept(
    store: Store, logger: logging.Logger
) -> None:
    with store.write():
        logger.warning("no rate for %s", "GBPUSD", extra={"currency_code": "GBPUSD", "component": "fx", "other": 1})
    logger.handlers[0].flush()
    with store.read() as unit:
        (entry,) = unit.log.read({"currency_code": "GBPUSD"})
        assert unit.log.read({"currency_code": "EURUSD"}) == []
        assert unit.log.read({"type": "run_stack_handler"}, run_id="run1") == [entry]
    assert (entry.message, entry.level, entry.time) == ("no rate for GBPUSD", "WARNING", NOW)
    assert entry.attributes == {"currency_code": "GBPUSD", "component": "fx"}


def test_logging_does_no_harm_when_the_database_is_gone(sqlite_store: Store, capfd: pytest.CaptureFixture[str]) -> None:
    handler = LogHandler(Store("sqlite:////proc/nowhere/pysys.db"), FrozenClock(NOW))
    found = logging.getLogger("tests.broken_log")
    found.propagate = False
    found.addHandler(handler)
    found.error("one")
    found.error("two %s %s", "too few")
    handler.flush(timeout=0.2)
    found.removeHandler(handler)
    handler.close()
    assert "The log cannot be written" in capfd.readouterr().err
