"""The rows of a split before noise, as a reader returns them.

A split is a dict of columns. Small columns are lists or arrays in memory. Large ones are read in
blocks, so 30 GB of features need the memory of one block:

* `PictureFiles`: the unchanged bytes of picture files;
* `FeatureColumn`: vectors or region features, in memory or in an `ArrayFile`;
* `DatasetColumn`: any column of a `datasets.Dataset`.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import compress
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from datasets.table import embed_table_storage
from datasets.utils import tqdm  # can be switched off by datasets.disable_progress_bars()
from numpy.typing import NDArray

from .caption_nouns import caption_nouns
from .columns import (
    CAPTIONS,
    IMAGE,
    IMAGE_FEATURES,
    IMAGE_LABEL,
    IS_NOISY,
    OBJECTS,
    REGIONS,
    TAGS,
    TEXT_FEATURES,
    TEXT_LABEL,
    TRUE_LABEL,
    DatasetError,
)
from .regions import region_column, region_feature, vector_column, vector_feature

BLOCK_BYTES = 32 * 2**20
MAX_ROWS = 10_000

_SAMPLE = 100  # rows that estimate the mean size of a row
_TEXTS = datasets.List(datasets.Value("string"))
_TYPES = {IMAGE: datasets.Image(), CAPTIONS: _TEXTS, TAGS: _TEXTS}  # others in memory are strings


class PictureFiles:
    """A column of picture files. Pictures are never re-encoded.

    Args:
        paths: The file of each row.

    Attributes:
        paths: The file of each row.
        row_bytes: The mean size of a file.
    """

    feature = datasets.Image()

    def __init__(self, paths: Sequence[Path]) -> None:
        self.paths = list(paths)
        sample = [path.stat().st_size for path in self.paths[:_SAMPLE] if path.exists()]
        self.row_bytes = sum(sample) / max(1, len(sample))

    def __len__(self) -> int:
        return len(self.paths)

    def read(self, first: int, last: int) -> pa.Array:
        """Reads the bytes and the name of some files."""
        paths = self.paths[first:last]
        content = pa.array([path.read_bytes() for path in paths], type=pa.binary())
        names = pa.array([path.name for path in paths], type=pa.string())
        return pa.StructArray.from_arrays([content, names], names=["bytes", "path"])


@dataclass(frozen=True)
class FeatureColumn:
    """A column of vectors or of region features.

    Attributes:
        values: (n_rows * copies, dim), or (n_rows * copies, n_regions, dim): an array or an
            `ArrayFile`.
        is_regions: Whether a row is a matrix of regions; (n, dim) then is one region per row.
        copies: Consecutive equal entries per row, of which the first is used.
    """

    values: Any
    is_regions: bool = False
    copies: int = 1

    def __len__(self) -> int:
        return len(self.values) // self.copies

    @property
    def dtype(self) -> str:
        """The stored type: "float16" or "float32"."""
        return "float16" if self.values.dtype == np.float16 else "float32"

    @property
    def feature(self) -> datasets.List:
        """The type of the column."""
        kind = region_feature if self.is_regions else vector_feature
        return kind(self.values.shape[-1], self.dtype)

    @property
    def row_bytes(self) -> int:
        """The size of a row in the source."""
        entry = int(np.prod(self.values.shape[1:])) * self.values.dtype.itemsize
        return entry * self.copies

    def rows(self, first: int, last: int) -> np.ndarray:
        """Reads some rows as an array of `dtype`."""
        values = self.values[first * self.copies : last * self.copies][:: self.copies]
        with np.errstate(over="ignore"):
            return values.astype(self.dtype, copy=False)

    def read(self, first: int, last: int) -> pa.Array:
        """Reads some rows."""
        rows = self.rows(first, last)
        return region_column(rows) if self.is_regions else vector_column(rows)

    def check_finite(self, where: str) -> None:
        """Checks that all values are finite.

        Args:
            where: The file, for the message.

        Raises:
            DatasetError: A value is NaN, infinite, or too large for the stored type.
        """
        for first, last in row_blocks(len(self), rows_per_block(self.row_bytes), f"Check {where}"):
            rows = self.rows(first, last)
            finite = np.isfinite(rows.reshape(len(rows), -1)).all(axis=1)  # (n_rows,)
            if not finite.all():
                raise DatasetError(
                    f"{where}, row {first + int(np.argmin(finite))} (counted from 0): the features "
                    f"have NaN or infinite values as {self.dtype}. Extract them again, or remove "
                    "the row from all files."
                )


class DatasetColumn:
    """A column of a dataset; pictures are stored with their bytes.

    Args:
        rows: The dataset.
        name: The column.
    """

    def __init__(self, rows: datasets.Dataset, name: str) -> None:
        self.feature = rows.features[name]
        self._rows = rows.select_columns([name]).with_format("arrow")
        sample = embed_table_storage(self._rows[:_SAMPLE])
        self.row_bytes = sample.nbytes / max(1, len(sample))

    def __len__(self) -> int:
        return len(self._rows)

    def read(self, first: int, last: int) -> pa.Array:
        """Reads some rows."""
        return embed_table_storage(self._rows[first:last]).column(0).combine_chunks()

    @property
    def paths(self) -> list[str]:
        """The picture files that are not stored in the rows."""
        if not isinstance(self.feature, datasets.Image):
            return []
        pictures = self._rows[:].column(0)
        is_file = pc.struct_field(pictures, "bytes").is_null()
        return list(pc.struct_field(pictures, "path").filter(is_file).drop_null().to_pylist())


@dataclass
class CleanSplit:
    """The rows of a split before noise.

    Attributes:
        columns: The columns by their name in the column contract, in the order in which they are
            written. `captions`, `objects` and `tags` are also what noise uses.
        labels: The class of each row, (n_rows,), or None.
        class_names: The names of the classes, the same for all splits.
        object_names: The names of the objects, if `objects` has numbers.
        notes: Lines for the card about the source, and about dropped or merged data.
    """

    columns: dict[str, Any]
    labels: NDArray[np.int64] | None = None
    class_names: tuple[str, ...] = ()
    object_names: tuple[str, ...] = ()
    notes: list[str] = field(default_factory=list)

    def __len__(self) -> int:
        return len(next(iter(self.columns.values())))

    @property
    def captions(self) -> list[list[str]] | None:
        """The captions of each row; None if the texts are vectors."""
        return self.columns.get(CAPTIONS)

    @property
    def n_captions(self) -> int:
        """Number of captions."""
        return sum(map(len, self.captions or ()))

    @cached_property
    def nouns(self) -> list[list[str]]:
        """The nouns in the captions of each row; computed once for all configs."""
        return caption_nouns(self.captions or [])

    def values(self, name: str) -> Sequence[Any]:
        """Reads a whole column as Python values."""
        column = self.columns[name]
        return column.read(0, len(column)).to_pylist() if _is_block_column(column) else column

    def features(self, has_oracle: bool = True) -> datasets.Features:
        """Returns the types of the columns with noise.

        Args:
            has_oracle: Whether rows with captions have `is_noisy`.
        """
        types: dict[str, Any] = {}
        for name, column in self.columns.items():
            types[name] = getattr(column, "feature", None) or self._type(name)
            if name == CAPTIONS and has_oracle:
                types[IS_NOISY] = datasets.List(datasets.Value("bool"))
        if self.labels is not None:
            label = datasets.ClassLabel(names=list(self.class_names))
            types |= dict.fromkeys((IMAGE_LABEL, TEXT_LABEL, TRUE_LABEL), label)
        return datasets.Features(types)

    def _type(self, name: str) -> Any:
        if name != OBJECTS:
            return _TYPES.get(name, datasets.Value("string"))
        names = list(self.object_names)
        return datasets.List(datasets.ClassLabel(names=names) if names else datasets.Value("int64"))

    def blocks(self, title: str) -> Iterator[tuple[int, int]]:
        """Divides the rows into blocks of tens of MB, with a progress bar; see `row_blocks`."""
        sizes = [getattr(column, "row_bytes", 0) for column in self.columns.values()]
        return row_blocks(len(self), rows_per_block(max(sizes)), title)

    def read(self, first: int, last: int) -> dict[str, Any]:
        """Reads some rows of all columns: an Arrow array or a list per column."""
        return {
            name: column.read(first, last) if _is_block_column(column) else column[first:last]
            for name, column in self.columns.items()
        }

    def keep_rows(self, keep: Sequence[bool]) -> None:
        """Drops rows of a split of pictures.

        Args:
            keep: Whether to keep each row.
        """
        for name, column in self.columns.items():
            self.columns[name] = (
                PictureFiles(list(compress(column.paths, keep)))
                if isinstance(column, PictureFiles)
                else list(compress(column, keep))
            )
        if self.labels is not None:
            self.labels = self.labels[np.asarray(keep, dtype=bool)]

    def raw_paths(self) -> Iterable[str]:
        """Returns the files that each contain one row's data."""
        return (str(path) for c in self.columns.values() for path in getattr(c, "paths", ()))


