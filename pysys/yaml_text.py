"""YAML text into plain values, without two things YAML lets pass in silence.

A key written twice would count with its last value only. A key that is not text is one YAML took for something else:
the currency NO becomes False, the contract ON becomes True.
"""

from __future__ import annotations

from typing import Any

import yaml

from pysys.domain.errors import ConfigError

_FASTEST: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_MERGE = "tag:yaml.org,2002:merge"  # `<<: *base`, whose keys may be overridden


class _StrictLoader(_FASTEST):
    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        lines: dict[str, int] = {}
        for key_node, _ in node.value:
            if key_node.tag == _MERGE:
                continue
            key, line = self.construct_object(key_node, deep=True), key_node.start_mark.line + 1
            written = getattr(key_node, "value", key)
            if not isinstance(key, str):
                raise ConfigError(
                    f"line {line}: YAML reads the name {written} as {key!r}; write it in quotes: '{written}'"
                )
            if key in lines:
                raise ConfigError(f"line {line}: {key} is there already, on line {lines[key]}; keep one of them")
            lines[key] = line
        found: dict[Any, Any] = super().construct_mapping(node, deep)
        return found


def load_yaml(text: str) -> Any:
    """The plain values of one YAML document. Raises ConfigError for what is not YAML, or not meant like that."""
    try:
        return yaml.load(text, Loader=_StrictLoader)  # noqa: S506 - builds plain values only
    except yaml.YAMLError as problem:
        raise ConfigError(f"not valid YAML: {problem}") from problem
