"""Between Arrow columns and numpy arrays, without pandas.

pyarrow's own conversions import pandas, which takes longer than a whole backtest.
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pysys.systems.market_data import BoolArray, FloatArray


def numpy_of(column: pa.ChunkedArray | pa.Array, dtype: str) -> NDArray:
    """Values of a fixed-width column as `dtype`, which must be as wide. What stands in a missing row is undefined."""
    array = _one_array(column)
    if not len(array):
        return np.empty(0, dtype=dtype)
    skipped = array.offset * np.dtype(dtype).itemsize
    return np.frombuffer(array.buffers()[1], dtype=dtype, count=len(array), offset=skipped)


def missing_in(column: pa.ChunkedArray | pa.Array) -> BoolArray:
    """True on the rows of a column that are null."""
    array = _one_array(column)
    if not array.null_count:
        return np.zeros(len(array), dtype=bool)
    bits = np.frombuffer(array.buffers()[0], dtype=np.uint8)
    known = np.unpackbits(bits, count=array.offset + len(array), bitorder="little")[array.offset :]
    return known == 0


def floats_of(column: pa.ChunkedArray | pa.Array) -> FloatArray:
    """A float64 column with NaN for null."""
    values = numpy_of(column, "float64")
    missing = missing_in(column)
    return np.where(missing, np.nan, values) if missing.any() else values


def arrow_of_floats(values: FloatArray) -> pa.Array:
    """A float64 column with null for NaN."""
    values = np.ascontiguousarray(values, dtype=np.float64)
    known = ~np.isnan(values)
    bitmap = None if known.all() else pa.py_buffer(np.packbits(known, bitorder="little"))
    return pa.Array.from_buffers(pa.float64(), len(values), [bitmap, pa.py_buffer(values)])


def arrow_of_dates(dates: NDArray[np.datetime64]) -> pa.Array:
    """A date column."""
    days = np.ascontiguousarray(dates.astype("datetime64[D]").astype(np.int32))
    return pa.Array.from_buffers(pa.date32(), len(days), [None, pa.py_buffer(days)])


def arrow_of_codes(column: NDArray, names: list[str]) -> pa.Array:
    """A dictionary column: `names[column[i]]` in row i."""
    indices = np.ascontiguousarray(column, dtype=np.int32)
    array = pa.Array.from_buffers(pa.int32(), len(indices), [None, pa.py_buffer(indices)])
    return pa.DictionaryArray.from_arrays(array, _arrow_of_texts(names))


def _arrow_of_texts(texts: list[str]) -> pa.Array:
    encoded = [text.encode() for text in texts]
    offsets = np.cumsum([0, *(len(one) for one in encoded)], dtype=np.int32)
    buffers = [None, pa.py_buffer(offsets), pa.py_buffer(b"".join(encoded))]
    return pa.Array.from_buffers(pa.string(), len(texts), buffers)


def _one_array(column: pa.ChunkedArray | pa.Array) -> pa.Array:
    return column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
