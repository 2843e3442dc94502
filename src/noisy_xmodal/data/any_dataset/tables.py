"""Tables of captions beside pictures: CSV, JSON and JSON Lines, and the files that they name."""

import csv
import json
import os
import re
import warnings
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import datasets
import pyarrow as pa

from ..columns import IMAGE_ID, IS_NOISY, DatasetError, column_values
from .captions import is_string, plain_name
from .columns import GivenColumns, find_columns, looks_like_pairs
from .images import names_of_paths

TABLE_SUFFIXES = (".csv", ".tsv", ".txt", ".json", ".jsonl", ".ndjson")
_FOLDER_TABLES = (".csv", ".tsv", ".txt", ".jsonl", ".ndjson")
_DEEPEST = 16
_SPLITS = {
    **dict.fromkeys(("train", "training", "restval"), "train"),
    **dict.fromkeys(("validation", "valid", "val", "dev"), "validation"),
    **dict.fromkeys(("test", "testing"), "test"),
}


class Opened(NamedTuple):
    """A split as it was found, with the columns that the user gave for it.

    Attributes:
        dataset: Its rows.
        given: The columns that the user gave.
        faults: Rows that are lost, a line a kind: errors where nothing may be left out.
        notes: What else was not read, a line a kind.
    """

    dataset: datasets.Dataset
    given: GivenColumns
    faults: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


def refuse_faults(name: str | Path, parts: Mapping[str, tuple[Opened, Any]]) -> None:
    """Refuses rows that are lost, and warns of what else was not read.

    Raises:
        DatasetError: A split has faults.
    """
    for split, (opened, _) in parts.items():
        if opened.faults:
            raise DatasetError(
                f"Split '{split}' of {name} is not whole: {'; '.join(opened.faults)}. Correct it, "
                "or leave such pairs out with left_out={}."
            )
        for note in opened.notes:
            warnings.warn(f"Split '{split}' of {name}: {note}", stacklevel=2)


def split_name(name: str) -> str | None:
    """The usual name of a split (`dev` is `validation`), or None where `name` is no such name."""
    return _SPLITS.get(plain_name(name))


def folder_shards(folder: Path, suffixes: Iterable[str]) -> dict[str, list[Path]]:
    """Finds data files like `train-00000-of-00002.parquet` at the top of a folder without a card.

    Args:
        folder: The folder.
        suffixes: The kinds of files.

    Returns:
        The files by split; empty where there are none, or of several kinds, or one is not named
        after a split: `datasets` then looks for itself.
    """
    files = [file for file in sorted(folder.iterdir()) if file.suffix.lower() in suffixes]
    shards: dict[str, list[Path]] = {}
    for file in files:
        split = split_name(re.split(r"[^a-z]", file.stem.lower())[0])
        if split is None:
            return {}
        shards.setdefault(split, []).append(file)
    one_kind = len({file.suffix.lower() for file in files}) == 1
    return shards if one_kind and not (folder / "README.md").exists() else {}


def folder_tables(folder: Path, given: GivenColumns) -> dict[str, list[Path]]:
    """Finds the table of pairs of a folder of pictures, or one table per split.

    Args:
        folder: The folder; tables in its subfolders are not looked at.
        given: What the user said about the columns.

    Returns:
        The tables by split; empty where none looks like pairs, or a card says what to load.

    Raises:
        DatasetError: There are several, and their names are not those of splits.
    """
    if has_configs(folder / "README.md"):
        return {}
    tables = [
        file
        for file in sorted(f for f in folder.iterdir() if f.suffix.lower() in _FOLDER_TABLES)
        if file.is_file() and looks_like_pairs(table_header(file), given)
    ]
    if len(tables) == 1:
        return {split_name(tables[0].stem) or "train": tables}
    splits = {split_name(file.stem): file for file in tables}
    if None in splits or len(splits) < len(tables):
        raise DatasetError(
            f"Several tables of {folder} may hold the captions: {[t.name for t in tables]}. Give "
            "the one to read in place of the folder, or name them train, validation and test."
        )
    return {name: [file] for name, file in splits.items() if name is not None}


