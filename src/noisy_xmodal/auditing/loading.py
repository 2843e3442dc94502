"""The usable rows of a dataset for an audit, and the items that were left out."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain

import datasets
import numpy as np
from numpy.typing import NDArray

from ..data import DatasetError, inject_noise, load_pairs
from ..data.any_dataset import config_names
from ..data.builders import embedded_pairs
from ..data.columns import CAPTIONS, column_values, validate_pairs, visual_column
from ..noise import parse_noise
from .image_scan import ImageScan, name_problems, scan_images


@dataclass(frozen=True, eq=False)
class AuditRows:
    """The usable rows of a dataset.

    Attributes:
        dataset: Rows by the column contract.
        split: Name of their split.
        scan: The scan of their images.
        captions: All captions by pair id.
        first_pairs: Pair id of each row's first caption, and the number of pairs, (n_rows + 1,).
        left_out: A line for each item that was left out.
    """

    dataset: datasets.Dataset
    split: str
    scan: ImageScan
    captions: list[str]
    first_pairs: NDArray[np.int64]
    left_out: Sequence[str]

    @property
    def visual(self) -> str:
        """The column of the images."""
        return visual_column(self.dataset, self.split)


def load_rows(
    name: str,
    config_name: str | None = None,
    split: str | None = None,
    columns: tuple[str | None, str | None, str | None] = (None, None, None),
    noise: str | None = None,
    noise_seed: int = 0,
    progress: bool = False,
) -> AuditRows:
    """Load one split, check every image, and leave out unusable rows.

    Args:
        name: As for `load_pairs`; "openmoji" for the embedded dataset.
        config_name: Its configuration.
        split: The split; by default "train" or the only one.
        columns: Names of the columns of image, captions and image name; None to detect one.
        noise: Noise to inject into the pairs, such as cmp_20.
        noise_seed: Its seed.
        progress: Whether to show progress bars.

    Raises:
        DatasetError: If the dataset or split does not exist, or no row is usable.
        ValueError: If the noise is unknown.
    """
    if noise is not None:
        parse_noise(noise)  # an unknown name fails before any long work
    notes: dict[str, list[str]] = {}
    options = dict(zip(("image_column", "caption_column", "id_column"), columns, strict=True))
    parts = embedded_pairs(name, config_name, options)
    if parts is None:
        configs = config_names(name)
        if config_name is None and len(configs) > 1:
            raise DatasetError(
                f"{name} has the configs {', '.join(configs)}: choose one with "
                "--dataset_config_name."
            )
        parts = load_pairs(name, config_name, split=split, left_out=notes, **options)
    splits = list(notes or parts)
    chosen = split or "train"
    if chosen not in splits:
        if len(splits) != 1:
            raise DatasetError(
                f"{name} has the splits {', '.join(splits)}: choose one with --split."
            )
        chosen = splits[0]
    left_out = notes.get(chosen, [])
    if chosen not in parts:
        raise DatasetError(f"{name} has no usable row: {'; '.join(left_out[:3])}.")
    rows = parts[chosen]
    scan = scan_images(rows, progress)
    left_out += name_problems(rows, scan.problems)
    if scan.problems:
        good = np.array([row for row in range(len(rows)) if row not in scan.problems], np.int64)
        if not len(good):
            raise DatasetError(
                f"None of the {len(rows):,} images of {name} is usable: {'; '.join(left_out[:3])}."
            )
        rows = rows.select(good)
        hashes = scan.hashes[good] if len(scan.hashes) else scan.hashes
        scan = ImageScan(scan.problems, scan.digests[good], hashes)
    if noise is not None:
        rows = inject_noise(rows, noise, seed=noise_seed)
    validate_pairs(rows, chosen)
    lists = column_values(rows, CAPTIONS)
    first_pairs = np.concatenate([[0], np.cumsum([len(texts) for texts in lists])])
    captions = list(chain.from_iterable(lists))
    return AuditRows(rows, chosen, scan, captions, first_pairs, left_out)
