"""One look at every image of a dataset: is it usable, and what is it like."""

import hashlib
import io
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from multiprocessing.pool import ThreadPool
from pathlib import Path
from typing import NamedTuple

import datasets
import numpy as np
from numpy.typing import NDArray
from PIL import Image
from tqdm.auto import tqdm

from ..data.columns import IMAGE, visual_column
from ..data.pictures import image_problem, open_picture, picture_source, stored_pictures
from ..data.regions import region_arrays
from ..modules.pixels import to_rgb
from .duplicates import THUMBNAIL, hash_of_gray, thumbnail

#: An image whose levels differ by less has one colour.
FLAT = 12

_THREADS, _BLOCK = 4, 256
_SIDE = 64  # pixels at which pictures are read for thumbnails
_SMALL = (16, 16)  # pixels that colours are told by, at least


class _Look(NamedTuple):
    """What one look at an image tells."""

    problem: str | None  # why it is unusable, if it is
    digest: int  # first 8 bytes of its SHA-256
    hash: int = 0  # difference hash
    size: tuple[int, int] = (0, 0)  # width and height
    contrast: int = 0  # range of its levels


@dataclass(frozen=True, eq=False)
class ImageScan:
    """What one look at every image of a dataset tells.

    Attributes:
        problems: Why images are unusable, by row.
        digests: First 8 bytes of the SHA-256 of each image, (n_images,) uint64.
        hashes: Difference hash of each image, (n_images,) uint64; empty for region features.
        sizes: Width and height of each image, (n_images, 2); empty for region features.
        contrasts: Highest minus lowest level of gray, or, where that is below `FLAT`, of the colour
            that varies most, (n_images,); empty for region features.
    """

    problems: Mapping[int, str]
    digests: NDArray[np.uint64]
    hashes: NDArray[np.uint64]
    sizes: NDArray[np.int64]
    contrasts: NDArray[np.int64]

    def select(self, rows: NDArray[np.int64]) -> "ImageScan":
        """The scan of some images."""
        pictures = rows[: len(self.hashes)]
        return ImageScan(
            {},
            self.digests[rows],
            self.hashes[pictures],
            self.sizes[pictures],
            self.contrasts[pictures],
        )


def look_at_images(dataset: datasets.Dataset, progress: bool = False) -> ImageScan:
    """Read every image once; JPEG files are decoded at a reduced size.

    Args:
        dataset: Rows by the column contract.
        progress: Whether to show a progress bar.
    """
    is_pictures = visual_column(dataset) == IMAGE
    n_images = len(dataset)
    problems: dict[int, str] = {}
    digests, hashes = np.zeros((2, n_images), np.uint64)
    sizes, contrasts = np.zeros((n_images, 2), np.int64), np.zeros(n_images, np.int64)
    looks = _picture_looks(dataset) if is_pictures else _region_looks(dataset)
    bar = tqdm(looks, "checking images", total=n_images, disable=not progress)
    for row, look in enumerate(bar):
        problem, digests[row], hashes[row], sizes[row], contrasts[row] = look
        if problem is not None:
            problems[row] = problem
    if not is_pictures:
        hashes, sizes, contrasts = hashes[:0], sizes[:0], contrasts[:0]
    return ImageScan(problems, digests, hashes, sizes, contrasts)


def thumbnails_of(dataset: datasets.Dataset, rows: NDArray[np.int64]) -> NDArray[np.float32]:
    """Thumbnails of some pictures of a dataset, (n, 16, 16, 3), see `duplicates.thumbnail`."""
    thumbnails = np.zeros((len(rows), THUMBNAIL, THUMBNAIL, 3), np.float32)
    for start in range(0, len(rows), _BLOCK):
        block = rows[start : start + _BLOCK].tolist()
        for place, picture in enumerate(stored_pictures(dataset)[block][IMAGE], start):
            thumbnails[place] = thumbnail(open_picture(picture, _SIDE))
    return thumbnails


def _picture_looks(dataset: datasets.Dataset) -> Iterator[_Look]:
    sources = (picture_source(row[IMAGE]) for row in stored_pictures(dataset))
    with warnings.catch_warnings(), ThreadPool(_THREADS) as pool:
        # `image_problem` reports such images.
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        while block := list(islice(sources, _BLOCK)):
            yield from pool.map(_look, block)


def _look(source: bytes | Path) -> _Look:
    try:
        content = source if isinstance(source, bytes) else source.read_bytes()
    except OSError as error:
        return _Look(f"it cannot be read ({error.strerror})", 0)
    facts: list[tuple[int, int]] = []

    def note(image: Image.Image) -> None:
        gray = to_rgb(image).convert("L")
        levels = np.flatnonzero(gray.histogram())
        facts.append((hash_of_gray(gray), int(levels[-1] - levels[0])))

    problem = image_problem(content, note)
    if problem is not None:
        return _Look(problem, content_digest(content))
    hash_of_image, contrast = facts[0]
    with Image.open(io.BytesIO(content)) as image:
        size = image.size
        if contrast < FLAT:  # colours may differ that are equally bright
            image.draft(None, _SMALL)
            channels = np.asarray(to_rgb(image)).reshape(-1, 3)  # (n_pixels, 3)
            contrast = int(np.ptp(channels, axis=0).max())
    return _Look(None, content_digest(content), hash_of_image, size, contrast)


def _region_looks(dataset: datasets.Dataset) -> Iterator[_Look]:
    column = visual_column(dataset)
    rows = dataset.select_columns([column]).with_format("arrow")
    for start in range(0, len(rows), _BLOCK):
        for regions in region_arrays(rows[start : start + _BLOCK].column(column)):
            is_bad = not len(regions) or not np.isfinite(regions).all()
            problem = "its region features are empty or not finite" if is_bad else None
            yield _Look(problem, content_digest(regions.tobytes()))


def content_digest(content: bytes) -> int:
    """The first 8 bytes of the SHA-256 of a content, as a number.

    Args:
        content: The content.
    """
    return int.from_bytes(hashlib.sha256(content).digest()[:8], "little")
