"""What the modules have in common: input that `evaluate` would change or choke on is named."""

from collections.abc import Mapping, Sequence
from typing import Any

import datasets
import evaluate
import numpy as np
from datasets.features.features import cast_to_python_objects
from numpy.typing import NDArray


class CheckedMetric(evaluate.Metric):
    """A metric that misses no column and takes integers only where it says integers.

    Without it, `evaluate` cuts 1.7 to 1, reads "1" as 1 and says of a missing column that None has
    no length.
    """

    def add_batch(self, *, predictions: Any = None, references: Any = None, **others: Any) -> None:
        """Adds rows."""
        self._check_columns({"predictions": predictions, "references": references, **others})
        super().add_batch(predictions=predictions, references=references, **others)

    def add(self, *, prediction: Any = None, reference: Any = None, **others: Any) -> None:
        """Adds one row."""
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
                found = np.asarray(cast_to_python_objects(columns[name])).dtype
                if found.kind not in "iu":
                    raise ValueError(f"{name} has type {found}: give integers")


def stacked_rows(rows: Sequence[Sequence[float] | None], name: str) -> NDArray[np.float32]:
    """Makes a matrix of rows that came out of Arrow.

    Args:
        rows: Lists of numbers.
        name: What to call them in an error.

    Returns:
        The matrix, (n_rows, n_numbers).

    Raises:
        ValueError: If there are none or their lengths differ.
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
