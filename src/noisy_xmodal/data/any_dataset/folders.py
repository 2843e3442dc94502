"""Layouts of folders: tables beside pictures, data files by split, a text beside each picture.

    cats/1.jpg  cats/1.txt        or  images/1.jpg  captions/1.txt

In a text beside a picture, each line is a caption. JSON beside a picture is one row: an object as
in JSON Lines.
"""

import os
import re
import unicodedata
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from ..columns import DatasetError
from ..messages import quoted, quoted_list
from .captions import plain_name
from .columns import ColumnOptions, looks_like_pairs
from .delimited import TableRows, read_text
from .json_tables import columns_of, is_json, parse_json
from .picture_files import TEXT_FOLDERS, PictureFiles, files_below, has_picture_suffix
from .tables import table_header

FILE_NAME = "file_name"
_TABLES = (".csv", ".tsv", ".txt", ".jsonl", ".ndjson")
_TEXTS, _JSON = (".txt", ".caption"), (".json",)
_N_EXAMPLES = 3  # in messages
_SPLITS = {
    **dict.fromkeys(("train", "training", "restval"), "train"),
    **dict.fromkeys(("validation", "valid", "val", "dev"), "validation"),
    **dict.fromkeys(("test", "testing"), "test"),
}
_AUDIT_COLUMNS = {"pair_id", "image_id", "caption", "clean_probability", "suggested_caption"}
_REVIEW_COLUMNS = {"id", "image_id", "caption", "decision", "new_caption", "reviewer"}


def split_name(name: str) -> str | None:
    """The standard name of a split (`validation` for `dev`); None if `name` is not a split."""
    return _SPLITS.get(plain_name(name))


def split_in_name(name: str) -> str | None:
    """Finds a split in the words of a name: `validation` for `captions_val2017`.

    Returns:
        The standard name of the split; None if the words name no split, or several.
    """
    splits = {_SPLITS[word] for word in re.findall("[a-z]+", name.lower()) if word in _SPLITS}
    return splits.pop() if len(splits) == 1 else None


def has_configs(folder: Path) -> bool:
    """Whether the card of a folder lists configurations in its YAML."""
    card = folder / "README.md"
    text = card.read_text(encoding="utf-8", errors="replace") if card.is_file() else ""
    parts = text.split("---", 2)
    return len(parts) == 3 and not parts[0].strip() and "\nconfigs:" in parts[1]


def audit_files(folder: Path) -> set[Path]:
    """Tables of earlier audits at the top of a folder, their reports and summaries, and reviews."""
    files = list(folder.glob("*.parquet"))
    tables = [file for file in files if is_audit_table(file)]
    reports = (table.with_suffix(suffix) for table in tables for suffix in (".json", ".html"))
    reviews = (file for file in files if _has_columns(file, _REVIEW_COLUMNS))
    return {*tables, *(file for file in reports if file.is_file()), *reviews}


def is_audit_table(file: Path) -> bool:
    """Whether a file is the Parquet table of an audit."""
    return file.suffix.lower() == ".parquet" and _has_columns(file, _AUDIT_COLUMNS)


def _has_columns(file: Path, names: set[str]) -> bool:
    """Whether a file is Parquet with some columns."""
    try:
        return names.issubset(pq.read_schema(file).names)
    except (pa.ArrowException, OSError):
        return False


def folder_shards(
    folder: Path, suffixes: Collection[str], excluded: Collection[Path]
) -> dict[str, list[Path]]:
    """Finds data files like `train-00000-of-00002.parquet` at the top of a folder without a card.

    Returns:
        The files by split; empty if there are none, if their suffixes differ, or if one is not
        named after a split. `datasets` then applies its own rules.
    """
    files = [file for file in sorted(folder.iterdir()) if file.suffix.lower() in suffixes]
    files = [file for file in files if file not in excluded]
    splits: dict[str | None, list[Path]] = {}
    for file in files:
        word = re.split(r"[^a-z]", file.stem.lower())[0]
        splits.setdefault(split_name(word), []).append(file)
    has_one_kind = len({file.suffix.lower() for file in files}) == 1
    if None in splits or not has_one_kind or (folder / "README.md").exists():
        return {}
    return {str(split): shards for split, shards in splits.items()}


def folder_tables(
    folder: Path, options: ColumnOptions, files: PictureFiles
) -> dict[str, list[Path]]:
    """Finds the table of pairs in a folder of pictures, or one table per split.

    If the folder has no table itself, its subfolders `annotations`, `captions` etc. are searched;
    COCO has its captions there.

    Returns:
        The tables by split; empty if no table has pairs, or if a card lists the files to load.

    Raises:
        DatasetError: There are several tables, and they are not named after splits.
    """
    if has_configs(folder):
        return {}
    tables = _tables_in(folder, options, files)
    if files.pictures and not tables:
        tables = [t for name in TEXT_FOLDERS for t in _tables_in(folder / name, options, files)]
    if not tables:
        return _split_folders(folder, options, files)
    if len(tables) == 1:
        return {split_name(tables[0].stem) or "train": tables}
    splits = {split_in_name(file.stem): [file] for file in tables}
    if None in splits or len(splits) < len(tables):
        raise DatasetError(
            f"Several tables of {folder} may hold the captions: "
            f"{quoted_list(t.name for t in tables)}. Give one of them instead of the folder, or "
            "name them train, validation and test."
        )
    return {str(split): files for split, files in splits.items()}


