"""Sequences of pictures, region features and vectors that are read on access."""

from collections.abc import Callable, Sequence
from typing import Any

import datasets
import numpy as np

from .columns import IMAGE, REGIONS, check_regions, is_checked_as_read
from .pictures import open_picture, stored_pictures
from .regions import region_arrays


class LazyRows(Sequence):
    """A sequence of rows that are read on access.

    Args:
        read: Function from row numbers to the contents of the rows.
        n_rows: The number of rows.
    """

    def __init__(self, read: Callable[[list[int]], list[Any]], n_rows: int) -> None:
        self.read = read
        self._numbers = range(n_rows)

    def __len__(self) -> int:
        return len(self._numbers)

    def __getitem__(self, index: Any) -> Any:
        rows = self._numbers[index]
        return self.read(list(rows)) if isinstance(rows, range) else self.read([rows])[0]


class ColumnRows(LazyRows):
    """The pictures (composed by `to_rgb`), region features or vectors of a dataset.

    Reading raises a `DatasetError` for region features that `validate_pairs` did not check, if they
    are not finite.

    Args:
        dataset: Rows that follow the column contract.
        name: The column.
    """

    def __init__(self, dataset: datasets.Dataset, name: str) -> None:
        super().__init__(self._read, len(dataset))
        self._name = name
        self._checks = is_checked_as_read(dataset)
        if name == IMAGE:
            self._stored = stored_pictures(dataset)
        else:
            self._stored = dataset.select_columns([name]).with_format("arrow")

    def _read(self, rows: list[int]) -> list[Any]:
        if not rows:
            return []
        if self._name == IMAGE:
            return [open_picture(picture) for picture in self._stored[rows][IMAGE]]
        values = self._stored[rows].column(self._name)
        if self._name != REGIONS:
            return [np.asarray(vector, dtype=np.float32) for vector in values.to_pylist()]
        # Rows in any order are a chunk each, which takes four times as long to read.
        features = region_arrays(values.combine_chunks())
        if self._checks:
            for row, regions in zip(rows, features, strict=True):
                check_regions(regions, f"Row {row}")
        # The views are read-only; torch needs writable memory.
        return [regions.copy() for regions in features]
