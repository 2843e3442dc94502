"""Opens datasets by name: a folder in any layout that is read, a file, or a dataset of the Hub.

Folders, in the order in which it is tried:

| captions are in                                      | which may be                             |
|------------------------------------------------------|------------------------------------------|
| a table beside the pictures, or one a split          | CSV, TSV, bars; JSON of `json_tables`    |
| Parquet or Arrow files that are named after splits   | with pictures or their paths             |
| tars                                                 | WebDataset, img2dataset                  |
| a file beside each picture, of its name              | `.txt`, `.caption`, `.json`              |
| what `datasets.load_dataset` opens                   | a clone of the Hub, imagefolder, Parquet |

A text of which line i is for picture i is refused: nothing says in which order pictures are.
"""

import difflib
import glob
import os
from collections.abc import Callable, Set
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import chain
from pathlib import Path
from typing import Any

import datasets
import pyarrow.compute as pc
from datasets.exceptions import DatasetGenerationError

from ...entry.errors import in_words
from ..columns import DatasetError, column_values
from ..feature_types import is_string
from ..messages import quoted_list
from .archives import ARCHIVE_SUFFIXES, archive_folder, is_tar_name
from .audit_files import audit_files, refuse_audit_table
from .columns import GivenColumns, NoPairsError
from .local_cache import local_cache
from .picture_files import PictureFiles, has_picture_suffix, pictures_in
from .shard_files import is_shard_pattern, listed_shards, pattern_shards, tar_folder
from .shards import NoSamplesError, read_shards
from .sidecars import FILE_NAME, sidecar_rows
from .table_values import as_dataset
from .tables import (
    TABLE_SUFFIXES,
    Opened,
    folder_shards,
    folder_tables,
    has_configs,
    read_table,
    resolve_pictures,
    split_name,
)
from .text_files import refuse_pointer

_BUILDERS = {".parquet": "parquet", ".arrow": "arrow"}
_FILE_SUFFIXES = (*TABLE_SUFFIXES, *_BUILDERS, *ARCHIVE_SUFFIXES)
_SHOWN = 3


@dataclass(frozen=True)
class _Folder:
    """A folder that is opened: what the user said, and what makes rows whole."""

    path: Path
    given: GivenColumns
    complete: Callable[..., Opened]
    config_name: str | None = None

    @cached_property
    def files(self) -> PictureFiles:
        """The files below it."""
        return PictureFiles(self.path)


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
    if not str(name).strip():
        raise DatasetError(
            "The name of the dataset is empty: give a folder, a file or a Hub dataset."
        )
    parts = _parts(_open(str(name), config_name, given, complete))
    usual = [part for part in ("train", "validation", "test") if part in parts]
    return {part: parts[part] for part in dict.fromkeys([*usual, *parts])}


def config_names(name: str | Path) -> list[str]:
    """Lists the configurations that `load_pairs` can be asked for, without loading any.

    Args:
        name: As for `load_pairs`.

    Returns:
        The names; empty for a file, or a folder that `datasets` alone cannot open.
    """
    path = Path(name).expanduser()
    if not path.is_dir() and (path.is_file() or _is_local(str(name))):
        return []
    try:
        return list(datasets.get_dataset_config_names(_opened_name(str(name))))
    except (ValueError, FileNotFoundError, ConnectionError):
        return []  # load_pairs will say what is wrong


def _opened_name(name: str) -> str:
    """What `datasets` is asked for: it takes `.` for no name."""
    path = Path(name).expanduser()
    return os.path.abspath(path) if path.is_dir() else name


def _open(
    name: str, config_name: str | None, given: GivenColumns, complete: Callable[..., Opened]
) -> dict[str, Opened]:
    """Opens every split of `name`, with pictures that can be read from anywhere."""
    path = Path(name).expanduser()
    if path.is_file():
        if config_name is not None:
            raise DatasetError(f"{path} is a file: it has no configuration '{config_name}'.")
        if path.suffix.lower() == ".zip":
            return _open(str(archive_folder(path)), None, given, complete)
        if is_tar_name(path.name):
            return _open_tar(path, given, complete)
        refuse_audit_table(path)
        folder = _Folder(Path(os.path.abspath(path.parent)), given, complete)
        opened = _open_files({split_name(path.stem) or "train": [path]}, folder)
        around = {os.path.dirname(file) for part in opened.values() for file in part.pictures}
        return _with_unused(opened, folder, [p for place in around for p in pictures_in(place)])
    if path.is_dir():
        folder = _Folder(Path(os.path.abspath(path)), given, complete, config_name)
        layouts = _LAYOUTS if config_name is None else (_open_by_datasets,)
        opened = next(found for layout in layouts if (found := layout(folder)))
        return _with_unused(opened, folder, folder.files.pictures)
    if is_shard_pattern(str(path)):
        return _read_tars(pattern_shards(str(path)), given)
    if _is_local(name):
        raise DatasetError(f"There is no file or folder {path}.{_similar(path)}")
    return _load_dataset(name, config_name, given)


