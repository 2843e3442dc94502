"""Layouts of several configs on disk.

Configs differ in captions and labels, but share pictures and features. Parquet files cannot refer
to each other, so there are two layouts, and `load_dataset` opens both:

| layout  | files                            | on disk, 7 configs   | readers                      |
|---------|----------------------------------|----------------------|------------------------------|
| folder  | one folder of Parquet per config | 7 x (one on the Hub) | all readers of Parquet       |
| compact | one table, a column `_config`    | 1 x                  | `datasets`, by its `filters` |

In the compact table, the rows of an image in all configs are adjacent. Copies of a picture are
entries of a dictionary. Copies of a feature block are within the window of zstd, so they need
almost no space. In return, reading one config decodes all of them, and readers that ignore the card
(the Hub's viewer, pandas) see every row once per config.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pyarrow as pa

from ..protocol import TRAIN
from .base import NoisyPairsBuilder
from .clean_split import block_table, row_blocks
from .parquet_shards import ParquetShards

EVALUATION = "evaluation"
CONFIG = "_config"

_ANY_CONFIG = "all"
_PAGE_BYTES = 4 * 2**20  # fits the copies of a feature block of 7 x 36 x 2048 float32


@dataclass(frozen=True)
class StoredSplit:
    """A split of one config on disk.

    Attributes:
        pattern: Pattern of its files, relative to the folder.
        info: Its size.
    """

    pattern: str
    info: datasets.SplitInfo


class Layout(ABC):
    """A layout of the splits of several configs.

    Args:
        folder: The folder of the dataset.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @abstractmethod
    def write(self, split: str, builders: Sequence[NoisyPairsBuilder]) -> dict[str, StoredSplit]:
        """Writes one split of all configs, in one pass over the raw data.

        Args:
            split: Its name.
            builders: One per config.

        Returns:
            The stored split of each config.
        """

    @abstractmethod
    def reader_options(self, config: str, features: datasets.Features) -> dict[str, Any]:
        """Returns the card's options for the Parquet reader of one config, besides its files."""


class FolderLayout(Layout):
    """One folder of Parquet per config, and a shared folder for evaluation splits."""

    def write(self, split: str, builders: Sequence[NoisyPairsBuilder]) -> dict[str, StoredSplit]:
        """Writes one split of all configs."""
        first = builders[0]
        writers = {b.config.name: b for b in builders} if split == TRAIN else {EVALUATION: first}
        noisy = {name: builder.fact_columns(split) for name, builder in writers.items()}
        with ExitStack() as stack:
            shards = {
                name: stack.enter_context(ParquetShards(self.folder / name, split, b.info.features))
                for name, b in writers.items()
            }
            clean = first.clean_splits[split]
            for start, stop in row_blocks(clean, f"Writing {split}"):
                columns = clean.columns(start, stop)
                for name, files in shards.items():
                    files.write(block_table(columns, noisy[name], start, stop, files.schema))
        stored = {
            name: StoredSplit(
                f"{name}/{split}-*.parquet",
                datasets.SplitInfo(split, num_bytes=files.n_bytes, num_examples=files.n_rows),
            )
            for name, files in shards.items()
        }
        return {b.config.name: stored.get(b.config.name) or stored[EVALUATION] for b in builders}

    def reader_options(self, config: str, features: datasets.Features) -> dict[str, Any]:
        """Returns no options, because configs have different files."""
        return {}


class CompactLayout(Layout):
    """One table of all configs, ordered by image, with the name of the config in a column."""

    def write(self, split: str, builders: Sequence[NoisyPairsBuilder]) -> dict[str, StoredSplit]:
        """Writes one split of all configs; evaluation rows belong to every config."""
        first, clean = builders[0], builders[0].clean_splits[split]
        owners = {b.config.name: b for b in builders} if split == TRAIN else {_ANY_CONFIG: first}
        noisy = {name: builder.fact_columns(split) for name, builder in owners.items()}
        schema = first.info.features.arrow_schema
        features = datasets.Features({CONFIG: datasets.Value("string"), **first.info.features})
        step = max(1, clean.block_rows // len(owners))
        n_bytes = dict.fromkeys(owners, 0)
        options = _options(features, len(owners))
        with ParquetShards(self.folder / "data", split, features, **options) as files:
            for start, stop in row_blocks(clean, f"Writing {split}", step):
                columns = clean.columns(start, stop)
                tables = []
                for name, values in noisy.items():
                    table = block_table(columns, values, start, stop, schema)
                    n_bytes[name] += table.nbytes
                    tables.append(table.add_column(0, CONFIG, [[name] * len(table)]))
                files.write(_interleave(tables).cast(files.schema))
        return {
            b.config.name: StoredSplit(
                f"data/{split}-*.parquet",
                datasets.SplitInfo(
                    split,
                    num_bytes=n_bytes.get(b.config.name, n_bytes.get(_ANY_CONFIG, 0)),
                    num_examples=len(clean),
                ),
            )
            for b in builders
        }

    def reader_options(self, config: str, features: datasets.Features) -> dict[str, Any]:
        """Returns a filter on the column `_config`, and the other columns."""
        return {"columns": list(features), "filters": [[CONFIG, "in", [config, _ANY_CONFIG]]]}


def _interleave(tables: list[pa.Table]) -> pa.Table:
    """Interleaves the rows of tables: the first row of each, then the second of each, etc."""
    n_rows = len(tables[0])
    order = np.arange(n_rows * len(tables)).reshape(len(tables), n_rows).T.reshape(-1)
    return pa.concat_tables(tables).take(pa.array(order))


def _options(features: datasets.Features, n_copies: int) -> dict[str, Any]:
    """Writer options that compress copies: a dictionary of pictures, or large pages."""
    options: dict[str, Any] = {"use_content_defined_chunking": False}
    if any(isinstance(feature, datasets.Image) for feature in features.values()):
        return {**options, "use_dictionary": True, "dictionary_pagesize_limit": 2**30}
    return {**options, "data_page_size": _PAGE_BYTES, "write_batch_size": 256}
