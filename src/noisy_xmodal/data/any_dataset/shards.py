"""Conversion of tars in the WebDataset layout to a `datasets.Dataset`.

Pictures are copied, not decoded, from the tars to one Arrow file in the cache of `datasets`, which
is then memory-mapped. Python's `tarfile` reads all members, so suffixes may differ between samples,
the members of a sample need not be adjacent, and keys may repeat between shards.
"""

import json
import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import datasets
import pyarrow as pa
import pyarrow.compute as pc
from datasets.utils import tqdm  # can be switched off by datasets.disable_progress_bars()

from ...files import atomic_write
from ..columns import CAPTIONS, IMAGE, DatasetError
from ..digests import combined_digest, file_state
from .archives import TarReader, cache_folder
from .columns import ColumnOptions
from .shard_files import shard_names, stats_file, stats_notes, without_suffix
from .shard_samples import (
    CAPTION_SUFFIXES,
    MAX_BYTES,
    Findings,
    Sample,
    SampleTexts,
    find_samples,
    read_texts,
)
from .tables import TABLE_SUFFIXES, RawSplit

#: Version of the cache; increase it if the rows of the same shards change.
_VERSION = "1"
_KEY, _SHARD, _LONG_KEY, _JSON, _LABEL = "__key__", "__url__", "__shard_key__", "json", "cls"
_MAX_TABLES = 6
_BLOCK_ROWS = 512
_BLOCK_BYTES = 2**25


def read_shards(files: Sequence[Path], options: ColumnOptions, split: str) -> RawSplit:
    """Reads tars as one split.

    Args:
        files: The tars.
        options: The user's column options: `image` and `caption` are suffixes of members; `caption`
            and `id` may be fields of their JSON.
        split: Name of the split, for the messages.

    Returns:
        A row per picture with its captions, its key in `__key__` (with the shard's name if keys
        repeat), its shard in `__url__`, its JSON as text and its class.

    Raises:
        DatasetError: A file is not a tar, no member matches an option, or no picture has a caption
            or a class (`NoSamplesError`).
    """
    folder = cache_folder("noisy_xmodal_shards") / _state(files, options)
    if not folder.is_dir():
        with atomic_write(folder, shared=True) as temporary:
            temporary.mkdir()
            _write(files, options, split, temporary)
    info = json.loads((folder / "info.json").read_text(encoding="utf-8"))
    rows = datasets.Dataset.from_file(str(folder / "pairs.arrow"))
    caption = options.caption or CAPTIONS
    faults, notes = list(info["faults"]), list(info["notes"])
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
        faults.append(f"{has_captions.count(False):,} samples with a class and no caption")
        rows = rows.select([row for row, has_caption in enumerate(has_captions) if has_caption])
    return RawSplit(rows, options, tuple(faults), tuple(notes))


def _state(files: Sequence[Path], options: ColumnOptions) -> str:
    """A digest of the inputs of the rows: the state of the files, and the options."""
    inputs = (path for shard in files for path in (shard, stats_file(shard)) if path.is_file())
    states = [f"{file.absolute()} {file_state(file)}" for file in inputs]
    return combined_digest(_VERSION, repr(options), *states)


def _write(files: Sequence[Path], options: ColumnOptions, split: str, folder: Path) -> None:
    """Writes the rows of all shards, and messages about the rest."""
    findings = Findings()
    features = datasets.Features(
        {
            _KEY: datasets.Value("string"),
            _LONG_KEY: datasets.Value("string"),
            _SHARD: datasets.Value("string"),
            _JSON: datasets.Value("string"),
            _LABEL: datasets.Value("int64"),
            **(
                {} if options.id in (None, _KEY, _SHARD) else {options.id: datasets.Value("string")}
            ),
            options.caption or CAPTIONS: datasets.List(datasets.Value("string")),
            options.image or IMAGE: datasets.Image(),
        }
    )
    faults: list[str] = []
    notes: list[str] = []
    with RowWriter(folder / "pairs.arrow", features) as writer:
        names = shard_names(files)
        bar = tqdm(files, f"Reading shards of {split}", unit="shard", leave=False)
        for file, name in zip(bar, names, strict=True):
            n_before = writer.n_rows
            with TarReader(file, folder) as tar:
                _read_shard(tar, name, options, findings, writer)
                n_rows = writer.n_rows - n_before
                if tar.damage is not None:
                    count = f": {n_rows:,} pairs were read from it" if n_rows else ""
                    faults.append(f"{name} is {tar.damage}{count}")
            notes += stats_notes(file, n_rows)
    _check_members(files, options, findings, writer.n_rows, faults)
    faults += findings.messages(findings.faults)
    notes += findings.messages(findings.notes)
    info = json.dumps({"faults": faults, "notes": notes})
    (folder / "info.json").write_text(info, encoding="utf-8")


