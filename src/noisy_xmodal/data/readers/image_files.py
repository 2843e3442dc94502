"""Checks of the picture files of a dataset."""

from collections.abc import Mapping, Sequence
from itertools import islice
from pathlib import Path

from ..clean_split import CleanSplit
from ..columns import IMAGE, IMAGE_ID, DatasetError
from ..pictures import first_few, good_pictures, image_problems, listing, reject_bad


def check_pictures(splits: Mapping[str, CleanSplit], on_bad_image: str = "error") -> None:
    """Checks that every picture exists, decodes completely and is not a decompression bomb.

    Args:
        splits: The splits by name, with `PictureFiles` as column `image`.
        on_bad_image: "error" to reject bad files, "skip" to drop their rows. A missing file is
            always an error, because the folder is wrong or a copy is incomplete.

    Raises:
        DatasetError: A file is missing, a file is bad and `on_bad_image` is "error", or a split has
            no good picture.
    """
    paths = [path for split in splits.values() for path in split.columns[IMAGE].paths]
    check_present(paths)
    problems = image_problems(paths, len(paths))
    if on_bad_image == "error":
        ids = [name for split in splits.values() for name in split.columns[IMAGE_ID]]
        reject_bad([f"{n} ({path})" for n, path in zip(ids, paths, strict=True)], problems)
    remaining = iter(problems)
    for name, split in splits.items():
        names = [path.name for path in split.columns[IMAGE].paths]
        keep, notes = good_pictures(names, list(islice(remaining, len(split))), name)
        if notes:
            split.notes += notes
            split.keep_rows(keep)


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
