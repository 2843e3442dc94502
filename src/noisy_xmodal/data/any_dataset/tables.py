"""Tables of captions (CSV, JSON and JSON Lines), and the picture files that they name."""

import os
import re
import warnings
from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import datasets

from ..columns import IMAGE_ID, DatasetError, column_values
from ..feature_types import is_string
from ..messages import quoted, quoted_list
from .audit_files import audit_files
from .captions import plain_name
from .columns import ColumnOptions, find_columns, looks_like_pairs
from .delimited import delimiter_of, read_delimited, split_line
from .encoded_pictures import decode_pictures
from .images import names_of_paths
from .json_tables import is_json, json_names, read_json
from .picture_files import TEXT_FOLDERS, PictureFiles, has_picture_suffix, without_fragment
from .table_values import as_dataset
from .text_files import first_line

TABLE_SUFFIXES = (".csv", ".tsv", ".txt", ".json", ".jsonl", ".ndjson")
_FOLDER_TABLES = (".csv", ".tsv", ".txt", ".jsonl", ".ndjson")
_N_FAULTS = 3  # in messages
_SPLITS = {
    **dict.fromkeys(("train", "training", "restval"), "train"),
    **dict.fromkeys(("validation", "valid", "val", "dev"), "validation"),
    **dict.fromkeys(("test", "testing"), "test"),
}


class RawSplit(NamedTuple):
    """A split before its conversion to the column contract.

    Attributes:
        dataset: The rows, maybe with rows of other splits.
        options: The user's column options.
        faults: Messages about rows that cannot be read; errors unless rows may be left out.
        notes: Messages about other things that were not read.
        pictures: The picture files of the rows, as absolute paths.
        rows: The rows of `dataset` that belong to the split; None for all.
    """

    dataset: datasets.Dataset
    options: ColumnOptions
    faults: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    pictures: frozenset[str] = frozenset()
    rows: Sequence[int] | None = None

    def view(self) -> datasets.Dataset:
        """Selects the rows of the split."""
        return self.dataset if self.rows is None else self.dataset.select(self.rows)


def reject_faults(name: str | Path, splits: Mapping[str, RawSplit]) -> None:
    """Raises an error if rows cannot be read, and warns about other things that were not read.

    Raises:
        DatasetError: A split has faults.
    """
    for split, raw in splits.items():
        if raw.faults:
            n_more = len(raw.faults) - _N_FAULTS
            more = f"; and {n_more:,} more" if n_more > 0 else ""
            faults = "; ".join(fault.rstrip(".") for fault in raw.faults[:_N_FAULTS])
            raise DatasetError(
                f"Split '{split}' of {name} is incomplete: {faults}{more}. Correct the data. To "
                "leave out such pairs: left_out={}."
            )
        for note in raw.notes:
            warnings.warn(f"Split '{split}' of {name}: {note}", stacklevel=2)


def split_name(name: str) -> str | None:
    """The standard name of a split (`validation` for `dev`); None if `name` is not a split."""
    return _SPLITS.get(plain_name(name))


def split_in_name(name: str) -> str | None:
    """Finds a split in the words of a name: `validation` for `captions_val2017`.

    Returns:
        The standard name of the split; None if the words name no split, or several.
    """
    words = re.findall("[a-z]+", name.lower())
    splits = {_SPLITS[word] for word in words if word in _SPLITS}
    return splits.pop() if len(splits) == 1 else None


def folder_shards(
    folder: Path, suffixes: Iterable[str], excluded: Container[Path] = ()
) -> dict[str, list[Path]]:
    """Finds data files like `train-00000-of-00002.parquet` at the top of a folder without a card.

    Args:
        folder: The folder.
        suffixes: The suffixes of data files.
        excluded: Files to ignore.

    Returns:
        The files by split; empty if there are none, if their suffixes differ, or if one is not
        named after a split. `datasets` then applies its own rules.
    """
    files = [file for file in sorted(folder.iterdir()) if file.suffix.lower() in suffixes]
    files = [file for file in files if file not in excluded]
    shards: dict[str, list[Path]] = {}
    for file in files:
        split = split_name(re.split(r"[^a-z]", file.stem.lower())[0])
        if split is None:
            return {}
        shards.setdefault(split, []).append(file)
    one_kind = len({file.suffix.lower() for file in files}) == 1
    return shards if one_kind and not (folder / "README.md").exists() else {}


