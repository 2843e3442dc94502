"""The usable rows of a dataset for an audit, and the items that were left out."""

import hashlib
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from multiprocessing.pool import ThreadPool
from pathlib import Path

import datasets
import numpy as np
from numpy.typing import NDArray
from PIL import Image
from tqdm.auto import tqdm

from ..arguments.audit import AuditOptions
from ..data import DatasetError, PairDataset, inject_noise, load_pairs
from ..data.any_dataset import config_names
from ..data.columns import IMAGE, IMAGE_ID, column_values, validate_pairs, visual_column
from ..data.pictures import image_problem, picture_source, stored_pictures
from ..data.readers import embedded_pairs
from ..data.regions import region_arrays
from ..modules.pixels import PIXELS_VERSION
from ..noise import parse_noise
from .duplicates import difference_hash, similar_images

#: Maximum number of different bits in the hashes of similar images. Of 500 photographs saved again
#: at JPEG quality 50, or brightened, 99 and 97 % are found; with 2 bits it is 94 and 89 %.
_ALIKE_BITS = 4
_THREADS, _BLOCK = 4, 256

#: Why an image is unusable, if it is; the first 8 bytes of its SHA-256; its difference hash.
_Look = tuple[str | None, int, int]


@dataclass(frozen=True, eq=False)
class AuditRows:
    """The usable rows of a dataset.

    Attributes:
        pairs: Their pairs.
        split: Name of their split.
        digests: First 8 bytes of the SHA-256 of each image, (n_images,) uint64.
        hashes: Difference hash of each image, (n_images,) uint64; empty for region features.
        left_out: A line for each item that was left out.
    """

    pairs: PairDataset
    split: str
    digests: NDArray[np.uint64]
    hashes: NDArray[np.uint64]
    left_out: Sequence[str] = ()

    @cached_property
    def image_ids(self) -> list[str]:
        """Name of each image."""
        return column_values(self.pairs.dataset, IMAGE_ID)

    @cached_property
    def alike(self) -> list[NDArray[np.int64]]:
        """Groups of images that look alike, largest first."""
        return similar_images(self.hashes, _ALIKE_BITS)

    def groups(self) -> NDArray[np.int64]:
        """A number for each image, the same for images that look alike, (n_images,)."""
        group = np.unique(self.digests, return_inverse=True)[1]
        for alike in self.alike:
            if len(alike) > len(group) / 20:
                continue  # similar in style, such as icons; they must not all be in one fold
            group[np.isin(group, group[alike])] = group[alike[0]]
        return group

    def fingerprint(self) -> str:
        """A hash of the images, their order and the conversion to pixels."""
        content = f"{PIXELS_VERSION} ".encode() + self.digests.tobytes()
        return hashlib.sha256(content).hexdigest()[:16]


def load_rows(options: AuditOptions) -> AuditRows:
    """Load one split, look at every image once, and leave out unusable rows.

    Args:
        options: Options of the audit.

    Raises:
        DatasetError: If the dataset or split does not exist, or no row is usable.
        ValueError: If the noise to inject is unknown.
    """
    name, config_name = options.dataset_name, options.dataset_config_name
    if options.inject_noise is not None:
        parse_noise(options.inject_noise)  # an unknown name fails before any long work
    notes: dict[str, list[str]] = {}
    columns = {
        key: getattr(options, key) for key in ("image_column", "caption_column", "id_column")
    }
    parts = embedded_pairs(name, config_name, columns)
    if parts is None:
        configs = config_names(name)
        if config_name is None and len(configs) > 1:
            raise DatasetError(
                f"{name} has the configs {', '.join(configs)}: choose one with "
                "--dataset_config_name."
            )
        parts = load_pairs(name, config_name, split=options.split, left_out=notes, **columns)
    splits = list(notes or parts)
    split = options.split or "train"
    if split not in splits:
        if len(splits) != 1:
            raise DatasetError(
                f"{name} has the splits {', '.join(splits)}: choose one with --split."
            )
        split = splits[0]
    left_out = notes.get(split, [])
    if split not in parts:
        raise DatasetError(f"{name} has no usable row: {'; '.join(left_out[:3])}.")
    rows = parts[split]
    problems, digests, hashes = look_at_images(rows, not options.disable_tqdm)
    if problems:
        names = column_values(rows, IMAGE_ID)
        left_out += [f"{names[row]}: {problem}" for row, problem in problems.items()]
        good = np.setdiff1d(np.arange(len(rows)), list(problems))
        if not len(good):
            raise DatasetError(
                f"None of the {len(rows):,} images of {name} is usable: {'; '.join(left_out[:3])}."
            )
        rows, digests, hashes = rows.select(good), digests[good], hashes[good[: len(hashes)]]
    if options.inject_noise is not None:
        rows = inject_noise(rows, options.inject_noise, seed=options.noise_seed)
    validate_pairs(rows, split)
    return AuditRows(PairDataset(rows), split, digests, hashes, left_out)


def look_at_images(
    dataset: datasets.Dataset, progress: bool = False
) -> tuple[dict[int, str], NDArray[np.uint64], NDArray[np.uint64]]:
    """Read every image once; JPEG files are decoded at a reduced size.

    Args:
        dataset: Rows by the column contract.
        progress: Whether to show a progress bar.

    Returns:
        The reason why an image is unusable, by row, and the digests and hashes of `AuditRows`.
    """
    is_pictures = visual_column(dataset) == IMAGE
    problems: dict[int, str] = {}
    digests, hashes = np.zeros((2, len(dataset)), np.uint64)
    looks = _picture_looks(dataset) if is_pictures else _region_looks(dataset)
    bar = tqdm(looks, "checking images", total=len(dataset), disable=not progress)
    for row, (problem, digests[row], hashes[row]) in enumerate(bar):
        if problem is not None:
            problems[row] = problem
    return problems, digests, hashes if is_pictures else hashes[:0]


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
        return f"it cannot be read ({error.strerror})", 0, 0
    hashes: list[int] = []
    problem = image_problem(content, lambda image: hashes.append(difference_hash(image)))
    return problem, _digest(content), 0 if problem else hashes[0]


def _region_looks(dataset: datasets.Dataset) -> Iterator[_Look]:
    column = visual_column(dataset)
    rows = dataset.select_columns([column]).with_format("arrow")
    for start in range(0, len(rows), _BLOCK):
        for regions in region_arrays(rows[start : start + _BLOCK].column(column)):
            is_bad = not len(regions) or not np.isfinite(regions).all()
            problem = "its region features are empty or not finite" if is_bad else None
            yield problem, _digest(regions.tobytes()), 0


def _digest(content: bytes) -> int:
    return int.from_bytes(hashlib.sha256(content).digest()[:8], "little")
