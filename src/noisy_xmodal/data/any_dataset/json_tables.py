"""Tables of JSON and JSON Lines, in the usual forms of datasets.

| form                                                   | example                     |
|--------------------------------------------------------|-----------------------------|
| a list of objects, or an object with one such list     | Karpathy's splits, LLaVA    |
| `images` and `annotations` with `image_id`             | COCO's `captions_*.json`    |
| captions by picture name, or pairs of name and caption | `{"a.jpg": ["one", "two"]}` |
| values by column, in lists or by row number            | pandas' `to_json`           |
| one object per line                                    | `.jsonl`                    |
"""

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..columns import DatasetError
from ..messages import quoted, quoted_list
from .columns import ColumnOptions, looks_like_pairs
from .delimited import TableRows, first_line, read_text
from .picture_files import has_picture_suffix

Columns = dict[str, list[Any]]
_N_EXAMPLES = 3  # in a message


def is_json(file: Path) -> bool:
    """Whether a file has a suffix of JSON or JSON Lines."""
    return file.suffix.lower() in (".json", ".jsonl", ".ndjson")


def json_names(file: Path) -> list[str]:
    """The column names of a JSON table; empty if the file is not a table.

    Only the first line of a JSON Lines file is read.
    """
    try:
        if file.suffix.lower() == ".json":
            return list(read_json(file).columns)
        row = parse_json(first_line(file))
    except (ValueError, OSError):
        return []
    return list(row) if isinstance(row, dict) else []


def read_json(file: Path) -> TableRows:
    """Reads a table of JSON or JSON Lines.

    Raises:
        DatasetError: The file has none of the forms, or no row can be read.
    """
    text, faults, notes = read_text(file), list[str](), list[str]()
    try:
        if file.suffix.lower() == ".json":
            data = parse_json(text)
        else:
            data = _parse_lines(text, file, faults)
    except ValueError as error:
        try:
            is_line = isinstance(parse_json(text.lstrip().partition("\n")[0]), dict)
        except ValueError:
            is_line = False
        if not is_line:
            line = getattr(error, "lineno", 1)
            raise DatasetError(f"Line {line} of {file} is not JSON ({error}).") from error
        data = _parse_lines(text, file, faults)
    columns = (
        _objects(data)
        or _coco(data, file, faults, notes)
        or _by_picture(data)
        or _by_column(data)
        or _one_list(data)
    )
    if not columns:
        reason = f": {faults[0]}" if faults else ""
        raise DatasetError(
            f"{file} is not a table{reason}: give a list of objects, one per image or caption, an "
            "object with one such list, COCO's captions, captions by file name, or one object per "
            "line."
        )
    return TableRows(columns, faults, notes)


def parse_json(text: str) -> Any:
    """Parses JSON.

    Raises:
        ValueError: The text is not JSON, or nested too deeply.
    """
    try:
        return json.loads(text)
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error


def columns_of(rows: Sequence[dict[str, Any]]) -> Columns:
    """Converts rows to columns; missing values are null."""
    names = dict.fromkeys(name for row in rows for name in row)
    return {name: [row.get(name) for row in rows] for name in names}


def _parse_lines(text: str, file: Path, faults: list[str]) -> list[Any]:
    rows = []
    for number, line in enumerate(text.split("\n"), 1):
        if line.strip():
            try:
                row = parse_json(line)
            except ValueError as error:
                faults.append(f"Line {number} of {file} is not JSON ({error})")
                continue
            if isinstance(row, dict):
                rows.append(row)
            else:
                faults.append(f"Line {number} of {file} is not an object: {quoted(row)}")
    return rows


def _objects(data: Any) -> Columns | None:
    if not isinstance(data, list) or not all(isinstance(row, dict) for row in data):
        return None
    return columns_of([_join_path(row) for row in data])


def _one_list(data: Any) -> Columns | None:
    values = data.values() if isinstance(data, dict) else ()
    lists = [columns for value in values if (columns := _objects(value))]
    return lists[0] if len(lists) == 1 else None


def _by_picture(data: Any) -> Columns | None:
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
    return {"image": list(data), "captions": texts}


def _by_column(data: Any) -> Columns | None:
    if not isinstance(data, dict) or not looks_like_pairs(data, ColumnOptions()):
        return None
    columns = list(data.values())
    if all(isinstance(column, dict) for column in columns):
        if any(column.keys() != columns[0].keys() for column in columns):
            return None
        columns = [list(column.values()) for column in columns]
    if not all(isinstance(c, list) and len(c) == len(columns[0]) for c in columns):
        return None
    return dict(zip(data, columns, strict=True))


def _coco(data: Any, file: Path, faults: list[str], notes: list[str]) -> Columns | None:
    """Captions that refer to their image by a number, as in COCO's files."""
    if not isinstance(data, dict):
        return None
    images: Any = data.get("images")
    annotations: Any = data.get("annotations")
    if not _are_objects(images, "id") or not _are_objects(annotations, "image_id"):
        return None
    captions: dict[str, list[str]] = {}
    for annotation in annotations:
        text = annotation.get("caption")
        if isinstance(text, str):
            captions.setdefault(str(annotation["image_id"]), []).append(text)
    if not captions:
        raise DatasetError(
            f"{file} contains boxes or other annotations of images, but no captions: its "
            f"annotations have {quoted_list(annotations[0])}. Give COCO's captions_*.json."
        )
    rows = [
        {"image_id": str(image["id"]), "file_name": name, "captions": captions[str(image["id"])]}
        for image in images
        if isinstance(name := image.get("file_name"), str) and str(image["id"]) in captions
    ]
    ids = {row["image_id"] for row in rows}
    unknown = [key for key in captions if key not in ids]
    faults += _count(f"captions of {file} refer to images that it does not list", unknown)
    missing = [image.get("file_name") for image in images if str(image["id"]) not in captions]
    notes += _count(f"images of {file} have no caption", missing)
    return columns_of(rows)


def _are_objects(value: Any, key: str) -> bool:
    return (
        isinstance(value, list)
        and bool(value)
        and all(isinstance(row, dict) and isinstance(row.get(key), int | str) for row in value)
    )


def _count(text: str, names: list[Any]) -> list[str]:
    """One message that counts names, or none."""
    return [f"{len(names):,} {text}: {quoted_list(names, _N_EXAMPLES)}"] if names else []


def _join_path(row: dict[str, Any]) -> dict[str, Any]:
    """Joins the folder and the name of a picture, which are separate in Karpathy's files."""
    if not {"filepath", "filename"} <= row.keys():
        return row
    path = os.path.join(str(row["filepath"]), str(row["filename"]))
    return {name: value for name, value in row.items() if name != "filepath"} | {"filename": path}
