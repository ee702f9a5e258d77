"""Risk of a set of positions from volatilities and correlations."""

import math

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]

ROOT_DAYS_A_YEAR = 16.0  # square root of 256 business days


def portfolio_risk(weights: FloatArray, annual_stdev: FloatArray, correlation: FloatArray) -> float:
    """Annual standard deviation of a portfolio, in the unit of `annual_stdev`: sqrt(w' C w).

    weights: exposure over capital, signed. correlation: shape (n, n), NaN counts as no correlation.
    Raises ValueError when the shapes do not fit.
    """
    size = len(weights)
    if annual_stdev.shape != (size,) or correlation.shape != (size, size):
        raise ValueError(f"{size} weights, {annual_stdev.shape} deviations and {correlation.shape} correlations differ")
    known = np.nan_to_num(correlation, nan=0.0)
    np.fill_diagonal(known, 1.0)
    scaled = np.nan_to_num(weights * annual_stdev)
    variance = float(scaled @ known @ scaled)
    return math.sqrt(max(variance, 0.0))
