"""One instrument's trouble stays its own: instruments are worked together, and each by itself when that fails."""

import logging
from collections.abc import Callable, Collection, Iterable, MutableMapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import TypeVar

from pysys.broker.port import BrokerUnavailable
from pysys.desk import Desk
from pysys.execution.lease import LeaseLost
from pysys.execution.stack_result import PROCESS
from pysys.execution.wire import TradingStopped
from pysys.store.restrictions import FAULT
from pysys.store.unreadable import UnreadableRow

FIRST_RETRY = timedelta(seconds=2)
LAST_RETRY = timedelta(minutes=1)

T = TypeVar("T")
Work = Callable[[Collection[str]], int]

log = logging.getLogger(__name__)


@dataclass(slots=True)
class Patience:
    """When to try again what failed: later each time."""

    failures: int = 0
    not_before: datetime | None = None

    def failed(self, now: datetime) -> timedelta:
        wait: timedelta = min(FIRST_RETRY * 2 ** min(self.failures, 10), LAST_RETRY)
        self.failures += 1
        self.not_before = now + wait
        return wait

    def waits(self, now: datetime) -> bool:
        return self.not_before is not None and now < self.not_before


class Isolation:
    """Works many instruments for one stack handler, and keeps what fails in one of them there.

    A broker silent about an instrument makes that one wait. Anything unforeseen locks it until a person looks, with the
    traceback in the log; it is tried again all the same, ever more rarely, because its orders may be at the broker.

    faults: the instruments locked, and why; added to.
    """

    def __init__(self, desk: Desk, faults: MutableMapping[str, str]) -> None:
        self._desk = desk
        self._faults = faults
        self._patience: dict[tuple[str, str], Patience] = {}

    def work(self, failure: str, instruments: Iterable[str], work: Work, *, one_may_be_silent: bool = False) -> int:
        """Work instruments in one go, which is quicker; when that fails, each by itself. Adds up what came of it.

        failure: what is said of an instrument in which it fails, such as "working its orders failed". work: is given
        instruments, and done again for some of them when it fails: what it did before is in the store, or undone.

        Raises BrokerUnavailable unless `one_may_be_silent`, and LeaseLost and TradingStopped in any case.
        """
        now = self._desk.clock.now()
        waiting = [code for code in dict.fromkeys(instruments) if not self._of(failure, code).waits(now)]
        if not waiting:
            return 0
        try:
            done = self.guarded(partial(work, waiting))
        except (LeaseLost, TradingStopped):
            raise
        except Exception as error:
            if isinstance(error, BrokerUnavailable) and not one_may_be_silent:
                raise
            log.info("%d instruments failed together (%s), each is worked alone", len(waiting), error)
            return sum(self._alone(failure, code, work, one_may_be_silent) for code in waiting)
        for code in waiting:
            self._patience.pop((failure, code), None)
        return done

    def guarded(self, work: Callable[[], T]) -> T:
        """Do `work`; when it meets a row that cannot be read, lock that row's instrument and do it again without."""
        while True:
            try:
                return work()
            except UnreadableRow as error:
                if not self.fault(error.instrument, "a row cannot be read", error):
                    raise

    def fault(self, instrument: str, what: str, error: Exception) -> bool:
        """Lock an instrument for a fault; a person is told once. False when it was locked for one already."""
        why = f"{what}: {type(error).__name__}: {' '.join(str(error).split())}"
        self._faults[instrument] = why
        with self._desk.store.write() as unit:
            new = unit.restrictions.lock(instrument, FAULT, at=self._desk.clock.now(), who=PROCESS, why=why)
            unit.commit()
        if new:
            log.critical("%s is locked, %s", instrument, why, exc_info=error, extra={"instrument_code": instrument})
        return new

    def _of(self, failure: str, instrument: str) -> Patience:
        return self._patience.get((failure, instrument), Patience())

    def _alone(self, failure: str, instrument: str, work: Work, one_may_be_silent: bool) -> int:
        now = self._desk.clock.now()
        patience = self._of(failure, instrument)
        if patience.waits(now):
            return 0
        try:
            done = work([instrument])
        except (LeaseLost, TradingStopped):
            raise
        except Exception as error:
            if isinstance(error, BrokerUnavailable) and not one_may_be_silent:
                raise
            wait = patience.failed(now)
            self._patience[failure, instrument] = patience
            if isinstance(error, BrokerUnavailable):
                log.warning("%s: the broker does not answer (%s); next try in %s", instrument, error, wait)
            else:
                self.fault(instrument, failure, error)
            return 0
        self._patience.pop((failure, instrument), None)
        return done
