"""CC152K: image-text pairs from the web, of which an unknown part is wrong.

    CC152K(config_name="natural", data_dir="cc152k_precomp").download_and_prepare()

NCR (Huang et al., NeurIPS 2021) drew 150,000 pairs from the train split of Conceptual Captions
(Sharma et al., ACL 2018), and 1,000 each for dev and test from its validation split. Each picture
has one caption: its alt text, cleaned, in lower case, with names replaced by words such as
"person". An estimated 3 % to 20 % of the pairs are wrong. For each split of train, dev and test,
`data_dir` contains:

| file              | content                                                                     |
|-------------------|-----------------------------------------------------------------------------|
| {split}_caps.tsv  | one pair per line: image id, tab, caption                                   |
| {split}_ims.npy   | float16 or float32, (pairs, regions, dim), one row per line; alternatively: |
| images/, {split}/ | pictures, named by the image id, with or without a suffix                   |

The id may also be the path of the picture, relative to `data_dir`. NCR's repository links to
`cc152k_precomp`, which contains the first two, and to lists of links, {split}_caps_img_urls.csv
(id, caption, link; an id is a number and the CRC-32 of the link): rename such a list to
{split}_caps.tsv. Captions and links may be used for any purpose with attribution to Google; the
pictures belong to their owners.

As in NCR, Python's csv module parses quotes in the lines: a field that starts with a quote ends at
the next one, and two quotes in a row are one quote. A field that continues on the next line is an
error, because an unpaired quote would merge the following pairs.
"""

import csv
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from ..any_dataset.picture_files import PICTURE_SUFFIXES
from ..clean_split import CleanSplit, FeatureColumn, PictureFiles
from ..columns import CAPTIONS, IMAGE, IMAGE_ID, REGIONS, DatasetError
from ..protocol import NATURAL
from .array_file import open_array
from .base import NoisyPairsBuilder
from .image_files import check_pictures
from .precomp import check_features

IMAGE_FOLDER = "images"
SPLIT_FILES = {"train": "train", "validation": "dev", "test": "test"}

_ID_HEADERS = ("id", "image_id", "img_id", "image", "file", "file_name", "filename", "filepath")
_CAPTION_HEADERS = ("caption", "captions", "title", "text")

Pairs = list[tuple[int, str, str]]  # line number from 1, image id, caption


class CC152K(NoisyPairsBuilder):
    """CC152K; requires `data_dir`."""

    CARD = "cc152k.md"
    NATURALLY_NOISY = True
    DEFAULT_CONFIGS = (NATURAL,)

    def read(self) -> dict[str, CleanSplit]:
        """Opens the splits and checks their features or pictures."""
        folder = self.data_folder
        pairs = _read_caption_files(folder)
        if any((folder / f"{file}_ims.npy").exists() for file in SPLIT_FILES.values()):
            splits = {name: _with_features(folder, name, rows) for name, rows in pairs.items()}
            check_features(splits)
            return splits
        skip = self.config.on_bad_image == "skip"
        splits = {name: _with_pictures(folder, name, rows, skip) for name, rows in pairs.items()}
        check_pictures(splits, self.config.on_bad_image)
        return splits


def _texts(pairs: Pairs) -> dict[str, Any]:
    return {IMAGE_ID: [name for _, name, _ in pairs], CAPTIONS: [[text] for *_, text in pairs]}


def _with_features(folder: Path, name: str, pairs: Pairs) -> CleanSplit:
    """The pairs of a split with the features of its file."""
    features = open_array(folder / f"{SPLIT_FILES[name]}_ims.npy", dimensions=(2, 3))
    if len(features) != len(pairs):
        raise DatasetError(
            f"{features.path} has {len(features):,} rows for the {len(pairs):,} pairs of "
            f"{SPLIT_FILES[name]}_caps.tsv, not one per pair. The files do not match."
        )
    return CleanSplit({REGIONS: FeatureColumn(features, is_regions=True), **_texts(pairs)})


