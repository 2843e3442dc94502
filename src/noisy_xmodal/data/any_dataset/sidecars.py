"""Folders in which the captions of each picture lie in a file of its name: `.txt` or `.json`.

    cats/1.jpg  cats/1.txt        or  images/1.jpg  captions/1.txt

Each line of a text is a caption. A JSON file is one row: an object as in a table of JSON Lines.
"""

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from ..columns import DatasetError
from ..messages import quoted, quoted_list
from .json_tables import columns_of, parsed
from .picture_files import PictureFiles, files_below
from .table_rows import TableRows
from .text_files import read_text

_TEXTS = (".txt", ".caption")
SUFFIXES = (*_TEXTS, ".json")
_SHOWN = 3
FILE_NAME = "file_name"


def sidecar_rows(folder: Path, files: PictureFiles) -> TableRows | None:
    """Reads the captions that lie beside pictures.

    Args:
        folder: The folder.
        files: What is below it.

    Returns:
        A row a picture that has such a file, with its path in the column `file_name`; None where no
        picture has one. Where several kinds lie there, the one that most pictures have is read.
    """
    texts = [path for path in files_below(folder) if path.lower().endswith(SUFFIXES)]
    kinds = {end: [path for path in texts if path.lower().endswith(end)] for end in SUFFIXES}
    beside = {end: _beside(files.pictures, paths) for end, paths in kinds.items()}
    kind = max(beside, key=lambda end: len(beside[end]))
    if not beside[kind]:
        return None
    rows, faults = [], list[str]()
    for picture, text in beside[kind].items():
        try:
            rows.append(_row(Path(text)) | {FILE_NAME: picture})
        except DatasetError as error:
            faults.append(str(error))
    read = {*beside[kind].values()}
    others = [os.path.relpath(path, folder) for path in kinds[kind] if path not in read]
    notes = []
    if others:
        shown = quoted_list(others, _SHOWN)
        notes.append(f"{len(others):,} files {kind} are beside no picture of their name: {shown}")
    return TableRows(columns_of(rows), tuple(faults), tuple(notes))


def _beside(pictures: Iterable[str], texts: Iterable[str]) -> dict[str, str]:
    """By picture the text of its name: in its folder, else the only one anywhere."""
    here = {os.path.splitext(path)[0]: path for path in texts}
    anywhere: dict[str, list[str]] = {}
    for stem, path in here.items():
        anywhere.setdefault(os.path.basename(stem), []).append(path)
    listed = list(pictures)
    counts: dict[str, int] = {}
    for picture in listed:
        name = os.path.splitext(os.path.basename(picture))[0]
        counts[name] = counts.get(name, 0) + 1
    found = {}
    for picture in listed:
        stem = os.path.splitext(picture)[0]
        name = os.path.basename(stem)
        alone = anywhere.get(name, ())
        if stem in here:
            found[picture] = here[stem]
        elif len(alone) == 1 and counts[name] == 1:
            found[picture] = alone[0]
    return found


def _row(file: Path) -> dict[str, Any]:
    text = read_text(file)
    if file.suffix.lower() in _TEXTS:
        return {"captions": [line.strip() for line in text.splitlines() if line.strip()]}
    try:
        row = parsed(text)
    except ValueError as error:
        raise DatasetError(f"{file} is not JSON ({error})") from error
    if not isinstance(row, Mapping):
        raise DatasetError(f"{file} holds no object: {quoted(row)}")
    return dict(row)
