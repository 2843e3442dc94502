"""Opening of datasets by name: a folder, a file, or a dataset of the Hub.

Layouts of folders, in the order of detection:

| captions are in                                    | formats                                  |
|----------------------------------------------------|------------------------------------------|
| one table with the pictures, or one per split      | CSV, TSV, bars; JSON of `json_tables`    |
| Parquet or Arrow files that are named after splits | with pictures or their paths             |
| tars                                               | WebDataset, img2dataset                  |
| a file next to each picture, of the same name      | `.txt`, `.caption`, `.json`              |
| anything that `datasets.load_dataset` opens        | a clone of the Hub, imagefolder, Parquet |

A text file with line i for picture i is rejected, because the order of pictures is not defined.
"""

import difflib
import glob
import os
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import chain
from pathlib import Path
from typing import Any

import datasets
from datasets.exceptions import DatasetGenerationError

from ...entry.errors import in_words
from ..columns import DatasetError, column_values
from ..feature_types import is_string
from ..messages import quoted_list
from .archives import ARCHIVE_SUFFIXES, archive_folder, files_digest, is_tar_name
from .columns import ColumnOptions, NoPairsError
from .folders import (
    FILE_NAME,
    audit_files,
    folder_shards,
    folder_tables,
    has_configs,
    is_audit_table,
    sidecar_rows,
    split_name,
)
from .images import picture_places
from .picture_files import PictureFiles, has_picture_suffix
from .shards import (
    NoSamplesError,
    is_shard_pattern,
    listed_shards,
    pattern_shards,
    read_shards,
    tar_folder,
)
from .tables import TABLE_SUFFIXES, RawSplit, raw_split, read_table, resolve_pictures

Splits = dict[str, RawSplit]

_BUILDERS = {".parquet": "parquet", ".arrow": "arrow"}
_FILE_SUFFIXES = (*TABLE_SUFFIXES, *_BUILDERS, *ARCHIVE_SUFFIXES)
_N_EXAMPLES = 3  # in messages
_POINTER = b"version https://git-lfs"


@dataclass(frozen=True)
class _Folder:
    """A folder, the user's options, and whether missing pictures are errors."""

    path: Path
    options: ColumnOptions
    strict: bool
    config_name: str | None = None

    @cached_property
    def files(self) -> PictureFiles:
        """The files below the folder."""
        return PictureFiles(self.path)

    @cached_property
    def audit_files(self) -> set[Path]:
        """Files of earlier audits, which are not data."""
        return audit_files(self.path)


def open_splits(
    name: str | Path, config_name: str | None, options: ColumnOptions, strict: bool = True
) -> Splits:
    """Opens a dataset with any columns; see `load_pairs`.

    With `strict`, faults of a table and missing pictures are errors; otherwise they are faults of
    the split, or keep their paths.

    Returns:
        The splits with absolute paths of pictures; train, validation and test come first.

    Raises:
        DatasetError: The dataset, configuration or a picture file does not exist.
    """
    if not str(name).strip():
        raise DatasetError(
            "The name of the dataset is empty: give a folder, a file or a Hub dataset."
        )
    splits = _apply_split_column(_open(str(name), config_name, options, strict))
    first = [split for split in ("train", "validation", "test") if split in splits]
    return {split: splits[split] for split in dict.fromkeys([*first, *splits])}


def config_names(name: str | Path) -> list[str]:
    """Lists the configurations of a dataset (see `load_pairs`), without loading any.

    Returns:
        The names; empty for a file, or a dataset that `datasets` alone cannot open.
    """
    path = Path(name).expanduser()
    if not path.is_dir() and (path.is_file() or _is_local(str(name))):
        return []
    try:
        # `datasets` rejects "." as a name.
        return datasets.get_dataset_config_names(
            os.path.abspath(path) if path.is_dir() else str(name)
        )
    except (ValueError, FileNotFoundError, ConnectionError):
        return []  # load_pairs reports the problem
    except RuntimeError as error:
        if not _is_about_script(error):
            raise
        return []


