"""Class labels: from what files say to class numbers that all splits share."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .columns import DatasetError


def number_classes(
    values: Mapping[str, Sequence[Any]], where: str, names: Sequence[Any] | None = None
) -> tuple[dict[str, NDArray[np.int64]], tuple[str, ...]]:
    """Numbers the classes of a dataset from 0, without gaps.

    Args:
        values: For each split the class of each row, as the files have it: names or numbers.
        where: What to name in messages.
        names: The classes that exist, in the order of their numbers; by default those of the train
            split (of all splits, where there is no train), sorted.

    Returns:
        For each split the class numbers, (n_rows,), and the names of the classes.

    Raises:
        DatasetError: A row has a class that does not exist, or a class occurs once in train.
    """
    if names is None:
        known = values["train"] if "train" in values else [v for s in values.values() for v in s]
        names = sorted(set(known))
    numbers = {name: number for number, name in enumerate(names)}
    for split, found in values.items():
        for row, value in enumerate(found):
            if value not in numbers:
                raise DatasetError(
                    f"{where}: row {row} of split '{split}' (counted from 0) has class {value!r}, "
                    f"which is not among the {len(names)} classes {_listing(names)}. Correct the "
                    "label, or take the row out."
                )
    counts = Counter(values.get("train", ()))
    once = [name for name in names if counts[name] == 1]
    if once:
        row = values["train"].index(once[0])
        raise DatasetError(
            f"{where}: class {once[0]!r} occurs once in train (row {row}, counted from 0), and "
            f"{len(once)} class(es) in all do. One example cannot be told from a wrong label: "
            "merge the class with another, or take the row out."
        )
    labels = {
        split: np.array([numbers[value] for value in found], dtype=np.int64)
        for split, found in values.items()
    }
    return labels, tuple(str(name) for name in names)


def _listing(names: Sequence[Any]) -> str:
    shown = ", ".join(map(str, names[:10]))
    return f"({shown}, ...)" if len(names) > 10 else f"({shown})"
