"""Reading of region features in the "precomp" layout of SCAN and VSE++, in blocks.

| file               | content                                                              |
|--------------------|----------------------------------------------------------------------|
| {split}_ims.npy    | float16 or float32, (rows, regions, dim); (rows, dim) is one region  |
| {split}_caps.txt   | one caption per line, k consecutive lines per image                  |
| {split}_ids.txt    | optional: the image's id, one per line                               |
| {split}_labels.txt | optional: class numbers separated by spaces, one line per image      |

Splits are train, dev, test, and testall: MS-COCO's 5,000 test images, whose first 1,000 are test.
If both exist, testall is the split "test" and the shorter file is "test_1k".

Published dev and test files often store one row per caption, so the features of an image repeat k
times. Repeats are detected by content, and one row per image is kept.
"""

from pathlib import Path
from typing import Any

import numpy as np

from ..columns import IMAGE_ID, REGIONS, DatasetError
from ..labels import number_classes
from ..regions import region_column
from .array_file import ArrayFile, open_array
from .clean_split import CleanSplit, Facts
from .raw_files import check_ids, read_lines

SPLIT_FILES = {"train": "train", "validation": "dev", "test": "testall", "test_1k": "test"}

_MAX_CAPTIONS = 100  # per image; longer runs of equal rows are not repeats of an image


