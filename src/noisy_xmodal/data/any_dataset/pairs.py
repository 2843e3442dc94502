"""Any dataset of images and captions, brought to the column contract.

`as_pairs` takes a `datasets.Dataset`, `load_pairs` a name: of a Hub dataset, a folder or a file.
No code of a dataset is run.
"""

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
from .columns import GivenColumns, NoPairsError, PairColumns, find_columns
from .delimited import what_it_says
from .encoded_pictures import decode_pictures
from .images import image_rows
from .json_tables import is_json, read_json
from .opening import open_splits
from .tables import (
    TABLE_SUFFIXES,
    Opened,
    refuse_faults,
    resolve_pictures,
    split_name,
    table_header,
)
from .usable import usable_part

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
    """Brings a dataset to the column contract: a row per image, with the list of its captions.

    Columns that are not named are found by name and type. Rows with the same image become one
    row: its captions in the order of the rows, each text once, the other columns of the first
    row. A column that has a name of the contract and another use is dropped. Pictures are neither
    decoded nor copied, except that `datasets` may write a selection of rows to its cache, once.

    Args:
        dataset: One split; returned as it is where it keeps the contract and no other column is
            named.
        image_column: Pictures, paths, bytes or region features.
        caption_column: Strings, lists of strings, lists of objects with a text, or the stem of
            numbered columns: `caption` for `caption_0`, `caption_1`, ...
        id_column: What names the image; without one it is the path, or the number of the row.
        split: Name of the split, for the messages.

    Returns:
        The dataset by the contract of `columns`.

    Raises:
        DatasetError: A column is not found, several could be meant, or a row has no picture, no
            caption, or an image name that stands for another image.
    """
    check_is_split(dataset)
    given = GivenColumns(image_column, caption_column, id_column)
    return _as_pairs(Opened(dataset, given), None, split)


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
    """Loads images with captions from anywhere, by the column contract.

    Args:
        name: A folder (see `opening` for its layouts), a file (CSV, TSV, JSON, JSON Lines, Parquet,
            tar, zip), a pattern of tars (`train-{000..127}.tar`), or a Hub dataset.
            A table names pictures relative to its folder, or by the end of the path of one file
            below it (see `picture_files`).
        config_name: Configuration of a dataset that has several.
        split: The only split to return, where not all are wanted.
        image_column: See `as_pairs`, also for the next two.
        caption_column: The captions.
        id_column: What names the image.
        left_out: Where a dict is given, lines that cannot be read, pictures that are no files and
            captions that say nothing are no errors: they are left out, and a line on each is added
            under its split, as is the number of pictures that have no row. A split of which nothing
            is left is not returned.

    Returns:
        The splits. A dataset of one split with a `split` column is split by it; in that column
        `restval` is `train`, and `dev`, `val` and `valid` are `validation`.

    Raises:
        DatasetError: The dataset, configuration, split or a picture file does not exist, or a
            split cannot be brought to the contract (see `as_pairs`).
    """
    given = GivenColumns(image_column, caption_column, id_column)
    complete = resolve_pictures if left_out is None else partial(resolve_pictures, strict=False)
    try:
        parts = open_splits(name, config_name, given, complete)
        if split is not None:
            wanted = split if split in parts else split_name(split)
            if wanted not in parts:
                raise DatasetError(f"{name} has no split '{split}'; its splits are {list(parts)}.")
            parts = {wanted: parts[wanted]}
        if left_out is not None:
            for part, (found, rows) in parts.items():
                usable, notes = usable_part(found, rows, part)
                parts[part] = usable, None
                left_out[part] = [*found.faults, *found.notes, *notes]
            parts = {part: found for part, found in parts.items() if len(found[0].dataset)}
        else:
            refuse_faults(name, parts)
        pairs = {part: _as_pairs(found, rows, part) for part, (found, rows) in parts.items()}
    except NoPairsError as error:
        raise DatasetError(f"{error}{_tables_hint(Path(name).expanduser())}") from error
    return datasets.DatasetDict(pairs)


