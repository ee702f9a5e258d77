"""Addresses of databases."""


def sqlite_file(url: str) -> str | None:
    """The file of a SQLite database at a SQLAlchemy URL; None for another kind."""
    return url.removeprefix("sqlite:///") if url.startswith("sqlite:///") else None
