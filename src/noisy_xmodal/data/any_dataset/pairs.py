"""Conversion of any dataset of images and captions to the column contract.

`as_pairs` converts a `datasets.Dataset`. `load_pairs` loads a Hub dataset, a folder or a file by
name, without running code of the dataset.
"""

import os
from collections.abc import Iterable, Mapping, Sequence
from itertools import compress
from pathlib import Path
from typing import Any

import datasets
import pyarrow.compute as pc

from ..columns import (
    CAPTIONS,
    IMAGE,
    IMAGE_FEATURES,
    IMAGE_ID,
    IS_NOISY,
    REGIONS,
    TEXT_FEATURES,
    DatasetError,
    check_captions,
    check_is_split,
    validate_columns,
    visual_column,
)
from ..feature_types import is_picture, is_string, is_string_list
from ..messages import shortened
from .captions import caption_lists, read_flags
from .columns import ColumnOptions, NoPairsError, PairColumns, find_columns
from .folders import split_name
from .images import Place, check_places, image_rows, picture_places
from .opening import open_splits
from .picture_files import names_of_paths
from .tables import (
    LEAVE_OUT,
    TABLE_SUFFIXES,
    RawSplit,
    decode_pictures,
    describe_table,
    reject_faults,
)

_N_LINES = 3  # in messages
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
            split cannot be converted (see `as_pairs`), or no row is usable.
    """
    options = ColumnOptions(image_column, caption_column, id_column)
    pairs = datasets.DatasetDict()
    try:
        splits = open_splits(name, config_name, options, strict=left_out is None)
        if split is not None:
            key = split if split in splits else split_name(split)
            if key not in splits:
                raise DatasetError(f"{name} has no split '{split}'; its splits are {list(splits)}.")
            splits = {key: splits[key]}
        if left_out is None:
            reject_faults(name, splits)
        for key, raw in splits.items():
            notes = None
            if left_out is not None:
                notes = left_out[key] = [*raw.faults, *raw.notes]
            rows = _as_pairs(raw, key, notes)
            if notes is None or len(rows):
                pairs[key] = rows
    except NoPairsError as error:
        raise DatasetError(f"{error}{_tables_hint(Path(name).expanduser())}") from error
    if left_out is not None and not pairs:
        lines = [line.rstrip(".") for key in splits for line in left_out[key]]
        reasons = "; ".join(lines[:_N_LINES]) or "it is empty"
        raise DatasetError(f"{name} has no usable row: {reasons}.")
    return pairs


def _tables_hint(folder: Path) -> str:
    """Names the tables of a folder in which no columns of pairs were detected."""
    if not folder.is_dir() or (folder / "README.md").exists():
        return ""
    tables = [f for f in sorted(folder.iterdir()) if f.suffix.lower() in TABLE_SUFFIXES]
    if not tables:
        return ""
    hints = ", ".join(f"{file.name} ({describe_table(file)})" for file in tables[:3])
    return (
        f" Tables in {folder}: {hints}. Name the columns of one with image_column=NAME and "
        "caption_column=NAME."
    )


def _as_pairs(raw: RawSplit, split: str, notes: list[str] | None = None) -> datasets.Dataset:
    """Converts a split; with `notes`, rows without a picture or a caption are left out."""
    follows_contract = _follows_contract(raw.view(), raw.options)
    if follows_contract and notes is None and not _has_gaps(raw.dataset):
        rows, visual = raw.view(), visual_column(raw.dataset)
        if not _stores_all(raw.dataset, visual):
            check_places(rows, visual, list(picture_places(rows, visual)), split)
        return rows
    if {IMAGE_FEATURES, TEXT_FEATURES} <= raw.dataset.features.keys():
        raise DatasetError(
            f"Split '{split}' holds vectors with classes ('{IMAGE_FEATURES}', '{TEXT_FEATURES}'), "
            "not images with captions."
        )
    columns = find_columns(raw.dataset, raw.options, split)
    raw = raw._replace(dataset=decode_pictures(raw.dataset, columns.visual))
    captions = caption_lists(raw.view(), columns.captions)
    places = list(picture_places(raw.view(), columns.visual))
    if notes is None:
        for row, texts in enumerate(captions):
            check_captions(texts, row, split, columns.captions, LEAVE_OUT)
    else:
        usable = _usable_rows(captions, places, split, notes)
        if len(usable) < len(captions):
            raw = raw._replace(rows=[row if raw.rows is None else raw.rows[row] for row in usable])
            captions = [captions[row] for row in usable]
            places = [places[row] for row in usable]
    flags = read_flags(raw.view(), captions, split)
    is_unchanged = all(_has_text(text) for texts in captions for text in texts)
    if not is_unchanged:
        has_text = [list(map(_has_text, texts)) for texts in captions]
        captions = [list(compress(*row)) for row in zip(captions, has_text, strict=True)]
        flags = flags and [list(compress(*row)) for row in zip(flags, has_text, strict=True)]
    values: dict[str, Any] = {CAPTIONS: captions}
    first_rows: Sequence[int] = range(len(captions))
    check_places(raw.view(), columns.visual, places, split)
    if not follows_contract:
        first_rows, values[IMAGE_ID] = image_rows(raw.view(), columns, places, split)
    order = merge_captions(captions, flags, first_rows)
    if flags is not None:
        values[IS_NOISY] = flags
    new_names = _new_names(raw.dataset, columns, len(order) < len(captions), is_unchanged)
    added = {
        name: _scatter(column, raw.rows, len(raw.dataset))
        for name, column in values.items()
        if name not in new_names.values()
    }
    dropped = (CAPTIONS, IMAGE_ID, IS_NOISY, REGIONS, *columns.captions, columns.image_id)
    result = replace_columns(raw.dataset, new_names, added, dropped)
    order = order if raw.rows is None else [raw.rows[row] for row in order]
    result = result.select(order) if len(order) < len(raw.dataset) else result
    validate_columns(result, split)
    return result


def _usable_rows(
    captions: Sequence[Sequence[str | None]],
    places: Sequence[Place],
    split: str,
    notes: list[str],
) -> list[int]:
    """The rows with a picture and a caption; adds a note about each other row and caption."""
    names = names_of_paths([path or None for _, path in places])
    usable = []
    for row, (texts, (is_stored, path)) in enumerate(zip(captions, places, strict=True)):
        n_empty = sum(not _has_text(text) for text in texts)
        reason = None
        if not is_stored and not path:
            reason = "it has no picture"
        elif not is_stored and "://" not in str(path) and not os.path.isfile(str(path)):
            reason = "the file does not exist"
        elif n_empty == len(texts):
            reason = "its caption is empty" if n_empty == 1 else "it has no caption with text"
        else:
            usable.append(row)
            if n_empty:
                reason = f"{n_empty} of its captions left out, because empty"
        if reason is not None:
            name = f" ({shortened(names[row])})" if path else ""
            notes.append(f"row {row} of {split}{name}: {reason}")
    return usable


def _has_text(text: str | None) -> bool:
    return bool(text and text.strip())


def _new_names(
    dataset: datasets.Dataset, columns: PairColumns, merges_rows: bool, keeps_captions: bool
) -> dict[str, str]:
    """New names of the columns that need no other change; replacing a column costs a copy."""
    features = dataset.features
    names = {columns.visual: IMAGE if is_picture(features[columns.visual]) else REGIONS}
    if not merges_rows and columns.image_id is not None and is_string(features[columns.image_id]):
        names[columns.image_id] = IMAGE_ID
    if not merges_rows and keeps_captions:
        if len(columns.captions) == 1 and is_string_list(features[columns.captions[0]]):
            names[columns.captions[0]] = CAPTIONS
        if features.get(IS_NOISY) == _TYPES[IS_NOISY]:
            names[IS_NOISY] = IS_NOISY
    return names


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


def _has_gaps(dataset: datasets.Dataset) -> bool:
    """Whether a row, maybe one that is not selected, has None for its image or its captions."""
    names = (visual_column(dataset), CAPTIONS)
    return any(dataset.data.column(name).null_count for name in names)


def _stores_all(dataset: datasets.Dataset, visual: str) -> bool:
    """Whether all rows, with those that are not selected, store their image."""
    column = dataset.data.column(visual)
    return visual != IMAGE or not pc.struct_field(column, "bytes").null_count


def replace_columns(
    dataset: datasets.Dataset,
    new_names: Mapping[str, str],
    added: Mapping[str, list[Any]],
    dropped: Iterable[str | None],
) -> datasets.Dataset:
    """Brings the columns of a dataset to the names and types of the contract.

    Args:
        dataset: One split.
        new_names: The new names of columns that need no other change.
        added: The values of columns to add.
        dropped: Columns to drop, unless they have a new name. Columns whose names conflict with the
            others are dropped as well.
    """
    removed = {*dropped, *new_names.values(), *added} - new_names.keys()
    result = dataset.remove_columns([name for name in dataset.column_names if name in removed])
    result = result.rename_columns({old: new for old, new in new_names.items() if old != new})
    for name, values in added.items():
        result = result.add_column(name, values, feature=_TYPES[name])
    if IMAGE in new_names.values() and not isinstance(result.features[IMAGE], datasets.Image):
        result = result.cast_column(IMAGE, datasets.Image())
    return result


def merge_captions(
    captions: list[list[str | None]], flags: list[list[bool]] | None, first_rows: Sequence[int]
) -> list[int]:
    """Merges the captions of each image, and their flags, into its first row, in place.

    `first_rows` has the first row with the same image for every row.

    Returns:
        The first rows. A repeated text is kept once, with its first flag.
    """
    groups: dict[int, list[int]] = {}
    for row, first in enumerate(first_rows):
        groups.setdefault(first, []).append(row)
    for first, rows in groups.items():
        if len(rows) > 1:
            texts = [text for row in rows for text in captions[row]]
            place_of = {text: place for place, text in reversed([*enumerate(texts)])}
            captions[first] = list(dict.fromkeys(texts))
            if flags is not None:
                row_flags = [flag for row in rows for flag in flags[row]]
                flags[first] = [row_flags[place_of[text]] for text in captions[first]]
    return list(groups)