def _open(name: str, config_name: str | None, options: ColumnOptions, strict: bool) -> Splits:
    path = Path(name).expanduser()
    if path.is_file():
        if config_name is not None:
            raise DatasetError(f"{path} is a file: it has no configuration '{config_name}'.")
        return _open_file(path, options, strict)
    if path.is_dir():
        folder = _Folder(Path(os.path.abspath(path)), options, strict, config_name)
        layouts = _LAYOUTS if config_name is None else (_open_by_datasets,)
        splits = next(splits for layout in layouts if (splits := layout(folder)))
        return _note_unused(splits, folder, folder.files.pictures)
    if is_shard_pattern(str(path)):
        return _read_tars(pattern_shards(str(path)), options)
    if _is_local(name):
        raise DatasetError(f"There is no file or folder {path}.{_similar_names(path)}")
    return _load_dataset(name, config_name, options)


def _open_file(path: Path, options: ColumnOptions, strict: bool) -> Splits:
    if is_tar_name(path.name):
        try:
            return _read_tars({split_name(path.stem) or "train": [path]}, options)
        except NoSamplesError as error:
            if not error.may_be_folder:
                raise
    if path.name.lower().endswith(ARCHIVE_SUFFIXES):
        return _open(str(archive_folder(path)), None, options, strict)
    if is_audit_table(path):
        raise DatasetError(
            f"{path} is the table of an audit, without pictures. Give the audited dataset instead."
        )
    folder = _Folder(Path(os.path.abspath(path.parent)), options, strict)
    splits = _open_files({split_name(path.stem) or "train": [path]}, folder)
    parents = {Path(file).parent for raw in splits.values() for file in raw.pictures}
    files = (str(file) for parent in parents for file in sorted(parent.iterdir()))
    return _note_unused(splits, folder, list(filter(has_picture_suffix, files)))


def _open_tables(folder: _Folder) -> Splits:
    return _open_files(folder_tables(folder.path, folder.options, folder.files), folder)


def _open_shards(folder: _Folder) -> Splits:
    files = folder_shards(folder.path, _BUILDERS, folder.audit_files)
    return _note_audit_files(_open_files(files, folder), folder.audit_files)


def _open_tars(folder: _Folder) -> Splits:
    return _read_tars(tar_folder(folder.path), folder.options)


def _open_sidecars(folder: _Folder) -> Splits:
    """Opens captions in a file next to each picture, by split if folders are named so."""
    rows = None if has_configs(folder.path) else sidecar_rows(folder.path, folder.files)
    if rows is None:
        return {}
    user = folder.options
    options = replace(user, image=user.image or FILE_NAME, id=user.id or FILE_NAME)
    raw = raw_split(rows, folder.path, options)
    paths = column_values(raw.dataset, FILE_NAME)
    raw = raw._replace(pictures=frozenset(paths))
    tops = [os.path.relpath(path, folder.path).split(os.sep)[0] for path in paths]
    splits = [split_name(top) for top in tops]
    return {"train": raw} if None in splits else _divide(raw, list(map(str, splits)))


def _open_by_datasets(folder: _Folder) -> Splits:
    excluded = folder.audit_files
    splits = _load_dataset(str(folder.path), folder.config_name, folder.options, excluded)
    return _note_audit_files(splits, excluded)


#: Layouts of folders in the order of detection; the last one accepts every folder.
_LAYOUTS: tuple[Callable[[_Folder], Splits], ...] = (
    _open_tables,
    _open_shards,
    _open_tars,
    _open_sidecars,
    _open_by_datasets,
)


def _read_tars(shards: dict[str, list[Path]], options: ColumnOptions) -> Splits:
    return {split: read_shards(files, options, split) for split, files in shards.items()}


def _open_files(files: dict[str, list[Path]], folder: _Folder) -> Splits:
    splits = {}
    for split, shards in files.items():
        parent = shards[0].parent
        pictures = folder.files if parent == folder.path else PictureFiles(parent)
        raw = _read_files(shards, pictures, folder.options)
        splits[split] = resolve_pictures(raw, shards[0], split, pictures, folder.strict)
    return splits


