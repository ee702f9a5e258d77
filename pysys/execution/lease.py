"""The right to trade an account: one process at a time, kept by signs of life, taken over only from the dead."""

import uuid
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from pysys.clock import Clock, SystemClock
from pysys.domain.errors import NotAllowedNow
from pysys.execution.claims import drop_claims, keep_claims
from pysys.store.machine import Holder, is_gone, this_process
from pysys.store.runs import Lease, LeaseHeld
from pysys.store.unit import Store, UnitOfWork

LEASE_LASTS = timedelta(seconds=60)  # without a sign of life
BEAT_EVERY = timedelta(seconds=10)
_PREFIX = "engine:"


class LeaseLost(NotAllowedNow):
    """Another process trades this account now. Nothing more may be sent from here."""


@dataclass
class TradingLease:
    """The lease of one account, as held here. Times are of the real world: a simulated clock proves no life."""

    store: Store
    name: str
    holder: Holder
    clock: Clock = field(default_factory=SystemClock)
    _beaten: datetime | None = None

    def beat(self) -> None:
        """Give a sign of life when one is due. Raises LeaseLost when another process has taken over."""
        now = self.clock.now()
        if self._beaten is not None and now - self._beaten < BEAT_EVERY:
            return
        with self.store.write() as unit:
            kept = unit.runs.heartbeat(self.name, self.holder, now, LEASE_LASTS)
            if kept:
                keep_claims(unit)
            unit.commit()
        if not kept:
            raise self._lost()
        self._beaten = now

    def require(self, unit: UnitOfWork) -> None:
        """Raises LeaseLost unless the lease is still held here."""
        lease = unit.runs.lease(self.name)
        if lease is None or lease.holder != self.holder:
            raise self._lost()

    def release(self) -> None:
        """Give the lease back, and what is claimed under it; somebody else's is left alone."""
        with self.store.write() as unit:
            if unit.runs.release(self.name, self.holder):
                drop_claims(unit)
            unit.commit()

    def _lost(self) -> LeaseLost:
        return LeaseLost(
            f"Another process trades account {self.name.removeprefix(_PREFIX)} now, because this one gave no sign of "
            "life in time. It stops, and has sent nothing since."
        )


def claim_trading(store: Store, account: str) -> TradingLease:
    """The right to trade `account`. Raises LeaseHeld while another process that may be alive trades through the store.

    One store keeps the books of one account, so whoever holds the lease of any account here is waited for.
    """
    clock = SystemClock()
    now = clock.now()
    lease = TradingLease(store, f"{_PREFIX}{account}", this_process(uuid.uuid4().hex[:12]), clock, now)
    with store.write() as unit:
        other = _held(unit, now)
        if other is not None:
            raise LeaseHeld(other)
        unit.runs.claim(lease.name, lease.holder, now, LEASE_LASTS)
        unit.commit()
    return lease


@dataclass(frozen=True, slots=True)
class EngineStanding:
    """Who has, or last had, the right to trade an account, for a person."""

    account: str
    host: str
    pid: int
    since: datetime  # UTC
    heartbeat_age: timedelta  # of real time, since the last sign of life
    state: str  # alive, expired (no sign of life in time), or gone (its process has certainly ended)


def engine_standings(unit: UnitOfWork) -> list[EngineStanding]:
    """Every right to trade that was not given back, whether or not its holder still lives."""
    now = SystemClock().now()
    return [
        EngineStanding(
            account=lease.name.removeprefix(_PREFIX),
            host=lease.holder.host,
            pid=lease.holder.pid,
            since=lease.taken_at,
            heartbeat_age=now - lease.heartbeat_at,
            state="gone" if is_gone(lease.holder) else "expired" if lease.is_free(now) else "alive",
        )
        for lease in unit.runs.leases()
        if lease.name.startswith(_PREFIX)
    ]


def trading_now(store: Store) -> Lease | None:
    """The lease of whoever trades through this store now; None when nobody alive does."""
    with store.read() as unit:
        return _held(unit, SystemClock().now())


def _held(unit: UnitOfWork, now: datetime) -> Lease | None:
    held = (lease for lease in unit.runs.leases() if lease.name.startswith(_PREFIX))
    return next((lease for lease in held if not lease.is_free(now)), None)
