"""What forecast weights are fitted to: the gross returns of rules, less what they cost on one instrument."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from pysys.systems.estimation.buckets import Buckets, Table, plain_table, stacked_table
from pysys.systems.estimation.rule_returns import RuleReturns, daily_deviation, sharpe_of_costs, with_equal_sharpe
from pysys.systems.estimation.settings import EstimationSettings
from pysys.systems.market_data import FloatArray
from pysys.systems.raw_data import ROOT_OF_YEAR
from pysys.systems.smoothing import divide


class NetReturns:
    """Tables of net returns for fitting the weights of one instrument: its own, or of all with its own costs."""

    def __init__(
        self,
        buckets: Buckets,
        codes: Sequence[str],
        returns: RuleReturns,
        turnover: FloatArray,
        settings: EstimationSettings,
    ) -> None:
        self._codes = codes
        self._weight, self._cost = settings.forecast_weight, settings.forecast_cost
        self._buckets = buckets
        self._inside = buckets.within(returns.index)  # (bucket x instrument)
        self._deviation = daily_deviation(returns.gross)  # (instrument x rule)
        self._cost_sharpe = sharpe_of_costs(returns)  # (instrument x rule), negative
        self._turnover = turnover  # (instrument x rule)
        self._costs = buckets.sums(returns.costs)
        gross = returns.gross
        if self._weight.equalise_gross:
            gross = with_equal_sharpe(gross, self._weight.ann_target_SR)
        self._gross = buckets.sums(gross)
        self._days = buckets.sums((~np.isnan(gross)).astype(np.float64))

    def table_for(self, column: int) -> Table:
        """(row x rule); stacked over instruments when gross returns are pooled."""
        if not self._weight.pool_gross_returns:
            net = self._gross[:, column] + self._weight.cost_multiplier * self._costs[:, column]
            return plain_table(self._buckets, net, self._inside[:, column])
        charge = self._cost_of(column) / ROOT_OF_YEAR * self._deviation
        net = np.nan_to_num(self._gross + self._days * charge, nan=0.0)  # no cost: a rule it has never traded
        return stacked_table(self._buckets, self._codes, net, self._inside)

    def _cost_of(self, column: int) -> FloatArray:
        """SR units a year by rule, at the average turnover of the rule over instruments, times the multiplier."""
        per_turnover = divide(self._cost_sharpe, self._turnover)
        own = per_turnover[column]
        if self._cost.use_pooled_costs:
            own = np.array([mean_of_present(rule) for rule in per_turnover.T])
        average_turnover = np.array([mean_of_present(rule) for rule in self._turnover.T])
        return own * average_turnover * self._weight.cost_multiplier


def mean_of_present(values: FloatArray) -> float:
    """Mean of the present values; NaN when there is none."""
    present = values[~np.isnan(values)]
    return float(present.mean()) if len(present) else float("nan")
