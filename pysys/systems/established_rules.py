"""The dotted paths under which configurations name our rules."""

from __future__ import annotations

from pysys.systems.rule_library import (
    cross_sectional_mean_reversion,
    ewmac_calc_vol,
    ewmac_forecast_with_defaults,
    factor_trading_rule,
    long_term_value,
    mr_wings,
    relative_carry,
)
from pysys.systems.rules import Rule, accel, breakout, carry, ewmac, relative_momentum

ESTABLISHED_RULES: dict[str, Rule] = {
    "systems.provided.rules.ewmac.ewmac": ewmac,
    "systems.provided.rules.ewmac.ewmac_calc_vol": ewmac_calc_vol,
    "systems.provided.rules.ewmac.ewmac_forecast_with_defaults": ewmac_forecast_with_defaults,
    "systems.provided.rules.carry.carry": carry,
    "systems.provided.rules.carry.relative_carry": relative_carry,
    "systems.provided.rules.breakout.breakout": breakout,
    "systems.provided.rules.accel.accel": accel,
    "systems.provided.rules.rel_mom.relative_momentum": relative_momentum,
    "systems.provided.rules.cs_mr.cross_sectional_mean_reversion": cross_sectional_mean_reversion,
    "systems.provided.rules.mr_wings.mr_wings": mr_wings,
    "systems.provided.rules.factors.factor_trading_rule": factor_trading_rule,
    "systems.provided.rules.value.long_term_value": long_term_value,
}

# The rules that mean it when they say 0. Of all others a 0 is the absence of a forecast.
FLAT_IS_A_FORECAST: frozenset[Rule] = frozenset({mr_wings})