def _open_tables(folder: _Folder) -> dict[str, Opened]:
    return _open_files(folder_tables(folder.path, folder.given, folder.files), folder)


def _open_shards(folder: _Folder) -> dict[str, Opened]:
    own = audit_files(folder.path)
    found = _open_files(folder_shards(folder.path, _BUILDERS, left_out=own), folder)
    return {split: _without(opened, own) for split, opened in found.items()}


def _open_tars(folder: _Folder) -> dict[str, Opened]:
    return _read_tars(tar_folder(folder.path), folder.given)


def _open_sidecars(folder: _Folder) -> dict[str, Opened]:
    """Captions in a file beside each picture; by split where the folders are called so."""
    if has_configs(folder.path / "README.md"):
        return {}
    rows = sidecar_rows(folder.path, folder.files)
    if rows is None:
        return {}
    own = folder.given
    given = replace(own, image=own.image or FILE_NAME, id=own.id or FILE_NAME)
    dataset = as_dataset(rows, folder.path, given)
    paths = column_values(dataset, FILE_NAME)
    tops = [os.path.relpath(path, folder.path).split(os.sep)[0] for path in paths]
    splits = [split_name(top) for top in tops]
    pictures = frozenset(paths)
    if None in splits:
        return {"train": Opened(dataset, given, rows.faults, rows.notes, pictures)}
    numbers: dict[str, list[int]] = {}
    for row, split in enumerate(splits):
        numbers.setdefault(str(split), []).append(row)
    return {
        split: Opened(dataset.select(own), given, rows.faults, rows.notes, pictures)
        for split, own in numbers.items()
    }


def _open_by_datasets(folder: _Folder) -> dict[str, Opened]:
    own = audit_files(folder.path)
    found = _load_dataset(str(folder.path), folder.config_name, folder.given, own)
    return {split: _without(opened, own) for split, opened in found.items()}


#: How folders are laid out, in the order in which they are tried; the last one takes all.
_LAYOUTS: tuple[Callable[[_Folder], dict[str, Opened]], ...] = (
    _open_tables,
    _open_shards,
    _open_tars,
    _open_sidecars,
    _open_by_datasets,
)


def _open_tar(
    path: Path, given: GivenColumns, complete: Callable[..., Opened]
) -> dict[str, Opened]:
    """Opens a tar: a WebDataset, else a folder that was packed."""
    try:
        return _read_tars({split_name(path.stem) or "train": [path]}, given)
    except NoSamplesError as error:
        if not error.may_be_folder:
            raise
        return _open(str(archive_folder(path)), None, given, complete)


def _read_tars(shards: dict[str, list[Path]], given: GivenColumns) -> dict[str, Opened]:
    return {split: read_shards(files, given, split) for split, files in shards.items()}


def _open_files(files: dict[str, list[Path]], folder: _Folder) -> dict[str, Opened]:
    opened = {}
    for split, shards in files.items():
        place = shards[0].parent
        beside = folder.files if place == folder.path else PictureFiles(place)
        opened[split] = folder.complete(
            _read_files(shards, beside, folder), shards[0], split, beside
        )
    return opened


def _read_files(shards: list[Path], beside: PictureFiles, folder: _Folder) -> Opened:
    file, suffix = shards[0], shards[0].suffix.lower()
    refuse_pointer(file)
    if suffix in _BUILDERS:
        paths = [glob.escape(str(shard)) for shard in shards]
        kind, cache = _BUILDERS[suffix], local_cache(shards)
        try:
            found = datasets.load_dataset(kind, data_files=paths, split="train", cache_dir=cache)
        except (ValueError, DatasetGenerationError) as error:  # which of Arrow's are, too
            why = in_words(error)  # which may name the file
            place = "" if str(file) in why else f"{file} cannot be read: "
            raise DatasetError(f"{place}{why}") from error
        return Opened(found, folder.given)
    if suffix not in TABLE_SUFFIXES:
        raise DatasetError(
            f"{file} is of no kind that is read; give one of {list(_FILE_SUFFIXES)}, or a folder."
        )
    return read_table(file, folder.given, beside)


def _without(opened: Opened, own: set[Path]) -> Opened:
    """Notes that files of an earlier audit were left out."""
    if not own:
        return opened
    names = quoted_list(sorted(file.name for file in own))
    return opened._replace(notes=(*opened.notes, f"files of an earlier audit left out: {names}"))


