"""One pass over all images: whether they decode, their digests and their difference hashes."""

import hashlib
import io
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from multiprocessing.pool import ThreadPool
from pathlib import Path

import datasets
import numpy as np
from numpy.typing import NDArray
from PIL import Image
from tqdm.auto import tqdm

from ..data.columns import IMAGE, REGIONS, column_values
from ..data.pictures import image_problem, picture_source, stored_pictures
from ..data.regions import region_arrays
from ..modules.pixels import PIXELS_VERSION
from .duplicates import difference_hash

_THREADS, _BLOCK = 4, 256


@dataclass(frozen=True, eq=False)
class ImageScan:
    """Result of a scan of the images.

    Attributes:
        problems: The reason why an image is unusable, by row.
        digests: First 8 bytes of the SHA-256 of each image, (n,) uint64.
        hashes: Difference hash of each image, (n,) uint64; empty for region features.
    """

    problems: dict[int, str]
    digests: NDArray[np.uint64]
    hashes: NDArray[np.uint64]

    def fingerprint(self) -> str:
        """A hash of the images, their order and the conversion to pixels."""
        content = f"{PIXELS_VERSION} ".encode() + self.digests.tobytes()
        return hashlib.sha256(content).hexdigest()[:16]


def scan_images(dataset: datasets.Dataset, progress: bool = False) -> ImageScan:
    """Read every image once; JPEG files are decoded at a reduced size.

    Args:
        dataset: Rows by the column contract.
        progress: Whether to show a progress bar.
    """
    with tqdm(total=len(dataset), desc="checking images", disable=not progress) as bar:
        if IMAGE not in dataset.column_names or REGIONS in dataset.column_names:
            return _scan_regions(dataset, bar)
        results = []
        sources = (picture_source(row[IMAGE]) for row in stored_pictures(dataset))
        with warnings.catch_warnings(), ThreadPool(_THREADS) as pool:
            # `image_problem` reports such images.
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            while block := list(islice(sources, _BLOCK)):
                results += pool.map(_scan, block)
                bar.update(len(block))
    problems = {row: problem for row, (problem, _, _) in enumerate(results) if problem is not None}
    return ImageScan(
        problems,
        np.array([digest for _, digest, _ in results], dtype=np.uint64),
        np.array([value for _, _, value in results], dtype=np.uint64),
    )


def name_problems(dataset: datasets.Dataset, problems: dict[int, str]) -> list[str]:
    """A message for each unusable image.

    Args:
        dataset: The scanned rows.
        problems: From `ImageScan`.
    """
    if not problems:
        return []
    names = column_values(dataset, "image_id")
    return [f"{names[row]}: {problem}" for row, problem in sorted(problems.items())]


def _scan(source: bytes | Path) -> tuple[str | None, int, int]:
    """Problem, digest and difference hash of one image."""
    try:
        content = source if isinstance(source, bytes) else source.read_bytes()
    except OSError as error:
        return f"it cannot be read ({error.strerror})", 0, 0
    digest = _digest(content)
    problem = image_problem(content)
    if problem is not None:
        return problem, digest, 0
    with Image.open(io.BytesIO(content)) as picture:
        picture.draft("L", (16, 16))
        return None, digest, difference_hash(picture)


def _digest(content: bytes) -> int:
    return int.from_bytes(hashlib.sha256(content).digest()[:8], "little")


def _scan_regions(dataset: datasets.Dataset, bar: tqdm) -> ImageScan:
    rows = dataset.select_columns([REGIONS]).with_format("arrow")
    digests: list[int] = []
    problems: dict[int, str] = {}
    for start in range(0, len(rows), _BLOCK):
        block: Sequence[np.ndarray] = region_arrays(rows[start : start + _BLOCK].column(REGIONS))
        for row, regions in enumerate(block, start):
            if not len(regions) or not np.isfinite(regions).all():
                problems[row] = "its region features are empty or not finite"
            digests.append(_digest(regions.tobytes()))
        bar.update(len(block))
    return ImageScan(problems, np.array(digests, np.uint64), np.array([], np.uint64))
