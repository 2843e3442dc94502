"""The column contract: the columns that a dataset of pairs must have, their types and their checks.

A row is an image with its list of captions, or an image and a text with a class each. `pair_id` is
the flat index of a (row, caption), counted row by row; of rows with classes, the row.

Oracle columns are for metrics, evaluation and audit only.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import datasets
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from .feature_types import (
    is_bool,
    is_class,
    is_list_of,
    is_matrix,
    is_string,
    is_string_list,
    is_vector,
)
from .messages import DatasetError, quoted, quoted_list
from .regions import region_arrays, vector_arrays

IMAGE = "image"
REGIONS = "regions"
CAPTIONS = "captions"
IMAGE_ID = "image_id"
IS_NOISY = "is_noisy"
OBJECTS = "objects"  # optional, classes of the objects in the picture: list of names or numbers
TAGS = "tags"  # optional, list of strings
IMAGE_LABEL = "image_label"
TEXT_LABEL = "text_label"
TRUE_LABEL = "true_label"
IMAGE_FEATURES = "image_features"
TEXT_FEATURES = "text_features"
TEXT_ID = "text_id"  # optional, the name of the text: string
ORACLE_COLUMNS = (IS_NOISY, TRUE_LABEL)
LABEL_COLUMNS = (IMAGE_LABEL, TEXT_LABEL, TRUE_LABEL)

# Entries of items and batches.
PAIR_ID = "pair_id"
IMAGE_ROW = "image_row"
CAPTION = "caption"
PEER = "peer"
PARTNER = "partner"

#: Region features up to this size, in bytes, are all checked before training.
CHECKED_BYTES = 2**30

_BLOCK_ROWS = 256


class Column(NamedTuple):
    """A column of the contract."""

    meaning: str
    type: str
    fits: Callable[[Any], bool]  # of the type
    hint: str  # what to do about another type


_CLASS = ("class numbers", is_class, "Number the classes with as_label_pairs(dataset).")
_VECTOR = ("a list of numbers", is_vector, "Give every row one vector.")

#: The columns whose types are checked, of rows that have them.
COLUMNS = {
    IMAGE: Column(
        "the picture",
        "an Image",
        lambda feature: isinstance(feature, datasets.Image),
        f"Cast it with dataset.cast_column('{IMAGE}', datasets.Image()).",
    ),
    REGIONS: Column(
        "region features of the picture, (n_regions, dim), instead of it",
        "a list of lists of float16 or float32",
        is_matrix,
        "Give every row one vector per region.",
    ),
    CAPTIONS: Column(
        "the captions of the image, maybe wrong, or the text",
        "a list of strings",
        is_string_list,
        "Give every row a list of strings. One caption per row is a list of one: "
        f"dataset.map(lambda row: {{'{CAPTIONS}': [row['{CAPTIONS}']]}}).",
    ),
    IMAGE_ID: Column(
        "the name of the image",
        "a string",
        is_string,
        f"Cast it with dataset.cast_column('{IMAGE_ID}', datasets.Value('string')).",
    ),
    IS_NOISY: Column(
        "oracle, optional: whether each caption is wrong",
        "a list of booleans, one per caption",
        lambda feature: is_list_of(feature, is_bool),
        "Cast it, or drop it.",
    ),
    IMAGE_FEATURES: Column("the image as a vector, instead or in addition", *_VECTOR),
    TEXT_FEATURES: Column("the text as a vector, instead or in addition", *_VECTOR),
    IMAGE_LABEL: Column("the class of the image, maybe wrong", *_CLASS),
    TEXT_LABEL: Column("the class of the text, maybe wrong", *_CLASS),
    TRUE_LABEL: Column("oracle, optional: the correct class of both", *_CLASS),
}


def missing_column_error(
    dataset: datasets.Dataset, name: str, split: str, hint: str
) -> DatasetError:
    """Creates the error for a missing column; `hint` tells what to do."""
    return DatasetError(
        f"Split '{split}' has no column '{name}'; its columns are {dataset.column_names}. {hint}"
    )


def column_type_error(
    dataset: datasets.Dataset, name: str, split: str, expected: str, hint: str
) -> DatasetError:
    """Creates the error for a column of another type than `expected`; `hint` tells what to do."""
    return DatasetError(
        f"Column '{name}' of split '{split}' is {dataset.features[name]}, not {expected}. {hint}"
    )


def no_label_error(dataset: datasets.Dataset, missing: Sequence[str], split: str) -> DatasetError:
    """Creates the error for missing label columns."""
    columns = f"its columns are {dataset.column_names}"
    if len(missing) == 1:
        (present,) = {IMAGE_LABEL, TEXT_LABEL} - set(missing)
        return DatasetError(
            f"Split '{split}' has '{present}' but no '{missing[0]}': labels are missing in one "
            f"modality; {columns}. If both sides of a row have the same class, name its column "
            f"with label_column='{present}'."
        )
    return DatasetError(
        f"Split '{split}' has no '{IMAGE_LABEL}' and '{TEXT_LABEL}'; {columns}. If one column "
        "holds the class of both sides, name it with label_column=NAME."
    )


def check_is_split(dataset: object, adapter: str = "as_pairs") -> None:
    """Checks that an object is one split, in memory or on disk; messages name the `adapter`."""
    if isinstance(dataset, datasets.Dataset):
        return
    kind, hint = type(dataset).__name__, f"and convert it with {adapter}(dataset)."
    if isinstance(dataset, datasets.IterableDataset | datasets.IterableDatasetDict):
        kind, hint = f"streamed {kind}", f"Load it without streaming=True, {hint}"
    elif isinstance(dataset, dict):
        kind, hint = f"{kind} of {list(dataset)}", "Choose one with dataset[split]."
    else:
        hint = f"Create one, for example with datasets.Dataset.from_list(rows), {hint}"
    raise DatasetError(f"Expected one split as a datasets.Dataset, not a {kind}. {hint}")


def visual_column(dataset: datasets.Dataset, split: str = "train") -> str:
    """The column with the visual side: `"regions"` if the dataset has it, else `"image"`.

    Raises:
        DatasetError: The dataset has neither.
    """
    hint = (
        "Convert the dataset with as_pairs(dataset), or rename a column with "
        f"dataset.rename_column(old, '{IMAGE}')."
    )
    return _first_column(dataset, (REGIONS, IMAGE), split, hint)


def validate_columns(dataset: datasets.Dataset, split: str = "train") -> None:
    """Checks the names and types of the columns of captions, without reading a row.

    Args:
        dataset: One split.
        split: Its name, for the messages.

    Raises:
        DatasetError: A column is missing or has another type; the message says which.
    """
    check_is_split(dataset)
    visual = visual_column(dataset, split)
    for name in (CAPTIONS, IMAGE_ID):
        if name not in dataset.column_names:
            hint = f"or rename a column with dataset.rename_column(old, '{name}')."
            hint = f"Convert the dataset with as_pairs(dataset), {hint}"
            raise missing_column_error(dataset, name, split, hint)
    _check_types(dataset, (visual, CAPTIONS, IMAGE_ID, IS_NOISY), split)


def validate_label_columns(dataset: datasets.Dataset, split: str = "train") -> None:
    """Checks the names and types of the columns of pairs with classes, without reading a row.

    Args:
        dataset: One split.
        split: Its name, for the messages.

    Raises:
        DatasetError: A column is missing or has another type; the message says which.
    """
    check_is_split(dataset, "as_label_pairs")
    hint = "Convert the dataset with as_label_pairs, and name the column with {}_column=NAME."
    image = _first_column(dataset, (IMAGE_FEATURES, IMAGE), split, hint.format("image"))
    text = _first_column(dataset, (TEXT_FEATURES, CAPTIONS), split, hint.format("text"))
    _check_types(dataset, (image, text, *LABEL_COLUMNS), split)
    missing = [name for name in (IMAGE_LABEL, TEXT_LABEL) if name not in dataset.column_names]
    if missing:
        raise no_label_error(dataset, missing, split)
    features = [(name, dataset.features.get(name)) for name in LABEL_COLUMNS]
    named = [(name, f.names) for name, f in features if isinstance(f, datasets.ClassLabel)]
    for name, names in named[1:]:
        if names != named[0][1]:
            raise DatasetError(
                f"Columns '{named[0][0]}' and '{name}' of split '{split}' have different classes: "
                f"{named[0][1][:5]} and {names[:5]} (the first 5). Unify them with "
                "as_label_pairs(dataset)."
            )


def validate_pairs(dataset: datasets.Dataset, split: str = "train", minimum_pairs: int = 0) -> None:
    """Checks every row for captions with text and finite regions, and the number of pairs.

    If region features exceed `CHECKED_BYTES`, only the first rows are checked here, because reading
    tens of gigabytes takes minutes. `PairDataset` checks the other rows as it reads them.

    Args:
        dataset: One split.
        split: Its name, for the messages.
        minimum_pairs: Minimum number of pairs, usually the batch size.

    Raises:
        DatasetError: A row violates the contract (the first one is named), or there are too few
            pairs.
    """
    validate_columns(dataset, split)
    n_captions = _check_texts(dataset, split)
    if IS_NOISY in dataset.column_names:
        check_flags(column_values(dataset, IS_NOISY), n_captions, f" of split '{split}'")
    _check_number(sum(n_captions), minimum_pairs, split)
    if REGIONS in dataset.column_names:
        for first_row, block in column_blocks(dataset, REGIONS, _BLOCK_ROWS):
            for row, regions in enumerate(region_arrays(block), first_row):
                check_regions(regions, f"Row {row} of split '{split}' (counted from 0)")
            if is_checked_as_read(dataset):
                break


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
    _check_number(len(dataset), minimum_pairs, split)
    for name in LABEL_COLUMNS:
        if name in dataset.column_names:
            read_labels(dataset, name, split)
    for name in (IMAGE_FEATURES, TEXT_FEATURES):
        if name in dataset.column_names:
            vector_arrays(_arrow_column(dataset, name), name, split)
    if TEXT_FEATURES not in dataset.column_names:
        _check_texts(dataset, split)


def is_checked_as_read(dataset: datasets.Dataset) -> bool:
    """Whether the region features exceed `CHECKED_BYTES` and are checked when they are read."""
    return REGIONS in dataset.column_names and dataset.data.column(REGIONS).nbytes > CHECKED_BYTES


def check_regions(regions: np.ndarray, place: str) -> None:
    """Checks the region features of a row, (n_regions, dim); `place` names it in messages."""
    n_bad = int(np.size(regions) - np.isfinite(regions).sum())
    if n_bad or not len(regions):
        fault = f"{n_bad} NaN or infinite values" if n_bad else "no region"
        raise DatasetError(
            f"{place} has {fault} in '{REGIONS}'. Extract the features of that image again, or "
            "drop the row."
        )


def check_captions(
    texts: Sequence[str | None] | None,
    row: int,
    split: str,
    columns: Sequence[str] = (CAPTIONS,),
    otherwise: str = "",
) -> None:
    """Checks that a row has captions, and that each has text.

    Messages name the `columns`, and end with `otherwise`, what else can be done.
    """
    if texts and all(text and not text.isspace() for text in texts):
        return
    several = len(columns) > 1
    where = f"columns {quoted_list(columns)}" if several else f"column {quoted(columns[0])}"
    if not texts:
        raise DatasetError(
            f"Row {row} of split '{split}' (counted from 0) has no captions in {where}. Add one, "
            f"or drop the row with dataset.filter.{otherwise}"
        )
    position = next(i for i, text in enumerate(texts) if not text or text.isspace())
    raise DatasetError(
        f"Caption {position} of row {row} of split '{split}' (counted from 0) is empty "
        f"({quoted(texts[position])}) in {where}. Write the caption, or remove it.{otherwise}"
    )


def check_flags(
    flags: Sequence[Sequence[bool] | None], n_captions: Sequence[int], where: str = ""
) -> None:
    """Checks that each row has one flag of the oracle per caption."""
    for row, (values, count) in enumerate(zip(flags, n_captions, strict=True)):
        if len(values or ()) != count:
            raise DatasetError(
                f"Row {row}{where} has {count} captions but {len(values or ())} values in "
                f"'{IS_NOISY}'. Give one flag per caption, or drop the column."
            )


def column_values(dataset: datasets.Dataset, name: str) -> list[Any]:
    """Reads one column as Python values."""
    return list(_arrow_column(dataset, name).to_pylist())


def column_blocks(
    dataset: datasets.Dataset, name: str, n_rows: int = _BLOCK_ROWS
) -> Iterator[tuple[int, pa.ChunkedArray]]:
    """Reads one column in blocks: the first row and the values of each, one in memory at a time."""
    rows = dataset.select_columns([name]).with_format("arrow")
    for first_row in range(0, len(rows), n_rows):
        yield first_row, rows[first_row : first_row + n_rows].column(name)


def with_columns(
    dataset: datasets.Dataset, columns: Mapping[str, tuple[Any, Any]]
) -> datasets.Dataset:
    """Replaces columns in their places, and appends new ones, without reading the others.

    Args:
        dataset: One split.
        columns: The values and the feature type of each column.
    """
    names = dataset.column_names
    result = dataset.remove_columns([name for name in columns if name in names])
    for name, (values, feature) in columns.items():
        result = result.add_column(name, values, feature=feature)
    result.info.description = dataset.info.description
    return result.select_columns([*names, *(name for name in columns if name not in names)])


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
    column = _arrow_column(dataset, name)
    labels = pc.fill_null(column.cast(pa.int64()), -1).to_numpy()  # (n_rows,)
    missing = np.flatnonzero(labels < 0)
    if len(missing):
        raise DatasetError(
            f"Row {missing[0]} of split '{split}' (counted from 0) has no class in column '{name}' "
            f"({column[int(missing[0])]}), like {len(missing)} rows in all. Label them, or drop "
            "them."
        )
    n_classes = len(class_names(dataset) or range(int(labels.max(initial=-1)) + 1))
    outside = np.flatnonzero(labels >= n_classes)
    if len(outside):
        raise DatasetError(
            f"Row {outside[0]} of split '{split}' (counted from 0) has class {labels[outside[0]]} "
            f"in column '{name}', but there are {n_classes} classes ({len(outside)} such rows in "
            "all). Correct the labels, or the names of the classes."
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
        DatasetError: A vector is missing, empty, not finite, or differs in size from the first.
    """
    parts = vector_arrays(_arrow_column(dataset, name), name, split)
    if len(parts) == 1:
        return np.ascontiguousarray(parts[0], dtype=np.float32)
    empty = np.empty((0, parts[0].shape[1] if parts else 0), dtype=np.float32)
    return np.concatenate([empty, *parts], dtype=np.float32, casting="unsafe")


