"""The column contract for pairs with classes: checks, and reading of labels and vectors."""

from collections.abc import Sequence

import datasets
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from .any_dataset.captions import read_captions
from .columns import (
    CAPTIONS,
    CAST_IMAGE,
    IMAGE,
    IMAGE_FEATURES,
    IMAGE_LABEL,
    TEXT_FEATURES,
    TEXT_LABEL,
    TRUE_LABEL,
    DatasetError,
    check_is_split,
    column_type_error,
)
from .feature_types import is_integer, is_string_list, is_vector

LABEL_COLUMNS = (IMAGE_LABEL, TEXT_LABEL, TRUE_LABEL)
_BLOCK_ROWS = 4096


def validate_label_columns(dataset: datasets.Dataset, split: str = "train") -> None:
    """Checks the names and types of the columns, without reading a row.

    Args:
        dataset: One split.
        split: Its name, for the messages.

    Raises:
        DatasetError: A column is missing or has another type; the message says which.
    """
    check_is_split(dataset, "as_label_pairs")
    features = dataset.features
    for vectors, raw, option in (
        (IMAGE_FEATURES, IMAGE, "image_column"),
        (TEXT_FEATURES, CAPTIONS, "text_column"),
    ):
        if vectors not in features and raw not in features:
            raise DatasetError(
                f"Split '{split}' has neither '{vectors}' nor '{raw}'; its columns are "
                f"{dataset.column_names}. Convert the dataset with as_label_pairs, and name the "
                f"column with {option}=NAME."
            )
        if vectors in features and not is_vector(features[vectors]):
            hint = "Give every row one vector."
            raise column_type_error(dataset, vectors, split, "a list of numbers", hint)
    if IMAGE_FEATURES not in features and not isinstance(features[IMAGE], datasets.Image):
        raise column_type_error(dataset, IMAGE, split, "an Image", CAST_IMAGE)
    if TEXT_FEATURES not in features and not is_string_list(features[CAPTIONS]):
        hint = "Convert the dataset with as_label_pairs(dataset)."
        raise column_type_error(dataset, CAPTIONS, split, "a list of strings", hint)
    _check_label_columns(dataset, split)


def validate_label_pairs(
    dataset: datasets.Dataset, split: str = "train", minimum_pairs: int = 0
) -> None:
    """Checks every row for valid classes and finite vectors of one size, and the number of rows.

    Args:
        dataset: One split.
        split: Its name, for the messages.
        minimum_pairs: Minimum number of rows, usually the batch size.

    Raises:
        DatasetError: A row violates the contract (the message names the first and counts them), or
            there are too few rows.
    """
    validate_label_columns(dataset, split)
    if len(dataset) < minimum_pairs:
        raise DatasetError(
            f"Split '{split}' has {len(dataset)} pairs, fewer than the {minimum_pairs} of one "
            "batch. Use a smaller batch (per_device_train_batch_size=) or a larger dataset."
        )
    for name in LABEL_COLUMNS:
        if name in dataset.column_names:
            read_labels(dataset, name, split)
    for name in (IMAGE_FEATURES, TEXT_FEATURES):
        if name in dataset.column_names:
            check_finite(dataset, name, split)
    if TEXT_FEATURES not in dataset.column_names:
        read_captions(dataset, [CAPTIONS], split)


def read_labels(dataset: datasets.Dataset, name: str, split: str = "train") -> NDArray[np.int64]:
    """Reads a column of classes.

    Args:
        dataset: Rows that pass `validate_label_columns`.
        name: The column.
        split: The name of the split, for the messages.

    Returns:
        Class numbers, (n_rows,).

    Raises:
        DatasetError: A row has no class (None, or negative), or a class that does not exist.
    """
    column = dataset.select_columns([name]).with_format("arrow")[:].column(name)
    labels = pc.fill_null(column.cast(pa.int64()), -1).to_numpy()  # (n_rows,)
    missing = np.flatnonzero(labels < 0)
    if len(missing):
        raise DatasetError(
            f"Row {missing[0]} of split '{split}' has no class in column '{name}' "
            f"({column[int(missing[0])]}), like {len(missing)} rows in all. Label them, or drop "
            "them."
        )
    n_classes = len(class_names(dataset) or range(int(labels.max(initial=-1)) + 1))
    outside = np.flatnonzero(labels >= n_classes)
    if len(outside):
        raise DatasetError(
            f"Row {outside[0]} of split '{split}' has class {labels[outside[0]]} in column "
            f"'{name}', but there are {n_classes} classes ({len(outside)} such rows in all). "
            "Correct the labels, or the names of the classes."
        )
    return labels


def class_names(dataset: datasets.Dataset) -> list[str] | None:
    """The names of the classes; None if no label column has names."""
    features = [dataset.features.get(name) for name in LABEL_COLUMNS]
    return next((list(f.names) for f in features if isinstance(f, datasets.ClassLabel)), None)