def _with_pictures(folder: Path, name: str, pairs: Pairs, skip: bool) -> CleanSplit:
    """The pairs of a split with their pictures; `skip` leaves out pairs without one."""
    split = SPLIT_FILES[name]
    captions_path = folder / f"{split}_caps.tsv"
    files_of = _list_pictures([folder / IMAGE_FOLDER, folder / split])
    paths, keep = [], []
    for line, image_id, _ in pairs:
        path = folder / image_id
        files = [path] if os.path.isfile(path) else files_of.get(image_id, [])
        if len(files) > 1:
            raise DatasetError(
                f"{captions_path}, line {line}: '{image_id}' has two files, {files[0]} and "
                f"{files[1]}. Remove one."
            )
        paths.append(files[0] if files else path)
        keep.append(bool(files))
    rows = CleanSplit({IMAGE: PictureFiles(paths), **_texts(pairs)})
    n_missing = keep.count(False)
    if n_missing and (not skip or n_missing == len(keep)):
        line, image_id, _ = pairs[keep.index(False)]
        raise DatasetError(
            f"{captions_path}, line {line}: no picture of '{image_id}' in {IMAGE_FOLDER}/ or "
            f"{split}/ of {folder}, nor at that path; {n_missing:,} of {len(keep):,} pairs have "
            "none. Add the pictures; or, if some are unavailable, leave their pairs out with "
            "--on_bad_image skip (in Python on_bad_image='skip'). For features, add "
            f"{split}_ims.npy."
        )
    if n_missing:
        rows.keep_rows(keep)
        rows.notes.append(
            f"{n_missing:,} of {len(keep):,} pictures were missing; their pairs were left out"
        )
    return rows


def _list_pictures(folders: Iterable[Path]) -> dict[str, list[Path]]:
    """Lists the files of folders by name, and pictures also by name without suffix."""
    files: dict[str, list[Path]] = {}
    for folder in folders:
        for entry in os.scandir(folder) if folder.is_dir() else ():
            stem, suffix = os.path.splitext(entry.name)
            for name in {entry.name, stem if suffix.lower() in PICTURE_SUFFIXES else entry.name}:
                files.setdefault(name, []).append(folder / entry.name)
    return files


def _read_caption_files(folder: Path) -> dict[str, Pairs]:
    """Reads the pairs of all splits in a folder, by the name of the split in `datasets`.

    Raises:
        DatasetError: There are no captions, features without captions, or an invalid file.
    """
    paths = {name: folder / f"{file}_caps.tsv" for name, file in SPLIT_FILES.items()}
    files = {name: read_pairs(path) for name, path in paths.items() if path.exists()}
    if not files:
        downloads = [p for p in (folder, *sorted(folder.glob("*.tsv"))) if "GCC" in p.name]
        if downloads:
            raise _links_only(str(downloads[0]))
        raise DatasetError(
            f"{folder} has no split: expected train, dev or test as {{split}}_caps.tsv with "
            f"{{split}}_ims.npy, or with pictures in {IMAGE_FOLDER}/ or {{split}}/."
        )
    for name, path in paths.items():
        features = folder / f"{SPLIT_FILES[name]}_ims.npy"
        if name not in files and features.exists():
            raise DatasetError(f"{path} is missing, but {features.name} exists.")
    return files