def _split_folders(
    folder: Path, options: ColumnOptions, files: PictureFiles
) -> dict[str, list[Path]]:
    """The table in each folder that is named after a split, except imagefolder's metadata."""
    splits: dict[str, list[Path]] = {}
    for subfolder in sorted(folder.iterdir()):
        split = split_name(subfolder.name)
        if split is not None and subfolder.is_dir():
            tables = _tables_in(subfolder, options, files)
            if len(tables) != 1 or tables[0].stem == "metadata" or split in splits:
                return {}
            splits[split] = tables
    return splits


def _tables_in(folder: Path, options: ColumnOptions, files: PictureFiles) -> list[Path]:
    """The tables of pairs in a folder: those with a header, else without one, else JSON."""
    stems = files.stems  # a text beside a picture is no table
    entries = sorted(folder.iterdir()) if folder.is_dir() else []
    entries = [f for f in entries if os.path.abspath(f.with_suffix("")) not in stems]
    plain = [file for file in entries if file.suffix.lower() in _TABLES and file.is_file()]
    tables = [file for file in plain if looks_like_pairs(table_header(file), options)]
    if not tables and files.pictures:
        tables = [file for file in plain if _names_pictures(file, files)]
    if not tables and files.pictures:
        excluded = audit_files(folder)
        json = [file for file in entries if file.suffix.lower() in _JSON and file not in excluded]
        # COCO's other annotations are large; reading them would take long.
        json = [file for file in json if "caption" in file.name.lower()] or json
        tables = [f for f in json if f.is_file() and looks_like_pairs(table_header(f), options)]
    return tables


def _names_pictures(file: Path, files: PictureFiles) -> bool:
    """Whether the first line of a delimited table is a row that names a picture."""
    cells = [] if is_json(file) else table_header(file)
    return len(cells) > 1 and any(
        has_picture_suffix(cell) or bool(files.matches(cell)) for cell in cells if cell
    )


def sidecar_rows(folder: Path, files: PictureFiles) -> TableRows | None:
    """Reads the caption files of pictures.

    Returns:
        A row per picture that has a caption file, with the picture's path in the column
        `file_name`; None if no picture has one. If there are both text and JSON files, the kind
        that matches more pictures is read.
    """
    paths = list(files_below(folder))
    kinds = [[path for path in paths if path.lower().endswith(kind)] for kind in (_TEXTS, _JSON)]
    matches = [_match(files.pictures, texts) for texts in kinds]
    texts, text_of = max(zip(kinds, matches, strict=True), key=lambda pair: len(pair[1]))
    if not text_of:
        return None
    rows, faults, notes = [], list[str](), list[str]()
    for picture, text in text_of.items():
        try:
            rows.append(_sidecar_row(Path(text)) | {FILE_NAME: picture})
        except DatasetError as error:
            faults.append(str(error))
    used = {*text_of.values()}
    others = [os.path.relpath(path, folder) for path in texts if path not in used]
    if others:
        examples = quoted_list(others, _N_EXAMPLES)
        notes.append(f"{len(others):,} texts have no picture of the same name: {examples}")
    return TableRows(columns_of(rows), faults, notes)


def _match(pictures: Sequence[str], texts: Iterable[str]) -> dict[str, str]:
    """The text file of each picture: in the same folder, else if the name is unique."""
    by_stem = {_stem(path): path for path in texts}
    by_name: dict[str, list[str]] = {}
    for stem, path in by_stem.items():
        by_name.setdefault(os.path.basename(stem), []).append(path)
    stems = {picture: _stem(picture) for picture in pictures}
    counts = Counter(os.path.basename(stem) for stem in stems.values())
    matches = {}
    for picture, stem in stems.items():
        candidates = by_name.get(os.path.basename(stem), ())
        if stem in by_stem:
            matches[picture] = by_stem[stem]
        elif len(candidates) == 1 and counts[os.path.basename(stem)] == 1:
            matches[picture] = candidates[0]
    return matches


def _stem(path: str) -> str:
    """A path without its suffix, or both suffixes of `1.jpg.txt`, in Unicode normal form C."""
    stem = os.path.splitext(path)[0]
    stem = os.path.splitext(stem)[0] if has_picture_suffix(stem) else stem
    return unicodedata.normalize("NFC", stem)


def _sidecar_row(file: Path) -> dict[str, Any]:
    text = read_text(file)
    if file.suffix.lower() in _TEXTS:
        return {"captions": [line.strip() for line in text.splitlines() if line.strip()]}
    try:
        row = parse_json(text)
    except ValueError as error:
        raise DatasetError(f"{file} is not JSON ({error})") from error
    if not isinstance(row, Mapping):
        raise DatasetError(f"{file} is not a JSON object: {quoted(row)}")
    return dict(row)
