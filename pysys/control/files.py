"""Files that are there whole or not at all, and folders that can be written to."""

import os
import tempfile
from pathlib import Path

from pysys.domain.errors import ConfigError


def write_whole(path: Path, text: str) -> None:
    """Write `text` beside `path`, then move it there: a reader, or a kill, never meets half a file."""
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        Path(name).chmod(0o644)
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def require_writable(folder: Path) -> None:
    """Raises ConfigError unless files can be made in `folder`, or in the folder it would be made in. Leaves nothing."""
    existing = folder
    while not existing.exists() and existing != existing.parent:
        existing = existing.parent
    try:
        if not existing.is_dir():
            raise NotADirectoryError(f"{existing} is a file")
        with tempfile.TemporaryFile(dir=existing):
            pass
    except OSError as error:
        reason = error.strerror if error.strerror is not None else str(error)
        raise ConfigError(
            f"Nothing can be written to {folder} ({reason}). Make it writable, or set outputs_directory to a folder "
            "that is."
        ) from error
