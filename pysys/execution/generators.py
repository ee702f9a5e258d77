"""Which function turns a strategy's optimal positions into trades: chosen per strategy in configuration."""

from typing import cast

from pysys.config import Method
from pysys.domain.dotted_names import resolve
from pysys.domain.errors import ConfigError
from pysys.domain.targets import Generator, wishes_by_kind

ESTABLISHED: dict[str, Generator] = {
    "sysexecution.strategies.classic_buffered_positions.orderGeneratorForBufferedPositions": wishes_by_kind,
}


def generator_for(strategy: str, method: Method) -> Generator:
    """The generator a strategy's `object` names; without one, the trade follows from the kind of each target.

    A user's own is a function of (targets, held by instrument) that returns wishes by instrument. Overrides, limits
    and unfilled orders are seen to afterwards, whoever wrote it. Raises ConfigError when it cannot be found.
    """
    if method.object is None:
        return wishes_by_kind
    setting = f"run_strategy_order_generator.{strategy}.object"
    found = resolve(method.object, ESTABLISHED, setting)
    if not callable(found):
        raise ConfigError(f"{setting}: {method.object} is not a function.")
    return cast(Generator, found)
