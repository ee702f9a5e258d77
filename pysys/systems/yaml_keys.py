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

    def given(self, name: str) -> bool:
        """Whether the key is there, be it with nothing under it."""
        self._read.add(name)
        return name in self._keys

    def number(
        self, name: str, default: float, *, above: float = -math.inf, least: float = -math.inf, most: float = math.inf
    ) -> float:
        value = number(self.take(name, default), f"{self._where}{name}")
        return within(value, f"{self._where}{name}", above=above, least=least, most=most)

    def number_or_table(self, name: str, default: float, *, above: float) -> float | Mapping[str, float]:
        value = self.take(name, default)
        if isinstance(value, Mapping):
            return {
                str(key): within(number(item, f"{name} of {key}"), f"{name} of {key}", above=above)
                for key, item in value.items()
            }
        return within(number(value, name), name, above=above)

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
        value = str(self._keys.get(name, default))
        self._read.add(name)
        if value not in allowed:
            raise ConfigError(f"{self._where}{name} must be one of {', '.join(allowed)}, not {value!r}")
        return value

    def names(self, name: str, of: str) -> tuple[str, ...]:
        """A list of names; `of` says of what. Raises ConfigError for anything in it that YAML did not read as text."""
        return names(self.take(name, []), f"{self._where}{name}", of)

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


def names(listed: Any, where: str, of: str) -> tuple[str, ...]:
    """A list of texts, each once. Raises ConfigError naming `where`."""
    if isinstance(listed, str) or not isinstance(listed, Sequence):
        raise ConfigError(f"{where} must be a list of {of}, not {listed!r}")
    for one in listed:
        if not isinstance(one, str):
            raise ConfigError(f"{where}: {one!r} is not text, so it is none of the {of}; write it in quotes")
    twice = sorted({one for one in listed if listed.count(one) > 1})
    if twice:
        raise ConfigError(f"{where} names {', '.join(twice)} more than once; remove the repetition")
    return tuple(listed)


def within(
    value: float, name: str, *, above: float = -math.inf, least: float = -math.inf, most: float = math.inf
) -> float:
    """`value`, when it is within the bounds. Raises ConfigError naming `name` and the bounds."""
    if value > above and least <= value <= most:
        return value
    bound = f"above {above:g}" if above > -math.inf else f"at least {least:g}"
    if most < math.inf:
        bound = f"between {least:g} and {most:g}" if least > -math.inf else f"{bound} and at most {most:g}"
    raise ConfigError(f"{name} must be {bound}, not {value:g}")


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
