"""Folders in which the captions of each picture lie in a file of its name: `.txt` or `.json`.

    cats/1.jpg  cats/1.txt        or  images/1.jpg  captions/1.txt

Each line of a text is a caption. A JSON file is one row: an object as in a table of JSON Lines.
"""

import os
import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ..columns import DatasetError
from ..messages import quoted, quoted_list
from .json_tables import columns_of, parsed
from .picture_files import PictureFiles, files_below, has_picture_suffix
from .table_rows import TableRows
from .text_files import read_text

_KINDS = ((".txt", ".caption"), (".json",))
_SHOWN = 3
FILE_NAME = "file_name"


def sidecar_rows(folder: Path, files: PictureFiles) -> TableRows | None:
    """Reads the captions that lie beside pictures.

    Args:
        folder: The folder.
        files: What is below it.

    Returns:
        A row a picture that has such a file, with its path in the column `file_name`; None where no
        picture has one. Where texts and JSON lie there, those that more pictures have are read.
    """
    below = list(files_below(folder))
    kinds = [[path for path in below if path.lower().endswith(kind)] for kind in _KINDS]
    texts, beside = max(
        ((paths, _beside(files.pictures, paths)) for paths in kinds), key=lambda pair: len(pair[1])
    )
    if not beside:
        return None
    rows, faults = [], list[str]()
    for picture, text in beside.items():
        try:
            rows.append(_row(Path(text)) | {FILE_NAME: picture})
        except DatasetError as error:
            faults.append(str(error))
    read = {*beside.values()}
    others = [os.path.relpath(path, folder) for path in texts if path not in read]
    notes = []
    if others:
        shown = quoted_list(others, _SHOWN)
        notes.append(f"{len(others):,} texts are beside no picture of their name: {shown}")
    return TableRows(columns_of(rows), tuple(faults), tuple(notes))


def _beside(pictures: Sequence[str], texts: Iterable[str]) -> dict[str, str]:
    """By picture the text of its name: in its folder, else the only one anywhere."""
    here = {_stem(path): path for path in texts}
    anywhere: dict[str, list[str]] = {}
    for stem, path in here.items():
        anywhere.setdefault(os.path.basename(stem), []).append(path)
    counts = Counter(os.path.basename(_stem(picture)) for picture in pictures)
    found = {}
    for picture in pictures:
        stem = _stem(picture)
        name = os.path.basename(stem)
        alone = anywhere.get(name, ())
        if stem in here:
            found[picture] = here[stem]
        elif len(alone) == 1 and counts[name] == 1:
            found[picture] = alone[0]
    return found


def _stem(path: str) -> str:
    """A path without its ending, or both of `1.jpg.txt`, in one Unicode normal form."""
    stem = os.path.splitext(path)[0]
    stem = os.path.splitext(stem)[0] if has_picture_suffix(stem) else stem
    return unicodedata.normalize("NFC", stem)


def _row(file: Path) -> dict[str, Any]:
    text = read_text(file)
    if file.suffix.lower() in _KINDS[0]:
        return {"captions": [line.strip() for line in text.splitlines() if line.strip()]}
    try:
        row = parsed(text)
    except ValueError as error:
        raise DatasetError(f"{file} is not JSON ({error})") from error
    if not isinstance(row, Mapping):
        raise DatasetError(f"{file} holds no object: {quoted(row)}")
    return dict(row)
