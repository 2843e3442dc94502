"""The usable rows of a dataset for an audit, and the items that were left out."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import datasets
import numpy as np
from numpy.typing import NDArray

from ..arguments.audit import AuditOptions
from ..arguments.review import ReviewOptions
from ..data import DatasetError, PairDataset, inject_noise, load_pairs
from ..data.any_dataset import config_names
from ..data.columns import CAPTIONS, IMAGE, IMAGE_ID, column_values, validate_pairs, visual_column
from ..data.pictures import open_picture, stored_pictures
from ..data.readers import embedded_pairs
from ..modules.pixels import PIXELS_VERSION
from ..noise import parse_noise
from ..noise.equal_texts import text_numbers
from .duplicates import first_copies, similar_images, thumbnail
from .image_scan import ImageScan, look_at_images

#: Maximum number of different bits in the hashes of similar images. Of 500 photographs saved again
#: at JPEG quality 50, or brightened, 99 and 97 % are found; with 2 bits it is 94 and 89 %.
ALIKE_BITS = 4
_SIDE = 64  # pixels at which pictures are read for thumbnails


@dataclass(frozen=True, eq=False)
class AuditRows:
    """The usable rows of a dataset.

    Attributes:
        pairs: Their pairs.
        split: Name of their split.
        scan: What one look at every image told.
        left_out: A line for each item that was left out.
        leaked_images: The image of another split that an image looks like, as "split: image id", by
            row.
        leaked_pairs: Pairs whose caption another split has too, ascending.
    """

    pairs: PairDataset
    split: str
    scan: ImageScan
    left_out: Sequence[str] = ()
    leaked_images: Mapping[int, str] = field(default_factory=dict)
    leaked_pairs: Sequence[int] = ()

    @cached_property
    def image_ids(self) -> list[str]:
        """Name of each image."""
        return column_values(self.pairs.dataset, IMAGE_ID)

    @cached_property
    def alike(self) -> list[NDArray[np.int64]]:
        """Groups of images that look alike, largest first."""
        return similar_images(self.scan.hashes, ALIKE_BITS)

    def groups(self) -> NDArray[np.int64]:
        """A number for each image, the same for images that look alike, (n_images,)."""
        group = np.unique(self.scan.digests, return_inverse=True)[1]
        for alike in self.alike:
            if len(alike) > len(group) / 20:
                continue  # similar in style, such as icons; they must not all be in one fold
            group[np.isin(group, group[alike])] = group[alike[0]]
        return group

    @cached_property
    def original(self) -> NDArray[np.int64]:
        """The first image that each image is a copy of, (n_images,); its own row if of none."""
        _, first, number = np.unique(self.scan.digests, return_index=True, return_inverse=True)
        original = first[number].astype(np.int64)
        for group in self.alike:
            rows = np.unique(original[group])
            original[rows] = rows[first_copies(_thumbnails(self.pairs.dataset, rows))]
        return original[original]

    def fingerprint(self) -> str:
        """A hash of the images, their order and the conversion to pixels."""
        content = f"{PIXELS_VERSION} ".encode() + self.scan.digests.tobytes()
        return hashlib.sha256(content).hexdigest()[:16]


def load_rows(options: AuditOptions) -> AuditRows:
    """Load one split, look at every image once, and leave out unusable rows.

    Args:
        options: Options of the audit.

    Raises:
        DatasetError: If the dataset or split does not exist, or no row is usable.
        ValueError: If the noise to inject is unknown.
    """
    if options.inject_noise is not None:
        parse_noise(options.inject_noise)  # an unknown name fails before any long work
    parts, split, left_out = load_splits(options)
    rows = parts[split]
    scan = look_at_images(rows, not options.disable_tqdm)
    if scan.problems:
        names = column_values(rows, IMAGE_ID)
        left_out += [f"{names[row]}: {problem}" for row, problem in scan.problems.items()]
        good = np.setdiff1d(np.arange(len(rows)), list(scan.problems))
        if not len(good):
            raise DatasetError(
                f"None of the {len(rows):,} images of {options.dataset_name} is usable: "
                f"{'; '.join(left_out[:3])}."
            )
        rows, scan = rows.select(good), scan.select(good)
    if options.inject_noise is not None:
        rows = inject_noise(rows, options.inject_noise, seed=options.noise_seed)
    validate_pairs(rows, split)
    pairs = PairDataset(rows)
    others = {name: part for name, part in parts.items() if name != split}
    leaks = _leaks(pairs, scan, others, not options.disable_tqdm)
    return AuditRows(pairs, split, scan, left_out, *leaks)


def load_splits(
    options: AuditOptions | ReviewOptions,
) -> tuple[Mapping[str, datasets.Dataset], str, list[str]]:
    """Load a dataset, and look at no image.

    Args:
        options: What to load.

    Returns:
        Rows by the column contract for each split that was loaded, the name of the one that the
        options mean, and a line for each item that was left out of it.

    Raises:
        DatasetError: If the dataset or split does not exist, or it has no usable row.
    """
    name, config_name = options.dataset_name, options.dataset_config_name
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
    return parts, split, left_out


def _thumbnails(dataset: datasets.Dataset, rows: NDArray[np.int64]) -> NDArray[np.float32]:
    """(n, 16, 16, 3), see `thumbnail`."""
    pictures = stored_pictures(dataset)[rows.tolist()][IMAGE]
    return np.stack([thumbnail(open_picture(picture, _SIDE)) for picture in pictures])


def _leaks(
    pairs: PairDataset,
    scan: ImageScan,
    others: Mapping[str, datasets.Dataset],
    progress: bool,
) -> tuple[dict[int, str], list[int]]:
    """Which images and captions other splits have too, see `AuditRows`."""
    texts: set[str] = set()
    images: dict[int, str] = {}
    for split, part in others.items():
        if visual_column(part) != pairs.visual:
            continue
        texts.update(text for captions in column_values(part, CAPTIONS) for text in captions)
        other = look_at_images(part, progress)
        names = column_values(part, IMAGE_ID)
        place_of = {digest: place for place, digest in enumerate(other.digests.tolist())}
        for row, digest in enumerate(scan.digests.tolist()):
            if digest in place_of:
                images.setdefault(row, f"{split}: {names[place_of[digest]]}")
        for group in similar_images(np.concatenate([other.hashes, scan.hashes]), ALIKE_BITS):
            theirs, ours = group[group < len(part)], group[group >= len(part)] - len(part)
            if not len(theirs) or not len(ours):
                continue
            both = _thumbnails(part, theirs), _thumbnails(pairs.dataset, ours)
            first = first_copies(np.concatenate(both))[len(theirs) :]
            for row, place in zip(ours.tolist(), first.tolist(), strict=True):
                if place < len(theirs):
                    images.setdefault(row, f"{split}: {names[theirs[place]]}")
    numbers = text_numbers([*sorted(texts), *pairs.captions()])
    is_leaked = np.isin(numbers[len(texts) :], numbers[: len(texts)])
    return images, np.flatnonzero(is_leaked).tolist()
