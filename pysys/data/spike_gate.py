"""The gate between the broker's rows and the store: spikes wait in quarantine until a person decides."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime

import numpy as np

from pysys.domain.errors import DataError
from pysys.domain.prices import ContractBars, FloatArray, IntArray, PriceRows, to_microseconds, to_moment
from pysys.domain.spikes import normalised_changes, spike_rows
from pysys.store.prices import QuarantinedRow, Resolution, SeriesKey
from pysys.store.unit import Store


@dataclass(frozen=True, slots=True)
class Gated:
    """New rows with decided corrections applied, and the rows of them that are refused."""

    rows: ContractBars
    refused: tuple[QuarantinedRow, ...]


def gate(
    key: SeriesKey,
    stored: PriceRows,
    new: ContractBars,
    decided: Sequence[QuarantinedRow],
    *,
    max_spike: float,
    moment: datetime,
) -> Gated:
    """Check new bars against the stored final prices.

    decided: rows of the series a person has looked at. Their price is corrected where that was the decision, and
    they are not checked again. Rows without a final price are not checked.
    """
    old = stored.rows(~np.isnan(stored.price))
    new = _corrected(new, old, decided)
    fresh = PriceRows(new.times, new.final).rows(~np.isnan(new.final))
    if not len(fresh):
        return Gated(new, ())
    times = np.concatenate([old.times, fresh.times])
    prices = np.concatenate([old.price, fresh.price])
    looked_at = {to_microseconds(row.time) for row in decided}
    new_from = int(fresh.times[0]) if len(old) else None
    spikes = [row for row in spike_rows(times, prices, new_from, max_spike) if int(times[row]) not in looked_at]
    if not spikes:
        return Gated(new, ())
    changes = normalised_changes(times, prices)
    refused = [_refused(key, times, prices, changes, row, max_spike, moment) for row in spikes]
    return Gated(new, tuple(refused))


def _refused(
    key: SeriesKey,
    times: IntArray,
    prices: FloatArray,
    changes: FloatArray,
    row: int,
    max_spike: float,
    moment: datetime,
) -> QuarantinedRow:
    reason = (
        f"{prices[row - 1]:g} to {prices[row]:g} is {changes[row]:.1f} times the average change, "
        f"more than {max_spike:g}"
    )
    return QuarantinedRow(key, to_moment(times[row]), float(prices[row]), reason, moment)


def _corrected(bars: ContractBars, old: PriceRows, decided: Sequence[QuarantinedRow]) -> ContractBars:
    by_time = {to_microseconds(row.time): row for row in decided}
    final, previous = bars.final.copy(), float(old.price[-1]) if len(old) else np.nan
    for number, time in enumerate(bars.times.tolist()):
        row = by_time.get(time)
        if row is not None and row.resolution is Resolution.TYPED and row.value is not None:
            final[number] = row.value
        elif row is not None and row.resolution is Resolution.PREVIOUS and not np.isnan(previous):
            final[number] = previous
        previous = previous if np.isnan(final[number]) else float(final[number])
    shift = np.where(final == bars.final, 0.0, final - bars.final)
    return replace(bars, open=bars.open + shift, high=bars.high + shift, low=bars.low + shift, final=final)


def decided_rows(rows: Sequence[QuarantinedRow], key: SeriesKey) -> list[QuarantinedRow]:
    """Those of one series a person has decided about."""
    return [row for row in rows if row.series == key and row.resolved_at is not None]


def waiting_spikes(store: Store) -> list[QuarantinedRow]:
    """Everything a person has to decide about."""
    with store.read() as unit:
        return unit.prices.quarantined()


def decide_spike(
    store: Store, row_id: int, resolution: Resolution, moment: datetime, *, price: float | None = None
) -> QuarantinedRow:
    """Record a person's decision about a refused row; the next update of the series acts on it.

    ACCEPTED keeps the price the broker gave, PREVIOUS takes the price of the row before it, TYPED takes `price`; open,
    high and low move with it, volume stays. Raises DataError for an unknown or decided row, ValueError when a typed
    price is missing or not finite.
    """
    with store.write() as unit:
        waiting = [row for row in unit.prices.quarantined() if row.id == row_id]
        if not waiting:
            raise DataError(f"Quarantined row {row_id} does not exist or was decided already.")
        value = waiting[0].value
        if resolution is Resolution.TYPED:
            if price is None or not np.isfinite(price):
                raise ValueError(f"a typed price is needed for row {row_id}, not {price}")
            value = price
        unit.prices.resolve(row_id, resolution, moment, value)
        unit.commit()
    return replace(waiting[0], value=value, resolved_at=moment, resolution=resolution)
