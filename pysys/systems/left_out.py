"""Instruments a configuration has, and does not want traded.

`exclude_instrument_lists` has three lists of them: `ignore_instruments` are not looked at, `trading_restrictions` (what
we may not trade) and `bad_markets` (too dear, too thin) still count for estimates.

A market often has contracts of several sizes. `duplicate_instruments` says under `include` which of them is traded, and
under `exclude` which are not.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pysys.domain.errors import ConfigError
from pysys.systems.backtest_config import ZERO_WEIGHT
from pysys.systems.yaml_keys import YamlKeys, names

_OF_CODES = "instrument codes"


def untraded_instruments(reader: YamlKeys) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Codes not to be looked at, and codes only to be estimated with.

    Raises ConfigError for what it cannot honour, and for an instrument both included and excluded.
    """
    lists = reader.table("exclude_instrument_lists")
    ignored, restricted, bad = (
        lists.names(name, _OF_CODES) for name in ("ignore_instruments", "trading_restrictions", "bad_markets")
    )
    lists.refuse_the_rest()
    without_weight = reader.names(ZERO_WEIGHT, _OF_CODES)
    duplicates = reader.table("duplicate_instruments")
    include, exclude = (_codes_by_market(duplicates.mapping(name), name) for name in ("include", "exclude"))
    duplicates.refuse_the_rest()
    both = [code for code in exclude if code in include]
    if both:
        raise ConfigError(f"duplicate_instruments: {', '.join(both)} are both included and excluded; remove one")
    left_out = tuple(dict.fromkeys([*ignored, *exclude]))
    return left_out, tuple(dict.fromkeys(one for one in (*without_weight, *restricted, *bad) if one not in left_out))


def _codes_by_market(table: Mapping[str, Any], name: str) -> list[str]:
    """Codes of a table from a market to one of its instruments, or a list of them."""
    found: list[str] = []
    for market, value in table.items():
        codes = [value] if isinstance(value, str) else value
        found += names(codes, f"duplicate_instruments: {name}: {market}", _OF_CODES)
    return found
