"""The shards of a dataset, without reading any: tars, Parquet or Arrow files, local or not."""

import os
import shutil
from pathlib import Path

import datasets
import fsspec

from ..columns import DatasetError
from .archives import is_tar_name
from .folders import audit_files, folder_shards, is_audit_table, split_name
from .shards import is_shard_pattern, pattern_shards, tar_folder

_SUFFIXES = (".parquet", ".arrow")
_CHUNK = 2**20


def shard_files(
    name: str | Path, config_name: str | None = None, split: str | None = None
) -> tuple[str, list[str]]:
    """The shards of one split of a dataset.

    Args:
        name: A folder of shards, a shard, a pattern of tars, or a Hub dataset.
        config_name: Its configuration, if it has several.
        split: Its split; train, or the only one, by default.

    Returns:
        The name of the split, and the shards in order: paths of files, or addresses of the Hub.

    Raises:
        DatasetError: There is no such dataset, configuration or split, or it is not of shards.
    """
    splits = shard_splits(name, config_name)
    key = split or "train"
    key = key if key in splits else split_name(key) or key
    if split is None and key not in splits and len(splits) == 1:
        key = next(iter(splits))
    if key not in splits:
        raise DatasetError(
            f"{name} has {'no split ' + repr(split) if split else 'several splits'}: choose one of "
            f"{', '.join(splits)} with split=NAME."
        )
    return key, splits[key]


def shard_splits(name: str | Path, config_name: str | None = None) -> dict[str, list[str]]:
    """The shards of each split of a dataset, see `shard_files`.

    Raises:
        DatasetError: There is no such dataset or configuration, or it is not of shards.
    """
    path = Path(name).expanduser()
    if path.is_file() and _is_shard(path.name):
        splits = {split_name(path.stem) or "train": [str(path)]}
    elif is_shard_pattern(str(path)):
        splits = _as_strings(pattern_shards(str(path)))
    elif path.is_dir() and config_name is None:
        folder = Path(os.path.abspath(path))
        splits = _as_strings(tar_folder(folder))
        splits = splits or _as_strings(folder_shards(folder, _SUFFIXES, audit_files(folder)))
        splits = splits or _files_by_datasets(str(folder), None)
    else:
        splits = _files_by_datasets(str(path) if path.exists() else str(name), config_name)
    return splits


def local_shard(shard: str, folder: Path) -> Path:
    """The path of a shard, or of a copy of it in a folder if it is not here.

    Args:
        shard: From `shard_files`.
        folder: Where to copy it.
    """
    if "://" not in shard:
        return Path(shard)
    path = folder / shard.rsplit("/", 1)[-1]
    with fsspec.open(shard, "rb") as source, path.open("wb") as copy:
        shutil.copyfileobj(source, copy, _CHUNK)
    return path


def shard_state(shard: str) -> str:
    """A string that changes with a shard: size and time of a file; elsewhere its address.

    Args:
        shard: From `shard_files`; an address of the Hub names a commit.
    """
    if "://" in shard:
        return shard
    stat = os.stat(shard)
    return f"{os.path.basename(shard)} {stat.st_size} {stat.st_mtime_ns}"


def _is_shard(name: str) -> bool:
    return is_tar_name(name) or name.lower().endswith(_SUFFIXES)


def _as_strings(splits: dict[str, list[Path]]) -> dict[str, list[str]]:
    return {split: [str(file) for file in files] for split, files in splits.items()}


def _files_by_datasets(name: str, config_name: str | None) -> dict[str, list[str]]:
    """The files that `datasets` lists for a folder or a Hub dataset, if they are shards."""
    try:
        builder = datasets.load_dataset_builder(name, config_name)
    except (FileNotFoundError, ConnectionError, ValueError) as error:
        raise DatasetError(f"'{name}' cannot be opened: {error}") from error
    listed = {
        str(s): list(map(str, files)) for s, files in (builder.config.data_files or {}).items()
    }
    splits = {
        split: [f for f in files if not is_audit_table(Path(f))] for split, files in listed.items()
    }
    others = [file for files in splits.values() for file in files if not _is_shard(file)]
    if others or not any(splits.values()):
        example = f", such as {others[0]}" if others else ""
        raise DatasetError(
            f"{name} is not in shards{example}: an audit by parts reads tars in the WebDataset "
            "layout, and Parquet or Arrow files. Leave out --sample, or write it as shards."
        )
    return {split: files for split, files in splits.items() if files}
