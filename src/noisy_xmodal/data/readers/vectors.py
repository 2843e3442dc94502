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
folder may contain MATLAB files: see mat_files.py.

Class numbers are line numbers of classes.txt from 0, or from 1 if the smallest label is 1 and the
largest is the number of lines. Without classes.txt, the numbers are the names.
"""

from collections.abc import Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from ..clean_split import CleanSplit, FeatureColumn
from ..columns import (
    IMAGE_FEATURES,
    IMAGE_ID,
    TEXT_FEATURES,
    TEXT_ID,
    TRUE_LABEL,
    DatasetError,
)
from ..labels import number_classes
from ..protocol import CLEAN
from .array_file import ArrayFile, load_array, open_array
from .base import NoisyPairsBuilder
from .mat_files import Arrays, mat_arrays
from .raw_files import check_ids, read_lines

CLASSES = "classes.txt"
STEMS = {"train": ("train",), "validation": ("val", "dev", "validation"), "test": ("test",)}

_ARRAYS = ("image.npy", "text.npy", "labels.npy", "labels.txt")
_IDS = ("image_ids.txt", "text_ids.txt")


class VectorReader(NoisyPairsBuilder):
    """A dataset in this layout; requires `data_dir`."""

    FACTS: ClassVar[tuple[str, ...]] = ("labels",)
    DEFAULT_CONFIGS = (CLEAN, "sym_20", "sym_40", "sym_60", "sym_80")

    def read(self) -> dict[str, CleanSplit]:
        """Opens the splits and checks their vectors."""
        folder = self.data_folder
        names = class_names(folder / CLASSES) if (folder / CLASSES).exists() else None
        columns = {split: pair_columns(arrays) for split, arrays in find_arrays(folder).items()}
        return clean_splits(columns, str(folder), names)


def find_arrays(folder: Path) -> dict[str, Arrays]:
    """Opens the .npy or .mat files of a folder.

    Returns:
        The arrays of each split; `labels` can be missing if they are .npy files.

    Raises:
        DatasetError: The folder has neither or both, or a file is invalid.
    """
    splits, mats = {}, sorted(folder.glob("*.mat"))
    for split, stems in STEMS.items():
        used = [s for s in stems if any((folder / f"{s}_{end}").exists() for end in _ARRAYS)]
        if len(used) > 1:
            raise DatasetError(
                f"{folder} has files of {' and of '.join(used)}, which are all the split "
                f"'{split}'. Keep one."
            )
        if used:
            splits[split] = _npy_arrays(folder, used[0])
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
    return splits or mat_arrays(mats)


def _npy_arrays(folder: Path, stem: str) -> Arrays:
    arrays: Arrays = {}
    for name in (*_ARRAYS, *_IDS):
        path, role = folder / f"{stem}_{name}", name.partition(".")[0].replace("_", " ")
        if role in arrays and path.exists():
            raise DatasetError(f"{arrays[role][0]} and {path} both exist. Keep one.")
        if role in ("image", "text"):
            arrays[role] = str(path), open_array(path, (2,), ("float16", "float32", "float64"))
        elif path.exists():
            values = read_lines(path) if path.suffix == ".txt" else np.array(load_array(path))
            arrays[role] = str(path), values
    if "image ids" in arrays:
        check_ids(arrays["image ids"][1], arrays["image ids"][0])
    return arrays


def pair_columns(arrays: Arrays) -> dict[str, Any]:
    """Turns the arrays of a split into columns, with a row per pair.

    Args:
        arrays: See `find_arrays`. Vectors in memory may be transposed; the labels show it.

    Returns:
        The columns by the column contract. `true_label` has the classes as in the file, all numbers
        or all names, and is missing without labels.

    Raises:
        DatasetError: The arrays have different numbers of rows, labels are not classes or differ
            between the modalities, or vectors in memory are not finite.
    """
    columns: dict[str, Any] = {}
    labels = [
        (where, values if isinstance(values, list) else class_numbers(values, where).tolist())
        for role, (where, values) in arrays.items()
        if role.startswith("labels")
    ]
    reference, rows = labels[0] if labels else arrays["image"]
    for role, name in (("image", IMAGE_FEATURES), ("text", TEXT_FEATURES)):
        where, values = arrays[role]
        if not isinstance(values, ArrayFile):
            values = _by_rows(values, len(rows), where)
        _check_length(values, where, rows, reference)
        columns[name] = FeatureColumn(values)
        if not isinstance(values, ArrayFile):
            columns[name].check_finite(where)
    for role, name in (("image ids", IMAGE_ID), ("text ids", TEXT_ID)):
        if role in arrays:
            where, columns[name] = arrays[role]
            _check_length(columns[name], where, rows, reference)
    for where, other in labels[1:]:
        _check_length(other, where, rows, reference)
        differs = np.array(rows) != np.array(other)  # (n_rows,)
        if differs.any():
            row = int(np.argmax(differs))
            raise DatasetError(
                f"Row {row} (counted from 0) has class {rows[row]} in {reference} and {other[row]} "
                f"in {where}; {differs.sum()} rows in all differ. A pair has one true class: give "
                "labels without noise, of the same pairs in the same order."
            )
    return columns | ({TRUE_LABEL: rows} if labels else {})


def _check_length(values: Any, where: str, rows: Any, reference: str) -> None:
    if len(values) != len(rows):
        size = f"{len(values)} rows" if isinstance(values, list) else f"shape {values.shape}"
        raise DatasetError(
            f"{where} has {size}, but {reference} has {len(rows)} rows: they belong to different "
            "pairs. Row i of all must be one pair: save them again from the same list."
        )


def _by_rows(values: Any, n_rows: int, where: str) -> NDArray[np.float32]:
    """Transposes an array, dense or sparse, if only its columns can be the pairs."""
    values = values.toarray() if sparse.issparse(values) else np.asarray(values)
    if values.ndim != 2 or values.dtype.kind not in "buif":
        raise DatasetError(
            f"{where} is {values.dtype} of shape {values.shape}: expected numbers, a row per pair."
        )
    if values.shape == (n_rows, n_rows):
        raise DatasetError(
            f"{where} has shape {values.shape}: with as many numbers per vector as pairs, rows "
            "cannot be told from columns. Save it as .npy, with one row per pair."
        )
    with np.errstate(over="ignore"):  # too large values become infinite, which is refused
        by_rows = values.T if values.shape[1] == n_rows else values
        return np.ascontiguousarray(by_rows, dtype=np.float32)


def clean_splits(
    columns: Mapping[str, dict[str, Any]], where: str, names: Sequence[str] | None
) -> dict[str, CleanSplit]:
    """Creates clean splits: numbers the classes, names the rows, checks the vectors.

    Args:
        columns: The columns of each split, see `pair_columns`, in any order.
        where: The files, for the messages.
        names: The names of the classes in the order of their numbers; by default, the labels.

    Raises:
        DatasetError: A split has no labels, or a class outside `names`; a vector has NaN; or the
            columns of the splits differ.
    """
    missing = [split for split, rows in columns.items() if TRUE_LABEL not in rows]
    if missing:
        raise DatasetError(
            f"{where}: split '{missing[0]}' has no classes. Give {{split}}_labels.npy or "
            "{split}_labels.txt with one class per row."
        )
    values = {split: columns[split][TRUE_LABEL] for split in STEMS if split in columns}
    labels, all_names = number_classes(named_classes(values, where, names), where, names)
    splits = {}
    for split, numbers in labels.items():
        rows = {IMAGE_ID: [f"{split}-{row}" for row in range(len(numbers))]} | columns[split]
        order = (IMAGE_FEATURES, TEXT_FEATURES, IMAGE_ID, TEXT_ID)
        rows = {name: rows[name] for name in order if name in rows}
        splits[split] = CleanSplit(rows, labels=numbers, class_names=all_names)
    types = {split: rows.features() for split, rows in splits.items()}
    for name in (IMAGE_FEATURES, TEXT_FEATURES, TEXT_ID):
        by_split = {split: str(features.get(name, "none")) for split, features in types.items()}
        if len(set(by_split.values())) > 1:
            raise DatasetError(
                f"{where}: the splits differ in '{name}': {by_split}. Save all in the same form."
            )
    for split, clean in splits.items():
        for name in (IMAGE_FEATURES, TEXT_FEATURES):
            column = clean.columns[name]
            if isinstance(column.values, ArrayFile):
                column.check_finite(f"{column.values.path}, split '{split}'")
    return splits


def class_numbers(values: Any, where: str) -> NDArray[np.int64]:
    """Converts an array of labels to class numbers.

    Args:
        values: Integers, (n_rows,) or with one more axis of length 1; or one-hot rows or columns,
            (n_rows, n_classes) or (n_classes, n_rows), dense or sparse.
        where: The file or array, for the messages.

    Returns:
        The class of each row, (n_rows,), with the numbers of the array; from 0 if one-hot.

    Raises:
        DatasetError: A row has no class number, or not exactly one class.
    """
    values = values.toarray() if sparse.issparse(values) else np.asarray(values)
    if values.dtype.kind not in "buif":
        raise DatasetError(f"{where} is {values.dtype}: classes must be integers, or one-hot.")
    if values.ndim == 2 and 1 in values.shape:
        values = values.reshape(-1)
    if values.ndim == 1:
        is_integer = np.isfinite(values) & (values == np.rint(values))  # (n_rows,)
        if not is_integer.all():
            row = int(np.argmin(is_integer))
            raise DatasetError(
                f"{where}, row {row} (counted from 0): {values[row]} is not a class number. Give "
                "integers."
            )
        return values.astype(np.int64)
    is_binary = values.ndim == 2 and bool(np.isin(values, (0, 1)).all())
    by_rows, by_columns = (
        is_binary and bool((values.sum(axis=axis) == 1).all()) for axis in (1, 0)
    )
    if by_rows == by_columns:
        content = "one 1 in every row and in every column" if by_rows else "neither"
        raise DatasetError(
            f"{where} has shape {values.shape}: expected one number per row, or exactly one 1 in "
            f"every row or in every column, but it has {content}. Give one class number per row."
        )
    return (values if by_rows else values.T).argmax(axis=1).astype(np.int64)


def class_names(path: Path) -> list[str]:
    """Reads the names of the classes, one per line.

    Raises:
        DatasetError: The file is missing, or a name occurs twice.
    """
    names = read_lines(path)
    for line, name in enumerate(names, start=1):
        first = names.index(name) + 1
        if first != line:
            raise DatasetError(
                f"{path}: class '{name}' is on lines {first} and {line}. Keep one line per class."
            )
    return names


def named_classes(
    values: Mapping[str, Sequence[Any]], where: str, names: Sequence[str] | None
) -> dict[str, list[Any]]:
    """Replaces class numbers by names, if there are names.

    Args:
        values: The class of each row, by split.
        where: The files, for the messages.
        names: The names by number.

    Returns:
        The class of each row, by split: all names, or all numbers.

    Raises:
        DatasetError: A number is outside `names`.
    """
    every = list(chain.from_iterable(values.values()))
    if not all(isinstance(v, int) or (v.isdecimal() and len(v) < 19) for v in every):
        return {split: [str(value) for value in classes] for split, classes in values.items()}
    numbers = {split: [int(value) for value in classes] for split, classes in values.items()}
    if names is None:
        return numbers
    last = len(names) - 1
    from_1 = bool(every) and (min(map(int, every)), max(map(int, every))) == (1, len(names))
    by_number = dict(enumerate(names, start=int(from_1)))
    for split, classes in numbers.items():
        for row, number in enumerate(classes):
            if number not in by_number:
                raise DatasetError(
                    f"{where}: row {row} of split '{split}' (counted from 0) has class {number}, "
                    f"but {len(names)} classes are numbered from 0 to {last} (or from 1 to "
                    f"{last + 1}, if those are the smallest and the largest label). Correct "
                    "the label, or the list of classes."
                )
    return {split: [by_number[n] for n in classes] for split, classes in numbers.items()}