def _read_files(shards: list[Path], pictures: PictureFiles, options: ColumnOptions) -> RawSplit:
    file, suffix = shards[0], shards[0].suffix.lower()
    with file.open("rb") as binary:
        if binary.read(len(_POINTER)) == _POINTER:
            raise DatasetError(f"{file} is a Git LFS pointer: fetch the file with `git lfs pull`.")
    if suffix in _BUILDERS:
        try:
            rows = _load_files(_BUILDERS[suffix], {"train": list(map(str, shards))})["train"]
        except (ValueError, DatasetGenerationError) as error:  # includes Arrow's errors
            reason = in_words(error)
            start = "" if str(file) in reason else f"{file} cannot be read: "
            raise DatasetError(f"{start}{reason}") from error
        return RawSplit(rows, options)
    if suffix not in TABLE_SUFFIXES:
        raise DatasetError(
            f"{file} has an unsupported type; give one of {list(_FILE_SUFFIXES)}, or a folder."
        )
    return read_table(file, options, pictures)


def _load_files(kind: str, files: dict[str, list[str]]) -> datasets.DatasetDict:
    """Loads files with a builder of `datasets`."""
    paths = {split: list(map(glob.escape, shards)) for split, shards in files.items()}
    return datasets.load_dataset(kind, data_files=paths, cache_dir=_cache(files))


def _cache(files: dict[str, list[str]]) -> str:
    """The folder in the cache of `datasets` for local files in their current state.

    `datasets` identifies a file by its path and time, and a folder with a card by its path alone,
    and would return stale tables after a file is rewritten.
    """
    digest = files_digest(sorted(chain.from_iterable(files.values())))
    return os.path.join(datasets.config.HF_DATASETS_CACHE, "noisy_xmodal_files", digest)


def _note_audit_files(splits: Splits, files: set[Path]) -> Splits:
    """Adds a note about excluded files of an earlier audit."""
    names = quoted_list(sorted(file.name for file in files))
    return _add_note(splits, f"files of an earlier audit left out: {names}") if files else splits


def _note_unused(splits: Splits, folder: _Folder, pictures: list[str]) -> Splits:
    """Adds a note about pictures that are in no row of any split."""
    used = {path for raw in splits.values() for path in raw.pictures}
    unused = [path for path in pictures if path not in used] if used else []
    if unused:
        real = {os.path.realpath(path) for path in used}
        unused = [path for path in unused if os.path.realpath(path) not in real]
    if not unused:
        return splits
    names = quoted_list([os.path.relpath(path, folder.path) for path in unused], _N_EXAMPLES)
    return _add_note(splits, f"{len(unused):,} of {len(pictures):,} pictures have no row: {names}")


def _add_note(splits: Splits, note: str) -> Splits:
    return {split: raw._replace(notes=(*raw.notes, note)) for split, raw in splits.items()}


def _picture_files(dataset: datasets.Dataset) -> frozenset[str]:
    """The files of pictures that are not stored in the rows of a dataset."""
    return frozenset(
        os.path.abspath(path)
        for name, feature in dataset.features.items()
        if isinstance(feature, datasets.Image)
        for is_stored, path in picture_places(dataset, name)
        if path and not is_stored and "://" not in path
    )


def _is_local(name: str) -> bool:
    """Whether a name that does not exist looks like a file or folder, not like a Hub dataset."""
    return "://" not in name and (
        name.startswith((".", "~", "/"))
        or name.endswith("/")
        or "\\" in name
        or name.count("/") > 1
        or name.lower().endswith(_FILE_SUFFIXES)
        or has_picture_suffix(name)
        or ("/" in name and Path(name).parent.is_dir())
    )


