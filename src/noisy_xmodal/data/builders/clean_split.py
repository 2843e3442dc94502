"""A split before noise, as a builder opens it, and its way into Arrow tables block by block."""

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
MOST_ROWS = 10_000


@dataclass
class Facts:
    """What is known of the rows of a clean split beside their pictures.

    Attributes:
        captions: The captions of each row; None where the text is a vector.
        objects: The things in each picture, by name or number.
        tags: Topic words of each row.
        labels: The class of each row, (n_rows,).
        class_names: Names of the classes, the same for all splits.
        object_names: Names of the objects, where they are numbers.
        notes: Lines for the card: what was found, dropped or merged.
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
        """The nouns in the captions of each row; found at first use, for all configs."""
        return caption_nouns(self.captions or [])

    def object_sources(self) -> dict[str, ObjectSource]:
        """The ways to get object sets that these rows offer."""
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
    """A split before noise: what is small in memory (`facts`), the rest read in blocks.

    Attributes:
        facts: Captions, objects, labels.
        block_rows: Number of rows to read at once.
    """

    facts: Facts
    block_rows: int = MOST_ROWS

    @abstractmethod
    def __len__(self) -> int:
        """Number of rows."""

    @abstractmethod
    def columns(self, first: int, last: int) -> dict[str, Any]:
        """Returns the columns of some rows that are read when needed, beside the facts.

        Args:
            first: The first row.
            last: The row after the last.

        Returns:
            For each column an Arrow array or a list.
        """

    def raw_paths(self) -> Iterable[str]:
        """Names the single files that blocks are read from, where there are any."""
        return ()

    def details(self) -> list[str]:
        """Says what there is beside captions and labels, in a few words, for the card."""
        return []

    @property
    def n_captions(self) -> int:
        """Number of captions."""
        return sum(map(len, self.facts.captions or ()))


def split_lines(splits: Mapping[str, CleanSplit]) -> str:
    """Describes splits for a card, one line each: sizes, and what was found or left out."""
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
    """Number of rows of a block, which becomes a row group of Parquet: tens of MB, if it can be.

    Args:
        row_bytes: The size of a row.
    """
    return int(max(1, min(MOST_ROWS, BLOCK_BYTES // max(1, row_bytes))))


def row_blocks(
    split: CleanSplit, title: str, block_rows: int | None = None
) -> Iterator[tuple[int, int]]:
    """Cuts the rows of a split into blocks, with a progress bar.

    Args:
        split: The split.
        title: What the bar says.
        block_rows: Rows of a block; those of the split by default.

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
    read: dict[str, Any], facts: dict[str, Any], first: int, last: int, schema: pa.Schema
) -> pa.Table:
    """Puts the columns that were read of a block and the facts of all rows into one table."""
    columns = read | {name: values[first:last] for name, values in facts.items()}
    arrays = [
        values if isinstance(values, pa.Array) else pa.array(values, type=field.type)
        for field, values in ((field, columns[field.name]) for field in schema)
    ]
    return pa.Table.from_arrays(arrays, schema=schema)
