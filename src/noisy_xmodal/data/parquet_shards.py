"""Writing of Parquet shards with identical bytes for equal pictures and features.

Row groups and shards have the same rows in every config, and pages use content-defined chunking.
The pages of a picture or feature column are therefore identical in all configs. The Hub
deduplicates chunks of 64 KiB, so it stores and transfers them once. Row groups are large (tens of
MB), because one or two chunks are lost at each border between columns.
"""

from pathlib import Path
from types import TracebackType

import datasets
import pyarrow as pa
import pyarrow.parquet as pq

SHARD_BYTES = 500 * 10**6

# The chunk sizes of `datasets`, for compatibility with its tools.
_CHUNKING = {"min_chunk_size": 256 * 1024, "max_chunk_size": 1024 * 1024, "norm_level": 0}


class ParquetShards:
    """Writes tables as `{folder}/{split}-00000-of-00002.parquet` and so on.

    Args:
        folder: Output folder; created if missing.
        split: Name of the split.
        features: Types of the columns.

    Attributes:
        schema: The required Arrow schema of tables.
        n_rows: Number of rows written so far.
        n_bytes: Their size in memory.
    """

    def __init__(self, folder: Path, split: str, features: datasets.Features) -> None:
        self.schema: pa.Schema = features.arrow_schema
        self.n_rows = 0
        self.n_bytes = 0
        self._folder = folder
        self._split = split
        self._bulk = [name for name in features if is_bulk(features[name])]
        repeating = [
            _leaf_path(field.name, field.type)
            for field in self.schema
            if field.name not in self._bulk
        ]
        self._options = {
            "compression": "zstd",
            "use_content_defined_chunking": _CHUNKING,
            "write_page_index": True,
            "use_dictionary": repeating,
        }
        self._parts: list[Path] = []
        self._writer: pq.ParquetWriter | None = None
        self._shard_bytes = 0
        folder.mkdir(exist_ok=True)

    def __enter__(self) -> "ParquetShards":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if kind is None and not self._parts:
            self._open()
        self._close()
        if kind is None:
            for number, part in enumerate(self._parts):
                name = f"{self._split}-{number:05d}-of-{len(self._parts):05d}.parquet"
                part.rename(self._folder / name)

    def write(self, table: pa.Table) -> None:
        """Writes a table as one row group."""
        writer = self._writer or self._open()
        writer.write_table(table, row_group_size=len(table))
        self.n_rows += len(table)
        self.n_bytes += table.nbytes
        # Captions do not count: their sizes differ between configs, but shards must not.
        self._shard_bytes += sum(table[name].nbytes for name in self._bulk)
        if self._shard_bytes >= SHARD_BYTES:
            self._close()

    def _open(self) -> pq.ParquetWriter:
        part = self._folder / f"{self._split}-part{len(self._parts)}.tmp"
        self._parts.append(part)
        self._shard_bytes = 0
        self._writer = pq.ParquetWriter(part, self.schema, **self._options)
        return self._writer

    def _close(self) -> None:
        if self._writer is not None:
            self._writer.close()
            self._writer = None


def is_bulk(feature: object) -> bool:
    """Whether a column has pictures or features, which do not repeat within a config."""
    if isinstance(feature, datasets.Image):
        return True
    while isinstance(feature, (datasets.List, datasets.LargeList)):
        feature = feature.feature
    return isinstance(feature, datasets.Value) and feature.dtype.startswith("float")


def _leaf_path(name: str, kind: pa.DataType) -> str:
    """The Parquet path of the values in a column of lists."""
    while (
        pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)
    ):
        name, kind = f"{name}.list.element", kind.value_type
    return name
