"""Which contracts have their prices collected, and when they expire."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date

import pandas as pd

from pysys.broker.port import ContractDetails, UnknownContract
from pysys.config import Config
from pysys.data.update_result import UpdateIncomplete
from pysys.desk import Desk
from pysys.domain.contracts import Contract
from pysys.domain.errors import DataError
from pysys.domain.instruments import Instrument, RollParameters
from pysys.domain.spreads import legs_from
from pysys.store.markets import APPROXIMATE, BROKER, RETIRED, ListedContract
from pysys.store.unit import UnitOfWork

logger = logging.getLogger(__name__)

_EXPIRED = "expired"
_MOST_CONTRACTS = 60  # of one chain


@dataclass(frozen=True, slots=True)
class ContractSampling:
    """One contract after the update. `change`: started, stopped, expiry, or blank."""

    listed: ListedContract
    change: str = ""
    detail: str = ""


@dataclass(frozen=True, slots=True)
class SamplingResult:
    """Every contract looked at, and the instruments that could not be."""

    contracts: Sequence[ContractSampling]
    failures: dict[str, str]  # instrument to what went wrong

    def table(self) -> pd.DataFrame:
        """One row per contract, and one per failed instrument: instrument, contract, expiry, expiry_source, sampling,
        change, outcome (ok, error), detail."""
        rows = [
            (
                one.listed.contract.instrument,
                one.listed.contract.date,
                one.listed.expiry,
                one.listed.expiry_source,
                one.listed.sampling,
                one.change,
                "ok",
                one.detail,
            )
            for one in self.contracts
        ]
        rows += [(code, "", None, "", False, "", "error", detail) for code, detail in self.failures.items()]
        columns = ["instrument", "contract", "expiry", "expiry_source", "sampling", "change", "outcome", "detail"]
        return pd.DataFrame(rows, columns=columns)

    def summary(self) -> dict[str, int]:
        """How many contracts were looked at, are sampled, and how many instruments failed."""
        sampled = sum(one.listed.sampling for one in self.contracts)
        return {"contracts": len(self.contracts), "sampled": sampled, "failed": len(self.failures)}

    def raise_if_incomplete(self) -> None:
        """Raise UpdateIncomplete naming the instruments that failed."""
        if self.failures:
            named = "; ".join(f"{code}: {detail}" for code, detail in self.failures.items())
            raise UpdateIncomplete(f"update_sampled_contracts: {len(self.failures)} instruments failed ({named}).")


def update_sampled_contracts(desk: Desk, instruments: Sequence[str] | None = None) -> SamplingResult:
    """Start sampling the chain around the contracts in use, refresh expiries from the broker, stop what has expired.

    The chain runs from the earliest of the priced, carry and forward contract of the latest multiple prices to the
    contracts needed after the next roll, as far as the broker lists them; so do the legs of the market's spreads. An
    instrument whose point size or currency is not the broker's fails. instruments: by default all active ones but
    spreads, which have no contracts of their own; retired ones are no longer sampled.
    """
    with desk.store.read() as unit:
        active = [one.code for one in unit.markets.instruments() if one.code not in desk.config.spreads]
    codes = active if instruments is None else list(instruments)
    contracts: list[ContractSampling] = [] if instruments is not None else _stop_retired(desk)
    failures: dict[str, str] = {}
    for code in codes:
        try:
            contracts += _update_instrument(desk, code)
        except Exception as error:
            logger.exception("%s: sampled contracts were not updated", code)
            failures[code] = str(error) or type(error).__name__
    return SamplingResult(contracts, failures)


def contract_chain(parameters: RollParameters, priced: Contract, carry: Contract, forward: Contract) -> list[Contract]:
    """Contracts worth sampling, in order: priced cycle from the earliest in use to those needed after the next roll."""
    last = max(parameters.next_priced(forward), parameters.next_held(forward), parameters.carry_contract(forward))
    chain = {priced, carry, forward}
    contract = min(chain)
    while contract < last and len(chain) < _MOST_CONTRACTS:
        contract = parameters.next_priced(contract)
        chain.add(contract)
    return sorted(chain)


def _stop_retired(desk: Desk) -> list[ContractSampling]:
    stopped = []
    with desk.store.write() as unit:
        for instrument in unit.markets.instruments(RETIRED):
            for listed in unit.markets.contracts(instrument.code, sampling=True):
                left = replace(listed, sampling=False, retired_reason="instrument retired")
                unit.markets.put_contract(left)
                stopped.append(ContractSampling(left, "stopped", "instrument retired"))
        unit.commit()
    return stopped


def _update_instrument(desk: Desk, code: str) -> list[ContractSampling]:
    if code in desk.config.spreads:
        markets = ", ".join(desk.config.spreads[code].markets)
        raise DataError(f"it is a spread and has no contracts of its own; they are sampled with {markets}")
    with desk.store.read() as unit:
        instrument = unit.markets.instrument(code)
        wanted, needed = _wanted(unit, desk.config, code)
    listed = {one.contract: one for one in desk.broker.listed_contracts(code)}
    with desk.store.read() as unit:
        known = {one.contract: one for one in unit.markets.contracts(code)}
    ask_for = needed | {contract for contract, one in known.items() if one.sampling}
    for contract in sorted(ask_for - set(listed)):
        try:
            listed[contract] = desk.broker.contract_details(contract)
        except UnknownContract:
            logger.warning("%s is sampled, and the broker does not list it", contract)
    for details in listed.values():
        _check_identity(instrument, details)
    return _write(desk, code, wanted, listed)


def _wanted(unit: UnitOfWork, config: Config, code: str) -> tuple[set[Contract], set[Contract]]:
    """The chain to sample, and those of it in use now; both empty without multiple prices."""
    row = unit.prices.last_multiple(code)
    if not len(row):
        return set(), set()
    used = [
        Contract(code, f"{numbers[-1]:08d}")
        for numbers in (row.price_contract, row.carry_contract, row.forward_contract)
    ]
    priced, _, forward = used
    parameters = unit.markets.roll_parameters(code)
    spreads = [spread for spread in config.spreads.values() if spread.markets == (code,)]
    legs = {leg for spread in spreads for leg in legs_from(spread, priced, parameters)}
    after_roll = {leg for spread in spreads for leg in legs_from(spread, forward, parameters)}
    return set(contract_chain(parameters, *used)) | legs | after_roll, set(used) | legs


def _check_identity(instrument: Instrument, details: ContractDetails) -> None:
    if details.currency != instrument.currency:
        raise UpdateIncomplete(
            f"{details.contract} is quoted in {details.currency} at the broker and in {instrument.currency} here"
        )
    if abs(details.multiplier - instrument.point_size) > 1e-9 * instrument.point_size:
        raise UpdateIncomplete(
            f"{details.contract} has a multiplier of {details.multiplier:g} at the broker "
            f"and a point size of {instrument.point_size:g} here"
        )


def _write(
    desk: Desk, code: str, wanted: set[Contract], listed: dict[Contract, ContractDetails]
) -> list[ContractSampling]:
    today = desk.clock.now().date()
    updated = []
    with desk.store.write() as unit:
        parameters = unit.markets.roll_parameters(code)
        known = {one.contract: one for one in unit.markets.contracts(code)}
        sampled = {contract for contract, one in known.items() if one.sampling}
        for contract in sorted((wanted & set(listed)) | sampled | (wanted & set(known))):
            before = known.get(contract)
            after = _after(contract, before, listed.get(contract), parameters, today, contract in wanted)
            unit.markets.put_contract(after)
            updated.append(ContractSampling(after, *_change(before, after, contract in listed)))
        unit.commit()
    return updated


def _after(
    contract: Contract,
    before: ListedContract | None,
    details: ContractDetails | None,
    parameters: RollParameters,
    today: date,
    wanted: bool,
) -> ListedContract:
    if details is not None:
        expiry, source = details.expiry, BROKER
    elif before is not None and before.expiry is not None:
        expiry, source = before.expiry, before.expiry_source
    else:
        expiry, source = parameters.expiry(contract), APPROXIMATE
    if expiry < today:
        return ListedContract(contract, expiry, source, sampling=False, retired_reason=_EXPIRED)
    sampling = (wanted and details is not None) or (before is not None and before.sampling)
    return ListedContract(contract, expiry, source, sampling)


def _change(before: ListedContract | None, after: ListedContract, is_listed: bool) -> tuple[str, str]:
    detail = "" if is_listed or not after.sampling else "not listed by the broker"
    was_sampled = before is not None and before.sampling
    if after.sampling and not was_sampled:
        return "started", detail
    if was_sampled and not after.sampling:
        return "stopped", after.retired_reason or detail
    if before is not None and before.expiry != after.expiry:
        return "expiry", f"was {before.expiry}"
    return "", detail
