"""Reads vectors of two modalities from NumPy files; modality_arrays.py describes the layout."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
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
class RawSplit:
    """One split as its files have it, before its classes are numbered.

    Attributes:
        image: Vectors of the images, (n_rows, dim).
        text: Vectors of the texts, (n_rows, another dim).
        labels: The class of each row, all numbers or all names; None where no file says.
        image_ids: Names of the images, where a file gives them.
        text_ids: Names of the texts, where a file gives them.
    """

    image: Vectors
    text: Vectors
    labels: Sequence[int] | Sequence[str] | None = None
    image_ids: list[str] | None = None
    text_ids: list[str] | None = None

    def __len__(self) -> int:
        return len(self.image)

    def cut(self, first: int, last: int) -> "RawSplit":
        """Returns the rows from `first` to before `last`, without reading vectors."""
        return RawSplit(
            image=_cut(self.image, first, last),
            text=_cut(self.text, first, last),
            labels=None if self.labels is None else self.labels[first:last],
            image_ids=None if self.image_ids is None else self.image_ids[first:last],
            text_ids=None if self.text_ids is None else self.text_ids[first:last],
        )


def _cut(vectors: Vectors, first: int, last: int) -> Vectors:
    if not isinstance(vectors, ArrayFile):
        return vectors[first:last]
    shape = (last - first, *vectors.shape[1:])
    return replace(vectors, shape=shape, offset=vectors.offset + first * vectors.row_bytes)


def read_npy_splits(folder: Path) -> dict[str, RawSplit]:
    """Opens the splits that have .npy files, and checks that their rows belong together.

    Raises:
        DatasetError: A file is missing or breaks the layout; the message names it.
    """
    splits = {}
    for split, stems in FILE_NAMES.items():
        found = [
            s for s in stems if any((folder / f"{s}{suffix}").exists() for suffix in _SUFFIXES)
        ]
        if len(found) > 1:
            raise DatasetError(
                f"{folder} has files of {' and of '.join(found)}, which are all the split "
                f"'{split}'. Keep one."
            )
        if found:
            splits[split] = _read_split(folder, found[0])
    return splits


def _read_split(folder: Path, stem: str) -> RawSplit:
    image_path, text_path = folder / f"{stem}_image.npy", folder / f"{stem}_text.npy"
    image, text = open_vectors(image_path), open_vectors(text_path)
    if len(image) != len(text):
        raise DatasetError(
            f"{image_path} has {len(image)} rows, but {text_path} has {len(text)}. Row i of both "
            "is one pair: extract them again from one list."
        )
    image_ids, text_ids = (
        _read_ids(folder / f"{stem}_{modality}_ids.txt", len(image))
        for modality in ("image", "text")
    )
    if image_ids is not None:
        check_ids(image_ids, str(folder / f"{stem}_image_ids.txt"))
    return RawSplit(image, text, _read_labels(folder, stem, len(image)), image_ids, text_ids)


def open_vectors(path: Path) -> ArrayFile:
    """Opens a .npy file of vectors, (rows, dim), without reading its rows.

    Raises:
        DatasetError: The file is missing or damaged, holds Python objects, or has another shape or
            type.
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
    except Exception as error:  # damaged headers make NumPy's reader raise many kinds
        raise DatasetError(
            f"{path} cannot be read: it is damaged, or holds Python objects, which are never "
            f"loaded as they can run code ({error}). Save whole numbers with np.save."
        ) from error


def check_length(found: int, n_rows: int, where: str) -> None:
    """Refuses a file that has not one entry a row.

    Raises:
        DatasetError: `found` is another number than `n_rows`.
    """
    if found != n_rows:
        raise DatasetError(
            f"{where} has {found} entries, but image and text have {n_rows} rows. One entry a row "
            "is needed, in the same order."
        )


