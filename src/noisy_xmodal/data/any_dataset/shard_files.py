"""Which tars a name stands for, and the split of each: a file, a folder, a pattern."""

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
from .tables import has_configs, split_name

_BRACES = re.compile(r"\{([^{}]*)\}")
_RANGE = re.compile(r"(\d+)\.\.(\d+)")
_OTHER_DATA = (".parquet", ".arrow")
_MOST_FILES = 1_000_000


def is_shard_pattern(name: str) -> bool:
    """Whether a name stands for several tars: `train-{000..127}.tar`, `shards/*.tar`."""
    return is_tar_name(name) and not os.path.exists(name) and bool(re.search(r"[*?{\[]", name))


def pattern_shards(pattern: str) -> dict[str, list[Path]]:
    """The tars of a pattern, by split.

    Raises:
        DatasetError: A file that the pattern names does not exist, or none fits.
    """
    files, missing = [], []
    for name in _expanded(os.path.expanduser(pattern)):
        there = sorted(glob.glob(name)) if glob.has_magic(name) else [name]
        files += [Path(file) for file in there if os.path.isfile(file)]
        missing += [name] if not there or not os.path.isfile(there[0]) else []
    if missing:
        more = ", ..." if len(missing) > 3 else ""
        raise DatasetError(
            f"{pattern}: {len(missing)} of its files do not exist: {', '.join(missing[:3])}{more}. "
            "Get them, or correct the pattern."
        )
    return _by_split(files, Path(os.path.commonpath([file.parent for file in files])))


def listed_shards(builder: datasets.DatasetBuilder) -> dict[str, list[Path]]:
    """The tars of a dataset that `datasets` would open as WebDataset, from the Hub or by a card.

    Args:
        builder: What `datasets.load_dataset_builder` returns.

    Returns:
        The tars by split, where they were downloaded; none of a dataset of another kind.
    """
    if not isinstance(builder, WebDataset):
        return {}
    options = datasets.DownloadConfig(token=builder.token)
    manager = datasets.DownloadManager(download_config=options)
    found = manager.download(builder.config.data_files)
    return {str(split): [Path(str(file)) for file in files] for split, files in found.items()}


def tar_folder(folder: Path) -> dict[str, list[Path]]:
    """The tars in a folder and below it, by split.

    What img2dataset writes beside each tar, `00000.parquet` and `00000_stats.json`, is part of
    the tar.

    Args:
        folder: The folder.

    Returns:
        The tars; none where pictures, Parquet or Arrow files of their own lie at its top, or a
        card lists configurations.
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
    """The name of a tar without its suffix, which may be `.tar.gz`."""
    suffix = max((end for end in TAR_SUFFIXES if name.lower().endswith(end)), key=len, default="")
    return name[: len(name) - len(suffix)]


def shard_names(files: Sequence[Path]) -> list[str]:
    """Names tars so that no two are alike: `0.tar`, or `a/0.tar` and `b/0.tar`."""
    shared = os.path.commonpath([file.absolute().parent for file in files])
    return [os.path.relpath(file.absolute(), shared).replace(os.sep, "/") for file in files]


def stats_file(shard: Path) -> Path:
    """Where img2dataset writes what it got for a tar."""
    return shard.with_name(f"{without_suffix(shard.name)}_stats.json")


def stats_notes(shard: Path, n_pairs: int) -> list[str]:
    """Compares a tar with what img2dataset says of it."""
    try:
        stats = json.loads(stats_file(shard).read_text(encoding="utf-8"))
        successes = stats.get("successes")
    except (OSError, ValueError, AttributeError, RecursionError):
        return []
    if not isinstance(successes, int) or successes == n_pairs:
        return []
    return [
        f"{stats_file(shard).name} says {successes:,} successes, and {shard.name} has "
        f"{n_pairs:,} pairs"
    ]


def _by_split(files: list[Path], root: Path) -> dict[str, list[Path]]:
    """A file belongs to the split that its name has as a word, or a folder's, else to train."""
    splits: dict[str, list[Path]] = {}
    for file in files:
        names = [without_suffix(file.name), *reversed(file.parent.relative_to(root).parts)]
        words = (re.split(r"[^a-z]+", name.lower()) for name in names)
        found = ({split_name(word) for word in group} - {None} for group in words)
        split = next((group.pop() for group in found if len(group) == 1), None) or "train"
        splits.setdefault(split, []).append(file)
    return splits


def _expanded(pattern: str) -> list[str]:
    """Spells out braces: `{0..2}`, `{008..010}`, `{a,b}`."""
    pieces = _BRACES.split(pattern)
    choices = []
    for at, piece in enumerate(pieces):
        ends = _RANGE.fullmatch(piece) if at % 2 else None
        if ends:
            first, last = int(ends[1]), int(ends[2])
            width = len(ends[1]) if ends[1].startswith("0") or len(ends[1]) == len(ends[2]) else 0
            if last - first >= _MOST_FILES:
                raise DatasetError(f"{pattern} stands for more than {_MOST_FILES:,} files.")
            choices.append([f"{number:0{width}d}" for number in range(first, last + 1)])
        else:
            choices.append(piece.split(",") if at % 2 else [piece])
    return ["".join(parts) for parts in itertools.product(*choices)]
