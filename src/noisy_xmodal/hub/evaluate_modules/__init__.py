"""The retrieval metrics as modules of the Hugging Face `evaluate` library, one folder each.

    evaluate.load(module_folder("retrieval_recall")).compute(predictions=..., references=...)

The modules define inputs and documentation; `noisy_xmodal.metrics` has the implementation.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

MODULES = ("retrieval_recall", "class_map")

__all__ = ["MODULES", "module_folder", "stacked_rows"]


def module_folder(name: str) -> str:
    """Folder of a module, for `evaluate.load`.

    Args:
        name: One of `MODULES`.

    Returns:
        The path.

    Raises:
        ValueError: If the module does not exist.
    """
    if name not in MODULES:
        raise ValueError(f"There is no module {name!r}: give one of {MODULES}")
    return str(Path(__file__).parent / name)


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
