"""The files of a configuration, before anything is checked: which there are, and what they say together.

Apart from `config`, because checking takes longer to import than a database takes to open.
"""

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pysys.domain.errors import ConfigError
from pysys.yaml_text import load_yaml


def find_home(start: Path | None = None) -> Path:
    """The folder with parameters and notebooks: PYSYS_HOME, or this folder or one above it.

    Raises ConfigError when there is none.
    """
    named = os.environ.get("PYSYS_HOME")
    if named:
        home = Path(named)
        if not (home / "parameters" / "defaults.yaml").is_file():
            raise ConfigError(f"PYSYS_HOME is {home}, but there is no parameters/defaults.yaml in it.")
        return home
    here = (start if start is not None else Path.cwd()).resolve()
    for folder in (here, *here.parents):
        if (folder / "parameters" / "defaults.yaml").is_file():
            return folder
    raise ConfigError(
        f"No parameters/defaults.yaml in {here} or above. Run inside the project folder, or set PYSYS_HOME to it."
    )


def layers(home: Path, variables: Mapping[str, str]) -> Iterator[tuple[Path, dict[str, Any]]]:
    """Each file and its keys, later ones above earlier ones. Raises ConfigError for a file that is no table."""
    private = Path(variables["PYSYS_PRIVATE"]) if variables.get("PYSYS_PRIVATE") else home / "parameters/private"
    for path in _files(home / "parameters", private):
        yield path, _read(path)


def merged(below: Any, above: Any) -> Any:
    """Tables are merged key by key; anything else, an empty table included, replaces what was below."""
    if isinstance(below, dict) and isinstance(above, dict) and above:
        return {**below, **{key: merged(below.get(key), value) for key, value in above.items()}}
    return above


def default_database_url(outputs: Path) -> str:
    """SQLite among the outputs."""
    return f"sqlite:///{outputs / 'state' / 'pysys.db'}"


def _files(parameters: Path, private: Path) -> list[Path]:
    shipped = [parameters / "defaults.yaml", parameters / "control.yaml"]
    return [path for path in shipped if path.is_file()] + sorted(private.glob("*.yaml"))


def _read(path: Path) -> dict[str, Any]:
    try:
        content = load_yaml(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, ConfigError) as error:
        raise ConfigError(f"{path}: {' '.join(str(error).split())}") from error
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise ConfigError(f"{path}: must be a table of `key: value` lines, not a {type(content).__name__}.")
    return content
