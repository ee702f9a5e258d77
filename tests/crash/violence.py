"""Killing: a child process does the work, dies, and the next one goes on."""

import os
import random
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path

from tests.crash import invariants, scenario
from tests.crash.scenario import FORTNIGHT

DIED = 9  # exit code of a process that ended itself at the chosen call
AT_A_TIME = 2  # processes that die in turn


def in_child(work: Callable[[], None]) -> int:
    """Run `work` in a forked process; its pid. Nothing is shared but files."""
    pid = os.fork()
    if pid:
        return pid
    code = 1
    try:
        work()
        code = 0
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def exit_code(pid: int) -> int:
    """Wait for a child; minus the signal when it was killed."""
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def check(folder: Path, *, finished: bool = False) -> None:
    """Check the invariants in a process of its own. Raises AssertionError with what it printed above."""

    def look() -> None:
        desk = scenario.open_desk(folder)
        facts = invariants.recover_and_check(desk, finished=finished)
        (folder / "facts.json").write_text(scenario.describe(facts))
        scenario.close(desk)

    code = exit_code(in_child(look))
    assert code == 0, f"the ledger does not hold in {folder} (exit {code}); the traceback is above"


def kill_at_random(
    folder: Path, *, seed: int, orders: int, kills: int, longest: float, url: str | None = None, length: int = FORTNIGHT
) -> int:
    """Start the work and kill it, again and again, then let it end; how many kills hit a living process."""
    chance = random.Random(seed)
    plan = scenario.plan(seed, orders, length)
    scenario.build(folder, url)
    hits = 0
    while hits < kills:
        pid = in_child(lambda: scenario.work(folder, plan))
        time.sleep(chance.uniform(0.01, longest))
        ended, status = os.waitpid(pid, os.WNOHANG)
        if ended:
            assert os.waitstatus_to_exitcode(status) == 0
            break
        os.kill(pid, signal.SIGKILL)
        assert exit_code(pid) == -signal.SIGKILL
        hits += 1
        check(folder)
    assert exit_code(in_child(lambda: scenario.work(folder, plan))) == 0
    check(folder, finished=True)
    return hits


def die_at_call(folder: Path, calls: "Calls", number: int, *, after: bool) -> bool:
    """On what was built in `folder`, work until the n-th of some calls, die right before or after it, start again and
    finish. False when there were fewer calls than that.
    """
    plan = scenario.everything_once()

    def work() -> None:
        calls.arm(number, after=after)
        scenario.work(folder, plan)

    code = exit_code(in_child(work))
    assert code in (0, DIED)
    check(folder)
    assert exit_code(in_child(lambda: scenario.work(folder, plan))) == 0
    check(folder, finished=True)
    return code == DIED


def die_at_each_call(methods: "Methods", *, after: bool, every: int = 1) -> int:
    """Die at each call in turn (at one of `every`), in two processes at a time; how many deaths."""
    with tempfile.TemporaryDirectory() as folder:
        template = Path(folder) / "template"
        template.mkdir()
        scenario.build(template)
        shares = [Path(folder) / str(share) for share in range(AT_A_TIME)]
        pids = []
        for number, share in enumerate(shares):
            share.mkdir()
            first, step = 1 + number * every, AT_A_TIME * every
            pids.append(
                in_child(lambda place=share, f=first, s=step: _die_in_turn(template, place, methods, f, s, after))
            )
        codes = [exit_code(pid) for pid in pids]
        assert codes == [0] * AT_A_TIME, "the ledger does not hold; the traceback is above"
        return sum(int((share / "deaths").read_text()) for share in shares)


def _die_in_turn(template: Path, place: Path, methods: "Methods", first: int, step: int, after: bool) -> None:
    deaths, number, alive = 0, first, True
    while alive:
        folder = place / str(number)
        folder.mkdir()
        scenario.start_from(template, folder)
        alive = die_at_call(folder, Calls(*methods), number, after=after)
        shutil.rmtree(folder)
        deaths += alive
        number += step
    (place / "deaths").write_text(str(deaths))


Methods = Sequence[tuple[type, str]]


class Calls:
    """Counts calls of some methods in this process, and ends the process at one of them."""

    def __init__(self, *methods: tuple[type, str]) -> None:
        self._methods = methods
        self._count = 0

    def arm(self, number: int, *, after: bool) -> None:
        """End this process right before (or after) the call with that number, counted from 1."""
        for owner, name in self._methods:
            setattr(owner, name, self._wrapped(getattr(owner, name), number, after))

    def count(self, work: Callable[[], None]) -> int:
        """How many of these calls some work makes; in a process of its own, for the methods stay wrapped."""
        self.arm(0, after=False)
        work()
        return self._count

    def _wrapped(self, method: Callable, number: int, after: bool) -> Callable:
        def call(*arguments, **named):
            self._count += 1
            mine = self._count
            if mine == number and not after:
                os._exit(DIED)
            result = method(*arguments, **named)
            if mine == number:
                os._exit(DIED)
            return result

        return call
