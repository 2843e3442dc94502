"""Feature vectors of two modalities with one class a pair: the form of class-level retrieval.

| file                     | content                                                            |
|--------------------------|--------------------------------------------------------------------|
| {split}_image.npy        | float16, float32 or float64 (kept as float32), (rows, dim)         |
| {split}_text.npy         | the same pairs in the same order, (rows, a dim of its own)         |
| {split}_labels.npy       | class numbers, (rows,), or one-hot, (rows, classes); or else:      |
| {split}_labels.txt       | class numbers or names, one a line                                 |
| {split}_image_ids.txt    | optional: the image's id, one a line; no id twice                  |
| {split}_text_ids.txt     | optional: the text's id, one a line                                |
| classes.txt              | optional: the names of the classes in the order of their numbers   |

Splits are train, val (or dev, or validation), and test; any of them. A folder may hold MATLAB files
in place of the first four: see modality_mat.py.

Class numbers count the lines of classes.txt from 0. Where the smallest of all is 1 and the largest
is the number of lines, they count from 1. Without classes.txt, the numbers are the names.
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
    RawSplit,
    Vectors,
    check_finite,
    named_classes,
    read_class_names,
    read_npy_splits,
)
from .modality_mat import read_mat_splits

CLASSES = "classes.txt"
COLUMNS = """**Columns.** `image_label` and `text_label` are the classes that image and text are
given; `true_label` is the oracle, for metrics and evaluation, never for training."""
VECTORS = "A row is one pair, whose vectors are `image_features` and `text_features`."


class VectorSplit(CleanSplit):
    """Pairs of an image vector and a text vector.

    Args:
        image: Vectors of the images, (n_rows, dim), in memory or in a file.
        text: Vectors of the texts, (n_rows, another dim).
        image_ids: One a row.
        facts: Labels and class names; no captions.
        text_ids: One a row, or None.

    Attributes:
        image: Vectors of the images.
        text: Vectors of the texts.
        image_ids: One a row.
        text_ids: One a row, or None.
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
        """Says how long the vectors are."""
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
    """Base of the builders of such datasets; `data_dir` is needed.

    Attributes:
        TITLE: The name on the card.
        ABOUT: What the card says, before the sizes of the splits.
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
            DatasetError: No `data_dir`, or a file is missing or breaks the layout.
        """
        return self.open_folder(self.data_folder)

    def open_folder(self, folder: Path) -> dict[str, CleanSplit]:
        """Opens the splits of a folder; in the layout above, where a dataset has no other."""
        return cast(dict[str, CleanSplit], open_modality_splits(folder))

    def row_features(self, splits: dict[str, CleanSplit]) -> dict[str, Any]:
        """Returns the types of vectors and ids."""
        return cast(VectorSplit, next(iter(splits.values()))).features()

    def card_text(self, splits: dict[str, CleanSplit]) -> CardText:
        """Returns what the card says."""
        has_vectors = any(isinstance(split, VectorSplit) for split in splits.values())
        columns = f"{COLUMNS}\n{VECTORS}" if has_vectors else COLUMNS
        body = f"{self.ABOUT.strip()}\n\n{columns}\n\n{split_lines(splits)}"
        return CardText(self.TITLE, body, self.CREDIT, language=("en",))


def open_modality_splits(data_dir: str | Path) -> dict[str, VectorSplit]:
    """Opens the splits that a folder has in the layout above, and scans their vectors.

    Raises:
        DatasetError: A file is missing or breaks the layout; the message names it.
    """
    folder = Path(data_dir)
    path = folder / CLASSES
    names = read_class_names(path) if path.exists() else None
    return vector_splits(read_modality_splits(folder), str(folder), names)


def read_modality_splits(folder: Path) -> dict[str, RawSplit]:
    """Opens the splits that a folder has as .npy or .mat files.

    Raises:
        DatasetError: The folder has neither or both, or a file breaks the layout.
    """
    splits, mats = read_npy_splits(folder), sorted(folder.glob("*.mat"))
    if splits and mats:
        raise DatasetError(
            f"{folder} has arrays as .npy and as .mat ({mats[0].name}). Keep one of both there."
        )
    if not splits and not mats:
        found = sorted(path.name for path in folder.glob("*"))[:10]
        raise DatasetError(
            f"{folder} holds no split: expected train, val or test as {{split}}_image.npy, "
            "{split}_text.npy and {split}_labels.npy or .txt, or .mat files; it holds "
            f"{', '.join(found) or 'nothing'}."
        )
    return splits or read_mat_splits(mats)


def vector_splits(
    raw: Mapping[str, RawSplit], where: str, names: Sequence[str] | None
) -> dict[str, VectorSplit]:
    """Makes clean splits: numbers the classes, names the rows, checks the vectors.

    Args:
        raw: The splits as files have them.
        where: What to name in messages.
        names: The names of the classes in the order of their numbers; None to take what the labels
            say.

    Returns:
        The clean splits.

    Raises:
        DatasetError: A split has no labels, or a class outside `names`; a vector holds NaN; or the
            splits differ in their columns.
    """
    without = [split for split, rows in raw.items() if rows.labels is None]
    if without:
        raise DatasetError(
            f"{where}: split '{without[0]}' has no classes. Give {{split}}_labels.npy or "
            "{split}_labels.txt with one a row."
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
    """Reads all vectors of a split once.

    Args:
        vectors: In memory or in a file; the file is named in the message.
        where: What to name otherwise.
        split: The name of the split.

    Raises:
        DatasetError: A value is NaN or infinite, or float32 cannot hold it.
    """
    where = str(vectors.path) if isinstance(vectors, ArrayFile) else where
    step = _block_rows(vectors)
    for first in tqdm(range(0, len(vectors), step), desc=f"Checking {split}"):
        rows = _rows(vectors, first, min(first + step, len(vectors)))
        check_finite(rows, f"{where}, split '{split}'", first)


def _check_columns(splits: Mapping[str, VectorSplit], where: str) -> None:
    types = {name: split.features() for name, split in splits.items()}
    for column in (IMAGE_FEATURES, TEXT_FEATURES, TEXT_ID):
        found = {name: str(columns.get(column, "none")) for name, columns in types.items()}
        if len(set(found.values())) > 1:
            raise DatasetError(
                f"{where}: the splits differ in '{column}': {found}. Save all splits alike."
            )


def _rows(vectors: Vectors, first: int, last: int) -> np.ndarray:
    rows = vectors.read(first, last) if isinstance(vectors, ArrayFile) else vectors[first:last]
    with np.errstate(over="ignore"):
        return rows.astype(_dtype(vectors), copy=False)


def _dtype(vectors: Vectors) -> str:
    return "float16" if vectors.dtype == np.float16 else "float32"


def _block_rows(vectors: Vectors) -> int:
    return rows_per_block(vectors.shape[1] * vectors.dtype.itemsize)
