"""Tables of captions beside pictures: CSV, JSON and JSON Lines, and the files that they name."""

import os
import re
import warnings
from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import datasets

from ..columns import IMAGE_ID, DatasetError, column_values
from ..feature_types import is_string
from ..messages import quoted, quoted_list
from .audit_files import audit_files
from .captions import plain_name
from .columns import GivenColumns, find_columns, looks_like_pairs
from .delimited import delimiter_of, read_delimited, split_line
from .encoded_pictures import decode_pictures
from .images import names_of_paths
from .json_tables import is_json, json_names, read_json
from .picture_files import TEXT_FOLDERS, PictureFiles, has_picture_suffix, without_fragment
from .table_values import as_dataset
from .text_files import first_line

TABLE_SUFFIXES = (".csv", ".tsv", ".txt", ".json", ".jsonl", ".ndjson")
_FOLDER_TABLES = (".csv", ".tsv", ".txt", ".jsonl", ".ndjson")
_SHOWN_FAULTS = 3
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
        pictures: The files that its rows name, absolute paths.
    """

    dataset: datasets.Dataset
    given: GivenColumns
    faults: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    pictures: frozenset[str] = frozenset()


def refuse_faults(name: str | Path, parts: Mapping[str, tuple[Opened, Any]]) -> None:
    """Refuses rows that are lost, and warns of what else was not read.

    Raises:
        DatasetError: A split has faults.
    """
    for split, (opened, _) in parts.items():
        if opened.faults:
            n_more = len(opened.faults) - _SHOWN_FAULTS
            more = f"; and {n_more:,} more" if n_more > 0 else ""
            shown = "; ".join(fault.rstrip(".") for fault in opened.faults[:_SHOWN_FAULTS])
            raise DatasetError(
                f"Split '{split}' of {name} is not whole: {shown}{more}. Correct it. To leave such "
                "pairs out: left_out={}."
            )
        for note in opened.notes:
            warnings.warn(f"Split '{split}' of {name}: {note}", stacklevel=2)


def split_name(name: str) -> str | None:
    """The usual name of a split (`dev` is `validation`), or None where `name` is no such name."""
    return _SPLITS.get(plain_name(name))


def split_in_name(name: str) -> str | None:
    """The split that the words of a name tell: `captions_val2017` is of `validation`.

    Returns:
        The usual name of the split; None where no word is one, or several are.
    """
    words = re.findall("[a-z]+", name.lower())
    splits = {_SPLITS[word] for word in words if word in _SPLITS}
    return splits.pop() if len(splits) == 1 else None


def folder_shards(
    folder: Path, suffixes: Iterable[str], left_out: Container[Path] = ()
) -> dict[str, list[Path]]:
    """Finds data files like `train-00000-of-00002.parquet` at the top of a folder without a card.

    Args:
        folder: The folder.
        suffixes: The kinds of files.
        left_out: Files that are no data.

    Returns:
        The files by split; empty where there are none, or of several kinds, or one is not named
        after a split: `datasets` then looks for itself.
    """
    files = [file for file in sorted(folder.iterdir()) if file.suffix.lower() in suffixes]
    files = [file for file in files if file not in left_out]
    shards: dict[str, list[Path]] = {}
    for file in files:
        split = split_name(re.split(r"[^a-z]", file.stem.lower())[0])
        if split is None:
            return {}
        shards.setdefault(split, []).append(file)
    one_kind = len({file.suffix.lower() for file in files}) == 1
    return shards if one_kind and not (folder / "README.md").exists() else {}


def folder_tables(folder: Path, given: GivenColumns, files: PictureFiles) -> dict[str, list[Path]]:
    """Finds the table of pairs of a folder of pictures, or one table per split.

    Args:
        folder: The folder. Where it has none, tables in a folder in it that is called
            `annotations`, `captions` or the like are looked at; COCO has its captions there.
        given: What the user said about the columns.
        files: The files below the folder.

    Returns:
        The tables by split; empty where none looks like pairs, or a card says what to load.

    Raises:
        DatasetError: There are several, and their names are not those of splits.
    """
    if has_configs(folder / "README.md"):
        return {}
    beside = {os.path.splitext(path)[0] for path in files.pictures}
    tables = _tables_in(folder, given, files, beside)
    inner = [folder / name for name in TEXT_FOLDERS] if files.pictures and not tables else []
    for place in inner:
        tables += _tables_in(place, given, files, beside)
    if not tables:
        return _split_folders(folder, given, files, beside)
    if len(tables) == 1:
        return {split_name(tables[0].stem) or "train": tables}
    splits = {split_in_name(file.stem): file for file in tables}
    if None in splits or len(splits) < len(tables):
        raise DatasetError(
            f"Several tables of {folder} may hold the captions: "
            f"{quoted_list(t.name for t in tables)}. Give the one to read in place of the folder, "
            "or name them train, validation and test."
        )
    return {name: [file] for name, file in splits.items() if name is not None}


def _split_folders(
    folder: Path, given: GivenColumns, files: PictureFiles, beside: set[str]
) -> dict[str, list[Path]]:
    """The table in each folder that is called as a split; those of imagefolder are left to it."""
    found: dict[str, list[Path]] = {}
    for place in sorted(folder.iterdir()):
        split = split_name(place.name)
        if split is not None and place.is_dir():
            tables = _tables_in(place, given, files, beside)
            if len(tables) != 1 or tables[0].stem == "metadata" or split in found:
                return {}
            found[split] = tables
    return found


def _tables_in(
    folder: Path, given: GivenColumns, files: PictureFiles, beside: set[str]
) -> list[Path]:
    """The tables of pairs in a folder itself: with a header, else without one, else JSON."""
    plain = _listed(folder, _FOLDER_TABLES, beside)
    tables = [file for file in plain if looks_like_pairs(table_header(file), given)]
    if not tables and files.pictures:
        tables = [file for file in plain if names_pictures(file, files)]
    if not tables and files.pictures:
        own = audit_files(folder)
        found = [file for file in _listed(folder, (".json",), beside) if file not in own]
        # Of COCO's annotations, of which some are large, those of captions are called so.
        captions = [file for file in found if "caption" in file.name.lower()]
        tables = [file for file in captions or found if looks_like_pairs(json_names(file), given)]
    return tables


def _listed(folder: Path, suffixes: Sequence[str], beside: set[str]) -> list[Path]:
    """The files of a folder by their endings, without those beside a picture of their name."""
    files = sorted(folder.iterdir()) if folder.is_dir() else []
    return [
        file
        for file in files
        if file.suffix.lower() in suffixes
        and os.path.abspath(file.with_suffix("")) not in beside
        and file.is_file()
    ]


def table_header(file: Path) -> list[str]:
    """The column names of a table, from its first line; empty where it has none."""
    if is_json(file):
        return json_names(file)
    line = first_line(file)
    return split_line(line, delimiter_of(line))


def names_pictures(file: Path, files: PictureFiles) -> bool:
    """Whether the first line of a table with a delimiter is a row, with the name of a picture."""
    cells = [] if is_json(file) else table_header(file)
    return len(cells) > 1 and any(
        has_picture_suffix(cell) or bool(files.matches(cell)) for cell in cells if cell
    )


def read_table(file: Path, given: GivenColumns, files: PictureFiles) -> Opened:
    """Reads a CSV, JSON or JSON Lines file; pictures stay as they are named.

    Args:
        file: The file.
        given: What the user said about the columns.
        files: The files below its folder.

    Raises:
        DatasetError: The file is no such table; the message says where it breaks.
    """
    if is_json(file):
        rows = read_json(file)
    else:
        rows = read_delimited(file, given, lambda name: bool(files.matches(name)))
    return Opened(as_dataset(rows, file, given), given, rows.faults, rows.notes)


def resolve_pictures(
    opened: Opened, file: Path, split: str, files: PictureFiles, strict: bool = True
) -> Opened:
    """Replaces the names of pictures in a table by full paths, and base64 by bytes.

    Args:
        opened: The rows of the table; returned as they are where they hold the pictures.
        file: The table.
        split: Name of the split, for the messages.
        files: The files below its folder, or below that of the tables of all splits.
        strict: Whether a file that does not exist is an error; else its path is kept.

    Raises:
        DatasetError: A file does not exist, or a name fits several files.
    """
    if strict:
        refuse_faults(file, {split: (opened._replace(notes=()), None)})
    columns = find_columns(opened.dataset, opened.given, split)
    dataset = decode_pictures(opened.dataset, columns.visual)
    if not is_string(dataset.features[columns.visual]):
        return opened._replace(dataset=dataset)
    names = column_values(dataset, columns.visual)
    full = _full_paths({name for name in names if name and "://" not in name}, file, files)
    missing = [row for row, name in enumerate(names) if name in full and full[name] is None]
    if missing and strict:
        raise DatasetError(
            f"Row {missing[0]} of {file} names the picture {quoted(names[missing[0]])}, which is "
            f"not in {file.parent} or below it ({len(missing)} of {len(names)} rows have no file). "
            "Put the pictures there, or correct the paths."
        )
    feature, given = datasets.Value("string"), opened.given
    if columns.image_id is None:  # full paths are no names: they change with the machine
        others = [name for name in (IMAGE_ID,) if name in dataset.column_names]
        dataset = dataset.remove_columns(others)
        plain = [name and without_fragment(name) for name in names]
        dataset = dataset.add_column(IMAGE_ID, names_of_paths(plain), feature=feature)
        given = replace(given, id=IMAGE_ID)
    dataset = dataset.remove_columns(columns.visual)
    # What is missing here must not be found in the working directory.
    absent = {name: os.path.join(os.path.abspath(file.parent), name) for name in full}
    paths = [(full[name] or absent[name]) if name in full else name for name in names]
    dataset = dataset.add_column(columns.visual, paths, feature=feature)
    pictures = frozenset(path for path in full.values() if path is not None)
    return opened._replace(dataset=dataset, given=given, pictures=pictures)


def _full_paths(names: set[str], file: Path, files: PictureFiles) -> dict[str, str | None]:
    """Finds the file of each name; None where there is none."""
    full: dict[str, str | None] = {}
    for name in names:
        fitting = files.matches(name)
        if len(fitting) > 1:
            raise DatasetError(
                f"{file} names the picture {quoted(name)}, and {len(fitting)} files below "
                f"{files.folder} fit: {quoted_list(fitting[:2])}. Write the path from there."
            )
        full[name] = fitting[0] if fitting else None
    return full


def has_configs(card: Path) -> bool:
    """Whether a dataset card lists configurations in its YAML."""
    parts = card.read_text(encoding="utf-8").split("---", 2) if card.is_file() else []
    return len(parts) == 3 and not parts[0].strip() and "\nconfigs:" in parts[1]
