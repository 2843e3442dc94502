"""Reading of the picture column, and a check that all pictures decode before long computations."""

import io
import os
import re
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from multiprocessing.pool import ThreadPool
from pathlib import Path
from typing import Any

import datasets
from datasets.utils import tqdm  # can be switched off by datasets.disable_progress_bars()
from PIL import Image, UnidentifiedImageError

from ..modules.pixels import to_rgb
from .columns import IMAGE, IMAGE_ID, DatasetError, column_values

_N_EXAMPLES = 3  # in messages
_THREADS = min(8, os.cpu_count() or 1)  # Pillow decodes without the GIL
_BLOCK = 512
_LINK = re.compile(r"\w{2,}:/")  # `Path` removes one of the two bars of a link


def stored_pictures(dataset: datasets.Dataset) -> datasets.Dataset:
    """Selects the column of pictures, not decoded, as `bytes` and `path` for `open_picture`."""
    rows = dataset.select_columns([IMAGE]).with_format(None)
    return rows.cast_column(IMAGE, datasets.Image(decode=False))


def picture_source(stored: Mapping[str, Any]) -> bytes | Path:
    """Returns the content of a picture of `stored_pictures`, or the path of its file."""
    return stored["bytes"] if stored["bytes"] is not None else Path(stored["path"])


def picture_sources(dataset: datasets.Dataset) -> Iterator[bytes | Path]:
    """Yields the `picture_source` of each row."""
    return (picture_source(row[IMAGE]) for row in stored_pictures(dataset))


def open_picture(stored: dict[str, Any], min_side: int | None = None) -> Image.Image:
    """Reads a picture of `stored_pictures` and composes it with `to_rgb`.

    `datasets` would convert the picture to the mode of its column, if that has one, and lose the
    bit depth of a TIFF file.

    Args:
        stored: The picture.
        min_side: For a picture that will be resized: a JPEG file is decoded at a half, a quarter or
            an eighth of its size, as long as both sides have at least so many pixels.
    """
    if stored["bytes"] is None and "://" in stored["path"]:
        return to_rgb(datasets.Image().decode_example(stored))  # downloads the picture
    source = picture_source(stored)
    with _opened(source) as picture:
        if min_side is not None:
            picture.draft(None, (min_side, min_side))
        return to_rgb(picture)


def keep_good_pictures(
    dataset: datasets.Dataset, split: str, on_bad_image: str = "error"
) -> tuple[datasets.Dataset, list[str]]:
    """Checks that every picture of a dataset decodes.

    Args:
        dataset: Rows that follow the column contract; returned unchanged if they have no pictures.
        split: Its name, for the messages.
        on_bad_image: "error" to reject bad pictures, "skip" to drop their rows.

    Returns:
        The rows with good pictures, and a list with one line about the others, or an empty list.

    Raises:
        DatasetError: A picture is bad and `on_bad_image` is "error", or no picture is good.
    """
    if IMAGE not in dataset.column_names:
        return dataset, []
    title = f"Checking pictures of {split}"
    problems = image_problems(picture_sources(dataset), len(dataset), title)
    names = [f"{name} of {split}" for name in column_values(dataset, IMAGE_ID)]
    if on_bad_image == "error":
        reject_bad(names, problems)
    keep, notes = good_pictures(names, problems, split)
    rows = [row for row, good in enumerate(keep) if good]
    return dataset.select(rows) if notes else dataset, notes


def image_problems(
    sources: Iterable[Path | bytes], total: int, title: str = "Checking pictures"
) -> list[str | None]:
    """Checks many pictures with `image_problem`, in threads, with a progress bar.

    Args:
        sources: Files, or their contents; a few hundred are in memory at once.
        total: The number of pictures.
        title: The title of the progress bar.

    Returns:
        The result of `image_problem` for each picture.
    """
    remaining, problems = iter(sources), list[str | None]()
    with (
        warnings.catch_warnings(),
        ThreadPool(_THREADS) as pool,
        tqdm(total=total, desc=title, unit="pictures") as bar,
    ):
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # reported as a problem
        while block := list(islice(remaining, _BLOCK)):
            problems += pool.map(image_problem, block, chunksize=16)
            bar.update(len(block))
    return problems


def image_problem(
    source: Path | bytes, look: Callable[[Image.Image], object] | None = None
) -> str | None:
    """Describes why a picture cannot be decoded; None if it can.

    The size is checked before any pixel is decoded. JPEG files are decoded at an eighth of their
    size, which still reads all their data and so detects truncated files.

    Args:
        source: A file, or its content.
        look: Called with the decoded picture, a small gray one if the file is a JPEG.
    """
    try:
        with _opened(source) as image:
            limit = Image.MAX_IMAGE_PIXELS
            if limit is not None and image.width * image.height > limit:
                return (
                    f"a decompression bomb of {image.width:,} x {image.height:,} pixels, more than "
                    f"PIL.Image.MAX_IMAGE_PIXELS, {limit:,}"
                )
            image.draft("L", (16, 16))
            image.load()
            if look is not None:
                look(image)
    except FileNotFoundError as error:
        is_link = isinstance(source, Path) and _LINK.match(str(source))
        return "a link, not a file: download the picture first" if is_link else str(error)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        return f"a decompression bomb ({error})"
    except UnidentifiedImageError:
        size = len(source) if isinstance(source, bytes) else source.stat().st_size
        return f"not a picture that Pillow can read ({size:,} bytes)"
    except Exception as error:  # Pillow raises many types for damaged files
        return f"{error or type(error).__name__}"
    return None


def reject_bad(names: Sequence[str], problems: Sequence[str | None]) -> None:
    """Raises an error that counts pictures with an `image_problem` and names the first ones."""
    bad = [f"{n}: {why}" for n, why in zip(names, problems, strict=True) if why is not None]
    if bad:
        raise DatasetError(
            f"{len(bad):,} of {len(names):,} pictures are bad. {first_few(bad)}. Get them again, "
            "or leave them out with on_bad_image='skip'."
        )


def good_pictures(
    names: Sequence[str], problems: Sequence[str | None], split: str
) -> tuple[list[bool], list[str]]:
    """Which pictures to keep, at least one, and a list with one line about the others, if any."""
    keep = [problem is None for problem in problems]
    out = [name for name, good in zip(names, keep, strict=True) if not good]
    if not out:
        return keep, []
    if not any(keep):
        raise DatasetError(f"None of the {len(keep):,} pictures of split '{split}' decodes.")
    count = f"{len(out):,} of {len(names):,} pictures"
    return keep, [f"{count} do not decode and were left out: {listing(out)}"]


def first_few(items: Sequence[str], separator: str = "; ") -> str:
    """Joins the first items of a sequence, after "The first 3: " if there are more."""
    start = f"The first {_N_EXAMPLES}: " if len(items) > _N_EXAMPLES else ""
    return f"{start}{separator.join(items[:_N_EXAMPLES])}"


def listing(names: Iterable[str]) -> str:
    """Joins the first names, before ", ..." if there are more."""
    items = list(names)
    return ", ".join(items[:_N_EXAMPLES]) + (", ..." if len(items) > _N_EXAMPLES else "")


def _opened(source: bytes | Path) -> Image.Image:
    return Image.open(io.BytesIO(source) if isinstance(source, bytes) else source)
