"""Conversion of any dataset of images and captions to the column contract.

`as_pairs` converts a `datasets.Dataset`. `load_pairs` loads a Hub dataset, a folder or a file by
name, without running code of the dataset.
"""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import datasets

from ..columns import (
    CAPTIONS,
    IMAGE,
    IMAGE_FEATURES,
    IMAGE_ID,
    IS_NOISY,
    REGIONS,
    TEXT_FEATURES,
    DatasetError,
    check_is_split,
    validate_columns,
    visual_column,
)
from ..feature_types import is_picture, is_string, is_string_list
from .captions import merge_captions, read_captions, read_flags
from .columns import ColumnOptions, NoPairsError, PairColumns, find_columns
from .delimited import describe_header
from .encoded_pictures import decode_pictures
from .images import image_rows
from .json_tables import is_json, read_json
from .opening import open_splits
from .tables import (
    TABLE_SUFFIXES,
    RawSplit,
    reject_faults,
    resolve_pictures,
    split_name,
    table_header,
)
from .usable import drop_unusable

_TYPES = {
    CAPTIONS: datasets.List(datasets.Value("string")),
    IMAGE_ID: datasets.Value("string"),
    IS_NOISY: datasets.List(datasets.Value("bool")),
}


def as_pairs(
    dataset: datasets.Dataset,
    *,
    image_column: str | None = None,
    caption_column: str | None = None,
    id_column: str | None = None,
    split: str = "train",
) -> datasets.Dataset:
    """Converts a dataset to the column contract: one row per image, with a list of captions.

    Columns without an option are detected by name and type. Rows with the same image are merged:
    captions keep the order of the rows, each text occurs once, and other columns come from the
    first row. An unrelated column with a name of the contract is dropped. Pictures are neither
    decoded nor copied, except that `datasets` may write a selection of rows to its cache, once.

    Args:
        dataset: One split; returned unchanged if it follows the contract and the options agree.
        image_column: Pictures, paths, bytes or region features.
        caption_column: Strings, lists of strings, lists of objects with a text, or the stem of
            numbered columns: `caption` for `caption_0`, `caption_1`, ...
        id_column: The name of the image; by default its path, or the number of the row.
        split: Name of the split, for the messages.

    Returns:
        The dataset in the columns of `data.columns`.

    Raises:
        DatasetError: A column is missing or ambiguous, or a row has no picture, no caption, or the
            name of another image.
    """
    check_is_split(dataset)
    options = ColumnOptions(image_column, caption_column, id_column)
    return _as_pairs(RawSplit(dataset, options), split)


def load_pairs(
    name: str | Path,
    config_name: str | None = None,
    *,
    split: str | None = None,
    image_column: str | None = None,
    caption_column: str | None = None,
    id_column: str | None = None,
    left_out: dict[str, list[str]] | None = None,
) -> datasets.DatasetDict:
    """Loads images with captions from a folder, a file or the Hub, by the column contract.

    Args:
        name: A folder (see `opening` for the layouts), a file (CSV, TSV, JSON, JSON Lines, Parquet,
            tar, zip), a pattern of tars (`train-{000..127}.tar`), or a Hub dataset. A table names
            pictures by their paths relative to its folder, or by the end of a path below it (see
            `picture_files`).
        config_name: Configuration, if the dataset has several.
        split: The split to return; all by default.
        image_column: See `as_pairs`, also for the next two.
        caption_column: The captions.
        id_column: The name of the image.
        left_out: If a dict is passed, invalid lines, missing pictures and empty captions are left
            out instead of raising an error. Each gets a line in the dict under its split, as do
            pictures without a row. Splits without remaining rows are not returned.

    Returns:
        The splits. If the dataset has one split with a column `split`, that column defines the
        splits; `restval` counts as `train`, and `dev`, `val` and `valid` count as `validation`.

    Raises:
        DatasetError: The dataset, configuration, split or a picture file does not exist, or a
            split cannot be converted (see `as_pairs`).
    """
    options = ColumnOptions(image_column, caption_column, id_column)
    resolve = resolve_pictures if left_out is None else partial(resolve_pictures, strict=False)
    try:
        splits = open_splits(name, config_name, options, resolve)
        if split is not None:
            key = split if split in splits else split_name(split)
            if key not in splits:
                raise DatasetError(f"{name} has no split '{split}'; its splits are {list(splits)}.")
            splits = {key: splits[key]}
        if left_out is not None:
            for key, raw in splits.items():
                splits[key], notes = drop_unusable(raw, key)
                left_out[key] = [*raw.faults, *raw.notes, *notes]
            splits = {key: raw for key, raw in splits.items() if len(raw.dataset)}
        else:
            reject_faults(name, splits)
        pairs = {key: _as_pairs(raw, key) for key, raw in splits.items()}
    except NoPairsError as error:
        raise DatasetError(f"{error}{_tables_hint(Path(name).expanduser())}") from error
    return datasets.DatasetDict(pairs)


