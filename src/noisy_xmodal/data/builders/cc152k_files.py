"""Reading of the caption files of CC152K, {split}_caps.tsv: one image id, tab and caption per line.

As in NCR, Python's csv module parses quotes: a field that starts with a quote ends at the next one,
and two quotes in a row are one quote. A field that continues on the next line is an error, because
an unpaired quote would merge the following pairs.
"""

import csv
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ..columns import DatasetError
from .clean_split import Facts

IMAGE_FOLDER = "images"
SPLIT_FILES = {"train": "train", "validation": "dev", "test": "test"}

_ID_HEADERS = ("id", "image_id", "img_id", "image", "file", "file_name", "filename", "filepath")
_CAPTION_HEADERS = ("caption", "captions", "title", "text")


@dataclass(frozen=True)
class CaptionFile:
    """The pairs of a {split}_caps.tsv.

    Attributes:
        path: The file.
        lines: The line number of each pair, from 1.
        image_ids: One per pair.
        captions: One per pair.
    """

    path: Path
    lines: list[int]
    image_ids: list[str]
    captions: list[str]

    def facts(self) -> Facts:
        """Returns the captions as lists of one."""
        return Facts(captions=[[caption] for caption in self.captions])


def read_caption_files(folder: Path) -> dict[str, CaptionFile]:
    """Reads the captions of all splits in `folder`.

    Returns:
        The captions by the name of the split in `datasets`: dev is "validation".

    Raises:
        DatasetError: There are no captions, features without captions, or an invalid file.
    """
    paths = {name: folder / f"{file}_caps.tsv" for name, file in SPLIT_FILES.items()}
    files = {name: read_caption_file(path) for name, path in paths.items() if path.exists()}
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


def read_caption_file(path: Path) -> CaptionFile:
    """Reads one {split}_caps.tsv; a header and columns of links after the caption are optional.

    Raises:
        DatasetError: A line is invalid, or two have the same id; the message names it.
    """
    rows = list(_read_rows(path))
    columns = _find_header(path, rows[0][1]) if rows else None
    pairs = rows if columns is None else rows[1:]
    if not pairs:
        raise DatasetError(f"{path} has no pairs. Write one per line: image id, tab, caption.")
    for line, fields in pairs:
        _check_fields(f"{path}, line {line}", fields, len(rows[0][1]), columns)
    id_column, caption_column = columns or (0, 1)
    lines = [line for line, _ in pairs]
    ids = [fields[id_column].strip() for _, fields in pairs]
    captions = [fields[caption_column].strip() for _, fields in pairs]
    line_of: dict[str, int] = {}
    for line, image_id, caption in zip(lines, ids, captions, strict=True):
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
    return CaptionFile(path, lines, ids, captions)


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
