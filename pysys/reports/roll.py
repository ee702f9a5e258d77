"""Roll report: which contract to hold, how long it lasts, and whether the next one can be traded yet."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any

import numpy as np
import pandas as pd

from pysys.desk import Desk
from pysys.domain.contracts import Contract
from pysys.domain.errors import DataError
from pysys.domain.instruments import RollParameters
from pysys.reports.compose import compose
from pysys.reports.figures import bars
from pysys.reports.inputs import read_inputs
from pysys.reports.report import Report, Section
from pysys.store.unit import UnitOfWork

VOLUME_DAYS = timedelta(days=14)
VOLUME_SPAN = 3
_COLUMNS = 6  # C0 to C5, more where a market has more


@dataclass(frozen=True)
class _Chain:
    """One market's contracts in order, with what is held and traded in each."""

    instrument: str
    state: str
    priced: Contract | None
    forward: Contract | None
    carry: Contract | None
    contracts: tuple[Contract, ...]
    positions: dict[Contract, int]
    volumes: dict[Contract, float]  # share of the largest
    roll_days: int | None  # until the preferred roll
    priced_days: int | None  # until expiry
    carry_days: int | None

    def tag(self, contract: Contract) -> str:
        tags = ((self.priced, "p"), (self.forward, "f"), (self.carry, "c"))
        return contract.date + "".join(letter for known, letter in tags if known == contract)


def roll_report(desk: Desk, instruments: Sequence[str] = ()) -> Report:
    """Roll status of the named markets; of every market with prices when none is named.

    Raises DataError for a market without roll parameters.
    """
    now = desk.clock.now()
    with desk.store.read() as unit:
        chains = _chains(unit, list(instruments), now)
    chains.sort(key=lambda chain: (chain.roll_days is None, chain.roll_days, chain.instrument))
    return compose(
        "Roll report",
        now,
        read_inputs(desk, now),
        headline=[_headline(chains)],
        sections=_sections(chains),
        data={
            "markets": {
                chain.instrument: {
                    "status": chain.state,
                    "roll_exp": chain.roll_days,
                    "prc_exp": chain.priced_days,
                    "crry_exp": chain.carry_days,
                    "contracts": [chain.tag(contract) for contract in chain.contracts],
                    "positions": [chain.positions.get(contract, 0) for contract in chain.contracts],
                    "relative_volumes": [chain.volumes.get(contract) for contract in chain.contracts],
                }
                for chain in chains
            }
        },
    )


def _chains(unit: UnitOfWork, wanted: list[str], now: datetime) -> list[_Chain]:
    parameters = unit.markets.all_roll_parameters()
    unknown = [code for code in wanted if code not in parameters]
    if unknown:
        raise DataError(f"No roll parameters for {', '.join(unknown)}. Add them to rolls.csv and run `pysys init`.")
    priced = unit.reporting.last_price_times("adjusted", now)
    held = unit.positions.contract_positions()
    states = {code: str(status.state) for code, status in unit.markets.roll_statuses().items()}
    codes = wanted if wanted else [code for code in parameters if code in priced]
    return [_chain(unit, parameters[code], states.get(code, "No_Roll"), held, now) for code in codes]


def _chain(
    unit: UnitOfWork, parameters: RollParameters, state: str, held: dict[Contract, int], now: datetime
) -> _Chain:
    code = parameters.instrument
    last = unit.prices.last_multiple(code)
    tagged = [
        Contract(code, f"{column[-1]:08d}") if len(last) else None
        for column in (last.price_contract, last.forward_contract, last.carry_contract)
    ]
    listed = {known.contract: known for known in unit.markets.contracts(code)}
    positions = {contract: n for contract, n in held.items() if contract.instrument == code}
    sampled = {contract for contract, known in listed.items() if known.sampling}
    contracts = _shown(sampled, {*positions, *(contract for contract in tagged if contract is not None)})
    volumes = relative_volumes(unit.reporting.daily_volumes(code, now - VOLUME_DAYS, now), contracts)

    def days(contract: Contract | None, offset: int = 0) -> int | None:
        if contract is None:
            return None
        known = listed.get(contract)
        expiry: date | None = None if known is None else known.expiry
        return ((parameters.expiry(contract) if expiry is None else expiry) - now.date()).days + offset

    return _Chain(
        instrument=code,
        state=state,
        priced=tagged[0],
        forward=tagged[1],
        carry=tagged[2],
        contracts=contracts,
        positions=positions,
        volumes=volumes,
        roll_days=days(tagged[0], parameters.roll_offset),
        priced_days=days(tagged[0]),
        carry_days=days(tagged[2]),
    )


