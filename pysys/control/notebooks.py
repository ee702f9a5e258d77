"""Where notebooks are and what they are called."""

import difflib
from pathlib import Path

from pysys.domain.errors import ConfigError

KINDS = ("processes", "reports", "research")
# Names that processes have long been configured with.
_ESTABLISHED = {"daily_pandl_report": "pandl", "trade_report": "trades", "daily_pandl": "pandl", "trade": "trades"}


def report_name(name: str) -> str:
    """The report a name means: `roll_report` and `roll` are one."""
    return _ESTABLISHED.get(name, name.removesuffix("_report"))


def find_notebook(folder: Path, name: str) -> Path:
    """The process or report notebook of that name; a report answers to its established names too.

    Raises ConfigError with the nearest name.
    """
    known = notebook_names(folder)
    for wanted in (name, report_name(name), f"{name}_report"):
        if wanted in known:
            return known[wanted]
    raise ConfigError(unknown_name(name, list(known)))


def unknown_name(name: str, known: list[str]) -> str:
    """The sentence for a name nothing has."""
    near = difflib.get_close_matches(name, known, n=1)
    hint = f"Did you mean {near[0]}?" if near else f"There are: {', '.join(sorted(known)) if known else 'none'}."
    return f"There is no process, method or report {name}. {hint}"


def notebook_names(folder: Path) -> dict[str, Path]:
    """Every process and report notebook by name."""
    return {path.stem: path for kind in KINDS for path in sorted((folder / kind).glob("*.ipynb"))}