def folder_tables(
    folder: Path, options: ColumnOptions, files: PictureFiles
) -> dict[str, list[Path]]:
    """Finds the table of pairs in a folder of pictures, or one table per split.

    Args:
        folder: The folder. If it has no table itself, its subfolders `annotations`, `captions` etc.
            are searched; COCO has its captions there.
        options: The user's column options.
        files: The files below the folder.

    Returns:
        The tables by split; empty if no table has pairs, or if a card lists the files to load.

    Raises:
        DatasetError: There are several tables, and they are not named after splits.
    """
    if has_configs(folder / "README.md"):
        return {}
    stems = {os.path.splitext(path)[0] for path in files.pictures}
    tables = _tables_in(folder, options, files, stems)
    if files.pictures and not tables:
        for name in TEXT_FOLDERS:
            tables += _tables_in(folder / name, options, files, stems)
    if not tables:
        return _split_folders(folder, options, files, stems)
    if len(tables) == 1:
        return {split_name(tables[0].stem) or "train": tables}
    splits = {split_in_name(file.stem): file for file in tables}
    if None in splits or len(splits) < len(tables):
        raise DatasetError(
            f"Several tables of {folder} may hold the captions: "
            f"{quoted_list(t.name for t in tables)}. Give one of them instead of the folder, or "
            "name them train, validation and test."
        )
    return {name: [file] for name, file in splits.items() if name is not None}


def _split_folders(
    folder: Path, options: ColumnOptions, files: PictureFiles, stems: set[str]
) -> dict[str, list[Path]]:
    """The table in each folder that is named after a split, except imagefolder's metadata."""
    splits: dict[str, list[Path]] = {}
    for subfolder in sorted(folder.iterdir()):
        split = split_name(subfolder.name)
        if split is not None and subfolder.is_dir():
            tables = _tables_in(subfolder, options, files, stems)
            if len(tables) != 1 or tables[0].stem == "metadata" or split in splits:
                return {}
            splits[split] = tables
    return splits


def _tables_in(
    folder: Path, options: ColumnOptions, files: PictureFiles, stems: set[str]
) -> list[Path]:
    """The tables of pairs in a folder: those with a header, else without one, else JSON.

    `stems` are the paths of pictures without their suffixes.
    """
    plain = _list_files(folder, _FOLDER_TABLES, stems)
    tables = [file for file in plain if looks_like_pairs(table_header(file), options)]
    if not tables and files.pictures:
        tables = [file for file in plain if names_pictures(file, files)]
    if not tables and files.pictures:
        excluded = audit_files(folder)
        json = [file for file in _list_files(folder, (".json",), stems) if file not in excluded]
        # COCO's other annotations are large; reading them would take long.
        captions = [file for file in json if "caption" in file.name.lower()]
        tables = [file for file in captions or json if looks_like_pairs(json_names(file), options)]
    return tables


def _list_files(folder: Path, suffixes: Sequence[str], stems: set[str]) -> list[Path]:
    """The files of a folder with some suffixes, except those that belong to one picture."""
    files = sorted(folder.iterdir()) if folder.is_dir() else []
    return [
        file
        for file in files
        if file.suffix.lower() in suffixes
        and os.path.abspath(file.with_suffix("")) not in stems
        and file.is_file()
    ]


def table_header(file: Path) -> list[str]:
    """The cells of the first line of a table, or the keys of JSON; empty if there are none."""
    if is_json(file):
        return json_names(file)
    line = first_line(file)
    return split_line(line, delimiter_of(line))