class PrecompSplit(CleanSplit):
    """One split of the layout.

    Args:
        features: The feature file.
        copies: Rows that the file stores per image.
        image_ids: One per image.
        facts: Captions, and objects or labels.

    Attributes:
        features: The feature file.
        copies: Rows that the file stores per image.
        image_ids: One per image.
    """

    def __init__(
        self, features: ArrayFile, copies: int, image_ids: list[str], facts: Facts
    ) -> None:
        self.features = features
        self.copies = copies
        self.image_ids = image_ids
        self.facts = facts
        self.block_rows = max(1, features.block_rows // copies)

    def __len__(self) -> int:
        return len(self.image_ids)

    @property
    def dim(self) -> int:
        """Length of a region's vector."""
        return self.features.shape[-1]

    def details(self) -> list[str]:
        """Returns the shape and type of the features."""
        shape = " x ".join(map(str, self.features.shape[1:]))
        return [f"features of {shape} {self.features.dtype}"]

    def columns(self, first: int, last: int) -> dict[str, Any]:
        """Returns regions and ids of some images."""
        rows = self.features.read(first * self.copies, last * self.copies)[:: self.copies]
        return {REGIONS: region_column(rows), IMAGE_ID: self.image_ids[first:last]}


def open_precomp_splits(data_dir: str | Path) -> dict[str, PrecompSplit]:
    """Opens the splits in `data_dir`; features are read only to detect repeated rows.

    Returns:
        The splits by their name in `datasets`: dev is "validation".

    Raises:
        DatasetError: A file is missing or invalid; the message names it.
    """
    folder = Path(data_dir)
    files = {
        name: file
        for name, file in SPLIT_FILES.items()
        if any((folder / f"{file}_{end}").exists() for end in ("ims.npy", "caps.txt"))
    }
    if "test" not in files and "test_1k" in files:
        files["test"] = files.pop("test_1k")
    splits = {name: open_precomp_split(folder, file) for name, file in files.items()}
    if not splits:
        raise DatasetError(
            f"{folder} has no split: expected train, dev or test as {{split}}_ims.npy with "
            "{split}_caps.txt."
        )
    for aspect, values in (
        ("dimension", {s.features.path.name: s.dim for s in splits.values()}),
        ("type", {s.features.path.name: str(s.features.dtype) for s in splits.values()}),
    ):
        if len(set(values.values())) > 1:
            raise DatasetError(f"The splits of {folder} differ in feature {aspect}: {values}.")
    _share_classes(folder, splits)
    return splits


def open_precomp_split(folder: Path, file_name: str) -> PrecompSplit:
    """Opens one split by its file name, such as "dev".

    Raises:
        DatasetError: A file is missing or invalid.
    """
    path, captions_path = folder / f"{file_name}_ims.npy", folder / f"{file_name}_caps.txt"
    for file, other in ((path, captions_path), (captions_path, path)):
        if not file.exists():
            raise DatasetError(f"{file} is missing, but {other.name} exists.")
    features = open_array(path, dimensions=(2, 3))
    lines = read_lines(captions_path)
    copies = _copies(features) if len(features) == len(lines) else 1
    n_images = len(features) // copies
    if len(lines) == 0 or len(lines) % n_images:
        raise DatasetError(
            f"{captions_path} has {len(lines)} captions for the {n_images} images of {path.name}: "
            "the number of captions per image is not an integer. The files do not match."
        )
    per_image = len(lines) // n_images
    facts = Facts(captions=[lines[i : i + per_image] for i in range(0, len(lines), per_image)])
    ids = _image_ids(folder / f"{file_name}_ids.txt", n_images, len(lines), facts)
    if copies > 1:
        facts.notes.append(f"{path.name} repeats every row {copies} times; one was kept")
    labels_path = folder / f"{file_name}_labels.txt"
    if labels_path.exists():
        labels = _per_image(labels_path, read_lines(labels_path), n_images, copies)
        facts.objects = _class_numbers(labels_path, labels)
    return PrecompSplit(
        features, copies, ids or [f"{file_name}-{i}" for i in range(n_images)], facts
    )


def _copies(features: ArrayFile) -> int:
    """Number of consecutive rows per image, if it is the same for all images, else 1.

    If every image is repeated k times, rows change only at multiples of k, even if two neighbouring
    images are equal.
    """
    step = len(features)  # greatest common divisor of the rows with changes, and of the length
    last = features.read(0, 1)
    changes = False
    for first in range(0, len(features), features.block_rows):
        block = features.read(first, min(first + features.block_rows, len(features)))
        previous = np.concatenate([last, block[:-1]])  # (n_rows, ...)
        rows = first + np.flatnonzero((block != previous).reshape(len(block), -1).any(axis=1))
        changes = changes or bool(len(rows))
        step = int(np.gcd.reduce(rows, initial=step))
        if step == 1:
            return 1
        last = block[-1:]
    return step if changes and step <= _MAX_CAPTIONS else 1


def _per_image(path: Path, lines: list[str], n_images: int, copies: int) -> list[str]:
    """Checks a file with one line per image, or per stored row."""
    if len(lines) == n_images:
        return lines
    if len(lines) == n_images * copies:
        return lines[::copies]
    raise DatasetError(f"{path} has {len(lines)} lines for {n_images} images: give one per image.")


def _image_ids(path: Path, n_images: int, n_captions: int, facts: Facts) -> list[str] | None:
    """Reads the optional file of ids, which may have a line per caption."""
    if not path.exists():
        return None
    lines = read_lines(path)
    if len(lines) == n_captions != n_images:
        per_image = n_captions // n_images
        if any(lines[i] != lines[i - i % per_image] for i in range(n_captions)):
            facts.notes.append(f"{path.name} names captions, not images, and was not used")
            return None
        lines = lines[::per_image]
    ids = _per_image(path, lines, n_images, 1)
    check_ids(ids, str(path))
    return ids


def _class_numbers(path: Path, lines: list[str]) -> list[list[int]]:
    labels = []
    for number, line in enumerate(lines, start=1):
        words = line.split()
        if not all(word.isascii() and word.isdigit() and len(word) < 19 for word in words):
            raise DatasetError(
                f"{path}, image {number}: '{line[:100]}' is not a list of non-negative class "
                "numbers, separated by spaces. Number the classes; every image needs one."
            )
        labels.append([int(word) for word in words])
    return labels


def _share_classes(folder: Path, splits: dict[str, PrecompSplit]) -> None:
    """Converts class numbers to labels, if every image of every split has exactly one."""
    missing = [name for name, split in splits.items() if split.facts.objects is None]
    if missing and len(missing) < len(splits):
        raise DatasetError(
            f"{folder} has a _labels.txt for some splits only: {missing} have none. Give one for "
            "every split, or for none."
        )
    objects = {name: [list(row) for row in s.facts.objects or ()] for name, s in splits.items()}
    if missing or any(len(row) != 1 for rows in objects.values() for row in rows):
        return
    numbers = {name: [row[0] for row in rows] for name, rows in objects.items()}
    labels, names = number_classes(numbers, f"{folder} (_labels.txt)")
    for name, split in splits.items():
        split.facts.labels, split.facts.class_names = labels[name], names
        split.facts.objects = None
