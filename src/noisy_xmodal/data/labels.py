"""Class labels: from names or numbers in files to class numbers that all splits share."""

from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import chain
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .columns import DatasetError
from .messages import quoted_list


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
