"""Clean splits of picture files: checks, and storage of their unchanged bytes.

A picture is never re-encoded: its row stores the bytes and the name of the file.
"""

from collections.abc import Iterable, Mapping, Sequence
from itertools import compress, islice
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from ..columns import IMAGE, IMAGE_ID, DatasetError
from ..pictures import first_few, image_problems, left_out_note, listing, reject_bad
from .clean_split import CleanSplit, Facts, rows_per_block

_SAMPLE = 100  # number of pictures to estimate the mean size


class ImageSplit(CleanSplit):
    """A split of picture files.

    Args:
        paths: The file of each picture.
        image_ids: One per picture.
        facts: Captions, objects, labels.
        extra: Additional columns by name, with one entry per picture.

    Attributes:
        paths: The file of each picture.
        image_ids: One per picture.
        extra: Additional columns.
    """

    def __init__(
        self,
        paths: Sequence[Path],
        image_ids: Sequence[str],
        facts: Facts,
        extra: Mapping[str, Sequence[Any]] | None = None,
    ) -> None:
        self.paths = list(paths)
        self.image_ids = list(image_ids)
        self.facts = facts
        self.extra = dict(extra or {})
        sample = [path.stat().st_size for path in self.paths[:_SAMPLE] if path.exists()]
        self.block_rows = rows_per_block(sum(sample) / max(1, len(sample)))

    def __len__(self) -> int:
        return len(self.paths)

    def raw_paths(self) -> Iterable[str]:
        """Returns the paths of the picture files."""
        return map(str, self.paths)

    def columns(self, first: int, last: int) -> dict[str, Any]:
        """Reads pictures, ids and additional columns of some rows."""
        paths = self.paths[first:last]
        columns: dict[str, Any] = {
            IMAGE: pa.StructArray.from_arrays(
                [
                    pa.array([path.read_bytes() for path in paths], type=pa.binary()),
                    pa.array([path.name for path in paths], type=pa.string()),
                ],
                names=["bytes", "path"],
            ),
            IMAGE_ID: self.image_ids[first:last],
        }
        return columns | {name: values[first:last] for name, values in self.extra.items()}

    def keep_rows(self, keep: Sequence[bool]) -> None:
        """Drops rows.

        Args:
            keep: Whether to keep each row.
        """
        self.paths = list(compress(self.paths, keep))
        self.image_ids = list(compress(self.image_ids, keep))
        self.extra = {name: list(compress(values, keep)) for name, values in self.extra.items()}
        for name in ("captions", "objects", "tags"):
            values = getattr(self.facts, name)
            if values is not None:
                setattr(self.facts, name, list(compress(values, keep)))
        if self.facts.labels is not None:
            self.facts.labels = self.facts.labels[np.asarray(keep, dtype=bool)]


def check_splits(splits: Mapping[str, ImageSplit], on_bad_image: str = "error") -> None:
    """Checks the pictures of all splits, and drops bad ones if requested.

    Args:
        splits: The splits by name.
        on_bad_image: See `check_images`.

    Raises:
        DatasetError: See `check_images`; also if a split has no good picture.
    """
    keep = iter(
        check_images(
            [path for split in splits.values() for path in split.paths],
            on_bad_image,
            [image_id for split in splits.values() for image_id in split.image_ids],
        )
    )
    for name, split in splits.items():
        kept = list(islice(keep, len(split)))
        if not any(kept):
            raise DatasetError(f"None of the {len(kept):,} pictures of split '{name}' decodes.")
        if not all(kept):
            split.facts.notes.append(left_out_note([path.name for path in split.paths], kept))
            split.keep_rows(kept)


def check_images(
    paths: Sequence[Path], on_bad_image: str = "error", ids: Sequence[str] | None = None
) -> list[bool]:
    """Checks that every picture exists, decodes completely and is not a decompression bomb.

    Args:
        paths: The files.
        on_bad_image: "error" to reject bad files, "skip" to mark them. A missing file is always an
            error, because the folder is wrong or a copy is incomplete.
        ids: The ids of the pictures, for the message; by default, the names of the files.

    Returns:
        Whether to keep each file.

    Raises:
        DatasetError: A file is missing, or a file is bad and `on_bad_image` is "error".
    """
    check_present(paths)
    problems = image_problems(paths, len(paths))
    if on_bad_image == "error":
        names = [path.stem for path in paths] if ids is None else ids
        reject_bad([f"{n} ({path})" for n, path in zip(names, paths, strict=True)], problems)
    return [problem is None for problem in problems]


def check_present(paths: Sequence[Path]) -> None:
    """Checks that all files exist, without opening them.

    Raises:
        DatasetError: Files are missing; the message counts them and names the folders.
    """
    missing = [path for path in paths if not path.is_file()]
    if missing:
        names = first_few([path.name for path in missing], ", ")
        folders = listing(dict.fromkeys(str(path.parent) for path in missing))
        raise DatasetError(
            f"{len(missing):,} of {len(paths):,} pictures are missing. {names}. "
            f"Searched: {folders}. Give the folder that contains them, or add the missing files."
        )
