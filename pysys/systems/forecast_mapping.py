"""Combined forecasts of a small account, mapped so that weak ones are not traded.

With a few contracts at most, an average forecast rounds to no position or to too much of one. A mapped instrument has
no position until its forecast is strong, and then a larger one for every further point.
Source: Carver, "Diversification and small account size" (qoppac.blogspot.com, 2016).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from pysys.domain.errors import ConfigError
from pysys.systems.market_data import FloatArray
from pysys.systems.raw_data import Panel
from pysys.systems.yaml_keys import YamlKeys


@dataclass(frozen=True, slots=True)
class ForecastMapping:
    """How the combined forecast of one instrument is mapped; as it stands here, not at all."""

    a_param: float = 1.0  # largest |forecast| after mapping, in forecast caps
    b_param: float = 1.0  # points of forecast for each point beyond the threshold
    threshold: float = 0.0  # |forecast| up to which nothing is held

    @classmethod
    def from_keys(cls, code: str, keys: Any, cap: float) -> ForecastMapping:
        """From the mapping under an instrument of `forecast_mapping`. Raises ConfigError for what it cannot honour.

        cap: on |forecast|.
        """
        where = f"forecast_mapping of {code}"
        if not isinstance(keys, Mapping):
            raise ConfigError(f"{where} must be a table of a_param, b_param and threshold, not {keys!r}")
        reader = YamlKeys(keys, f"{where}: ")
        found = cls(
            a_param=reader.number("a_param", 1.0, above=0.0),
            b_param=reader.number("b_param", 1.0, above=0.0),
            threshold=reader.number("threshold", 0.0, least=0.0),
        )
        reader.refuse_the_rest()
        if found.threshold >= cap:
            raise ConfigError(
                f"{where}: threshold must be below forecast_cap, {cap:g}, or nothing is ever held; it is "
                f"{found.threshold:g}"
            )
        return found

    def as_keys(self) -> dict[str, float]:
        """The mapping `from_keys` reads."""
        return asdict(self)


def mapped_forecast(
    forecast: FloatArray,
    a_param: FloatArray | float,
    b_param: FloatArray | float,
    threshold: FloatArray | float,
    cap: float,
) -> FloatArray:
    """sign(f) * min( max(|f| - threshold, 0) * b_param, a_param * cap ), f within +-cap; NaN stays.

    Parameters: one, or one per column. Nothing up to the threshold, b_param for each point beyond it, and never more
    than a_param * cap. Those two meet at the cap, as in the source, when (cap - threshold) * b_param = a_param * cap:
    threshold 15, b_param 8, a_param 2 for a cap of 20. Where they do not meet the lower one counts, so that the mapping
    never jumps. a_param 1, b_param 1, threshold 0 change nothing, to the bit.

    >>> mapped_forecast(np.array([-20.0, -15.0, 0.0, 16.0, 17.5]), 2.0, 8.0, 15.0, cap=20.0).tolist()
    [-40.0, 0.0, 0.0, 8.0, 20.0]
    """
    size = np.minimum(np.maximum(np.abs(forecast) - threshold, 0.0) * b_param, np.multiply(a_param, cap))
    return np.sign(forecast) * size + 0.0  # + 0.0: no negative zeros


def mapping_stage(mappings: Mapping[str, ForecastMapping], cap: float, codes: Sequence[str], combined: Panel) -> Panel:
    """Combined forecasts (date x instrument) of the instruments that are mapped, mapped; the others as they are."""
    each = [mappings.get(code, ForecastMapping()) for code in codes]
    mapped = mapped_forecast(
        combined.values,
        np.array([one.a_param for one in each]),
        np.array([one.b_param for one in each]),
        np.array([one.threshold for one in each]),
        cap,
    )
    return Panel(mapped, combined.index)
