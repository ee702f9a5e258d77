"""Configuration names code by dotted path: ours, a user's own, or the name it had in the predecessor."""

import importlib
from collections.abc import Mapping
from typing import Any

from pysys.domain.errors import ConfigError


def resolve(dotted: str, known: Mapping[str, Any], setting: str) -> Any:
    """What `dotted` names: an entry of `known` (established paths), else `package.module.attribute` imported.

    Raises ConfigError naming the setting when there is no such module or attribute.
    """
    if dotted in known:
        return known[dotted]
    module_name, _, attribute = dotted.rpartition(".")
    if not module_name:
        raise ConfigError(f"{setting}: {dotted!r} is not a dotted path such as my_package.my_module.my_function.")
    try:
        return getattr(importlib.import_module(module_name), attribute)
    except (ImportError, AttributeError) as error:
        raise ConfigError(
            f"{setting}: {dotted} cannot be imported ({error}). Put it where Python finds it, or correct the path."
        ) from error