def _read_shard(
    tar: TarReader,
    shard: str,
    options: ColumnOptions,
    findings: Findings,
    writer: "RowWriter",
) -> None:
    samples = list(find_samples(tar, shard, options, findings))
    folders = {os.path.dirname(sample.key) for sample in samples if sample.picture is not None}
    for sample in samples:
        where = f"{sample.key} in {shard}"
        texts = read_texts(tar, sample, options)
        findings.fields.update(dict.fromkeys(texts.fields))
        if sample.picture is None:
            _count_without_picture(sample, texts, where, folders, findings)
        elif sample.picture.size > MAX_BYTES:
            findings.fault(f"with a picture of more than {MAX_BYTES:,} bytes", where)
        elif not texts.captions and texts.label is None:
            findings.fault(texts.problem, where)
        else:
            picture = tar.read(sample.picture.offset, sample.picture.size)
            path = f"{os.path.basename(sample.key)}.{sample.picture.suffix}"
            writer.add(
                {
                    _KEY: sample.key,
                    _LONG_KEY: f"{without_suffix(shard)}/{sample.key}",
                    _SHARD: shard,
                    _JSON: texts.json,
                    _LABEL: texts.label,
                    options.id: texts.name,
                    options.caption or CAPTIONS: texts.captions,
                    options.image or IMAGE: {"bytes": picture, "path": path},
                }
            )


def _count_without_picture(
    sample: Sample, texts: SampleTexts, where: str, folders: set[str], findings: Findings
) -> None:
    """Counts a sample without a picture, as a fault only if it looks like a pair."""
    status = texts.fields.get("status")
    if status not in (None, "success"):
        findings.note("that img2dataset could not download", where, unit="picture")
    elif (
        os.path.dirname(sample.key) not in folders
        or os.path.basename(sample.key).startswith("__")
        or not any(part.kind in CAPTION_SUFFIXES for part in sample.others)
    ):
        findings.note("of no sample", where)
    else:
        findings.fault("without a picture", where)


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
        lines = "; ".join(findings.messages(findings.faults)[:3])
        raise NoSamplesError(
            f"{shards}: no picture has a caption with the same key, such as 0.jpg and 0.txt. "
            f"Members end in {suffixes or 'nothing: there are none'}."
            f"{f' Found: {lines}.' if lines else ''} Give both the same name, or unpack the file "
            "and give the folder.",
            findings.suffixes,
        )


class NoSamplesError(DatasetError):
    """Shards without a sample.

    Args:
        message: The message.
        suffixes: The suffixes of the members, with counts.
    """

    def __init__(self, message: str, suffixes: Counter[str]) -> None:
        super().__init__(message)
        self.suffixes = suffixes

    @property
    def may_be_folder(self) -> bool:
        """Whether the members may include a table of captions."""
        kinds = Counter(suffix.rsplit(".", 1)[-1] for suffix in self.suffixes.elements())
        return any(f".{kind}" in TABLE_SUFFIXES and n <= _MAX_TABLES for kind, n in kinds.items())


class RowWriter:
    """Writes rows to an Arrow file in blocks, to limit memory.

    Args:
        path: The file.
        features: The columns.

    Attributes:
        n_rows: Number of rows added so far.
    """

    def __init__(self, path: Path, features: datasets.Features) -> None:
        self.n_rows = 0
        self._schema = features.arrow_schema
        self._rows: list[dict[str, Any]] = []
        self._n_bytes = 0
        self._image = next(
            name for name, kind in features.items() if isinstance(kind, datasets.Image)
        )
        self._stream = pa.ipc.new_stream(str(path), self._schema)

    def __enter__(self) -> "RowWriter":
        return self

    def __exit__(self, *_: object) -> None:
        self._write()
        self._stream.close()

    def add(self, row: dict[Any, Any]) -> None:
        """Adds a row; keys without a column are ignored."""
        self._rows.append({name: row[name] for name in self._schema.names})
        self.n_rows += 1
        self._n_bytes += len(row[self._image]["bytes"])
        if len(self._rows) >= _BLOCK_ROWS or self._n_bytes >= _BLOCK_BYTES:
            self._write()

    def _write(self) -> None:
        block = pa.RecordBatch.from_pylist(self._rows, schema=self._schema)
        self._stream.write_batch(block)
        self._rows, self._n_bytes = [], 0
