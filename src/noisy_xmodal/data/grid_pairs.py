"""Pairs with precomputed region features of their pictures, in an array on disk."""

from collections.abc import Sequence
from typing import Any

import datasets
import numpy as np

from .columns import REGIONS
from .digests import Digests, array_digests
from .pair_dataset import PairDataset


class GridPairs(PairDataset):
    """Pairs of a dataset with image features from an array.

    Args:
        dataset: Rows that follow the column contract; their images are not read.
        features: (n_images, n_regions, size), usually memory-mapped.
        rows: The rows of `dataset` and `features` to use, (n_rows,); all by default.
    """

    def __init__(
        self, dataset: datasets.Dataset, features: np.ndarray, rows: np.ndarray | None = None
    ) -> None:
        self._feature_rows = np.arange(len(dataset)) if rows is None else rows
        self._features = features
        super().__init__(dataset if rows is None else dataset.select(rows))
        self.visual = REGIONS

    def visuals(self, rows: list[int]) -> list[Any]:
        """The features of some rows, (n_regions, size) float32 each."""
        return [np.asarray(self._features[self._feature_rows[row]], np.float32) for row in rows]

    def _image_digests(self) -> Digests:
        return array_digests(self._features[row] for row in self._feature_rows)


class FeatureRows(Sequence):
    """The rows of an array as a sequence of arrays, read on access.

    Args:
        features: (n, ...).
    """

    def __init__(self, features: np.ndarray) -> None:
        self._features = features

    def __len__(self) -> int:
        return len(self._features)

    def __getitem__(self, index: Any) -> Any:
        features = np.asarray(self._features[index], dtype=np.float32)
        return list(features) if isinstance(index, slice) else features
