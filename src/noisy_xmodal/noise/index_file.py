"""Published noise-index files: .npy arrays with the image row of each caption after noise.

| level   | entries    | entry i                                      | published by       |
|---------|------------|----------------------------------------------|--------------------|
| caption | n_captions | image row of caption i                       | NCR and followers  |
| image   | n_images   | image row of the caption list of image i     | DECL, RCL          |
| image   | n_captions | the same, expanded to one entry per caption  | L2RM               |

The length does not determine the level (third line), so the content does: a file is at image level
when all captions of each image move together. With one caption per image both levels are the same,
which is called "caption" here.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from ..files import atomic_write
from .base import CAPTION_LEVELS, CaptionNoise
from .pairs import Pairs


@dataclass(frozen=True, eq=False)
class NoiseIndex(CaptionNoise):
    """The content of a noise-index file, as noise: nothing is drawn.

    Attributes:
        ratio: Share of wrong captions in the file.
        level: "caption" or "image", or "none" if no caption moved.
        pairs: The pairs after noise, one entry per caption whatever the file's form.
    """

    kind = "noise_index"
    title = "texts moved as a published noise index says"
    sentences = (CAPTION_LEVELS,)
    prefixes: ClassVar = {}
    levels = ("caption", "image", "none")
    is_drawn = False

    pairs: Pairs = field(kw_only=True)

    def protocol(self) -> dict[str, Any]:
        """What to store with the data, ready for JSON; no ratio, as none was requested."""
        return super().protocol() | {"ratio": None}

    def apply(self, pairs: Pairs, rng: np.random.Generator) -> Pairs:
        """Move captions as in the file; `pairs` are the clean pairs of its split."""
        return replace(self.pairs, text=pairs.text)


def read_noise_index(
    path: str | os.PathLike[str], captions_per_image: int | Sequence[int], n_images: int
) -> NoiseIndex:
    """Read and check a noise-index file of any of the three published forms.

    Args:
        path: The .npy file.
        captions_per_image: Number of captions of every image, or of each image, (n_images,).
        n_images: Number of image rows of the split that the file belongs to.

    Returns:
        The noise of the file, with its level.

    Raises:
        ValueError: If the file is not a plain integer array, does not fit the split, or gives an
            image the wrong number of captions.
    """
    clean = Pairs.from_counts(_counts(captions_per_image, n_images))
    n_captions = len(clean.image)
    entries = _load_entries(Path(path), sorted({n_captions, n_images}), n_images)

    if len(entries) == n_captions:
        image = entries  # (n_captions,)
        whole_lists = n_captions != n_images and _moves_whole_lists(clean, image)
    else:
        image = entries[clean.source_image]  # (n_captions,)
        whole_lists = True
    first = np.searchsorted(clean.source_image, np.arange(n_images))  # (n_images,)
    if whole_lists:
        rows, expected, unit = image[first], np.ones(n_images, dtype=np.int64), "caption lists"
    else:
        rows, expected, unit = image, np.bincount(clean.source_image), "captions"
    received = np.bincount(rows, minlength=n_images)  # (n_images,)
    wrong = np.flatnonzero(received != expected)
    if len(wrong):
        raise ValueError(
            f"{path} gives image row {wrong[0]} {received[wrong[0]]} {unit} where it needs "
            f"{expected[wrong[0]]} ({len(wrong)} rows are wrong): "
            "use the file made for this split and caption order"
        )
    pairs = Pairs(image=image, source_image=clean.source_image)
    if not pairs.is_noisy.any():
        return NoiseIndex(0.0, "none", pairs=pairs)
    level = "image" if whole_lists else "caption"
    return NoiseIndex(float(pairs.is_noisy.mean()), level, pairs=pairs)


def write_noise_index(path: str | os.PathLike[str], pairs: Pairs, level: str) -> None:
    """Write pairs as a noise-index file, completely or not at all.

    Args:
        path: The file to write or replace; no suffix is added.
        pairs: The pairs after noise.
        level: "image" writes one entry per image; "caption" and "none" one per caption.

    Raises:
        ValueError: If the level is unknown or does not describe the pairs.
    """
    if level not in NoiseIndex.levels:
        raise ValueError(f"level is {level!r}: choose one of {', '.join(NoiseIndex.levels)}")
    if level == "none" and pairs.is_noisy.any():
        raise ValueError(
            f"level is 'none' but {int(pairs.is_noisy.sum())} captions moved: "
            "name the level of the noise, caption or image"
        )
    entries = pairs.image
    if level == "image":
        if not _moves_whole_lists(pairs, pairs.image):
            raise ValueError(
                "level is 'image' but captions of one image moved to different images: "
                "write it at level 'caption'"
            )
        entries = entries[np.searchsorted(pairs.source_image, np.arange(pairs.n_images))]
    with atomic_write(path) as aside, open(aside, "wb") as file:
        np.save(file, entries, allow_pickle=False)


def _counts(captions_per_image: int | Sequence[int], n_images: int) -> NDArray[np.int64]:
    counts = np.asarray(captions_per_image)
    if counts.ndim == 0:
        return np.full(n_images, counts)
    if len(counts) != n_images:
        raise ValueError(
            f"captions_per_image has {len(counts)} entries for n_images={n_images}: "
            "give one number, or one per image"
        )
    return counts


def _moves_whole_lists(clean: Pairs, image: NDArray[np.int64]) -> bool:
    first = np.searchsorted(clean.source_image, np.arange(clean.n_images))  # (n_images,)
    return bool((image == image[first][clean.source_image]).all())


def _load_entries(path: Path, lengths: list[int], n_images: int) -> NDArray[np.int64]:
    """Read the array and check its entries one by one."""
    with open(path, "rb") as file:
        if file.read(6) != b"\x93NUMPY":
            raise ValueError(f"{path} is not a .npy file: save the index with numpy.save")
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)  # mapped: a lying header fails
    except Exception as error:  # damaged headers make NumPy's reader raise many kinds
        raise ValueError(
            f"{path} holds Python objects or is damaged ({error or type(error).__name__}): "
            "save the index again as a plain int64 array"
        ) from error
    if array.dtype.kind not in "iu":
        raise ValueError(f"{path} has entries of type {array.dtype}: save image rows as int64")
    if array.ndim != 1:
        raise ValueError(f"{path} has shape {array.shape}: save a flat array")
    if len(array) not in lengths:
        fitting = " or ".join(str(length) for length in reversed(lengths))
        raise ValueError(
            f"{path} has {len(array)} entries where {fitting} would fit (one per caption or one "
            f"per image, {n_images} images): use the file made for this split"
        )
    outside = np.flatnonzero((array < 0) | (array >= n_images))
    if len(outside):
        raise ValueError(
            f"{path} has {array[outside[0]]} at entry {outside[0]}, but image rows run from 0 to "
            f"{n_images - 1}: use the file made for this split"
        )
    return np.array(array, dtype=np.int64)
