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
from typing import Any, ClassVar

from ..clean_split import CleanSplit, FeatureColumn
from ..columns import IMAGE_FEATURES, IMAGE_ID, TEXT_FEATURES, TEXT_ID, DatasetError
from ..labels import number_classes
from ..protocol import CLEAN
from .array_file import ArrayFile
from .base import NoisyPairsBuilder
from .modality_files import SplitArrays, named_classes, read_class_names, read_npy_splits
from .modality_mat import read_mat_splits

CLASSES = "classes.txt"


class VectorBuilder(NoisyPairsBuilder):
    """A dataset in this layout; requires `data_dir`."""

    FACTS: ClassVar[tuple[str, ...]] = ("labels",)
    DEFAULT_CONFIGS = (CLEAN, "sym_20", "sym_40", "sym_60", "sym_80")

    def read(self) -> dict[str, CleanSplit]:
        """Opens the splits and checks their vectors."""
        return open_modality_splits(self.data_folder)


def open_modality_splits(data_dir: str | Path) -> dict[str, CleanSplit]:
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
) -> dict[str, CleanSplit]:
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
    splits = {}
    for split, rows in raw.items():
        columns: dict[str, Any] = {
            IMAGE_FEATURES: FeatureColumn(rows.image),
            TEXT_FEATURES: FeatureColumn(rows.text),
            IMAGE_ID: rows.image_ids or [f"{split}-{row}" for row in range(len(rows))],
        }
        if rows.text_ids is not None:
            columns[TEXT_ID] = rows.text_ids
        splits[split] = CleanSplit(columns, labels=labels[split], class_names=class_names)
    _check_columns(splits, where)
    for split, clean in splits.items():
        for name, modality in ((IMAGE_FEATURES, "image"), (TEXT_FEATURES, "text")):
            values = clean.columns[name].values
            is_file = isinstance(values, ArrayFile)
            file = str(values.path) if is_file else f"{where}, {modality} vectors"
            clean.columns[name].check_finite(f"{file}, split '{split}'")
    return splits


def _check_columns(splits: Mapping[str, CleanSplit], where: str) -> None:
    types = {name: split.features() for name, split in splits.items()}
    for column in (IMAGE_FEATURES, TEXT_FEATURES, TEXT_ID):
        by_split = {name: str(columns.get(column, "none")) for name, columns in types.items()}
        if len(set(by_split.values())) > 1:
            raise DatasetError(
                f"{where}: the splits differ in '{column}': {by_split}. Save all in the same form."
            )
