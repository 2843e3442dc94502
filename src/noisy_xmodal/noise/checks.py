"""What every kind of noise asks of its arguments."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from .pairs import Pairs

LEVELS = ("caption", "image")


def check_ratio(ratio: float) -> None:
    """Refuse a ratio that is no share."""
    if not 0 <= ratio <= 1:
        raise ValueError(f"ratio is {ratio}: give a share between 0 and 1, such as 0.4 for 40 %")


def check_level(level: str) -> None:
    """Refuse a level other than those of `LEVELS`."""
    if level not in LEVELS:
        raise ValueError(f"level is {level!r}: choose one of {', '.join(LEVELS)}")


def check_clean(pairs: Pairs) -> None:
    """Refuse pairs that carry noise."""
    if pairs.is_noisy.any():
        raise ValueError(
            f"pairs holds {int(pairs.is_noisy.sum())} noisy pairs already: give clean pairs, "
            "or the ratio would no longer be the share of wrong captions"
        )


def check_labels(labels: Any, name: str = "labels") -> NDArray[Any]:
    """Refuse labels that are no flat integer array; an empty list is one."""
    array = np.asarray(labels)
    if array.ndim != 1 or (array.size and array.dtype.kind not in "iu"):
        raise ValueError(
            f"{name} has shape {array.shape} and type {array.dtype}: "
            "give a flat integer array, one class number per item"
        )
    return array
