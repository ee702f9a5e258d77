"""Typed parameters of a notebook: declared in its cell tagged `parameters`, strict in what they accept."""

import ast
import difflib
import json
import math
import types
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin

from pysys.domain.errors import ConfigError

SECRET_WORDS = ("password", "pwd", "secret", "token", "api_key")
_NAMES: dict[str, Any] = {**{kind.__name__: kind for kind in (str, int, float, bool, list, dict)}, "Literal": Literal}


@dataclass(frozen=True, slots=True)
class Parameter:
    """One declared parameter. `kind` is a type such as `float`, `list[str]` or `int | None`."""

    name: str
    kind: Any
    default: Any

    @property
    def kind_name(self) -> str:
        """The declared type as a notebook writes it: `float | None`, `list[str]`."""
        inside = get_args(self.kind)
        if get_origin(self.kind) in (Union, types.UnionType):
            return " | ".join("None" if kind is types.NoneType else kind.__name__ for kind in inside)
        return self.kind.__name__ if isinstance(self.kind, type) and not inside else str(self.kind)


def read_parameters(notebook: Path) -> list[Parameter]:
    """The parameters a notebook declares, by annotation or by the type of the default. Runs none of its code.

    Raises ConfigError when the notebook or its parameters cell cannot be read.
    """
    return declared_parameters(parameters_source(notebook), str(notebook))


def parameters_source(notebook: Path) -> str:
    """Source of the cell tagged `parameters`; empty when there is none."""
    try:
        cells = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
    except (OSError, ValueError, KeyError) as error:
        raise ConfigError(f"{notebook} cannot be read as a notebook: {error}.") from error
    tagged = [cell for cell in cells if "parameters" in cell.get("metadata", {}).get("tags", [])]
    return "" if not tagged else "".join(tagged[0]["source"])


def declared_parameters(source: str, where: str) -> list[Parameter]:
    """Parameters assigned in `source`. Raises ConfigError for anything that is not `name: type = literal`."""
    try:
        statements = ast.parse(source).body
        return [_declared(statement) for statement in statements if not _is_text(statement)]
    except (SyntaxError, ValueError) as error:
        raise ConfigError(f"{where}: the parameters cell cannot be read: {error}.") from error


def _is_text(statement: ast.stmt) -> bool:
    return isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)


def _declared(statement: ast.stmt) -> Parameter:
    if isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name) and statement.value:
        default = ast.literal_eval(statement.value)
        return Parameter(statement.target.id, _annotated_kind(statement.annotation), default)
    if isinstance(statement, ast.Assign) and len(statement.targets) == 1 and isinstance(statement.targets[0], ast.Name):
        default = ast.literal_eval(statement.value)
        return Parameter(statement.targets[0].id, _kind_of(default), default)
    raise ValueError(f"`{ast.unparse(statement)}` is not `name: type = default`")


def _annotated_kind(node: ast.expr) -> Any:
    if isinstance(node, ast.Constant) and node.value is None:
        return types.NoneType
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return _annotated_kind(ast.parse(node.value, mode="eval").body)
    if isinstance(node, ast.Name) and node.id in _NAMES:
        return _NAMES[node.id]
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.BitOr):
        return Union[_annotated_kind(node.left), _annotated_kind(node.right)]  # noqa: UP007
    if isinstance(node, ast.Subscript) and isinstance(node.value, ast.Name) and node.value.id in _NAMES:
        return _subscripted(node)
    raise ValueError(f"type `{ast.unparse(node)}` is not one of {', '.join(_NAMES)}")


def _subscripted(node: ast.Subscript) -> Any:
    inside = node.slice.elts if isinstance(node.slice, ast.Tuple) else [node.slice]
    outer = _NAMES[node.value.id]  # type: ignore[attr-defined]
    if outer is Literal:
        return Literal[tuple(ast.literal_eval(item) for item in inside)]
    return outer[tuple(_annotated_kind(item) for item in inside)]


def _kind_of(default: object) -> Any:
    if isinstance(default, list):
        kinds = {type(item) for item in default}
        return list[kinds.pop()] if len(kinds) == 1 else list[str]  # type: ignore[misc]
    return Any if default is None else type(default)


