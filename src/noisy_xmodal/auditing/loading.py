"""The rows of an audit: whatever can be used of a dataset, and what was left out."""

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
from .pictures import SeenImages, look_at_images, name_problems


@dataclass(frozen=True, eq=False)
class LoadedRows:
    """Rows that can be judged.

    Attributes:
        dataset: By the column contract.
        split: Name of their split.
        seen: What was seen of the images.
        captions: All captions by pair id.
        first_pairs: Pair id of each row's first caption, and the number of pairs, (n_rows + 1,).
        left_out: What was left out, a line each.
    """

    dataset: datasets.Dataset
    split: str
    seen: SeenImages
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
) -> LoadedRows:
    """Load one split, look at every image, and leave out what cannot be used.

    Args:
        name: As for `load_pairs`; "openmoji" for the embedded dataset.
        config_name: Its configuration.
        split: The split; "train" or the only one where it is left out.
        columns: Names of the columns of image, captions and image name, where they are not found.
        noise: Noise to put into the pairs, such as cmp_20.
        noise_seed: Its seed.
        progress: Whether to show progress bars.

    Raises:
        DatasetError: There is no such dataset or split, or nothing in it can be used.
        ValueError: There is no such noise.
    """
    if noise is not None:
        parse_noise(noise)  # a name that is none is refused before any long work
    notes: dict[str, list[str]] = {}
    options = dict(zip(("image_column", "caption_column", "id_column"), columns, strict=True))
    parts = embedded_pairs(name, config_name, options)
    if parts is None:
        known = config_names(name)
        if config_name is None and len(known) > 1:
            raise DatasetError(
                f"{name} has the configs {', '.join(known)}: choose one with --dataset_config_name."
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
        raise DatasetError(f"Nothing of {name} can be used: {'; '.join(left_out[:3])}.")
    rows = parts[chosen]
    seen = look_at_images(rows, progress)
    left_out += name_problems(rows, seen.problems)
    if seen.problems:
        good = np.array([row for row in range(len(rows)) if row not in seen.problems], np.int64)
        if not len(good):
            raise DatasetError(
                f"None of the {len(rows):,} images of {name} can be used: "
                f"{'; '.join(left_out[:3])}."
            )
        rows = rows.select(good)
        hashes = seen.hashes[good] if len(seen.hashes) else seen.hashes
        seen = SeenImages(seen.problems, seen.digests[good], hashes)
    if noise is not None:
        rows = inject_noise(rows, noise, seed=noise_seed)
    validate_pairs(rows, chosen)
    lists = column_values(rows, CAPTIONS)
    first_pairs = np.concatenate([[0], np.cumsum([len(texts) for texts in lists])])
    captions = list(chain.from_iterable(lists))
    return LoadedRows(rows, chosen, seen, captions, first_pairs, left_out)