def _shown(sampled: set[Contract], needed: set[Contract]) -> tuple[Contract, ...]:
    """Six contracts from the first that is needed (held, or priced, forward or carry), and all others needed."""
    later = sorted(contract for contract in sampled | needed if not needed or contract >= min(needed))
    return tuple(sorted({*later[:_COLUMNS], *needed}))


def relative_volumes(daily: pd.DataFrame, contracts: Sequence[Contract]) -> dict[Contract, float]:
    """Smoothed daily volume of these contracts as a share of the largest of them; 0 when nothing trades.

    daily: contract, time, volume, oldest first. Exponentially weighted, span 3. Missing volumes are left out.
    """
    known = daily.dropna(subset=["volume"])
    smoothed = {}
    for contract in contracts:
        volumes = known.loc[known["contract"] == contract.date, "volume"]
        if len(volumes):
            smoothed[contract] = float(volumes.ewm(span=VOLUME_SPAN).mean().iloc[-1])
    largest = max(smoothed.values(), default=0.0)
    return {contract: volume / largest if largest > 0 else 0.0 for contract, volume in smoothed.items()}


def _headline(chains: list[_Chain]) -> str:
    due = [c.instrument for c in chains if c.roll_days is not None and c.roll_days <= 0 and c.positions.get(c.priced)]  # type: ignore[arg-type]
    if not chains:
        return "No market has prices yet."
    if not due:
        return f"None of {len(chains)} markets is held past its preferred roll."
    return f"Held past the preferred roll: {', '.join(due)}."


def _sections(chains: list[_Chain]) -> list[Section]:
    status = pd.DataFrame(
        [(c.instrument, c.state, c.roll_days, c.priced_days, c.carry_days) for c in chains],
        columns=["instrument", "status", "roll_exp, days", "prc_exp, days", "crry_exp, days"],
    )
    return [
        Section(
            "Status and time to roll",
            "Days until the preferred roll, and until the priced and the carry contract expire; negative is past.",
            status,
            dict.fromkeys(status.columns[2:], ",.0f"),
        ),
        Section(
            "List of contracts",
            "Suffix p is the priced contract, f the forward, c the one carry is measured with.",
            _by_contract(chains, "C", lambda chain, contract: chain.tag(contract)),
        ),
        Section(
            "Positions",
            "Contracts held in each contract listed above.",
            _by_contract(chains, "Pos", lambda chain, contract: chain.positions.get(contract, 0)),
            _every("Pos", chains, ",.0f"),
        ),
        Section(
            "Relative volumes",
            "Recent daily volume of each contract listed above; the market's largest is 1, blank is not known.",
            _by_contract(chains, "V", lambda chain, contract: chain.volumes.get(contract, np.nan)),
            _every("V", chains, ".2f"),
        ),
        _figure(chains),
    ]


def _width(chains: list[_Chain]) -> int:
    return max([_COLUMNS, *(len(chain.contracts) for chain in chains)])


def _every(prefix: str, chains: list[_Chain], chosen: str) -> dict[str, str]:
    return {f"{prefix}{n}": chosen for n in range(_width(chains))}


def _by_contract(chains: list[_Chain], prefix: str, value: Any) -> pd.DataFrame:
    rows = []
    for chain in chains:
        values = [value(chain, contract) for contract in chain.contracts]
        rows.append([chain.instrument, *values, *[None] * (_width(chains) - len(values))])
    return pd.DataFrame(rows, columns=["instrument", *(f"{prefix}{n}" for n in range(_width(chains)))])


def _figure(chains: list[_Chain]) -> Section:
    if len(chains) == 1:
        (chain,) = chains
        shares = {chain.tag(contract): chain.volumes.get(contract, np.nan) for contract in chain.contracts}
        figure = bars(
            dict(reversed(shares.items())),
            title=f"{chain.instrument}: volume by contract",
            xlabel="Recent daily volume, share of the largest",
            ylabel="Contract",
            by_size=False,
        )
        return Section("Volume by contract", "Where the market trades now.", figure)
    days = {chain.instrument: float(chain.roll_days) for chain in chains if chain.roll_days is not None}
    figure = bars(days, title="Days until the preferred roll", xlabel="Days", ylabel="Market")
    return Section("Time to roll", "Markets to the left of zero are past their preferred roll.", figure)