def check_parameters(
    declared: Sequence[Parameter], given: Mapping[str, object], where: str, secrets: Sequence[str] = ()
) -> dict[str, Any]:
    """The given parameters as their declared types. Text is read as the declared type, as on a command line.

    A text for a `str` is kept letter by letter, for a list it is cut at commas.

    Raises ConfigError for an unknown name (with the nearest), a value of another type, and for a secret:
    parameters are stored with every run.
    """
    known = {parameter.name: parameter for parameter in declared}
    accepted = {}
    for name, value in given.items():
        _refuse_secret(name, value, secrets)
        if name not in known:
            raise ConfigError(_unknown(name, list(known), where))
        parameter = known[name]
        try:
            accepted[name] = _convert(parameter.kind, value)
        except ValueError as error:
            raise ConfigError(f"{where}: parameter {name} is {parameter.kind_name}: {error}.") from error
    return accepted


def _refuse_secret(name: str, value: object, secrets: Sequence[str]) -> None:
    if any(word in name.lower() for word in SECRET_WORDS) or any(secret in str(value) for secret in secrets):
        raise ConfigError(
            f"Parameter {name} looks like a secret, and parameters are stored with every run. "
            "Put it in parameters/private or in an environment variable."
        )


def _unknown(name: str, known: Sequence[str], where: str) -> str:
    near = difflib.get_close_matches(name, known, n=1)
    if near:
        return f"{where} has no parameter {name}. Did you mean {near[0]}?"
    return f"{where} has no parameter {name}. It has: {', '.join(known) if known else 'none'}."


def _convert(kind: Any, value: object) -> Any:
    if isinstance(value, str):
        return _parse(kind, value)
    _check(kind, value)
    return value


def _parse(kind: Any, text: str) -> Any:
    origin, inside = get_origin(kind), get_args(kind)
    if origin in (Union, types.UnionType):
        return _parse_first(list(inside), text)
    if origin is Literal:
        matching = [choice for choice in inside if str(choice) == text]
        if not matching:
            raise ValueError(f"{text!r} is not one of {', '.join(map(str, inside))}")
        return matching[0]
    if kind is list or origin is list:
        item = inside[0] if inside else str
        return [_parse(item, part.strip()) for part in text.split(",") if part.strip()]
    if kind is dict or origin is dict or kind is Any:
        return _parse_literal(kind, text)
    return _parse_plain(kind, text)


def _parse_first(kinds: Sequence[Any], text: str) -> Any:
    if types.NoneType in kinds and text in ("", "None"):
        return None
    for kind in kinds:
        if kind is not types.NoneType:
            try:
                return _parse(kind, text)
            except ValueError:
                continue
    raise ValueError(f"{text!r} does not fit")


def _parse_literal(kind: Any, text: str) -> Any:
    try:
        value = ast.literal_eval(text)
    except (SyntaxError, ValueError) as error:
        if kind is Any:
            return text
        raise ValueError(f"{text!r} is not a table such as {{'name': 1.0}}") from error
    _check(kind, value)
    return value


def _parse_plain(kind: Any, text: str) -> Any:
    if kind is str:
        return text
    if kind is bool:
        if text.lower() not in ("true", "false"):
            raise ValueError(f"{text!r} is neither true nor false")
        return text.lower() == "true"
    try:
        number = kind(text.strip())
    except ValueError as error:
        raise ValueError(f"{text!r} is not a number of that type") from error
    if not math.isfinite(number):
        raise ValueError(f"{text!r} is not a finite number")
    return number


def _check(kind: Any, value: object) -> None:
    """Raises ValueError unless `value` is of `kind`. An int serves as a float; a bool never as a number."""
    if not _fits(kind, value):
        raise ValueError(f"{value!r} is {type(value).__name__}")


def _fits(kind: Any, value: object) -> bool:
    origin, inside = get_origin(kind), get_args(kind)
    if kind is Any:
        return True
    if origin in (Union, types.UnionType):
        return any(_fits(part, value) for part in inside)
    if origin is Literal:
        return value in inside
    if origin is list:
        return isinstance(value, list) and all(_fits(inside[0], item) for item in value)
    if origin is dict:
        return isinstance(value, dict) and all(_fits(inside[0], k) and _fits(inside[1], v) for k, v in value.items())
    if kind is float:
        return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    if kind is int:
        return isinstance(value, int) and not isinstance(value, bool)
    return isinstance(value, kind)


def moment(text: str | None) -> datetime | None:
    """An ISO time with its zone, as a parameter carries it. Raises ConfigError without a zone."""
    if text is None:
        return None
    try:
        found = datetime.fromisoformat(text)
    except ValueError as error:
        raise ConfigError(f"{text!r} is not a time such as 2024-03-01T19:45:00+00:00.") from error
    if found.tzinfo is None:
        raise ConfigError(f"{text!r} has no time zone; write 2024-03-01T19:45:00+00:00.")
    return found