def read_pairs(path: Path) -> Pairs:
    """Reads one {split}_caps.tsv; a header and columns of links after the caption are optional.

    Raises:
        DatasetError: A line is invalid, or two have the same id; the message names it.
    """
    rows = list(_read_rows(path))
    columns = _find_header(path, rows[0][1]) if rows else None
    lines = rows if columns is None else rows[1:]
    if not lines:
        raise DatasetError(f"{path} has no pairs. Write one per line: image id, tab, caption.")
    id_column, caption_column = columns or (0, 1)
    for line, fields in lines:
        _check_fields(f"{path}, line {line}", fields, len(rows[0][1]), columns)
    pairs = [(n, fields[id_column].strip(), fields[caption_column].strip()) for n, fields in lines]
    line_of: dict[str, int] = {}
    for line, image_id, caption in pairs:
        where = f"{path}, line {line}"
        if not image_id or not caption:
            empty = "caption" if image_id else "image id"
            raise DatasetError(f"{where}: the {empty} is empty. Write it, or remove the pair.")
        if _is_link(image_id) or _is_link(caption):
            raise _links_only(where)
        if image_id in line_of:
            raise DatasetError(
                f"{where}: the id '{image_id}' is already on line {line_of[image_id]}. An id names "
                "one pair: remove one of them, or change the ids."
            )
        line_of[image_id] = line
    return pairs


def _read_rows(path: Path) -> Iterator[tuple[int, list[str]]]:
    """Reads the fields of each line.

    Yields:
        The line number, from 1, and the fields.
    """
    with open(path, encoding="utf-8-sig") as file:
        reader = csv.reader(file, delimiter="\t")
        line = 1
        try:
            for fields in reader:
                if reader.line_num > line:
                    raise csv.Error(f"the quote ends on line {reader.line_num}")
                yield line, fields
                line += 1
        except UnicodeDecodeError as error:
            raise DatasetError(f"{path} is not UTF-8 ({error}). Convert it first.") from error
        except csv.Error as error:
            raise DatasetError(
                f"{path}, line {line}: a field starts with a quote that does not end on that line "
                f"({error}). Remove the quote, or enclose the field in quotes and double each "
                "quote inside it."
            ) from error


def _find_header(path: Path, fields: list[str]) -> tuple[int, int] | None:
    """The columns of id and caption by a header line; None if the line is not a header."""
    names = [field.strip().lower() for field in fields]
    ids = [i for i, name in enumerate(names) if name in _ID_HEADERS]
    captions = [i for i, name in enumerate(names) if name in _CAPTION_HEADERS]
    if not ids or not captions:
        swapped = len(fields) == 2 and " " in names[0] and " " not in names[1]
        if swapped and not _is_link(fields[1]):
            raise DatasetError(
                f"{path}, line 1: {fields} look like caption and image id. Write the id first; if "
                "it is already first, add a header line: image_id, tab, caption."
            )
        return None
    if len(ids) > 1 or len(captions) > 1:
        raise DatasetError(
            f"{path}, line 1: the header {names} names more than one column that may be the image "
            "id or the caption. Keep one of each."
        )
    return ids[0], captions[0]


def _check_fields(
    where: str, fields: list[str], n_fields: int, header: tuple[int, int] | None
) -> None:
    """Checks that a line has all columns, and no text in unnamed columns."""
    if not fields:
        raise DatasetError(f"{where}: the line is empty. Remove it.")
    expected = "image id, tab, caption" if header is None else "as in the header"
    if len(fields) != n_fields or n_fields < 2:
        raise DatasetError(
            f"{where}: found {len(fields) - 1} tabs, expected {max(1, n_fields - 1)} ({expected}). "
            "Write one pair per line, without tabs in the caption."
        )
    if header is None and not all(_is_link(field) for field in fields[2:]):
        raise DatasetError(
            f"{where}: found {len(fields) - 1} tabs, expected 1 ({expected}). Remove the tabs from "
            "the caption; or, if there are more columns, add a header line: image_id, tab, "
            "caption, tab, other."
        )


def _is_link(text: str) -> bool:
    return text.strip().startswith(("http://", "https://"))


def _links_only(where: str) -> DatasetError:
    return DatasetError(
        f"{where}: this is Google's list of captions and links of Conceptual Captions. Pictures "
        "are not downloaded here. Download them with img2dataset, and convert its WebDataset or "
        "Parquet shards with dataset_scripts/pairs.py."
    )
