"""What was estimated, as tables to look at."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import numpy as np

from pysys.domain.errors import ConfigError
from pysys.systems.estimation.correlations import CorrelationsOverTime
from pysys.systems.estimation.weights import FittedWeights
from pysys.systems.market_data import FloatArray
from pysys.systems.positions import smoothed_instrument_weights

if TYPE_CHECKING:
    import pandas as pd

    from pysys.systems.backtest_result import BacktestResult


def estimate_table(result: BacktestResult, name: str) -> pd.DataFrame:
    """One of `ESTIMATE_TABLES` of a finished backtest. Raises ConfigError when it was not estimated, or is unknown.

    Smoothed values are by day, raw ones by the day from which they are used. What differs by instrument and by rule
    has a row for each instrument and date, and a column for each rule.
    """
    if name not in ESTIMATE_TABLES:
        raise ConfigError(f"no estimate is called {name}; choose among {', '.join(ESTIMATE_TABLES)}")
    return ESTIMATE_TABLES[name](result)


def _by_rule(result: BacktestResult, prefix: str) -> pd.DataFrame:
    import pandas as pd

    tables = {
        code: pd.DataFrame({rule: result.series_of(f"{prefix}{rule}", code) for rule in result.forecasts.raw})
        for code in result.instruments
    }
    return pd.concat(tables, names=["instrument", "date"])


def _forecast_div_multiplier(result: BacktestResult) -> pd.DataFrame:
    return _by_instrument(result, result.values("forecast_div_multiplier"))


def _by_instrument(result: BacktestResult, values: FloatArray) -> pd.DataFrame:
    import pandas as pd

    dates = pd.DatetimeIndex(result.dates, name="date")
    return pd.DataFrame(values, index=dates, columns=pd.Index(result.instruments))


def _raw_forecast_weights(result: BacktestResult) -> pd.DataFrame:
    import pandas as pd

    tables = {code: _weights(one) for code, one in result.estimates.forecasts.raw_weights.items()}
    return pd.concat(_estimated(tables, "use_forecast_weight_estimates"), names=["instrument", "date"])


def _raw_instrument_weights(result: BacktestResult) -> pd.DataFrame:
    fitted = result.estimates.instruments.raw_weights
    if fitted is None:
        raise _not_estimated("use_instrument_weight_estimates")
    return _weights(fitted)


def _forecast_correlations(result: BacktestResult) -> pd.DataFrame:
    import pandas as pd

    found = result.estimates.forecasts.correlations
    tables = {code: _correlations(one) for code, one in found.items()}
    return pd.concat(_estimated(tables, "use_forecast_div_mult_estimates"), names=["instrument", "row"])


def _instrument_correlations(result: BacktestResult) -> pd.DataFrame:
    found = result.estimates.instruments.correlations
    if found is None:
        raise _not_estimated("use_instrument_div_mult_estimates")
    return _correlations(found)


def _instrument_weights(result: BacktestResult) -> pd.DataFrame:
    """On every day, also before an instrument has prices."""
    everywhere = np.repeat(np.logical_or.reduce(result.index, axis=1)[:, None], len(result.instruments), axis=1)
    weights = smoothed_instrument_weights(
        result.sizing.parameters.weights,
        result.sizing.subsystem,
        everywhere,
        result.config.instrument_weight_ewma_span,
    )
    return _by_instrument(result, weights)


def _instrument_div_multiplier(result: BacktestResult) -> pd.DataFrame:
    import pandas as pd

    multiplier = np.broadcast_to(result.sizing.parameters.multiplier, (len(result.dates), 1))
    return pd.DataFrame(multiplier, index=pd.DatetimeIndex(result.dates, name="date"), columns=["idm"])


def _sr_costs(result: BacktestResult) -> pd.DataFrame:
    import pandas as pd

    costs = _estimated(dict(result.estimates.forecasts.sr_costs), "use_forecast_weight_estimates")
    return pd.DataFrame(costs, index=pd.Index(result.instruments, name="instrument"))


def _weights(fitted: FittedWeights) -> pd.DataFrame:
    import pandas as pd

    starts = pd.DatetimeIndex([one.start.astype("datetime64[D]") for one in fitted.periods], name="date")
    return pd.DataFrame(fitted.weights, index=starts, columns=pd.Index(fitted.names))


def _correlations(found: CorrelationsOverTime) -> pd.DataFrame:
    """A row for each period and pair of names, first name before the second in the alphabet."""
    import pandas as pd

    order = np.argsort(np.array(found.names))
    first, second = np.triu_indices(len(order), k=1)
    names = np.array(found.names)[order]
    tables = [
        pd.DataFrame(
            {
                "fit_start": period.fit_start.astype("datetime64[D]"),
                "fit_end": period.fit_end.astype("datetime64[D]"),
                "period_start": period.start.astype("datetime64[D]"),
                "period_end": period.end.astype("datetime64[D]"),
                "a": names[first],
                "b": names[second],
                "correlation": matrix[order[first], order[second]],
            }
        )
        for period, matrix in zip(found.periods, found.matrices, strict=True)
    ]
    return pd.concat(tables, ignore_index=True)


def _estimated(tables: dict, flag: str) -> dict:
    if not tables:
        raise _not_estimated(flag)
    return tables


def _not_estimated(flag: str) -> ConfigError:
    return ConfigError(f"this was not estimated; set {flag}: True in the configuration")


ESTIMATE_TABLES: Mapping[str, Callable[[BacktestResult], pd.DataFrame]] = {
    "forecast_scalars": lambda result: _by_rule(result, "scalar_"),
    "raw_forecast_weights": _raw_forecast_weights,
    "forecast_weights": lambda result: _by_rule(result, "fw_"),
    "forecast_correlations": _forecast_correlations,
    "forecast_div_multiplier": _forecast_div_multiplier,
    "sr_costs": _sr_costs,
    "raw_instrument_weights": _raw_instrument_weights,
    "instrument_weights": _instrument_weights,
    "instrument_correlations": _instrument_correlations,
    "instrument_div_multiplier": _instrument_div_multiplier,
}
