"""Prices of the sampled contracts, daily and intraday, from the broker into the store."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time

from pysys.broker.port import Bars, ContractDetails, Session, UnknownContract
from pysys.data.spike_gate import Gated, decided_rows, gate
from pysys.data.update_result import SeriesUpdate, UpdateResult
from pysys.desk import Desk
from pysys.domain.contracts import Contract
from pysys.domain.instruments import RollParameters
from pysys.domain.prices import ContractBars, PriceRows, to_moment
from pysys.domain.spikes import check_spikes
from pysys.store.markets import BROKER, ListedContract
from pysys.store.prices import OutcomeRow, PriceOutcome, SeriesKey, contract_key

logger = logging.getLogger(__name__)

NOTIONAL_CLOSE = time(23)  # UTC stamp of daily prices
_MOST_EXPIRED = 480  # contracts looked back for


@dataclass(frozen=True, slots=True)
class _Fetched:
    """New bars of one frequency of one contract."""

    key: SeriesKey
    bars: ContractBars
    last: int | None  # stamp of the latest stored row before this update


def update_historical_prices(
    desk: Desk, instruments: Sequence[str] | None = None, max_spike: float | None = None
) -> UpdateResult:
    """Add the new daily and intraday bars of every sampled contract; each contract is committed by itself.

    A spike in either frequency holds back both of that contract, and its rows wait in quarantine. A contract that
    fails is reported and the others go on. instruments: by default all active ones. max_spike: by default
    `max_price_spike` of the configuration.
    """
    limit = desk.config.max_price_spike if max_spike is None else max_spike
    with desk.store.read() as unit:
        codes = [one.code for one in unit.markets.instruments()] if instruments is None else list(instruments)
        sampled = [one.contract for code in codes for one in unit.markets.contracts(code, sampling=True)]
    sessions = _Sessions(desk)
    updated = [one for contract in sampled for one in _update_contract(desk, contract, limit, sessions)]
    return UpdateResult("update_historical_prices", updated)


class _Sessions:
    """Sessions per instrument, asked for once in an update."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._known: dict[tuple[str, date], Sequence[Session]] = {}

    def expects_rows(self, contract: Contract, last: int | None, *, daily: bool) -> bool:
        """Whether rows later than the latest stored one should be there by now.

        Daily: a session's notional close has passed since. Intraday: a whole session has.
        """
        if last is None:
            return False  # it may not trade yet
        now, since = self._desk.clock.now(), to_moment(last)
        key = (contract.instrument, since.date())
        if key not in self._known:
            midnight = datetime.combine(since.date(), time(), UTC)
            self._known[key] = self._desk.broker.sessions(contract.instrument, midnight, now)
        over = [session for session in self._known[key] if _notional_close(session) <= now]
        return any(since < _notional_close(one) if daily else since <= one.opens for one in over)


def _notional_close(session: Session) -> datetime:
    return max(session.closes, datetime.combine(session.closes.date(), NOTIONAL_CLOSE, UTC))


def _update_contract(desk: Desk, contract: Contract, max_spike: float, sessions: _Sessions) -> list[SeriesUpdate]:
    keys = [contract_key(contract, daily=True), contract_key(contract, daily=False)]
    moment = desk.clock.now()
    with desk.store.read() as unit:
        last = {key: unit.prices.last_time(key) for key in keys}
    try:
        fetched = [_fetch(desk, contract, key, last[key], daily=key is keys[0]) for key in keys]
        expected = {
            one.key: sessions.expects_rows(contract, one.last, daily=one.key is keys[0])
            for one in fetched
            if not len(one.bars)
        }
        return _write(desk, fetched, expected, max_spike, moment)
    except Exception as error:
        logger.exception("%s was not updated", contract)
        detail = str(error) or type(error).__name__
        failed = [SeriesUpdate(OutcomeRow(key, moment, PriceOutcome.ERROR, 0, detail), last[key]) for key in keys]
        with desk.store.write() as unit:
            unit.prices.record_outcomes(one.outcome for one in failed)
            unit.commit()
        return failed


def _fetch(desk: Desk, contract: Contract, key: SeriesKey, last: int | None, *, daily: bool) -> _Fetched:
    since = None if last is None else to_moment(last)
    ask = desk.broker.daily_bars if daily else desk.broker.intraday_bars
    bars = bars_of(ask(contract, since))
    return _Fetched(key, bars if last is None else bars.rows(bars.times > last), last)


def bars_of(bars: Bars) -> ContractBars:
    """The broker's bars as rows of the store."""
    return ContractBars(bars.times, bars.open, bars.high, bars.low, bars.final, bars.volume)


