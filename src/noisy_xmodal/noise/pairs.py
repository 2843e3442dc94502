"""Which caption belongs to which image row: the object that caption noise acts on.

Captions are numbered in the order of the clean data: those of image row 0 first, then those of row
1, and so on. Each number is also a slot in its image row. Noise moves captions to other rows and
keeps the slots, so it is a permutation of captions among slots.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from .equal_texts import SharedTexts
from .labels import read_only_integers


@dataclass(frozen=True, eq=False)
class Pairs:
    """Captions and their image rows.

    Attributes:
        image: Image row of each caption, (n_pairs,), int64, read-only.
        source_image: Image row that each caption describes, (n_pairs,), int64, read-only.
            In row order, each row at least once.
        text: Number of the text of each caption, (n_pairs,), int64, read-only; equal texts have
            equal numbers. None if texts are unknown, and all count as different.
    """

    image: NDArray[np.int64]
    source_image: NDArray[np.int64]
    text: NDArray[np.int64] | None = None

    def __post_init__(self) -> None:
        for field in ("image", "source_image", "text"):
            if getattr(self, field) is None:
                continue
            entry = "text number per caption" if field == "text" else "image row per caption"
            values = read_only_integers(getattr(self, field), field, entry)  # (n_pairs,)
            object.__setattr__(self, field, values)
            if len(values) != len(self.source_image):
                raise ValueError(
                    f"{field} has {len(values)} entries and source_image "
                    f"{len(self.source_image)}: give one of each per caption"
                )
        steps = np.diff(self.source_image, prepend=0)
        if len(steps) and (self.source_image[0] != 0 or (steps < 0).any() or (steps > 1).any()):
            raise ValueError(
                "source_image must list the image rows in order, 0, 1, 2, ..., each at least once: "
                "number the captions row by row"
            )
        outside = np.flatnonzero((self.image < 0) | (self.image >= self.n_images))
        if len(outside):
            raise ValueError(
                f"image gives caption {outside[0]} to row {self.image[outside[0]]}, "
                f"but rows run from 0 to {self.n_images - 1}"
            )

    @classmethod
    def from_counts(
        cls,
        captions_per_image: Sequence[int] | NDArray[np.integer],
        text: NDArray[np.int64] | None = None,
    ) -> "Pairs":
        """Clean pairs from the number of captions of each image.

        Args:
            captions_per_image: Number of captions of each image row, (n_images,), at least 1.
            text: Number of the text of each caption, (n_pairs,), or None.

        Returns:
            Pairs in which every caption belongs to the image that it describes.

        Raises:
            ValueError: If a count is not a positive integer.
        """
        counts = np.asarray(captions_per_image)
        if counts.ndim != 1 or (counts.size and counts.dtype.kind not in "iu"):
            raise ValueError(
                f"captions_per_image has shape {counts.shape} and type {counts.dtype}: "
                "give a flat list of integers, one per image"
            )
        empty = np.flatnonzero(counts < 1)
        if len(empty):
            raise ValueError(
                f"captions_per_image gives image row {empty[0]} {counts[empty[0]]} captions: "
                "drop images without captions"
            )
        rows = np.repeat(np.arange(len(counts)), counts.astype(np.int64))  # (n_pairs,)
        return cls(image=rows, source_image=rows, text=text)

    @property
    def n_images(self) -> int:
        """Number of image rows."""
        return int(self.source_image[-1]) + 1 if len(self.source_image) else 0

    def check_clean(self) -> None:
        """Check that no caption has moved.

        Raises:
            ValueError: If one has.
        """
        if self.is_noisy.any():
            raise ValueError(
                f"pairs holds {int(self.is_noisy.sum())} noisy pairs already: give clean pairs, "
                "or the ratio would no longer be the share of wrong captions"
            )

    @property
    def is_noisy(self) -> NDArray[np.bool_]:
        """True for captions of images that they do not describe, (n_pairs,)."""
        return self.image != self.source_image

    @cached_property
    def _shared_texts(self) -> SharedTexts:
        text = np.arange(len(self.source_image)) if self.text is None else self.text
        return SharedTexts(text, self.source_image)

    def image_has(
        self, images: NDArray[np.int64], captions: NDArray[np.int64]
    ) -> NDArray[np.bool_]:
        """Whether an image has a clean caption with the text of another caption.

        Args:
            images: Image rows, (n,).
            captions: Caption numbers, (n,).

        Returns:
            bool, (n,). If texts are unknown, a text describes only the image of its caption.
        """
        return self._shared_texts.match(images, captions)

    @property
    def n_same_text(self) -> int:
        """Number of noisy captions whose text also describes their new image."""
        moved = np.flatnonzero(self.is_noisy)  # (n_moved,)
        return int(self.image_has(self.image[moved], moved).sum())

    def rows(self) -> list[NDArray[np.int64]]:
        """The captions of each image row, in slot order.

        A caption that does not move keeps its slot. The captions that move to a row take the slots
        of those that left it, both in ascending order. So a row keeps its number of captions,
        unless whole lists of different lengths moved.

        Returns:
            One array of caption numbers per image row, n_images of them.
        """
        n_pairs = len(self.image)
        moved = np.flatnonzero(self.is_noisy)  # (n_moved,), ascending: also the slots left free
        incoming = moved[np.argsort(self.image[moved], kind="stable")]  # (n_moved,), by new row
        new_row = self.image[incoming]  # (n_moved,)
        place = np.arange(len(incoming)) - np.searchsorted(new_row, new_row)  # (n_moved,)
        free_row = self.source_image[moved]  # (n_moved,)
        first_free = np.searchsorted(free_row, new_row)  # (n_moved,)
        n_free = np.searchsorted(free_row, new_row, side="right") - first_free  # (n_moved,)

        slot = np.arange(n_pairs)  # (n_pairs,)
        fits = place < n_free  # (n_moved,)
        slot[incoming[fits]] = moved[(first_free + place)[fits]]
        slot[incoming[~fits]] = n_pairs + incoming[~fits]  # a longer list: after the row's slots
        in_order = np.lexsort((slot, self.image))  # (n_pairs,)
        counts = np.bincount(self.image, minlength=self.n_images)  # (n_images,)
        return np.split(in_order, np.cumsum(counts)[:-1]) if self.n_images else []
