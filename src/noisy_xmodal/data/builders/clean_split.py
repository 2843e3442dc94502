"""Splits before noise, as opened by a builder, and their conversion to Arrow tables in blocks."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa
from datasets.utils import tqdm  # can be switched off by datasets.disable_progress_bars()

from ..caption_nouns import caption_nouns
from ..corruption import ANNOTATIONS, ObjectSource

BLOCK_BYTES = 32 * 2**20
MAX_ROWS = 10_000


@dataclass
class Facts:
    """The captions, objects, tags and labels of a clean split, in memory.

    Attributes:
        captions: The captions of each row; None if the texts are vectors.
        objects: The objects in each picture, by name or number.
        tags: Topic words of each row.
        labels: The class of each row, (n_rows,).
        class_names: Names of the classes, the same for all splits.
        object_names: Names of the objects, if `objects` has numbers.
        notes: Lines for the card about the source, and about dropped or merged data.
    """

    captions: list[list[str]] | None = None
    objects: Sequence[Iterable[Any]] | None = None
    tags: Sequence[Iterable[str]] | None = None
    labels: np.ndarray | None = None
    class_names: tuple[str, ...] = ()
    object_names: tuple[str, ...] = ()
    notes: list[str] = field(default_factory=list)

    @cached_property
    def nouns(self) -> list[list[str]]:
        """The nouns in the captions of each row; computed once for all configs."""
        return caption_nouns(self.captions or [])

    def object_sources(self) -> dict[str, ObjectSource]:
        """The available sources of object sets."""
        objects, tags = self.objects, self.tags
        sources: dict[str, ObjectSource] = {}
        if objects is not None:
            sources[ANNOTATIONS] = lambda: objects
        if tags is not None:
            sources["tags"] = lambda: tags
        if self.captions is not None:
            sources["captions"] = lambda: self.nouns
        return sources


class CleanSplit(ABC):
    """A split before noise: small data is in memory (`facts`), the rest is read in blocks.

    Attributes:
        facts: Captions, objects, labels.
        block_rows: Number of rows in a block.
    """

    facts: Facts
    block_rows: int = MAX_ROWS

    @abstractmethod
    def __len__(self) -> int:
        """Number of rows."""

    @abstractmethod
    def columns(self, first: int, last: int) -> dict[str, Any]:
        """Reads the columns of some rows that are not in the facts.

        Args:
            first: The first row.
            last: The row after the last.

        Returns:
            An Arrow array or a list per column.
        """

    def raw_paths(self) -> Iterable[str]:
        """Returns the paths of files that each contain one row's data."""
        return ()

    def details(self) -> list[str]:
        """Returns short descriptions of the columns, for the card."""
        return []

    @property
    def n_captions(self) -> int:
        """Number of captions."""
        return sum(map(len, self.facts.captions or ()))


def split_lines(splits: Mapping[str, CleanSplit]) -> str:
    """Describes splits for a card, one line each, with sizes and notes."""
    lines = []
    for name, split in splits.items():
        parts = [f"- {name}: {len(split):,} rows", *split.details()]
        if split.n_captions:
            parts.append(f"{split.n_captions:,} captions")
        if split.facts.labels is not None:
            sizes = np.bincount(split.facts.labels, minlength=len(split.facts.class_names))
            parts.append(f"{len(sizes)} classes of {sizes.min():,} to {sizes.max():,} rows")
        lines.append("; ".join([*parts, *split.facts.notes]))
    return "\n".join(lines)


def rows_per_block(row_bytes: float) -> int:
    """Returns the number of rows of a block of tens of MB, which becomes a row group of Parquet.

    Args:
        row_bytes: The size of a row.
    """
    return int(max(1, min(MAX_ROWS, BLOCK_BYTES // max(1, row_bytes))))


def row_blocks(
    split: CleanSplit, title: str, block_rows: int | None = None
) -> Iterator[tuple[int, int]]:
    """Divides the rows of a split into blocks, with a progress bar.

    Args:
        split: The split.
        title: The title of the progress bar.
        block_rows: Rows of a block; by default, `split.block_rows`.

    Yields:
        The first row of a block, and the row after its last.
    """
    step = block_rows or split.block_rows
    with tqdm(total=len(split), desc=title, unit="rows") as bar:
        for first in range(0, len(split), step):
            last = min(first + step, len(split))
            yield first, last
            bar.update(last - first)


def block_table(
    block: dict[str, Any], facts: dict[str, Any], first: int, last: int, schema: pa.Schema
) -> pa.Table:
    """Creates a table from the columns of a block and the facts of all rows."""
    columns = block | {name: values[first:last] for name, values in facts.items()}
    arrays = [
        values if isinstance(values, pa.Array) else pa.array(values, type=field.type)
        for field, values in ((field, columns[field.name]) for field in schema)
    ]
    return pa.Table.from_arrays(arrays, schema=schema)