def split_lines(splits: Mapping[str, CleanSplit]) -> str:
    """Describes splits for a card, one line each, with sizes and notes."""
    lines = []
    for name, split in splits.items():
        parts = [f"- {name}: {len(split):,} rows"]
        arrays = {k: c.values for k, c in split.columns.items() if isinstance(c, FeatureColumn)}
        if REGIONS in arrays:
            shape = " x ".join(map(str, arrays[REGIONS].shape[1:]))
            parts.append(f"features of {shape} {arrays[REGIONS].dtype}")
        if IMAGE_FEATURES in arrays:
            image, text = (arrays[name].shape[1] for name in (IMAGE_FEATURES, TEXT_FEATURES))
            parts.append(f"vectors of {image:,} (image) and {text:,} (text) numbers")
        if split.n_captions:
            parts.append(f"{split.n_captions:,} captions")
        if split.labels is not None:
            sizes = np.bincount(split.labels, minlength=len(split.class_names))
            parts.append(f"{len(sizes)} classes of {sizes.min():,} to {sizes.max():,} rows")
        lines.append("; ".join([*parts, *split.notes]))
    return "\n".join(lines)


def rows_per_block(row_bytes: float) -> int:
    """Returns the number of rows of a block of tens of MB, which becomes a row group of Parquet."""
    return int(max(1, min(MAX_ROWS, BLOCK_BYTES // max(1, row_bytes))))


def row_blocks(n_rows: int, block_rows: int, title: str) -> Iterator[tuple[int, int]]:
    """Divides rows into blocks, with a progress bar.

    Yields:
        The first row of a block, and the row after its last.
    """
    with tqdm(total=n_rows, desc=title, unit="rows") as bar:
        for first in range(0, n_rows, block_rows):
            last = min(first + block_rows, n_rows)
            yield first, last
            bar.update(last - first)


def block_table(
    block: Mapping[str, Any], noisy: Mapping[str, Any], first: int, last: int, schema: pa.Schema
) -> pa.Table:
    """Creates a table from the columns of a block.

    Args:
        block: The clean columns of the block, from `CleanSplit.read`.
        noisy: The columns with noise, of all rows; they replace clean ones.
        first: The first row of the block.
        last: The row after its last.
        schema: The columns of the table.
    """
    columns = {**block, **{name: values[first:last] for name, values in noisy.items()}}
    arrays = [
        values if isinstance(values, pa.Array) else pa.array(values, type=field.type)
        for field, values in ((field, columns[field.name]) for field in schema)
    ]
    return pa.Table.from_arrays(arrays, schema=schema)


def _is_block_column(column: object) -> bool:
    return isinstance(column, PictureFiles | FeatureColumn | DatasetColumn)
