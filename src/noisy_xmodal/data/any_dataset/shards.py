"""Tars in the WebDataset layout: their lookup, and their conversion to a `datasets.Dataset`.

Pictures are copied, not decoded, from the tars to one Arrow file in the cache of `datasets`, which
is then memory-mapped. The WebDataset reader of `datasets` takes the columns from the first samples
and needs adjacent members; here suffixes may differ between samples, members may be apart, keys may
repeat between shards, and damage is counted.
"""

import glob
import json
import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from datasets.packaged_modules.webdataset.webdataset import WebDataset
from datasets.utils import tqdm  # can be switched off by datasets.disable_progress_bars()

from ..columns import CAPTIONS, IMAGE, REGIONS, DatasetError
from ..regions import ragged_region_column, region_feature
from .archives import TarReader, cached_folder, files_digest, is_tar_name
from .columns import ColumnOptions
from .folders import has_configs, split_in_name
from .img2dataset import compare_side_files, lost_shards, side_files, without_suffix
from .picture_files import files_below, has_picture_suffix
from .samples import (
    CAPTION_SUFFIXES,
    MAX_BYTES,
    Findings,
    Sample,
    SampleTexts,
    find_samples,
    read_array,
    read_texts,
)
from .tables import TABLE_SUFFIXES, RawSplit

#: Version of the cache; increase it if the rows of the same shards change.
_VERSION = "2"
_KEY, _SHARD, _LONG_KEY, _JSON, _LABEL = "__key__", "__url__", "__shard_key__", "json", "cls"
_VISUAL = "__visual__"
_PICTURE = pa.struct({"bytes": pa.binary(), "path": pa.string()})
_MAX_TABLES = 6
_BLOCK_ROWS = 512
_BLOCK_BYTES = 2**25
_BRACES = re.compile(r"\{([^{}]*)\}")
_RANGE = re.compile(r"(\d+)\.\.(\d+)")
_MAX_FILES = 1_000_000


class NoSamplesError(DatasetError):
    """Shards without a sample.

    Attributes:
        may_be_folder: Whether the members may include a table of captions.
    """

    def __init__(self, message: str, suffixes: Counter[str]) -> None:
        super().__init__(message)
        kinds = Counter(suffix.rsplit(".", 1)[-1] for suffix in suffixes.elements())
        tables = [kind for kind, n in kinds.items() if n <= _MAX_TABLES]
        self.may_be_folder = any(f".{kind}" in TABLE_SUFFIXES for kind in tables)


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
    """The local paths of tars that `datasets` finds as WebDataset, on the Hub or by a card.

    Returns:
        The tars by split; empty for other datasets.
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

    Returns:
        The tars; empty if there are other Parquet or Arrow files or pictures at the top of the
        folder, or if a card lists configurations.
    """
    if has_configs(folder):
        return {}
    top = [file for file in folder.iterdir() if file.is_file()]
    stems = {without_suffix(file.name) for file in top if is_tar_name(file.name)}
    stems |= {file.name.removesuffix("_stats.json") for file in top}
    for file in top:
        is_data = file.suffix.lower() in (".parquet", ".arrow") or has_picture_suffix(file.name)
        if is_data and file.stem not in stems:
            return {}
    return _by_split([Path(file) for file in files_below(folder) if is_tar_name(file)], folder)


def read_shards(files: Sequence[Path], options: ColumnOptions, split: str) -> RawSplit:
    """Reads tars as one split.

    Of the options, `image` and `caption` are suffixes of members; `caption` and `id` may be fields
    of their JSON.

    Returns:
        A row per picture with its captions, its key in `__key__` (with the shard's name if keys
        repeat), its shard in `__url__`, its JSON as text and its class.

    Raises:
        DatasetError: A file is not a tar, no member matches an option, or no picture has a caption
            or a class (`NoSamplesError`).
    """
    inputs = [path for shard in files for path in (shard, *side_files(shard))]
    digest = files_digest(inputs, _VERSION, repr(options))
    folder = cached_folder("noisy_xmodal_shards", digest, partial(_write, files, options, split))
    info = json.loads((folder / "info.json").read_text(encoding="utf-8"))
    rows = datasets.Dataset.from_file(str(folder / "pairs.arrow"))
    caption = options.caption or CAPTIONS
    unique = pc.count_distinct(rows.data.column(_KEY)).as_py() == len(rows)
    has_captions = pc.greater(pc.list_value_length(rows.data.column(caption)), 0).to_pylist()
    empty = [
        name
        for name in (_JSON, _LABEL)
        if name != caption and rows.data.column(name).null_count == len(rows)
    ]
    rows = rows.remove_columns([*empty, _LONG_KEY if unique else _KEY])
    rows = rows if unique else rows.rename_column(_LONG_KEY, _KEY)
    if not any(has_captions):
        rows = rows.remove_columns(caption)  # pictures with classes
    elif not all(has_captions):
        info["faults"].append(f"{has_captions.count(False):,} samples with a class and no caption")
        rows = rows.select([row for row, has_caption in enumerate(has_captions) if has_caption])
    return RawSplit(rows, options, tuple(info["faults"]), tuple(info["notes"]))


