"""Datasets of region features in the "precomp" layout of SCAN and VSE++.

    Precomp(config_name="cmp_40", data_dir="f30k_precomp").download_and_prepare()

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

Such features were published for Flickr30K and MS-COCO with SCAN (Lee et al., ECCV 2018; 36 regions
of a Faster R-CNN, bottom-up attention), and for CC152K with NCR (Huang et al., NeurIPS 2021). The
terms of the pictures and captions apply to them.
"""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from ..clean_split import CleanSplit, FeatureColumn, rows_per_block
from ..columns import CAPTIONS, IMAGE_ID, OBJECTS, REGIONS, DatasetError
from ..labels import number_classes
from .array_file import ArrayFile, open_array
from .base import NoisyPairsBuilder
from .raw_files import check_ids, read_lines

SPLIT_FILES = {"train": "train", "validation": "dev", "test": "testall", "test_1k": "test"}

_MAX_CAPTIONS = 100  # per image; longer runs of equal rows are not repeats of an image


class Precomp(NoisyPairsBuilder):
    """Any region features in this layout; requires `data_dir`."""

    CARD = "precomp.md"
    FACTS = ("captions", "objects", "labels")

    def has_objects(self) -> bool:
        """Whether there is a file of labels."""
        return any(self.data_folder.glob("*_labels.txt"))

    def read(self) -> dict[str, CleanSplit]:
        """Opens the splits and checks their features."""
        splits = read_precomp(self.data_folder)
        check_features(splits)
        return splits


def check_features(splits: Mapping[str, CleanSplit]) -> None:
    """Checks that region features agree in dimension and type, and are finite.

    Raises:
        DatasetError: They are not; the message names the files.
    """
    columns = [split.columns[REGIONS] for split in splits.values()]
    files = [column.values for column in columns]
    kinds = {file.path.name: f"{file.shape[-1]} {file.dtype}" for file in files}
    if len(set(kinds.values())) > 1:
        raise DatasetError(
            f"The splits of {files[0].path.parent} differ in feature dimension or type: {kinds}. "
            "Extract or convert all in the same way."
        )
    for column in columns:
        column.check_finite(str(column.values.path))


def read_precomp(folder: Path) -> dict[str, CleanSplit]:
    """Opens the splits of a folder; features are read only to detect repeated rows.

    Returns:
        The splits by their name in `datasets`: dev is "validation".

    Raises:
        DatasetError: A file is missing or invalid; the message names it.
    """
    files = {
        name: file
        for name, file in SPLIT_FILES.items()
        if any((folder / f"{file}_{end}").exists() for end in ("ims.npy", "caps.txt"))
    }
    if "test" not in files and "test_1k" in files:
        files["test"] = files.pop("test_1k")
    splits = {name: _read_split(folder, file) for name, file in files.items()}
    if not splits:
        raise DatasetError(
            f"{folder} has no split: expected train, dev or test as {{split}}_ims.npy with "
            "{split}_caps.txt."
        )
    _number_labels(folder, splits)
    return splits


def _read_split(folder: Path, file_name: str) -> CleanSplit:
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
    notes: list[str] = []
    ids = _image_ids(folder / f"{file_name}_ids.txt", n_images, len(lines), notes)
    if copies > 1:
        notes.append(f"{path.name} repeats every row {copies} times; one was kept")
    columns = {
        REGIONS: FeatureColumn(features, is_regions=True, copies=copies),
        IMAGE_ID: ids or [f"{file_name}-{i}" for i in range(n_images)],
        CAPTIONS: [lines[i : i + per_image] for i in range(0, len(lines), per_image)],
    }
    labels_path = folder / f"{file_name}_labels.txt"
    if labels_path.exists():
        columns[OBJECTS] = _class_numbers(labels_path, n_images, copies)
    return CleanSplit(columns, notes=notes)


def _copies(features: ArrayFile) -> int:
    """Number of consecutive rows per image, if it is the same for all images, else 1.

    If every image is repeated k times, rows change only at multiples of k, even if two neighbouring
    images are equal.
    """
    step = len(features)  # greatest common divisor of the rows with changes, and of the length
    block_rows = rows_per_block(FeatureColumn(features).row_bytes)
    last, changes = features[:1], False
    for first in range(0, len(features), block_rows):
        block = features[first : first + block_rows]
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


def _image_ids(path: Path, n_images: int, n_captions: int, notes: list[str]) -> list[str] | None:
    """Reads the optional file of ids, which may have a line per caption."""
    if not path.exists():
        return None
    lines = read_lines(path)
    if len(lines) == n_captions != n_images:
        per_image = n_captions // n_images
        if any(lines[i] != lines[i - i % per_image] for i in range(n_captions)):
            notes.append(f"{path.name} names captions, not images, and was not used")
            return None
        lines = lines[::per_image]
    ids = _per_image(path, lines, n_images, 1)
    check_ids(ids, str(path))
    return ids


def _class_numbers(path: Path, n_images: int, copies: int) -> list[list[int]]:
    labels = []
    for number, line in enumerate(_per_image(path, read_lines(path), n_images, copies), start=1):
        words = line.split()
        if not all(word.isascii() and word.isdigit() and len(word) < 19 for word in words):
            raise DatasetError(
                f"{path}, image {number}: '{line[:100]}' is not a list of non-negative class "
                "numbers, separated by spaces. Number the classes; every image needs one."
            )
        labels.append([int(word) for word in words])
    return labels


def _number_labels(folder: Path, splits: dict[str, CleanSplit]) -> None:
    """Converts objects to labels, if every image of every split has exactly one."""
    missing = [name for name, split in splits.items() if OBJECTS not in split.columns]
    if missing and len(missing) < len(splits):
        raise DatasetError(
            f"{folder} has a _labels.txt for some splits only: {missing} have none. Give one for "
            "every split, or for none."
        )
    objects = {name: split.columns.get(OBJECTS, []) for name, split in splits.items()}
    if missing or any(len(row) != 1 for rows in objects.values() for row in rows):
        return
    numbers = {name: [row[0] for row in rows] for name, rows in objects.items()}
    labels, names = number_classes(numbers, f"{folder} (_labels.txt)")
    for name, split in splits.items():
        split.labels, split.class_names = labels[name], names
        del split.columns[OBJECTS]
