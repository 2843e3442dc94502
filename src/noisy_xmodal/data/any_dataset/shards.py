"""Tars of the WebDataset layout as a `datasets.Dataset`.

Pictures are neither decoded nor written as files: they go from the tars into one Arrow file in the
cache of `datasets`, in blocks, and are mapped from there. Python's `tarfile` reads the tars, so
that every member is seen: endings may differ from sample to sample, members of a sample may stand
apart, and keys may begin again in each shard.
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

from ..columns import CAPTIONS, IMAGE, DatasetError
from ..digests import combined_digest, file_state
from .archives import TarReader, cache_folder, folder_aside
from .columns import GivenColumns
from .shard_files import shard_names, stats_file, stats_notes, without_suffix
from .shard_samples import (
    CAPTION_ENDINGS,
    LARGEST,
    Findings,
    Sample,
    SampleTexts,
    find_samples,
    read_texts,
)
from .tables import TABLE_SUFFIXES, Opened

#: Raised when the same shards would give other rows than before.
_VERSION = "1"
_KEY, _SHARD, _LONG_KEY, _JSON, _LABEL = "__key__", "__url__", "__shard_key__", "json", "cls"
_MOST_TABLES = 6
_BLOCK_ROWS = 512
_BLOCK_BYTES = 2**25


def read_shards(files: Sequence[Path], given: GivenColumns, split: str) -> Opened:
    """Reads tars as one split.

    Args:
        files: The tars.
        given: What the user said: `image` and `caption` are endings of members, `caption` and
            `id` fields of their JSON.
        split: Name of the split, for the messages.

    Returns:
        A row per picture with its captions, its key in `__key__` (after the shard's name where
        several shards have one key), its shard in `__url__`, its JSON as text and its class.

    Raises:
        DatasetError: A file is no tar, the user named what no member has, or no picture has a
            caption or a class of its own (a `NoSamplesError`).
    """
    folder = cache_folder("noisy_xmodal_shards") / _state(files, given)
    if not folder.is_dir():
        with folder_aside(folder) as aside:
            _write(files, given, split, aside)
    info = json.loads((folder / "info.json").read_text(encoding="utf-8"))
    rows = datasets.Dataset.from_file(str(folder / "pairs.arrow"))
    caption = given.caption or CAPTIONS
    faults, notes = list(info["faults"]), list(info["notes"])
    unique = pc.count_distinct(rows.data.column(_KEY)).as_py() == len(rows)
    said = pc.greater(pc.list_value_length(rows.data.column(caption)), 0).to_pylist()
    empty = [
        name
        for name in (_JSON, _LABEL)
        if name != caption and rows.data.column(name).null_count == len(rows)
    ]
    rows = rows.remove_columns([*empty, _LONG_KEY if unique else _KEY])
    rows = rows if unique else rows.rename_column(_LONG_KEY, _KEY)
    if not any(said):
        rows = rows.remove_columns(caption)  # pictures with classes
    elif not all(said):
        faults.append(f"{said.count(False):,} samples with a class and no caption")
        rows = rows.select([row for row, has_caption in enumerate(said) if has_caption])
    return Opened(rows, given, tuple(faults), tuple(notes))


def _state(files: Sequence[Path], given: GivenColumns) -> str:
    """A name for what the rows depend on: the files by path, size and time, and the columns."""
    beside = (path for shard in files for path in (shard, stats_file(shard)) if path.is_file())
    states = [f"{file.absolute()} {file_state(file)}" for file in beside]
    return combined_digest(_VERSION, repr(given), *states)


def _write(files: Sequence[Path], given: GivenColumns, split: str, folder: Path) -> None:
    """Writes the rows of all shards, and what was left out of them."""
    findings = Findings()
    features = datasets.Features(
        {
            _KEY: datasets.Value("string"),
            _LONG_KEY: datasets.Value("string"),
            _SHARD: datasets.Value("string"),
            _JSON: datasets.Value("string"),
            _LABEL: datasets.Value("int64"),
            **({} if given.id in (None, _KEY, _SHARD) else {given.id: datasets.Value("string")}),
            given.caption or CAPTIONS: datasets.List(datasets.Value("string")),
            given.image or IMAGE: datasets.Image(),
        }
    )
    faults: list[str] = []
    notes: list[str] = []
    with RowWriter(folder / "pairs.arrow", features) as writer:
        names = shard_names(files)  # without the folder, which changes with the machine
        bar = tqdm(files, f"Reading shards of {split}", unit="shard", leave=False)
        for file, name in zip(bar, names, strict=True):
            n_before = writer.n_rows
            with TarReader(file, folder) as tar:
                _read_shard(tar, name, given, findings, writer)
                n_here = writer.n_rows - n_before
                if tar.damage is not None:
                    read = f": {n_here:,} pairs were read from it" if n_here else ""
                    faults.append(f"{name} is {tar.damage}{read}")
            notes += stats_notes(file, n_here)
    _check_found(files, given, findings, writer.n_rows, faults)
    faults += findings.lines(findings.faults)
    notes += findings.lines(findings.notes)
    info = json.dumps({"faults": faults, "notes": notes})
    (folder / "info.json").write_text(info, encoding="utf-8")


def _read_shard(
    tar: TarReader,
    shard: str,
    given: GivenColumns,
    findings: Findings,
    writer: "RowWriter",
) -> None:
    samples = list(find_samples(tar, shard, given, findings))
    folders = {os.path.dirname(sample.key) for sample in samples if sample.picture is not None}
    for sample in samples:
        where = f"{sample.key} in {shard}"
        texts = read_texts(tar, sample, given)
        findings.fields.update(dict.fromkeys(texts.fields))
        if sample.picture is None:
            _count_without_picture(sample, texts, where, folders, findings)
        elif sample.picture.size > LARGEST:
            findings.fault(f"with a picture of more than {LARGEST:,} bytes", where)
        elif not texts.captions and texts.label is None:
            findings.fault(texts.problem, where)
        else:
            picture = tar.read(sample.picture.offset, sample.picture.size)
            path = f"{os.path.basename(sample.key)}.{sample.picture.ending}"
            writer.add(
                {
                    _KEY: sample.key,
                    _LONG_KEY: f"{without_suffix(shard)}/{sample.key}",
                    _SHARD: shard,
                    _JSON: texts.json,
                    _LABEL: texts.label,
                    given.id: texts.name,
                    given.caption or CAPTIONS: texts.captions,
                    given.image or IMAGE: {"bytes": picture, "path": path},
                }
            )


def _count_without_picture(
    sample: Sample, texts: SampleTexts, where: str, folders: set[str], findings: Findings
) -> None:
    """Tells a lost pair from what never was one."""
    status = texts.fields.get("status")
    if status not in (None, "success"):
        findings.note("that img2dataset did not get", where, unit="picture")
    elif (
        os.path.dirname(sample.key) not in folders
        or os.path.basename(sample.key).startswith("__")
        or not any(part.kind in CAPTION_ENDINGS for part in sample.others)
    ):
        findings.note("of no sample", where)
    else:
        findings.fault("without a picture", where)


def _check_found(
    files: Sequence[Path], given: GivenColumns, findings: Findings, n_rows: int, faults: list[str]
) -> None:
    """Refuses shards without a sample, and names of the user that no member has."""
    found = ", ".join(f".{ending} ({n:,})" for ending, n in findings.endings.most_common(8))
    shards = str(files[0]) if len(files) == 1 else f"{len(files)} shards as {files[0]}"
    kinds = {*findings.endings, *(ending.rsplit(".", 1)[-1] for ending in findings.endings)}
    for option, name, there in (
        ("image_column", given.image, {IMAGE, *kinds}),
        ("caption_column", given.caption, {CAPTIONS, *kinds, *findings.fields}),
        ("id_column", given.id, {_KEY, _SHARD, *findings.fields}),
    ):
        if name is not None and name not in there:
            raise DatasetError(
                f"{shards}: no member ends in '{name}', and no JSON has such a field. Endings are "
                f"{found or 'none'}; fields are {list(findings.fields)[:20]}. Name another with "
                f"{option}=NAME."
            )
    if not n_rows and faults:
        raise DatasetError(f"{shards}: {'; '.join(faults[:3])}. Get the file again.")
    if not n_rows:
        lines = "; ".join(findings.lines(findings.faults)[:3])
        raise NoSamplesError(
            f"{shards}: no picture has a caption of its own key, as 0.jpg and 0.txt have. Members "
            f"end in {found or 'nothing: there are none'}.{f' Found: {lines}.' if lines else ''} "
            "Name both alike, or unpack it and give the folder.",
            findings.endings,
        )


class NoSamplesError(DatasetError):
    """Shards without a sample.

    Args:
        message: What was found.
        endings: The endings of the members, with counts.
    """

    def __init__(self, message: str, endings: Counter[str]) -> None:
        super().__init__(message)
        self.endings = endings

    @property
    def may_be_folder(self) -> bool:
        """Whether a table of captions seems to be among the members."""
        kinds = Counter(ending.rsplit(".", 1)[-1] for ending in self.endings.elements())
        return any(f".{kind}" in TABLE_SUFFIXES and n <= _MOST_TABLES for kind, n in kinds.items())


class RowWriter:
    """Writes rows to an Arrow file in blocks, so that few are in memory.

    Args:
        path: The file.
        features: The columns.

    Attributes:
        n_rows: How many rows were added.
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
        """Adds a row; keys that are no columns do not count."""
        self._rows.append({name: row[name] for name in self._schema.names})
        self.n_rows += 1
        self._n_bytes += len(row[self._image]["bytes"])
        if len(self._rows) >= _BLOCK_ROWS or self._n_bytes >= _BLOCK_BYTES:
            self._write()

    def _write(self) -> None:
        block = pa.RecordBatch.from_pylist(self._rows, schema=self._schema)
        self._stream.write_batch(block)
        self._rows, self._n_bytes = [], 0
