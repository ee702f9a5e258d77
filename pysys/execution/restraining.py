"""What restrains each strategy in each instrument now, and the orders that bring positions back within limits."""

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime

from pysys.config import Config
from pysys.domain.limits import not_beyond, room
from pysys.domain.orders import ROLL_PSEUDO_STRATEGY, InstrumentOrder, InstrumentOrderType
from pysys.domain.overrides import NO_OVERRIDE, Override, combine, left_of
from pysys.domain.prices import to_moment
from pysys.domain.restraints import LegLimit, Restraints, reductions, restrain
from pysys.domain.roll_states import RollState
from pysys.execution.spread_book import market_of_instrument
from pysys.store.unit import UnitOfWork

Key = tuple[str, str]  # (strategy, instrument)
LIMIT_NOTE = "brings the position back within its limit"


@dataclass(frozen=True)
class Snapshot:
    """Positions, unfilled orders, overrides, limits and roll states, all read in one transaction."""

    positions: Mapping[Key, int]
    unfilled: Mapping[Key, int]
    overrides: Mapping[Key, Override]
    limits: Mapping[Key, int]
    no_open: frozenset[str]  # instruments in roll state No_Open
    closing: frozenset[str]  # instruments in roll state Close
    waived: Mapping[Key, int]  # contracts beyond each limit that a person ordered all the same
    legs: Mapping[str, Mapping[str, int]]  # contracts of each market in one unit of a spread, by its code

    def effective(self) -> dict[Key, int]:
        """Positions with unfilled orders, by (strategy, instrument)."""
        keys = set(self.positions) | set(self.unfilled)
        return {key: self.positions.get(key, 0) + self.unfilled.get(key, 0) for key in keys}

    def restrain(self, key: Key, wanted: int, effective: Mapping[Key, int], stale: str = "") -> tuple[int, str]:
        """What is left of a trade in a strategy and instrument, and why; see `pysys.domain.restraints.restrain`.

        effective: positions with unfilled orders, as they are when the trade is decided.
        """
        return self._restrained(key, wanted, effective, self.override(key), stale)

    def restrain_again(self, key: Key, decided: int, effective: Mapping[Key, int], stale: str = "") -> tuple[int, str]:
        """The same of a trade decided before, on which the factor of an override has had its say; see `left_of`."""
        override = self.override(key)
        left = left_of(override, effective.get(key, 0), decided)
        trade, note = (0, "") if left == 0 else self._restrained(key, left, effective, NO_OVERRIDE, stale)
        if left == decided:
            return trade, note
        overridden = f"override {override}: {decided:+d} became {left:+d}"
        return trade, f"{overridden}; {note}" if note else overridden

    def _restrained(
        self, key: Key, wanted: int, effective: Mapping[Key, int], override: Override, stale: str
    ) -> tuple[int, str]:
        position, instrument = effective.get(key, 0), key[1]
        restraints = Restraints(
            override=override,
            strategy_limits=self._limit(key, effective),
            instrument_limits=self._limit(("", instrument), effective),
            leg_limits=tuple(self._leg_limits(instrument, effective)),
            stale=stale,
        )
        return restrain(wanted, position, self._in_market(instrument, effective) - position, restraints)

    def override(self, key: Key) -> Override:
        """What every scope amounts to that a strategy's trade in an instrument, or in a spread's legs, falls under."""
        strategy, instrument = key
        found = applying(self.overrides, strategy, (instrument, *self.legs.get(instrument, ())))
        if instrument in self.no_open:
            found[key] = combine([found.get(key, NO_OVERRIDE), Override("reduce_only")])
        return combine(found.values())

    def reductions(self, effective: Mapping[Key, int]) -> dict[Key, int]:
        """Trades that bring positions back within their limits, given positions with unfilled orders.

        What must not be traded at all stays beyond its limit: see `kept_beyond`. So does what is being closed, for
        every holder on the books of one.
        """
        frozen = {key for key in effective if key[1] in self.closing or self.override(key).kind == "no_trading"}
        return self._reductions(effective, frozen)

    def kept_beyond(self, effective: Mapping[Key, int]) -> list[Key]:
        """What an override keeps beyond a limit."""
        free = self._reductions(effective, ())
        return sorted(key for key in free if self.override(key).kind == "no_trading")

    def beyond(self, key: Key, trade: int) -> Iterator[tuple[Key, int, int, int]]:
        """(scope, limit, position with unfilled orders, change) of every limit a trade would take a position beyond."""
        effective = self.effective()
        scopes = {key: 1, ("", key[1]): 1, **{("", market): n for market, n in self.legs.get(key[1], {}).items()}}
        for scope, per_unit in scopes.items():
            if scope in self.limits:
                held, moved = self._held(scope, effective), trade * per_unit
                if not_beyond(held, moved, self.limits[scope]) != moved:
                    yield scope, self.limits[scope], held, moved

    def lapsed_waivers(self, effective: Mapping[Key, int]) -> list[Key]:
        """Limits that were waived, and hold again."""
        return [key for key in self.waived if abs(self._held(key, effective)) <= self.limits[key]]

    def _reductions(self, effective: Mapping[Key, int], frozen: Collection[Key]) -> dict[Key, int]:
        room_left = {key: limit for key in self.limits for limit in self._limit(key, effective)}
        own = {key: limit for key, limit in room_left.items() if key[0]}
        everybody = {instrument: limit for (strategy, instrument), limit in room_left.items() if not strategy}
        held = {key: position for key, position in effective.items() if key[0] != ROLL_PSEUDO_STRATEGY}
        return reductions(held, own, everybody, frozen=frozen, legs=self.legs)

    def _limit(self, scope: Key, effective: Mapping[Key, int]) -> tuple[int, ...]:
        """The limit of a scope, if it has one, with what is held beyond it because a person said so."""
        if scope not in self.limits:
            return ()
        if scope not in self.waived:
            return (self.limits[scope],)
        return (room(self.limits[scope], self.waived[scope], self._held(scope, effective)),)

    def _held(self, scope: Key, effective: Mapping[Key, int]) -> int:
        return effective.get(scope, 0) if scope[0] else self._in_market(scope[1], effective)

    def _in_market(self, market: str, effective: Mapping[Key, int]) -> int:
        """Contracts of a market over all strategies, legs of spreads included."""
        ratios = {code: legs.get(market, 0) for code, legs in self.legs.items()}
        return sum(
            held * (1 if code == market else ratios.get(code, 0))
            for (strategy, code), held in effective.items()
            if strategy != ROLL_PSEUDO_STRATEGY
        )

    def _leg_limits(self, instrument: str, effective: Mapping[Key, int]) -> Iterator[LegLimit]:
        for market, per_unit in self.legs.get(instrument, {}).items():
            for limit in self._limit(("", market), effective):
                yield LegLimit(market, per_unit, self._in_market(market, effective), limit)


