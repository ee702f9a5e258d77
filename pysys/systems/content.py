"""Digests of values by what they say: equal content has equal digests, in every process and on every machine."""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np

_DIGEST_BYTES = 20


def digest(*values: Any) -> bytes:
    """Digest of plain values, arrays, mappings (their order counts), sequences, sets and dataclasses of these.

    Raises TypeError for anything else: a function or an open file has no content to go by.
    """
    hasher = hashlib.blake2b(digest_size=_DIGEST_BYTES)
    for value in values:
        _feed(hasher, value)
    return hasher.digest()


def _feed(hasher: Any, value: Any) -> None:
    if isinstance(value, np.ndarray):
        if value.dtype.hasobject:
            raise TypeError(f"an array of {value.dtype} has no content to go by")
        _feed_text(hasher, "array", f"{value.dtype.str}{value.shape}")
        hasher.update(np.ascontiguousarray(value).view(np.uint8).data)
    elif isinstance(value, Mapping):
        _feed_text(hasher, "mapping", str(len(value)))
        for key, item in value.items():
            _feed(hasher, key)
            _feed(hasher, item)
    elif isinstance(value, list | tuple):
        _feed_text(hasher, "sequence", str(len(value)))
        for item in value:
            _feed(hasher, item)
    elif isinstance(value, set | frozenset):
        _feed_text(hasher, "set", str(len(value)))
        for item in sorted(digest(one) for one in value):
            hasher.update(item)
    elif is_dataclass(value) and not isinstance(value, type):
        _feed_text(hasher, "dataclass", f"{type(value).__module__}.{type(value).__qualname__}")
        for one in fields(value):
            _feed(hasher, getattr(value, one.name))
    elif isinstance(value, bool | int | float | np.generic) or value is None:
        _feed_plain(hasher, value)
    elif isinstance(value, str):
        _feed_text(hasher, "text", value)
    elif isinstance(value, Path | date):
        _feed_text(hasher, type(value).__name__, str(value))
    elif isinstance(value, bytes):
        _feed_text(hasher, "bytes", str(len(value)))
        hasher.update(value)
    else:
        raise TypeError(f"{type(value).__name__} has no content to go by")


def _feed_plain(hasher: Any, value: Any) -> None:
    """Numbers by their value: 16 and 16.0 are one, as they are to every calculation."""
    plain = value.item() if isinstance(value, np.generic) and not isinstance(value, np.datetime64) else value
    if isinstance(plain, int) and not isinstance(plain, bool) and float(plain) == plain:
        plain = float(plain)
    if isinstance(plain, float):
        hasher.update(b"number" + struct.pack("<d", plain))
    else:
        _feed_text(hasher, type(plain).__name__, str(plain))


def _feed_text(hasher: Any, kind: str, text: str) -> None:
    encoded = text.encode()
    hasher.update(f"{kind}:{len(encoded)}:".encode() + encoded)