def read_vectors(dataset: datasets.Dataset, name: str, split: str = "train") -> NDArray[np.float32]:
    """Reads a column of vectors, without a copy if it is one chunk of float32.

    Args:
        dataset: Rows that pass `validate_label_columns`.
        name: The column.
        split: The name of the split, for the messages.

    Returns:
        The vectors, (n_rows, dim), C-contiguous.

    Raises:
        DatasetError: A vector is missing, empty or differs in size from the first.
    """
    column = dataset.select_columns([name]).with_format("arrow")[:].column(name)
    parts = _matrices(column, name, split)
    if not parts:
        return np.empty((0, 0), dtype=np.float32)
    if len(parts) == 1:
        return np.ascontiguousarray(parts[0], dtype=np.float32)
    return np.concatenate(parts, dtype=np.float32, casting="unsafe")


def _check_label_columns(dataset: datasets.Dataset, split: str) -> None:
    features = dataset.features
    missing = [name for name in (IMAGE_LABEL, TEXT_LABEL) if name not in features]
    if missing:
        raise no_label_error(dataset, missing, split)
    columns = [name for name in LABEL_COLUMNS if name in features]
    for name in columns:
        feature = features[name]
        if not is_integer(feature) and not isinstance(feature, datasets.ClassLabel):
            hint = "Number the classes with as_label_pairs(dataset)."
            raise column_type_error(dataset, name, split, "class numbers", hint)
    columns = [name for name in columns if isinstance(features[name], datasets.ClassLabel)]
    for name in columns[1:]:
        if features[name].names != features[columns[0]].names:
            raise DatasetError(
                f"Columns '{columns[0]}' and '{name}' of split '{split}' have different classes: "
                f"{features[columns[0]].names[:5]} and {features[name].names[:5]} (the first 5). "
                "Unify them with as_label_pairs(dataset)."
            )


def no_label_error(dataset: datasets.Dataset, missing: Sequence[str], split: str) -> DatasetError:
    """Creates the error for missing label columns."""
    if len(missing) == 1:
        (present,) = {IMAGE_LABEL, TEXT_LABEL} - set(missing)
        return DatasetError(
            f"Split '{split}' has '{present}' but no '{missing[0]}': labels are missing in one "
            f"modality; its columns are {dataset.column_names}. If both sides of a row have the "
            f"same class, name its column with label_column='{present}'."
        )
    return DatasetError(
        f"Split '{split}' has no '{IMAGE_LABEL}' and '{TEXT_LABEL}'; its columns are "
        f"{dataset.column_names}. If one column holds the class of both sides, name it with "
        "label_column=NAME."
    )


def _matrices(column: pa.ChunkedArray, name: str, split: str, dim: int = 0) -> list[np.ndarray]:
    """Views of the vectors of a column, one per chunk, of size `dim` (of any size if 0)."""
    parts, first_row = [], 0
    for chunk in column.chunks:
        where = f"of split '{split}'"
        if chunk.null_count:
            row = first_row + int(np.argmax(chunk.is_null().to_numpy(zero_copy_only=False)))
            raise DatasetError(
                f"Row {row} {where} has no vector in '{name}' (it is null). Extract the features, "
                "or drop the row."
            )
        sizes = pc.list_value_length(chunk).to_numpy()  # (n_rows,)
        dim = dim or (int(sizes[0]) if len(sizes) else 0)
        wrong = np.flatnonzero((sizes != dim) | (sizes == 0))
        if len(wrong):
            raise DatasetError(
                f"Row {first_row + wrong[0]} {where} has a vector of {sizes[wrong[0]]} numbers in "
                f"'{name}', but the first has {dim}. Give all rows vectors of one size, at "
                "least 1."
            )
        values = chunk.flatten()  # (n_rows * dim,), honours the slice that `chunk` may be
        if values.null_count:
            index = int(np.argmax(values.is_null().to_numpy(zero_copy_only=False)))
            raise DatasetError(
                f"Row {first_row + index // dim} {where} has a null at position {index % dim} of "
                f"its vector in '{name}'. Extract the features again, or drop the row."
            )
        if len(chunk):
            parts.append(values.to_numpy().reshape(len(chunk), dim))
        first_row += len(chunk)
    return parts


def check_finite(dataset: datasets.Dataset, name: str, split: str) -> None:
    """Checks a column of vectors in blocks, without a copy of the column.

    Raises:
        DatasetError: A vector has a NaN or infinite value.
    """
    column = dataset.select_columns([name]).with_format("arrow")[:].column(name)
    bad, first_row = [], 0
    for part in _matrices(column, name, split):
        for start in range(0, len(part), _BLOCK_ROWS):
            with np.errstate(over="ignore"):
                block = part[start : start + _BLOCK_ROWS].astype(np.float32, copy=False)
            rows = np.flatnonzero(~np.isfinite(block).all(axis=1))
            bad += (first_row + start + rows).tolist()
        first_row += len(part)
    if bad:
        raise DatasetError(
            f"Row {bad[0]} of split '{split}' has NaN or infinite values in '{name}', like "
            f"{len(bad)} rows in all. Extract their features again, or drop the rows."
        )
