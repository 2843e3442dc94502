"""Pairs with classes: the torch Dataset over rows of image and text with a label each.

The oracle (`true_label`) is never part of a batch: what a model or a loss is given cannot hold it.
"""

import copy
from collections.abc import Sequence
from typing import Any

import datasets
import numpy as np
import torch
import torch.utils.data
from numpy.typing import ArrayLike, NDArray

from .columns import (
    CAPTION,
    CAPTIONS,
    IMAGE,
    IMAGE_FEATURES,
    IMAGE_LABEL,
    PAIR_ID,
    TEXT_FEATURES,
    TEXT_LABEL,
    TRUE_LABEL,
    DatasetError,
    column_values,
)
from .digests import Digests, array_digests, text_digests
from .identity import image_digests, image_id_digests
from .label_contract import (
    check_finite,
    class_names,
    read_labels,
    read_vectors,
    validate_label_columns,
)
from .pictures import open_picture, stored_pictures


class LabelDataset(torch.utils.data.Dataset):
    """The rows of a dataset with classes, one pair a row.

    Labels and vectors are held in memory; pictures and texts are read when asked for. A batch is
    ready as it comes: give a `DataLoader` `collate_fn=torch.utils.data.default_convert`, which
    leaves it alone.

    Args:
        dataset: Rows by the column contract, see `as_label_pairs`.
        split: Its name, for the messages.

    Attributes:
        dataset: The rows.
        class_names: The names of the classes, in the order of their numbers; where the columns have
            none, the numbers that occur.
        n_classes: Their number.
        image_labels: (n_pairs,) int64, the class that each image is given.
        text_labels: (n_pairs,) int64, the class that each text is given.
    """

    def __init__(self, dataset: datasets.Dataset, split: str = "train") -> None:
        """Reads the labels and vectors of `dataset`.

        Raises:
            DatasetError: A column is missing or has another type, or a row has no class, or no
                vector of numbers.
        """
        validate_label_columns(dataset, split)
        self.dataset = dataset
        self.split = split
        self.image_labels = read_labels(dataset, IMAGE_LABEL, split)
        self.text_labels = read_labels(dataset, TEXT_LABEL, split)
        self.class_names = class_names(dataset) or _numbers(self.image_labels, self.text_labels)
        self.n_classes = len(self.class_names)
        self._vectors: dict[str, NDArray[np.float32]] = {}
        for name in (IMAGE_FEATURES, TEXT_FEATURES):
            if name in dataset.column_names:
                check_finite(dataset, name, split)
                self._vectors[name] = read_vectors(dataset, name, split)
        self._own_vectors = self._vectors

    def __len__(self) -> int:
        return len(self.image_labels)

    def __getitem__(self, pair_id: int) -> dict[str, Any]:
        return {name: values[0] for name, values in self.__getitems__([pair_id]).items()}

    def __getitems__(self, pair_ids: Sequence[int]) -> dict[str, Any]:
        """Fetches a batch; torch's DataLoader calls it where it exists.

        Args:
            pair_ids: Rows to fetch, in any order, repeats allowed.

        Returns:
            `pair_id`, `image_label` and `text_label`, all (batch,) int64; `image_features` and
            `text_features`, (batch, dim) float32, or, of a side that has no vectors, the list
            `image` of pictures in RGB or the list `caption` of texts.

        Raises:
            IndexError: A row is outside 0 .. n_pairs - 1.
        """
        ids = self._rows(pair_ids)  # (batch,)
        batch: dict[str, Any] = {
            PAIR_ID: torch.from_numpy(ids),
            IMAGE_LABEL: torch.from_numpy(self.image_labels[ids]),
            TEXT_LABEL: torch.from_numpy(self.text_labels[ids]),
        }
        for name, vectors in self._vectors.items():
            batch[name] = torch.from_numpy(vectors[ids])
        if IMAGE_FEATURES not in self._vectors:
            batch[IMAGE] = self.pictures(ids)
        if TEXT_FEATURES not in self._vectors:
            batch[CAPTION] = self.texts(ids)
        return batch

    @property
    def has_features(self) -> bool:
        """Whether both sides are vectors."""
        return len(self._vectors) == 2

    @property
    def image_features(self) -> NDArray[np.float32]:
        """The vectors of the images, (n_pairs, dim), C-contiguous.

        Raises:
            DatasetError: The images are pictures.
        """
        return self._side(IMAGE_FEATURES)

    @property
    def text_features(self) -> NDArray[np.float32]:
        """The vectors of the texts, (n_pairs, another dim), C-contiguous.

        Raises:
            DatasetError: The texts are captions.
        """
        return self._side(TEXT_FEATURES)

    @property
    def true_labels(self) -> NDArray[np.int64] | None:
        """The oracle, (n_pairs,) int64: the class of each pair, or None where nobody knows.

        For metrics, evaluation and audit only.

        Raises:
            DatasetError: Only some rows have one.
        """
        if TRUE_LABEL not in self.dataset.column_names:
            return None
        return read_labels(self.dataset, TRUE_LABEL, self.split)

    @property
    def is_noisy(self) -> NDArray[np.bool_] | None:
        """The oracle, (2, n_pairs) bool: wrong image labels, wrong text labels; or None.

        For metrics, evaluation and audit only.

        Raises:
            DatasetError: Only some rows have a true label.
        """
        true = self.true_labels
        return None if true is None else np.stack([self.image_labels, self.text_labels]) != true

    def pictures(self, rows: Sequence[int] | slice | NDArray[np.int64]) -> list[Any]:
        """Reads the pictures of some rows, as `on_white` makes them.

        Args:
            rows: Row numbers, or a slice of them.

        Raises:
            DatasetError: The dataset has no pictures.
            IndexError: A row is outside 0 .. n_pairs - 1.
        """
        return [open_picture(stored) for stored in self._read(IMAGE, rows)]

    def texts(self, rows: Sequence[int] | slice | NDArray[np.int64]) -> list[str]:
        """Reads the texts of some rows: all captions of a row as one text.

        A row is one document with one class, so none of its sentences is left out. One caption is
        given as it is; several become sentences, with a full stop where one ends without a mark.

        Args:
            rows: Row numbers, or a slice of them.

        Raises:
            DatasetError: The dataset has no captions.
            IndexError: A row is outside 0 .. n_pairs - 1.
        """
        return [_joined(captions) for captions in self._read(CAPTIONS, rows)]

    def with_features(
        self, image_features: ArrayLike, text_features: ArrayLike, derived: bool = False
    ) -> "LabelDataset":
        """Copies the pairs with vectors of a person's own, such as those of a pretrained model.

        Args:
            image_features: One vector a row, (n_pairs, dim).
            text_features: One vector a row, (n_pairs, another dim).
            derived: Whether a model of the same run makes them of the pictures and texts, which are
                the identity of the pairs then: another machine makes them a little otherwise.

        Raises:
            ValueError: There is not one vector a row, or one is not finite.
        """
        pairs = copy.copy(self)
        pairs._vectors = {
            IMAGE_FEATURES: _checked_vectors(image_features, len(self), IMAGE_FEATURES),
            TEXT_FEATURES: _checked_vectors(text_features, len(self), TEXT_FEATURES),
        }
        pairs._own_vectors = {} if derived else pairs._vectors
        return pairs

    def without_features(self) -> "LabelDataset":
        """Copies the pairs without their vectors, for a model that reads pictures and texts.

        Raises:
            DatasetError: The dataset has no pictures, or no captions.
        """
        for name in (IMAGE, CAPTIONS):
            if name not in self.dataset.column_names:
                raise DatasetError(
                    f"Split '{self.split}' has no '{name}', which a model of pictures and texts "
                    f"reads; its columns are {self.dataset.column_names}."
                )
        pairs = copy.copy(self)
        pairs._vectors = pairs._own_vectors = {}
        return pairs

    def identity(self) -> dict[str, Digests]:
        """What the pairs are made of, by "unit: property"; the oracle has no part in it.

        Returns:
            Digests, (n_pairs,) of pairs and (n_classes,) of classes, see `data.identity`.
        """
        found = {
            "pair: class of its image": self.image_labels.astype(np.uint64),
            "pair: class of its text": self.text_labels.astype(np.uint64),
            "pair: name": image_id_digests(self.dataset),
            "class: name": text_digests(self.class_names),
        }
        for name, vectors in self._own_vectors.items():
            found[f"pair: vector in '{name}'"] = array_digests(vectors)
        if IMAGE_FEATURES not in self._own_vectors:
            found["pair: picture"] = image_digests(self.dataset)
        if TEXT_FEATURES not in self._own_vectors:
            rows = column_values(self.dataset, CAPTIONS)
            found["pair: text"] = text_digests("\0".join(captions) for captions in rows)
        return found

    def _side(self, name: str) -> NDArray[np.float32]:
        if name not in self._vectors:
            raise DatasetError(
                f"Split '{self.split}' has no '{name}': extract vectors of both sides, and give "
                "them with pairs.with_features(image_features, text_features)."
            )
        return self._vectors[name]

    def _rows(self, rows: Any) -> NDArray[np.int64]:
        if isinstance(rows, slice):
            return np.arange(*rows.indices(len(self)))
        ids = np.array(rows, dtype=np.int64)
        outside = ids[(ids < 0) | (ids >= len(self))]
        if len(outside):
            raise IndexError(f"Pair id {outside[0]} is outside 0 .. {len(self) - 1}.")
        return ids

    def _read(self, name: str, rows: Any) -> list[Any]:
        if name not in self.dataset.column_names:
            raise DatasetError(
                f"Split '{self.split}' has no '{name}'; its columns are "
                f"{self.dataset.column_names}. Load rows that have it."
            )
        ids = self._rows(rows).tolist()
        column = self.dataset.select_columns([name])
        if name == IMAGE:
            column = stored_pictures(column)
        return list(column[ids][name]) if ids else []


def _numbers(*labels: NDArray[np.int64]) -> list[str]:
    highest = max((int(numbers.max()) for numbers in labels if len(numbers)), default=-1)
    return [str(number) for number in range(highest + 1)]


def _joined(captions: Sequence[str]) -> str:
    if len(captions) == 1:
        return captions[0]
    texts = [text.strip() for text in captions]
    return " ".join(text if text[-1:] in ".!?" else f"{text}." for text in texts)


def _checked_vectors(vectors: ArrayLike, n_rows: int, name: str) -> NDArray[np.float32]:
    array = np.ascontiguousarray(vectors, dtype=np.float32)
    if array.ndim != 2 or len(array) != n_rows or not array.shape[1]:
        raise ValueError(f"{name} has shape {array.shape}: give ({n_rows}, dim), one vector a row")
    bad = np.flatnonzero(~np.isfinite(array).all(axis=1))
    if len(bad):
        raise ValueError(
            f"{name} has NaN or infinite values in {len(bad)} rows, first row {bad[0]}: extract "
            "them again"
        )
    return array
