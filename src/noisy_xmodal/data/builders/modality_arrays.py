"""Datasets of feature vectors of two modalities with one class per pair, in this layout:

| file                     | content                                                            |
|--------------------------|--------------------------------------------------------------------|
| {split}_image.npy        | float16, float32 or float64 (kept as float32), (rows, dim)         |
| {split}_text.npy         | the same pairs in the same order, (rows, another dim)              |
| {split}_labels.npy       | class numbers, (rows,), or one-hot, (rows, classes); alternatively:|
| {split}_labels.txt       | class numbers or names, one per line                               |
| {split}_image_ids.txt    | optional: the image's unique id, one per line                      |
| {split}_text_ids.txt     | optional: the text's id, one per line                              |
| classes.txt              | optional: the names of the classes in the order of their numbers   |

Splits are train, val (or dev, or validation), and test; any subset. Instead of the first four, a
folder may contain MATLAB files: see modality_mat.py.

Class numbers are line numbers of classes.txt from 0, or from 1 if the smallest label is 1 and the
largest is the number of lines. Without classes.txt, the numbers are the names.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, cast

import datasets
import numpy as np
from datasets.utils import tqdm  # can be switched off by datasets.disable_progress_bars()

from ..card import CardText
from ..columns import IMAGE_FEATURES, IMAGE_ID, TEXT_FEATURES, TEXT_ID, DatasetError
from ..labels import number_classes
from ..protocol import CLEAN
from ..regions import vector_column, vector_feature
from .array_file import ArrayFile
from .base import NoisyPairsBuilder
from .clean_split import CleanSplit, Facts, rows_per_block, split_lines
from .modality_files import (
    SplitArrays,
    Vectors,
    check_finite,
    named_classes,
    read_class_names,
    read_npy_splits,
)
from .modality_mat import read_mat_splits

CLASSES = "classes.txt"
COLUMNS = """**Columns.** `image_label` and `text_label` are the classes of image and text, maybe
wrong; `true_label` is the oracle, for metrics and evaluation, never for training."""
VECTORS = "A row is one pair with the vectors `image_features` and `text_features`."


class VectorSplit(CleanSplit):
    """Pairs of an image vector and a text vector.

    Args:
        image: Vectors of the images, (n_rows, dim), in memory or in a file.
        text: Vectors of the texts, (n_rows, another dim).
        image_ids: One per row.
        facts: Labels and class names; no captions.
        text_ids: One per row, or None.

    Attributes:
        image: Vectors of the images.
        text: Vectors of the texts.
        image_ids: One per row.
        text_ids: One per row, or None.
    """

    def __init__(
        self,
        image: Vectors,
        text: Vectors,
        image_ids: list[str],
        facts: Facts,
        text_ids: list[str] | None = None,
    ) -> None:
        self.image = image
        self.text = text
        self.image_ids = image_ids
        self.text_ids = text_ids
        self.facts = facts
        self.block_rows = min(_block_rows(image), _block_rows(text))

    def __len__(self) -> int:
        return len(self.image_ids)

    def details(self) -> list[str]:
        """Returns the sizes of the vectors."""
        dims = self.image.shape[1], self.text.shape[1]
        return ["vectors of {:,} (image) and {:,} (text) numbers".format(*dims)]

    def columns(self, first: int, last: int) -> dict[str, Any]:
        """Returns the vectors and ids of some pairs."""
        columns: dict[str, Any] = {
            IMAGE_FEATURES: vector_column(_rows(self.image, first, last)),
            TEXT_FEATURES: vector_column(_rows(self.text, first, last)),
            IMAGE_ID: self.image_ids[first:last],
        }
        if self.text_ids is not None:
            columns[TEXT_ID] = self.text_ids[first:last]
        return columns

    def features(self) -> dict[str, Any]:
        """Returns the types of those columns."""
        types: dict[str, Any] = {
            IMAGE_FEATURES: vector_feature(self.image.shape[1], _dtype(self.image)),
            TEXT_FEATURES: vector_feature(self.text.shape[1], _dtype(self.text)),
            IMAGE_ID: datasets.Value("string"),
        }
        return types | ({} if self.text_ids is None else {TEXT_ID: datasets.Value("string")})


class VectorBuilder(NoisyPairsBuilder):
    """Base class of builders for this layout; requires `data_dir`.

    Attributes:
        TITLE: The name on the card.
        ABOUT: The text of the card, before the sizes of the splits.
        CREDIT: Source and terms, for the card.
    """

    FACTS: ClassVar[tuple[str, ...]] = ("labels",)
    DEFAULT_CONFIGS = (CLEAN, "sym_20", "sym_40", "sym_60", "sym_80")
    TITLE: ClassVar[str]
    ABOUT: ClassVar[str]
    CREDIT: ClassVar[str]

    def open_splits(self) -> dict[str, CleanSplit]:
        """Opens the splits and checks them.

        Raises:
            DatasetError: `data_dir` is not set, or a file is missing or invalid.
        """
        return self.open_folder(self.data_folder)

    def open_folder(self, folder: Path) -> dict[str, CleanSplit]:
        """Opens the splits of a folder; subclasses may support other layouts."""
        return cast(dict[str, CleanSplit], open_modality_splits(folder))

    def row_features(self, splits: dict[str, CleanSplit]) -> dict[str, Any]:
        """Returns the types of vectors and ids."""
        return cast(VectorSplit, next(iter(splits.values()))).features()

    def card_text(self, splits: dict[str, CleanSplit]) -> CardText:
        """Returns the text of the card."""
        has_vectors = any(isinstance(split, VectorSplit) for split in splits.values())
        columns = f"{COLUMNS}\n{VECTORS}" if has_vectors else COLUMNS
        body = f"{self.ABOUT.strip()}\n\n{columns}\n\n{split_lines(splits)}"
        return CardText(self.TITLE, body, self.CREDIT, language=("en",))


def open_modality_splits(data_dir: str | Path) -> dict[str, VectorSplit]:
    """Opens the splits of a folder in the layout above, and checks their vectors.

    Raises:
        DatasetError: A file is missing or invalid; the message names it.
    """
    folder = Path(data_dir)
    path = folder / CLASSES
    names = read_class_names(path) if path.exists() else None
    return vector_splits(read_modality_splits(folder), str(folder), names)


def read_modality_splits(folder: Path) -> dict[str, SplitArrays]:
    """Opens the .npy or .mat files of a folder.

    Raises:
        DatasetError: The folder has neither or both, or a file is invalid.
    """
    splits, mats = read_npy_splits(folder), sorted(folder.glob("*.mat"))
    if splits and mats:
        raise DatasetError(
            f"{folder} has arrays as .npy and as .mat ({mats[0].name}). Keep only one kind."
        )
    if not splits and not mats:
        names = sorted(path.name for path in folder.glob("*"))[:10]
        raise DatasetError(
            f"{folder} has no split: expected train, val or test as {{split}}_image.npy, "
            "{split}_text.npy and {split}_labels.npy or .txt, or .mat files; it contains "
            f"{', '.join(names) or 'nothing'}."
        )
    return splits or read_mat_splits(mats)


def vector_splits(
    raw: Mapping[str, SplitArrays], where: str, names: Sequence[str] | None
) -> dict[str, VectorSplit]:
    """Creates clean splits: numbers the classes, names the rows, checks the vectors.

    Args:
        raw: The arrays of each split.
        where: The files, for the messages.
        names: The names of the classes in the order of their numbers; by default, the labels.

    Returns:
        The clean splits.

    Raises:
        DatasetError: A split has no labels, or a class outside `names`; a vector has NaN; or the
            columns of the splits differ.
    """
    missing = [split for split, rows in raw.items() if rows.labels is None]
    if missing:
        raise DatasetError(
            f"{where}: split '{missing[0]}' has no classes. Give {{split}}_labels.npy or "
            "{split}_labels.txt with one class per row."
        )
    values = {split: list(rows.labels or ()) for split, rows in raw.items()}
    labels, class_names = number_classes(named_classes(values, where, names), where, names)
    splits = {
        split: VectorSplit(
            rows.image,
            rows.text,
            rows.image_ids or [f"{split}-{row}" for row in range(len(rows))],
            Facts(labels=labels[split], class_names=class_names),
            rows.text_ids,
        )
        for split, rows in raw.items()
    }
    _check_columns(splits, where)
    for split, rows in splits.items():
        for modality, vectors in (("image", rows.image), ("text", rows.text)):
            check_vectors(vectors, f"{where}, {modality} vectors", split)
    return splits


def check_vectors(vectors: Vectors, where: str, split: str) -> None:
    """Checks that all vectors of a split are finite.

    Args:
        vectors: The vectors, in memory or in a file; messages name the file.
        where: The name for messages if there is no file.
        split: The name of the split.

    Raises:
        DatasetError: A value is NaN, infinite, or too large for float32.
    """
    where = str(vectors.path) if isinstance(vectors, ArrayFile) else where
    step = _block_rows(vectors)
    for first in tqdm(range(0, len(vectors), step), desc=f"Checking {split}"):
        rows = _rows(vectors, first, min(first + step, len(vectors)))
        check_finite(rows, f"{where}, split '{split}'", first)


def _check_columns(splits: Mapping[str, VectorSplit], where: str) -> None:
    types = {name: split.features() for name, split in splits.items()}
    for column in (IMAGE_FEATURES, TEXT_FEATURES, TEXT_ID):
        by_split = {name: str(columns.get(column, "none")) for name, columns in types.items()}
        if len(set(by_split.values())) > 1:
            raise DatasetError(
                f"{where}: the splits differ in '{column}': {by_split}. Save all in the same form."
            )


def _rows(vectors: Vectors, first: int, last: int) -> np.ndarray:
    rows = vectors.read(first, last) if isinstance(vectors, ArrayFile) else vectors[first:last]
    with np.errstate(over="ignore"):
        return rows.astype(_dtype(vectors), copy=False)


def _dtype(vectors: Vectors) -> str:
    return "float16" if vectors.dtype == np.float16 else "float32"


def _block_rows(vectors: Vectors) -> int:
    return rows_per_block(vectors.shape[1] * vectors.dtype.itemsize)