def _tables_hint(folder: Path) -> str:
    """Names the tables of a folder whose columns were not known to hold pairs."""
    if not folder.is_dir() or (folder / "README.md").exists():
        return ""
    tables = [f for f in sorted(folder.iterdir()) if f.suffix.lower() in TABLE_SUFFIXES]
    found = [f"{file.name} ({_what_is_in(file)})" for file in tables[:3]]
    if not found:
        return ""
    return (
        f" Tables in {folder}: {', '.join(found)}. Name the columns of one with image_column=NAME "
        "and caption_column=NAME."
    )


def _what_is_in(file: Path) -> str:
    """The columns of a table, or why it has none."""
    if not is_json(file) and file.stat().st_size:
        return what_it_says(table_header(file))
    try:
        return what_it_says(list(read_json(file).columns))
    except DatasetError as error:
        return str(error).rstrip(".")


def _as_pairs(opened: Opened, rows: list[int] | None, split: str) -> datasets.Dataset:
    dataset, given = opened.dataset, opened.given
    view = dataset if rows is None else dataset.select(rows)
    if _keeps_contract(view, given):
        return view
    if {IMAGE_FEATURES, TEXT_FEATURES} <= view.features.keys():
        raise DatasetError(
            f"Split '{split}' holds vectors with classes ('{IMAGE_FEATURES}', '{TEXT_FEATURES}'), "
            "not images with captions."
        )
    columns = find_columns(view, given, split)
    decoded = decode_pictures(dataset, columns.visual)
    if decoded is not dataset:
        return _as_pairs(opened._replace(dataset=decoded), rows, split)
    captions = read_captions(view, columns.captions, split)
    flags = read_flags(view, captions, split)
    first_rows, names = image_rows(view, columns, split)
    kept = merge_captions(captions, flags, first_rows)
    values: dict[str, list[Any]] = {CAPTIONS: captions, IMAGE_ID: names}
    if flags is not None:
        values[IS_NOISY] = flags
    renamed = _renamed(dataset, columns, merged=len(kept) < len(view))
    result = _with_names(dataset, columns, renamed)
    for name, new in values.items():
        if name not in renamed.values():
            result = result.add_column(name, _spread(new, rows, len(dataset)), feature=_TYPES[name])
    if IMAGE in renamed.values() and not isinstance(result.features[IMAGE], datasets.Image):
        result = result.cast_column(IMAGE, datasets.Image())
    order = kept if rows is None else [rows[row] for row in kept]
    result = result.select(order) if len(order) < len(dataset) else result
    validate_columns(result, split)
    return result


def _renamed(dataset: datasets.Dataset, columns: PairColumns, merged: bool) -> dict[str, str]:
    """The columns that need no more than the contract's name: a new column costs a copy."""
    features = dataset.features
    renamed = {columns.visual: IMAGE if is_picture(features[columns.visual]) else REGIONS}
    if not merged:
        if len(columns.captions) == 1 and is_string_list(features[columns.captions[0]]):
            renamed[columns.captions[0]] = CAPTIONS
        if columns.image_id is not None and is_string(features[columns.image_id]):
            renamed[columns.image_id] = IMAGE_ID
        if features.get(IS_NOISY) == _TYPES[IS_NOISY]:
            renamed[IS_NOISY] = IS_NOISY
    return renamed


def _with_names(
    dataset: datasets.Dataset, columns: PairColumns, renamed: dict[str, str]
) -> datasets.Dataset:
    """Gives columns the contract's names, and drops those that are in the way or were read."""
    read = {*columns.captions, columns.image_id}
    dropped = {CAPTIONS, IMAGE_ID, IS_NOISY, REGIONS, *renamed.values(), *read} - renamed.keys()
    left = dataset.remove_columns([name for name in dataset.column_names if name in dropped])
    return left.rename_columns({old: new for old, new in renamed.items() if old != new})


def _spread(values: list[Any], rows: list[int] | None, n_rows: int) -> list[Any]:
    """Puts the values of some rows where they stand among all rows."""
    if rows is None:
        return values
    spread = [None] * n_rows
    for row, value in zip(rows, values, strict=True):
        spread[row] = value
    return spread


def _keeps_contract(dataset: datasets.Dataset, given: GivenColumns) -> bool:
    try:
        validate_columns(dataset)
    except DatasetError:
        return False
    return (
        given.image in (None, visual_column(dataset))
        and given.caption in (None, CAPTIONS)
        and given.id in (None, IMAGE_ID)
    )
