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
from ..data.columns import IMAGE_ID, column_values, validate_pairs
from ..data.readers import embedded_pairs
from ..modules.pixels import PIXELS_VERSION
from ..noise import parse_noise
from .duplicates import ALIKE_BITS, first_copies, similar_images
from .image_scan import ImageScan, look_at_images, thumbnails_of
from .other_splits import OtherSplits, join_splits, look_at_split


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
            group[alike] = group[alike[0]]  # it has all images of its digests
        return group

    @cached_property
    def original(self) -> NDArray[np.int64]:
        """The first image that each image is a copy of, (n_images,); its own row if of none."""
        _, first, number = np.unique(self.scan.digests, return_index=True, return_inverse=True)
        original = first[number].astype(np.int64)
        for group in self.alike:
            rows = np.unique(original[group])
            original[rows] = rows[first_copies(thumbnails_of(self.pairs.dataset, rows))]
        return original[original]

    def fingerprint(self) -> str:
        """A hash of the images, their order and the conversion to pixels."""
        content = f"{PIXELS_VERSION} ".encode() + self.scan.digests.tobytes()
        return hashlib.sha256(content).hexdigest()[:16]


def load_rows(options: AuditOptions, others: OtherSplits | None = None) -> AuditRows:
    """Load one split, look at every image once, and leave out unusable rows.

    Args:
        options: Options of the audit.
        others: The other splits, if they are not in the dataset of the options.

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
    if others is None:
        progress = not options.disable_tqdm
        names = [name for name in parts if name != split]
        others = join_splits([look_at_split(parts[name], name, progress) for name in names])
    leaked = others.leaked_images(rows, scan), others.leaked_pairs(pairs.captions())
    return AuditRows(pairs, split, scan, left_out, *leaked)


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
