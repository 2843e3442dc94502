"""Pictures on disk as a clean split: checked before any long work, then stored byte by byte.

A picture is never encoded anew: its row holds the bytes of the file, and the file's name.
"""

from collections.abc import Iterable, Mapping, Sequence
from itertools import compress, islice
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from ..columns import IMAGE, IMAGE_ID, DatasetError
from ..pictures import first_few, image_problems, left_out_note, listing, refuse_bad
from .clean_split import CleanSplit, Facts, rows_per_block

_SAMPLE = 100  # pictures whose mean size stands for all


class ImageSplit(CleanSplit):
    """A split whose pictures are files.

    Args:
        paths: The file of each picture.
        image_ids: One per picture.
        facts: Captions, objects, labels.
        extra: More columns, by name, with one entry a picture.

    Attributes:
        paths: The file of each picture.
        image_ids: One per picture.
        extra: More columns.
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
        """Names the picture files."""
        return map(str, self.paths)

    def columns(self, first: int, last: int) -> dict[str, Any]:
        """Returns pictures, ids and the extra columns of some rows."""
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
    """Checks the pictures of all splits, and drops and counts bad ones where asked.

    Args:
        splits: The splits by name.
        on_bad_image: As in `check_images`.

    Raises:
        DatasetError: As in `check_images`, or a split has no good picture.
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
    """Looks whether every picture exists and decodes to its end, and none is a decompression bomb.

    Args:
        paths: The files.
        on_bad_image: "error" to refuse bad files, "skip" to have them marked. A missing file is
            always an error: the folder is wrong, or a copy stopped early.
        ids: The ids of the pictures, for the message; the names of the files by default.

    Returns:
        For each file, whether to keep it.

    Raises:
        DatasetError: A file is missing; or, under "error", a file is bad.
    """
    check_present(paths)
    problems = image_problems(paths, len(paths))
    if on_bad_image == "error":
        names = [path.stem for path in paths] if ids is None else ids
        refuse_bad([f"{n} ({path})" for n, path in zip(names, paths, strict=True)], problems)
    return [problem is None for problem in problems]


def check_present(paths: Sequence[Path]) -> None:
    """Refuses missing files, without opening any.

    Raises:
        DatasetError: Files are missing; the message counts them and says where they were sought.
    """
    missing = [path for path in paths if not path.is_file()]
    if missing:
        names = first_few([path.name for path in missing], ", ")
        folders = listing(dict.fromkeys(str(path.parent) for path in missing))
        raise DatasetError(
            f"{len(missing):,} of {len(paths):,} pictures are missing. {names}. "
            f"Searched: {folders}. Give the folder that contains them, or add the missing files."
        )
