"""Contract price histories taken out of multiple prices, which is all that some collections keep of them."""

from dataclasses import dataclass

import numpy as np

from pysys.domain.prices import MICROSECONDS_PER_DAY, ContractBars, IntArray, MultipleRows, PriceRows

NOTIONAL_CLOSE = 23 * 3_600_000_000  # microseconds into the UTC day a daily row is stamped with


@dataclass(frozen=True, slots=True)
class ContractHistory:
    """Final prices of one contract; rows stamped 23:00:00 exactly are its daily series."""

    daily: PriceRows
    intraday: PriceRows


def contract_histories(prices: MultipleRows) -> dict[int, ContractHistory]:
    """Histories by contract number (YYYYMMDD). Where two columns have one contract at the same time, PRICE counts
    before FORWARD before CARRY. Missing prices give no row."""
    columns = (
        (prices.price_contract, prices.price),
        (prices.forward_contract, prices.forward),
        (prices.carry_contract, prices.carry),
    )
    contracts = np.concatenate([contract for contract, _ in columns])
    values = np.concatenate([value for _, value in columns])
    times = np.tile(prices.times, len(columns))
    rank = np.repeat(np.arange(len(columns)), len(prices))
    present = ~np.isnan(values)
    contracts, values, times, rank = contracts[present], values[present], times[present], rank[present]
    order = np.lexsort((rank, times, contracts))
    contracts, values, times = contracts[order], values[order], times[order]
    first = np.ones(len(order), dtype=bool)
    first[1:] = (contracts[1:] != contracts[:-1]) | (times[1:] != times[:-1])
    contracts, values, times = contracts[first], values[first], times[first]
    numbers, starts = np.unique(contracts, return_index=True)
    ends = np.append(starts[1:], len(contracts))
    return {
        int(number): _split(PriceRows(times[start:end], values[start:end]))
        for number, start, end in zip(numbers, starts, ends, strict=True)
    }


def _split(rows: PriceRows) -> ContractHistory:
    daily = is_daily(rows.times)
    return ContractHistory(rows.rows(daily), rows.rows(~daily))


def is_daily(times: IntArray) -> np.ndarray:
    """Which rows are stamped with the notional close."""
    return times % MICROSECONDS_PER_DAY == NOTIONAL_CLOSE


def final_only(rows: PriceRows) -> ContractBars:
    """Bars of which only the final price is known."""
    unknown = np.full(len(rows), np.nan)
    return ContractBars(rows.times, unknown, unknown, unknown, rows.price, unknown)
