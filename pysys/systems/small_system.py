"""A strategy on a small account: its positions optimised into whole contracts, day after day.

Chosen by the key `small_system` of a configuration; the buffer is then the tracking error's, not the positions'.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np

from pysys.domain.errors import ConfigError
from pysys.systems.covariance import annual_covariance, correlations, weekly_returns, weeks_ended
from pysys.systems.dynamic import SHADOW_COST, TRACKING_ERROR_BUFFER, Constraints, Optimised, optimise_positions
from pysys.systems.market_data import BoolArray, FloatArray, InstrumentMeta
from pysys.systems.positions import VolatilityOfContract
from pysys.systems.raw_data import ROOT_OF_YEAR, Panel, RawData
from pysys.systems.smoothing import divide, forward_fill
from pysys.systems.yaml_keys import YamlKeys, number


@dataclass(frozen=True, slots=True)
class SmallSystem:
    """How positions become whole contracts."""

    shadow_cost: float = SHADOW_COST  # multiplier of trading costs in the objective
    tracking_error_buffer: float = TRACKING_ERROR_BUFFER  # annual standard deviation, share of capital
    no_trade: tuple[str, ...] = ()
    reduce_only: tuple[str, ...] = ()
    long_only: tuple[str, ...] = ()
    position_limits: Mapping[str, float] = field(default_factory=dict)  # contracts, either side

    @classmethod
    def from_keys(cls, keys: Mapping[str, Any]) -> SmallSystem:
        """From the mapping under `small_system`. Raises ConfigError for anything it cannot honour."""
        reader = YamlKeys(keys, "small_system: ")
        limits = {
            str(code): number(value, f"small_system: position_limits of {code}")
            for code, value in reader.mapping("position_limits").items()
        }
        negative = [code for code, limit in limits.items() if limit < 0]
        if negative:
            raise ConfigError(f"small_system: position_limits of {', '.join(negative)} must be at least 0 contracts")
        settings = cls(
            shadow_cost=reader.number("shadow_cost", SHADOW_COST, least=0.0),
            tracking_error_buffer=reader.number("tracking_error_buffer", TRACKING_ERROR_BUFFER, least=0.0),
            no_trade=reader.names("no_trade", "instrument codes"),
            reduce_only=reader.names("reduce_only", "instrument codes"),
            long_only=reader.names("long_only", "instrument codes"),
            position_limits=limits,
        )
        reader.refuse_the_rest()
        return settings

    def as_keys(self) -> dict[str, Any]:
        """The mapping `from_keys` reads."""
        return {key: list(value) if isinstance(value, tuple) else value for key, value in asdict(self).items()}

    def named_instruments(self) -> dict[str, tuple[str, ...]]:
        """The instruments each kind of limit is on."""
        return {
            "no_trade": self.no_trade,
            "reduce_only": self.reduce_only,
            "long_only": self.long_only,
            "position_limits": tuple(self.position_limits),
        }

    def restricted_to(self, codes: Collection[str]) -> SmallSystem:
        """The same without the limits on other instruments."""
        return replace(
            self,
            no_trade=tuple(code for code in self.no_trade if code in codes),
            reduce_only=tuple(code for code in self.reduce_only if code in codes),
            long_only=tuple(code for code in self.long_only if code in codes),
            position_limits={code: limit for code, limit in self.position_limits.items() if code in codes},
        )

    def constraints(self, codes: Sequence[str]) -> Constraints:
        return Constraints.of(
            codes,
            no_trade=self.no_trade,
            reduce_only=self.reduce_only,
            long_only=self.long_only,
            position_limits=(self.position_limits,),
        )


@dataclass(frozen=True, slots=True, eq=False)
class OptimiserInputs:
    """What the optimiser reads of each day, (date x instrument), carried forward."""

    optimal: FloatArray  # contracts, unrounded
    value: FloatArray  # exposure of a contract, share of capital
    deviation: FloatArray  # annual, of fractional returns
    costs: FloatArray  # share of the exposure traded
    ready: BoolArray  # everything about the instrument is known


def optimiser_inputs(
    raw: RawData,
    risk: VolatilityOfContract,
    facts: Sequence[InstrumentMeta],
    notional: FloatArray,
    index: BoolArray,
    capital: float,
) -> OptimiserInputs:
    """Costs are today's spread and commission at the price of the day: spreads of the past would need the future."""
    exposure = 100.0 * np.abs(forward_fill(risk.block_value)) * forward_fill(risk.fx_rate)
    optimal = np.where(index, forward_fill(notional), np.nan)
    value = np.where(index, exposure / capital, np.nan)
    deviation = forward_fill(risk.daily_pct_vol) / 100.0 * ROOT_OF_YEAR
    costs = cost_of_exposure(np.abs(forward_fill(raw.denominator_price.values)), facts)
    ready = ~np.isnan(optimal + value + deviation + costs)
    return OptimiserInputs(optimal, value, deviation, costs, ready)


def optimised_positions(settings: SmallSystem, raw: RawData, inputs: OptimiserInputs, index: BoolArray) -> Panel:
    """Whole contracts decided at each close, on `index`; each day starts from those of the day before.

    An instrument takes part on the days of its index once everything about it is known.
    """
    weeks, weekly = weekly_returns(raw.daily_percentage_returns.values, raw.grid)
    ended = weeks_ended(raw.grid, weeks)
    trades: BoolArray = np.logical_or.reduce(inputs.ready, axis=1)
    asked = np.unique(ended[trades])
    matrices = correlations(weekly, after=asked[asked > 0])
    correlation, used = np.eye(len(raw.codes)), 0
    limits = settings.constraints(raw.codes)
    prior = np.zeros(len(raw.codes))
    positions = np.full(index.shape, np.nan)
    for row in range(len(index)):
        prior = np.where(index[row], prior, 0.0)
        if trades[row]:
            if ended[row] > used:
                correlation, used = next(matrices), int(ended[row])
            prior = optimise_day(settings, inputs, row, correlation, prior, limits).positions
        positions[row] = np.where(index[row], prior, np.nan)
    return Panel(positions, index)


def optimise_day(
    settings: SmallSystem,
    inputs: OptimiserInputs,
    row: int,
    correlation: FloatArray,
    prior: FloatArray,
    constraints: Constraints,
) -> Optimised:
    """One day of the curve, from the whole contracts `prior`."""
    ready = inputs.ready[row]
    return optimise_positions(
        np.where(ready, inputs.optimal[row], np.nan),
        annual_covariance(correlation, np.where(ready, inputs.deviation[row], np.nan)),
        inputs.value[row],
        np.where(ready, inputs.costs[row], 0.0),
        prior,
        shadow_cost=settings.shadow_cost,
        buffer=settings.tracking_error_buffer,
        constraints=constraints,
    )


def cost_of_exposure(price: FloatArray, facts: Sequence[InstrumentMeta]) -> FloatArray:
    """Half the spread and commission of one contract as a share of its exposure (date x instrument); price positive.

    NaN where the price is 0 or missing.
    """
    out = np.full(price.shape, np.nan)
    for column, one in enumerate(facts):
        exposure = price[:, column] * one.point_size
        commission = np.maximum(max(one.per_block, one.per_trade), one.percentage * exposure)
        out[:, column] = divide(one.spread_cost * one.point_size + commission, exposure)
    return out
