"""Storage of region features, (n_regions, dim) arrays, in Arrow columns.

The type is a list of fixed-size lists. It keeps float16 through Parquet, allows different numbers
of regions per image, and is read without copies. (`datasets.Array2D` keeps dtype and shape too, but
reading copies its rows twice, and `with_format("numpy")` turns float16 into float32.)
`region_arrays` reads both types.
"""

from itertools import pairwise

import datasets
import numpy as np
import pyarrow as pa


def region_feature(dim: int, dtype: str = "float32") -> datasets.List:
    """The feature type of a `regions` column.

    Args:
        dim: Length of one region's vector.
        dtype: `"float16"` or `"float32"`.
    """
    return datasets.List(datasets.List(datasets.Value(dtype), length=dim))


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


def vector_feature(dim: int, dtype: str = "float32") -> datasets.List:
    """The feature type of a column with one vector per row.

    Args:
        dim: Length of the vector.
        dtype: `"float16"` or `"float32"`.
    """
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