def _write(
    desk: Desk, fetched: list[_Fetched], expected: dict[SeriesKey, bool], max_spike: float, moment: datetime
) -> list[SeriesUpdate]:
    with desk.store.write() as unit:
        gated: list[Gated] = []
        for one in fetched:
            stored = unit.prices.final_prices(one.key) if len(one.bars) else PriceRows(one.bars.times, one.bars.final)
            known = unit.prices.quarantined(one.key.kind, one.key.code, unresolved=False)
            decided = decided_rows(known, one.key)
            gated.append(gate(one.key, stored, one.bars, decided, max_spike=max_spike, moment=moment))
        refused = [row for each in gated for row in each.refused]
        if refused:
            unit.prices.quarantine(refused)
            reason = f"{refused[0].time:%Y-%m-%d %H:%M}: {refused[0].reason}"
            updated = [
                SeriesUpdate(OutcomeRow(one.key, moment, PriceOutcome.HELD_BACK, 0, reason), one.last)
                for one in fetched
            ]
        else:
            updated = []
            for one, each in zip(fetched, gated, strict=True):
                added = unit.prices.append(one.key, each.rows)
                last = int(each.rows.times[-1]) if added else one.last
                if added:
                    unit.prices.release(one.key, int(each.rows.times[-1]))
                updated.append(SeriesUpdate(_outcome(one, added, expected.get(one.key, False), moment), last))
        unit.prices.record_outcomes(one.outcome for one in updated)
        unit.commit()
    return updated


def _outcome(fetched: _Fetched, added: int, expected: bool, moment: datetime) -> OutcomeRow:
    if added:
        return OutcomeRow(fetched.key, moment, PriceOutcome.NEW_ROWS, added)
    if expected:
        detail = "the market traded, and the broker has no rows of it"
        return OutcomeRow(fetched.key, moment, PriceOutcome.MISSING, 0, detail)
    return OutcomeRow(fetched.key, moment, PriceOutcome.NONE_EXPECTED)


def download_history(
    desk: Desk,
    instrument: str,
    contracts: Sequence[Contract] | None = None,
    *,
    intraday_since: datetime | None = None,
) -> UpdateResult:
    """Replace the bars of an instrument's contracts by all the broker has; for a market without prices of its own.

    contracts: by default those the broker lists, and before them along the priced cycle those it still has prices of.
    intraday_since: intraday bars are fetched from here on; all there are when None.
    Spikes are let through, as there is nothing to compare the first rows with, and told in the detail.
    """
    with desk.store.read() as unit:
        parameters = unit.markets.roll_parameters(instrument)
    if contracts is not None:
        wanted = [desk.broker.contract_details(contract) for contract in contracts]
    else:
        wanted = list(desk.broker.listed_contracts(instrument))
        if wanted:
            first = min(one.contract for one in wanted)
            wanted = [*_expired_before(desk, first, parameters), *wanted]
    updated = [one for details in wanted for one in _download(desk, details, intraday_since)]
    return UpdateResult("download_history", updated)


def _expired_before(desk: Desk, first: Contract, parameters: RollParameters) -> list[ContractDetails]:
    found: list[ContractDetails] = []
    contract = first
    for _ in range(_MOST_EXPIRED):
        contract = parameters.previous_priced(contract)
        try:
            details = desk.broker.contract_details(contract)
            if not len(desk.broker.daily_bars(contract, None)):
                break
        except UnknownContract:
            break
        found.append(details)
    return found[::-1]


def _download(desk: Desk, details: ContractDetails, intraday_since: datetime | None) -> list[SeriesUpdate]:
    contract = details.contract
    bars = {
        contract_key(contract, daily=True): bars_of(desk.broker.daily_bars(contract, None)),
        contract_key(contract, daily=False): bars_of(desk.broker.intraday_bars(contract, intraday_since)),
    }
    with desk.store.write() as unit:
        sampling = details.expiry >= desk.clock.now().date()
        unit.markets.put_contract(ListedContract(contract, details.expiry, BROKER, sampling))
        updated = [_downloaded(desk, key, rows, unit.prices.replace(key, rows)) for key, rows in bars.items()]
        unit.prices.record_outcomes(one.outcome for one in updated)
        unit.commit()
    return updated


def _downloaded(desk: Desk, key: SeriesKey, bars: ContractBars, stored: int) -> SeriesUpdate:
    limit = desk.config.max_price_spike
    spikes = check_spikes(bars.times, bars.final, None, limit)
    detail = ""
    if spikes.first_spike is not None:
        detail = f"spike of {spikes.largest_change:.1f}, the first at {to_moment(spikes.first_spike):%Y-%m-%d %H:%M}"
    outcome = PriceOutcome.NEW_ROWS if stored else PriceOutcome.NONE_EXPECTED
    row = OutcomeRow(key, desk.clock.now(), outcome, stored, detail)
    return SeriesUpdate(row, int(bars.times[-1]) if stored else None)