def read_table(file: Path) -> datasets.Dataset:
    """Reads a CSV, JSON or JSON Lines file; pictures stay paths.

    Raises:
        DatasetError: The file is no such table; the message says where it breaks.
    """
    try:
        columns = _json_columns(file) if _is_json(file) else _csv_columns(file)
    except UnicodeDecodeError as error:
        raise DatasetError(f"{file} is not UTF-8 text ({error}). Save it as UTF-8.") from error
    arrays = {}
    for name, values in columns.items():
        try:
            name.encode()
            arrays[name] = pa.array(values)
            too_deep = _depth(arrays[name].type) > _DEEPEST
        except RecursionError:
            too_deep = True
        except UnicodeEncodeError as error:
            raise DatasetError(
                f"Column {name!a} of {file} holds half of a surrogate pair, which is no character "
                f"({error}). Correct it."
            ) from error
        except (pa.ArrowException, OverflowError) as error:
            raise DatasetError(
                f"Column '{name}' of {file} holds values of different types ({error}). Give it "
                "one type, or remove it."
            ) from error
        if too_deep:  # neither datasets nor Arrow can handle it
            raise DatasetError(
                f"Column '{name}' of {file} is nested more than {_DEEPEST} deep. Remove it."
            )
    table = pa.table(arrays)
    if not len(table):
        raise DatasetError(f"{file} has no rows.")
    return datasets.Dataset(table)


def _depth(kind: pa.DataType) -> int:
    inner = (kind.field(number).type for number in range(kind.num_fields))
    return 1 + max(map(_depth, inner), default=0)


def resolve_pictures(
    dataset: datasets.Dataset,
    file: Path,
    given: GivenColumns,
    split: str,
    strict: bool = True,
) -> Opened:
    """Replaces the paths of a table by full ones.

    Args:
        dataset: The rows of the table; returned as they are where they hold the pictures.
        file: The table. Paths are relative to its folder, or end the path of a file below it.
        given: What the user said about the columns.
        split: Name of the split, for the messages.
        strict: Whether a file that does not exist is an error; else its path is kept.

    Raises:
        DatasetError: A file does not exist, or a name fits several files.
    """
    columns = find_columns(dataset, given, split)
    if not is_string(dataset.features[columns.visual]):
        return Opened(dataset, given)
    names = column_values(dataset, columns.visual)
    full = _full_paths({name for name in names if name and "://" not in name}, file)
    missing = [row for row, name in enumerate(names) if name in full and full[name] is None]
    if missing and strict:
        raise DatasetError(
            f"Row {missing[0]} of {file} names the picture {names[missing[0]]!r}, which is not in "
            f"{file.parent} or below it ({len(missing)} of {len(names)} rows have no file). Put "
            "the pictures there, or correct the paths."
        )
    feature = datasets.Value("string")
    if columns.image_id is None:  # full paths are no names: they change with the machine
        others = [name for name in (IMAGE_ID,) if name in dataset.column_names]
        dataset = dataset.remove_columns(others)
        dataset = dataset.add_column(IMAGE_ID, names_of_paths(names), feature=feature)
        given = replace(given, id=IMAGE_ID)
    dataset = dataset.remove_columns(columns.visual)
    # What is missing here must not be found in the working directory.
    absent = {name: os.path.join(os.path.abspath(file.parent), name) for name in full}
    paths = [(full[name] or absent[name]) if name in full else name for name in names]
    return Opened(dataset.add_column(columns.visual, paths, feature=feature), given)


def _full_paths(names: set[str], file: Path) -> dict[str, str | None]:
    """Finds the file of each name; None where there is none."""
    folder = os.path.abspath(file.parent)
    full: dict[str, str | None] = {}
    for name in names:
        path = os.path.join(folder, name)
        full[name] = path if os.path.isfile(path) else None
    elsewhere = {os.path.basename(name) for name, path in full.items() if path is None}
    below: dict[str, list[str]] = {name: [] for name in elsewhere}
    for parent, _, files in os.walk(folder) if elsewhere else ():
        for found in elsewhere.intersection(files):
            below[found].append(os.path.join(parent, found))
    for name in [name for name, path in full.items() if path is None]:
        ending = os.sep + os.path.normpath(name)
        fitting = [path for path in below[os.path.basename(name)] if path.endswith(ending)]
        if len(fitting) > 1:
            raise DatasetError(
                f"{file} names the picture {name!r}, and {len(fitting)} files below {folder} fit: "
                f"{sorted(fitting)[:2]}. Write the path from {folder}."
            )
        full[name] = fitting[0] if fitting else None
    return full


