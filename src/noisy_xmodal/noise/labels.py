"""The class labels of image-text pairs, true ones and those after noise."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray


@dataclass(frozen=True, eq=False)
class NoisyLabels:
    """Labels of the images and the texts of pairs after noise, and the true ones.

    Attributes:
        image: Label of each image, (n,), int64, read-only.
        text: Label of each text, (n,), int64, read-only.
        true: True class of each pair, (n,), int64, read-only.
    """

    image: NDArray[np.int64]
    text: NDArray[np.int64]
    true: NDArray[np.int64]

    def __post_init__(self) -> None:
        for field in ("image", "text", "true"):
            copy = check_labels(getattr(self, field), field).astype(np.int64)  # (n,)
            copy.flags.writeable = False
            object.__setattr__(self, field, copy)
        sizes = len(self.image), len(self.text), len(self.true)
        if len(set(sizes)) > 1:
            raise ValueError(
                f"image, text and true have {sizes[0]}, {sizes[1]} and {sizes[2]} entries: "
                "give one of each per pair"
            )

    @classmethod
    def clean(cls, labels: ArrayLike) -> "NoisyLabels":
        """Labels without noise.

        Args:
            labels: Class of each pair, (n,).

        Returns:
            Labels with image, text and true all the same.
        """
        true = check_labels(labels)
        return cls(image=true, text=true, true=true)

    @property
    def image_is_wrong(self) -> NDArray[np.bool_]:
        """True where the label of the image is wrong, (n,)."""
        return self.image != self.true

    @property
    def text_is_wrong(self) -> NDArray[np.bool_]:
        """True where the label of the text is wrong, (n,)."""
        return self.text != self.true


def check_labels(labels: Any, name: str = "labels") -> NDArray[Any]:
    """Check that labels are a flat integer array, which an empty list is too.

    Args:
        labels: The labels.
        name: What an error calls them.

    Returns:
        The labels as an array, (n,).

    Raises:
        ValueError: If they are something else.
    """
    array = np.asarray(labels)
    if array.ndim != 1 or (array.size and array.dtype.kind not in "iu"):
        raise ValueError(
            f"{name} has shape {array.shape} and type {array.dtype}: "
            "give a flat integer array, one class number per item"
        )
    return array
