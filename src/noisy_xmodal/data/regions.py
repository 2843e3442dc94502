"""Storage of vectors and of region features, (n_regions, dim) arrays, in Arrow columns.

The type of regions is a list of fixed-size lists. It keeps float16 through Parquet, allows
different numbers of regions per image, and is read without copies. (`datasets.Array2D` keeps dtype
and shape too, but reading copies its rows twice, and `with_format("numpy")` turns float16 into
float32.) `region_arrays` reads both types.
"""

from collections.abc import Sequence
from itertools import pairwise

import datasets
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from .messages import DatasetError

_BLOCK_ROWS = 4096


def region_feature(dim: int, dtype: str = "float32") -> datasets.List:
    """The feature type of a `regions` column with vectors of `dim` numbers."""
    return datasets.List(vector_feature(dim, dtype))


def region_column(features: np.ndarray) -> pa.Array:
    """Creates an Arrow column of `region_feature` type, without a Python object per region.

    Args:
        features: Region features, (n_images, n_regions, dim), or one vector per image,
            (n_images, dim), which becomes one region.
    """
    if features.ndim == 2:
        features = features[:, None, :]
    n_images, n_regions, dim = features.shape
    offsets = np.arange(n_images + 1, dtype=np.int32) * n_regions  # (n_images + 1,)
    return pa.ListArray.from_arrays(offsets, vector_column(features.reshape(-1, dim)))


def ragged_region_column(regions: Sequence[np.ndarray], dtype: str = "float32") -> pa.Array:
    """Creates an Arrow column of `region_feature` type from rows of different numbers of regions.

    Args:
        regions: One array (n_regions, dim) per row, at least one.
        dtype: Type of the stored numbers.
    """
    offsets = np.cumsum([0, *map(len, regions)], dtype=np.int32)  # (n_rows + 1,)
    values = np.concatenate(regions).astype(dtype, copy=False)
    return pa.ListArray.from_arrays(offsets, vector_column(values))


def vector_feature(dim: int, dtype: str = "float32") -> datasets.List:
    """The feature type of a column with one vector of `dim` numbers per row."""
    return datasets.List(datasets.Value(dtype), length=dim)


def vector_column(vectors: np.ndarray) -> pa.Array:
    """Creates an Arrow column of `vector_feature` type from vectors, (n_rows, dim)."""
    return pa.FixedSizeListArray.from_arrays(pa.array(vectors.reshape(-1)), vectors.shape[1])


def region_arrays(column: pa.ChunkedArray | pa.Array) -> list[np.ndarray]:
    """Reads an Arrow column of region features as NumPy arrays, in the stored dtype.

    Args:
        column: Rows of lists of lists, or of `datasets.Array2D`.

    Returns:
        One read-only view of shape (n_regions, dim) per row.

    Raises:
        ValueError: A row, a region or a value is null, or the regions of a row differ in length.
    """
    chunks = column.chunks if isinstance(column, pa.ChunkedArray) else [column]
    return [regions for chunk in chunks for regions in _chunk_arrays(chunk)]


def vector_arrays(column: pa.ChunkedArray, name: str, split: str) -> list[np.ndarray]:
    """Reads an Arrow column of vectors as matrices, in the stored dtype, and checks them.

    Returns:
        One read-only view of shape (n_rows, dim) per chunk that has rows.

    Raises:
        DatasetError: A vector is missing, empty, of another size than the first, or not finite as
            float32.
    """
    parts: list[np.ndarray] = []
    bad: list[int] = []
    first_row = 0
    for chunk in filter(len, column.chunks):
        part = _chunk_vectors(chunk, parts[0].shape[1] if parts else None, first_row, name, split)
        bad += [first_row + row for row in _not_finite(part)]
        parts.append(part)
        first_row += len(chunk)
    if bad:
        raise DatasetError(
            f"Row {bad[0]} of split '{split}' (counted from 0) has NaN or infinite values in "
            f"'{name}', like {len(bad)} rows in all. Extract their features again, or drop the "
            "rows."
        )
    return parts


def _chunk_vectors(
    chunk: pa.Array, dim: int | None, first_row: int, name: str, split: str
) -> NDArray:
    """A view of the vectors of a chunk, (n_rows, dim); of any size if `dim` is None."""
    if chunk.null_count:
        raise DatasetError(
            f"Row {first_row + _first_null(chunk)} of split '{split}' (counted from 0) has no "
            f"vector in '{name}' (it is null). Extract the features, or drop the row."
        )
    sizes = pc.list_value_length(chunk).to_numpy()  # (n_rows,)
    dim = int(sizes[0]) if dim is None else dim
    wrong = np.flatnonzero((sizes != dim) | (sizes == 0))
    if len(wrong):
        raise DatasetError(
            f"Row {first_row + wrong[0]} of split '{split}' (counted from 0) has a vector of "
            f"{sizes[wrong[0]]} numbers in '{name}', but the first has {dim}. Give all rows "
            "vectors of one size, at least 1."
        )
    values = chunk.flatten()  # (n_rows * dim,), respects the offset if `chunk` is a slice
    if values.null_count:
        row, position = divmod(_first_null(values), dim)
        raise DatasetError(
            f"Row {first_row + row} of split '{split}' (counted from 0) has a null at position "
            f"{position} of its vector in '{name}'. Extract the features again, or drop the row."
        )
    return values.to_numpy().reshape(len(chunk), dim)


def _first_null(values: pa.Array) -> int:
    return int(np.argmax(values.is_null().to_numpy(zero_copy_only=False)))


def _not_finite(vectors: NDArray) -> list[int]:
    """Rows with values that are not finite as float32, found without a copy of all vectors."""
    rows: list[int] = []
    for start in range(0, len(vectors), _BLOCK_ROWS):
        with np.errstate(over="ignore"):
            block = vectors[start : start + _BLOCK_ROWS].astype(np.float32, copy=False)
        rows += (start + np.flatnonzero(~np.isfinite(block).all(axis=1))).tolist()
    return rows


def _chunk_arrays(chunk: pa.Array) -> list[np.ndarray]:
    rows = chunk.storage if isinstance(chunk, pa.ExtensionArray) else chunk
    starts = _offsets(rows)
    regions = rows.flatten()  # respects the offset if `rows` is a slice
    values = regions.flatten()
    if rows.null_count or regions.null_count or values.null_count:
        raise ValueError("A row of region features holds a null: write full arrays.")
    flat = values.to_numpy()
    if pa.types.is_fixed_size_list(regions.type):
        vectors = flat.reshape(-1, regions.type.list_size)
        return [vectors[first:last] for first, last in pairwise(starts)]
    bounds = _offsets(regions)
    return [_matrix(flat, bounds[first : last + 1]) for first, last in pairwise(starts)]


def _matrix(flat: np.ndarray, bounds: np.ndarray) -> np.ndarray:
    widths = np.diff(bounds)
    if len(widths) and (widths != widths[0]).any():
        raise ValueError(f"The regions of one row have different lengths: {widths.tolist()}.")
    dim = int(widths[0]) if len(widths) else 0
    return flat[bounds[0] : bounds[-1]].reshape(len(widths), dim)


def _offsets(lists: pa.Array) -> np.ndarray:
    """The start of each list in `lists.flatten()`, and the end of the last one."""
    if pa.types.is_fixed_size_list(lists.type):
        return np.arange(len(lists) + 1) * lists.type.list_size
    offsets = lists.offsets.to_numpy()
    return offsets - offsets[0]
