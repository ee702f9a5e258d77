"""What a result says of a configuration that runs, and is perhaps not meant."""

import pytest

from pysys.systems.backtest import run_backtest
from pysys.systems.result_checks import doubts
from tests.systems.markets import SCALARS, configuration, instrument, market, walk

MARKETS = market(*(instrument(code, walk(number, 400)) for number, code in enumerate(("CORN", "WHEAT"))))
FEW_DAYS = market(*(instrument(code, walk(number, 4)) for number, code in enumerate(("CORN", "WHEAT"))))


def said(prices=MARKETS, **keys):
    return doubts(run_backtest(configuration(["CORN", "WHEAT"], **keys), prices))


@pytest.mark.filterwarnings("ignore:forecast_scalars")
def test_a_system_of_the_usual_size_raises_no_doubt():
    years = market(*(instrument(code, walk(number, 1000)) for number, code in enumerate(("CORN", "WHEAT"))))
    assert said(years, use_forecast_scale_estimates=True) == []


@pytest.mark.parametrize(
    ("scalar", "told"), [(SCALARS["ewmac4_16"], False), (SCALARS["ewmac4_16"] / 20, True), (170.0, True)]
)
def test_a_scalar_that_makes_a_rule_trade_too_little_or_too_much_is_named(scalar, told):
    of_size = [one for one in said(forecast_scalars=SCALARS | {"ewmac4_16": scalar}) if "ewmac4_16" in one]
    assert len(of_size) == told
    if told:
        assert of_size[0].startswith("forecasts should average 10, before they are capped, and these average: ")


def test_a_rule_that_never_speaks_is_named():
    written = configuration(["CORN"]).as_yaml_keys()["trading_rules"]
    written["relmomentum10"]["other_args"] = {"horizon": 1000}
    (doubt,) = (one for one in said(trading_rules=written) if "relmomentum10" in one)
    assert doubt.startswith("trading rules relmomentum10 have no forecast on any day, so the others share their weight")


def test_too_few_days_for_any_position_are_told_of():
    assert said(FEW_DAYS)[-1] == "no instrument has a position on any day; import more prices, or move start_date back"
