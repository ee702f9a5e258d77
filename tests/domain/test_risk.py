"""Portfolio risk, by hand."""

import numpy as np
import pytest

from pysys.domain.risk import portfolio_risk


@pytest.mark.parametrize(
    ("weights", "correlation", "risk"),
    [
        ([1.0, 0.0], 0.5, 10.0),
        ([1.0, 1.0], 0.0, (100 + 400) ** 0.5),
        ([1.0, 1.0], 1.0, 30.0),
        ([2.0, -1.0], 1.0, 0.0),  # a perfect hedge
        ([1.0, 1.0], np.nan, (100 + 400) ** 0.5),  # unknown counts as none
    ],
)
def test_two_assets(weights, correlation, risk):
    matrix = np.array([[1.0, correlation], [correlation, 1.0]])
    assert portfolio_risk(np.array(weights), np.array([10.0, 20.0]), matrix) == pytest.approx(risk)


def test_shapes_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match="3 weights"):
        portfolio_risk(np.ones(3), np.ones(2), np.eye(2))