def names_pictures(file: Path, files: PictureFiles) -> bool:
    """Whether the first line of a delimited table is a row that names a picture."""
    cells = [] if is_json(file) else table_header(file)
    return len(cells) > 1 and any(
        has_picture_suffix(cell) or bool(files.matches(cell)) for cell in cells if cell
    )


def read_table(file: Path, options: ColumnOptions, files: PictureFiles) -> RawSplit:
    """Reads a CSV, JSON or JSON Lines file, with names of pictures as in the file.

    Args:
        file: The file.
        options: The user's column options.
        files: The files below its folder.

    Raises:
        DatasetError: The file is not such a table; the message names the faulty line.
    """
    if is_json(file):
        rows = read_json(file)
    else:
        rows = read_delimited(file, options, lambda name: bool(files.matches(name)))
    return RawSplit(as_dataset(rows, file, options), options, rows.faults, rows.notes)


def resolve_pictures(
    raw: RawSplit, file: Path, split: str, files: PictureFiles, strict: bool = True
) -> RawSplit:
    """Replaces the names of pictures in a table by absolute paths, and base64 by bytes.

    Args:
        raw: The rows of the table; returned unchanged if they contain the pictures.
        file: The table.
        split: Name of the split, for the messages.
        files: The files below the folder of the table, or below the folder of all splits.
        strict: Whether a missing file is an error; otherwise its path is kept.

    Raises:
        DatasetError: A file does not exist, or a name matches several files.
    """
    if strict:
        reject_faults(file, {split: raw._replace(notes=())})
    columns = find_columns(raw.dataset, raw.options, split)
    dataset = decode_pictures(raw.dataset, columns.visual)
    if not is_string(dataset.features[columns.visual]):
        return raw._replace(dataset=dataset)
    names = column_values(dataset, columns.visual)
    full = _full_paths({name for name in names if name and "://" not in name}, file, files)
    missing = [row for row, name in enumerate(names) if name in full and full[name] is None]
    if missing and strict:
        raise DatasetError(
            f"Row {missing[0]} of {file} names the picture {quoted(names[missing[0]])}, which is "
            f"not in {file.parent} or below it ({len(missing)} of {len(names)} rows have no file). "
            "Add the pictures there, or correct the paths."
        )
    feature, options = datasets.Value("string"), raw.options
    if columns.image_id is None:  # absolute paths are not names: they depend on the machine
        dataset = dataset.remove_columns([n for n in dataset.column_names if n == IMAGE_ID])
        plain = [name and without_fragment(name) for name in names]
        dataset = dataset.add_column(IMAGE_ID, names_of_paths(plain), feature=feature)
        options = replace(options, id=IMAGE_ID)
    dataset = dataset.remove_columns(columns.visual)
    # Missing pictures get absolute paths, too: the working directory may have such a file.
    parent = os.path.abspath(file.parent)
    paths = [(full[name] or os.path.join(parent, name)) if name in full else name for name in names]
    dataset = dataset.add_column(columns.visual, paths, feature=feature)
    pictures = frozenset(path for path in full.values() if path is not None)
    return raw._replace(dataset=dataset, options=options, pictures=pictures)


def _full_paths(names: set[str], file: Path, files: PictureFiles) -> dict[str, str | None]:
    """Finds the file of each name; None if there is none."""
    full: dict[str, str | None] = {}
    for name in names:
        matches = files.matches(name)
        if len(matches) > 1:
            raise DatasetError(
                f"{file} names the picture {quoted(name)}, which matches {len(matches)} files "
                f"below {files.folder}: {quoted_list(matches[:2])}. Write the path from there."
            )
        full[name] = matches[0] if matches else None
    return full


def has_configs(card: Path) -> bool:
    """Whether a dataset card lists configurations in its YAML."""
    parts = card.read_text(encoding="utf-8").split("---", 2) if card.is_file() else []
    return len(parts) == 3 and not parts[0].strip() and "\nconfigs:" in parts[1]
