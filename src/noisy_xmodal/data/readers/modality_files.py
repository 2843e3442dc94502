"""Reading of vectors of two modalities from NumPy files; see modality_arrays.py for the layout."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from ..columns import DatasetError
from .array_file import ArrayFile, open_array
from .raw_files import check_ids, read_lines

Vectors: TypeAlias = np.ndarray | ArrayFile

FILE_NAMES = {"train": ("train",), "validation": ("val", "dev", "validation"), "test": ("test",)}

_SUFFIXES = ("_image.npy", "_text.npy", "_labels.npy", "_labels.txt")


@dataclass
class SplitArrays:
    """The arrays of one split, before its classes are numbered.

    Attributes:
        image: Vectors of the images, (n_rows, dim).
        text: Vectors of the texts, (n_rows, another dim).
        labels: The class of each row, all numbers or all names; None without a file of labels.
        image_ids: Names of the images, or None.
        text_ids: Names of the texts, or None.
    """

    image: Vectors
    text: Vectors
    labels: Sequence[int] | Sequence[str] | None = None
    image_ids: list[str] | None = None
    text_ids: list[str] | None = None

    def __len__(self) -> int:
        return len(self.image)

    def cut(self, first: int, last: int) -> "SplitArrays":
        """Selects the rows `first` to `last - 1`."""
        return SplitArrays(
            image=self.image[first:last],
            text=self.text[first:last],
            labels=None if self.labels is None else self.labels[first:last],
            image_ids=None if self.image_ids is None else self.image_ids[first:last],
            text_ids=None if self.text_ids is None else self.text_ids[first:last],
        )


def read_npy_splits(folder: Path) -> dict[str, SplitArrays]:
    """Opens the splits with .npy files, and checks that the files of a split match.

    Raises:
        DatasetError: A file is missing or invalid; the message names it.
    """
    splits = {}
    for split, names in FILE_NAMES.items():
        stems = [
            name for name in names if any((folder / f"{name}{end}").exists() for end in _SUFFIXES)
        ]
        if len(stems) > 1:
            raise DatasetError(
                f"{folder} has files of {' and of '.join(stems)}, which are all the split "
                f"'{split}'. Keep one."
            )
        if stems:
            splits[split] = _read_split(folder, stems[0])
    return splits


def _read_split(folder: Path, stem: str) -> SplitArrays:
    image_path, text_path = folder / f"{stem}_image.npy", folder / f"{stem}_text.npy"
    image, text = open_vectors(image_path), open_vectors(text_path)
    if len(image) != len(text):
        raise DatasetError(
            f"{image_path} has {len(image)} rows, but {text_path} has {len(text)}. Row i of both "
            "must be one pair: extract them again from the same list."
        )
    image_ids, text_ids = (
        _read_ids(folder / f"{stem}_{modality}_ids.txt", len(image))
        for modality in ("image", "text")
    )
    if image_ids is not None:
        check_ids(image_ids, str(folder / f"{stem}_image_ids.txt"))
    return SplitArrays(image, text, _read_labels(folder, stem, len(image)), image_ids, text_ids)


def open_vectors(path: Path) -> ArrayFile:
    """Opens a .npy file of vectors, (rows, dim), without reading its rows.

    Raises:
        DatasetError: The file is missing or damaged, contains Python objects, or has another shape
            or type.
    """
    return open_array(path, dimensions=(2,), dtypes=("float16", "float32", "float64"))


def _read_ids(path: Path, n_rows: int) -> list[str] | None:
    if not path.exists():
        return None
    ids = read_lines(path)
    check_length(len(ids), n_rows, str(path))
    return ids


def _read_labels(folder: Path, stem: str, n_rows: int) -> list[int] | list[str] | None:
    array_path, text_path = folder / f"{stem}_labels.npy", folder / f"{stem}_labels.txt"
    if array_path.exists() and text_path.exists():
        raise DatasetError(f"{folder} has both {array_path.name} and {text_path.name}. Keep one.")
    if array_path.exists():
        numbers = class_numbers(_load_labels(array_path), str(array_path))
        check_length(len(numbers), n_rows, str(array_path))
        return numbers.tolist()
    if text_path.exists():
        lines = read_lines(text_path)
        check_length(len(lines), n_rows, str(text_path))
        return lines
    return None


def _load_labels(path: Path) -> np.ndarray:
    try:
        mapped = np.load(path, mmap_mode="r", allow_pickle=False)  # checks header and file size
        return np.array(mapped)
    except Exception as error:  # NumPy raises many types for damaged headers
        raise DatasetError(
            f"{path} cannot be read: it is damaged, or contains Python objects, which are never "
            f"loaded because they can run code ({error}). Save integers with np.save."
        ) from error


def check_length(n_entries: int, n_rows: int, where: str) -> None:
    """Checks that a file has one entry per row.

    Raises:
        DatasetError: `n_entries` differs from `n_rows`.
    """
    if n_entries != n_rows:
        raise DatasetError(
            f"{where} has {n_entries} entries, but image and text have {n_rows} rows. Give one "
            "entry per row, in the same order."
        )


def check_finite(rows: np.ndarray, where: str, first: int = 0) -> None:
    """Checks that all values of vectors are finite.

    Args:
        rows: Vectors, (n_rows, dim).
        where: The file or array, for the message.
        first: The number of the first row.

    Raises:
        DatasetError: A value is NaN or infinite; the message names the first such row.
    """
    finite = np.isfinite(rows).all(axis=1)  # (n_rows,)
    if not finite.all():
        raise DatasetError(
            f"{where}, row {first + int(np.argmin(finite))} (counted from 0): the vector has NaN "
            "or infinite values, as float32. Extract it again, or remove the pair from all files."
        )


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
    return _one_hot_numbers(values, where)


def _one_hot_numbers(values: np.ndarray, where: str) -> NDArray[np.int64]:
    ones = values != 0
    is_binary = values.ndim == 2 and bool((values[ones] == 1).all())
    by_rows = is_binary and bool((ones.sum(axis=1) == 1).all())
    by_columns = is_binary and bool((ones.sum(axis=0) == 1).all())
    if by_rows == by_columns:
        content = "one 1 in every row and in every column" if by_rows else "neither"
        raise DatasetError(
            f"{where} has shape {values.shape}: expected one number per row, or exactly one 1 in "
            f"every row or in every column, but it has {content}. Give one class number per row."
        )
    return (ones if by_rows else ones.T).argmax(axis=1).astype(np.int64)


def read_class_names(path: Path) -> list[str]:
    """Reads the names of the classes, one per line.

    Raises:
        DatasetError: A name occurs twice.
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
    all_values = list(chain.from_iterable(values.values()))
    if not all(isinstance(v, int) or (v.isdecimal() and len(v) < 19) for v in all_values):
        return {split: [str(value) for value in classes] for split, classes in values.items()}
    numbers = {split: [int(value) for value in classes] for split, classes in values.items()}
    if names is None:
        return numbers
    last = len(names) - 1
    all_numbers = list(map(int, all_values))
    start = int(bool(all_numbers) and (min(all_numbers), max(all_numbers)) == (1, len(names)))
    for split, classes in numbers.items():
        for row, number in enumerate(classes):
            if not start <= number <= last + start:
                raise DatasetError(
                    f"{where}: row {row} of split '{split}' (counted from 0) has class {number}, "
                    f"but {len(names)} classes are numbered from 0 to {last} (or from 1 to "
                    f"{last + 1}, if those are the smallest and the largest label). Correct "
                    "the label, or the list of classes."
                )
    return {split: [names[n - start] for n in classes] for split, classes in numbers.items()}
