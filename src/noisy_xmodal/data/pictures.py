"""The column of pictures, and whether they decode: asked of each before any long work."""

import io
import os
import warnings
from collections.abc import Iterable, Mapping, Sequence
from itertools import islice
from multiprocessing.pool import ThreadPool
from pathlib import Path
from typing import Any

import datasets
from datasets.utils import tqdm  # can be switched off by datasets.disable_progress_bars()
from PIL import Image, UnidentifiedImageError

from ..modules.pixels import on_white
from .columns import IMAGE, IMAGE_ID, DatasetError, column_values

SHOWN = 3

_THREADS = min(8, os.cpu_count() or 1)  # Pillow decodes outside of Python's lock
_BLOCK = 512


def stored_pictures(dataset: datasets.Dataset) -> datasets.Dataset:
    """The column of pictures alone, not decoded, for `open_picture`.

    Args:
        dataset: Rows by the column contract.
    """
    rows = dataset.select_columns([IMAGE]).with_format(None)
    return rows.cast_column(IMAGE, datasets.Image(decode=False))


def picture_source(stored: Mapping[str, Any]) -> bytes | Path:
    """The content of a picture's file, or where the file is.

    Args:
        stored: `bytes` and `path`, as in a row of `stored_pictures`.
    """
    return stored["bytes"] if stored["bytes"] is not None else Path(stored["path"])


def open_picture(stored: dict[str, Any]) -> Image.Image:
    """Reads a picture as `on_white` makes it.

    `datasets` would convert it to the mode of its column, if that has one, and forget the bit
    depth that a TIFF file names.

    Args:
        stored: `bytes` and `path`, as in a row of `stored_pictures`.
    """
    if stored["bytes"] is None and "://" in stored["path"]:
        return on_white(datasets.Image().decode_example(stored))  # which fetches it
    source = picture_source(stored)
    with Image.open(io.BytesIO(source) if isinstance(source, bytes) else source) as picture:
        return on_white(picture)


def keep_good_pictures(
    dataset: datasets.Dataset, split: str, on_bad_image: str = "error"
) -> tuple[datasets.Dataset, list[str]]:
    """Decodes every picture of a dataset once.

    Args:
        dataset: Rows by the column contract; left alone where they have no pictures.
        split: Its name, for the messages.
        on_bad_image: "error" to refuse bad pictures, "skip" to leave their rows out.

    Returns:
        The rows with good pictures, and what to tell of the others: nothing, or one line.

    Raises:
        DatasetError: A picture is bad and is not to be skipped, or none is good.
    """
    if IMAGE not in dataset.column_names:
        return dataset, []
    sources = (picture_source(row[IMAGE]) for row in stored_pictures(dataset))
    problems = image_problems(sources, len(dataset), f"Checking pictures of {split}")
    keep = [problem is None for problem in problems]
    if all(keep):
        return dataset, []
    names = [f"{name} of {split}" for name in column_values(dataset, IMAGE_ID)]
    if on_bad_image == "error":
        refuse_bad(names, problems)
    if not any(keep):
        raise DatasetError(f"None of the {len(keep):,} pictures of split '{split}' decodes.")
    rows = [row for row, good in enumerate(keep) if good]
    return dataset.select(rows), [left_out_note(names, keep)]


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
            f"{len(bad):,} of {len(names):,} pictures are bad. {first_few(bad)}"
            f"{'; '.join(bad[:SHOWN])}. Get them again, or leave them out with "
            "on_bad_image='skip'."
        )


def left_out_note(names: Sequence[str], keep: Sequence[bool]) -> str:
    """Says which pictures are left out, for the card.

    Args:
        names: What to call each picture.
        keep: Whether each was kept.
    """
    out = [name for name, good in zip(names, keep, strict=True) if not good]
    return (
        f"{len(out):,} of {len(names):,} pictures do not decode and were left out: {listing(out)}"
    )


def left_out_line(lines: Sequence[str]) -> str:
    """Says in a line what `load_pairs` left out of a split.

    Args:
        lines: What it says, a line a row or kind, one at least.
    """
    return f"{first_few(lines)}{'; '.join(lines[:SHOWN])}"


def first_few(found: Sequence[object]) -> str:
    """What to write before `SHOWN` of more."""
    return f"The first {SHOWN}: " if len(found) > SHOWN else ""


def listing(names: Iterable[str]) -> str:
    """The first `SHOWN` of some names."""
    listed = list(names)
    return ", ".join(listed[:SHOWN]) + (", ..." if len(listed) > SHOWN else "")
