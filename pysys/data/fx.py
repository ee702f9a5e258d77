"""Spot exchange rates, daily. Stored as USD for one unit of the currency, whatever the account's base currency."""

import logging
from collections.abc import Sequence
from datetime import datetime

import numpy as np

from pysys.data.spike_gate import decided_rows, gate
from pysys.data.update_result import SeriesUpdate, UpdateResult
from pysys.desk import Desk
from pysys.domain.prices import ContractBars, PriceRows, to_moment
from pysys.store.prices import OutcomeRow, PriceOutcome, SeriesKey, SeriesKind

logger = logging.getLogger(__name__)

DOLLAR = "USD"


def update_fx_prices(
    desk: Desk, currencies: Sequence[str] | None = None, max_spike: float | None = None
) -> UpdateResult:
    """Add the broker's new daily rates; a currency with a spike gets none, and waits in quarantine.

    currencies: by default those of all active instruments, of the account, and of the series there are.
    max_spike: by default `max_price_spike` of the configuration.
    """
    limit = desk.config.max_price_spike if max_spike is None else max_spike
    wanted = _known_currencies(desk) if currencies is None else list(currencies)
    return UpdateResult("update_fx_prices", [_update_one(desk, currency, limit) for currency in wanted])


def _known_currencies(desk: Desk) -> list[str]:
    with desk.store.read() as unit:
        quoted = {instrument.currency for instrument in unit.markets.instruments()}
        stored = {key.code for key in unit.prices.series(SeriesKind.FX)}
    return sorted((quoted | stored | {desk.config.base_currency}) - {DOLLAR})


def _update_one(desk: Desk, currency: str, max_spike: float) -> SeriesUpdate:
    key, moment = SeriesKey(SeriesKind.FX, currency), desk.clock.now()
    with desk.store.read() as unit:
        last = unit.prices.last_time(key)
    try:
        rates = _rates_in_dollars(desk, currency, None if last is None else to_moment(last))
        if last is not None:
            rates = rates.rows(rates.times > last)
        return _write(desk, key, rates, last, max_spike, moment)
    except Exception as error:
        logger.exception("%s was not updated", key)
        outcome = OutcomeRow(key, moment, PriceOutcome.ERROR, 0, str(error) or type(error).__name__)
        _record(desk, outcome)
        return SeriesUpdate(outcome, last)


def _rates_in_dollars(desk: Desk, currency: str, since: datetime | None) -> PriceRows:
    base = desk.config.base_currency
    if base == DOLLAR:
        rows = desk.broker.fx_rates(currency, since)
        return PriceRows(rows.times, rows.rates)
    dollar = desk.broker.fx_rates(DOLLAR, since)
    if currency == base:
        return PriceRows(dollar.times, 1 / dollar.rates)
    rows = desk.broker.fx_rates(currency, since)
    times, here, there = np.intersect1d(rows.times, dollar.times, assume_unique=True, return_indices=True)
    return PriceRows(times, rows.rates[here] / dollar.rates[there])


def _write(
    desk: Desk, key: SeriesKey, rates: PriceRows, last: int | None, max_spike: float, moment: datetime
) -> SeriesUpdate:
    with desk.store.write() as unit:
        stored = unit.prices.final_prices(key) if len(rates) else rates
        decided = decided_rows(unit.prices.quarantined(SeriesKind.FX, key.code, unresolved=False), key)
        gated = gate(key, stored, _as_bars(rates), decided, max_spike=max_spike, moment=moment)
        if gated.refused:
            unit.prices.quarantine(gated.refused)
            outcome = OutcomeRow(key, moment, PriceOutcome.HELD_BACK, 0, gated.refused[0].reason)
        elif len(rates):
            added = unit.prices.append(key, PriceRows(gated.rows.times, gated.rows.final))
            last = int(rates.times[-1])
            unit.prices.release(key, last)
            outcome = OutcomeRow(key, moment, PriceOutcome.NEW_ROWS, added)
        else:
            outcome = _without_rows(key, last, moment)
        unit.prices.record_outcomes([outcome])
        unit.commit()
    return SeriesUpdate(outcome, last)


def _without_rows(key: SeriesKey, last: int | None, moment: datetime) -> OutcomeRow:
    """A rate is missing once a whole business day has passed since the latest one."""
    if last is not None and np.busday_count(to_moment(last).date(), moment.date()) > 1:
        detail = f"no rate since {to_moment(last):%Y-%m-%d}"
        return OutcomeRow(key, moment, PriceOutcome.MISSING, 0, detail)
    return OutcomeRow(key, moment, PriceOutcome.NONE_EXPECTED)


def _as_bars(rows: PriceRows) -> ContractBars:
    price = rows.price
    return ContractBars(rows.times, price, price, price, price, np.full(len(rows), np.nan))


def _record(desk: Desk, outcome: OutcomeRow) -> None:
    with desk.store.write() as unit:
        unit.prices.record_outcomes([outcome])
        unit.commit()
