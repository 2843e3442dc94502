"""Folders with the captions of each picture in a file of the same name: `.txt` or `.json`.

    cats/1.jpg  cats/1.txt        or  images/1.jpg  captions/1.txt

Each line of a text file is a caption. A JSON file is one row: an object as in JSON Lines.
"""

import os
import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ..columns import DatasetError
from ..messages import quoted, quoted_list
from .json_tables import columns_of, parse
from .picture_files import PictureFiles, files_below, has_picture_suffix
from .table_rows import TableRows
from .text_files import read_text

_KINDS = ((".txt", ".caption"), (".json",))
_N_EXAMPLES = 3  # in messages
FILE_NAME = "file_name"


def sidecar_rows(folder: Path, files: PictureFiles) -> TableRows | None:
    """Reads the caption files of pictures.

    Args:
        folder: The folder.
        files: The files below it.

    Returns:
        A row per picture that has a caption file, with the picture's path in the column
        `file_name`; None if no picture has one. If there are both text and JSON files, the kind
        that matches more pictures is read.
    """
    paths = list(files_below(folder))
    kinds = [[path for path in paths if path.lower().endswith(kind)] for kind in _KINDS]
    texts, text_of = max(
        ((texts, _match(files.pictures, texts)) for texts in kinds), key=lambda pair: len(pair[1])
    )
    if not text_of:
        return None
    rows, faults = [], list[str]()
    for picture, text in text_of.items():
        try:
            rows.append(_row(Path(text)) | {FILE_NAME: picture})
        except DatasetError as error:
            faults.append(str(error))
    used = {*text_of.values()}
    others = [os.path.relpath(path, folder) for path in texts if path not in used]
    notes = []
    if others:
        examples = quoted_list(others, _N_EXAMPLES)
        notes.append(f"{len(others):,} texts have no picture of the same name: {examples}")
    return TableRows(columns_of(rows), tuple(faults), tuple(notes))


def _match(pictures: Sequence[str], texts: Iterable[str]) -> dict[str, str]:
    """The text file of each picture: in the same folder, else if the name is unique."""
    by_stem = {_stem(path): path for path in texts}
    by_name: dict[str, list[str]] = {}
    for stem, path in by_stem.items():
        by_name.setdefault(os.path.basename(stem), []).append(path)
    counts = Counter(os.path.basename(_stem(picture)) for picture in pictures)
    matches = {}
    for picture in pictures:
        stem = _stem(picture)
        name = os.path.basename(stem)
        candidates = by_name.get(name, ())
        if stem in by_stem:
            matches[picture] = by_stem[stem]
        elif len(candidates) == 1 and counts[name] == 1:
            matches[picture] = candidates[0]
    return matches


def _stem(path: str) -> str:
    """A path without its suffix, or both suffixes of `1.jpg.txt`, in Unicode normal form C."""
    stem = os.path.splitext(path)[0]
    stem = os.path.splitext(stem)[0] if has_picture_suffix(stem) else stem
    return unicodedata.normalize("NFC", stem)


def _row(file: Path) -> dict[str, Any]:
    text = read_text(file)
    if file.suffix.lower() in _KINDS[0]:
        return {"captions": [line.strip() for line in text.splitlines() if line.strip()]}
    try:
        row = parse(text)
    except ValueError as error:
        raise DatasetError(f"{file} is not JSON ({error})") from error
    if not isinstance(row, Mapping):
        raise DatasetError(f"{file} is not a JSON object: {quoted(row)}")
    return dict(row)
