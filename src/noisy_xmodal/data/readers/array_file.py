"""Reading of large .npy files in blocks.

A memory map is not used, because its pages stay in the memory of the process: reading a feature
file of 30 GB would use 30 GB. Here, only one block is in memory.
"""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from ..columns import DatasetError


@dataclass(frozen=True)
class ArrayFile:
    """An array in a .npy file.

    Attributes:
        path: The file.
        shape: Its shape.
        dtype: Its type.
        offset: The start of its data, in bytes.
    """

    path: Path
    shape: tuple[int, ...]
    dtype: np.dtype
    offset: int

    def __len__(self) -> int:
        return self.shape[0]

    def part(self, rows: slice) -> "ArrayFile":
        """Selects consecutive rows without reading them."""
        first, last, _ = rows.indices(len(self))
        row_bytes = int(np.prod(self.shape[1:])) * self.dtype.itemsize
        shape = (last - first, *self.shape[1:])
        return replace(self, shape=shape, offset=self.offset + first * row_bytes)

    def __getitem__(self, rows: slice) -> np.ndarray:
        """Reads consecutive rows, (n_rows, ...)."""
        part = self.part(rows)
        flat = np.fromfile(self.path, self.dtype, int(np.prod(part.shape)), offset=part.offset)
        return flat.reshape(part.shape)


def open_array(
    path: str | Path,
    dimensions: tuple[int, ...],
    dtypes: tuple[str, ...] = ("float16", "float32"),
) -> ArrayFile:
    """Opens a .npy file of floats without reading its rows.

    Args:
        path: The file.
        dimensions: The allowed numbers of dimensions.
        dtypes: The allowed types.

    Raises:
        DatasetError: The file is damaged or truncated, contains Python objects, or has another
            shape or type.
    """
    path = Path(path)
    mapped = load_array(path)
    shape = mapped.shape
    if len(shape) not in dimensions or 0 in shape:
        names = {2: "(rows, dim)", 3: "(rows, regions, dim)"}
        expected = " or ".join(names[n] for n in sorted(dimensions, reverse=True))
        raise DatasetError(f"{path} has shape {shape}: expected {expected}.")
    if mapped.dtype.name not in dtypes or not mapped.dtype.isnative:
        raise DatasetError(
            f"{path} is {mapped.dtype}: expected {' or '.join(dtypes)}. Convert it with "
            "np.save(path, array.astype(np.float32))."
        )
    if not mapped.flags.c_contiguous:
        raise DatasetError(
            f"{path} is stored column by column (Fortran order): its rows cannot be read one by "
            "one. Save it with np.save(path, np.ascontiguousarray(array))."
        )
    return ArrayFile(path, shape, mapped.dtype, int(mapped.offset))


def load_array(path: Path) -> np.memmap:
    """Opens the array of a .npy file as a memory map.

    Raises:
        DatasetError: The file is missing, damaged or truncated, or contains Python objects.
    """
    if not path.exists():
        raise DatasetError(f"{path} is missing.")
    try:
        mapped = np.load(path, mmap_mode="r", allow_pickle=False)  # checks header and file size
    except Exception as error:  # NumPy raises many types for damaged headers
        raise DatasetError(_damage(path, error)) from error
    if not isinstance(mapped, np.memmap):
        raise DatasetError(f"{path} is not a .npy file of one array. Save it with np.save.")
    return mapped


def _damage(path: Path, error: Exception) -> str:
    with open(path, "rb") as file:
        is_npy = file.read(6) == b"\x93NUMPY"
    if is_npy and "object" not in str(error).lower():
        return (
            f"{path} is truncated or damaged: its {path.stat().st_size:,} bytes do not match its "
            f"header ({error or type(error).__name__}). Copy or extract it again."
        )
    return (
        f"{path} is not a {'numeric array' if is_npy else '.npy file'} ({error}). Files of Python "
        "objects are never loaded, because they can run code: save an array of numbers with "
        "np.save(..., allow_pickle=False)."
    )
