"""Base of the modules: checks of inputs that `evaluate` would silently change."""

from collections.abc import Mapping, Sequence
from typing import Any

import datasets
import evaluate
import numpy as np
from datasets.features.features import cast_to_python_objects
from numpy.typing import NDArray


class CheckedMetric(evaluate.Metric):
    """A metric that checks that all columns are present, and that integer columns are integers.

    `evaluate` itself truncates 1.7 to 1, converts "1" to 1 and fails on a missing column with an
    error about the length of None.
    """

    def add_batch(self, *, predictions: Any = None, references: Any = None, **others: Any) -> None:
        """Add rows."""
        self._check_columns({"predictions": predictions, "references": references, **others})
        super().add_batch(predictions=predictions, references=references, **others)

    def add(self, *, prediction: Any = None, reference: Any = None, **others: Any) -> None:
        """Add one row."""
        row = {"predictions": prediction, "references": reference, **others}
        self._check_columns(
            {name: None if value is None else [value] for name, value in row.items()}
        )
        super().add(prediction=prediction, reference=reference, **others)

    def _check_columns(self, columns: Mapping[str, Any]) -> None:
        missing = [name for name in self.features if columns.get(name) is None]
        if missing:
            raise ValueError(f"{missing} missing: give all of {list(self.features)}")
        for name, feature in self.features.items():
            if isinstance(feature, datasets.Value) and len(columns[name]):
                dtype = np.asarray(cast_to_python_objects(columns[name])).dtype
                if dtype.kind not in "iu":
                    raise ValueError(f"{name} has type {dtype}: give integers")


def stacked_rows(rows: Sequence[Sequence[float] | None], name: str) -> NDArray[np.float32]:
    """Stack rows from Arrow to a matrix.

    Args:
        rows: Lists of numbers.
        name: Name of the rows in errors.

    Returns:
        The matrix, (n_rows, n_numbers).

    Raises:
        ValueError: If there are no rows, or their lengths differ.
    """
    if not len(rows):
        raise ValueError(f"{name} has no rows: add at least one")
    lengths = np.array([len(row or ()) for row in rows])  # (n_rows,)
    other = np.flatnonzero(lengths != lengths[0])
    if len(other):
        raise ValueError(
            f"{name} has {lengths[0]} numbers in row 0 but {lengths[other[0]]} in row {other[0]}: "
            "give rows of one length"
        )
    return np.asarray(rows, dtype=np.float32)