def check_finite(rows: np.ndarray, where: str, first: int = 0) -> None:
    """Refuses vectors with values that are no numbers.

    Args:
        rows: Vectors, (n_rows, dim).
        where: What to name in the message.
        first: The number of the first of them.

    Raises:
        DatasetError: A value is NaN or infinite; the message names the first such row.
    """
    finite = np.isfinite(rows).all(axis=1)  # (n_rows,)
    if not finite.all():
        raise DatasetError(
            f"{where}, row {first + int(np.argmin(finite))} (counted from 0): the vector holds NaN "
            "or infinite values, as float32. Extract it again, or take the pair out of all files."
        )


def class_numbers(values: Any, where: str) -> NDArray[np.int64]:
    """Reads class numbers out of an array.

    Args:
        values: Whole numbers, (n_rows,) or with one more axis of length 1; or one-hot rows or
            columns, (n_rows, n_classes) or (n_classes, n_rows), dense or sparse.
        where: What to name in messages.

    Returns:
        The class of each row as the array numbers them, (n_rows,); one-hot ones count from 0.

    Raises:
        DatasetError: A row has no class number, or no single class.
    """
    values = values.toarray() if sparse.issparse(values) else np.asarray(values)
    if values.dtype.kind not in "buif":
        raise DatasetError(f"{where} is {values.dtype}: classes are whole numbers, or one-hot.")
    if values.ndim == 2 and 1 in values.shape:
        values = values.reshape(-1)
    if values.ndim == 1:
        whole = np.isfinite(values) & (values == np.rint(values))  # (n_rows,)
        if not whole.all():
            row = int(np.argmin(whole))
            raise DatasetError(
                f"{where}, row {row} (counted from 0): {values[row]} is no class number. Give "
                "whole numbers."
            )
        return values.astype(np.int64)
    return _one_hot_numbers(values, where)


def _one_hot_numbers(values: np.ndarray, where: str) -> NDArray[np.int64]:
    ones = values != 0
    is_binary = values.ndim == 2 and bool((values[ones] == 1).all())
    by_rows = is_binary and bool((ones.sum(axis=1) == 1).all())
    by_columns = is_binary and bool((ones.sum(axis=0) == 1).all())
    if by_rows == by_columns:
        found = "one 1 in every row and in every column" if by_rows else "neither"
        raise DatasetError(
            f"{where} has shape {values.shape}: expected one number a row, or exactly one 1 in "
            f"every row or in every column, but it has {found}. Give one class number a row."
        )
    return (ones if by_rows else ones.T).argmax(axis=1).astype(np.int64)


def read_class_names(path: Path) -> list[str]:
    """Reads the names of the classes, one a line.

    Raises:
        DatasetError: A name stands there twice.
    """
    names = read_lines(path)
    for line, name in enumerate(names, start=1):
        first = names.index(name) + 1
        if first != line:
            raise DatasetError(
                f"{path}: class '{name}' stands at lines {first} and {line}. Keep one name a class."
            )
    return names


def named_classes(
    values: Mapping[str, Sequence[Any]], where: str, names: Sequence[str] | None
) -> dict[str, list[Any]]:
    """Replaces class numbers by names, where there are names.

    Args:
        values: For each split the class of each row.
        where: What to name in messages.
        names: The names by number.

    Returns:
        For each split the class of each row: all names, or all numbers.

    Raises:
        DatasetError: A number is outside `names`.
    """
    every = [value for split in values.values() for value in split]
    if not all(isinstance(v, int) or (v.isdecimal() and len(v) < 19) for v in every):
        return {split: [str(value) for value in found] for split, found in values.items()}
    numbers = {split: [int(value) for value in found] for split, found in values.items()}
    if names is None:
        return numbers
    last = len(names) - 1
    smallest = min(map(min, filter(None, numbers.values())), default=0)
    start = int(smallest == 1 and max(map(max, filter(None, numbers.values()))) == len(names))
    for split, found in numbers.items():
        for row, number in enumerate(found):
            if not start <= number <= last + start:
                raise DatasetError(
                    f"{where}: row {row} of split '{split}' (counted from 0) has class {number}, "
                    f"but {len(names)} classes are numbered from 0 to {last} (or from 1 to "
                    f"{last + 1}, where those are the smallest and the largest label). Correct "
                    "the label, or the list of classes."
                )
    return {split: [names[n - start] for n in found] for split, found in numbers.items()}