def _write(files: Sequence[Path], options: ColumnOptions, split: str, folder: Path) -> None:
    """Writes the rows of all shards in blocks, to limit memory, and messages about the rest."""
    findings, sizes, faults, notes = Findings(), _Sizes(), list[str](), list[str]()
    string, n_rows = datasets.Value("string"), 0
    features = dict.fromkeys((_KEY, _LONG_KEY, _SHARD, _JSON), string)
    features |= {_LABEL: datasets.Value("int64")} | ({options.id: string} if options.id else {})
    features |= {options.caption or CAPTIONS: datasets.List(string)}
    writer = _RowWriter(folder / "pairs.arrow", features, options.image)
    shared = os.path.commonpath([file.absolute().parent for file in files])
    bar = tqdm(files, f"Reading shards of {split}", unit="shard", leave=False)
    with writer:
        for file in bar:
            name = os.path.relpath(file.absolute(), shared).replace(os.sep, "/")
            keys = list[str]()
            with TarReader(file, folder) as tar:
                for block in _blocks(_rows(tar, name, options, findings, sizes)):
                    writer.write(block)
                    keys += [row[_KEY] for row in block]
                if tar.damage is not None:
                    count = f": {len(keys):,} pairs were read from it" if keys else ""
                    faults.append(f"{name} is {tar.damage}{count}")
            notes += compare_side_files(file, keys, findings)
            n_rows += len(keys)
    notes += lost_shards(files) if len(files) > 1 else []
    _check_members(files, options, findings, n_rows, faults)
    faults += findings.messages(faults=True)
    info = {"faults": faults, "notes": notes + findings.messages(faults=False)}
    (folder / "info.json").write_text(json.dumps(info), encoding="utf-8")


class _RowWriter:
    """Writes rows to an Arrow file, whose type is that of the first picture or array.

    Args:
        path: The file.
        features: Types of the columns but that of the picture.
        image: Name of that column; by default `image` or `regions`.
    """

    def __init__(self, path: Path, features: dict[Any, Any], image: str | None) -> None:
        self._path, self._features, self._image = path, features, image
        self._stream: Any = None
        self._schema: pa.Schema | None = None

    def __enter__(self) -> "_RowWriter":
        return self

    def __exit__(self, *_: object) -> None:
        if self._stream is not None:
            self._stream.close()

    def write(self, block: list[dict[Any, Any]]) -> None:
        """Writes rows with pictures or arrays in `_VISUAL`."""
        if not block:
            return
        visuals = [row.pop(_VISUAL) for row in block]
        is_array = isinstance(visuals[0], np.ndarray)
        name = self._image or (REGIONS if is_array else IMAGE)
        if self._schema is None:
            kind = region_feature(visuals[0].shape[1]) if is_array else datasets.Image()
            self._schema = datasets.Features(self._features | {name: kind}).arrow_schema
            self._stream = pa.ipc.new_stream(str(self._path), self._schema)
        column = ragged_region_column(visuals) if is_array else pa.array(visuals, _PICTURE)
        others = pa.schema([field for field in self._schema if field.name != name])
        table = pa.Table.from_pylist(block, schema=others).append_column(name, column)
        self._stream.write_table(table.select(self._schema.names).cast(self._schema))


class _Sizes:
    """What the pictures of a split are: pictures, or arrays of one size."""

    def __init__(self) -> None:
        self._size: int | None = None

    def problem(self, visual: Any) -> str | None:
        """The reason why a picture or array does not fit those before it."""
        if visual is None:
            return "with an .npy that is not a vector or matrix of finite numbers"
        size = visual.shape[1] if isinstance(visual, np.ndarray) else 0
        if self._size is None:
            self._size = size
        if size == self._size:
            return None
        return "with a picture or array of another kind or size than the first sample"