def has_configs(card: Path) -> bool:
    """Whether a dataset card lists configurations in its YAML."""
    parts = card.read_text(encoding="utf-8").split("---", 2) if card.is_file() else []
    return len(parts) == 3 and not parts[0].strip() and "\nconfigs:" in parts[1]


def _is_json(file: Path) -> bool:
    return file.suffix.lower() in (".json", ".jsonl", ".ndjson")


def table_header(file: Path) -> list[str]:
    """The column names of a table, from its first line; empty where it has none."""
    with file.open(encoding="utf-8-sig", errors="replace") as lines:
        line = lines.readline()
    if not _is_json(file):
        return [name.strip().strip('"') for name in line.split(_delimiter(line))]
    try:
        row = _parsed(line)
    except ValueError:
        return []
    return list(row) if isinstance(row, dict) else []


def _delimiter(header: str) -> str:
    return max(",\t;|", key=header.count)


def _csv_columns(file: Path) -> dict[str, list[Any]]:
    with file.open(encoding="utf-8-sig", newline="") as text:
        delimiter = _delimiter(text.readline())
        text.seek(0)
        # Tables with bars do not quote: a quotation mark is part of the caption.
        options: dict[str, Any] = {"quoting": csv.QUOTE_NONE} if delimiter == "|" else {}
        rows = csv.reader(text, delimiter=delimiter, strict=True, **options)
        try:
            header = [name.strip() for name in next(rows, [])]
            if len(set(header)) < len(header):
                raise DatasetError(f"{file} names a column twice: {header}. Rename one.")
            columns: dict[str, list[Any]] = {name: [] for name in header}
            for values in rows:
                _check_fields(values, header, f"Line {rows.line_num} of {file}", delimiter)
                for name, value in zip(header, values, strict=False):  # a blank line is no row
                    columns[name].append(value.strip())
        except csv.Error as error:
            raise DatasetError(
                f"Line {rows.line_num} of {file} is not CSV ({error}). Double the quotation marks "
                "inside a quoted caption."
            ) from error
    columns.pop("", None)  # the unnamed row numbers that pandas writes
    if IS_NOISY in columns:
        columns[IS_NOISY] = [_flags(cell) for cell in columns[IS_NOISY]]
    return columns


def _check_fields(values: list[str], header: list[str], where: str, delimiter: str) -> None:
    if values and len(values) != len(header):
        raise DatasetError(
            f"{where} has {len(values)} fields, but the header has {len(header)}: {header}. Put "
            f"captions that contain {delimiter!r} in double quotes."
        )


def _flags(cell: str) -> Any:
    """Reads `True`, `0` or `[false, true]`; what is none of these is refused with its row."""
    try:
        value = _parsed(cell.lower())
    except ValueError:
        return cell
    return bool(value) if value in (0, 1) else value


def _json_columns(file: Path) -> dict[str, list[Any]]:
    text = file.read_text(encoding="utf-8-sig")
    data: Any
    try:
        data = _parsed(text) if file.suffix.lower() == ".json" else _json_lines(text, file)
    except ValueError:
        data = _json_lines(text, file)
    if isinstance(data, dict):
        # The one list of objects, as in {"dataset": ..., "images": [...]}.
        lists = [value for value in data.values() if _is_rows(value)]
        data = lists[0] if len(lists) == 1 else None
    if not _is_rows(data):
        raise DatasetError(
            f"{file} is not a table: give a list of objects, one per image or caption, an object "
            "with one such list, or one object per line."
        )
    rows = [_with_whole_path(row) for row in data]
    names = dict.fromkeys(name for row in rows for name in row)
    return {name: [row.get(name) for row in rows] for name in names}


def _json_lines(text: str, file: Path) -> list[Any]:
    rows = []
    for number, line in enumerate(text.split("\n"), 1):
        try:
            rows += [_parsed(line)] if line.strip() else []
        except ValueError as error:
            raise DatasetError(f"Line {number} of {file} is not JSON ({error}).") from error
    return rows


def _parsed(text: str) -> Any:
    try:
        return json.loads(text)
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error


def _is_rows(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(row, dict) for row in value)


def _with_whole_path(row: dict[str, Any]) -> dict[str, Any]:
    """Joins the folder and the name of a picture, which Karpathy's files keep apart."""
    if not {"filepath", "filename"} <= row.keys():
        return row
    whole = os.path.join(str(row["filepath"]), str(row["filename"]))
    return {name: value for name, value in row.items() if name != "filepath"} | {"filename": whole}
