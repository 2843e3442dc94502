"""Pictures on disk as a clean split: checked before any long work, then stored byte by byte.

A picture is never encoded anew: its row holds the bytes of the file, and the file's name.
"""

import io
import os
import warnings
from collections.abc import Iterable, Mapping, Sequence
from itertools import compress, islice
from multiprocessing.pool import ThreadPool
from pathlib import Path
from typing import Any

import numpy as np
from datasets.utils import tqdm  # can be switched off by datasets.disable_progress_bars()
from PIL import Image, UnidentifiedImageError

from ..columns import IMAGE, IMAGE_ID, OBJECTS, DatasetError
from .clean_split import CleanSplit, Facts, rows_per_block

_SHOWN = 3
_SAMPLE = 100  # pictures whose mean size stands for all
_THREADS = min(8, os.cpu_count() or 1)  # Pillow decodes outside of Python's lock
_BLOCK = 512


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

    def columns(self, first: int, last: int) -> dict[str, Any]:
        """Returns pictures, ids, objects and the extra columns of some rows."""
        columns: dict[str, Any] = {
            IMAGE: [
                {"bytes": path.read_bytes(), "path": path.name} for path in self.paths[first:last]
            ],
            IMAGE_ID: self.image_ids[first:last],
        }
        if self.facts.objects is not None:
            columns[OBJECTS] = self.facts.objects[first:last]
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
        names = ", ".join(path.name for path in missing[:_SHOWN])
        folders = _listing(dict.fromkeys(str(path.parent) for path in missing))
        raise DatasetError(
            f"{len(missing):,} of {len(paths):,} pictures are missing. {_first(missing)}{names}. "
            f"They were looked for in {folders}. Give the folder that holds them, or complete it."
        )


def image_problems(
    sources: Iterable[Path | bytes], total: int, title: str = "Checking pictures"
) -> list[str | None]:
    """Says of many pictures what is wrong with each, with a progress bar.

    Args:
        sources: Files, or their contents; a few hundred are in memory at once.
        total: Their number.
        title: What the bar says.

    Returns:
        For each picture what `image_problem` says.
    """
    waiting, problems = iter(sources), list[str | None]()
    with (
        warnings.catch_warnings(),
        ThreadPool(_THREADS) as pool,
        tqdm(total=total, desc=title, unit="pictures") as bar,
    ):
        # Pillow warns of what is refused here anyway.
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        while block := list(islice(waiting, _BLOCK)):
            problems += pool.map(image_problem, block, chunksize=16)
            bar.update(len(block))
    return problems


def image_problem(source: Path | bytes) -> str | None:
    """Says what is wrong with a picture, or nothing.

    Its size is judged by the header, before any pixel is decoded. JPEG files are decoded at an
    eighth of their size: all their data is still read, so that a missing end is found.

    Args:
        source: Its file, or the content of the file.
    """
    try:
        with Image.open(io.BytesIO(source) if isinstance(source, bytes) else source) as image:
            limit = Image.MAX_IMAGE_PIXELS
            if limit is not None and image.width * image.height > limit:
                return (
                    f"a decompression bomb of {image.width:,} x {image.height:,} pixels, where "
                    f"PIL.Image.MAX_IMAGE_PIXELS is {limit:,}"
                )
            image.draft(None, (1, 1))
            image.load()
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        return f"a decompression bomb ({error})"
    except UnidentifiedImageError:
        size = len(source) if isinstance(source, bytes) else source.stat().st_size
        return f"no picture that Pillow can read ({size:,} bytes)"
    except Exception as error:  # damaged files make Pillow's readers raise many kinds
        return f"{error or type(error).__name__}"
    return None


def refuse_bad(names: Sequence[str], problems: Sequence[str | None]) -> None:
    """Refuses pictures with problems.

    Args:
        names: What to call each picture.
        problems: What `image_problem` says of each.

    Raises:
        DatasetError: There are any; the message counts them and names the first.
    """
    bad = [f"{n}: {why}" for n, why in zip(names, problems, strict=True) if why is not None]
    if bad:
        raise DatasetError(
            f"{len(bad):,} of {len(names):,} pictures are bad. {_first(bad)}"
            f"{'; '.join(bad[:_SHOWN])}. Get them again, or leave them out with --on_bad_image "
            "skip (in Python on_bad_image='skip')."
        )


def left_out_note(names: Sequence[str], keep: Sequence[bool]) -> str:
    """Says which pictures are left out, for the card.

    Args:
        names: What to call each picture.
        keep: Whether each was kept.
    """
    out = [name for name, good in zip(names, keep, strict=True) if not good]
    return (
        f"{len(out):,} of {len(names):,} pictures do not decode and were left out: {_listing(out)}"
    )


def _first(found: Sequence[object]) -> str:
    return f"The first {_SHOWN}: " if len(found) > _SHOWN else ""


def _listing(names: Iterable[str]) -> str:
    listed = list(names)
    return ", ".join(listed[:_SHOWN]) + (", ..." if len(listed) > _SHOWN else "")
