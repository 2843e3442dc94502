"""`LabelDataset` adapts a `datasets.Dataset` of images and texts with classes to torch.

Batches never contain the oracle (`true_label`), so it cannot reach a model or a loss.
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
    class_names,
    column_values,
    missing_column_error,
    read_labels,
    read_vectors,
    validate_label_columns,
)
from .digests import Digests, array_digests, image_digests, image_id_digests, text_digests
from .lazy_rows import ColumnRows
from .pair_dataset import checked_ids


class LabelDataset(torch.utils.data.Dataset):
    """The rows of a dataset with classes, one pair per row.

    Labels and vectors are held in memory; pictures and texts are read on access. Batches need no
    collation: pass `collate_fn=torch.utils.data.default_convert` to a `DataLoader`.

    Args:
        dataset: Rows that follow the column contract, see `as_label_pairs`.
        split: Its name, for the messages.

    Attributes:
        dataset: The rows.
        class_names: The names of the classes in the order of their numbers, or the numbers if the
            columns have no names.
        n_classes: The number of classes.
        image_labels: (n_pairs,) int64, the class of each image, maybe wrong.
        text_labels: (n_pairs,) int64, the class of each text, maybe wrong.
    """

    def __init__(self, dataset: datasets.Dataset, split: str = "train") -> None:
        """Reads the labels and vectors of `dataset`.

        Raises:
            DatasetError: A column is missing or has another type, or a row has no class or no
                finite vector.
        """
        validate_label_columns(dataset, split)
        self.dataset = dataset
        self.split = split
        self.image_labels = read_labels(dataset, IMAGE_LABEL, split)
        self.text_labels = read_labels(dataset, TEXT_LABEL, split)
        highest = max(self.image_labels.max(initial=-1), self.text_labels.max(initial=-1))
        self.class_names = class_names(dataset) or [str(number) for number in range(highest + 1)]
        self.n_classes = len(self.class_names)
        self._vectors: dict[str, NDArray[np.float32]] = {}
        for name in (IMAGE_FEATURES, TEXT_FEATURES):
            if name in dataset.column_names:
                self._vectors[name] = read_vectors(dataset, name, split)
        self._source_vectors = self._vectors  # vectors that are part of the identity

    def __len__(self) -> int:
        return len(self.image_labels)

    def __getitem__(self, pair_id: int) -> dict[str, Any]:
        return {name: values[0] for name, values in self.__getitems__([pair_id]).items()}

    def __getitems__(self, pair_ids: Sequence[int]) -> dict[str, Any]:
        """Fetches a batch; torch's `DataLoader` calls this method.

        Args:
            pair_ids: Rows to fetch, in any order, with repeats if wanted.

        Returns:
            `pair_id`, `image_label` and `text_label`, all (batch,) int64; `image_features` and
            `text_features`, (batch, dim) float32. A side without vectors has the list `image` of
            RGB pictures or the list `caption` of texts instead.

        Raises:
            IndexError: A row is outside 0 .. n_pairs - 1.
        """
        ids = checked_ids(pair_ids, len(self))  # (batch,)
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
        """The vectors of the images, (n_pairs, dim), C-contiguous; refused of pictures."""
        return self._side_vectors(IMAGE_FEATURES)

    @property
    def text_features(self) -> NDArray[np.float32]:
        """The vectors of the texts, (n_pairs, another dim), C-contiguous; refused of captions."""
        return self._side_vectors(TEXT_FEATURES)

    @property
    def true_labels(self) -> NDArray[np.int64] | None:
        """The oracle, (n_pairs,) int64: the correct class of each pair, or None.

        For metrics, evaluation and audit only.
        """
        if TRUE_LABEL not in self.dataset.column_names:
            return None
        return read_labels(self.dataset, TRUE_LABEL, self.split)

    @property
    def is_noisy(self) -> NDArray[np.bool_] | None:
        """The oracle, (2, n_pairs) bool: which image and which text labels are wrong, or None.

        For metrics, evaluation and audit only.
        """
        true = self.true_labels
        return None if true is None else np.stack([self.image_labels, self.text_labels]) != true

    def pictures(self, rows: Sequence[int] | slice | NDArray[np.int64]) -> list[Any]:
        """Reads the pictures of some rows, composed by `to_rgb`."""
        return self._read(IMAGE, rows)

    def texts(self, rows: Sequence[int] | slice | NDArray[np.int64]) -> list[str]:
        """Reads the texts of some rows, with all captions of a row joined to one text.

        A row is one document with one class, so no caption is dropped. A single caption is not
        changed. Of several, each becomes a sentence, with a full stop if it has no end mark.
        """
        return [_join_captions(captions) for captions in self._read(CAPTIONS, rows)]

    def with_features(
        self, image_features: ArrayLike, text_features: ArrayLike, derived: bool = False
    ) -> "LabelDataset":
        """Copies the pairs with other vectors, such as those of a pretrained model.

        Args:
            image_features: One vector per row, (n_pairs, dim).
            text_features: One vector per row, (n_pairs, another dim).
            derived: Whether the same run computes the vectors from the pictures and texts. The
                identity of the pairs then depends on the pictures and texts, because the vectors
                differ slightly between machines.

        Raises:
            ValueError: The number of vectors is wrong, or one is not finite.
        """
        pairs = copy.copy(self)
        pairs._vectors = {
            IMAGE_FEATURES: _checked_vectors(image_features, len(self), IMAGE_FEATURES),
            TEXT_FEATURES: _checked_vectors(text_features, len(self), TEXT_FEATURES),
        }
        pairs._source_vectors = {} if derived else pairs._vectors
        return pairs

    def without_features(self) -> "LabelDataset":
        """Copies the pairs without their vectors, for a model of pictures and texts.

        Raises:
            DatasetError: The dataset has no pictures, or no captions.
        """
        for name in (IMAGE, CAPTIONS):
            if name not in self.dataset.column_names:
                hint = "A model of pictures and texts needs it."
                raise missing_column_error(self.dataset, name, self.split, hint)
        pairs = copy.copy(self)
        pairs._vectors = pairs._source_vectors = {}
        return pairs

    def identity(self) -> dict[str, Digests]:
        """Digests of the content by "unit: property", without the oracle; see `data.digests`.

        Returns:
            (n_pairs,) for each property of pairs, (n_classes,) for each property of classes.
        """
        digests = {
            "pair: class of its image": self.image_labels.astype(np.uint64),
            "pair: class of its text": self.text_labels.astype(np.uint64),
            "pair: name": image_id_digests(self.dataset),
            "class: name": text_digests(self.class_names),
        }
        for name, vectors in self._source_vectors.items():
            digests[f"pair: vector in '{name}'"] = array_digests(vectors)
        if IMAGE_FEATURES not in self._source_vectors:
            digests["pair: picture"] = image_digests(self.dataset)
        if TEXT_FEATURES not in self._source_vectors:
            rows = column_values(self.dataset, CAPTIONS)
            digests["pair: text"] = text_digests("\0".join(captions) for captions in rows)
        return digests

    def _side_vectors(self, name: str) -> NDArray[np.float32]:
        if name not in self._vectors:
            raise DatasetError(
                f"Split '{self.split}' has no '{name}': extract vectors of both sides, and add "
                "them with pairs.with_features(image_features, text_features)."
            )
        return self._vectors[name]

    def _read(self, name: str, rows: Any) -> list[Any]:
        if name not in self.dataset.column_names:
            raise missing_column_error(self.dataset, name, self.split, "Load rows that have it.")
        n = len(self)
        ids = np.arange(n)[rows] if isinstance(rows, slice) else checked_ids(rows, n)
        if name == IMAGE:
            return ColumnRows(self.dataset, name).read(ids.tolist())
        return list(self.dataset.select_columns([name])[ids.tolist()][name]) if len(ids) else []


def _join_captions(captions: Sequence[str]) -> str:
    if len(captions) == 1:
        return captions[0]
    texts = [text.strip() for text in captions]
    return " ".join(text if text[-1:] in ".!?" else f"{text}." for text in texts)


def _checked_vectors(vectors: ArrayLike, n_rows: int, name: str) -> NDArray[np.float32]:
    array = np.ascontiguousarray(vectors, dtype=np.float32)
    if array.ndim != 2 or len(array) != n_rows or not array.shape[1]:
        raise ValueError(f"{name} has shape {array.shape}: give ({n_rows}, dim), a vector per row")
    bad = np.flatnonzero(~np.isfinite(array).all(axis=1))
    if len(bad):
        raise ValueError(
            f"{name} has NaN or infinite values in {len(bad)} rows, first row {bad[0]}: extract "
            "them again"
        )
    return array