def _first_column(dataset: datasets.Dataset, names: tuple[str, str], split: str, hint: str) -> str:
    """The first column of `names` that a dataset has."""
    for name in names:
        if name in dataset.column_names:
            return name
    raise DatasetError(
        f"Split '{split}' has neither '{names[0]}' nor '{names[1]}'; its columns are "
        f"{dataset.column_names}. {hint}"
    )


def _check_types(dataset: datasets.Dataset, names: Sequence[str], split: str) -> None:
    for name in names:
        column = COLUMNS[name]
        if name in dataset.column_names and not column.fits(dataset.features[name]):
            raise column_type_error(dataset, name, split, column.type, column.hint)


def _check_texts(dataset: datasets.Dataset, split: str) -> list[int]:
    """Checks the captions of all rows, and counts those of each row, (n_rows,)."""
    counts = []
    for first_row, block in column_blocks(dataset, CAPTIONS, _BLOCK_ROWS):
        for row, texts in enumerate(block.to_pylist(), first_row):
            check_captions(texts, row, split)
            counts.append(len(texts))
    return counts


def _check_number(n_pairs: int, minimum: int, split: str) -> None:
    if n_pairs < minimum:
        raise DatasetError(
            f"Split '{split}' has {n_pairs} pairs, fewer than the {minimum} of one batch. Use a "
            "smaller batch (per_device_train_batch_size=) or a larger dataset."
        )


def _arrow_column(dataset: datasets.Dataset, name: str) -> pa.ChunkedArray:
    return dataset.select_columns([name]).with_format("arrow")[:].column(name)
