"""Any dataset of images and captions, brought to the column contract.

`as_pairs` takes a `datasets.Dataset`, `load_pairs` a name: of a Hub dataset, a folder or a file.
No code of a dataset is run.
"""

from collections.abc import Callable
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
    column_values,
    validate_columns,
    visual_column,
)
from .archives import ARCHIVE_SUFFIXES, archive_folder, is_tar_name
from .captions import (
    is_string,
    is_string_list,
    merge_captions,
    read_captions,
    read_flags,
)
from .columns import GivenColumns, PairColumns, find_columns, is_picture
from .images import image_rows
from .shard_files import is_shard_pattern, pattern_shards, tar_folder
from .shards import NoSamplesError, read_shards
from .tables import (
    TABLE_SUFFIXES,
    Opened,
    folder_shards,
    folder_tables,
    read_table,
    refuse_faults,
    resolve_pictures,
    split_name,
    table_header,
)
from .usable import usable_part

_BUILDERS = {".parquet": "parquet", ".arrow": "arrow"}
_FILE_SUFFIXES = (*TABLE_SUFFIXES, *_BUILDERS, *ARCHIVE_SUFFIXES)
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
    if not isinstance(dataset, datasets.Dataset):
        raise DatasetError(
            f"as_pairs takes one split as a datasets.Dataset, not a {type(dataset).__name__}. "
            "Choose one with dataset[split]."
        )
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
        name: A Hub dataset or a folder that `datasets.load_dataset` opens; a folder of pictures
            with a table of captions; or a file: CSV, TSV, JSON, JSON Lines, Parquet, WebDataset
            (also a folder of tars and a pattern, `train-{000..127}.tar`), zip.
            A table names pictures relative to its folder, or by a file name that occurs once
            below it.
        config_name: Configuration of a dataset that has several.
        split: The only split to return, where not all are wanted.
        image_column: See `as_pairs`, also for the next two.
        caption_column: The captions.
        id_column: What names the image.
        left_out: Where a dict is given, pictures that are no files and captions that say nothing
            are no errors: they are left out, and a line on each is added under its split. A split
            of which nothing is left is not returned.

    Returns:
        The splits. A dataset of one split with a `split` column is split by it; in that column
        `restval` is `train`, and `dev`, `val` and `valid` are `validation`.

    Raises:
        DatasetError: The dataset, configuration, split or a picture file does not exist, or a
            split cannot be brought to the contract (see `as_pairs`).
    """
    given = GivenColumns(image_column, caption_column, id_column)
    complete = resolve_pictures if left_out is None else partial(resolve_pictures, strict=False)
    parts = open_splits(name, config_name, given, complete)
    if split is not None:
        wanted = split if split in parts else split_name(split)
        if wanted not in parts:
            raise DatasetError(f"{name} has no split '{split}'; its splits are {list(parts)}.")
        parts = {wanted: parts[wanted]}
    try:
        if left_out is not None:
            for part, (found, rows) in parts.items():
                usable, notes = usable_part(found, rows, part)
                parts[part] = usable, None
                left_out[part] = [*found.faults, *found.notes, *notes]
            parts = {part: found for part, found in parts.items() if len(found[0].dataset)}
        else:
            refuse_faults(name, parts)
        pairs = {part: _as_pairs(found, rows, part) for part, (found, rows) in parts.items()}
    except DatasetError as error:
        raise DatasetError(f"{error}{_tables_hint(Path(name).expanduser())}") from error
    return datasets.DatasetDict(pairs)


def open_splits(
    name: str | Path,
    config_name: str | None,
    given: GivenColumns,
    complete: Callable[..., Opened] = resolve_pictures,
) -> dict[str, tuple[Opened, list[int] | None]]:
    """Opens a dataset, whatever its columns.

    Args:
        name: As for `load_pairs`.
        config_name: Configuration of a dataset that has several.
        given: What the user said about the columns.
        complete: Makes the paths of a file full ones; called as `resolve_pictures` is.

    Returns:
        By split what was opened, and which of its rows belong to the split, None for all.

    Raises:
        DatasetError: The dataset, configuration or a picture file does not exist.
    """
    parts = _parts(_open(str(name), config_name, given, complete))
    usual = [part for part in ("train", "validation", "test") if part in parts]
    return {part: parts[part] for part in dict.fromkeys([*usual, *parts])}


def _tables_hint(folder: Path) -> str:
    """Names the tables of a folder whose columns were not known to hold pairs."""
    if not folder.is_dir() or (folder / "README.md").exists():
        return ""
    tables = [f for f in sorted(folder.iterdir()) if f.suffix.lower() in TABLE_SUFFIXES]
    found = [f"{file.name} (columns {table_header(file)})" for file in tables[:3]]
    return f" Tables in {folder}: {', '.join(found)}." if found else ""


def config_names(name: str | Path) -> list[str]:
    """Lists the configurations that `load_pairs` can be asked for, without loading any.

    Args:
        name: As for `load_pairs`.

    Returns:
        The names; empty for a file, or a folder that `datasets` alone cannot open.
    """
    path = Path(name).expanduser()
    if path.is_file() or (not path.is_dir() and _is_file_name(path)):
        return []
    try:
        return list(datasets.get_dataset_config_names(str(path) if path.is_dir() else str(name)))
    except (ValueError, FileNotFoundError, ConnectionError):
        return []  # load_pairs will say what is wrong


def _open(
    name: str, config_name: str | None, given: GivenColumns, complete: Callable[..., Opened]
) -> dict[str, Opened]:
    """Opens every split of `name`, with pictures that can be read from anywhere."""
    path = Path(name).expanduser()
    files: dict[str, list[Path]] = {}
    if path.is_file():
        files = {split_name(path.stem) or "train": [path]}
    elif path.is_dir() and config_name is None:
        files = folder_tables(path, given) or folder_shards(path, _BUILDERS) or tar_folder(path)
    elif is_shard_pattern(str(path)):
        files = pattern_shards(str(path))
    elif not path.exists() and _is_file_name(path):
        raise DatasetError(f"There is no file {path}. Give the path of one that exists.")
    if not files:
        found = _load_dataset(str(path) if path.is_dir() else name, config_name)
        return {split: Opened(dataset, given) for split, dataset in found.items()}
    if config_name is not None:
        raise DatasetError(f"{path} is a file: it has no configuration '{config_name}'.")
    opened: dict[str, Opened] = {}
    for split, shards in files.items():
        if path.suffix.lower() == ".zip":
            return _open(str(archive_folder(path)), None, given, complete)
        if not is_tar_name(shards[0].name):
            opened[split] = complete(_read_files(shards), shards[0], given, split)
            continue
        try:
            opened[split] = read_shards(shards, given, split)
        except NoSamplesError as error:
            if not (path.is_file() and error.may_be_folder):
                raise
            return _open(str(archive_folder(path)), None, given, complete)
    return opened


def _is_file_name(path: Path) -> bool:
    return path.name.lower().endswith(_FILE_SUFFIXES)


def _read_files(shards: list[Path]) -> datasets.Dataset:
    file, suffix = shards[0], shards[0].suffix.lower()
    if suffix in _BUILDERS:
        paths = [str(shard) for shard in shards]
        return datasets.load_dataset(_BUILDERS[suffix], data_files=paths, split="train")
    if suffix not in TABLE_SUFFIXES:
        raise DatasetError(
            f"{file} is of no kind that is read; give one of {list(_FILE_SUFFIXES)}, or a folder."
        )
    return read_table(file)


def _load_dataset(name: str, config_name: str | None) -> datasets.DatasetDict:
    folder = Path(name)
    if (folder / "dataset_dict.json").is_file() or (folder / "state.json").is_file():
        found = datasets.load_from_disk(name)
        return found if isinstance(found, datasets.DatasetDict) else {"train": found}
    try:
        return datasets.load_dataset(name, config_name)
    except FileNotFoundError as error:
        raise DatasetError(
            f"'{name}' holds no dataset that can be opened, as a file, a folder or on the Hub "
            f"({error})."
        ) from error
    except ValueError as error:
        known = config_names(name)
        unknown = config_name not in known if config_name else len(known) > 1
        if not known or not unknown:
            raise DatasetError(f"'{name}' cannot be opened: {error}") from error
        raise DatasetError(
            f"'{name}' has no configuration {config_name!r}; choose one of {known} with "
            "config_name=NAME."
        ) from error


def _parts(opened: dict[str, Opened]) -> dict[str, tuple[Opened, list[int] | None]]:
    """The rows of each split; a dataset of one split may say in a column where a row belongs."""
    for found in opened.values() if len(opened) == 1 else ():
        if is_string(found.dataset.features.get("split")):
            rows: dict[str, list[int]] = {}
            for row, value in enumerate(column_values(found.dataset, "split")):
                if not value:
                    raise DatasetError(f"Row {row} names no split in column 'split'. Write one.")
                rows.setdefault(split_name(value) or value, []).append(row)
            return {part: (found, numbers) for part, numbers in rows.items()}
    return {part: (found, None) for part, found in opened.items()}


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
        if IS_NOISY in features and isinstance(features[IS_NOISY], datasets.List):
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
