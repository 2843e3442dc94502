"""The class labels of image-text pairs, true ones and those after noise."""

from dataclasses import dataclass

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
            copy = read_only_integers(getattr(self, field), field)  # (n,)
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
        true = read_only_integers(labels, "labels")  # (n,)
        return cls(image=true, text=true, true=true)

    @property
    def image_is_wrong(self) -> NDArray[np.bool_]:
        """True where the label of the image is wrong, (n,)."""
        return self.image != self.true

    @property
    def text_is_wrong(self) -> NDArray[np.bool_]:
        """True where the label of the text is wrong, (n,)."""
        return self.text != self.true


def read_only_integers(
    values: ArrayLike, name: str, entry: str = "class number per item"
) -> NDArray[np.int64]:
    """Copy a flat integer array, (n,), read-only; the error says what an entry is.

    Raises:
        ValueError: If the values are something else; an empty list is fine.
    """
    array = np.asarray(values)
    if array.ndim != 1 or (array.size and array.dtype.kind not in "iu"):
        raise ValueError(
            f"{name} has shape {array.shape} and type {array.dtype}: give a flat integer array, "
            f"one {entry}"
        )
    copy = array.astype(np.int64)
    copy.flags.writeable = False
    return copy
