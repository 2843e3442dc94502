"""Reads the field's region-feature layout ("precomp", after SCAN and VSE++), memory-mapped.

| file               | content                                                              |
|--------------------|----------------------------------------------------------------------|
| {split}_ims.npy    | float16 or float32, (rows, regions, dim); (rows, dim) is one region  |
| {split}_caps.txt   | one caption a line, k consecutive lines per image                    |
| {split}_ids.txt    | optional: the image's id, one a line                                 |
| {split}_labels.txt | optional: class numbers, one line an image, several split by spaces  |

Published dev and test files often store one row per caption: the features of an image are repeated
k times. That is found by content, and one row per image is kept.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from datasets.utils import tqdm  # can be switched off by datasets.disable_progress_bars()

from ..columns import IMAGE_ID, LABELS, REGIONS, DatasetError
from .base import CleanSplit

SPLIT_FILES = {"train": "train", "validation": "dev", "test": "test"}

_BLOCK_BYTES = 64 * 2**20


@dataclass
class PrecompSplit(CleanSplit):
    """One split of the layout.

    Attributes:
        path: The feature file.
        features: (rows, regions, dim), memory-mapped.
        copies: Rows that the file stores per image.
        captions: The captions of each image.
        image_ids: One per image.
        labels: Class numbers of each image, or None.
    """

    path: Path
    features: np.ndarray
    copies: int
    captions: list[list[str]]
    image_ids: list[str]
    labels: list[list[int]] | None = None

    def row(self, index: int) -> dict[str, Any]:
        """Returns regions, id and labels of one image."""
        columns: dict[str, Any] = {
            REGIONS: list(self.features[index * self.copies]),
            IMAGE_ID: self.image_ids[index],
        }
        if self.labels is not None:
            columns[LABELS] = self.labels[index]
        return columns

    def check_finite(self) -> None:
        """Scans the features in blocks.

        Raises:
            DatasetError: A value is NaN or infinite.
        """
        step = block_rows(self.features)
        blocks = range(0, len(self.features), step)
        for first in tqdm(blocks, desc=f"Checking {self.path.name}"):
            finite = np.isfinite(self.features[first : first + step]).all(axis=(1, 2))
            if not finite.all():
                raise DatasetError(
                    f"{self.path}, row {first + int(np.argmin(finite))}: the features hold NaN or "
                    "infinite values. Extract that image again, or take it out of all files."
                )


def open_precomp_splits(data_dir: str | Path) -> dict[str, PrecompSplit]:
    """Opens the splits that `data_dir` has; no features are read but to find repeated rows.

    Returns:
        The splits by their name in `datasets`: dev is "validation".

    Raises:
        DatasetError: A file is missing or breaks the layout; the message names it.
    """
    folder = Path(data_dir)
    splits = {
        name: open_precomp_split(folder, file_name)
        for name, file_name in SPLIT_FILES.items()
        if (folder / f"{file_name}_ims.npy").exists() or (folder / f"{file_name}_caps.txt").exists()
    }
    if not splits:
        raise DatasetError(
            f"{folder} holds no split: expected train, dev or test as {{split}}_ims.npy with "
            "{split}_caps.txt."
        )
    shapes = {split.path.name: split.features.shape[2] for split in splits.values()}
    if len(set(shapes.values())) > 1:
        raise DatasetError(f"The splits of {folder} differ in feature dimension: {shapes}.")
    dtypes = {split.path.name: str(split.features.dtype) for split in splits.values()}
    if len(set(dtypes.values())) > 1:
        raise DatasetError(f"The splits of {folder} differ in feature type: {dtypes}.")
    if len({split.labels is None for split in splits.values()}) > 1:
        without = [split.path.parent for split in splits.values() if split.labels is None]
        raise DatasetError(
            f"{without[0]} has a _labels.txt for some splits only: "
            f"{[name for name, split in splits.items() if split.labels is None]} have none. "
            "Give one for every split, or for none."
        )
    return splits


def open_precomp_split(folder: Path, file_name: str) -> PrecompSplit:
    """Opens one split, by the name that its files have ("dev").

    Raises:
        DatasetError: A file is missing or breaks the layout.
    """
    path, captions_path = folder / f"{file_name}_ims.npy", folder / f"{file_name}_caps.txt"
    for needed, other in ((path, captions_path), (captions_path, path)):
        if not needed.exists():
            raise DatasetError(f"{needed} is missing, though {other.name} is there.")
    features = _open_features(path)
    lines = _read_lines(captions_path)
    copies = _copies(features) if len(features) == len(lines) else 1
    n_images = len(features) // copies
    if len(lines) == 0 or len(lines) % n_images:
        raise DatasetError(
            f"{captions_path} has {len(lines)} captions for the {n_images} images of {path.name}: "
            "not a whole number of captions per image. The files do not belong together."
        )
    per_image = len(lines) // n_images
    ids = _per_image(folder / f"{file_name}_ids.txt", n_images, copies)
    labels_path = folder / f"{file_name}_labels.txt"
    labels = _per_image(labels_path, n_images, copies)
    return PrecompSplit(
        path=path,
        features=features,
        copies=copies,
        captions=[lines[i : i + per_image] for i in range(0, len(lines), per_image)],
        image_ids=ids or [f"{file_name}-{i}" for i in range(n_images)],
        labels=None if labels is None else _class_numbers(labels_path, labels),
    )


def block_rows(features: np.ndarray) -> int:
    """Number of rows to read at once."""
    return max(1, _BLOCK_BYTES // max(1, features[:1].nbytes))


def _open_features(path: Path) -> np.ndarray:
    try:
        features = np.load(path, mmap_mode="r", allow_pickle=False)
    except (ValueError, EOFError) as error:
        raise DatasetError(
            f"{path} is not a plain array ({error}). Files of Python objects are never loaded, as "
            "they can run code: save a float16 or float32 array with np.save(..., "
            "allow_pickle=False)."
        ) from error
    if features.ndim not in (2, 3) or 0 in features.shape:
        raise DatasetError(
            f"{path} has shape {features.shape}: expected (rows, regions, dim) or (rows, dim)."
        )
    if features.dtype not in (np.float16, np.float32):
        raise DatasetError(
            f"{path} is {features.dtype}: expected float16 or float32. Convert it with "
            "np.save(path, array.astype(np.float32))."
        )
    return features if features.ndim == 3 else features[:, None, :]


def _copies(features: np.ndarray) -> int:
    """How many consecutive rows hold the same image: the same number for all images, else 1."""
    n_rows = len(features)
    run = 1
    while run < n_rows and np.array_equal(features[run], features[0]):
        run += 1
    if run == 1 or run == n_rows or n_rows % run:
        return 1
    step = max(run, block_rows(features) // run * run)
    for first in range(0, n_rows, step):
        block = features[first : first + step]
        groups = block.reshape(-1, run, *block.shape[1:])
        if not (groups == groups[:, :1]).all():
            return 1
    return run


def _read_lines(path: Path) -> list[str]:
    """Reads non-empty lines; only the end of the file may be an empty one."""
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise DatasetError(f"{path} is not UTF-8 ({error}). Convert it first.") from error
    # Not str.splitlines(), which would also break at characters that captions may hold.
    lines = [line.strip() for line in text.removesuffix("\n").split("\n")] if text else []
    for number, line in enumerate(lines, start=1):
        if not line:
            raise DatasetError(
                f"{path}, line {number}: the line is empty. Write it, or remove it together with "
                "what it belongs to."
            )
    return lines


def _per_image(path: Path, n_images: int, copies: int) -> list[str] | None:
    """Reads an optional file with one line per image, or per stored row."""
    if not path.exists():
        return None
    lines = _read_lines(path)
    if len(lines) == n_images:
        return lines
    if len(lines) == n_images * copies:
        return lines[::copies]
    raise DatasetError(f"{path} has {len(lines)} lines for {n_images} images: one each is needed.")


def _class_numbers(path: Path, lines: list[str]) -> list[list[int]]:
    labels = []
    for number, line in enumerate(lines, start=1):
        try:
            labels.append([int(word) for word in line.split()])
        except ValueError:
            raise DatasetError(
                f"{path}, image {number}: '{line}' is not class numbers split by spaces. Number "
                "the classes."
            ) from None
    return labels
