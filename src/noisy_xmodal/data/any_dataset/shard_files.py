"""Lookup of tars and their splits for a folder, a pattern or a dataset of the Hub."""

import glob
import itertools
import json
import os
import re
from collections.abc import Sequence
from pathlib import Path

import datasets
from datasets.packaged_modules.webdataset.webdataset import WebDataset

from ..columns import DatasetError
from .archives import TAR_SUFFIXES, is_tar_name
from .picture_files import files_below, has_picture_suffix
from .tables import has_configs, split_in_name

_BRACES = re.compile(r"\{([^{}]*)\}")
_RANGE = re.compile(r"(\d+)\.\.(\d+)")
_OTHER_DATA = (".parquet", ".arrow")
_MAX_FILES = 1_000_000


def is_shard_pattern(name: str) -> bool:
    """Whether a name is a pattern of tars: `train-{000..127}.tar`, `shards/*.tar`."""
    return is_tar_name(name) and not os.path.exists(name) and bool(re.search(r"[*?{\[]", name))


def pattern_shards(pattern: str) -> dict[str, list[Path]]:
    """The tars of a pattern, by split.

    Raises:
        DatasetError: A file of the pattern does not exist, or no file matches it.
    """
    files, missing = [], []
    for name in _expand_braces(os.path.expanduser(pattern)):
        paths = sorted(glob.glob(name)) if glob.has_magic(name) else [name]
        files += [Path(file) for file in paths if os.path.isfile(file)]
        missing += [name] if not paths or not os.path.isfile(paths[0]) else []
    if missing:
        more = ", ..." if len(missing) > 3 else ""
        raise DatasetError(
            f"{pattern}: {len(missing)} of its files do not exist: {', '.join(missing[:3])}{more}. "
            "Get them, or correct the pattern."
        )
    return _by_split(files, Path(os.path.commonpath([file.parent for file in files])))


def listed_shards(builder: datasets.DatasetBuilder) -> dict[str, list[Path]]:
    """The tars of a dataset that `datasets` opens as WebDataset, from the Hub or by a card.

    Args:
        builder: A builder from `datasets.load_dataset_builder`.

    Returns:
        The local paths of the tars by split; empty for other datasets.
    """
    if not isinstance(builder, WebDataset):
        return {}
    options = datasets.DownloadConfig(token=builder.token)
    manager = datasets.DownloadManager(download_config=options)
    paths = manager.download(builder.config.data_files)
    return {str(split): [Path(str(file)) for file in files] for split, files in paths.items()}


def tar_folder(folder: Path) -> dict[str, list[Path]]:
    """The tars in a folder and below it, by split.

    Files that img2dataset writes for a tar, `00000.parquet` and `00000_stats.json`, belong to it.

    Args:
        folder: The folder.

    Returns:
        The tars; empty if there are other Parquet or Arrow files or pictures at the top of the
        folder, or if a card lists configurations.
    """
    if has_configs(folder / "README.md"):
        return {}
    top = [file for file in folder.iterdir() if file.is_file()]
    stems = {without_suffix(file.name) for file in top if is_tar_name(file.name)}
    stems |= {file.name.removesuffix("_stats.json") for file in top}
    others = (file for file in top if file.stem not in stems)
    if any(file.suffix.lower() in _OTHER_DATA or has_picture_suffix(file.name) for file in others):
        return {}
    return _by_split([Path(file) for file in files_below(folder) if is_tar_name(file)], folder)


def without_suffix(name: str) -> str:
    """Removes the suffix of a tar, such as `.tar.gz`, from a name."""
    suffix = max((end for end in TAR_SUFFIXES if name.lower().endswith(end)), key=len, default="")
    return name[: len(name) - len(suffix)]


def shard_names(files: Sequence[Path]) -> list[str]:
    """Unique names of tars: `0.tar`, or `a/0.tar` and `b/0.tar`."""
    shared = os.path.commonpath([file.absolute().parent for file in files])
    return [os.path.relpath(file.absolute(), shared).replace(os.sep, "/") for file in files]


def stats_file(shard: Path) -> Path:
    """The path of img2dataset's statistics of a tar."""
    return shard.with_name(f"{without_suffix(shard.name)}_stats.json")


def stats_notes(shard: Path, n_pairs: int) -> list[str]:
    """Compares the number of pairs in a tar with img2dataset's statistics."""
    try:
        stats = json.loads(stats_file(shard).read_text(encoding="utf-8"))
        successes = stats.get("successes")
    except (OSError, ValueError, AttributeError, RecursionError):
        return []
    if not isinstance(successes, int) or successes == n_pairs:
        return []
    return [
        f"{stats_file(shard).name} reports {successes:,} successes, but {shard.name} has "
        f"{n_pairs:,} pairs"
    ]


def _by_split(files: list[Path], root: Path) -> dict[str, list[Path]]:
    """Groups files by the split in their names or folders; train by default."""
    splits: dict[str, list[Path]] = {}
    for file in files:
        names = [without_suffix(file.name), *reversed(file.parent.relative_to(root).parts)]
        split = next(filter(None, map(split_in_name, names)), "train")
        splits.setdefault(split, []).append(file)
    return splits


def _expand_braces(pattern: str) -> list[str]:
    """Expands braces: `{0..2}`, `{008..010}`, `{a,b}`."""
    pieces = _BRACES.split(pattern)
    choices = []
    for index, piece in enumerate(pieces):
        ends = _RANGE.fullmatch(piece) if index % 2 else None
        if ends:
            first, last = int(ends[1]), int(ends[2])
            width = len(ends[1]) if ends[1].startswith("0") or len(ends[1]) == len(ends[2]) else 0
            if last - first >= _MAX_FILES:
                raise DatasetError(f"{pattern} describes more than {_MAX_FILES:,} files.")
            choices.append([f"{number:0{width}d}" for number in range(first, last + 1)])
        else:
            choices.append(piece.split(",") if index % 2 else [piece])
    return ["".join(parts) for parts in itertools.product(*choices)]
