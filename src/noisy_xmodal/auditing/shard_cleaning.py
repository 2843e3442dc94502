"""The clean dataset of an audit by parts: the kept pairs of each shard become Parquet files.

A shard is read again when its part of the table is written. The columns are the same for all
shards: the image, its name, its captions, and the name of the shard; other columns are joined by
the names. What a shard gives is written to a folder of its own, aside, and renamed, so processes
share this work like the rest. In the end the files are put together under the names that
`load_dataset` expects.
"""

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray

from ..arguments.audit import TROUBLES, AuditOptions
from ..data.columns import CAPTIONS, IMAGE, IMAGE_ID, IS_NOISY, REGIONS
from ..files import atomic_write, link_or_copy, read_json
from .cleaning import (
    CORRECTED_FILE,
    DROPPED_FILE,
    WEIGHTS,
    describe,
    select_pairs,
    write_card,
    write_rows,
)
from .kept_shards import KeptShard
from .known_pairs import KnownPairs
from .loading import AuditRows

#: Probabilities are rounded down to this part of 1 to find a threshold over all shards: a million
#: values to count, however many pairs there are.
_STEPS = 1_000_000
_COLUMNS = (IMAGE, REGIONS, IMAGE_ID, CAPTIONS, IS_NOISY, WEIGHTS)
_SHARD, _ROWS, _INFO = "shard", "rows", "info.json"


@dataclass(frozen=True)
class ShardCleaning:
    """Writes the kept pairs of shards.

    Attributes:
        options: Options of the audit.
        threshold: The least clean probability of a kept pair.
        folder: Folder of what shards gave.
    """

    options: AuditOptions
    threshold: float
    folder: Path

    def is_done(self, name: str) -> bool:
        """Whether a shard's files are written."""
        return (self.folder / name).is_dir()

    def counts(self, name: str) -> dict[str, int]:
        """What is kept of a shard whose files are written, see `Selection.counts`."""
        return dict(read_json(self.folder / name / _INFO)["counts"])

    def write(
        self,
        name: str,
        shard_name: str,
        rows: AuditRows,
        kept: KeptShard,
        part: Path,
        known: KnownPairs | None = None,
    ) -> None:
        """Write the kept pairs of a shard.

        Args:
            name: Name of the task, that of the folder that is written.
            shard_name: Name of the shard.
            rows: Its rows, in the order in which they were judged.
            kept: What is kept of it.
            part: Its part of the table.
            known: What people decided about its pairs.
        """
        troubles = dict(zip(TROUBLES, kept.has_trouble.T, strict=True))
        selection = select_pairs(
            self.options, self.threshold, rows, probabilities(part), troubles, known
        )
        info = {
            "counts": selection.counts() | {"captions_corrected": len(selection.new_captions)},
            "troubles": selection.trouble_counts(),
            "digest": selection.digest(),
        }
        with atomic_write(self.folder / name) as aside:
            aside.mkdir()
            selection.write_lists(aside, shard=shard_name)
            if len(selection.rows):
                table = selection.table(self.options.clean_weights)
                table = table.select_columns([c for c in _COLUMNS if c in table.features])
                names = [shard_name] * len(table)
                table = table.add_column(_SHARD, names, feature=datasets.Value("string"))
                write_rows(table, aside / _ROWS, rows.split)
            (aside / _INFO).write_text(json.dumps(info), encoding="utf-8")

    def publish(self, names: Sequence[str], split: str, title: str) -> dict[str, Any]:
        """Put the files of all shards together; returns the counts of `write_clean_dataset`.

        Args:
            names: Names of the tasks, in order.
            split: The split.
            title: Name of the dataset, for the card.
        """
        out = self.options.clean
        assert out is not None, "there is a folder to write"
        infos = [read_json(self.folder / name / _INFO) for name in names]
        counts: dict[str, Any] = dict(_total(info["counts"] for info in infos))
        if self.options.reviews is None:
            counts.pop("captions_corrected", None)
        if self.options.clean_precision is not None:
            counts["threshold"] = self.threshold
        if self.options.kinds_to_drop:
            troubles = _total(info["troubles"] for info in infos)
            counts["dropped_for_trouble"] = {kind: n for kind, n in troubles.items() if n}
        # `datasets` caches a dataset by the names of its files.
        digest = hashlib.sha256("".join(info["digest"] for info in infos).encode())
        folder = f"data-{digest.hexdigest()[:12]}"
        files = [file for name in names for file in sorted((self.folder / name / _ROWS).glob("*"))]
        with atomic_write(out) as aside:
            aside.mkdir()
            for listing in (DROPPED_FILE, CORRECTED_FILE):
                own = [self.folder / name / listing for name in names]
                if own := [path for path in own if path.is_file()]:
                    with (aside / listing).open("wb") as file:
                        file.writelines(path.read_bytes() for path in own)
            (aside / folder).mkdir()
            for number, rows in enumerate(files):
                file_name = f"{split}-{number:05d}-of-{len(files):05d}.parquet"
                link_or_copy(rows, aside / folder / file_name)
            text = describe(counts, self.options.clean_weights, self.threshold)
            write_card(aside, folder, split, title, text)
        return counts | {"folder": str(out)}


def _total(counts: Iterable[Mapping[str, int]]) -> Counter[str]:
    """The sum of counts, by name."""
    total: Counter[str] = Counter()
    for own in counts:
        total.update(own)
    return total


def probabilities(part: Path) -> NDArray[np.float64]:
    """Clean probabilities of the pairs of a shard, in the order of the shard, (n_pairs,)."""
    table = pq.read_table(part, columns=["pair_id", WEIGHTS])
    values: NDArray[np.float64] = table[WEIGHTS].to_numpy()
    return values[np.argsort(table["pair_id"].to_numpy())]


def rounded_probabilities(
    parts: Sequence[Path],
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Clean probabilities of all pairs, rounded down: the values, and how often each occurs.

    Args:
        parts: The parts of the table.
    """
    counts = np.zeros(_STEPS + 1, np.int64)
    for part in parts:
        steps = np.floor(probabilities(part) * _STEPS).astype(np.int64)
        counts += np.bincount(steps, minlength=len(counts))
    (steps,) = np.nonzero(counts)
    return steps / _STEPS, counts[steps]
