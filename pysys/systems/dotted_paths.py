"""From a dotted path in a configuration to the reader's own code."""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

from pysys.domain.errors import ConfigError


def module_at(path: str, folders: Sequence[Path]) -> ModuleType | None:
    """The file `package/module.py` in the first folder that has it, or the importable module; None for neither."""
    for folder in folders:
        file = folder.joinpath(*path.split(".")).with_suffix(".py")
        if file.is_file():
            spec = importlib.util.spec_from_file_location(path, file)
            if spec is not None and spec.loader is not None:
                module = importlib.util.module_from_spec(spec)
                spec.loader.exec_module(module)
                return module
    try:
        return importlib.import_module(path)
    except ModuleNotFoundError as problem:
        if problem.name is not None and (path == problem.name or path.startswith(problem.name + ".")):
            return None
        raise


def named_object(path: str, folders: Sequence[Path], where: str) -> Any:
    """The function or class a configuration names. where: the key, for the message of the ConfigError."""
    module_path, _, name = path.rpartition(".")
    if not module_path:
        raise ConfigError(f"{where}: {path!r} is not a dotted path such as module.function")
    module = module_at(module_path, folders)
    if module is None:
        places = " or ".join(str(folder) for folder in folders)
        raise ConfigError(
            f"{where}: found no module {module_path}, and no {module_path.replace('.', '/')}.py in {places}"
        )
    found = getattr(module, name, None)
    if not callable(found):
        raise ConfigError(f"{where}: {module_path} has nothing called {name} that can be called")
    return found