def _tables_hint(folder: Path) -> str:
    """Names the tables of a folder in which no columns of pairs were detected."""
    if not folder.is_dir() or (folder / "README.md").exists():
        return ""
    tables = [f for f in sorted(folder.iterdir()) if f.suffix.lower() in TABLE_SUFFIXES]
    if not tables:
        return ""
    hints = ", ".join(f"{file.name} ({_describe_table(file)})" for file in tables[:3])
    return (
        f" Tables in {folder}: {hints}. Name the columns of one with image_column=NAME and "
        "caption_column=NAME."
    )


def _describe_table(file: Path) -> str:
    """Lists the columns of a table, or says why it has none."""
    if not is_json(file) and file.stat().st_size:
        return describe_header(table_header(file))
    try:
        return describe_header(list(read_json(file).columns))
    except DatasetError as error:
        return str(error).rstrip(".")


def _as_pairs(raw: RawSplit, split: str) -> datasets.Dataset:
    dataset, options, rows = raw.dataset, raw.options, raw.rows
    view = raw.view()
    if _follows_contract(view, options):
        return view
    if {IMAGE_FEATURES, TEXT_FEATURES} <= view.features.keys():
        raise DatasetError(
            f"Split '{split}' holds vectors with classes ('{IMAGE_FEATURES}', '{TEXT_FEATURES}'), "
            "not images with captions."
        )
    columns = find_columns(view, options, split)
    decoded = decode_pictures(dataset, columns.visual)
    if decoded is not dataset:
        return _as_pairs(raw._replace(dataset=decoded), split)
    captions = read_captions(view, columns.captions, split)
    flags = read_flags(view, captions, split)
    first_rows, names = image_rows(view, columns, split)
    image_order = merge_captions(captions, flags, first_rows)
    values: dict[str, list[Any]] = {CAPTIONS: captions, IMAGE_ID: names}
    if flags is not None:
        values[IS_NOISY] = flags
    new_names = _new_names(dataset, columns, merges_rows=len(image_order) < len(view))
    result = _rename_columns(dataset, columns, new_names)
    for name, column in values.items():
        if name not in new_names.values():
            column = _scatter(column, rows, len(dataset))
            result = result.add_column(name, column, feature=_TYPES[name])
    if IMAGE in new_names.values() and not isinstance(result.features[IMAGE], datasets.Image):
        result = result.cast_column(IMAGE, datasets.Image())
    order = image_order if rows is None else [rows[row] for row in image_order]
    result = result.select(order) if len(order) < len(dataset) else result
    validate_columns(result, split)
    return result


def _new_names(
    dataset: datasets.Dataset, columns: PairColumns, merges_rows: bool
) -> dict[str, str]:
    """New names of the columns that need no other change; replacing a column costs a copy."""
    features = dataset.features
    names = {columns.visual: IMAGE if is_picture(features[columns.visual]) else REGIONS}
    if not merges_rows:
        if len(columns.captions) == 1 and is_string_list(features[columns.captions[0]]):
            names[columns.captions[0]] = CAPTIONS
        if columns.image_id is not None and is_string(features[columns.image_id]):
            names[columns.image_id] = IMAGE_ID
        if features.get(IS_NOISY) == _TYPES[IS_NOISY]:
            names[IS_NOISY] = IS_NOISY
    return names


def _rename_columns(
    dataset: datasets.Dataset, columns: PairColumns, new_names: dict[str, str]
) -> datasets.Dataset:
    """Renames columns, and drops the source columns and those with conflicting names."""
    sources = {*columns.captions, columns.image_id}
    dropped = {CAPTIONS, IMAGE_ID, IS_NOISY, REGIONS, *new_names.values(), *sources}
    dropped -= new_names.keys()
    rest = dataset.remove_columns([name for name in dataset.column_names if name in dropped])
    return rest.rename_columns({old: new for old, new in new_names.items() if old != new})


def _scatter(values: list[Any], rows: Sequence[int] | None, n_rows: int) -> list[Any]:
    """Places the values of `rows` in a column of `n_rows`, with None elsewhere."""
    if rows is None:
        return values
    column = [None] * n_rows
    for row, value in zip(rows, values, strict=True):
        column[row] = value
    return column


def _follows_contract(dataset: datasets.Dataset, options: ColumnOptions) -> bool:
    try:
        validate_columns(dataset)
    except DatasetError:
        return False
    return (
        options.image in (None, visual_column(dataset))
        and options.caption in (None, CAPTIONS)
        and options.id in (None, IMAGE_ID)
    )
