"""`PairDataset` adapts a `datasets.Dataset` of images with captions to torch, one item per pair.

Items never contain the oracle (`is_noisy`), so it cannot reach a model or a loss.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from itertools import chain
from typing import Any

import datasets
import numpy as np
import torch
import torch.utils.data
from numpy.typing import NDArray

from ..modules.grids import GridCells
from ..noise.equal_texts import SharedTexts, text_numbers
from .columns import (
    CAPTION,
    CAPTIONS,
    IMAGE,
    IMAGE_ROW,
    IS_NOISY,
    PAIR_ID,
    REGIONS,
    DatasetError,
    check_flags,
    column_values,
    validate_columns,
    visual_column,
    with_columns,
)
from .digests import Digests, array_digests, image_digests, image_id_digests, text_digests
from .lazy_rows import ColumnRows, LazyRows

ImageTransform = Callable[..., Mapping[str, torch.Tensor]]


class PairDataset(torch.utils.data.Dataset):
    """The pairs of a dataset that follows the column contract.

    Captions are held in memory. Images and region features are read on access, each row once per
    batch.

    Args:
        dataset: Rows that follow the column contract.
        image_transform: Function from a list of pictures to model inputs, one tensor per name, such
            as an image processor. Items then hold these inputs instead of the picture.
        cache_bytes: Memory for transformed pictures. Pictures that fit are decoded and transformed
            once instead of once per epoch, so the transform must be deterministic.

    Attributes:
        images: The pictures or region features by row, read on access.
        row_of_pair: (n_pairs,) int64, the row of each pair's image.
        n_images: Number of rows.
    """

    def __init__(
        self,
        dataset: datasets.Dataset,
        image_transform: ImageTransform | None = None,
        cache_bytes: int = 0,
    ) -> None:
        """Reads the captions of `dataset`.

        Raises:
            DatasetError: A column is missing or has another type.
        """
        validate_columns(dataset)
        self.dataset = dataset
        self.visual = visual_column(dataset)
        caption_lists = column_values(dataset, CAPTIONS)
        counts = np.array([len(texts) for texts in caption_lists], dtype=np.int64)
        self.n_images = len(counts)
        self.row_of_pair = np.repeat(np.arange(len(counts)), counts)
        self._captions: list[str] = list(chain.from_iterable(caption_lists))
        self.images: LazyRows = ColumnRows(dataset, self.visual)
        self._transform = image_transform if self.visual == IMAGE else None
        self._cache: dict[int, dict[str, torch.Tensor]] = {}
        self._cache_left = cache_bytes

    def __len__(self) -> int:
        return len(self._captions)

    def __getitem__(self, pair_id: int) -> dict[str, Any]:
        return self.__getitems__([pair_id])[0]

    def __getitems__(self, pair_ids: Sequence[int]) -> list[dict[str, Any]]:
        """Fetches a batch; torch's `DataLoader` calls this method.

        Args:
            pair_ids: Pairs to fetch, in any order, with repeats if wanted.

        Returns:
            A dict per pair: `pair_id`, `image_row`, `caption`, and either `image` (a PIL picture in
            RGB), the outputs of the transform, or `regions` (an (n_regions, dim) array).

        Raises:
            IndexError: A pair id is outside 0 .. n_pairs - 1.
        """
        ids = checked_ids(pair_ids, len(self))  # (batch,)
        rows, position = np.unique(self.row_of_pair[ids], return_inverse=True)
        visuals = self._model_visuals(rows.tolist())
        return [
            {
                PAIR_ID: pair_id,
                IMAGE_ROW: int(rows[index]),
                CAPTION: self._captions[pair_id],
                **visuals[index],
            }
            for pair_id, index in zip(ids.tolist(), position.tolist(), strict=True)
        ]

    @property
    def is_noisy(self) -> np.ndarray | None:
        """The oracle, (n_pairs,) bool, or None if the dataset has none.

        For metrics, evaluation and audit only.

        Raises:
            DatasetError: A row does not have one flag per caption.
        """
        if IS_NOISY not in self.dataset.column_names:
            return None
        flags = column_values(self.dataset, IS_NOISY)
        counts = np.bincount(self.row_of_pair, minlength=self.n_images)
        check_flags(flags, counts.tolist())
        return np.fromiter(chain.from_iterable(flags), dtype=bool, count=len(self))

    @cached_property
    def shared_texts(self) -> SharedTexts:
        """Which images share which texts; a shared text is not a negative for them."""
        return SharedTexts(text_numbers(self._captions), self.row_of_pair)

    def caption(self, pair_id: int) -> str:
        """Returns the caption of a pair."""
        return self._captions[pair_id]

    def captions(self) -> list[str]:
        """Returns the captions by pair id."""
        return list(self._captions)

    def select(self, rows: np.ndarray) -> "PairDataset":
        """The pairs of some images, with new pair ids.

        Args:
            rows: Row numbers, (n_rows,).
        """
        return PairDataset(self.dataset.select(rows), self._transform)

    def identity(self) -> dict[str, Digests]:
        """Digests of the content by "unit: property", without the oracle; see `data.digests`.

        Returns:
            (n_pairs,) for each property of pairs, (n_images,) for each property of images.
        """
        return {
            "image: picture": self._image_digests(),
            "image: name": image_id_digests(self.dataset),
            "pair: caption": text_digests(self._captions),
            "pair: image": self.row_of_pair.astype(np.uint64),
        }

    def _image_digests(self) -> Digests:
        return image_digests(self.dataset)

    def _model_visuals(self, rows: list[int]) -> list[dict[str, Any]]:
        """The visual entries of an item, for each row."""
        if self._transform is None:
            return [{self.visual: visual} for visual in self.visuals(rows)]
        inputs_of = {row: self._cache[row] for row in rows if row in self._cache}
        missing = [row for row in rows if row not in inputs_of]
        if missing:
            inputs = self._transform(self.visuals(missing), return_tensors="pt")
            for position, row in enumerate(missing):
                # A clone: a view would keep the tensor of the whole batch alive.
                inputs_of[row] = {name: value[position].clone() for name, value in inputs.items()}
                size = sum(value.nbytes for value in inputs_of[row].values())
                if size <= self._cache_left:
                    self._cache[row] = inputs_of[row]
                    self._cache_left -= size
        return [inputs_of[row] for row in rows]

    def visuals(self, rows: list[int]) -> list[Any]:
        """Reads the pictures (composed by `to_rgb`) or region features of some rows.

        Args:
            rows: Row numbers.

        Raises:
            DatasetError: Region features that `validate_pairs` did not check are not finite.
        """
        return self.images.read(rows)


class GridPairs(PairDataset):
    """Pairs of a dataset with region features from an array instead of its images.

    Args:
        dataset: Rows that follow the column contract; their images are not read.
        features: (n_images, n_regions, size), usually memory-mapped.
        rows: The row of `features` of each row of `dataset`, (n_rows,); the same row by default.
        digests: What identifies the images, (n_rows,); by default, digests of their features.
    """

    def __init__(
        self,
        dataset: datasets.Dataset,
        features: np.ndarray,
        rows: np.ndarray | None = None,
        digests: Digests | None = None,
    ) -> None:
        super().__init__(dataset)
        self.visual = REGIONS
        self._features = features
        self._feature_rows = np.arange(len(dataset)) if rows is None else rows
        self._digests = digests
        self.images = LazyRows(self._read, len(dataset))

    def select(self, rows: np.ndarray) -> PairDataset:
        """The pairs of some images, see `PairDataset.select`."""
        digests = None if self._digests is None else self._digests[rows]
        feature_rows = self._feature_rows[rows]
        return GridPairs(self.dataset.select(rows), self._features, feature_rows, digests)

    def _read(self, rows: list[int]) -> list[Any]:
        """The features of some rows, (n_regions, size) float32 each."""
        features = (self._features[self._feature_rows[row]] for row in rows)
        return [np.asarray(cells, np.float32).view(GridCells) for cells in features]

    def _image_digests(self) -> Digests:
        if self._digests is not None:
            return self._digests
        return array_digests(self._features[row] for row in self._feature_rows)


def checked_ids(pair_ids: Sequence[int] | NDArray, n_pairs: int) -> NDArray[np.int64]:
    """Converts pair ids to an array, (n_ids,).

    Raises:
        IndexError: A pair id is outside 0 .. n_pairs - 1.
    """
    ids = np.array(pair_ids, dtype=np.int64)
    outside = ids[(ids < 0) | (ids >= n_pairs)]
    if len(outside):
        raise IndexError(f"Pair id {outside[0]} is outside 0 .. {n_pairs - 1}.")
    return ids


def drop_noisy_pairs(dataset: datasets.Dataset) -> datasets.Dataset:
    """Removes the pairs that the oracle marks as wrong, and the rows without any pair left.

    This USES THE ORACLE. It measures upper bounds; a training method must not use it.

    Args:
        dataset: One split with an `is_noisy` column.

    Returns:
        The clean pairs, with new pair ids.

    Raises:
        DatasetError: The dataset has no `is_noisy` column.
    """
    if IS_NOISY not in dataset.column_names:
        raise DatasetError(
            f"Dropping noisy pairs needs the oracle column '{IS_NOISY}'; the columns are "
            f"{dataset.column_names}."
        )
    lists = [column_values(dataset, name) for name in (CAPTIONS, IS_NOISY)]
    captions = [
        [text for text, wrong in zip(texts, flags, strict=True) if not wrong]
        for texts, flags in zip(*lists, strict=True)
    ]
    flags = [[False] * len(texts) for texts in captions]
    columns = {CAPTIONS: captions, IS_NOISY: flags}
    features = dataset.features
    clean = with_columns(dataset, {name: (c, features[name]) for name, c in columns.items()})
    return clean.select([row for row, texts in enumerate(captions) if texts])
