"""Market data in files that many processes map into memory at once, so that each reads and none copies."""

from __future__ import annotations

import json
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import numpy as np

from pysys.systems.market_data import (
    AdjustedPrices,
    FxPrices,
    InstrumentMeta,
    InstrumentSeries,
    MarketData,
    MultiplePrices,
)

_INDEX = "index.json"


def save_market_data(data: MarketData, folder: Path) -> None:
    """Write every series into `folder`: one file for each column of each kind, and an index."""
    series = list(data.instruments.values())
    index = {
        "instruments": [{"code": one.code, "meta": asdict(one.meta)} for one in series],
        "currencies": list(data.fx),
        "multiple": _save("multiple", [one.multiple for one in series], MultiplePrices, folder),
        "adjusted": _save("adjusted", [one.adjusted for one in series], AdjustedPrices, folder),
        "fx": _save("fx", list(data.fx.values()), FxPrices, folder),
    }
    (folder / _INDEX).write_text(json.dumps(index), encoding="utf-8")


def open_market_data(folder: Path) -> MarketData:
    """What was saved, mapped read-only."""
    index = json.loads((folder / _INDEX).read_text(encoding="utf-8"))
    multiple, adjusted, fx = (
        _open(name, index[name], kind, folder)
        for name, kind in (("multiple", MultiplePrices), ("adjusted", AdjustedPrices), ("fx", FxPrices))
    )
    instruments = {
        one["code"]: InstrumentSeries(one["code"], multiple[row], adjusted[row], InstrumentMeta(**one["meta"]))
        for row, one in enumerate(index["instruments"])
    }
    return MarketData(instruments, dict(zip(index["currencies"], fx, strict=True)))


def _save(name: str, series: list[Any], kind: type, folder: Path) -> list[int]:
    """Each column of all series, one after the other; returns where each series ends."""
    for column in fields(kind):
        parts = [getattr(one, column.name) for one in series]
        np.save(_file(folder, name, column.name), np.concatenate(parts) if parts else np.empty(0))
    return np.cumsum([len(one) for one in series], dtype=np.int64).tolist()


def _open(name: str, ends: list[int], kind: type, folder: Path) -> list[Any]:
    if not ends:
        return []
    columns = [np.asarray(np.load(_file(folder, name, one.name), mmap_mode="r")) for one in fields(kind)]
    return [kind(*(column[start:end] for column in columns)) for start, end in zip([0, *ends[:-1]], ends, strict=True)]


def _file(folder: Path, name: str, column: str) -> Path:
    return folder / f"{name}_{column}.npy"
