"""Large .npy files, read block by block.

A memory map would be as easy, but the pages that it has touched count as the process's memory, and
stay: a 30 GB feature file would look like a process of 30 GB. Here only the block that is asked for
is in memory.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from datasets.utils import tqdm  # can be switched off by datasets.disable_progress_bars()

from ..columns import DatasetError
from .clean_split import rows_per_block


@dataclass(frozen=True)
class ArrayFile:
    """An array in a .npy file.

    Attributes:
        path: The file.
        shape: Its shape.
        dtype: Its type.
        offset: Where its data begins, in bytes.
    """

    path: Path
    shape: tuple[int, ...]
    dtype: np.dtype
    offset: int

    def __len__(self) -> int:
        return self.shape[0]

    @property
    def row_bytes(self) -> int:
        """Size of one row in bytes."""
        return int(np.prod(self.shape[1:])) * self.dtype.itemsize

    @property
    def block_rows(self) -> int:
        """Number of rows that are read at once."""
        return rows_per_block(self.row_bytes)

    def read(self, first: int, last: int) -> np.ndarray:
        """Reads the rows from `first` to before `last`, (last - first, ...)."""
        count = (last - first) * int(np.prod(self.shape[1:]))
        start = self.offset + first * self.row_bytes
        flat = np.fromfile(self.path, dtype=self.dtype, count=count, offset=start)
        return flat.reshape(last - first, *self.shape[1:])

    def blocks(self, title: str) -> Iterator[tuple[int, np.ndarray]]:
        """Reads all rows, block by block, with a progress bar.

        Yields:
            The number of the first row, and the rows.
        """
        for first in tqdm(range(0, len(self), self.block_rows), desc=title):
            yield first, self.read(first, min(first + self.block_rows, len(self)))

    def check_finite(self) -> None:
        """Reads everything once.

        Raises:
            DatasetError: A value is NaN or infinite; the message names the first such row.
        """
        for first, rows in self.blocks(f"Checking {self.path.name}"):
            finite = np.isfinite(rows.reshape(len(rows), -1)).all(axis=1)
            if not finite.all():
                raise DatasetError(
                    f"{self.path}, row {first + int(np.argmin(finite))}: the features hold NaN or "
                    "infinite values. Extract that image again, or take it out of all files."
                )


def open_array(
    path: str | Path,
    dimensions: tuple[int, ...],
    dtypes: tuple[str, ...] = ("float16", "float32"),
) -> ArrayFile:
    """Opens a .npy file of floats without reading its rows.

    Args:
        path: The file.
        dimensions: The numbers of dimensions that are good.
        dtypes: The types that are good.

    Raises:
        DatasetError: The file is damaged, truncated, holds Python objects, or has another shape or
            type than features have.
    """
    path = Path(path)
    try:
        mapped = np.load(path, mmap_mode="r", allow_pickle=False)  # checks header and file size
    except Exception as error:  # damaged headers make NumPy's reader raise many kinds
        raise DatasetError(_damage(path, error)) from error
    if not isinstance(mapped, np.memmap):
        raise DatasetError(f"{path} is no .npy file of one array. Save it with np.save.")
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


def _damage(path: Path, error: Exception) -> str:
    if not path.exists():
        return f"{path} is missing."
    with open(path, "rb") as file:
        start = file.read(6)
    if start != b"\x93NUMPY":
        return (
            f"{path} is no .npy file ({error}). Files of Python objects are never loaded, as they "
            "can run code: save a float16 or float32 array with np.save."
        )
    if "object" in str(error).lower():
        return (
            f"{path} is not a plain array ({error}). Files of Python objects are never loaded, as "
            "they can run code: save a float16 or float32 array with np.save(..., "
            "allow_pickle=False)."
        )
    return (
        f"{path} is truncated or damaged: it has {path.stat().st_size:,} bytes, which are not what "
        f"its header announces ({error or type(error).__name__}). Copy or extract it again."
    )
