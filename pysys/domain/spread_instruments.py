"""What a spread is as an instrument: what it is worth, what it costs, and whether its legs make one at all."""

from collections.abc import Mapping

from pysys.domain.instruments import Instrument
from pysys.domain.spreads import Spread


def spread_instrument(
    spread: Spread, markets: Mapping[str, Instrument], *, description: str = "", asset_class: str = ""
) -> Instrument:
    """The instrument that stands for a spread, from those of its legs.

    A point of it is worth a point of the first leg, in that currency (see `Spread.weights`). Trading a unit costs what
    trading its legs does; a commission that is a fraction of value is left out, as a difference of prices is no value.

    markets: every leg's. Raises ValueError for legs in several currencies: what such a spread earns depends on an
    exchange rate that its price does not show.
    """
    legs = [(leg, markets[leg.instrument]) for leg in spread.legs]
    currencies = list(dict.fromkeys(market.currency for _, market in legs))
    if len(currencies) > 1:
        raise ValueError(
            f"its legs are quoted in {' and '.join(currencies)}, and what it earns would depend on their exchange "
            "rate; let the strategy want a position in each market instead"
        )
    first, within = legs[0][1], spread.within_one_market
    weights = spread.weights({code: markets[code].point_size for code in spread.markets})
    blocks = sum(abs(leg.ratio) * market.per_block for leg, market in legs)
    return Instrument(
        code=spread.code,
        description=description if description else _in_words(spread),
        currency=first.currency,
        point_size=first.point_size,
        asset_class=asset_class if asset_class else first.asset_class,
        region=first.region,
        exchange=first.exchange if within else "",
        per_block=blocks,
        per_trade=first.per_trade if within else sum(market.per_trade for _, market in legs),
        spread_cost=sum(abs(weight) * market.spread_cost for weight, (_, market) in zip(weights, legs, strict=True)),
        tick_size=first.tick_size if within else None,
        hours=first.hours if within else None,
    )


def _in_words(spread: Spread) -> str:
    places = {0: "priced contract", 1: "next contract"}
    named = (
        f"{leg.ratio:+d} {leg.instrument}"
        + (f" {places.get(leg.chain, f'{leg.chain} contracts on')}" if spread.within_one_market else "")
        for leg in spread.legs
    )
    return "Spread of " + ", ".join(named)
