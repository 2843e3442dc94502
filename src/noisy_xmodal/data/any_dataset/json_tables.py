"""Tables of JSON and JSON Lines, in the forms that datasets have.

| form                                                 | example                     |
|------------------------------------------------------|-----------------------------|
| a list of objects, or an object with one such list   | Karpathy's splits, LLaVA    |
| `images` and `annotations` with `image_id`           | COCO's `captions_*.json`    |
| captions by the name of the picture, or pairs of both | `{"a.jpg": ["one", "two"]}` |
| values by column, in lists or by row number          | pandas' `to_json`           |
| one object a line                                    | `.jsonl`                    |
"""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ..columns import DatasetError
from ..messages import quoted, quoted_list
from .columns import GivenColumns, looks_like_pairs
from .picture_files import has_picture_suffix
from .table_rows import TableRows
from .text_files import first_line, read_text

_SHOWN = 3


def is_json(file: Path) -> bool:
    """Whether a file is called as JSON or JSON Lines is."""
    return file.suffix.lower() in (".json", ".jsonl", ".ndjson")


def read_json(file: Path) -> TableRows:
    """Reads a table of JSON or JSON Lines.

    Raises:
        DatasetError: It is in none of the forms, or no row can be read.
    """
    text, faults = read_text(file), list[str]()
    try:
        data = parsed(text) if file.suffix.lower() == ".json" else _lines(text, file, faults)
    except ValueError as error:
        if not _is_json_line(text.lstrip().partition("\n")[0]):
            line = getattr(error, "lineno", 1)
            raise DatasetError(f"Line {line} of {file} is not JSON ({error}).") from error
        data = _lines(text, file, faults)
    found = _read_form(data, file)
    if found is None:
        why = f": {faults[0]}" if faults else ""
        raise DatasetError(
            f"{file} is not a table{why}: give a list of objects, one per image or caption, an "
            "object with one such list, COCO's captions, captions by file name, or one object per "
            "line."
        )
    return TableRows(found.columns, (*faults, *found.faults), found.notes)


def json_names(file: Path) -> list[str]:
    """The names of the columns of a table of JSON; empty where it is none.

    Of JSON Lines the first line is read, else the whole file.
    """
    try:
        if file.suffix.lower() == ".json":
            return list(read_json(file).columns)
        row = parsed(first_line(file))
    except (ValueError, OSError):
        return []
    return list(row) if isinstance(row, dict) else []


def parsed(text: str) -> Any:
    """Reads JSON; ValueError where it is none."""
    try:
        return json.loads(text)
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error


def columns_of(rows: list[dict[str, Any]]) -> dict[str, list[Any]]:
    """Values by column; null where a row has none."""
    names = dict.fromkeys(name for row in rows for name in row)
    return {name: [row.get(name) for row in rows] for name in names}


def _is_json_line(line: str) -> bool:
    try:
        return isinstance(parsed(line), dict)
    except ValueError:
        return False


def _lines(text: str, file: Path, faults: list[str]) -> list[Any]:
    rows = []
    for number, line in enumerate(text.split("\n"), 1):
        if line.strip():
            try:
                row = parsed(line)
            except ValueError as error:
                faults.append(f"Line {number} of {file} is not JSON ({error})")
                continue
            if isinstance(row, dict):
                rows.append(row)
            else:
                faults.append(f"Line {number} of {file} is no object: {quoted(row)}")
    return rows


def _read_form(data: Any, file: Path) -> TableRows | None:
    forms: tuple[Callable[[Any, Path], TableRows | None], ...]
    forms = (_objects, _coco, _by_picture, _by_column, _one_list)
    return next((found for form in forms if (found := form(data, file)) is not None), None)


def _objects(data: Any, _: Path) -> TableRows | None:
    if not isinstance(data, list) or not data or not all(isinstance(row, dict) for row in data):
        return None
    return TableRows(columns_of([_with_whole_path(row) for row in data]))


def _one_list(data: Any, file: Path) -> TableRows | None:
    values = data.values() if isinstance(data, dict) else ()
    lists = [found for value in values if (found := _objects(value, file)) is not None]
    return lists[0] if len(lists) == 1 else None


def _by_picture(data: Any, _: Path) -> TableRows | None:
    if isinstance(data, list) and all(isinstance(row, list) and len(row) == 2 for row in data):
        names = [row[0] for row in data]
        data = dict(data) if all(isinstance(name, str) for name in names) else None
        if data is None or len(data) < len(names):
            return None
    if not isinstance(data, dict) or not any(map(has_picture_suffix, data)):
        return None
    texts = [[value] if isinstance(value, str) else value for value in data.values()]
    if not all(isinstance(v, list) and all(isinstance(t, str) for t in v) for v in texts):
        return None
    return TableRows({"image": list(data), "captions": texts})


def _by_column(data: Any, _: Path) -> TableRows | None:
    if not isinstance(data, dict) or not looks_like_pairs(data, GivenColumns()):
        return None
    columns = list(data.values())
    if all(isinstance(column, dict) for column in columns):
        if any(column.keys() != columns[0].keys() for column in columns):
            return None
        columns = [list(column.values()) for column in columns]
    if not all(isinstance(c, list) and len(c) == len(columns[0]) for c in columns):
        return None
    return TableRows(dict(zip(data, columns, strict=True)))


def _coco(data: Any, file: Path) -> TableRows | None:
    """Captions that name their image by a number, as COCO's own files do."""
    if not isinstance(data, dict):
        return None
    images, annotations = data.get("images"), data.get("annotations")
    is_coco = _are_objects(images, "id") and _are_objects(annotations, "image_id")
    if not is_coco or not isinstance(images, list) or not isinstance(annotations, list):
        return None
    captions: dict[str, list[str]] = {}
    for annotation in annotations:
        text = annotation.get("caption")
        if isinstance(text, str):
            captions.setdefault(str(annotation["image_id"]), []).append(text)
    if not captions:
        raise DatasetError(
            f"{file} holds boxes or other annotations of images, but no captions: its annotations "
            f"have {quoted_list(annotations[0])}. Give COCO's captions_*.json."
        )
    rows = [
        {"image_id": str(image["id"]), "file_name": name, "captions": captions[str(image["id"])]}
        for image in images
        if isinstance(name := image.get("file_name"), str) and str(image["id"]) in captions
    ]
    ids = {row["image_id"] for row in rows}
    lost = [key for key in captions if key not in ids]
    faults = _counted(f"captions of {file} are of images that it does not name", lost)
    bare = [image.get("file_name") for image in images if str(image["id"]) not in captions]
    notes = _counted(f"images of {file} have no caption", bare)
    return TableRows(columns_of(rows), faults, notes)


def _are_objects(value: Any, key: str) -> bool:
    return (
        isinstance(value, list)
        and bool(value)
        and all(isinstance(row, dict) and isinstance(row.get(key), int | str) for row in value)
    )


def _counted(what: str, names: list[Any]) -> tuple[str, ...]:
    """One line that counts something, or none."""
    return (f"{len(names):,} {what}: {quoted_list(names, _SHOWN)}",) if names else ()


def _with_whole_path(row: dict[str, Any]) -> dict[str, Any]:
    """Joins the folder and the name of a picture, which Karpathy's files keep apart."""
    if not {"filepath", "filename"} <= row.keys():
        return row
    whole = os.path.join(str(row["filepath"]), str(row["filename"]))
    return {name: value for name, value in row.items() if name != "filepath"} | {"filename": whole}