def _rows(
    tar: TarReader, shard: str, options: ColumnOptions, findings: Findings, sizes: _Sizes
) -> Iterator[dict[Any, Any]]:
    """Yields a row per usable sample of a shard, and counts the others."""
    samples = list(find_samples(tar, shard, options, findings))
    folders = {os.path.dirname(sample.key) for sample in samples if sample.picture is not None}
    for sample in samples:
        where = f"{sample.key} in {shard}"
        texts = read_texts(tar, sample, options)
        findings.fields.update(dict.fromkeys(texts.fields))
        if sample.picture is None:
            _count_without_picture(sample, texts, where, folders, findings)
        elif sample.picture.size > MAX_BYTES:
            findings.add(f"with a picture of more than {MAX_BYTES:,} bytes", where)
        elif not texts.captions and texts.label is None:
            findings.add(texts.problem, where)
        else:
            path = f"{os.path.basename(sample.key)}.{sample.picture.suffix}"
            content = tar.read(sample.picture.offset, sample.picture.size)
            visual: Any = {"bytes": content, "path": path}
            if sample.picture.is_array:
                visual = read_array(content)
            if problem := sizes.problem(visual):
                findings.add(problem, where)
                continue
            yield {
                _LONG_KEY: f"{without_suffix(shard)}/{sample.key}",
                _JSON: texts.json,
                _LABEL: texts.label,
                options.id: texts.name,  # may be one of the other columns
                _KEY: sample.key,
                _SHARD: shard,
                options.caption or CAPTIONS: texts.captions,
                _VISUAL: visual,
            }


def _blocks(rows: Iterable[dict[Any, Any]]) -> Iterator[list[dict[Any, Any]]]:
    """Groups rows to blocks of limited size."""
    block, n_bytes = list[dict[Any, Any]](), 0
    for row in rows:
        block.append(row)
        visual = row[_VISUAL]
        n_bytes += visual.nbytes if isinstance(visual, np.ndarray) else len(visual["bytes"])
        if len(block) >= _BLOCK_ROWS or n_bytes >= _BLOCK_BYTES:
            yield block
            block, n_bytes = [], 0
    yield block


def _count_without_picture(
    sample: Sample, texts: SampleTexts, where: str, folders: set[str], findings: Findings
) -> None:
    """Counts a sample without a picture, as a fault only if it looks like a pair."""
    folder, name = os.path.split(sample.key)
    has_caption = any(part.kind in CAPTION_SUFFIXES for part in sample.others)
    if texts.fields.get("status") not in (None, "success"):
        findings.add("that img2dataset could not download", where, "picture")
    elif folder not in folders or name.startswith("__") or not has_caption:
        findings.add("of no sample", where, "member")
    else:
        findings.add("without a picture", where)


def _check_members(
    files: Sequence[Path],
    options: ColumnOptions,
    findings: Findings,
    n_rows: int,
    faults: list[str],
) -> None:
    """Raises an error for shards without a sample, and for options that match no member."""
    suffixes = ", ".join(f".{suffix} ({n:,})" for suffix, n in findings.suffixes.most_common(8))
    shards = str(files[0]) if len(files) == 1 else f"{len(files)} shards such as {files[0]}"
    kinds = {*findings.suffixes, *(suffix.rsplit(".", 1)[-1] for suffix in findings.suffixes)}
    for option, name, choices in (
        ("image_column", options.image, {IMAGE, *kinds}),
        ("caption_column", options.caption, {CAPTIONS, *kinds, *findings.fields}),
        ("id_column", options.id, {_KEY, _SHARD, *findings.fields}),
    ):
        if name is not None and name not in choices:
            raise DatasetError(
                f"{shards}: no member ends in '{name}', and no JSON has such a field. Suffixes are "
                f"{suffixes or 'none'}; fields are {list(findings.fields)[:20]}. Name another with "
                f"{option}=NAME."
            )
    if not n_rows and faults:
        raise DatasetError(f"{shards}: {'; '.join(faults[:3])}. Get the file again.")
    if not n_rows:
        lines = "; ".join(findings.messages(faults=True)[:3])
        raise NoSamplesError(
            f"{shards}: no picture has a caption with the same key, such as 0.jpg and 0.txt. "
            f"Members end in {suffixes or 'nothing: there are none'}."
            f"{f' Found: {lines}.' if lines else ''} Give both the same name, or unpack the file "
            "and give the folder.",
            findings.suffixes,
        )


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
    braces = _BRACES.search(pattern)
    if braces is None:
        return [pattern]
    choices = braces[1].split(",")
    if ends := _RANGE.fullmatch(braces[1]):
        first, last = int(ends[1]), int(ends[2])
        width = len(ends[1]) if ends[1].startswith("0") or len(ends[1]) == len(ends[2]) else 0
        if last < first:
            raise DatasetError(
                f"{pattern}: the range {braces[0]} is empty. Write the smaller number first."
            )
        if last - first >= _MAX_FILES:
            raise DatasetError(f"{pattern} describes more than {_MAX_FILES:,} files.")
        choices = [f"{number:0{width}d}" for number in range(first, last + 1)]
    start, rest = pattern[: braces.start()], _expand_braces(pattern[braces.end() :])
    return [start + choice + end for choice in choices for end in rest]