def applying(overrides: Mapping[Key, Override], strategy: str, codes: Iterable[str]) -> dict[Key, Override]:
    """The overrides an order of a strategy falls under, by scope. codes: its instrument and the markets of its legs."""
    scopes = [(whose, code) for code in ("", *codes) for whose in ("", strategy)]
    return {scope: overrides[scope] for scope in scopes if scope in overrides}


def leg_ratios(config: Config) -> dict[str, dict[str, int]]:
    """Contracts of each market in one unit of every spread, by its code. Those of a calendar spread come to 0."""
    found: dict[str, dict[str, int]] = {}
    for code, spread in config.spreads.items():
        ratios = found.setdefault(code, {})
        for leg in spread.legs:
            ratios[leg.instrument] = ratios.get(leg.instrument, 0) + leg.ratio
    return found


def take_snapshot(unit: UnitOfWork, config: Config) -> Snapshot:
    """Read inside the transaction that will write the orders."""
    no_open, closing = (_in_state(unit, config, state) for state in (RollState.NO_OPEN, RollState.CLOSE))
    return Snapshot(
        positions=unit.positions.strategy_positions(),
        unfilled=unit.orders.unfilled_by_strategy_instrument(),
        overrides=unit.restrictions.overrides(),
        limits=unit.restrictions.position_limits(),
        no_open=no_open,
        closing=closing,
        waived=unit.restrictions.waived_limits(),
        legs=leg_ratios(config),
    )


def keeps_limit(order: InstrumentOrder) -> bool:
    """Whether no strategy asked for an order: it brings a position back within its limit."""
    return order.note.startswith(LIMIT_NOTE)


def _in_state(unit: UnitOfWork, config: Config, state: RollState) -> frozenset[str]:
    """Markets in a roll state, and the spreads that roll with them."""
    markets = {code for code, status in unit.markets.roll_statuses().items() if status.state is state}
    return frozenset(markets | {c for c in config.spread_instruments if market_of_instrument(config, c) in markets})


def beyond_limits(unit: UnitOfWork, config: Config) -> list[str]:
    """Instruments with positions, unfilled orders included, beyond a limit; without limits next to nothing is read."""
    if not unit.restrictions.position_limits():
        return []
    snapshot = take_snapshot(unit, config)
    return sorted({instrument for _, instrument in snapshot.reductions(snapshot.effective())})


def reduce_to_limits(
    unit: UnitOfWork, config: Config, now: datetime, instruments: Collection[str] | None = None
) -> int:
    """Order what brings positions beyond their limits back, though no strategy asked; how many orders.

    instruments: in which; in all of them when not given.
    """
    snapshot = take_snapshot(unit, config)
    reducing = snapshot.reductions(snapshot.effective())
    wanted = {key: trade for key, trade in reducing.items() if instruments is None or key[1] in instruments}
    for key, trade in sorted(wanted.items()):
        unit.orders.place_instrument_order(order_without_target(unit, key, trade, now, LIMIT_NOTE))
    return len(wanted)


def order_without_target(unit: UnitOfWork, key: Key, trade: int, now: datetime, note: str) -> InstrumentOrder:
    """An order no strategy asked for: its reference is the last price."""
    strategy, instrument = key
    last = unit.prices.last_multiple(instrument)
    known = len(last) > 0 and last.price[-1] == last.price[-1]
    return InstrumentOrder(
        strategy=strategy,
        instrument=instrument,
        trade=trade,
        order_type=InstrumentOrderType.BEST,
        generated_at=now,
        reference_price=float(last.price[-1]) if known else None,
        reference_contract=f"{int(last.price_contract[-1]):08d}" if known else None,
        reference_time=to_moment(last.times[-1]) if known else None,
        note=note,
    )