def _with_unused(
    opened: dict[str, Opened], folder: _Folder, pictures: list[str]
) -> dict[str, Opened]:
    """Notes how many of some pictures are in no row of any split."""
    used = {path for part in opened.values() for path in part.pictures}
    unused = [path for path in pictures if path not in used] if used else []
    if unused:
        real = {os.path.realpath(path) for path in used}
        unused = [path for path in unused if os.path.realpath(path) not in real]
    if not unused:
        return opened
    shown = quoted_list([os.path.relpath(path, folder.path) for path in unused], _SHOWN)
    note = f"{len(unused):,} of {len(pictures):,} pictures have no row: {shown}"
    return {split: part._replace(notes=(*part.notes, note)) for split, part in opened.items()}


def _files_of(dataset: datasets.Dataset) -> frozenset[str]:
    """The files that the pictures of a dataset are, where they are not in its rows."""
    paths = set[str]()
    for name, feature in dataset.features.items():
        if isinstance(feature, datasets.Image):
            column = dataset.select_columns([name]).with_format("arrow")[:].column(name)
            outside = pc.is_null(pc.struct_field(column, "bytes"))
            paths.update(pc.struct_field(column, "path").filter(outside).drop_null().to_pylist())
    return frozenset(os.path.abspath(path) for path in paths if "://" not in path)


def _is_local(name: str) -> bool:
    """Whether a name that does not exist is of a file or folder, and not of the Hub."""
    if "://" in name:
        return False
    path = Path(name)
    return (
        name.startswith((".", "~", "/", "\\"))
        or name.endswith(("/", "\\"))
        or "\\" in name
        or name.count("/") > 1
        or name.lower().endswith(_FILE_SUFFIXES)
        or has_picture_suffix(name)
        or ("/" in name and path.parent.is_dir())
    )


def _similar(path: Path) -> str:
    """What has a similar name where something was looked for."""
    parent = path.absolute().parent
    if not parent.is_dir():
        return f" There is no folder {parent}, either."
    close = difflib.get_close_matches(path.name, os.listdir(parent), n=_SHOWN)
    return f" {parent} has {quoted_list(close)}." if close else ""


def _load_dataset(
    name: str, config_name: str | None, given: GivenColumns, left_out: Set[Path] = frozenset()
) -> dict[str, Opened]:
    try:
        if any(Path(name, file).is_file() for file in ("dataset_dict.json", "state.json")):
            found = datasets.load_from_disk(name)
        else:
            builder = datasets.load_dataset_builder(name, config_name)
            if shards := listed_shards(builder):
                return _read_tars(shards, given)
            found = _built(builder, name, left_out)
    except DatasetError:
        raise
    except FileNotFoundError as error:
        raise DatasetError(
            f"'{name}' holds no dataset that can be opened, as a file, a folder or on the Hub "
            f"({error})."
        ) from error
    except ConnectionError as error:
        raise DatasetError(
            f"'{name}' is no file or folder here, and the Hub cannot be asked ({error})."
        ) from error
    except DatasetGenerationError as error:
        raise NoPairsError(f"'{name}' cannot be opened: {in_words(error)}.") from error
    except ValueError as error:
        known = config_names(name)
        unknown = config_name not in known if config_name else len(known) > 1
        if not known or not unknown:
            raise NoPairsError(f"'{name}' cannot be opened: {in_words(error)}.") from error
        raise DatasetError(
            f"'{name}' has no configuration {config_name!r}; choose one of {known} with "
            "config_name=NAME."
        ) from error
    splits = {"train": found} if isinstance(found, datasets.Dataset) else found
    return {split: Opened(rows, given, pictures=_files_of(rows)) for split, rows in splits.items()}


def _built(builder: Any, name: str, left_out: Set[Path]) -> Any:
    """What a builder of `datasets` makes, without some of its files."""
    place = None
    if os.path.isdir(name):
        names = {str(file) for file in left_out}
        found = builder.config.data_files or {}
        files = {k: [path for path in paths if path not in names] for k, paths in found.items()}
        files = {split: paths for split, paths in files.items() if paths}
        if left_out and not files:
            raise DatasetError(f"{name} holds no data, but what an audit wrote.")
        cache = local_cache([*chain.from_iterable(files.values()), os.path.join(name, "README.md")])
        if sum(map(len, files.values())) < sum(map(len, found.values())):
            escaped = {
                split: [glob.escape(path) for path in paths] for split, paths in files.items()
            }
            kind = builder.__module__.split(".")[-1]
            return datasets.load_dataset(kind, data_files=escaped, cache_dir=cache)
        place = cache and os.path.join(cache, builder.config.name)
    builder.download_and_prepare(place)
    return builder.as_dataset()


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
