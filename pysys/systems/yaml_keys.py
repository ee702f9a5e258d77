"""Typed values out of a YAML table, with an error for every key nobody asked for."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from pysys.domain.errors import ConfigError


class YamlKeys:
    """Takes typed values out of a mapping and knows which keys nobody asked for."""

    def __init__(self, keys: Mapping[str, Any], where: str = "") -> None:
        self._keys = keys
        self._where = where
        self._read: set[str] = set()

    def take(self, name: str, default: Any = None) -> Any:
        self._read.add(name)
        value = self._keys.get(name, default)
        return default if value is None else value

    def number(self, name: str, default: float, *, above: float = -math.inf, least: float = -math.inf) -> float:
        value = number(self.take(name, default), f"{self._where}{name}")
        if not (value > above and value >= least):
            bound = f"above {above:g}" if above > -math.inf else f"at least {least:g}"
            raise ConfigError(f"{self._where}{name} must be {bound}, not {value:g}")
        return value

    def number_or_table(self, name: str, default: float) -> float | Mapping[str, float]:
        value = self.take(name, default)
        if isinstance(value, Mapping):
            return {str(key): number(item, f"{name} of {key}") for key, item in value.items()}
        return number(value, name)

    def flag(self, name: str, default: bool) -> bool:
        value = self.take(name, default)
        if not isinstance(value, bool):
            raise ConfigError(f"{self._where}{name} must be True or False, not {value!r}")
        return value

    def text(self, name: str, default: str) -> str:
        value = self.take(name, default)
        if not isinstance(value, str):
            raise ConfigError(f"{self._where}{name} must be text, not {value!r}")
        return value

    def choice(self, name: str, default: str, allowed: Sequence[str]) -> str:
        value = str(self.take(name, default))
        if value not in allowed:
            raise ConfigError(f"{self._where}{name} must be one of {', '.join(allowed)}, not {value!r}")
        return value

    def mapping(self, name: str, *, required: bool = False) -> Mapping[str, Any]:
        value = self.take(name, {})
        if not isinstance(value, Mapping):
            raise ConfigError(f"{self._where}{name} must be a table of `name: value`, not {value!r}")
        if required and not value:
            raise ConfigError(f"{self._where}{name} is missing or empty")
        return value

    def table(self, name: str) -> YamlKeys:
        """The keys of a nested table; an absent one is empty."""
        return YamlKeys(self.mapping(name), f"{self._where}{name}: ")

    def choice_of_function(self, name: str, default: str, allowed: Sequence[str]) -> str:
        """The last part of a dotted path, which must be one of those known here."""
        path = self.text(name, default)
        function = path.rsplit(".", 1)[-1]
        if function not in allowed:
            raise ConfigError(f"{self._where}{name} {path} is not known; use {', '.join(allowed)}")
        return function

    def refuse_the_rest(self) -> None:
        unknown = [str(name) for name in self._keys if name not in self._read]
        if unknown:
            raise ConfigError(f"{self._where}unknown key {', '.join(unknown)}; correct the spelling or remove it")


def number(value: Any, name: str) -> float:
    """`value` as a finite float. Raises ConfigError naming `name`."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise ConfigError(f"{name} must be a number, not {value!r}")
    try:
        parsed = float(value)  # YAML 1.1 reads 1e-10 as text
    except ValueError:
        raise ConfigError(f"{name} must be a number, not {value!r}") from None
    if not math.isfinite(parsed):
        raise ConfigError(f"{name} must be finite, not {value!r}")
    return parsed
