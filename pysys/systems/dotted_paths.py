"""From a dotted path in a configuration to the reader's own code."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

from pysys.domain.errors import ConfigError

_SOURCES = "__sources__"


def module_at(path: str, folders: Sequence[Path], where: str) -> ModuleType | None:
    """The file `package/module.py` in the first folder that has it, or the importable module; None for neither.

    A file may import others of its folder; it and they are read anew each time, and are gone from `sys.modules`
    afterwards. Raises ConfigError, which starts with `where`, for a module that cannot be imported.
    """
    for folder in folders:
        file = folder.joinpath(*path.split(".")).with_suffix(".py")
        spec = importlib.util.spec_from_file_location(path, file) if file.is_file() else None
        if spec is not None and spec.loader is not None:
            module = importlib.util.module_from_spec(spec)
            with _importing_from(folder, module) as others:
                try:
                    spec.loader.exec_module(module)
                except (ImportError, SyntaxError) as problem:
                    raise _broken(where, str(file), problem) from problem
            vars(module)[_SOURCES] = (file, *others)
            return module
    try:
        return importlib.import_module(path)
    except ImportError as problem:
        if isinstance(problem, ModuleNotFoundError) and problem.name and f"{path}.".startswith(f"{problem.name}."):
            return None
        raise _broken(where, path, problem) from problem


def sources_of(module: ModuleType) -> tuple[Path, ...]:
    """The file of a module that `module_at` read from a folder, and those it imported from there; else none."""
    found: tuple[Path, ...] = vars(module).get(_SOURCES, ())
    return found


@contextmanager
def _importing_from(folder: Path, module: ModuleType) -> Iterator[list[Path]]:
    """With the module known by its name and its folder on the path; afterwards, the files it imported from there.

    Another strategy may have modules of the same names, and an edited one is to be read again.
    """
    root, others = folder.resolve(), list[Path]()
    before, writes_none = dict(sys.modules), sys.dont_write_bytecode
    sys.modules[module.__name__] = module
    sys.path.insert(0, str(root))
    sys.dont_write_bytecode = True  # its time stamps are too coarse to tell an edited file
    importlib.invalidate_caches()
    try:
        yield others
    finally:
        sys.dont_write_bytecode = writes_none
        sys.path.remove(str(root))
        sys.modules.pop(module.__name__, None)
        if module.__name__ in before:
            sys.modules[module.__name__] = before[module.__name__]
        for name in [one for one in sys.modules if one.partition(".")[0] not in before]:
            place = root.joinpath(*name.split("."))
            files = [file for file in (place.with_suffix(".py"), place / "__init__.py") if _is_file_of(name, file)]
            if files or str(place) in getattr(sys.modules[name], "__path__", ()):
                others += files
                del sys.modules[name]


def _is_file_of(name: str, file: Path) -> bool:
    return getattr(sys.modules[name], "__file__", None) == str(file)


def _broken(where: str, what: str, problem: Exception) -> ConfigError:
    return ConfigError(f"{where}: {what} cannot be imported: {type(problem).__name__}: {problem}")


def named_object(path: str, folders: Sequence[Path], where: str) -> Any:
    """The function or class a configuration names. where: the key, for the message of the ConfigError."""
    module_path, _, name = path.rpartition(".")
    if not module_path:
        raise ConfigError(f"{where}: {path!r} is not a dotted path such as module.function")
    module = module_at(module_path, folders, where)
    if module is None:
        places = " or ".join(str(folder) for folder in folders)
        raise ConfigError(
            f"{where}: found no module {module_path}, and no {module_path.replace('.', '/')}.py in {places}"
        )
    found = getattr(module, name, None)
    if not callable(found):
        raise ConfigError(f"{where}: {module_path} has nothing called {name} that can be called")
    return found
