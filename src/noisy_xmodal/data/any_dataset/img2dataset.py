"""What img2dataset writes beside a tar: `00000.parquet`, a row per address, and `00000_stats.json`.

They say which pictures a tar should have, and why others are missing. Nothing of them is read but
for messages.
"""

import json
import os
from collections import defaultdict
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from .archives import TAR_SUFFIXES
from .samples import Findings

_SUCCESS = "success"
_STATS = "_stats.json"
_SIZES = ("width", "height", "original_width", "original_height")
_COLUMNS = ("key", "status", "error_message", "sha256", *_SIZES)
_MAX_LENGTH = 60  # of an error message
_UNIT = "row"


def without_suffix(name: str) -> str:
    """Removes the suffix of a tar, such as `.tar.gz`, from a name."""
    suffix = max((end for end in TAR_SUFFIXES if name.lower().endswith(end)), key=len, default="")
    return name[: len(name) - len(suffix)]


def side_files(shard: Path) -> list[Path]:
    """The files that img2dataset wrote beside a tar."""
    stem = without_suffix(shard.name)
    files = (shard.with_name(f"{stem}{end}") for end in (_STATS, ".parquet"))
    return [file for file in files if file.is_file()]


def lost_shards(shards: Iterable[Path]) -> list[str]:
    """A note about tars that are missing, although img2dataset's statistics of them exist."""
    files = list(shards)
    names = {file.parent: set[str]() for file in files}
    for file in files:
        names[file.parent].add(without_suffix(file.name))
    lost = sorted(
        str(folder / entry.name)
        for folder, own in names.items()
        for entry in os.scandir(folder)
        if entry.name.endswith(_STATS) and entry.name.removesuffix(_STATS) not in own
    )
    if not lost:
        return []
    more = f" and {len(lost) - 3:,} more" if len(lost) > 3 else ""
    return [f"tars are missing beside {', '.join(lost[:3])}{more}"]


def compare_side_files(shard: Path, keys: Collection[str], findings: Findings) -> list[str]:
    """Compares a tar with what img2dataset wrote beside it.

    Args:
        shard: The tar.
        keys: Keys of its usable samples.
        findings: Gets the rows without a picture, and those whose pictures are doubtful.

    Returns:
        Notes about the files.
    """
    stats, table = (
        shard.with_name(f"{without_suffix(shard.name)}{end}") for end in (_STATS, ".parquet")
    )
    notes = _compare_stats(stats, shard, len(keys))
    if not table.is_file():
        return notes
    try:
        names = pq.read_schema(table).names
        if not {"key", "status"} <= set(names):
            return notes  # not of img2dataset
        columns = [name for name in _COLUMNS if name in names]
        rows: list[dict[str, Any]] = pq.read_table(table, columns=columns).to_pylist()
    except (pa.ArrowException, OSError, ValueError) as error:
        reason = str(error).split("\n")[0][:_MAX_LENGTH]
        return [*notes, f"{table.name}, the rows of {shard.name}, cannot be read: {reason}"]
    if not stats.is_file():
        notes.append(f"{shard.name} is unfinished: img2dataset wrote no {stats.name}")
    _compare_rows(rows, table.name, {os.path.basename(key) for key in keys}, findings)
    return notes


def _compare_stats(file: Path, shard: Path, n_pairs: int) -> list[str]:
    """A note if a tar has another number of pairs than img2dataset's statistics say."""
    try:
        n = json.loads(file.read_text(encoding="utf-8")).get("successes")
    except (OSError, ValueError, AttributeError, RecursionError):
        return []
    if not isinstance(n, int) or n == n_pairs:
        return []
    return [f"{file.name} reports {n:,} successes, but {shard.name} has {n_pairs:,} pairs"]


def _compare_rows(
    rows: list[dict[str, Any]], table: str, keys: set[str], findings: Findings
) -> None:
    keys_of_content = defaultdict[str, list[str]](list)
    for row in rows:
        key, where = str(row["key"]), f"{row['key']} in {table}"
        if row["status"] != _SUCCESS:
            reason = " ".join(str(row.get("error_message") or row["status"]).split())
            reason = reason.replace(": ", " ")[:_MAX_LENGTH]
            findings.add(f"that img2dataset could not download ({reason})", where, _UNIT)
            continue
        if key not in keys:
            kind = "that img2dataset lists as a success, without a usable pair in the tar"
            findings.add(kind, where, _UNIT)
            continue
        if row.get("sha256"):
            keys_of_content[row["sha256"]].append(key)
        width, height, own_width, own_height = (int(row.get(name) or 0) for name in _SIZES)
        if 0 < own_width < width and 0 < own_height < height:
            kind = "whose picture was enlarged (original_width, original_height)"
            findings.add(kind, f"{key} from {own_width} x {own_height} in {table}", _UNIT)
    for same in keys_of_content.values():
        for key in same[1:]:
            where = f"{key} as {same[0]} in {table}"
            findings.add("with the picture of another row (sha256)", where, _UNIT)