def _similar_names(path: Path) -> str:
    """Suggests similar names in the folder of a missing path."""
    parent = path.absolute().parent
    if not parent.is_dir():
        return f" There is no folder {parent}, either."
    matches = difflib.get_close_matches(path.name, os.listdir(parent), n=_N_EXAMPLES)
    return f" {parent} has {quoted_list(matches)}." if matches else ""


def _load_dataset(
    name: str,
    config_name: str | None,
    options: ColumnOptions,
    excluded: Collection[Path] = (),
) -> Splits:
    try:
        if any(Path(name, file).is_file() for file in ("dataset_dict.json", "state.json")):
            dataset = datasets.load_from_disk(name)
        else:
            builder = datasets.load_dataset_builder(name, config_name)
            if shards := listed_shards(builder):
                return _read_tars(shards, options)
            dataset = _build(builder, name, excluded)
    except DatasetError:
        raise
    except FileNotFoundError as error:
        raise DatasetError(
            f"'{name}' cannot be opened as a file, a folder or a Hub dataset ({error})."
        ) from error
    except ConnectionError as error:
        raise DatasetError(
            f"'{name}' is not a local file or folder, and the Hub is not reachable ({error})."
        ) from error
    except RuntimeError as error:
        if not _is_about_script(error):
            raise
        advice = (
            "Move the script out of the folder"
            if os.path.isdir(name)
            else "Download its files, and give their folder or a table of the captions"
        )
        raise DatasetError(f"'{name}' cannot be opened: {in_words(error)}. {advice}.") from error
    except (ValueError, DatasetGenerationError) as error:
        configs = config_names(name)
        if configs and (config_name not in configs if config_name else len(configs) > 1):
            what = f"no configuration {config_name!r}" if config_name else "several configurations"
            raise DatasetError(
                f"'{name}' has {what}; choose one of {configs} with config_name=NAME."
            ) from error
        raise NoPairsError(f"'{name}' cannot be opened: {in_words(error)}.") from error
    splits = {"train": dataset} if isinstance(dataset, datasets.Dataset) else dataset
    return {
        split: RawSplit(rows, options, pictures=_picture_files(rows))
        for split, rows in splits.items()
    }


def _is_about_script(error: RuntimeError) -> bool:
    """Whether `datasets` refuses a dataset because of its script."""
    return "Dataset scripts" in str(error)


def _build(builder: Any, name: str, excluded: Collection[Path]) -> Any:
    """Builds a dataset with a builder of `datasets`, without the excluded files."""
    sources = builder.config.data_files or {}
    if not os.path.isdir(name) or not sources:
        builder.download_and_prepare()
        return builder.as_dataset()
    files = {
        split: [path for path in paths if Path(path) not in excluded]
        for split, paths in sources.items()
    }
    files = {split: paths for split, paths in files.items() if paths}
    if excluded and not files:
        raise DatasetError(f"{name} holds only the files of an audit, and no data.")
    if sum(map(len, files.values())) < sum(map(len, sources.values())):
        return _load_files(builder.__module__.split(".")[-1], files)
    cache = _cache({**files, "card": [os.path.join(name, "README.md")]})
    builder.download_and_prepare(os.path.join(cache, builder.config.name))
    return builder.as_dataset()


def _apply_split_column(splits: Splits) -> Splits:
    """Divides the only split by its column `split`, if it has one."""
    raw = next(iter(splits.values()))
    if len(splits) > 1 or not is_string(raw.dataset.features.get("split")):
        return splits
    values = column_values(raw.dataset, "split")
    if not all(values):
        row = next(row for row, value in enumerate(values) if not value)
        raise DatasetError(f"Row {row} (counted from 0) has no split in column 'split'. Write one.")
    return _divide(raw, [split_name(value) or value for value in values])


def _divide(raw: RawSplit, splits: Sequence[str]) -> Splits:
    """Divides rows by the split of each."""
    rows: dict[str, list[int]] = {}
    for row, split in enumerate(splits):
        rows.setdefault(split, []).append(row)
    return {split: raw._replace(rows=rows[split]) for split in rows}
