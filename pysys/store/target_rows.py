"""Optimal positions as rows: one table for every kind, what only one kind has in `terms`."""

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from pysys.domain.conditions import condition_from_json, condition_to_json
from pysys.domain.targets import (
    Branch,
    BufferedTarget,
    ConditionalTarget,
    LimitTarget,
    SimpleTarget,
    SpreadTarget,
    Target,
)

_KINDS: dict[type, str] = {
    BufferedTarget: "buffered",
    SimpleTarget: "simple",
    LimitTarget: "limit",
    ConditionalTarget: "conditional",
    SpreadTarget: "spread",
}


def target_to_row(target: Target) -> dict[str, Any]:
    """Values of the columns of `optimal_positions` that describe the target itself."""
    return {
        "strategy": target.strategy,
        "instrument": target.instrument,
        "time": target.time,
        "kind": _KINDS[type(target)],
        "position": getattr(target, "position", None),
        "lower": getattr(target, "lower", None),
        "upper": getattr(target, "upper", None),
        "reference_price": target.reference_price,
        "reference_contract": target.reference_contract,
        "reference_time": target.reference_time,
        "terms": _terms(target),
    }


def _terms(target: Target) -> dict[str, Any]:
    match target:
        case LimitTarget():
            return {"price": str(target.limit_price), "contract": target.limit_contract}
        case ConditionalTarget():
            branches = [
                {"condition": condition_to_json(branch.condition), "position": branch.position}
                for branch in target.branches
            ]
            return {"branches": branches}
        case SpreadTarget():
            return {"contracts": list(target.reference_contracts)}
    return {}


def target_from_row(row: Mapping[Any, Any]) -> Target:
    """Raises ValueError for a kind this program does not know."""
    whose = (row["strategy"], row["instrument"], row["time"])
    reference = (row["reference_price"], row["reference_contract"], row["reference_time"])
    terms = row["terms"]
    match row["kind"]:
        case "buffered":
            return BufferedTarget(*whose, row["position"], row["lower"], row["upper"], *reference)
        case "simple":
            return SimpleTarget(*whose, row["position"], *reference)
        case "limit":
            return LimitTarget(*whose, row["position"], Decimal(terms["price"]), terms["contract"], *reference)
        case "conditional":
            return ConditionalTarget(*whose, tuple(_branch(stored) for stored in terms["branches"]), *reference)
        case "spread":
            contracts = tuple(terms["contracts"])
            return SpreadTarget(*whose, row["lower"], row["upper"], contracts, reference[0], reference[2])
    raise ValueError(f"{row['strategy']}/{row['instrument']}: an optimal position of unknown kind {row['kind']!r}")


def _branch(stored: Mapping[str, Any]) -> Branch:
    condition = condition_from_json(stored["condition"])
    if condition is None:
        raise ValueError("a conditional target is stored without its condition")
    return Branch(condition, float(stored["position"]))
