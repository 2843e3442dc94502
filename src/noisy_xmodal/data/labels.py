"""Class labels: from names or numbers in files and columns to class numbers of all splits."""

from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import chain
from typing import Any

import datasets
import numpy as np
from numpy.typing import NDArray

from .columns import (
    DatasetError,
    column_type_error,
    column_values,
    missing_column_error,
    read_labels,
)
from .feature_types import is_class, is_integer, is_string
from .messages import quoted_list
from .protocol import TRAIN


def number_classes(
    values: Mapping[str, Sequence[Any]], where: str, names: Sequence[Any] | None = None
) -> tuple[dict[str, NDArray[np.int64]], tuple[str, ...]]:
    """Numbers the classes of a dataset from 0, without gaps.

    Args:
        values: The class of each row, by split, as a name or a number.
        where: The file or column, for the messages.
        names: The classes in the order of their numbers; by default, the sorted classes of the
            train split (of all splits if there is no train split).

    Returns:
        The class numbers by split, (n_rows,), and the names of the classes.

    Raises:
        DatasetError: A row has an unknown class, or a class occurs only once in train.
    """
    if names is None:
        names = sorted(set(values["train"] if "train" in values else chain(*values.values())))
    numbers = {name: number for number, name in enumerate(names)}
    for split, classes in values.items():
        for row, value in enumerate(classes):
            if value not in numbers:
                raise DatasetError(
                    f"{where}: row {row} of split '{split}' (counted from 0) has class {value!r}, "
                    f"not one of the {len(names)} classes {quoted_list(names, 10)}. Correct the "
                    "label, or drop the row."
                )
    counts = Counter(values.get("train", ()))
    once = [name for name in names if counts[name] == 1]
    if once:
        row = values["train"].index(once[0])
        raise DatasetError(
            f"{where}: class {once[0]!r} occurs once in train (row {row}, counted from 0), like "
            f"{len(once)} class(es) in all. A single example cannot be told from a wrong label: "
            "merge the class with another, or drop the row."
        )
    labels = {
        split: np.array([numbers[value] for value in classes], dtype=np.int64)
        for split, classes in values.items()
    }
    return labels, tuple(str(name) for name in names)


def number_label_columns(
    splits: Mapping[str, datasets.Dataset], sources: Mapping[str, Mapping[str, str]]
) -> dict[str, dict[str, tuple[NDArray[np.int64], datasets.ClassLabel]]]:
    """Numbers the classes of all label columns of a dataset alike.

    Args:
        splits: The splits by name.
        sources: The source of each label column, by split.

    Returns:
        The values and the type of each label column, by split; none if all sources are label
        columns with the same classes already.

    Raises:
        DatasetError: A source has no classes, or see `number_classes`.
    """
    labels: dict[str, dict[str, Any]] = {split: {} for split in splits}
    types = [splits[split].features[name] for split in splits for name in sources[split].values()]
    agree = all(isinstance(t, datasets.ClassLabel) and t.names == types[0].names for t in types)
    if agree and all(name == source for own in sources.values() for name, source in own.items()):
        return labels
    columns: dict[str, dict[str, list[Any]]] = {}
    for split, own in sources.items():
        for name, source in own.items():
            columns.setdefault(name, {})[split] = read_classes(splits[split], source, split)
    names = _class_order(columns, types)
    feature = datasets.ClassLabel(names=[str(name) for name in names])
    for name, values in columns.items():
        where = f"column '{sources[next(iter(values))][name]}'"
        for split, numbers in number_classes(values, where, names)[0].items():
            labels[split][name] = (numbers, feature)
    return labels


def _class_order(columns: Mapping[str, Mapping[str, list[Any]]], types: Sequence[Any]) -> list[Any]:
    """The classes in the order of their numbers: that of their names, else train's, sorted."""
    names = [name for t in types if isinstance(t, datasets.ClassLabel) for name in t.names]
    if names:
        return list(dict.fromkeys(names))
    has_train = any(TRAIN in values for values in columns.values())
    lists = [v for own in columns.values() for s, v in own.items() if s == TRAIN or not has_train]
    classes = set(chain.from_iterable(lists))
    if len({type(value) for value in classes}) > 1:
        raise DatasetError(
            "One label column holds names and another holds numbers. Use the same for both sides."
        )
    return sorted(classes)


def read_classes(rows: datasets.Dataset, column: str, split: str) -> list[Any]:
    """Reads the classes of a column: their names, or numbers if they have no names.

    Raises:
        DatasetError: The column is missing or has another type, or a row has no class.
    """
    if column not in rows.features:
        raise missing_column_error(rows, column, split, "Name the classes with label_column=NAME.")
    feature = rows.features[column]
    if is_class(feature):
        numbers = read_labels(rows, column, split).tolist()
        return numbers if is_integer(feature) else [feature.names[number] for number in numbers]
    if not is_string(feature):
        hint = "Name another with label_column=."
        raise column_type_error(rows, column, split, "one class name or integer per row", hint)
    values = column_values(rows, column)
    empty = [row for row, value in enumerate(values) if not value or not value.strip()]
    if empty:
        raise DatasetError(
            f"Row {empty[0]} of split '{split}' (counted from 0) has no class in column '{column}' "
            f"({values[empty[0]]!r}), like {len(empty)} rows in all. Label them, or drop them."
        )
    return values
